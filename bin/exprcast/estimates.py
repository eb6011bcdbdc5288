"""Scores → estimates with intervals: means over samples, medians over genes, and a model's gains over each baseline, paired.

The unit that is drawn is what was held out: groups of samples that stayed together (or single samples), or genes. Where fewer than
six groups were held out they tell nothing of their spread; then genes are drawn within the samples, and the unit says so.
"""

from typing import NamedTuple

import numpy as np

from exprcast.dataset import TEST, Dataset
from exprcast.folds import GROUP_COLUMNS, group_samples
from exprcast.metrics import (
    LEAST_UNITS,
    Estimate,
    benjamini_hochberg,
    draw_units,
    interval_of_draws,
    interval_of_ratio,
    median,
    p_value,
    share,
)
from exprcast.moments import correlate_sums, draw_correlations
from exprcast.scoring import Scores

SAMPLES, GROUPS, GENES = "samples", "groups", "genes"


class Unit(NamedTuple):
    """What intervals are drawn over."""

    name: str  # samples, groups or genes
    of_row: np.ndarray  # (rows,) number of a sample's group
    seed: int


class PerSample(NamedTuple):
    """A metric of each sample, and what it is in draws of genes (None where samples or groups are drawn)."""

    values: np.ndarray  # (rows,)
    draws: np.ndarray | None  # (draws, rows)
    genes: int  # that could be drawn

    def gain(self, other: "PerSample") -> "PerSample":
        """Return what this has more than the other; NA of the other counts 0 (the training mean has no correlation)."""
        draws = None if self.draws is None else self.draws - np.nan_to_num(other.draws)
        return PerSample(self.values - np.nan_to_num(other.values), draws, self.genes)


def choose_unit(axes: str, dataset: Dataset, rows: list[str], seed: int) -> Unit:
    """Return what was held out of these rows (samples, or labels, each of which stands alone)."""
    groups = number_groups(dataset, rows)
    tested = set(np.array(dataset.samples)[(dataset.sample_role == TEST).any(axis=0)])
    held_out = groups[[row in tested for row in rows]]
    several = len(set(held_out.tolist()))
    if axes == "genes" or dataset.hold_out == "genes" or several < LEAST_UNITS:
        return Unit(GENES, groups, seed)
    return Unit(GROUPS if several < len(held_out) else SAMPLES, groups, seed)


def number_groups(dataset: Dataset, rows: list[str]) -> np.ndarray:
    """Return (rows,) the number of each sample's group: samples that the folds promise to hold out together."""
    columns = {name: dataset.text(f"samples/{name}") for name in GROUP_COLUMNS if f"samples:{name}" in dataset.promised}
    names = group_samples(columns) if columns else dataset.samples
    group_of = dict(zip(dataset.samples, names, strict=True))
    return np.unique([group_of.get(row, f"row {row}") for row in rows], return_inverse=True)[1]


def per_sample(scores: Scores, unit: Unit) -> dict[str, PerSample]:
    """Return each metric of the samples; where genes are drawn, in all draws."""
    genes, blocks = int((scores.genes.n > 0).sum()), scores.block_n > 0
    if unit.name != GENES:
        return {metric: PerSample(values, None, genes) for metric, values in scores.per_sample.items()}
    weights = draw_units(int(blocks.sum()), unit.seed)
    draws = {metric: draw_correlations(sums[:, blocks], weights) for metric, sums in scores.sums.items()}
    for metric, values in scores.per_sample.items():
        draws.setdefault(metric, np.full((len(weights), len(values)), np.nan))[:, np.isnan(values)] = np.nan
    return {metric: PerSample(values, draws[metric], genes) for metric, values in scores.per_sample.items()}


def within_class(scores: Scores, unit: Unit, blocks: np.ndarray, genes: int) -> dict[str, PerSample]:
    """Return r_gene and r_gene_dev of the samples over the genes of some blocks (flags) alone."""
    found = {}
    for metric in ("r_gene", "r_gene_dev"):
        sums = scores.sums[metric][:, blocks]
        draws = draw_correlations(sums, draw_units(sums.shape[1], unit.seed)) if unit.name == GENES else None
        found[metric] = PerSample(correlate_sums(sums.sum(axis=1)), draws, genes)
    return found


def mean_over_samples(one: PerSample, unit: Unit) -> Estimate:
    """Return the mean over samples with its interval."""
    known = np.flatnonzero(~np.isnan(one.values))
    if not len(known):
        return Estimate(np.nan, unit=unit.name)
    if unit.name != GENES:
        return ratio_of_groups(one.values[known], np.ones(len(known)), unit.of_row[known], unit)
    with np.errstate(invalid="ignore"):
        drawn = one.draws[:, known]
        drawn = np.nansum(drawn, axis=1) / (~np.isnan(drawn)).sum(axis=1)
    return Estimate(float(one.values[known].mean()), *interval_of_draws(drawn, one.genes), one.genes, GENES)


def ratio_of_groups(sums: np.ndarray, counts: np.ndarray, groups: np.ndarray, unit: Unit) -> Estimate:
    """Return Σ sums / Σ counts of samples with its interval over their groups."""
    number = np.unique(groups, return_inverse=True)[1]
    interval = interval_of_ratio(np.bincount(number, sums), np.bincount(number, counts), unit.seed)
    return Estimate(*interval, len(set(groups.tolist())), unit.name)


def mean_error(squared: np.ndarray, n: np.ndarray, scores: Scores, unit: Unit) -> Estimate:
    """Return Σ squared / Σ n with its interval; both (rows,), or of blocks of genes where genes are drawn."""
    known = n > 0
    if not known.any():
        return Estimate(np.nan, unit=unit.name)
    if unit.name != GENES:
        return ratio_of_groups(squared[known], n[known], unit.of_row[known], unit)
    return Estimate(*interval_of_ratio(squared[known], n[known], unit.seed), int((scores.genes.n > 0).sum()), GENES)


def mse(scores: Scores, unit: Unit) -> Estimate:
    """Return the mean squared error over all cells."""
    if unit.name == GENES:
        return mean_error(scores.block_squared, scores.block_n, scores, unit)
    return mean_error(scores.squared, scores.n, scores, unit)


def mse_saved(model: Scores, other: Scores, unit: Unit) -> Estimate:
    """Return how much smaller the model's mean squared error is, paired; each unit weighs as many cells as the model has there."""
    by_gene = unit.name == GENES
    (own, n), (others, n_other) = ((s.block_squared, s.block_n) if by_gene else (s.squared, s.n) for s in (model, other))
    both = (n > 0) & (n_other > 0)
    saved = np.where(both, others * n / np.maximum(n_other, 1) - own, 0)
    return mean_error(saved, np.where(both, n, 0), model, unit)


def summarise(scores: Scores, samples: dict[str, PerSample], unit: Unit) -> dict[str, Estimate]:
    """Return {metric: estimate} of one predictor; `samples` are its numbers per sample."""
    cells = int(scores.n.sum())
    dev = samples["r_gene_dev"].values
    known = dev[~np.isnan(dev)]
    mae = float(scores.absolute.sum() / cells) if cells else np.nan
    return {
        **{metric: mean_over_samples(one, unit) for metric, one in samples.items()},
        "r_gene_dev_min": Estimate(float(known.min()) if len(known) else np.nan, n=len(known), unit=SAMPLES),
        **across_samples(scores),
        "mse": mse(scores, unit),
        "mae": Estimate(mae, n=cells, unit="values"),
        "r2_cod": Estimate(scores.r2_cod, n=cells, unit="values"),
        "r2_pearson": Estimate(scores.r2_pearson, n=cells, unit="values"),
    }


def across_samples(scores: Scores) -> dict[str, Estimate]:
    """Return the median over genes of r_sample, and the shares of genes with it above 0, and above 0 beyond chance."""
    r = scores.r_sample
    q, known = q_values(scores), ~np.isnan(r)
    return {
        "r_sample_median": median(r, GENES),
        "r_sample_positive": share(r[known] > 0, GENES),
        "r_sample_significant": share(q[known] < 0.05, GENES),
    }


def q_values(scores: Scores) -> np.ndarray:
    """Return (columns,) Benjamini-Hochberg adjusted p of r_sample > 0."""
    return benjamini_hochberg(p_value(scores.r_sample, scores.genes.n))


def gains(name: str, scores: dict[str, Scores], samples: dict[str, dict[str, PerSample]], unit: Unit, model: str) -> dict[str, Estimate]:
    """Return {metric: what the model has more than one baseline}; for mse, how much smaller its error is."""
    own, other = scores[model], scores[name]
    return {
        "r_gene_dev": mean_over_samples(samples[model]["r_gene_dev"].gain(samples[name]["r_gene_dev"]), unit),
        "r_sample": median(own.r_sample - np.nan_to_num(other.r_sample), GENES),
        "r_gene": mean_over_samples(samples[model]["r_gene"].gain(samples[name]["r_gene"]), unit),
        "mse": mse_saved(own, other, unit),
    }
