"""Samples that are nearly the same: every pair nearer than a distance, over all pairs of samples, in blocks.

Samples are projected on a few seeded orthonormal directions. A projection never makes a distance larger, so that pairs far apart there
are far apart; the others are looked at with all their values. Sorted along the widest direction, a sample meets only its neighbours.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, Progress, log
from exprcast.matrix_file import SampleMatrix, Spool

DIRECTIONS, SEED = 128, 0
ROWS, COLUMNS = 1024, 8192  # of a block of pairs
ROUNDING = 1e-9  # far more than float64 loses in a projection
MOST_PAIRS = 20_000_000


class Pair(NamedTuple):
    """Two samples by number, the first one earlier in the file, and their Euclidean distance."""

    first: int
    second: int
    distance: float


def near_duplicates(matrix: SampleMatrix, distance: float, folder: Path, seed: int = SEED) -> list[Pair]:
    """Return all pairs of samples nearer than a Euclidean distance over the features that are measured in every sample, in order.

    The folder takes a temporary file of the samples that are looked at closely.
    """
    projected, complete = project(matrix, seed)
    candidates = near_in_projection(projected, distance, matrix.name)
    log.info(f"near duplicates: {len(candidates):,} of {len(projected) * (len(projected) - 1) // 2:,} pairs are looked at closely")
    return verify(matrix, complete, candidates, distance, folder)


def project(matrix: SampleMatrix, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (samples, directions) float64, and (features,) bool: which are measured in every sample."""
    complete = np.ones(len(matrix.features), bool)
    while True:
        rows, centre, basis, measured = [], None, None, np.ones(len(matrix.features), bool)
        progress = Progress(len(matrix.samples), "samples projected")
        for first, block in numbered(matrix.read):
            measured &= ~np.isnan(block).any(axis=0)
            values = np.nan_to_num(block[:, complete]).astype(np.float64)
            centre = values[0].copy() if centre is None else centre  # small numbers keep more digits
            values -= centre
            basis = orthonormal(values, seed) if basis is None else basis
            rows.append(values @ basis)
            progress.step(first + len(block))
        if (measured | ~complete).all():
            return np.concatenate(rows), complete
        complete &= measured
        if not complete.any():
            raise InputError(f"--duplicates: {matrix.name} has no feature that is measured in every sample; leave the option out")
        log.info(
            f"near duplicates: distances are over the {complete.sum():,} of {len(complete):,} features that are measured in every sample"
        )


def orthonormal(values: np.ndarray, seed: int) -> np.ndarray:
    """Return (features, directions) orthonormal: seeded mixtures of the first samples (samples, features), along which samples vary most."""
    mixtures = values.T @ np.random.default_rng(seed).normal(size=(len(values), DIRECTIONS))
    return np.linalg.qr(mixtures)[0]


def near_in_projection(points: np.ndarray, distance: float, name: str) -> np.ndarray:
    """Return (pairs, 2) sample numbers, the smaller first, of all points (samples, directions) that may be nearer than the distance."""
    points = points - points.mean(axis=0)
    points = points @ np.linalg.eigh(points.T @ points)[1][:, ::-1]  # the widest direction first
    lengths = (points**2).sum(axis=1)
    most = distance**2 + ROUNDING * (distance**2 + lengths.max())
    order = np.argsort(points[:, 0], kind="stable")
    points, lengths = points[order], lengths[order]
    last = np.searchsorted(points[:, 0], points[:, 0] + np.sqrt(most), side="right")
    found, count, progress = [np.empty((0, 2), np.int64)], 0, Progress(len(points), "samples compared")
    for start in range(0, len(points), ROWS):
        stop = min(start + ROWS, len(points))
        for left in range(start, last[stop - 1], COLUMNS):
            right = min(left + COLUMNS, last[stop - 1])
            squared = lengths[start:stop, None] + lengths[left:right] - 2 * points[start:stop] @ points[left:right].T
            row, column = np.nonzero(squared <= most)
            later = column + left > row + start
            found.append(np.column_stack([order[row[later] + start], order[column[later] + left]]))
            count += len(found[-1])
            if count > MOST_PAIRS:
                raise InputError(
                    f"--duplicates {distance:g}: more than {MOST_PAIRS:,} pairs of {name} may be nearer; ask for a smaller distance"
                )
        progress.step(stop)
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def verify(matrix: SampleMatrix, complete: np.ndarray, candidates: np.ndarray, distance: float, folder: Path) -> list[Pair]:
    """Return the candidates whose samples are nearer than the distance, with all values of the complete features."""
    wanted = np.unique(candidates)
    if not len(wanted):
        return []
    spool = Spool(folder, int(complete.sum()))
    for first, block in numbered(matrix.read):
        spool.add(block[wanted[(wanted >= first) & (wanted < first + len(block))] - first][:, complete])
    values, place = spool.values(), {sample: row for row, sample in enumerate(wanted.tolist())}
    found, progress = [], Progress(len(candidates), "near pairs verified")
    for done, (first, second) in enumerate(candidates.tolist(), 1):
        apart = float(np.linalg.norm(values[place[first]].astype(np.float64) - values[place[second]]))
        if apart < distance:
            found.append(Pair(first, second, apart))
        progress.step(done)
    return found


def numbered(read: Callable[[], Iterator[np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of its first sample, block)."""
    first = 0
    for block in read():
        yield first, block
        first += len(block)


def first_come(pairs: list[Pair]) -> list[Pair]:
    """Return one pair for each sample that goes: it is near an earlier one that stays, the first such one. Pairs are in order."""
    gone: dict[int, Pair] = {}
    for pair in pairs:
        if pair.first not in gone:
            gone.setdefault(pair.second, pair)
    return [gone[second] for second in sorted(gone)]
