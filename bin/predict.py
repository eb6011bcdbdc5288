#!/usr/bin/env python3
"""Predict held-out examples of one fold: dataset.h5 and a checkpoint (or fitted baselines) → matrices in one HDF5 file."""

import argparse
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np

from exprcast.baselines import baseline_names, load_baselines, predict_baseline
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import Progress, add_device_options, run, whole_file, write_task
from exprcast.controls import under
from exprcast.dataset import LEARNT, TEST, TRAIN, VALID, Dataset
from exprcast.family import Examples, describe_methods, place
from exprcast.means import nan_mean, target_matrix
from exprcast.prepared import Prepared
from exprcast.training import fitting_batch, make_deterministic, make_fabric
from exprcast.training import predict as predict_examples

BLOCK = 65_536


def predict(options: argparse.Namespace) -> None:
    """Predict validation and test examples; training rows stay NaN."""
    make_deterministic(options.threads)
    prepared = Prepared(options.prepared, Dataset(options.dataset), options.families_dir)
    matrices, facts, examples = (predict_checkpoint if options.checkpoint else predict_baselines)(options, prepared)
    with whole_file(options.out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({**facts, "axes": prepared.family.EXAMPLES, "unit": examples.unit, "of": what_predicts(options, facts)})
        for name, ids in (("rows", examples.rows), ("columns", examples.columns)):
            file.create_dataset(name, data=np.array(ids, dtype=object), dtype=h5py.string_dtype())
        for name, matrix in matrices.items():
            file.create_dataset(name, data=matrix, chunks=(1, matrix.shape[1]), compression="gzip")


def what_predicts(options: argparse.Namespace, facts: dict) -> str:
    """Return "baselines", "model", or the name of the control that the checkpoint is."""
    return facts["control"] or "model" if options.checkpoint else "baselines"


def fits(final: dict, selection: dict | None) -> list[tuple[dict, bool, list[int]]]:
    """Return each fit, whether it saw validation examples, and the roles that it predicts: with --refit the first fit those of validation."""
    return [(final, False, [VALID, TEST])] if selection is None else [(selection, False, [VALID]), (final, True, [TEST])]


def predict_checkpoint(options: argparse.Namespace, prepared: Prepared) -> tuple[dict[str, np.ndarray], dict, Examples]:
    """Return the network's matrix, facts for the file, and the examples."""
    content = load_checkpoint(options.checkpoint)
    family, config, fabric = prepared.family, prepared.config, make_fabric(options.device, options.precision)
    prepared.refuse_other_checkpoint(options.checkpoint, content)
    matrices: dict[str, np.ndarray] = {}
    for fitted, with_valid, held_out in fits(content, content["selection"]):
        examples = under(family, prepared.examples(with_valid), content["control"], content["seed"])
        model = family.Model(config, fitted["sizes"])
        model.load_state_dict(fitted["weights"])
        network = partial(predict_examples, fabric.setup(model), examples, batch_size=fitting_batch(examples), fabric=fabric)
        fill(
            matrices, {"model": lambda index, network=network: network(index).numpy()}, family, examples, np.isin(prepared.roles, held_out)
        )
    facts = {key: content[key] for key in ("family", "preset", "fold", "seed", "trained_seed", "status", "control", "code")}
    facts["refit"] = prepared.refit
    facts["methods"] = describe_methods(family, config, prepared.refit)
    return matrices, facts, examples


def predict_baselines(options: argparse.Namespace, prepared: Prepared) -> tuple[dict[str, np.ndarray], dict, Examples]:
    """Return the same for every fitted baseline, and what predictions are judged by."""
    final, selection, facts = load_baselines(options.baselines)
    prepared.refuse_other(options.baselines, facts | {"config": json.loads(str(facts["config"]))})
    family, matrices = prepared.family, {}
    for fitted, with_valid, held_out in fits(final, selection):
        examples = prepared.examples(with_valid)
        parts = {name: partial(predict_baseline, family, examples, fitted, name) for name in baseline_names(family.EXAMPLES, examples)}
        fill(matrices, parts, family, examples, np.isin(prepared.roles, held_out))
    facts = {key: facts[key] for key in ("family", "preset", "fold", "code", "refit")}
    return matrices | truth(family, examples, prepared.roles, prepared.refit), facts, examples


def truth(family: ModuleType, examples: Examples, roles: np.ndarray, refit: bool) -> dict[str, np.ndarray]:
    """Return what predictions are judged by: all targets as a matrix, the role of each of its cells in this fold, training means."""
    every = np.arange(len(examples))
    observed = target_matrix(family.EXAMPLES, examples, every)
    role = np.empty(observed.shape, dtype=np.uint8)
    place(family.EXAMPLES, role, every, roles[:, None])
    fitted = np.isin(role, LEARNT) if refit else role == TRAIN
    mean, sd = training_moments(family.EXAMPLES, observed, fitted)
    return {"observed": observed, "role": role, "training_mean": mean, "training_sd": sd}


def training_moments(axes: str, observed: np.ndarray, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (1, columns) means and standard deviations over the rows with fitted cells, for scores as deviations and in standard deviations
    (examples on genes: (rows, 1) over such columns).

    A gene held out has them too: those over training samples, known to the judge and not to the model.
    """
    axis = 1 if axes == "genes" else 0
    training = fitted.any(axis=1 - axis)
    values = observed[:, training] if axis else observed[training]
    mean = np.expand_dims(nan_mean(values, axis=axis), axis)
    sd = np.sqrt(np.expand_dims(nan_mean((values - mean) ** 2, axis=axis), axis))
    return mean.astype(np.float32), sd.astype(np.float32)


def fill(matrices: dict[str, np.ndarray], parts: dict, family: ModuleType, examples: Examples, held_out: np.ndarray) -> None:
    """Write the predictions of the examples that are held out (examples,) into {name: (rows, columns) float32}, NaN elsewhere."""
    for name in parts.keys() - matrices:
        matrices[name] = np.full((len(examples.rows), len(examples.columns)), np.nan, dtype=np.float32)
    wanted = np.flatnonzero(held_out)
    progress = Progress(len(wanted), "examples predicted")
    for start in range(0, len(wanted), BLOCK):
        index = wanted[start : start + BLOCK]
        for name, values_of in parts.items():
            place(family.EXAMPLES, matrices[name], index, values_of(index))
        progress.step(start + len(index))


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="what train.py wrote")
    source.add_argument("--baselines", type=Path, help="what fit_baselines.py wrote")
    parser.add_argument("--prepared", type=Path, required=True, help="what prepare.py wrote for that fold")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    add_device_options(parser, "device", "precision", "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="HDF5: rows, columns and one matrix a predictor")
    return parser


def main(options: argparse.Namespace) -> None:
    """Predict, then say with what."""
    predict(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
