#!/usr/bin/env python3
"""Train one family on one fold with one seed: dataset.h5 and what was prepared of it → a checkpoint and its learning curve."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exprcast.checkpoint import FITTED, save_checkpoint
from exprcast.cli import InputError, add_device_options, log, run, write_task
from exprcast.controls import SHUFFLED, ShuffledExamples, of_family, under
from exprcast.dataset import LEARNT, TRAIN, VALID, Dataset
from exprcast.family import Examples, make_model
from exprcast.means import fit_mean, predict_mean
from exprcast.prepared import Prepared
from exprcast.tables import write_table
from exprcast.training import RESTARTS, Fit, Training, fit, make_deterministic, make_fabric, refit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Run(NamedTuple):
    """One family on one fold, and how its network is trained."""

    prepared: Prepared
    options: argparse.Namespace
    fabric: "Fabric"


def train(options: argparse.Namespace) -> None:
    """Fit the network, once more where the fold was prepared for that, and write what PREDICT needs."""
    make_deterministic(options.threads)
    prepared = Prepared(options.prepared, Dataset(options.dataset), options.families_dir)
    known = ("", SHUFFLED, *of_family(prepared.family))
    if options.control not in known:
        raise InputError(f"--control {options.control[:60]}: {prepared.name} has {', '.join(known[1:])}")
    job = Run(prepared, options, make_fabric(options.device, options.precision, options.devices))
    result, content = choose(job)
    selection = None
    if prepared.refit:
        selection = {key: content[key] for key in FITTED}
        content |= train_again(job, result)
    if job.fabric.global_rank:  # the first process writes
        return
    save_checkpoint(
        options.out, prepared.config, family=prepared.name, preset=prepared.preset, fold=prepared.fold, seed=options.seed,
        trained_seed=result.seed, status=result.status, control=options.control, code=options.code, selection=selection, **content,
    )  # fmt: skip
    columns = ["epoch", "seed", "train_loss", "valid_loss", "spread", "silent"]
    write_table(options.history_out, columns, ([row[column] for column in columns] for row in result.history))
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py", "scipy")


def choose(job: Run) -> tuple[Fit, dict[str, object]]:
    """Train on training examples; validation says when to stop. Return how that went, and what a checkpoint holds of it."""
    prepared, options = job.prepared, job.options
    family, examples = prepared.family, read_examples(job, with_valid=False)
    train, valid = (with_target(examples, np.flatnonzero(prepared.roles == role)) for role in (TRAIN, VALID))
    for part, name in ((train, "training"), (valid, "validation")):
        if not len(part):
            raise InputError(f"{prepared.name} fold {prepared.fold}: no {name} example has a measured {family.TARGET}")
    start_processes(job.fabric)
    log.info(f"{prepared.name}:{prepared.preset} fold {prepared.fold}: {len(train):,} examples to train on, {len(valid):,} to validate")
    restarts = 0 if options.control else RESTARTS  # a control should predict the mean
    offset = known_means(family.EXAMPLES, examples, train, valid)
    network = partial(make_model, family, prepared.config, examples, train)
    result = fit(network, examples, train, valid, prepared.config, options.seed, job.fabric, restarts, offset)
    ids = {"rows": examples.rows, "columns": examples.columns, "unit": examples.unit}
    return result, {**ids, "sizes": examples.sizes, "state": prepared.state(with_valid=False), "weights": result.weights}


def start_processes(fabric: "Fabric") -> None:
    """Run this script's command once more for each further device, now that all was looked at that could be wrong; only the first one talks."""
    fabric.launch()
    if fabric.global_rank:
        log.setLevel("ERROR")


def train_again(job: Run, result: Fit) -> dict[str, object]:
    """Train on training and validation examples together, with the seed and for the epochs that were chosen; return sizes, state and weights."""
    prepared, examples = job.prepared, read_examples(job, with_valid=True)
    train = with_target(examples, np.flatnonzero(np.isin(prepared.roles, LEARNT)))
    log.info(f"trained again on {len(train):,} examples, those of validation among them, for {result.epochs} epochs")
    network = partial(make_model, prepared.family, prepared.config, examples, train)
    weights = refit(Training(network, examples, train, prepared.config, result.seed, job.fabric), result.epochs)
    return {"sizes": examples.sizes, "state": prepared.state(with_valid=True), "weights": weights}


def read_examples(job: Run, with_valid: bool) -> Examples:
    """Return the examples as training rows (and validation rows) prepared them, for a control with shuffled labels or other inputs."""
    prepared, options = job.prepared, job.options
    examples = prepared.examples(with_valid)
    if options.control == SHUFFLED:
        return ShuffledExamples(prepared.family.EXAMPLES, examples, prepared.roles, options.seed)
    return under(prepared.family, examples, options.control, options.seed)


def known_means(axes: str, examples: object, train: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return (valid, outputs) the training means of the validation targets; the mean of all where an output was never seen."""
    return predict_mean(axes, examples, fit_mean(axes, examples, train, valid), valid)


def with_target(examples: object, index: np.ndarray) -> np.ndarray:
    """Keep the examples of which at least one target was measured."""
    parts = np.array_split(index, max(1, len(index) // 100_000))
    return np.concatenate([part[(~examples.targets(part).isnan()).any(dim=1).numpy()] for part in parts])


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, required=True, help="what prepare.py wrote: says family, preset and fold")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, batches and dropout")
    parser.add_argument(
        "--control",
        default="",
        help="shuffled: train on shuffled labels, what a model scores that knows nothing; or one of the family's own",
    )
    parser.add_argument("--devices", type=int, default=1, help="GPUs (or processes on a CPU) that share each batch (default: %(default)s)")
    add_device_options(parser, "device", "precision", "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--history-out", type=Path, required=True, help="TSV, one row an epoch")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint")
    return parser


def main(options: argparse.Namespace) -> None:
    """Train; the first process says with what."""
    train(options)


if __name__ == "__main__":
    run(main, parse_args())
