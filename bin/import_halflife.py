#!/usr/bin/env python3
"""Read a published table of half-life features: gene id and eight columns → one table with its scale, as the dataset takes it."""

import argparse
from pathlib import Path

from exprcast.cli import run, write_task
from exprcast.halflife import FEATURES
from exprcast.promoter_tables import read_halflife
from exprcast.tables import write_matrix


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--halflife", type=Path, required=True, help=f"TSV: gene_id (or ENSID), {', '.join(FEATURES)}")
    parser.add_argument("--out", type=Path, required=True, help="TSV: gene and the eight features")
    return parser


def main(options: argparse.Namespace) -> None:
    """Import, then say with what."""
    write_matrix(options.out, read_halflife(options.halflife))
    write_task(options.task_out, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
