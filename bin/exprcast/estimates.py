"""Scores → estimates with intervals: means over samples, medians over genes, and a model's gains over each baseline, paired.

The unit that is drawn is what was held out: groups of samples that stayed together (or single samples), or genes. Where fewer than
six groups were held out they tell nothing of their spread; then genes are drawn within the samples, and the unit says so.
What is told of all genes across samples has its interval from groups of samples always: from leaving out parts of them.
"""

from collections.abc import Callable
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
    jackknife,
    p_value,
)
from exprcast.moments import correlate_sums, draw_correlations
from exprcast.scoring import Scores

SAMPLES, GROUPS, GENES = "samples", "groups", "genes"
MOST_PARTS = 50  # of the samples, of which one is left out at a time
NO_GAIN = 1e-6  # a smaller gain is rounding of float32
SIGNIFICANT = 0.05
R_SAMPLE: dict[str, tuple[Callable[[np.ndarray, np.ndarray], float], tuple[float, float]]] = {
    "r_sample_median": (lambda r, _q: median(r), (-1, 1)),
    "r_sample_positive": (lambda r, _q: share(r > 0, r), (0, 1)),
    "r_sample_significant": (lambda r, q: share(q < SIGNIFICANT, r), (0, 1)),
}  # metric → what it is of (columns,) r_sample and their q-values, and between what it lies


class Unit(NamedTuple):
    """What intervals are drawn over."""

    name: str  # samples, groups or genes
    of_row: np.ndarray  # (rows,) number of a sample's group
    parts: np.ndarray  # (rows,) number of the part of the groups that it is left out with; 0 for what is not tested
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


def choose_unit(axes: str, dataset: Dataset, rows: list[str], seed: int, chosen: np.ndarray | None = None) -> Unit:
    """Return what was held out of these rows (samples, or labels, each of which stands alone), or of the chosen ones among them (flags)."""
    groups = number_groups(dataset, rows)
    if axes == "genes" or dataset.hold_out == "genes":
        return Unit(GENES, groups, deal(groups), seed)
    held_out = set(np.array(dataset.samples)[(dataset.sample_role == TEST).any(axis=0)])
    tested = np.array([row in held_out for row in rows]) & (True if chosen is None else chosen)
    several, parts = len(set(groups[tested].tolist())), np.zeros(len(rows), dtype=int)
    parts[tested] = deal(groups[tested])
    if several < LEAST_UNITS:
        return Unit(GENES, groups, parts, seed)
    return Unit(GROUPS if several < tested.sum() else SAMPLES, groups, parts, seed)


def deal(groups: np.ndarray) -> np.ndarray:
    """Return (rows,) the part, of up to 50, that each row's group is dealt into."""
    return np.unique(groups, return_inverse=True)[1] % MOST_PARTS


def number_groups(dataset: Dataset, rows: list[str]) -> np.ndarray:
    """Return (rows,) the number of each sample's group: samples that the folds promise to hold out together, else replicates."""
    kept = [name for name in GROUP_COLUMNS if f"samples:{name}" in dataset.promised]
    if dataset.hold_out == "genes" and dataset.has("samples/replicate_group"):
        kept = ["replicate_group"]
    columns = {name: dataset.text(f"samples/{name}") for name in kept}
    names = group_samples(columns) if columns else dataset.samples
    group_of = dict(zip(dataset.samples, names, strict=True))
    return np.unique([group_of.get(row, f"row {row}") for row in rows], return_inverse=True)[1]


def sets_of(rows: list[str], dataset: Dataset) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return (rows,) flags of what belongs to no external set, and {set: flags} of those that some fold tests."""
    if not dataset.has("samples/set"):
        return np.ones(len(rows), dtype=bool), {}
    set_of = dict(zip(dataset.samples, dataset.text("samples/set"), strict=True))
    names, tested = np.array([set_of.get(row, "") for row in rows]), (dataset.sample_role == TEST).any(axis=0)
    scored = sorted({set_of[dataset.samples[i]] for i in np.flatnonzero(tested)} - {""})
    return names == "", {name: names == name for name in scored}


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
    with_sd = int(scores.deviations.n.sum())
    return {
        **{metric: mean_over_samples(one, unit) for metric, one in samples.items()},
        "r_gene_dev_min": Estimate(float(known.min()) if len(known) else np.nan, n=len(known), unit=SAMPLES),
        **across_samples(scores, unit),
        "mse": mse(scores, unit),
        "mae": Estimate(mae, n=cells, unit="values"),
        "mae_sd": Estimate(float(scores.absolute_sd.sum() / with_sd) if with_sd else np.nan, n=with_sd, unit="values"),
        "r2_cod": Estimate(scores.r2_cod, n=cells, unit="values"),
        "r2_pearson": Estimate(scores.r2_pearson, n=cells, unit="values"),
    }


def across_samples(scores: Scores, unit: Unit) -> dict[str, Estimate]:
    """Return the median over genes of r_sample, and the shares of genes with it above 0, and above 0 beyond chance."""
    p = p_value(scores.left_out, scores.left_n * independent(scores, unit))
    q, whole, found = [benjamini_hochberg(one) for one in p], q_values(scores, unit), {}
    for metric, (statistic, most) in R_SAMPLE.items():
        left_out = np.array([statistic(*one) for one in zip(scores.left_out, q, strict=True)])
        found[metric] = over_parts(statistic(scores.r_sample, whole), left_out, scores.n > 0, unit, most)
    return found


def over_parts(value: float, left_out: np.ndarray, tested: np.ndarray, unit: Unit, most: tuple[float, float]) -> Estimate:
    """Return a statistic of r_sample with its interval over groups of the tested samples (rows,) flags; left_out (parts,) of all parts."""
    parts = np.unique(unit.parts[tested])
    groups = len(np.unique(unit.of_row[tested]))
    return jackknife(value, left_out[parts], groups, GROUPS if groups < tested.sum() else SAMPLES, most)


def median(values: np.ndarray) -> float:
    """Return the median of the known values, NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def share(flags: np.ndarray, values: np.ndarray) -> float:
    """Return the share of the known values that have a flag, NaN where there are none."""
    known = ~np.isnan(values)
    return float(flags[known].mean()) if known.any() else np.nan


def independent(scores: Scores, unit: Unit) -> float:
    """Return how many groups there are for one tested sample: pairs of replicates tell no more than one pair."""
    groups = unit.of_row[scores.n > 0]
    return len(np.unique(groups)) / max(len(groups), 1)


def q_values(scores: Scores, unit: Unit) -> np.ndarray:
    """Return (columns,) Benjamini-Hochberg adjusted p of r_sample > 0; samples of one group count as one."""
    return benjamini_hochberg(p_value(scores.r_sample, scores.genes.n * independent(scores, unit)))


def gains(name: str, scores: dict[str, Scores], samples: dict[str, dict[str, PerSample]], unit: Unit, model: str) -> dict[str, Estimate]:
    """Return {metric: what the model has more than one baseline}; for mse, how much smaller its error is. Rounding is no gain."""
    own, other = scores[model], scores[name]
    r, *left_out = (
        median(a - np.nan_to_num(b)) for a, b in ((own.r_sample, other.r_sample), *zip(own.left_out, other.left_out, strict=True))
    )
    found = {
        "r_gene_dev": mean_over_samples(samples[model]["r_gene_dev"].gain(samples[name]["r_gene_dev"]), unit),
        "r_sample": over_parts(r, np.array(left_out), (own.n > 0) | (other.n > 0), unit, (-2, 2)),
        "r_gene": mean_over_samples(samples[model]["r_gene"].gain(samples[name]["r_gene"]), unit),
        "mse": mse_saved(own, other, unit),
        "genes_better": genes_better(own, other, unit),
    }
    return {metric: without_rounding(one) for metric, one in found.items()}


def genes_better(model: Scores, other: Scores, unit: Unit) -> Estimate:
    """Return the share of genes with a smaller mean absolute error, with its interval over groups of samples."""
    errors, others = gene_errors(model), gene_errors(other)
    whole, *left_out = (share(own < theirs - NO_GAIN, own - theirs) for own, theirs in zip(errors, others, strict=True))
    return over_parts(whole, np.array(left_out), (model.n > 0) | (other.n > 0), unit, (0, 1))


def gene_errors(scores: Scores) -> np.ndarray:
    """Return (1 + parts, columns) mean absolute errors in training SD: over all samples, then without each part of them."""
    total = scores.gene_absolute_sd.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.vstack([total, total - scores.gene_absolute_sd]) / np.vstack([scores.genes.n, scores.left_n])


def without_rounding(gain: Estimate) -> Estimate:
    """Return a gain of which what is smaller than rounding is 0."""
    return gain._replace(**{name: 0.0 for name in ("value", "low", "high") if abs(getattr(gain, name)) < NO_GAIN})
