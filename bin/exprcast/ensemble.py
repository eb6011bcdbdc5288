"""The weighted mean of what all families and their simple rules predict; weights are learned on validation cells, fold by fold.

The weights (none negative, their sum 1) minimise the squared error over a fold's validation cells, each group of samples counting
alike, plus TRUST × the best member's squared error × the squared distance of the weights from the mean of the networks. Often one group
of samples validates, and the weights that suit it best suit others less; so validation has to speak up to move them away from what
families are made for. On ten blood populations (development data) that gave r_gene_dev .633, at least .505 in each; a pull towards equal
weights of all members instead .624 and .491; any TRUST from 0.2 to 3 the same within .002.

Where no member is a network of ours (prior None) a PENALTY draws towards equal weights. Of the ways that tests/bench/bench_ensemble.py
compares on simulated members that loses least: 4.2 % over the best weights (11 % at most in nine of ten), where plain least squares and
greedy selection (Caruana et al. 2004) lose 4.3 % (12 %), the best member 12.5 % and equal weights 40 %.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import h5py
import numpy as np
from scipy.optimize import nnls

from exprcast.cli import InputError
from exprcast.dataset import TEST, VALID
from exprcast.scoring import row_blocks

PENALTY, TRUST = 0.05, 0.5
SUM_ROW = 1e4  # weight of the row that asks for the sum 1
LEAST_ERROR = 1e-9  # of the largest: a smaller one counts as this, so that a perfect member divides by something
ALIKE = {
    "rows": "rows",
    "columns": "columns",
    "unit": "unit",
    "folds": "folds",
    "role": "roles",
    "observed": "observed values",
    "training_mean": "training means",
}  # what families must share to be averaged → its name in a sentence


class Member(NamedTuple):
    """What is averaged: a family's network (the mean over its seeds), or one of its baselines."""

    name: str
    file: h5py.File
    baseline: str  # "": the network

    def read(self, fold: int, rows: slice) -> np.ndarray:
        """Return (rows, columns) predictions of one fold, by its place in the file."""
        if self.baseline:
            return self.file[f"baselines/{self.baseline}"][fold, rows]
        return self.file["predicted"][fold, :, rows].mean(axis=0)


def family_of(file: h5py.File) -> str:
    """Return the name of the family that predicted."""
    return str(file.attrs["family"])


def choose_alike(files: Sequence[h5py.File]) -> tuple[list[h5py.File], dict[str, str]]:
    """Return the largest set of files that predict the same cells in the same unit, and {family left out: why}."""
    facts = [describe(file) for file in files]
    count = Counter(tuple(one.values()) for one in facts)
    chosen = max(facts, key=lambda one: count[tuple(one.values())])  # of equally many the first
    first = family_of(files[facts.index(chosen)])
    left_out = {
        family_of(file): f"other {next(word for name, word in ALIKE.items() if one[name] != chosen[name])} than {first}"
        for file, one in zip(files, facts, strict=True)
        if one != chosen
    }
    return [file for file, one in zip(files, facts, strict=True) if one == chosen], left_out


def describe(file: h5py.File) -> dict[str, str]:
    """Return what families must share: the unit, and a digest of each array."""
    return {name: str(file.attrs["unit"]) if name == "unit" else digest(file[name]) for name in ALIKE}


def digest(array: h5py.Dataset) -> str:
    """Return a digest of shape and values, read in blocks of the first axis; a missing value is like any other."""
    text = h5py.check_string_dtype(array.dtype)
    found = sha256(str(array.shape).encode())
    for start in range(0, len(array), array.chunks[0] if array.chunks else len(array)):
        values = array[start : start + (array.chunks[0] if array.chunks else len(array))]
        found.update(b"\n".join(values) if text else np.nan_to_num(values, nan=np.inf).tobytes())
    return found.hexdigest()


def list_members(files: Sequence[h5py.File]) -> list[Member]:
    """Return the networks and baselines of all files by name; what is the same in several families stands once, without their names."""
    members = [Member(family_of(file), file, "") for file in files]
    for name in sorted({name for file in files for name in file["baselines"]}):
        own = [file for file in files if name in file["baselines"]]
        if len(files) == 1 or (len(own) > 1 and all(predict_alike(own[0], other, name) for other in own[1:])):
            members.append(Member(name, own[0], name))
        else:
            members += [Member(f"{family_of(file)}.{name}", file, name) for file in own]
    return sorted(members, key=lambda member: member.name)


def predict_alike(one: h5py.File, other: h5py.File, name: str) -> bool:
    """Say whether a baseline predicts the same in two families, but for rounding."""
    pairs = (
        [file[f"baselines/{name}"][fold, rows] for file in (one, other)] for fold in range(len(one["folds"])) for rows in row_blocks(one)
    )
    return all(np.allclose(*pair, rtol=1e-5, atol=1e-6, equal_nan=True) for pair in pairs)


def measure_errors(members: Sequence[Member], group_of_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (folds, members, members) mean products of two members' errors over validation cells, and (members,) cells not predicted.

    `group_of_row` (rows,) numbers the groups of samples, which count alike. What was not measured, or what no member predicts, is left
    out. Products of a member that lacks cells mean nothing; those of a fold without validation cells are NaN.
    """
    found = [measure_fold(members, fold, group_of_row) for fold in range(len(members[0].file["folds"]))]
    return np.stack([products for products, _ in found]), sum(missing for _, missing in found)


def measure_fold(members: Sequence[Member], fold: int, group_of_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of one fold: (members, members) and (members,)."""
    file, n = members[0].file, len(members)
    products, cells, missing = defaultdict(partial(np.zeros, (n, n))), Counter(), np.zeros(n, dtype=int)
    for rows in row_blocks(file):
        role, observed = file["role"][fold, rows], file["observed"][rows].astype(np.float64)
        wanted = np.isin(role, (VALID, TEST)) & ~np.isnan(observed)
        if not wanted.any():
            continue
        error = np.stack([member.read(fold, rows)[wanted] for member in members]) - observed[wanted]  # (members, cells)
        known = ~np.isnan(error).all(axis=0)
        missing += np.isnan(error[:, known]).sum(axis=1)
        group = np.broadcast_to(group_of_row[rows, None], role.shape)[wanted]
        group = np.where(known & (role[wanted] == VALID), group, -1)
        add_products(products, cells, error, group)
    return mean_products(products, cells, n), missing


def add_products(products: dict[int, np.ndarray], cells: Counter, error: np.ndarray, group: np.ndarray) -> None:
    """Add errors (members, cells) to the products (members, members) and cells of each group; a group below 0 is none."""
    for number in np.unique(group[group >= 0]).tolist():
        part = np.nan_to_num(error[:, group == number])
        products[number] += part @ part.T
        cells[number] += part.shape[1]


def mean_products(products: dict[int, np.ndarray], cells: Counter, n: int) -> np.ndarray:
    """Return (members, members) mean products, groups counting alike; NaN without cells."""
    mean = sum((products[number] / count for number, count in cells.items()), np.zeros((n, n)))
    return mean / len(cells) if cells else np.full((n, n), np.nan)


def learn_weights(products: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """Return (members,) weights of one fold, from (members, members) mean products of errors; `prior` are weights to start from.

    For weights of sum 1 the error of the mean is the mean of errors. Least squares with a further, heavy row asks for the sum 1.
    """
    error = products.diagonal()
    best = max(error.min(), LEAST_ERROR * error.max()) or 1.0
    pull, aim = (PENALTY, np.zeros(len(error))) if prior is None else (TRUST, prior)
    root = np.linalg.cholesky(products / best + pull * np.eye(len(products))).T  # |root w|² − 2 pull aim·w is what is minimised
    heavy = SUM_ROW * np.sqrt(np.square(root).sum(axis=0).max())
    weights, _ = nnls(np.vstack([root, np.full(len(root), heavy)]), np.append(np.linalg.solve(root.T, pull * aim), heavy))
    return weights / weights.sum()


def networks_alike(members: Sequence[Member]) -> np.ndarray | None:
    """Return (members,) equal weights of the networks, 0 of rules; None if there is no network."""
    network = np.array([not member.baseline for member in members], dtype=float)
    return network / network.sum() if network.any() else None


def learn_all(members: Sequence[Member], group_of_row: np.ndarray) -> tuple[list[Member], np.ndarray, dict[str, str]]:
    """Return the members that predict every cell, (folds, members) their weights, and {member left out: why}."""
    products, missing = measure_errors(members, group_of_row)
    left_out = {member.name: f"no prediction of {count:,} measured values" for member, count in zip(members, missing, strict=True) if count}
    kept = np.flatnonzero(missing == 0)
    if len(kept) < 2:
        raise InputError(
            f"an ensemble takes two members that predict every cell, here {'is one' if len(kept) else 'is none'} of {len(members)}: add --families, or leave out --ensemble"
        )
    products = products[:, kept][:, :, kept]
    empty = [int(fold) for fold, one in zip(members[0].file["folds"], products, strict=True) if np.isnan(one).any()]
    if empty:
        raise InputError(
            f"fold {empty[0]} has no measured validation value, which the ensemble's weights are learned on; validate more, or leave out --ensemble"
        )
    members = [members[i] for i in kept]
    return members, np.stack([learn_weights(one, networks_alike(members)) for one in products]), left_out


def average(members: Sequence[Member], weights: np.ndarray, fold: int, rows: slice) -> np.ndarray:
    """Return (rows, columns) float32, the weighted mean of what the members predict of one fold; NaN where one of them with a weight is."""
    parts = (weight * member.read(fold, rows).astype(np.float64) for member, weight in zip(members, weights, strict=True) if weight > 0)
    return sum(parts).astype(np.float32)
