#!/usr/bin/env python3
"""Read tables of labels: gene ids and columns of numbers → one table with its unit, as the dataset takes it."""

import argparse
from pathlib import Path

from exprcast.cli import run, write_task
from exprcast.promoter_tables import LABEL_UNITS, read_labels
from exprcast.tables import write_matrix


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="TSVs: gene_id (or ENSID) and columns of numbers")
    parser.add_argument(
        "--columns", type=lambda text: [part for part in text.split(",") if part], default=[], help="those that are labels (default: all)"
    )
    parser.add_argument("--unit", choices=LABEL_UNITS, default="log10_rpkm", help="tpm, rpkm and cpm become log10(x + 0.1)")
    parser.add_argument("--out", type=Path, required=True, help="TSV: gene and one column a label")
    return parser


def main(options: argparse.Namespace) -> None:
    """Import, then say with what."""
    write_matrix(options.out, read_labels(options.labels, options.columns, options.unit))
    write_task(options.task_out, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
