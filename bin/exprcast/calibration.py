"""Held-out errors of training samples → 90 % prediction intervals for new samples, by CV+.

Source: Barber, Candès, Ramdas & Tibshirani (2021), "Predictive inference with the jackknife+", Annals of Statistics 49:486. Training
sample i was held out in fold k(i); R_ig is its absolute error in gene g. For a new sample x the interval reaches from the r-th smallest
of f_k(i)(x)_g − R_ig to the r-th largest of f_k(i)(x)_g + R_ig over the n training samples in which the gene was measured,
r = ⌊0.1 (n + 1)⌋.

Two departures. Where a gene was measured in fewer than LEAST_OWN samples, scores of all genes stand in for its errors: errors as
multiples of a gene's typical one, which is learned without the sample's group and drawn towards that of genes of the same level. Where
errors grow with the distance to the nearest training sample, they are divided by exp(growth × distance) and multiplied by the new
sample's; growth is 0 unless left-out parts of the groups show a gain beyond chance.

What this rests on is that new samples are like training samples; `coverage` says what groups that were held out had of it. Ten blood
populations in eight groups (development data): 90 % on the whole, 74 to 98 % in one population; with one typical error for genes of
all levels 86 % of highly expressed genes and 98 % of silent ones, with LEVEL_BINS 90 and 92 %. tests/bench/bench_coverage.py has the
rest.

Of a large cohort a draw of samples stands for all: see `draw_samples`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from scipy.stats import rankdata

from exprcast.bundle import CALIBRATION, Bundle
from exprcast.cli import InputError, log
from exprcast.dataset import TEST
from exprcast.means import nan_mean
from exprcast.scoring import row_blocks

CONFIDENCE = 0.9
ONE_IN = 10  # lies outside: r = ⌊(n + 1) / 10⌋ in whole numbers
CENTRAL = np.array([CONFIDENCE])
LEAST_OWN = 30  # samples; with fewer, all genes' errors say more of a gene than its own
LEVEL_BINS = 20  # of genes, by their training mean
PRIOR = 4  # samples that the typical error of genes of this level counts as; 2 to 8 do as well
LEAST_SCALE = 1e-3  # of the middle gene's: no gene's typical error is smaller
QUANTILES = (np.arange(100) + 0.5) / 100  # that stand for a sample's scores
POOLED = 400  # quantiles that stand for all scores
LEAST_GROUPS, PARTS, SURE = 10, 20, 2.0  # for growth: groups, parts that they are dealt into, standard errors that a gain must have
RATIOS = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0)  # tried: error at the 90th percentile of distance over that at the 10th
AT_ONCE = 2**18  # numbers of samples × genes worked on at one time: a megabyte, which a core's cache holds
MOST_CELLS = 2**28  # of a file that is read: 13,000 samples × 20,000 genes
# Residuals, 134 MB: 3,525 samples × 9,520 genes. Of 70,000 simulated samples in 3,000 groups, intervals of so many cover 90.2 % of new values, the SD
# over genes being 0.6 %; of all 90.3 and 0.4 %. A new sample's intervals take 0.75 s; twice as many residuals gain 0.1 % and take twice the time.
MOST_KEPT = 2**25
DRAW = 1  # seed
STORED = {"sample": "iu", "residual": "f", "fold": "u", "group": "iu", "distance": "f", "level": "f"}  # what a file holds → kinds of number


class Pieces(NamedTuple):
    """Scores: errors as multiples of typical ones. A piece is what one fold held out of one sample."""

    row: np.ndarray  # (pieces,) sample
    fold: np.ndarray  # (pieces,)
    count: np.ndarray  # (pieces,) scores
    quantiles: np.ndarray  # (pieces, 100) of them

    def take(self, chosen: np.ndarray) -> "Pieces":
        """Return some of the pieces."""
        return Pieces(*(values[chosen] for values in self))


class Calibration(NamedTuple):
    """What intervals are made of; the first seven are measured and stored, the others follow from them."""

    unit: str
    sample: np.ndarray  # (samples,) its number among the training samples; rising
    residual: np.ndarray  # (samples, genes) float32, absolute error where held out; NaN = not measured or never held out
    fold: np.ndarray  # (samples,) or, where genes of a sample were held out in different folds, (samples, genes)
    group: np.ndarray  # (samples,) number of those held out together
    distance: np.ndarray  # (samples,) to the nearest sample of the own training part
    level: np.ndarray  # (genes,) training mean
    growth: float  # of the logarithm of errors with distance
    scale: np.ndarray  # (genes,) typical error at the middle distance
    pieces: Pieces


def calibrate(predictions: h5py.File, groups: np.ndarray, distance: np.ndarray) -> Calibration:
    """Return what held-out samples of an open predictions file say of errors; of more than fit into MOST_KEPT numbers a draw.

    `groups` (rows,) numbers samples that belong together, `distance` (rows,) is each one's to the nearest sample that its fold trained on.
    """
    sample = choose_samples(predictions, groups)
    residual, fold = (np.empty((len(sample), predictions["observed"].shape[1]), dtype) for dtype in (np.float32, np.uint16))
    for rows in row_blocks(predictions):
        kept = slice(*np.searchsorted(sample, [rows.start, rows.stop]))
        if kept.start < kept.stop:
            own = sample[kept] - rows.start
            residual[kept], fold[kept] = (values[own] for values in read_errors(predictions, rows))
    level = nan_mean(predictions["training_mean"][:, 0], axis=0)  # over folds
    group, distance = groups[sample], distance[sample].astype(np.float64)
    return learn(str(predictions.attrs["unit"]), sample, residual, one_fold(residual, fold), group, distance, level)


def choose_samples(predictions: h5py.File, groups: np.ndarray) -> np.ndarray:
    """Return the numbers of the samples to keep: all, or of more than fit into MOST_KEPT numbers some of those that were held out."""
    rows, genes = predictions["observed"].shape
    most = max(1, MOST_KEPT // genes)
    if rows <= most:
        return np.arange(rows)
    held_out = np.flatnonzero(np.concatenate([(predictions["role"][:, own] == TEST).any(axis=(0, 2)) for own in row_blocks(predictions)]))
    if len(held_out) <= most:
        return held_out
    drawn = held_out[draw_samples(predictions["rows"].asstr()[:][held_out], groups[held_out], most)]
    log.info(
        f"intervals rest on {most:,} of {len(held_out):,} held-out samples, drawn from {len(np.unique(groups[drawn])):,} of "
        f"{len(np.unique(groups[held_out])):,} groups: {genes:,} genes of all are more than the {MOST_KEPT:,} numbers that are kept"
    )
    return drawn


def draw_samples(names: np.ndarray, groups: np.ndarray, most: int) -> np.ndarray:
    """Return rising row numbers of `most` samples drawn by name, whatever the order of rows: of each group its share, at least one.

    A group of n samples has its k-th (k = 0, 1, …, in random order) at (k + u) / n, u random between 0 and 1 and one for the group, less 1
    for k = 0; those at the lowest places are drawn. So all groups come first, large ones before small ones if there are too many, and then
    samples in proportion.
    """
    turn, shift = np.random.default_rng(DRAW).random((2, len(names)))[:, np.argsort(np.argsort(names))]
    place = np.empty(len(names))
    for rows in members(groups):
        own = rows[np.argsort(turn[rows])]
        place[own] = (np.arange(len(own)) + shift[own[0]]) / len(own)
        place[own[0]] -= 1
    return np.sort(np.argsort(place)[:most])


def read_errors(predictions: h5py.File, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, columns) absolute errors of test cells, NaN elsewhere, and the fold of each: of several the first."""
    test = predictions["role"][:, rows] == TEST
    first = test.argmax(axis=0).astype(np.uint16)
    predicted = np.full(first.shape, np.nan, dtype=np.float32)
    for i in np.flatnonzero(test.any(axis=(1, 2))):
        np.copyto(predicted, predictions["predicted"][i, :, rows].mean(axis=0), where=test[i] & (first == i))
    return np.abs(predictions["observed"][rows] - predicted), first


def one_fold(residual: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return (samples,) folds where each sample has one in all that is known of it, else (samples, genes) as they are."""
    known = ~np.isnan(residual)
    largest = np.where(known, fold, 0).max(axis=1)
    return largest if (~known | (fold == largest[:, None])).all() else fold


def learn(
    unit: str, sample: np.ndarray, residual: np.ndarray, fold: np.ndarray, group: np.ndarray, distance: np.ndarray, level: np.ndarray
) -> Calibration:
    """Return the calibration that follows from errors: first without distance, then with it, if it helps."""
    plain = Calibration(unit, sample, residual, fold, group, distance, level, 0.0, *summarise(residual, fold, group, level))
    growth = choose_growth(plain)
    if not growth:
        return plain
    scaled = residual / widening(plain._replace(growth=growth), distance)[:, None]
    return Calibration(unit, sample, residual, fold, group, distance, level, growth, *summarise(scaled, fold, group, level))


def summarise(errors: np.ndarray, fold: np.ndarray, group: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, Pieces]:
    """Return (genes,) typical errors, and pieces whose typical errors were learned in other groups."""
    total, bins = Total.of(errors), level_bins(level)
    found = []
    for rows in members(group):
        scale = typical(total.without(errors[rows]), bins)
        found += [(row, *piece) for row in rows for piece in split(errors[row] / scale, fold[row])]
    row, own_fold, count, quantiles = zip(*found, strict=True) if found else [()] * 4
    quantiles = np.array(quantiles, dtype=np.float32).reshape(-1, len(QUANTILES))
    return typical(total, bins), Pieces(*(np.array(numbers, dtype=int) for numbers in (row, own_fold, count)), quantiles)


def members(group: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each group."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


class Total(NamedTuple):
    """Sum and number of known errors, (genes,) each."""

    sum: np.ndarray
    n: np.ndarray

    @classmethod
    def of(cls, residual: np.ndarray) -> "Total":
        """Return those of (samples, genes)."""
        known = ~np.isnan(residual)
        return cls(residual.sum(axis=0, dtype=np.float64, where=known), known.sum(axis=0))

    def without(self, residual: np.ndarray) -> "Total":
        """Return those of all but some samples."""
        own = Total.of(residual)
        return Total(np.maximum(self.sum - own.sum, 0), self.n - own.n)


def level_bins(level: np.ndarray) -> np.ndarray:
    """Return (genes,) bins of equally many genes by level, the last of all for genes whose level is not known."""
    known = level[~np.isnan(level)]
    inner = np.quantile(known, np.arange(1, LEVEL_BINS) / LEVEL_BINS) if len(known) else []
    return np.searchsorted([*inner, np.inf], level)  # NaN is sorted behind all


def typical(errors: Total, bins: np.ndarray) -> np.ndarray:
    """Return (genes,) mean absolute errors, drawn towards the median of genes of the same level as by PRIOR further samples."""
    known = errors.n > 0
    mean = errors.sum[known] / errors.n[known]
    middle = (np.median(mean) if len(mean) else 0.0) or 1.0  # where nothing is ever wrong, any scale will do
    own = [mean[bins[known] == number] for number in range(LEVEL_BINS + 1)]
    trend = np.array([np.median(values) if len(values) else middle for values in own])
    return np.maximum((errors.sum + PRIOR * trend[bins]) / (errors.n + PRIOR), LEAST_SCALE * middle)


def split(scores: np.ndarray, fold: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield each fold of one sample, the number of its known scores and their quantiles; (genes,) scores, () or (genes,) folds."""
    known = ~np.isnan(scores)
    scores, fold = scores[known], np.broadcast_to(fold, known.shape)[known]
    for number in np.unique(fold):
        own = scores[fold == number]
        yield int(number), len(own), np.quantile(own, QUANTILES)


def pooled_quantiles(pieces: Pieces, levels: np.ndarray) -> np.ndarray:
    """Return quantiles of all scores of at least one piece, every gene counting alike."""
    order = np.argsort(pieces.quantiles, axis=None)
    reached = np.cumsum(np.repeat(pieces.count, len(QUANTILES))[order])
    return pieces.quantiles.ravel()[order][np.searchsorted(reached, levels * reached[-1])]


def choose_growth(plain: Calibration) -> float:
    """Return the growth with the best interval score (Gneiting & Raftery 2007) in parts of the groups that are left out.

    0 where no gain is more than SURE standard errors over the parts, or where there are few groups.
    """
    pieces, known = plain.pieces, np.unique(plain.pieces.row)
    numbers, group = np.unique(plain.group[known], return_inverse=True)
    near, far = np.quantile(plain.distance[known], [0.1, 0.9]) if len(known) else (0.0, 0.0)
    if len(numbers) < LEAST_GROUPS or not far > near:
        return 0.0
    part = (group % PARTS)[np.searchsorted(known, pieces.row)]
    before, best = interval_scores(pieces, part, np.ones(len(part))), (0.0, 0.0)
    for growth in np.log(RATIOS) / (far - near):
        factor = widening(plain._replace(growth=growth), plain.distance)
        gain = before - interval_scores(pieces, part, factor[pieces.row])
        if gain.mean() > SURE * gain.std(ddof=1) / np.sqrt(len(gain)):
            best = max(best, (gain.mean(), growth))
    return float(best[1])


def interval_scores(pieces: Pieces, part: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return (parts,) mean interval scores, width + 20 × what lies outside, of intervals made from the other parts.

    `part` (pieces,) numbers what is left out together, `factor` (pieces,) is how much wider a piece's intervals are than others.
    """
    pieces, found = pieces._replace(quantiles=pieces.quantiles / factor[:, None]), []
    for number in np.unique(part):
        own, others = (pieces.take(chosen) for chosen in (part == number, part != number))
        half = pooled_quantiles(others, CENTRAL)
        beyond = np.maximum(own.quantiles - half, 0).mean(axis=1)
        found.append(np.average(factor[part == number] * (2 * half + 2 * ONE_IN * beyond), weights=own.count))
    return np.array(found)


def widening(calibration: Calibration, distance: np.ndarray) -> np.ndarray:
    """Return (samples,) float32 factors of errors at these distances; beyond those that calibration saw, that of the last one seen."""
    seen = calibration.distance[np.unique(calibration.pieces.row)]
    if not calibration.growth or not len(seen):
        return np.ones(len(distance), dtype=np.float32)
    return np.exp(calibration.growth * (np.clip(distance, seen.min(), seen.max()) - np.median(seen))).astype(np.float32)


def intervals(calibration: Calibration, by_fold: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (samples, genes) float32 lower and upper ends; NaN where a gene was never measured or is not predicted.

    `by_fold` (folds, samples, genes) are each fold's predictions (means over its seeds), `distance` (samples,) as in calibration.
    """
    folds, genes = int(calibration.fold.max(initial=0)) + 1, calibration.residual.shape[1]
    if len(by_fold) < folds or by_fold.shape[2] != genes:
        raise InputError(
            f"the calibration is of {folds} folds and {genes:,} genes, the predictions of {len(by_fold)} and {by_fold.shape[2]:,}; "
            "both must come from the same run"
        )
    factor = widening(calibration, distance)
    low, high = (np.full(by_fold.shape[1:], np.nan, dtype=np.float32) for _ in range(2))
    for columns, errors, fold, rank in error_blocks(calibration):
        for i, own in enumerate(by_fold[:, :, columns].transpose(1, 2, 0)):  # (genes, folds)
            centre = own[:, fold] if fold.ndim == 1 else np.take_along_axis(own, fold, axis=1)
            reach = errors * factor[i]
            low[i, columns] = np.partition(centre - reach, rank - 1, axis=1)[:, rank - 1]
            high[i, columns] = np.partition(centre + reach, -rank, axis=1)[:, -rank]
    unknown = np.isnan(by_fold).any(axis=0)
    low[unknown] = high[unknown] = np.nan
    return clip(low, calibration.unit), clip(high, calibration.unit)


def half_widths(calibration: Calibration) -> np.ndarray:
    """Return (genes,) float32 errors that one in ten held-out values exceeded: a prediction ± this is what `intervals` makes, around one network's
    prediction, for a sample at the middle distance. NaN where a gene was never measured."""
    half = np.full(calibration.residual.shape[1], np.nan, dtype=np.float32)
    for columns, errors, _, rank in error_blocks(calibration):
        half[columns] = np.partition(errors, -rank, axis=1)[:, -rank]
    return half


def clip(values: np.ndarray, unit: str) -> np.ndarray:
    """Return predictions or ends of intervals, none below 0 where no value can be: log2(x + 1)."""
    return np.maximum(values, 0) if unit.startswith("log2(") else values


def error_blocks(calibration: Calibration) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Yield blocks of genes with one rank r: their numbers, (genes, n) errors, (n,) or (genes, n) folds of these, r.

    An error that is not known is −∞, which no r-th smallest lower end and no r-th largest upper end ever reaches.
    """
    n = np.count_nonzero(~np.isnan(calibration.residual), axis=0)
    factor = widening(calibration, calibration.distance)[:, None]
    for rank in np.unique((n[n >= LEAST_OWN] + 1) // ONE_IN):
        for columns in blocks(np.flatnonzero((n >= LEAST_OWN) & ((n + 1) // ONE_IN == rank)), len(calibration.residual)):
            errors = calibration.residual[:, columns] / factor
            fold = calibration.fold if calibration.fold.ndim == 1 else calibration.fold[:, columns].T
            yield columns, np.where(np.isnan(errors), -np.inf, errors).T.copy(), fold, int(rank)
    scores, fold = pool(calibration.pieces)
    for columns in blocks(np.flatnonzero((n > 0) & (n < LEAST_OWN)), len(scores)):
        yield columns, calibration.scale[columns, None].astype(np.float32) * scores, fold, (len(scores) + 1) // ONE_IN


def blocks(columns: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    """Yield columns in blocks of at most AT_ONCE cells."""
    step = max(1, AT_ONCE // max(rows, 1))
    yield from (columns[start : start + step] for start in range(0, len(columns), step))


def pool(pieces: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Return about 400 scores that stand for all, and the fold of each: every fold has its share of them, at least one."""
    values, folds = [np.empty(0, dtype=np.float32)], [np.empty(0, dtype=int)]
    for fold in np.unique(pieces.fold):
        own = pieces.take(pieces.fold == fold)
        n = max(1, round(POOLED * own.count.sum() / pieces.count.sum()))
        values.append(pooled_quantiles(own, (np.arange(n) + 0.5) / n))
        folds.append(np.full(n, fold))
    return np.concatenate(values), np.concatenate(folds)


def coverage(calibration: Calibration) -> np.ndarray:
    """Return (samples,) share of each held-out sample's measured genes inside intervals made from the other groups; NaN where there are none.

    Around its own held-out prediction: there is no other network that did not see it.
    """
    known, groups = ~np.isnan(calibration.residual), members(calibration.group)
    if len(np.unique(calibration.group[calibration.pieces.row])) < 2:
        return np.full(len(known), np.nan)
    errors = calibration.residual / widening(calibration, calibration.distance)[:, None]
    inside, total = inside_own(errors, calibration.group), Total.of(errors)
    for rows in groups:
        others = total.without(errors[rows])
        few = np.flatnonzero(others.n < LEAST_OWN)
        if len(few):
            scale, pieces = summarise_without(calibration, errors, rows, others)
            inside[np.ix_(rows, few)] = errors[np.ix_(rows, few)] <= scale[few] * pooled_quantiles(pieces, CENTRAL)
    return (inside & known).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


def summarise_without(calibration: Calibration, errors: np.ndarray, rows: np.ndarray, others: Total) -> tuple[np.ndarray, Pieces]:
    """Return what `summarise` does of all samples but a group's; of many groups one has so little say in others' scores that these stay."""
    if len(np.unique(calibration.group)) > LEAST_OWN:
        return typical(others, level_bins(calibration.level)), calibration.pieces.take(~np.isin(calibration.pieces.row, rows))
    kept = np.setdiff1d(np.arange(len(errors)), rows)
    return summarise(errors[kept], calibration.fold[kept], calibration.group[kept], calibration.level)


def inside_own(errors: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return (samples, genes) which errors are at most the r-th largest of the same gene in other groups: r or more of those reach it."""
    inside = np.zeros(errors.shape, dtype=bool)
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    before = (np.cumsum(size) - size)[number, None]  # samples of groups with lower numbers
    for columns in blocks(np.arange(errors.shape[1]), len(errors)):
        own = np.nan_to_num(errors[:, columns], nan=-1)
        known, reached = own >= 0, at_least(own)
        in_group = np.zeros((len(size), own.shape[1]), dtype=int)
        np.add.at(in_group, number, known)
        others = known.sum(axis=0) - in_group[number]
        reached_in_group = at_least(-(number[:, None] * len(own) + reached)) - before  # by groups, and in each by error
        inside[:, columns] = reached - reached_in_group >= (others + 1) // ONE_IN
    return inside


def at_least(numbers: np.ndarray) -> np.ndarray:
    """Return (samples, genes) how many samples have a number at least as large in the same gene."""
    return rankdata(-numbers, method="max", axis=0).astype(int)


def save(calibration: Calibration, group: h5py.Group) -> None:
    """Write what was measured into an empty group of an HDF5 file."""
    group.attrs["unit"] = calibration.unit
    for name in STORED:
        group.create_dataset(name, data=getattr(calibration, name), compression="gzip", compression_opts=1, shuffle=True)


def load(group: h5py.Group) -> Calibration:
    """Return what `save` wrote; anything else is an InputError."""
    where = f"{Path(group.file.filename).name}{group.name}".rstrip("/")
    arrays = {name: read_array(group, name, kinds, where) for name, kinds in STORED.items()}
    samples, genes = arrays["residual"].shape if arrays["residual"].ndim == 2 else (0, 0)
    shapes = {name: (samples,) for name in ("sample", "fold", "group", "distance")} | {"residual": (samples, genes), "level": (genes,)}
    if arrays["fold"].ndim == 2:
        shapes["fold"] = (samples, genes)
    wrong = [f"{name} is {arrays[name].shape}" for name, shape in shapes.items() if arrays[name].shape != shape or 0 in shape]
    if wrong:
        raise InputError(f"{where}: arrays do not fit each other ({', '.join(wrong)}); the file is damaged or from elsewhere")
    distances = arrays["distance"][~np.isnan(arrays["residual"]).all(axis=1)]
    sample = arrays["sample"]
    fine = {
        "sample": sample[0] >= 0 and (sample[1:] > sample[:-1]).all(),
        "residual": not (arrays["residual"] < 0).any() and not np.isinf(arrays["residual"]).any(),
        "distance": np.isfinite(distances).all() or np.isnan(distances).all(),  # none where there is no open chromatin
        "level": not np.isinf(arrays["level"]).any(),
    }
    if not all(fine.values()):
        name = next(name for name, good in fine.items() if not good)
        raise InputError(
            f"{where}/{name}: a value that no calibration has (infinite, negative, missing or out of order); the file is damaged or from elsewhere"
        )
    unit = group.attrs.get("unit")
    if not isinstance(unit, str):
        raise InputError(f"{where}: no unit; the file is damaged or from elsewhere")
    return learn(unit, **arrays)


def of_bundle(bundle: Bundle) -> Calibration | None:
    """Return the residuals of held-out samples, None where no sample was held out."""
    if CALIBRATION not in bundle:
        log.info(f"bundle {bundle.path.name}: no sample was held out in training, so predictions have no intervals")
        return None
    with bundle.hdf5(CALIBRATION) as file:
        calibration = load(file)
    last, samples = int(calibration.sample[-1]) + 1, bundle.content["samples"]
    if last > samples or calibration.unit != bundle.unit:
        made = f"of samples up to number {last:,} in {calibration.unit[:40]}"
        raise InputError(f"bundle {bundle.path.name}: {CALIBRATION} is {made}, the bundle of {samples:,} in {bundle.unit}; copy it again")
    return calibration


def read_array(group: h5py.Group, name: str, kinds: str, where: str) -> np.ndarray:
    """Return a numeric array of a file that may be damaged or made to harm."""
    found = group.get(name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in kinds or not found.ndim or found.size > MOST_CELLS:
        raise InputError(f"{where}/{name}: missing, or no array of the right kind and size; the file is damaged or from elsewhere")
    try:
        return found[:]
    except OSError:
        raise InputError(f"{where}/{name}: cannot be read; the file is damaged, copy it again") from None
