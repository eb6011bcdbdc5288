#!/usr/bin/env python3
"""Fit the simple predictors of one family on one fold: dataset.h5 → arrays in one HDF5 file."""

import argparse
import json
from pathlib import Path

from exprcast.baselines import fit_baselines as fit_all
from exprcast.baselines import save_baselines
from exprcast.cli import log, run, write_task
from exprcast.dataset import Dataset
from exprcast.family import check_inputs, example_roles, load_family, make_config
from exprcast.folds import train_rows
from exprcast.means import Fitted
from exprcast.training import make_deterministic


def fit_baselines(options: argparse.Namespace) -> None:
    """Prepare the family's inputs as for training and fit on the same examples."""
    make_deterministic(options.threads)
    family, dataset = load_family(options.family, options.families_dir), Dataset(options.dataset)
    check_inputs(family, dataset)
    config = make_config(family, options.preset, json.loads(options.config))
    roles = example_roles(family, dataset, options.fold)

    def fit_part(with_valid: bool, chosen: dict[str, Fitted] | None = None) -> dict[str, Fitted]:
        state = family.prepare(dataset, train_rows(dataset, options.fold, with_valid), config)
        return fit_all(family, family.examples(dataset, config, state), roles, chosen)

    fitted, selection = fit_part(with_valid=False), None
    log.info(f"{options.family} fold {options.fold}: {', '.join(fitted)}; ridge alpha {fitted['ridge']['alpha'][0]:.2g}")
    if options.refit:
        fitted, selection = fit_part(with_valid=True, chosen=fitted), fitted
        log.info("fitted again on training and validation examples together")
    facts = {"family": options.family, "preset": options.preset, "config": options.config, "fold": options.fold, "code": options.code}
    save_baselines(options.out, fitted, selection, **facts)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", required=True, help="name of a file in exprcast/families")
    parser.add_argument("--preset", default="default", help="named hyper-parameters of the family")
    parser.add_argument("--config", default="{}", help="JSON: single hyper-parameters")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument("--fold", type=int, required=True, help="number of the fold, from 0")
    parser.add_argument(
        "--refit",
        action="store_true",
        help="fit once more on training and validation together, with the penalties and rounds that were best",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; another number gives other last digits")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of fitted arrays")
    return parser


def main(options: argparse.Namespace) -> None:
    """Fit, then say with what."""
    fit_baselines(options)
    write_task(options.task_out, "numpy", "h5py", "torch", "scipy")


if __name__ == "__main__":
    run(main, parse_args())
