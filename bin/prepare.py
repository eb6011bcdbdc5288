#!/usr/bin/env python3
"""Prepare one family on one fold: dataset.h5 → a folder of what the family learns before training and of the arrays that it reads."""

import argparse
import json
from pathlib import Path

from exprcast.cli import InputError, add_device_options, run, write_task
from exprcast.dataset import Dataset
from exprcast.family import check_inputs, load_family, make_config
from exprcast.prepared import save_prepared
from exprcast.training import make_deterministic


def prepare(options: argparse.Namespace) -> None:
    """Check that the family can use the dataset, then learn from training rows; with --refit from those of validation, too."""
    make_deterministic(options.threads)
    family, dataset = load_family(options.family, options.families_dir), Dataset(options.dataset)
    check_inputs(family, dataset)
    if not 0 <= options.fold < dataset.n_folds:
        raise InputError(f"--fold {options.fold}: {options.dataset.name} has folds 0 to {dataset.n_folds - 1}")
    config = make_config(family, options.preset, json.loads(options.config))
    facts = {key: getattr(options, key) for key in ("family", "preset", "fold", "refit", "code")}
    save_prepared(options.out, family, dataset, config, facts)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", required=True, help="name of a file in exprcast/families")
    parser.add_argument("--preset", default="default", help="named hyper-parameters of the family")
    parser.add_argument("--config", default="{}", help="JSON: single hyper-parameters")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument("--fold", type=int, required=True, help="number of the fold, from 0")
    parser.add_argument("--refit", action="store_true", help="prepare also for a second fit, on training and validation together")
    add_device_options(parser, "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    return parser


def main(options: argparse.Namespace) -> None:
    """Prepare, then say with what."""
    prepare(options)
    write_task(options.task_out, "torch", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
