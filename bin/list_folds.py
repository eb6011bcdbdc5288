#!/usr/bin/env python3
"""List the folds of a dataset: dataset.h5 → their numbers, one a line."""

import argparse
from pathlib import Path

from exprcast.cli import log, run, whole_file, write_task
from exprcast.dataset import Dataset


def list_folds(dataset: Path, out: Path) -> None:
    """Open the dataset, which checks it, and write 0, 1, 2 …"""
    opened = Dataset(dataset)
    log.info(f"{dataset.name}: {len(opened.samples):,} samples, {len(opened.genes):,} genes, {opened.n_folds} folds of {opened.hold_out}")
    with whole_file(out) as temporary:
        temporary.write_text("".join(f"{fold}\n" for fold in range(opened.n_folds)))


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--out", type=Path, required=True, help="one number a line")
    return parser


def main(options: argparse.Namespace) -> None:
    """List, then say with what."""
    list_folds(options.dataset, options.out)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
