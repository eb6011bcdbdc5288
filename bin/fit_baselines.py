#!/usr/bin/env python3
"""Fit the simple predictors of one family on one fold: dataset.h5 and what was prepared of it → arrays in one HDF5 file."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from exprcast.baselines import fit_baselines as fit_all
from exprcast.baselines import save_baselines
from exprcast.cli import add_device_options, log, run, write_task
from exprcast.dataset import Dataset
from exprcast.prepared import Prepared
from exprcast.training import make_deterministic


def fit_baselines(options: argparse.Namespace) -> None:
    """Fit on the same inputs and examples as the network is trained on, once more where the fold was prepared for that."""
    make_deterministic(options.threads)
    prepared = Prepared(options.prepared, Dataset(options.dataset), options.families_dir)
    fitted, selection = fit_all(prepared.family, prepared.examples(with_valid=False), prepared.roles), None
    log.info(f"{prepared.name} fold {prepared.fold}: {', '.join(fitted)}; ridge alpha {fitted['ridge']['alpha'][0]:.2g}")
    if prepared.refit:
        fitted, selection = fit_all(prepared.family, prepared.examples(with_valid=True), prepared.roles, fitted), fitted
        log.info("fitted again on training and validation examples together")
    facts = prepared.source | {"config": json.dumps(asdict(prepared.config)), "code": options.code}
    save_baselines(options.out, fitted, selection, **facts)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, required=True, help="what prepare.py wrote: says family, preset and fold")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    add_device_options(parser, "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of fitted arrays")
    return parser


def main(options: argparse.Namespace) -> None:
    """Fit, then say with what."""
    fit_baselines(options)
    write_task(options.task_out, "numpy", "h5py", "torch", "scipy")


if __name__ == "__main__":
    run(main, parse_args())
