"""Which families test the same cells (row, column, fold) of the same values, and what each has there, read in blocks of rows.

Rows, columns and folds meet by id. What families predict is the same if the unit, the observed values and the training means are.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.dataset import TEST, Dataset
from exprcast.ensemble import Member, family_of
from exprcast.estimates import sets_of
from exprcast.scoring import read_mean, row_blocks

ALMOST = 1e-4  # values that differ by a smaller part of their size are the same: rounding of float32
ENSEMBLE = "ensemble"  # averages others, and alone is nothing to compare with

Axes = tuple[frozenset[str], frozenset[str]]  # ids of rows and of columns


class Tested(NamedTuple):
    """What one file tests; samples of external sets, which have scores of their own, are left out."""

    file: h5py.File
    rows: dict[str, int]  # id → number
    columns: dict[str, int]
    folds: dict[int, Axes]  # fold → rows and columns with a cell that is tested
    cells: int

    @property
    def family(self) -> str:
        """Return the name of the family that predicted."""
        return family_of(self.file)

    @property
    def row(self) -> str:
        """Return what a row is."""
        return "labels" if str(self.file.attrs["axes"]) == "genes" else "samples"


class Shared(NamedTuple):
    """Rows, columns and folds that all these files test, in the order of the first, and where each file has them."""

    files: list[h5py.File]
    rows: list[str]
    columns: list[str]
    folds: list[int]
    tested: np.ndarray  # (folds, rows): does a fold test a cell of the row?
    places: list[tuple[np.ndarray, np.ndarray, list[int]]]  # of each file: numbers of these rows, columns and folds

    @property
    def axes(self) -> str:
        """Return what examples lie on: of samples and samples×genes the latter."""
        return max((str(file.attrs["axes"]) for file in self.files), key=len)

    def blocks(self) -> list[slice]:
        """Return slices of the rows, as many at once as a file has in a chunk."""
        step = min(rows.stop - rows.start for file in self.files for rows in row_blocks(file)[:1])
        return [slice(start, min(start + step, len(self.rows))) for start in range(0, len(self.rows), step)]

    def take(self, file: h5py.File, read: Callable[[int, slice], np.ndarray], fold: int, rows: slice | np.ndarray) -> np.ndarray:
        """Return (rows, columns) of what read(fold, rows) returns of one file by its own numbers."""
        own_rows, own_columns, own_folds = self.places[self.files.index(file)]
        index = own_rows[rows]
        first, last = int(index.min()), int(index.max())
        values = read(own_folds[fold], slice(first, last + 1))
        if len(values) > 1 and not np.array_equal(index, np.arange(first, last + 1)):
            values = values[index - first]
        whole = np.array_equal(own_columns, np.arange(values.shape[1]))
        return values if whole or values.shape[1] == 1 else values[:, own_columns]

    def predictions(self, members: Sequence[Member], fold: int, rows: np.ndarray) -> np.ndarray:
        """Return (members, rows, columns) float64."""
        found = np.empty((len(members), len(rows), len(self.columns)))
        for k, one in enumerate(members):
            found[k] = self.take(one.file, one.read, fold, rows)
        return found

    def training_mean(self, fold: int, rows: np.ndarray) -> np.ndarray:
        """Return (rows, columns) float64, the mean that deviations are from."""
        file = self.files[0]
        mean = self.take(file, partial(read_mean, file), fold, rows)
        return np.broadcast_to(mean, (len(rows), len(self.columns))).astype(np.float64)

    def observed(self, fold: int, rows: slice, role: int) -> np.ndarray:
        """Return (rows, columns) float64; NaN where a file has another role, or no value."""
        same = np.all([self.take(file, partial(read_role, file), fold, rows) == role for file in self.files], axis=0)
        if not same.any():
            return np.full(same.shape, np.nan)
        found = [self.take(file, partial(read_observed, file), fold, rows) for file in self.files]
        return np.where(same & ~np.isnan(found).any(axis=0), found[0], np.nan).astype(np.float64)


def describe_tested(file: h5py.File, dataset: Dataset) -> Tested:
    """Return what a file tests, fold by fold; roles are read in blocks of rows."""
    rows, columns = (list(file[name].asstr()[:]) for name in ("rows", "columns"))
    own, _ = sets_of(rows, dataset)
    folds, cells = {}, 0
    for i, fold in enumerate(file["folds"][:].tolist()):
        blocks = [(file["role"][i, block] == TEST) & own[block, None] for block in row_blocks(file)]
        by_row, by_column = np.concatenate([block.any(axis=1) for block in blocks]), np.any([block.any(axis=0) for block in blocks], axis=0)
        cells += sum(int(block.sum()) for block in blocks)
        if by_row.any():
            folds[fold] = frozenset(np.array(rows)[by_row].tolist()), frozenset(np.array(columns)[by_column].tolist())
    numbers = ({name: number for number, name in enumerate(names)} for names in (rows, columns))
    return Tested(file, *numbers, folds, cells)


def intersect(one: dict[int, Axes], other: dict[int, Axes]) -> dict[int, Axes]:
    """Return the folds in which two test the same cells, and the rows and columns of these."""
    both = {fold: (one[fold][0] & other[fold][0], one[fold][1] & other[fold][1]) for fold in one.keys() & other.keys()}
    return {fold: axes for fold, axes in both.items() if all(axes)}


def share(tested: Sequence[Tested]) -> Shared:
    """Return what all of these test; they must have a cell in common."""
    folds = tested[0].folds
    for other in tested[1:]:
        folds = intersect(folds, other.folds)
    first = tested[0]
    ids = [sorted(frozenset().union(*(axes[k] for axes in folds.values())), key=numbers.get) for k, numbers in enumerate(first[1:3])]
    in_fold = np.array([[row in folds[fold][0] for row in ids[0]] for fold in sorted(folds)])
    places = []
    for one in tested:
        number = {fold: i for i, fold in enumerate(one.file["folds"][:].tolist())}
        own = (np.array([numbers[name] for name in names]) for names, numbers in zip(ids, one[1:3], strict=True))
        places.append((*own, [number[fold] for fold in sorted(folds)]))
    return Shared([one.file for one in tested], *ids, sorted(folds), in_fold, places)


def find_comparable(tested: Iterable[Tested]) -> tuple[list[Tested], dict[str, str]]:
    """Return the largest group of files that test the same values, by family, and {family left out: why}; no group of one family.

    Groups grow from who tests most, so that who tests little does not decide what is compared.
    """
    groups: list[list[Tested]] = []
    for one in sorted(tested, key=lambda one: (-one.cells, one.family)):
        fitting = next((group for group in groups if not difference(group, one)), None)
        if fitting:
            fitting.append(one)
        else:
            groups.append([one])
    size = lambda group: sum(one.family != ENSEMBLE for one in group)  # noqa: E731
    largest = max(groups, key=size)  # of equally large ones the one that tests most
    others = [one for group in groups for one in group if group is not largest]
    if size(largest) < 2:
        return [], {one.family: "no other family tests the same values" for group in groups for one in group}
    return sorted(largest, key=lambda one: one.family), {
        one.family: difference(largest, one) for one in sorted(others, key=lambda one: one.family)
    }


def difference(group: Sequence[Tested], one: Tested) -> str:
    """Say why a file cannot be compared with a group; "" if it can."""
    first, unit = group[0], str(one.file.attrs["unit"])
    if not one.folds:
        return "it tests nothing"
    if one.row != first.row:
        return f"its rows are {one.row}, those of {first.family} {first.row}"
    if unit != str(first.file.attrs["unit"]):
        return f"another unit, {unit}, than {first.family}"
    folds = one.folds
    for other in group:
        folds = intersect(folds, other.folds)
    return differing_values(share([first, one])) if folds else f"no cell that {first.family} tests"


def differing_values(shared: Shared) -> str:
    """Say in what two files differ where both test a cell: observed values or training means; "" if in neither."""
    first, other = shared.files
    for rows in shared.blocks():
        for fold in np.flatnonzero(shared.tested[:, rows].any(axis=1)):
            known = ~np.isnan(shared.observed(fold, rows, TEST))
            for name, read in (("observed values", read_observed), ("training means", read_mean)):
                values = [shared.take(file, partial(read, file), fold, rows) for file in (first, other)]
                one, two = (np.broadcast_to(part, known.shape)[known] for part in values)
                if not np.allclose(one, two, rtol=ALMOST, atol=ALMOST, equal_nan=True):
                    return f"other {name} than {family_of(first)}"
    return ""


def read_observed(file: h5py.File, _fold: int, rows: slice) -> np.ndarray:
    """Return (rows, columns) of what was measured, the same in all folds."""
    return file["observed"][rows]


def read_role(file: h5py.File, fold: int, rows: slice) -> np.ndarray:
    """Return (rows, columns) roles in a fold."""
    return file["role"][fold, rows]
