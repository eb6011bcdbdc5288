"""Predictions in HDF5 → each predictor's numbers per sample, per gene and per fold; read in blocks of rows, so that memory stays bounded.

Rows are samples (or labels), columns genes. Pooled numbers take every cell from the fold(s) that tested it; a cell tested in several
folds takes the mean over them. A model's prediction is the mean over its seeds.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, Progress
from exprcast.dataset import TEST, VALID, open_hdf5
from exprcast.metrics import deviation, pearson, rank
from exprcast.moments import SUMS, Moments, add_rows, centre, correlate, draw_correlations, measure, merge, merge_all, sum_blocks

MODEL, BEST_SEED = "model", "best seed"
PREDICTION_KEYS = (
    "rows",
    "columns",
    "folds",
    "seeds",
    "status",
    "observed",
    "role",
    "predicted",
    "training_mean",
    "training_sd",
    "baselines",
)
MOST_BLOCKS = 500  # of genes, when genes are drawn
FOLD_SUMS = (
    "r_gene",
    "rows with one",
    "r_gene_dev",
    "rows with one",
    "squared errors",
    "absolute errors",
    "cells",
    "absolute errors in SD",
    "cells with SD",
)
LEAST_SD = 1e-3  # is added to a training standard deviation that errors are counted in
ROWS = 64  # read at once from a file that is not chunked


class Scores(NamedTuple):
    """One predictor's pooled numbers, as what they are made of."""

    samples: Moments  # (rows,) predicted and observed across genes
    rho_gene: np.ndarray  # (rows,) Spearman across genes; NaN where not asked for
    deviations: Moments  # (rows,) of deviations across genes
    squared: np.ndarray  # (rows,) sum of squared errors
    absolute: np.ndarray  # (rows,) sum of absolute errors
    absolute_sd: np.ndarray  # (rows,) the same in training standard deviations, of as many cells as `deviations` has
    gene_absolute_sd: np.ndarray  # (parts, columns) the same, from each part of the samples
    genes: Moments  # (columns,) of deviations across samples
    left_out: np.ndarray  # (parts, columns) r_sample without each part of the samples
    left_n: np.ndarray  # (parts, columns) pairs without it
    sums: dict[str, np.ndarray]  # metric → (rows, blocks of genes, 6); empty where genes are not drawn
    block_squared: np.ndarray  # (blocks,) sum of squared errors
    block_n: np.ndarray  # (blocks,) cells

    @property
    def per_sample(self) -> dict[str, np.ndarray]:
        """Return (rows,) of each metric that a sample has."""
        return {"r_gene": correlate(self.samples), "rho_gene": self.rho_gene, "r_gene_dev": correlate(self.deviations)}

    @property
    def n(self) -> np.ndarray:
        """Return (rows,) cells."""
        return self.samples.n

    @property
    def r_sample(self) -> np.ndarray:
        """Return (columns,) correlations across samples."""
        return correlate(self.genes)

    @property
    def r2_cod(self) -> float:
        """Return 1 − SSE / SST over all cells, SST around the overall mean of what was observed."""
        total = merge_all(self.samples)
        return float(1 - self.squared.sum() / total.yy) if total.yy > 0 else np.nan

    @property
    def r2_pearson(self) -> float:
        """Return the squared correlation over all cells."""
        return float(correlate(merge_all(self.samples)) ** 2)


class FoldScores(NamedTuple):
    """One predictor's numbers in each fold: means over the fold's samples, errors over its cells."""

    r_gene: np.ndarray  # (folds,), as all of them
    r_gene_dev: np.ndarray
    mse: np.ndarray
    mae: np.ndarray
    mae_sd: np.ndarray  # in training standard deviations


class Spread(NamedTuple):
    """An order of the columns in which random blocks of genes stand side by side, and each block's class."""

    order: np.ndarray  # (columns,)
    starts: np.ndarray  # (blocks,)
    kinds: np.ndarray  # (blocks,)
    kind_of_gene: np.ndarray  # (columns,), in the file's order


def open_predictions(path: Path) -> h5py.File:
    """Open what combine.py wrote; anything else is an InputError."""
    file = open_hdf5(path, "predictions")
    lacking = [key for key in PREDICTION_KEYS if key not in file]
    if file.attrs.get("format") != "exprcast-predictions" or lacking:
        raise InputError(
            f"{path.name}: not a file of predictions made by combine.py" + (f": {', '.join(lacking)} is missing" if lacking else "")
        )
    return file


def predictors(file: h5py.File) -> list[str]:
    """Return the names of the model and of its baselines."""
    return [MODEL, *file["baselines"]]


def controls(file: h5py.File) -> list[str]:
    """Return the names of networks that were trained on shuffled labels, or on other inputs."""
    return list(file.get("controls", ()))


def seed_views(file: h5py.File) -> list[str]:
    """Return the names under which single seeds are scored; none where there is only one."""
    seeds = file["seeds"][:].tolist()
    return [*(f"seed {seed}" for seed in seeds), BEST_SEED] if len(seeds) > 1 else []


def spread_genes(kinds: np.ndarray, seed: int) -> Spread:
    """Return up to 500 random blocks of genes, each inside one class; `kinds` is (columns,) classes."""
    rng = np.random.default_rng(seed)
    order, starts, block_kinds, begin = [], [], [], 0
    for kind in np.unique(kinds):
        own = rng.permutation(np.flatnonzero(kinds == kind))
        blocks = min(len(own), max(1, round(MOST_BLOCKS * min(1, len(own) / max(len(kinds), 1)))))
        starts += [begin + len(own) * k // blocks for k in range(blocks)]
        block_kinds += [kind] * blocks
        order.append(own)
        begin += len(own)
    return Spread(np.concatenate(order), np.array(starts), np.array(block_kinds), kinds)


def row_blocks(file: h5py.File) -> list[slice]:
    """Return slices of rows that cut no chunk."""
    rows, step = len(file["rows"]), (file["role"].chunks or (1, ROWS))[1]
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def read_fold(file: h5py.File, i: int, rows: slice, best: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return (rows, columns) of each predictor in one fold, of single seeds where there are several, and of controls."""
    seeds = file["predicted"][i, :, rows]  # (seeds, rows, columns)
    found = {MODEL: seeds.mean(axis=0)}
    found |= {name: file[f"baselines/{name}"][i, rows] for name in file["baselines"]}
    found |= {name: file[f"controls/{name}"][i, rows] for name in controls(file)}
    chosen = seeds[best[i]] if best is not None else np.full_like(seeds[0], np.nan)
    return found | dict(zip(seed_views(file), [*seeds, chosen], strict=False) if len(seeds) > 1 else ())


def read_mean(file: h5py.File, i: int, rows: slice, name: str = "training_mean") -> np.ndarray:
    """Return a fold's training mean (or standard deviation), of rows or of columns, as it is subtracted from a block of rows."""
    mean = file[name][i]
    return mean if len(mean) == 1 else mean[rows]


def best_seeds(file: h5py.File) -> np.ndarray | None:
    """Return (folds,) the number of the seed with the least squared error on validation cells; None where a fold has none of them."""
    squared = np.zeros(file["predicted"].shape[:2])
    count = np.zeros(len(file["folds"]))
    for rows in row_blocks(file):
        observed = file["observed"][rows]
        for i in range(len(squared)):
            valid = (file["role"][i, rows] == VALID) & ~np.isnan(observed)
            if valid.any():
                error = file["predicted"][i, :, rows][:, valid] - observed[valid]
                squared[i] += (error.astype(np.float64) ** 2).sum(axis=1)
                count[i] += valid.sum()
    return squared.argmin(axis=1) if count.all() and not np.isnan(squared).any() else None


def score_predictions(
    file: h5py.File, part_of_row: np.ndarray, spread: Spread | None = None, chosen: np.ndarray | None = None
) -> tuple[dict[str, Scores], dict[str, FoldScores]]:
    """Return {predictor: pooled numbers} and {predictor: numbers of each fold}; single seeds are only pooled.

    `part_of_row` (rows,) is the number, from 0, of the part of the samples that is left out together with this one; `chosen` (rows,) says
    which rows count, None: all.
    """
    chosen = np.ones(len(file["rows"]), dtype=bool) if chosen is None else chosen
    best = best_seeds(file) if seed_views(file) else None
    folds = {name: np.zeros((len(file["folds"]), len(FOLD_SUMS))) for name in [*predictors(file), *controls(file)]}
    parts: dict[str, list[Scores]] = {}
    genes: dict[str, Moments] = {}
    shape = (part_of_row.max(initial=0) + 1, SUMS + 1, len(file["columns"]))  # the last: absolute errors
    by_part = {name: np.zeros(shape) for name in [*folds, *seed_views(file)]}
    progress = Progress(len(file["rows"]), f"{file.attrs['family']}: samples scored")
    for rows in row_blocks(file):
        for name, part in score_block(file, rows, chosen[rows], best, spread, folds, by_part, part_of_row[rows]).items():
            genes[name] = merge(genes[name], part.genes) if name in genes else part.genes
            parts.setdefault(name, []).append(part._replace(genes=None))
        progress.step(rows.stop)
    pooled = {name: join(found, genes[name], by_part.pop(name), spread) for name, found in parts.items()}
    return pooled, {name: fold_scores(sums) for name, sums in folds.items()}


def score_block(
    file: h5py.File,
    rows: slice,
    chosen: np.ndarray,
    best: np.ndarray | None,
    spread: Spread | None,
    folds: dict[str, np.ndarray],
    by_part: dict[str, np.ndarray],
    parts: np.ndarray,
) -> dict[str, Scores]:
    """Return {predictor: pooled numbers} of a block of rows; add what each fold tests of it to `folds`, its deviations to `by_part`."""
    test, observed = (file["role"][:, rows] == TEST) & chosen[:, None], file["observed"][rows].astype(np.float64)
    tests = test.any(axis=2)  # (folds, rows)
    once = tests.sum(axis=0).max(initial=0) <= 1  # then what a row scores in its fold is what it scores in all
    mean, sd, *zeros = (np.zeros(observed.shape) for _ in range(2 + len(folds) + len(seed_views(file))))
    predicted = dict(zip([*folds, *seed_views(file)], zeros, strict=True))
    for i in np.flatnonzero(tests.any(axis=1)):
        own_mean = np.broadcast_to(read_mean(file, i, rows), observed.shape)
        own_sd = np.broadcast_to(read_mean(file, i, rows, "training_sd") + LEAST_SD, observed.shape)
        np.add(mean, own_mean, out=mean, where=test[i])
        np.add(sd, own_sd, out=sd, where=test[i])
        for name, values in read_fold(file, i, rows, best).items():
            np.add(predicted[name], values, out=predicted[name], where=test[i])
            if name in folds and not once:
                folds[name][i] += sum_fold(score_fold(values, observed, own_mean, own_sd, test[i]))
    count = test.sum(axis=0, dtype=np.float64)
    count[count == 0] = np.nan
    arrange = (lambda values: values) if spread is None else (lambda values: values.take(spread.order, axis=1))
    truth, mean, sd = arrange(observed + 0 * count), arrange(mean / count), arrange(sd / count)
    ranks = rank(truth, np.isnan(truth))
    found = {
        name: score_one(arrange(values / count), truth, mean, sd, ranks if name in folds else None, spread, by_part[name], parts)
        for name, values in predicted.items()
    }
    for name, sums in folds.items() if once else ():
        for i in np.flatnonzero(tests.any(axis=1)):
            sums[i] += sum_fold(tuple(values[tests[i]] for values in row_numbers(found[name])))
    return found


def score_one(
    predicted: np.ndarray,
    observed: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    ranks: np.ndarray | None,
    spread: Spread | None,
    by_part: np.ndarray,
    parts: np.ndarray,
) -> Scores:
    """Return one predictor's pooled numbers in a block of rows, and add its deviations and absolute errors to `by_part` (parts, 7, columns).

    `ranks` are those of what was observed, None: no rank correlation.
    """
    error = predicted - observed  # NaN where either is
    unknown = np.isnan(error)
    deviations = deviation(predicted, mean), observed - mean
    pairs = {"r_gene": centre(predicted, observed, axis=1), "r_gene_dev": centre(*deviations, axis=1)}
    if ranks is not None:
        same = bool((unknown == np.isnan(ranks)).all())
        pairs["rho_gene"] = centre(rank(predicted, unknown), ranks if same else rank(observed, unknown), axis=1)
    moments = {metric: measure(pair) for metric, pair in pairs.items()}
    squared = np.where(unknown, 0, error) ** 2
    absolute_sd = np.nan_to_num(np.sqrt(squared) / sd)
    add_rows(by_part, parts, *deviations)
    for part, row in zip(parts, absolute_sd, strict=True):
        by_part[part, SUMS] += row
    starts = None if spread is None else spread.starts
    return Scores(
        samples=moments["r_gene"],
        rho_gene=correlate(moments["rho_gene"]) if ranks is not None else np.full(len(error), np.nan),
        deviations=moments["r_gene_dev"],
        squared=squared.sum(axis=1),
        absolute=np.sqrt(squared).sum(axis=1),
        absolute_sd=absolute_sd.sum(axis=1),
        gene_absolute_sd=None,  # known when all rows are
        genes=measure(centre(*deviations, axis=0)),
        left_out=None,  # known when all rows are
        left_n=None,
        sums={} if starts is None else {metric: sum_blocks(pair, starts) for metric, pair in pairs.items()},
        block_squared=np.add.reduceat(squared.sum(axis=0), [0] if starts is None else starts),
        block_n=np.add.reduceat((~unknown).sum(axis=0), [0] if starts is None else starts),
    )


def row_numbers(part: Scores) -> tuple[np.ndarray, ...]:
    """Return (rows,) each: r_gene, r_gene_dev, sums of squared and of absolute errors, cells, absolute errors in SD, their cells."""
    return correlate(part.samples), correlate(part.deviations), part.squared, part.absolute, part.n, part.absolute_sd, part.deviations.n


def score_fold(predicted: np.ndarray, observed: np.ndarray, mean: np.ndarray, sd: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the same of one predictor in one fold, over the cells that it tests."""
    cells = np.ix_(test.any(axis=1), test.any(axis=0))
    predicted, mean, sd = predicted[cells].astype(np.float64), mean[cells], sd[cells]
    observed = np.where(test[cells], observed[cells], np.nan)
    error, dev = predicted - observed, (deviation(predicted, mean), observed - mean)
    in_sd = np.abs(error) / sd
    sums = [f(values) for values in (np.abs(error), in_sd) for f in (partial(np.nansum, axis=1), lambda one: (~np.isnan(one)).sum(axis=1))]
    sums = np.nansum(error**2, axis=1), *sums
    return pearson(predicted, observed, axis=1), pearson(*dev, axis=1), *sums


def sum_fold(numbers: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return what FOLD_SUMS names, of some rows that one fold tests."""
    r_gene, r_gene_dev, *sums = numbers
    return np.array(
        [*(number for r in (r_gene, r_gene_dev) for number in (np.nansum(r), (~np.isnan(r)).sum())), *(values.sum() for values in sums)]
    )


def fold_scores(sums: np.ndarray) -> FoldScores:
    """Return the means of a predictor in each fold, NaN where there was nothing; sums (folds, 9)."""
    r_gene, n_gene, r_dev, n_dev, squared, absolute, n, absolute_sd, n_sd = sums.T
    with np.errstate(invalid="ignore"):
        return FoldScores(r_gene / n_gene, r_dev / n_dev, squared / n, absolute / n, absolute_sd / n_sd)


def join(parts: Sequence[Scores], genes: Moments, by_part: np.ndarray, spread: Spread | None) -> Scores:
    """Return the numbers of all blocks of rows, genes in the file's order; by_part (parts, 7, columns)."""
    back = slice(None) if spread is None else np.argsort(spread.order)
    row_moments = {
        name: Moments(*map(np.concatenate, zip(*(getattr(part, name) for part in parts), strict=True)))
        for name in ("samples", "deviations")
    }
    return Scores(
        **row_moments,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ("rho_gene", "squared", "absolute", "absolute_sd")},
        genes=Moments(*(values[back] for values in genes)),
        left_out=draw_correlations(by_part[:, :SUMS].transpose(2, 0, 1), 1 - np.eye(len(by_part)))[:, back],
        left_n=(by_part[:, 0].sum(axis=0) - by_part[:, 0])[:, back],
        gene_absolute_sd=by_part[:, SUMS, back],
        sums={metric: np.concatenate([part.sums[metric] for part in parts]) for metric in parts[0].sums},
        **{name: np.sum([getattr(part, name) for part in parts], axis=0) for name in ("block_squared", "block_n")},
    )


def select(scores: Scores, rows: np.ndarray) -> Scores:
    """Return the same numbers of some rows; what is told of genes stays that of all."""
    return scores._replace(
        **{name: Moments(*(values[rows] for values in getattr(scores, name))) for name in ("samples", "deviations")},
        **{name: getattr(scores, name)[rows] for name in ("rho_gene", "squared", "absolute", "absolute_sd")},
        sums={metric: sums[rows] for metric, sums in scores.sums.items()},
    )
