#!/usr/bin/env python3
"""Train one family on one fold with one seed: dataset.h5 → a checkpoint and its learning curve."""

import argparse
import json
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exprcast.checkpoint import FITTED, save_checkpoint
from exprcast.cli import InputError, log, run, write_task
from exprcast.controls import SHUFFLED, ShuffledExamples
from exprcast.dataset import TRAIN, VALID, Dataset
from exprcast.family import Examples, check_inputs, example_roles, load_family, make_config, make_model
from exprcast.folds import train_rows
from exprcast.means import fit_mean, predict_mean
from exprcast.tables import write_table
from exprcast.training import RESTARTS, Fit, Settings, Training, fit, make_deterministic, make_fabric, refit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Fold(NamedTuple):
    """One family on one fold."""

    family: ModuleType
    dataset: Dataset
    config: Settings
    roles: np.ndarray  # (examples,)
    options: argparse.Namespace
    fabric: "Fabric"


def train(options: argparse.Namespace) -> None:
    """Fit the network, once more with --refit, and write what PREDICT needs."""
    make_deterministic(options.threads)
    fabric = make_fabric(options.device, options.precision)
    family, dataset = load_family(options.family, options.families_dir), Dataset(options.dataset)
    check_inputs(family, dataset)
    if not 0 <= options.fold < dataset.n_folds:
        raise InputError(f"--fold {options.fold}: {options.dataset.name} has folds 0 to {dataset.n_folds - 1}")
    config = make_config(family, options.preset, json.loads(options.config))
    fold = Fold(family, dataset, config, example_roles(family, dataset, options.fold), options, fabric)
    result, content = choose(fold)
    selection = None
    if options.refit:
        selection = {key: content[key] for key in FITTED}
        content |= train_again(fold, result)
    save_checkpoint(
        options.out, config, family=options.family, preset=options.preset, fold=options.fold, seed=options.seed, trained_seed=result.seed,
        status=result.status, control=options.control, code=options.code, selection=selection, **content,
    )  # fmt: skip
    columns = ["epoch", "seed", "train_loss", "valid_loss", "spread", "silent"]
    write_table(options.history_out, columns, ([row[column] for column in columns] for row in result.history))


def choose(fold: Fold) -> tuple[Fit, dict[str, object]]:
    """Train on training examples; validation says when to stop. Return how that went, and what a checkpoint holds of it."""
    options = fold.options
    state, examples = read_examples(fold, with_valid=False)
    train, valid = (with_target(examples, np.flatnonzero(fold.roles == role)) for role in (TRAIN, VALID))
    for part, name in ((train, "training"), (valid, "validation")):
        if not len(part):
            raise InputError(f"{options.family} fold {options.fold}: no {name} example has a measured {fold.family.TARGET}")
    log.info(f"{options.family}:{options.preset} fold {options.fold}: {len(train):,} examples to train on, {len(valid):,} to validate")
    restarts = 0 if options.control else RESTARTS  # a control should predict the mean
    offset = known_means(fold.family.EXAMPLES, examples, train, valid)
    network = partial(make_model, fold.family, fold.config, examples, train)
    result = fit(network, examples, train, valid, fold.config, options.seed, fold.fabric, restarts, offset)
    ids = {"rows": examples.rows, "columns": examples.columns, "unit": examples.unit}
    return result, {**ids, "sizes": examples.sizes, "state": state, "weights": result.weights}


def train_again(fold: Fold, result: Fit) -> dict[str, object]:
    """Train on training and validation examples together, with the seed and for the epochs that were chosen; return sizes, state and weights."""
    state, examples = read_examples(fold, with_valid=True)
    train = with_target(examples, np.flatnonzero(fold.roles <= VALID))
    log.info(f"trained again on {len(train):,} examples, those of validation among them, for {result.epochs} epochs")
    network = partial(make_model, fold.family, fold.config, examples, train)
    weights = refit(Training(network, examples, train, fold.config, result.seed, fold.fabric), result.epochs)
    return {"sizes": examples.sizes, "state": state, "weights": weights}


def read_examples(fold: Fold, with_valid: bool) -> tuple[dict[str, object], Examples]:
    """Return the state of the family that training rows (and validation rows) give, and the examples read with it."""
    state = fold.family.prepare(fold.dataset, train_rows(fold.dataset, fold.options.fold, with_valid), fold.config)
    examples = fold.family.examples(fold.dataset, fold.config, state)
    if fold.options.control == SHUFFLED:
        examples = ShuffledExamples(fold.family.EXAMPLES, examples, fold.roles, fold.options.seed)
    return state, examples


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
    parser.add_argument("--family", required=True, help="name of a file in exprcast/families")
    parser.add_argument("--preset", default="default", help="named hyper-parameters of the family")
    parser.add_argument("--config", default="{}", help="JSON: single hyper-parameters")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument("--fold", type=int, required=True, help="number of the fold, from 0")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, batches and dropout")
    parser.add_argument(
        "--control", choices=("", SHUFFLED), default="", help="train on shuffled labels: what a model scores that knows nothing"
    )
    parser.add_argument(
        "--refit", action="store_true", help="train once more on training and validation together, for as many epochs as were best"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is one")
    parser.add_argument(
        "--precision", default="32-true", choices=("32-true", "bf16-mixed", "16-mixed"), help="number format of the arithmetic"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number gives other last digits")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--history-out", type=Path, required=True, help="TSV, one row an epoch")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint")
    return parser


def main(options: argparse.Namespace) -> None:
    """Train, then say with what."""
    train(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py", "scipy")


if __name__ == "__main__":
    run(main, parse_args())
