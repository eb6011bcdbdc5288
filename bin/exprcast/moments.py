"""Counts, means and centred sums of pairs of values: what a correlation is made of, so that it can be had block by block.

Two blocks are merged as in Chan, Golub & LeVeque (1983, The American Statistician 37:242), which loses no digits where a mean is large.
"""

from typing import NamedTuple

import numpy as np

CONSTANT = 1e-6  # a standard deviation below this share of the values' size is none
SUMS = 6  # n, Σx, Σy, Σx², Σy², Σxy
AT_ONCE = 2**21  # numbers of draws × samples × sums that are held at one time


class Moments(NamedTuple):
    """Of pairs (x, y), all arrays of one shape: how many, their means, centred sums, and the largest |x| and |y|."""

    n: np.ndarray
    mean_x: np.ndarray
    mean_y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    size_x: np.ndarray
    size_y: np.ndarray


class Centred(NamedTuple):
    """Pairs (x, y) minus their means along an axis, 0 where either is not known."""

    axis: int
    unknown: np.ndarray
    n: np.ndarray  # known pairs along the axis, as what follows
    mean_x: np.ndarray
    mean_y: np.ndarray
    size_x: np.ndarray  # the largest |x|
    size_y: np.ndarray
    x: np.ndarray
    y: np.ndarray


def centre(x: np.ndarray, y: np.ndarray, axis: int) -> Centred:
    """Return pairs centred along an axis."""
    unknown = np.isnan(x) | np.isnan(y)
    n, complete, found = (~unknown).sum(axis=axis), not unknown.any(), []
    for values in (x, y):
        values = values.astype(np.float64)
        if not complete:
            values[unknown] = 0
        mean = values.sum(axis=axis) / np.maximum(n, 1)
        size = np.maximum(values.max(axis=axis, initial=0), -values.min(axis=axis, initial=0))
        values -= np.expand_dims(mean, axis)
        if not complete:
            values[unknown] = 0
        found.append((mean, size, values))
    return Centred(axis, unknown, n, *(one for both in zip(*found, strict=True) for one in both))


def measure(pairs: Centred) -> Moments:
    """Return the moments of pairs along the axis on which they are centred."""
    sums = ((a * b).sum(axis=pairs.axis) for a, b in ((pairs.x, pairs.x), (pairs.y, pairs.y), (pairs.x, pairs.y)))
    return Moments(pairs.n, pairs.mean_x, pairs.mean_y, *sums, pairs.size_x, pairs.size_y)


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of two sets of pairs taken together."""
    n = a.n + b.n
    share = b.n / np.maximum(n, 1)
    weight, x, y = a.n * share, b.mean_x - a.mean_x, b.mean_y - a.mean_y
    return Moments(
        n,
        a.mean_x + share * x,
        a.mean_y + share * y,
        a.xx + b.xx + weight * x * x,
        a.yy + b.yy + weight * y * y,
        a.xy + b.xy + weight * x * y,
        np.maximum(a.size_x, b.size_x),
        np.maximum(a.size_y, b.size_y),
    )


def merge_all(one: Moments) -> Moments:
    """Return the moments of all entries taken together, as arrays of no axis."""
    n = one.n.sum()
    mean_x, mean_y = (float((one.n * mean).sum() / max(n, 1)) for mean in (one.mean_x, one.mean_y))
    x, y = one.mean_x - mean_x, one.mean_y - mean_y
    sums = ((inner + one.n * between).sum() for inner, between in ((one.xx, x * x), (one.yy, y * y), (one.xy, x * y)))
    return Moments(n, mean_x, mean_y, *sums, one.size_x.max(initial=0), one.size_y.max(initial=0))


def correlate(one: Moments) -> np.ndarray:
    """Return Pearson's r; NaN for fewer than 3 pairs or a constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        sd_x, sd_y = (np.sqrt(sum_ / np.maximum(one.n, 1)) for sum_ in (one.xx, one.yy))
        vary = (sd_x > CONSTANT * np.maximum(one.size_x, 1e-12)) & (sd_y > CONSTANT * np.maximum(one.size_y, 1e-12))
        return np.where(vary & (one.n >= 3), one.xy / one.n / (sd_x * sd_y), np.nan).clip(-1, 1)


def sum_blocks(pairs: Centred, starts: np.ndarray) -> np.ndarray:
    """Return (rows, blocks, 6) n, Σx, Σy, Σx², Σy² and Σxy over blocks of columns that begin at `starts`, of rows that are centred."""
    x, y = pairs.x, pairs.y
    sums = np.empty((len(x), len(starts), SUMS))
    for k, part in enumerate((~pairs.unknown, x, y, x * x, y * y, x * y)):
        sums[:, :, k] = np.add.reduceat(part, starts, axis=1, dtype=np.float64)
    return sums


def add_rows(sums: np.ndarray, parts: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Add pairs (rows, columns) to the sums (parts, 6, columns) of the part that each row belongs to; sums as in `sum_blocks`."""
    unknown = np.isnan(x) | np.isnan(y)
    x, y = np.where(unknown, 0, x), np.where(unknown, 0, y)
    for k, values in enumerate((~unknown, x, y, x * x, y * y, x * y)):
        for part, row in zip(parts, values, strict=True):
            sums[part, k] += row


def correlate_sums(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's r of (…, 6) sums; NaN for fewer than 3 pairs or a constant."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y = xx - x * x / n, yy - y * y / n
        vary = (n >= 3) & (var_x > CONSTANT**2 * xx) & (var_y > CONSTANT**2 * yy)
        return np.where(vary, (xy - x * y / n) / np.sqrt(var_x * var_y), np.nan).clip(-1, 1)


def draw_correlations(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (draws, rows) Pearson's r when each draw takes each block so many times: sums (rows, blocks, 6), weights (draws, blocks)."""
    draws, rows = len(weights), len(sums)
    found = np.full((draws, rows), np.nan)
    if not sums.shape[1]:
        return found
    step = max(1, AT_ONCE // (draws * SUMS))
    for start in range(0, rows, step):
        part = sums[start : start + step].transpose(1, 0, 2)  # (blocks, rows, 6)
        drawn = (weights @ part.reshape(len(part), -1)).reshape(draws, -1, SUMS)
        found[:, start : start + step] = correlate_sums(drawn)
    return found
