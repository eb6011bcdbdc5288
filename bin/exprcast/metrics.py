"""Correlations and errors, with intervals; a constant never has a correlation, it has NaN (printed NA).

Arrays are (samples, genes), NaN = not measured or not predicted. `deviation` means: minus the training mean of the fold in
which the value was held out, on both sides, because plain leave-one-out correlation is exactly −1 for the training mean.

Intervals are of 95 %. Means over samples or groups: bootstrap-t (Efron 1981) over those units, which holds its level for few and
skewed ones where percentiles are too narrow, widened where groups are of unequal size. Correlations over drawn genes: expanded
percentiles (Hesterberg 2015, The American Statistician 69:371). What is told of all genes across samples: the jackknife that leaves
out one part of the samples at a time, because genes of one cohort are not independent.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from exprcast.moments import centre, correlate, measure

NOISE = 1e-5  # a deviation below this share of the value is rounding of float32
DRAWS = 2000
LEAST_UNITS = 6  # fewer of them tell nothing of their own spread
TAILS = (0.025, 0.975)


class Estimate(NamedTuple):
    """A number with its 95 % interval over n units (samples, groups, genes …); NaN where there is no interval."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    unit: str = ""


def pearson(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Return Pearson's r along an axis over pairs where both are measured; NaN for fewer than 3 of them or a constant."""
    return correlate(measure(centre(x, y, axis)))


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (rows,) Spearman's rho over the columns of each row, ties sharing their mean rank."""
    unknown = np.isnan(x) | np.isnan(y)
    return pearson(rank(x, unknown), rank(y, unknown), axis=1)


def rank(values: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Return (rows, columns) ranks within each row from 0, ties sharing their mean rank; NaN where unknown."""
    ranks = np.full(values.shape, np.nan)
    for row, gaps, out in zip(values, unknown, ranks, strict=True):
        known = row if not gaps.any() else row[~gaps]
        order = np.argsort(known)
        first = np.flatnonzero(np.r_[True, np.diff(known[order]) != 0][: len(known)])
        last = np.r_[first[1:], len(known)] - 1
        own = np.empty(len(known))
        own[order] = np.repeat((first + last) / 2, last - first + 1)
        out[~gaps] = own
    return ranks


def deviation(predicted: np.ndarray, training_mean: np.ndarray) -> np.ndarray:
    """Return predicted − training mean, exactly 0 where the two differ by float32 rounding only: noise must not correlate."""
    change = predicted - training_mean
    return np.where(np.abs(change) < NOISE * np.maximum(np.abs(training_mean), 1), 0.0, change)


def p_value(r: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the one-sided p-value of r > 0 for n pairs (Student's t with n − 2 degrees of freedom)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return student.sf(r * np.sqrt((n - 2) / (1 - r**2)), n - 2)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for the false discovery rate; NaN stay NaN and do not count."""
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    return adjusted


def fisher_interval(r: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of correlations of n pairs (Fisher's z); NaN for fewer than 4."""
    with np.errstate(invalid="ignore", divide="ignore"):
        half = norm.ppf(TAILS[1]) / np.sqrt(np.where(n > 3, n - 3, np.nan))
        return np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)


@lru_cache(maxsize=16)
def draw_units(n: int, seed: int) -> np.ndarray:
    """Return (draws, n): how many times each of n units is drawn when n are drawn with replacement."""
    if n == 0:
        return np.zeros((DRAWS, 0))
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)


def interval_of_ratio(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return Σ sums / Σ counts over units (a mean, if each unit counts 1) and its bootstrap-t interval; NaN for fewer than 6 units.

    The standard error of a ratio is the linearised one; that of the value itself takes n − 1, which keeps the error at its level
    for six units of skewed values too (tests/bench/bench_evaluation.py prints the table). Where units count unequally the interval
    is as much wider as Student's t of as many equal units would be; there is none where these, rounded, are fewer than 6.
    """
    n, alike = len(sums), equal_units(counts)
    if n == 0:
        return np.nan, np.nan, np.nan
    value = float(sums.sum() / counts.sum())
    if round(alike) < LEAST_UNITS:
        return value, np.nan, np.nan
    error = sums - value * counts
    count, shift, *squares = (draw_units(n, seed) @ np.stack([counts, error, error**2, error * counts, counts**2], axis=1)).T
    shift = shift / count  # each draw's value − ours
    spread = np.sqrt(np.maximum(squares[0] - 2 * shift * squares[1] + shift**2 * squares[2], 0)) / count
    standard = np.sqrt((error**2).sum() * n / (n - 1)) / counts.sum()
    wider = student.ppf(TAILS[1], alike - 1) / student.ppf(TAILS[1], n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(spread > 1e-9 * standard, shift / spread, np.copysign(np.inf, shift))
    low, high = np.quantile(t, TAILS, method="nearest")
    if standard == 0:
        return value, value, value
    if np.isinf([low, high]).any():  # most units are the same, so that many draws have no spread
        return value, np.nan, np.nan
    return value, value - high * standard * wider, value - low * standard * wider


def equal_units(counts: np.ndarray) -> float:
    """Return how many units of equal size tell as much as units of these sizes (Kish 1965): their number if all are equal."""
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0


def interval_of_draws(draws: np.ndarray, n: int) -> tuple[float, float]:
    """Return the expanded percentile interval of a statistic of n drawn units; NaN for fewer than 6, or where a draw has no value."""
    if n < LEAST_UNITS or np.isnan(draws).any():
        return np.nan, np.nan
    tail = norm.cdf(-np.sqrt(n / (n - 1)) * student.ppf(TAILS[1], n - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def jackknife(value: float, left_out: np.ndarray, n: int, unit: str, most: tuple[float, float]) -> Estimate:
    """Return a statistic of n units with its jackknife interval, cut to what the statistic can be; NaN for fewer than 6 units.

    `left_out` (parts,) is the statistic without each part of the units; no interval where it has no value without one of them.
    """
    parts = len(left_out)
    if n < LEAST_UNITS or np.isnan([value, *left_out]).any():
        return Estimate(value, n=n, unit=unit)
    half = student.ppf(TAILS[1], parts - 1) * np.sqrt((parts - 1) * left_out.var())
    low, high = np.clip([value - half, value + half], *most)
    return Estimate(value, float(low), float(high), n, unit)
