"""All families on the cells that they share: each predictor's scores, gains of one over another, and what one adds to another.

What A adds to B is the gain of the weighted mean of the two over B alone. All numbers of a group of cells are of the same cells, and
their intervals of the same draws.
"""

from collections.abc import Iterator

import numpy as np

from exprcast.bake_off_field import Field, choose_field, comparisons
from exprcast.bake_off_sums import CORRELATIONS, Sums, add_up
from exprcast.bake_off_table import ADDS, SCORE
from exprcast.dataset import Dataset
from exprcast.estimates import (
    GENES,
    PerSample,
    Unit,
    choose_unit,
    mean_over_samples,
    median,
    number_groups,
    over_parts,
    ratio_of_groups,
    without_rounding,
)
from exprcast.metrics import Estimate, interval_of_draws, interval_of_ratio
from exprcast.moments import correlate_sums, draw_correlations
from exprcast.shared_cells import Shared

Entry = tuple[str, str, str, str, Estimate]  # predictor, against, kind, metric


def compare(shared: Shared, dataset: Dataset, seed: int) -> tuple[dict[str, int], list[Entry]]:
    """Return how many samples, genes, folds and values are compared, and every number."""
    unit = choose_unit(shared.axes, dataset, shared.rows, seed)
    field = choose_field(shared, number_groups(dataset, shared.rows))
    sums = add_up(shared, field, unit)
    genes = int((sums.by_part[:, 0].sum(axis=0) > 0).sum())
    counts = {"samples": int((sums.cells > 0).sum()), "genes": genes, "folds": len(shared.folds), "values": int(sums.cells.sum())}
    return counts, list(entries(field, sums, unit, genes)) if sums.cells.any() else []


def entries(field: Field, sums: Sums, unit: Unit, genes: int) -> Iterator[Entry]:
    """Yield every number of every comparison."""
    r_sample, left_out = correlate_genes(sums)
    tested = sums.cells > 0
    for k, (one, against, kind) in enumerate(comparisons(field)):
        name = field.names[one] if kind != ADDS else field.names[sum(field.pairs[one - len(field.names)]) - against]
        other = "" if against is None else field.names[against]
        found = {metric: correlation(sums, metric, k, one, against, unit, genes) for metric in CORRELATIONS}
        if kind != ADDS:
            found |= across_samples(r_sample, left_out, one, against, tested, unit)
        found |= errors(sums, one, against, unit, genes)
        for metric, estimate in found.items():
            yield name, other, kind, metric, estimate if kind == SCORE else without_rounding(estimate)


def correlation(sums: Sums, metric: str, k: int, one: int, against: int | None, unit: Unit, genes: int) -> Estimate:
    """Return the mean over samples of a correlation, or of what it is more than another's; NA of the other counts 0."""
    own, other = (PerSample(sums.r[metric][i], None, genes) for i in (one, one if against is None else against))
    gain = own if against is None else own.gain(other)
    if sums.drawn is None:
        return mean_over_samples(gain, unit)
    known = gain.values[~np.isnan(gain.values)]
    if not len(known):
        return Estimate(np.nan, unit=GENES)
    with np.errstate(invalid="ignore"):
        drawn = np.divide(*sums.drawn[metric][k])
    return Estimate(float(known.mean()), *interval_of_draws(drawn, genes), genes, GENES)


def correlate_genes(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Return (contestants, columns) r_sample, and (contestants, parts, columns) without each part of the samples."""
    whole, left_out = [], []
    n, y, yy = sums.by_part[:, :3].transpose(1, 2, 0)  # (columns, parts)
    for x, xx, xy in sums.by_part[:, 3:].reshape(len(sums.by_part), 3, -1, sums.by_part.shape[2]).transpose(2, 1, 3, 0):
        own = np.stack([n, x, y, xx, yy, xy], axis=-1)  # (columns, parts, 6)
        whole.append(correlate_sums(own.sum(axis=1)))
        left_out.append(draw_correlations(own, 1 - np.eye(own.shape[1])).astype(np.float32))
    return np.array(whole), np.array(left_out)


def across_samples(
    r: np.ndarray, left_out: np.ndarray, one: int, against: int | None, tested: np.ndarray, unit: Unit
) -> dict[str, Estimate]:
    """Return the median over genes of r_sample, or of what r_sample is more than another's."""
    gain = lambda values: median(values[one] - (0 if against is None else np.nan_to_num(values[against])))  # noqa: E731
    without = np.array([gain(left_out[:, part]) for part in range(left_out.shape[1])])
    if against is None:
        return {"r_sample_median": over_parts(gain(r), without, tested, unit, (-1, 1))}
    return {"r_sample": over_parts(gain(r), without, tested, unit, (-2, 2))}


def errors(sums: Sums, one: int, against: int | None, unit: Unit, genes: int) -> dict[str, Estimate]:
    """Return mean squared and absolute errors, or how much smaller they are than another's; of a mean of two squared ones."""
    found = {}
    for metric, rows, blocks in (("mse", sums.squared, sums.block_squared), ("mae", sums.absolute, sums.block_absolute)):
        if max(one, against or 0) < len(rows):
            by_row, by_block = (part[one] if against is None else part[against] - part[one] for part in (rows, blocks))
            found[metric] = mean_error(by_row, by_block, sums, unit, genes)
    return found


def mean_error(by_row: np.ndarray, by_block: np.ndarray, sums: Sums, unit: Unit, genes: int) -> Estimate:
    """Return the sum of errors (rows,), the same by blocks of genes (blocks,), per cell, with its interval."""
    if unit.name == GENES:
        known = sums.block_cells > 0
        return Estimate(*interval_of_ratio(by_block[known], sums.block_cells[known], unit.seed), genes, GENES)
    known = sums.cells > 0
    return ratio_of_groups(by_row[known], sums.cells[known], unit.of_row[known], unit)
