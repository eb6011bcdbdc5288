#!/usr/bin/env python3
"""Share out a checkpoint's test predictions over what it read: dataset.h5 and a checkpoint → shares with their completeness error."""

import argparse
from pathlib import Path

import h5py
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from exprcast.attribution import METHODS, share_out
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import Progress, add_device_options, log, run, whole_file, write_task
from exprcast.dataset import TEST, Dataset
from exprcast.family import Examples
from exprcast.prepared import Prepared
from exprcast.sequence import word_shares
from exprcast.training import make_deterministic, make_fabric

MOST_OUTPUTS = 20  # genes of an example that spans all of them


def attribute(options: argparse.Namespace) -> None:
    """Explain the test examples of the genes that vary most, up to --genes of them (20 where one example spans all genes)."""
    make_deterministic(options.threads)
    prepared, content = Prepared(options.prepared, Dataset(options.dataset), options.families_dir), load_checkpoint(options.checkpoint)
    prepared.refuse_other_checkpoint(options.checkpoint, content)
    family, examples = prepared.family, prepared.examples(with_valid=prepared.refit)
    model = family.Model(prepared.config, content["sizes"])
    model.load_state_dict(content["weights"])
    fabric = make_fabric(options.device, "32-true")
    model = fabric.setup_module(model)
    index, outputs = chosen_examples(family.EXAMPLES, examples, prepared.roles, options.genes)
    result = share_out(model, examples, index, outputs, fabric, METHODS[options.method])
    worst = float(result.completeness_error.max(initial=0))
    log.info(f"{len(index):,} examples explained; shares miss the change of the prediction by at most {worst:.2g}")
    with whole_file(options.out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({key: content[key] for key in ("family", "preset", "fold", "seed", "code", "unit")})
        file.attrs.update({"method": METHODS[options.method], "completeness_error_max": worst})
        file.attrs.update({**examples.sizes, **getattr(examples, "place", {})})
        if family.EXAMPLES == "genes" and len(examples.rows) > 1:
            file.attrs["label"] = examples.rows[0]  # of several labels the first is explained
        row, column = places(family.EXAMPLES, examples, index, outputs)
        write_ids(file, "row", row)
        write_ids(file, "column", column)
        if hasattr(examples, "tss"):  # the start site that this fold's training chose for each gene
            file["tss"] = examples.tss[index % len(examples.columns)]
        for name, shares in result.shares.items():
            file.create_dataset(f"shares/{name}", data=shares, chunks=(1, *shares.shape[1:]), compression="gzip")
        for name, features in getattr(examples, "names", {}).items():
            file[f"shares/{name}"].attrs["names"] = features
        if hasattr(examples, "continuous"):
            write_sequence(file, examples, index, result.shares["window"])
        if hasattr(examples, "without_bins"):
            lost = knock_out(model, examples, index, fabric)
            file.create_dataset("knocked_out/window", data=lost, chunks=(1, lost.shape[1]), compression="gzip")
        if hasattr(examples, "knocked_down"):
            lost = knock_down(model, examples, index, outputs, fabric)
            file.create_dataset(f"knocked_down/{examples.explained[0]}", data=lost, chunks=(1, lost.shape[1]), compression="gzip")
        for name in ("predicted", "reference", "completeness_error"):
            file.create_dataset(name, data=getattr(result, name).astype(np.float32))


def chosen_examples(axes: str, examples: Examples, roles: np.ndarray, genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return test examples, and which output of each is explained.

    Of pairs only those of the genes whose observed values vary most (fully measured genes first); of samples each with these genes.
    """
    test = np.flatnonzero(roles == TEST)
    width = len(examples.columns)
    if axes == "samples":
        kept = most_variable(examples.targets(np.arange(len(examples))).numpy().std(axis=0), min(genes, MOST_OUTPUTS))
        return np.repeat(test, len(kept)), np.tile(kept, len(test))
    if axes == "samples×genes" and genes < width:
        spread = [examples.targets(column + np.arange(len(examples.rows)) * width).numpy().std() for column in range(width)]
        test = test[np.isin(test % width, most_variable(spread, genes))]
    return test, np.zeros(len(test), dtype=np.int64)


def most_variable(spread: np.ndarray | list[float], count: int) -> np.ndarray:
    """Return the numbers of the largest; NaN comes last."""
    return np.argsort(-np.nan_to_num(spread), kind="stable")[:count]


def knock_out(model: nn.Module, examples: Examples, index: np.ndarray, fabric: Fabric) -> np.ndarray:
    """Return (examples, bins) what each bin of a gene's window adds to the prediction: how much is lost when it is closed."""
    lost, progress = (
        np.zeros((len(index), examples.sizes["bins"]), dtype=np.float32),
        Progress(len(index), "examples with bins knocked out"),
    )
    sample, gene = np.divmod(index, len(examples.columns))
    done = 0
    model.eval()
    for one in np.unique(sample):
        rows = np.flatnonzero(sample == one)
        for row, (opened, inputs) in zip(rows, examples.without_bins(int(one), gene[rows]), strict=True):
            with torch.no_grad():
                predicted = model(*fabric.to_device(inputs))[:, 0].cpu().numpy()
            lost[row, opened] = predicted[0] - predicted[1:]
            done += 1
            progress.step(done)
    return lost


def knock_down(model: nn.Module, examples: Examples, index: np.ndarray, outputs: np.ndarray, fabric: Fabric) -> np.ndarray:
    """Return (index, inputs) what each number of the explained input adds to the prediction: how much is lost when it is halved."""
    lost = np.zeros((len(index), len(examples.names[examples.explained[0]])), dtype=np.float32)
    model.eval()
    for sample in np.unique(index):
        rows = np.flatnonzero(index == sample)
        with torch.no_grad():
            predicted = model(*fabric.to_device(examples.knocked_down(int(sample))))[:, outputs[rows]].cpu().numpy()
        lost[rows] = (predicted[0] - predicted[1:]).T
    return lost


def places(axes: str, examples: Examples, index: np.ndarray, outputs: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the row and the column id of each example ("" where an example on genes spans the rows)."""
    if axes == "samples×genes":
        row, column = np.divmod(index, len(examples.columns))
        return [examples.rows[i] for i in row], [examples.columns[i] for i in column]
    if axes == "samples":
        return [examples.rows[i] for i in index], [examples.columns[i] for i in outputs]
    return [""] * len(index), [examples.columns[i] for i in index]


def write_sequence(file: h5py.File, examples: Examples, index: np.ndarray, shares: np.ndarray) -> None:
    """Store the bases that shares lie along, and the words that raise and lower predictions most."""
    codes = examples.inputs(index)[0].numpy()
    file.create_dataset("sequence", data=codes, chunks=(1, codes.shape[1]), compression="gzip")
    found = word_shares(codes, shares)
    write_ids(file, "words/word", found.word)
    for name in ("share", "count", "evidence"):
        file[f"words/{name}"] = getattr(found, name)


def write_ids(file: h5py.File, name: str, ids: list[str]) -> None:
    """Store ids."""
    file.create_dataset(name, data=np.array(ids, dtype=object), dtype=h5py.string_dtype())


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--prepared", type=Path, required=True, help="what prepare.py wrote for its fold")
    parser.add_argument("--genes", type=int, default=500, help="explain the pairs of so many genes, the most variable ones")
    parser.add_argument("--method", choices=tuple(METHODS), default="integrated_gradients", help="how to share out")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    add_device_options(parser, "device", "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="HDF5: row, column, shares/…, completeness_error")
    return parser


def main(options: argparse.Namespace) -> None:
    """Explain, then say with what."""
    attribute(options)
    write_task(options.task_out, "torch", "captum", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
