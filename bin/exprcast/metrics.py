"""Correlations and errors, with intervals; a constant never has a correlation, it has NaN (printed NA).

Arrays are (samples, genes), NaN = not measured or not predicted. `deviation` means: minus the training mean of the fold in
which the value was held out, on both sides, because plain leave-one-out correlation is exactly −1 for the training mean.

Intervals are of 95 %. Means over samples or groups: bootstrap-t (Efron 1981) over those units, which holds its level for few and
skewed ones where percentiles are too narrow. Correlations over drawn genes: expanded percentiles (Hesterberg 2015, The American
Statistician 69:371). Medians and shares over genes: the percentiles that infinitely many draws would have, in closed form.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import binom, norm
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
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)


def interval_of_ratio(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return Σ sums / Σ counts over units (a mean, if each unit counts 1) and its bootstrap-t interval; NaN for fewer than 6 units.

    The standard error of a ratio is the linearised one; that of the value itself takes n − 1, which keeps the error at its level
    for six units of skewed values too (tests/bench/bench_evaluation.py prints the table).
    """
    n = len(sums)
    if n == 0:
        return np.nan, np.nan, np.nan
    value = float(sums.sum() / counts.sum())
    if n < LEAST_UNITS:
        return value, np.nan, np.nan
    error = sums - value * counts
    count, shift, *squares = (draw_units(n, seed) @ np.stack([counts, error, error**2, error * counts, counts**2], axis=1)).T
    shift = shift / count  # each draw's value − ours
    spread = np.sqrt(np.maximum(squares[0] - 2 * shift * squares[1] + shift**2 * squares[2], 0)) / count
    standard = np.sqrt((error**2).sum() * n / (n - 1)) / counts.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(spread > 1e-9 * standard, shift / spread, np.copysign(np.inf, shift))
    low, high = np.quantile(t, TAILS, method="nearest")
    if standard == 0:
        return value, value, value
    if np.isinf([low, high]).any():  # most units are the same, so that many draws have no spread
        return value, np.nan, np.nan
    return value, value - high * standard, value - low * standard


def interval_of_draws(draws: np.ndarray, n: int) -> tuple[float, float]:
    """Return the expanded percentile interval of a statistic of n drawn units; NaN for fewer than 6, or where a draw has no value."""
    if n < LEAST_UNITS or np.isnan(draws).any():
        return np.nan, np.nan
    tail = norm.cdf(-np.sqrt(n / (n - 1)) * student.ppf(TAILS[1], n - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def median(values: np.ndarray, unit: str) -> Estimate:
    """Return the median of the known values; its interval is where a bootstrap's medians lie: a draw's median is at most the k-th
    of n values if at least half of its n members are, and each member is with chance k / n."""
    known = np.sort(values[~np.isnan(values)])
    n = len(known)
    if n < LEAST_UNITS:
        return Estimate(float(np.median(known)) if n else np.nan, n=n, unit=unit)
    chance = np.arange(1, n + 1) / n
    low = np.searchsorted(binom.sf((n - 1) // 2, n, chance), TAILS[0])
    high = np.searchsorted(binom.sf(n // 2, n, chance), TAILS[1])
    return Estimate(float(np.median(known)), float(known[low]), float(known[min(high, n - 1)]), n, unit)


def share(flags: np.ndarray, unit: str) -> Estimate:
    """Return the share of flags that are set; a bootstrap's counts are binomial."""
    n = len(flags)
    if n < LEAST_UNITS:
        return Estimate(float(flags.mean()) if n else np.nan, n=n, unit=unit)
    low, high = binom.ppf(TAILS, n, flags.mean()) / n
    return Estimate(float(flags.mean()), float(low), float(high), n, unit)
