"""The table of a bake-off (bake_off.tsv): its columns, and the same read for the report."""

from pathlib import Path
from typing import NamedTuple

from exprcast.cli import InputError
from exprcast.metrics import Estimate
from exprcast.tables import parse_number, read_table

BAKE_OFF_COLUMNS = ("predictor", "against", "kind", "metric", "cells", "unit", "value", "low", "high", "n")
SCORE, GAIN, ADDS = "score", "gain", "adds"  # kinds of numbers: of one predictor, more than another, more with another than alone
COUNT = "count"  # of samples, genes, folds and values
COMMON, OWN = "common", "own"  # cells that all families test; those of a family that is left out: "own: ‹why›"
MEAN, ALL = "mean", "all"  # predictors that are no family: the training mean, the mean of all members
COUNTED = ("samples", "genes", "folds", "values")


class Compared(NamedTuple):
    """What was found on the same cells."""

    why: str  # of a family alone: why it is left out
    counts: dict[str, int]  # samples, genes, folds, values
    predictors: list[str]  # those that have a score
    numbers: dict[tuple[str, str, str, str], Estimate]  # predictor, against, kind, metric

    def number(self, predictor: str, metric: str, against: str = "", kind: str = SCORE) -> Estimate:
        """Return one number, NaN where the table has none."""
        return self.numbers.get((predictor, against, kind, metric), Estimate(float("nan")))


def read_bake_off(path: Path) -> tuple[Compared | None, dict[str, Compared]]:
    """Return what families were found to be on common cells, None where no two share any; and each family that was left out."""
    groups: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in read_table(path, BAKE_OFF_COLUMNS):
        groups.setdefault(row["cells"], []).append((line, row))
    found = {cells: read_group(path, cells, rows) for cells, rows in groups.items()}
    common = found.pop(COMMON, None)
    return common, {cells.split(":")[0].removeprefix(f"{OWN} "): one for cells, one in found.items()}


def read_group(path: Path, cells: str, rows: list[tuple[int, dict[str, str]]]) -> Compared:
    """Return the rows of one group of cells."""
    counts, numbers = {}, {}
    for line, row in rows:
        value, low, high, n = (parse_number(row[name], path, line, name) for name in ("value", "low", "high", "n"))
        if row["kind"] == COUNT:
            counts[row["metric"]] = int(value)
        else:
            numbers[row["predictor"], row["against"], row["kind"], row["metric"]] = Estimate(value, low, high, n, row["unit"])
    lacking = [name for name in COUNTED if name not in counts]
    if lacking:
        raise InputError(f"{path.name}: no count of {', '.join(lacking)} ({cells}); compare again with bake_off.py")
    predictors = list(dict.fromkeys(predictor for predictor, _, kind, _ in numbers if kind == SCORE))
    return Compared(cells.partition(": ")[2], counts, predictors, numbers)
