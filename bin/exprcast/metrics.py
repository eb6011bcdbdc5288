"""Correlations and errors per gene and per sample, with intervals; a constant never has a correlation, it has NaN (printed NA).

Arrays are (samples, genes), NaN = not measured or not predicted. `deviation` means: minus the training mean of the fold in
which the value was held out, on both sides, because plain leave-one-out correlation is exactly −1 for the training mean.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

CONSTANT = 1e-6  # a standard deviation below this share of the values' size is none
NOISE = 1e-5  # a deviation below this share of the value is rounding of float32
DRAWS = 1000


class Estimate(NamedTuple):
    """A number with its 95 % interval; the interval is NaN where there is nothing to draw from."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0


def pearson(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Return Pearson's r along an axis over pairs where both are measured; NaN for fewer than 3 of them or a constant."""
    both = ~(np.isnan(x) | np.isnan(y))
    count = both.sum(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = []
        for values in (x, y):
            values = np.where(both, values, 0.0).astype(np.float64)
            centred = np.where(both, values - values.sum(axis=axis, keepdims=True) / count, 0.0)
            size = np.abs(values).max(axis=axis, keepdims=True)
            sd = np.sqrt((centred**2).sum(axis=axis, keepdims=True) / count)
            deviations.append((centred, np.where(sd > CONSTANT * np.maximum(size, 1e-12), sd, np.nan)))
        (a, sd_a), (b, sd_b) = deviations
        r = (a * b).sum(axis=axis, keepdims=True) / count / (sd_a * sd_b)
    return np.where(count >= 3, r, np.nan).squeeze(axis).clip(-1, 1)


def spearman(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """Return Spearman's rho along an axis, ties sharing their mean rank."""
    missing = np.isnan(x) | np.isnan(y)
    ranks = (rankdata(np.where(missing, np.nan, values), axis=axis, nan_policy="omit") for values in (x, y))
    return pearson(*(np.where(missing, np.nan, rank) for rank in ranks), axis=axis)


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


def bootstrap_mean(values: np.ndarray, seed: int, draws: int = DRAWS) -> Estimate:
    """Return the mean of the known values with a percentile interval over units drawn with replacement."""
    known = values[~np.isnan(values)]
    return bootstrap(known, np.mean, seed, draws)


def bootstrap_median(values: np.ndarray, seed: int, draws: int = DRAWS) -> Estimate:
    """Return the median of the known values with a percentile interval over units drawn with replacement."""
    known = values[~np.isnan(values)]
    return bootstrap(known, np.median, seed, draws)


def bootstrap(known: np.ndarray, statistic: object, seed: int, draws: int) -> Estimate:
    """Return a statistic of values with its percentile interval; one value has no interval."""
    if len(known) < 2:
        return Estimate(float(known[0]) if len(known) else np.nan, n=len(known))
    rng = np.random.default_rng(seed)
    sampled = [statistic(known[rng.integers(0, len(known), len(known))]) for _ in range(draws)]
    low, high = np.quantile(sampled, [0.025, 0.975])
    return Estimate(float(statistic(known)), float(low), float(high), len(known))


class Scores(NamedTuple):
    """One predictor's numbers per sample and per gene; errors are over all cells."""

    r_gene: np.ndarray  # (samples,) Pearson across genes
    rho_gene: np.ndarray  # (samples,) Spearman across genes
    r_gene_dev: np.ndarray  # (samples,) Pearson across genes of deviations
    r_sample: np.ndarray  # (genes,) Pearson across samples of deviations
    n_sample: np.ndarray  # (genes,) pairs behind r_sample
    mse_sample: np.ndarray  # (samples,) mean squared error
    mse: float
    mae: float
    r2_cod: float  # 1 − SSE / SST, SST around the overall mean of what was observed
    r2_pearson: float  # squared Pearson over all cells


def score(predicted: np.ndarray, observed: np.ndarray, training_mean: np.ndarray) -> Scores:
    """Return all numbers of one predictor; arrays (samples, genes), training_mean that of each cell's fold."""
    known = ~(np.isnan(predicted) | np.isnan(observed))
    predicted, observed = np.where(known, predicted, np.nan), np.where(known, observed, np.nan)
    predicted_dev, observed_dev = deviation(predicted, training_mean), observed - training_mean
    error, seen = (predicted - observed)[known], observed[known]
    sst = ((seen - seen.mean()) ** 2).sum() if len(seen) else 0.0
    with np.errstate(invalid="ignore"):
        mse_sample = np.nansum((predicted - observed) ** 2, axis=1) / known.sum(axis=1)
    return Scores(
        r_gene=pearson(predicted, observed, axis=1),
        rho_gene=spearman(predicted, observed, axis=1),
        r_gene_dev=pearson(predicted_dev, observed_dev, axis=1),
        r_sample=pearson(predicted_dev, observed_dev, axis=0),
        n_sample=known.sum(axis=0),
        mse_sample=mse_sample,
        mse=float((error**2).mean()) if len(error) else np.nan,
        mae=float(np.abs(error).mean()) if len(error) else np.nan,
        r2_cod=float(1 - (error**2).sum() / sst) if sst > 0 else np.nan,
        r2_pearson=float(pearson(predicted[known], seen, axis=0) ** 2) if len(seen) > 2 else np.nan,
    )


def deviation(predicted: np.ndarray, training_mean: np.ndarray) -> np.ndarray:
    """Return predicted − training mean, exactly 0 where the two differ by float32 rounding only: noise must not correlate."""
    change = predicted - training_mean
    return np.where(np.abs(change) < NOISE * np.maximum(np.abs(training_mean), 1), 0.0, change)


def summarise(scores: Scores, seed: int) -> dict[str, Estimate]:
    """Return {metric: estimate}: means over samples, medians and shares over genes, with intervals over those units."""
    q = benjamini_hochberg(p_value(scores.r_sample, scores.n_sample))
    known = ~np.isnan(scores.r_sample)
    share = lambda flags: bootstrap_mean(np.where(known, flags, np.nan).astype(float), seed)  # noqa: E731
    return {
        "r_gene": bootstrap_mean(scores.r_gene, seed),
        "rho_gene": bootstrap_mean(scores.rho_gene, seed),
        "r_gene_dev": bootstrap_mean(scores.r_gene_dev, seed),
        "r_gene_dev_min": Estimate(
            float(np.nanmin(scores.r_gene_dev)) if known_any(scores.r_gene_dev) else np.nan, n=len(scores.r_gene_dev)
        ),
        "r_sample_median": bootstrap_median(scores.r_sample, seed),
        "r_sample_positive": share(scores.r_sample > 0),
        "r_sample_significant": share(q < 0.05),
        "mse": bootstrap_mean(scores.mse_sample, seed)._replace(value=scores.mse),
        "mae": Estimate(scores.mae, n=len(scores.r_gene)),
        "r2_cod": Estimate(scores.r2_cod, n=len(scores.r_gene)),
        "r2_pearson": Estimate(scores.r2_pearson, n=len(scores.r_gene)),
    }


def known_any(values: np.ndarray) -> bool:
    """Say whether anything is not NaN."""
    return bool((~np.isnan(values)).any())


def difference(model: Scores, baseline: Scores, metric: str, seed: int) -> Estimate:
    """Return the paired gain of a model over a baseline with its interval; NA of the baseline counts 0 (the mean has no r).

    r_gene, r_gene_dev and mse are paired by sample (mean gain; for mse positive = smaller error), r_sample by gene (median).
    """
    if metric == "mse":
        return bootstrap_mean(baseline.mse_sample - model.mse_sample, seed)
    own, other = getattr(model, metric), getattr(baseline, metric)
    gain = np.where(np.isnan(own), np.nan, own - np.nan_to_num(other))
    return bootstrap_median(gain, seed) if metric == "r_sample" else bootstrap_mean(gain, seed)
