"""What the numbers of a bake-off are made of, added up over blocks of rows.

These are sums over each row of products of deviations from the training mean: of members, of what was measured, of the mean itself.
Every mean of predictions is made of the same products, so that memory does not grow with the cells of each pair. A cell counts where
it was measured and every member has a value; one that several folds test counts in each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exprcast.bake_off_field import Field, comparisons
from exprcast.cli import Progress
from exprcast.dataset import TEST
from exprcast.ensemble import Member
from exprcast.estimates import GENES, Unit
from exprcast.metrics import DRAWS, deviation, draw_units
from exprcast.moments import SUMS, correlate_sums, draw_correlations
from exprcast.scoring import spread_genes
from exprcast.shared_cells import Shared

CORRELATIONS = ("r_gene_dev", "r_gene")
ONE, OBSERVED, LEVEL = 0, 1, 2  # of the variables whose products are summed up: 1, measured deviation, training mean; then the members'


class Sums(NamedTuple):
    """What scores are made of; the first axis is of contestants, or of these and then pairs ("predictors")."""

    r: dict[str, np.ndarray]  # correlation → (predictors, rows)
    drawn: dict[str, np.ndarray] | None  # correlation → (comparisons, 2, draws): sums and counts over rows, where genes are drawn
    cells: np.ndarray  # (rows,)
    squared: np.ndarray  # (predictors, rows) sums of squared errors
    absolute: np.ndarray  # (contestants, rows)
    block_cells: np.ndarray  # (blocks,) of genes
    block_squared: np.ndarray  # (predictors, blocks)
    block_absolute: np.ndarray  # (contestants, blocks)
    by_part: np.ndarray  # (parts, 3 + 3 · contestants, columns): n, Σy, Σy², then Σx, Σx², Σxy of each


def add_up(shared: Shared, field: Field, unit: Unit) -> Sums:
    """Read all test cells once, a block of rows at a time."""
    blocks = block_columns(shared, unit)
    sums = empty_sums(shared, field, unit, len(blocks))
    progress = Progress(len(shared.rows), "samples compared")
    for rows in shared.blocks():
        found = {metric: np.zeros((rows.stop - rows.start, field.weights.shape[1], len(blocks), SUMS)) for metric in CORRELATIONS}
        for fold in np.flatnonzero(shared.tested[:, rows].any(axis=1)):
            tested, values = read_deviations(shared, field.members, fold, rows)
            if not len(tested):
                continue
            products = multiply(values, blocks)
            for metric, part in found.items():
                part[tested] += pair_sums(products, field.weights[fold], metric)
            add_errors(sums, values, field.weights[fold, : len(field.names)], blocks, rows.start + tested, unit.parts)
        add_rows_of(sums, found, rows, field, unit)
        progress.step(rows.stop)
    return sums


def block_columns(shared: Shared, unit: Unit) -> np.ndarray:
    """Return (blocks, columns of a block) numbers of columns; where genes are drawn random blocks, else one. A last, empty column fills up."""
    n = len(shared.columns)
    if unit.name != GENES:
        return np.arange(n)[None]
    spread = spread_genes(np.zeros(n, dtype=int), unit.seed)
    parts = np.split(spread.order, spread.starts[1:])
    return np.stack([np.append(part, np.full(max(map(len, parts)) - len(part), n)) for part in parts])


def empty_sums(shared: Shared, field: Field, unit: Unit, blocks: int) -> Sums:
    """Return sums of nothing."""
    rows, predictors, contestants = len(shared.rows), field.weights.shape[1], len(field.names)
    drawn = {metric: np.zeros((len(comparisons(field)), 2, DRAWS)) for metric in CORRELATIONS} if unit.name == GENES else None
    return Sums(
        r={metric: np.full((predictors, rows), np.nan) for metric in CORRELATIONS},
        drawn=drawn,
        cells=np.zeros(rows),
        squared=np.zeros((predictors, rows)),
        absolute=np.zeros((contestants, rows)),
        block_cells=np.zeros(blocks),
        block_squared=np.zeros((predictors, blocks)),
        block_absolute=np.zeros((contestants, blocks)),
        by_part=np.zeros((unit.parts.max(initial=0) + 1, 3 + 3 * contestants, len(shared.columns))),
    )


def read_deviations(shared: Shared, members: Sequence[Member], fold: int, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a block that a fold tests, and (variables, these rows, columns): 1, what was measured, the training mean, members.

    Values are deviations from the training mean, and 0 where a cell does not count.
    """
    observed = shared.observed(fold, rows, TEST)
    tested = np.flatnonzero(~np.isnan(observed).all(axis=1))
    if not len(tested):
        return tested, np.empty(0)
    observed, mean = observed[tested], shared.training_mean(fold, rows.start + tested)
    predicted = deviation(shared.predictions(members, fold, rows.start + tested), mean)
    counts = ~(np.isnan(observed) | np.isnan(mean) | np.isnan(predicted).any(axis=0))
    values = np.concatenate([[np.ones(mean.shape), observed - mean, mean], predicted])
    values[:, ~counts] = 0
    return tested, values


def multiply(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return (rows, blocks, variables, variables) sums of products over the columns of each block; values (variables, rows, columns)."""
    by_row = values.transpose(1, 0, 2)
    if len(blocks) == 1:
        return (by_row @ by_row.transpose(0, 2, 1))[:, None]
    filled = np.concatenate([by_row, np.zeros((*by_row.shape[:2], 1))], axis=2)
    parts = filled[:, :, blocks].transpose(0, 2, 1, 3)  # (rows, blocks, variables, columns of a block)
    return parts @ parts.transpose(0, 1, 3, 2)


def pair_sums(products: np.ndarray, weights: np.ndarray, metric: str) -> np.ndarray:
    """Return (rows, predictors, blocks, 6) n, Σx, Σy, Σx², Σy², Σxy of predicted x and measured y; weights (predictors, members)."""
    x = np.concatenate([np.zeros((len(weights), LEVEL + 1)), weights], axis=1)
    y = np.zeros(x.shape[1])
    y[OBSERVED] = 1
    if metric == "r_gene":  # with the training mean, not as deviations from it
        x[:, LEVEL] = y[LEVEL] = 1
    by_x = x @ products  # (rows, blocks, predictors, variables)
    by_y = products @ y  # (rows, blocks, variables)
    alike = lambda values: np.broadcast_to(values[..., None], by_x.shape[:3])  # noqa: E731
    sums = (
        alike(products[..., ONE, ONE]), by_x[..., ONE], alike(by_y[..., ONE]),
        (by_x * x).sum(axis=-1), alike(by_y @ y), by_x @ y,
    )  # fmt: skip
    return np.stack(sums, axis=-1).transpose(0, 2, 1, 3)


def add_errors(sums: Sums, values: np.ndarray, weights: np.ndarray, blocks: np.ndarray, rows: np.ndarray, parts: np.ndarray) -> None:
    """Add the contestants' absolute errors and, to the part of the samples that each row is in, sums over rows; values as in `multiply`."""
    counts, observed = values[ONE] > 0, values[OBSERVED]
    predicted = np.tensordot(weights, values[LEVEL + 1 :], axes=1)  # (contestants, rows, columns)
    error = np.abs(predicted - observed)
    sums.absolute[:, rows] += error.sum(axis=2)
    by_column = np.append(error.sum(axis=1), np.zeros((len(error), 1)), axis=1)
    sums.block_absolute[...] += by_column[:, blocks].sum(axis=2)
    for k, row in enumerate(rows):
        x, y, part = predicted[:, k], observed[k], sums.by_part[parts[row]]
        part[:3] += counts[k], y, y * y
        part[3:] += np.concatenate([x, x * x, x * y])


def add_rows_of(sums: Sums, found: dict[str, np.ndarray], rows: slice, field: Field, unit: Unit) -> None:
    """Enter a block of rows that is complete: `found` is (rows, predictors, blocks, 6) of each correlation."""
    n, _x, _y, xx, yy, xy = np.moveaxis(found["r_gene_dev"], -1, 0)
    squared = np.maximum(xx - 2 * xy + yy, 0)
    sums.cells[rows] = n[:, 0].sum(axis=1)
    sums.squared[:, rows] = squared.sum(axis=2).T
    sums.block_cells[...] += n[:, 0].sum(axis=0)
    sums.block_squared[...] += squared.sum(axis=0)
    for metric, part in found.items():
        sums.r[metric][:, rows] = correlate_sums(part.sum(axis=2)).T
        if sums.drawn is not None:
            draw_genes(sums.drawn[metric], part, sums.r[metric][:, rows], field, unit)


def draw_genes(drawn: np.ndarray, found: np.ndarray, r: np.ndarray, field: Field, unit: Unit) -> None:
    """Add a block of rows to each comparison's sums and counts over rows in all draws of genes; r (predictors, rows)."""
    rows, predictors, blocks, _ = found.shape
    draws = draw_correlations(found.reshape(rows * predictors, blocks, SUMS), draw_units(blocks, unit.seed)).reshape(-1, rows, predictors)
    for k, (one, against, _) in enumerate(comparisons(field)):
        known = ~np.isnan(r[one])
        gain = draws[:, known, one] - (0 if against is None else np.nan_to_num(draws[:, known, against]))
        drawn[k, 0] += np.nansum(gain, axis=1)
        drawn[k, 1] += (~np.isnan(gain)).sum(axis=1)
