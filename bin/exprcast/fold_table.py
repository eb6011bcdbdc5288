"""A user's own folds: a table of samples or of genes, and the role of each in every fold."""

import csv
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID
from exprcast.tables import few, read_lines, refuse_duplicates, strip_version

ROLES = {"train": TRAIN, "valid": VALID, "test": TEST}


class FoldTable(NamedTuple):
    """A user's own folds: which id has which role in each."""

    name: str  # of the file
    ids: list[str]
    folds: list[str]  # names of its columns, in numeric order
    roles: np.ndarray  # (folds, ids) u1


def read_fold_table(path: Path) -> FoldTable:
    """Read a CSV or TSV whose first column holds ids and whose columns `fold_<number>` say train, valid, test or nothing."""
    lines = [(number, line) for number, line in read_lines(path) if line.strip()]
    if len(lines) < 2:
        raise InputError(f"{path.name}: no rows; a header (id, fold_1, fold_2 …) and one line an id are needed")
    delimiter = "\t" if "\t" in lines[0][1] else ","
    header, *rows = [[cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))] for _, line in lines]
    numbers = {column: int(match[1]) for column, name in enumerate(header) if column and (match := re.fullmatch(r"fold_(\d+)", name))}
    if not numbers:
        raise InputError(f"{path.name}: no column fold_1, fold_2 …; the header has {few(header)}")
    refuse_duplicates(map(str, numbers.values()), f"{path.name}: fold")
    for (number, _), cells in zip(lines[1:], rows, strict=True):
        if len(cells) != len(header):
            raise InputError(f"{path.name} line {number}: {len(cells)} cells where the header has {len(header)}")
    ids = [strip_version(cells[0]) for cells in rows]
    refuse_duplicates(ids, f"{path.name}: id")
    columns = sorted(numbers, key=numbers.__getitem__)
    ignored = [name for column, name in enumerate(header) if column and column not in numbers]
    log.info(
        f"{path.name}: {len(ids):,} ids, {len(columns)} folds" + (f"; other columns are not used: {', '.join(ignored)}" if ignored else "")
    )
    others = Counter(cells[column] for cells in rows for column in columns if cells[column] and cells[column] not in ROLES)
    if others:
        log.warning(
            f"warning: {path.name}: {others.total():,} cells are none of train, valid, test ({few(sorted(others))}) and count as unused"
        )
    roles = np.array([[ROLES.get(cells[column], UNUSED) for cells in rows] for column in columns], dtype=np.uint8)
    return FoldTable(path.name, ids, [header[column] for column in columns], roles)


def table_folds(table: FoldTable, samples: list[str], genes: list[str], hold_out: str) -> tuple[np.ndarray, np.ndarray]:
    """Return sample_role (folds, samples) and gene_role (folds, genes) of a user's table; ids that it lacks are unused.

    Its ids say which axis it splits, and `hold_out` must name that one. Folds that test no member of the dataset are left out.
    """
    axes = {"samples": samples, "genes": genes}
    place = {identifier: i for i, identifier in enumerate(table.ids)}
    found = {axis: sum(member in place for member in members) for axis, members in axes.items()}
    axis = max(found, key=found.__getitem__)
    if not found[axis]:
        raise InputError(
            f"--fold_table {table.name}: no id fits: it has {few(table.ids)}, the dataset samples {few(samples)} and genes {few(genes)}"
        )
    if axis != hold_out:
        raise InputError(f"--hold_out {hold_out}: --fold_table {table.name} splits {axis} ({few(table.ids)}); give --hold_out {axis}")
    log.info(f"{table.name} has {found[axis]:,} of {len(axes[axis]):,} {axis} of the dataset; the others are unused")
    known = [place.get(member, len(table.ids)) for member in axes[axis]]
    roles = np.pad(table.roles, ((0, 0), (0, 1)), constant_values=UNUSED)[:, known]
    roles = roles[tested_folds(table, roles, axis)]
    others = np.full((len(roles), len(genes if axis == "samples" else samples)), TRAIN, dtype=np.uint8)
    return (roles, others) if axis == "samples" else (others, roles)


def tested_folds(table: FoldTable, roles: np.ndarray, axis: str) -> list[int]:
    """Return the folds of a user's table that test something; each must train on two and validate on one."""
    tested = [fold for fold, row in enumerate(roles) if (row == TEST).any()]
    if not tested:
        raise InputError(f"--fold_table {table.name}: none of the dataset's {axis} has the role test in any fold")
    left_out = [name for fold, name in enumerate(table.folds) if fold not in tested]
    if left_out:
        log.info(f"{table.name}: {', '.join(left_out)} test none of the dataset's {axis} and are left out")
    for fold in tested:
        train, valid = ((roles[fold] == role).sum() for role in (TRAIN, VALID))
        if train < 2 or valid < 1:
            raise InputError(
                f"--fold_table {table.name}, {table.folds[fold]}: {train} {axis} to train and {valid} to validate on; 2 and 1 are needed at least"
            )
    return tested
