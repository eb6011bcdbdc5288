#!/usr/bin/env python3
"""Share out a checkpoint's test predictions over what it read: dataset.h5 and a checkpoint → shares with their completeness error."""

import argparse
from pathlib import Path

import h5py
import numpy as np

from exprcast.attribution import integrated_gradients
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import log, run, whole_file, write_task
from exprcast.dataset import TEST, Dataset
from exprcast.family import example_roles, load_family
from exprcast.training import make_deterministic, make_fabric


def attribute(options: argparse.Namespace) -> None:
    """Explain the test examples of the genes that vary most, up to --genes of them."""
    make_deterministic(options.threads)
    dataset, content = Dataset(options.dataset), load_checkpoint(options.checkpoint)
    family = load_family(content["family"], options.families_dir)
    config = family.Config(**content["config"])
    examples = family.examples(dataset, config, content["state"])
    model = family.Model(config, content["sizes"])
    model.load_state_dict(content["weights"])
    fabric = make_fabric(options.device, "32-true")
    index = chosen_examples(family.EXAMPLES, examples, example_roles(family, dataset, content["fold"]), options.genes)
    result = integrated_gradients(fabric.setup_module(model), examples, index, 0, fabric)
    worst = float(result.completeness_error.max(initial=0))
    log.info(f"{len(index):,} examples explained; shares miss the change of the prediction by at most {worst:.2g}")
    with whole_file(options.out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({key: content[key] for key in ("family", "preset", "fold", "seed", "code", "unit")})
        file.attrs.update({"method": "integrated gradients", "completeness_error_max": worst, **examples.sizes})
        row, column = places(family.EXAMPLES, examples, index)
        write_ids(file, "row", row)
        write_ids(file, "column", column)
        if hasattr(examples, "tss"):  # the start site that this fold's training chose for each gene
            file["tss"] = examples.tss[index % len(examples.columns)]
        for name, shares in result.shares.items():
            file.create_dataset(f"shares/{name}", data=shares, chunks=(1, *shares.shape[1:]), compression="gzip")
        for name in ("predicted", "reference", "completeness_error"):
            file.create_dataset(name, data=getattr(result, name).astype(np.float32))


def chosen_examples(axes: str, examples: object, roles: np.ndarray, genes: int) -> np.ndarray:
    """Return test examples; of pairs only those of the genes whose observed values vary most (fully measured genes first)."""
    test = np.flatnonzero(roles == TEST)
    if axes != "samples×genes" or genes >= len(examples.columns):
        return test
    width = len(examples.columns)
    values = examples.targets(np.arange(len(examples))).numpy().reshape(-1, width)
    kept = np.argsort(-np.nan_to_num(values.std(axis=0)), kind="stable")[:genes]
    return test[np.isin(test % width, kept)]


def places(axes: str, examples: object, index: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the row and the column id of each example ("" where an example spans that axis)."""
    if axes == "samples×genes":
        row, column = np.divmod(index, len(examples.columns))
        return [examples.rows[i] for i in row], [examples.columns[i] for i in column]
    if axes == "samples":
        return [examples.rows[i] for i in index], [""] * len(index)
    return [""] * len(index), [examples.columns[i] for i in index]


def write_ids(file: h5py.File, name: str, ids: list[str]) -> None:
    """Store ids."""
    file.create_dataset(name, data=np.array(ids, dtype=object), dtype=h5py.string_dtype())


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--genes", type=int, default=500, help="explain the pairs of so many genes, the most variable ones")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number gives other last digits")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="HDF5: row, column, shares/…, completeness_error")
    return parser


def main(options: argparse.Namespace) -> None:
    """Explain, then say with what."""
    attribute(options)
    write_task(options.task_out, "torch", "captum", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
