#!/usr/bin/env python3
"""Compare all families on the cells that they share: <family>.h5 files → bake_off.tsv."""

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from exprcast.bake_off import Entry, compare
from exprcast.bake_off_table import BAKE_OFF_COLUMNS, COMMON, COUNT, OWN
from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import Dataset
from exprcast.ensemble import family_of
from exprcast.scoring import open_predictions
from exprcast.shared_cells import describe_tested, find_comparable, share
from exprcast.tables import refuse_duplicates, write_table


def bake_off(options: argparse.Namespace) -> None:
    """Write one row a number: of who is compared, then of each family that is not, on its own cells."""
    dataset, rows = Dataset(options.dataset), []
    with ExitStack() as stack:
        files = sorted((stack.enter_context(open_predictions(path)) for path in options.predictions), key=family_of)
        refuse_duplicates(map(family_of, files), "predictions: family")
        if len(files) < 2:
            raise InputError("a bake-off takes predictions of two families; name two in --families")
        tested = {family_of(file): describe_tested(file, dataset) for file in files}
        common, left_out = find_comparable(tested.values())
        if common:
            rows += table_rows(*compare(share(common), dataset, options.seed), COMMON)
        for family, why in left_out.items():
            log.info(f"{family} is left out: {why}")
            if tested[family].cells:
                rows += table_rows(*compare(share([tested[family]]), dataset, options.seed), f"{OWN} {family}: {why}")
    write_table(options.out, BAKE_OFF_COLUMNS, rows)


def table_rows(counts: dict[str, int], entries: Iterable[Entry], cells: str) -> Iterator[list[object]]:
    """Yield the rows of one group of cells: how many there are, then every number."""
    log.info(f"{cells}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    for what, count in counts.items():
        yield ["", "", COUNT, what, cells, "", count, None, None, None]
    for predictor, against, kind, metric, one in entries:
        yield [predictor, against, kind, metric, cells, one.unit, one.value, one.low, one.high, one.n]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="what combine.py (or ensemble.py) wrote, one file a family"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draws")
    parser.add_argument("--out", type=Path, required=True, help="TSV of scores, gains and what one adds to another")
    return parser


def main(options: argparse.Namespace) -> None:
    """Compare, then say with what."""
    bake_off(options)
    write_task(options.task_out, "numpy", "scipy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
