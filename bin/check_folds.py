#!/usr/bin/env python3
"""Check a dataset's folds: dataset.h5 → their numbers, and what test and training share; a promise that is not kept stops the run."""

import argparse
from pathlib import Path

from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.dataset import Dataset
from exprcast.leakage import Leak, Near, leakage, nearest, promised_leaks
from exprcast.tables import write_table

WORDS = {
    "chrom": "a chromosome",
    "accession": "a study (their groups are parts of it: group by its accession instead)",
    "twin": "near-duplicates",
    "peaks": "exactly the same peaks",
    "expression": "exactly the same expression",
    "promoter": "exactly the same promoter",
}
SAME_SAMPLE = (
    "hold them out together (one replicate_group in the samplesheet, and replicate_group in --group_by; or the same folds in the fold table), "
    "or leave one of them out"
)
MEND = {
    "peaks": SAME_SAMPLE,
    "expression": SAME_SAMPLE,
    "promoter": "keep them together in the fold table, or promise less with --gene_groups chromosome or random",
    "chrom": "keep each chromosome together in the fold table, or promise less with --gene_groups random",
    "paralog_group": "keep each group together in the fold table, or promise less with --gene_groups chromosome or random",
}
MEND_GROUP = "keep each {} together in the fold table, or promise less with --group_by (random promises no group)"


def check_folds(dataset: Path, leakage_out: Path, nearest_out: Path, out: Path) -> None:
    """Open the dataset, which checks it, compare test with training, and write 0, 1, 2 … and both tables."""
    opened = Dataset(dataset)
    log.info(
        f"{dataset.name}: {f'{len(opened.samples):,} samples, ' * bool(opened.samples)}{len(opened.genes):,} genes, {opened.n_folds} folds of {opened.hold_out}"
    )
    near = nearest(opened)
    rows = leakage(opened, near)
    for row in rows:
        if row.folds:
            log.warning(f"warning: {sharing(row, opened.n_folds)}")
    refuse_broken_promises(promised_leaks(rows), opened.n_folds, dataset.name)
    write_table(leakage_out, Leak._fields, rows)
    write_table(nearest_out, Near._fields, near)
    with whole_file(out) as temporary:
        temporary.write_text("".join(f"{fold}\n" for fold in range(opened.n_folds)))


def sharing(row: Leak, folds: int) -> str:
    """Say in a sentence what test and training share."""
    what = WORDS.get(row.shared, f"a {row.shared.replace('_', ' ')}")
    return f"test and training {row.axis} share {what} in {row.folds} of {folds} folds: {row.names}"


def refuse_broken_promises(leaks: list[Leak], folds: int, name: str) -> None:
    """Raise InputError for the first leak that was promised not to be, with the number of the others and what to do."""
    if leaks:
        first = leaks[0]
        more = f" (and {len(leaks) - 1} more: {', '.join(leak.shared for leak in leaks[1:])})" if len(leaks) > 1 else ""
        raise InputError(f"{name}: {sharing(first, folds)}{more}; {MEND.get(first.shared) or MEND_GROUP.format(first.shared)}")


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--leakage-out", type=Path, required=True, help=f"TSV: {', '.join(Leak._fields)}")
    parser.add_argument("--nearest-out", type=Path, required=True, help=f"TSV: {', '.join(Near._fields)}")
    parser.add_argument("--out", type=Path, required=True, help="one number a line")
    return parser


def main(options: argparse.Namespace) -> None:
    """Check, then say with what."""
    check_folds(options.dataset, options.leakage_out, options.nearest_out, options.out)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
