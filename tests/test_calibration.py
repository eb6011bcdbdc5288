"""Prediction intervals: order statistics by hand, what is missing, what was held out in pieces, draws of large cohorts, files that are damaged, any order and block size."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast import calibration
from exprcast.calibration import LEAST_OWN, calibrate, coverage, draw_samples, half_widths, intervals, learn, load, save, widening
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN

UNIT = "log2_intensity"  # may be negative: nothing is clipped
HOSTILE = {
    "no residual": lambda group: group.__delitem__("residual"),
    "a group in its place": lambda group: (group.__delitem__("level"), group.create_group("level")),
    "text": lambda group: replace(group, "distance", np.array([b"near"] * 40)),
    "other shapes": lambda group: replace(group, "fold", group["fold"][:-1]),
    "one axis": lambda group: replace(group, "residual", group["residual"][0]),
    "negative": lambda group: replace(group, "residual", -1 - group["residual"][:]),
    "infinite": lambda group: replace(group, "level", np.full(6, np.inf)),
    "no distance of one": lambda group: replace(group, "distance", np.where(np.arange(40) == 7, np.nan, 1.0)),
    "infinite distances": lambda group: replace(group, "distance", np.full(40, np.inf)),
    "samples in no order": lambda group: replace(group, "sample", np.arange(40)[::-1]),
    "a sample twice": lambda group: replace(group, "sample", np.sort(np.arange(40) // 2 * 2)),
    "a sample before the first": lambda group: replace(group, "sample", np.arange(-1, 39)),
    "a sample too few": lambda group: replace(group, "sample", np.arange(39)),
    "samples between samples": lambda group: replace(group, "sample", np.arange(40) + 0.5),
    "unsigned samples in no order": lambda group: replace(group, "sample", np.arange(40, dtype=np.uint64)[::-1]),
    "empty": lambda group: replace(group, "residual", np.empty((0, 6), np.float32)),
    "no values": lambda group: replace(group, "distance", h5py.Empty("f8")),
    "too large": lambda group: too_large(group),
    "unit": lambda group: group.attrs.__setitem__("unit", 3),
}


def replace(group: h5py.Group, name: str, values: object) -> None:
    """Put other values in an array's place."""
    del group[name]
    group[name] = values


def too_large(group: h5py.Group) -> None:
    """Say that there are 10¹² errors, in a file of some kB."""
    del group["residual"]
    group.create_dataset("residual", shape=(10**6, 10**6), dtype="f4", chunks=(100, 100), compression="gzip")


def errors_of(samples: int, genes: int, seed: int = 0, missing: float = 0.0) -> np.ndarray:
    """Return (samples, genes) absolute errors of different sizes, some not known."""
    rng = np.random.default_rng(seed)
    errors = np.abs(rng.standard_t(4, (samples, genes))) * rng.uniform(0.1, 2, genes)
    errors[rng.random(errors.shape) < missing] = np.nan
    return errors.astype(np.float32)


def learned(errors: np.ndarray, folds: int = 4, unit: str = UNIT, **other: np.ndarray) -> calibration.Calibration:
    """Return the calibration of these errors: each sample a group of its own, distances without meaning."""
    samples, genes = errors.shape
    number, rng = np.arange(samples), np.random.default_rng(1)
    given = {"fold": (number % folds).astype(np.uint16), "group": number, "distance": rng.random(samples), "level": rng.gamma(2, 2, genes)}
    return learn(unit, number, errors, **(given | other))


def predictions_of(folds: int, samples: int, genes: int) -> np.ndarray:
    """Return (folds, samples, genes) predictions."""
    return np.random.default_rng(2).normal(3, 1, (folds, samples, genes)).astype(np.float32)


def predictions_file(path: Path, observed: np.ndarray, predicted: np.ndarray, role: np.ndarray) -> h5py.File:
    """Write what calibrate reads of combine.py's file: predicted (folds, seeds, rows, columns), training means 0, 1, 2 …"""
    with h5py.File(path, "w") as file:
        file.attrs["unit"] = UNIT
        file["rows"] = [f"S{i}" for i in range(len(observed))]
        file["observed"], file["predicted"], file["role"] = observed, predicted, role
        file["training_mean"] = np.tile(np.arange(observed.shape[1], dtype=np.float32), (len(role), 1, 1))
    return h5py.File(path)


def plain_interval(errors: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """Return CV+ as the paper has it, of (n,) errors and predictions of the folds that held them out."""
    known = ~np.isnan(errors)
    rank = (known.sum() + 1) // 10  # ⌊0.1 (n + 1)⌋; ⌈0.9 (n + 1)⌉ is n + 1 less this
    return np.sort((centre - errors)[known])[rank - 1], np.sort((centre + errors)[known])[-rank]


def test_ten_samples_by_hand(monkeypatch):
    """n = 10: the smallest lower end and the largest upper end, 11 // 10 = 1 from outside."""
    monkeypatch.setattr(calibration, "LEAST_OWN", 10)
    errors = np.arange(1, 11, dtype=np.float32)[:, None]
    found = learned(errors, folds=2)  # errors 1 3 5 7 9 of fold 0, 2 4 6 8 10 of fold 1
    low, high = intervals(found, np.array([[[5.0]], [[7.0]]], np.float32), np.zeros(1))
    assert (low.item(), high.item()) == (-4, 17)  # 5 − 9 and 7 + 10


def test_nineteen_samples_leave_out_one_on_each_side(monkeypatch):
    monkeypatch.setattr(calibration, "LEAST_OWN", 10)
    found = learned(np.arange(1, 20, dtype=np.float32)[:, None], folds=1)
    low, high = intervals(found, np.full((1, 1, 1), 20, np.float32), np.zeros(1))
    assert (low.item(), high.item()) == (2, 38)  # errors of 18, the second largest


def test_half_widths_are_the_intervals_around_one_networks_prediction():
    """Also of a gene that was measured too rarely for its own errors, and of one that never was."""
    errors = errors_of(60, 7, missing=0.1)
    errors[10:, 5], errors[:, 6] = np.nan, np.nan
    found = learned(errors, folds=1, unit="log2_intensity")
    low, high = intervals(found, np.full((1, 1, 7), 8, np.float32), np.zeros(1))
    half = half_widths(found)
    assert half[:6] == pytest.approx(((high - low) / 2)[0, :6], rel=1e-5) and np.isnan(half[6])
    known = np.sort(errors[:, 0][~np.isnan(errors[:, 0])])
    assert half[0] == pytest.approx(known[-((len(known) + 1) // 10)])


@pytest.mark.parametrize("samples", [LEAST_OWN, 38, 39, 100])
@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_own_errors_give_the_order_statistics_of_the_paper(samples, missing):
    errors = errors_of(samples + 20 * bool(missing), 7, missing=missing)
    found, predicted = learned(errors), predictions_of(4, 3, 7)
    assert found.growth == 0 and (np.count_nonzero(~np.isnan(errors), axis=0) >= LEAST_OWN).all()
    low, high = intervals(found, predicted, np.zeros(3))
    for i, gene in np.ndindex(low.shape):
        assert (low[i, gene], high[i, gene]) == pytest.approx(plain_interval(errors[:, gene], predicted[found.fold, i, gene]))


def test_errors_are_those_of_the_first_fold_that_tested_and_of_the_mean_over_seeds(tmp_path):
    observed = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]], np.float32)
    predicted = np.zeros((3, 2, 3, 2), np.float32)
    predicted[0], predicted[1, 0], predicted[1, 1], predicted[2] = 99, 1, 2, 50
    role = np.full((3, 3, 2), TRAIN, np.uint8)
    role[1:, :2] = TEST  # sample 2 was never held out
    with predictions_file(tmp_path / "family.h5", observed, predicted, role) as file:
        found = calibrate(file, np.array([4, 4, 5]), np.array([0.1, 0.2, np.nan]))
    assert np.array_equal(found.residual, [[0.5, 0.5], [1.5, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert found.fold[:2].tolist() == [1, 1] and found.level.tolist() == [0, 1]


def test_a_sample_held_out_in_pieces_takes_each_gene_from_its_fold(tmp_path):
    """hold_out both: fold 0 tests genes 0 and 1 of all samples, fold 1 gene 2."""
    rng, samples = np.random.default_rng(0), 40
    observed, predicted = rng.normal(size=(samples, 3)).astype(np.float32), rng.normal(size=(2, 1, samples, 3)).astype(np.float32)
    role = np.full((2, samples, 3), TRAIN, np.uint8)
    role[0, :, :2] = role[1, :, 2:] = TEST
    with predictions_file(tmp_path / "family.h5", observed, predicted, role) as file:
        found = calibrate(file, np.arange(samples), rng.random(samples))
    assert found.fold.shape == (samples, 3) and len(found.pieces.row) == 2 * samples
    low, high = intervals(found, np.array([[[0, 0, 0]], [[100, 100, 100]]], np.float32), np.zeros(1))
    for gene, (fold, centre) in enumerate([(0, 0.0), (0, 0.0), (1, 100.0)]):
        errors = np.abs(observed - predicted[fold, 0])[:, gene]
        assert (low[0, gene], high[0, gene]) == pytest.approx(plain_interval(errors, np.full(samples, centre)))
    few = calibration.learn(UNIT, np.arange(12), found.residual[:12], found.fold[:12], np.arange(12), np.zeros(12), found.level)
    low, high = intervals(few, np.array([[[0, 0, 0]], [[100, 100, 100]]], np.float32), np.zeros(1))
    assert (high > 90).all() and (low < 10).all()  # scores of all genes came from both folds


def test_a_gene_never_measured_has_no_interval_and_one_not_predicted_has_none():
    errors = errors_of(40, 5)
    errors[:, 1] = np.nan
    errors[:35, 2] = np.nan  # five samples: all genes' errors stand in
    predicted = predictions_of(4, 2, 5)
    predicted[3, 0, 4] = np.nan
    low, high = intervals(learned(errors), predicted, np.zeros(2))
    for ends in (low, high):
        assert np.isnan(ends).tolist() == [[False, True, False, False, True], [False, True, False, False, False]]


def test_a_fold_that_measured_nothing_of_a_gene_says_nothing_of_it():
    errors, predicted = errors_of(80, 2), predictions_of(4, 1, 2)
    predicted[3] = 1000
    errors[3::4, 0] = np.nan
    _, high = intervals(learned(errors), predicted, np.zeros(1))
    assert high[0, 0] < 100 < high[0, 1]


def test_a_gene_measured_in_few_samples_leaves_the_others_as_they_were():
    errors, predicted = errors_of(60, 5), predictions_of(4, 2, 5)
    before = intervals(learned(errors), predicted, np.zeros(2))
    errors[10:, 2] = np.nan
    after = intervals(learned(errors), predicted, np.zeros(2))
    same = [0, 1, 3, 4]
    assert np.array_equal(np.array(before)[:, :, same], np.array(after)[:, :, same])
    assert not np.array_equal(np.array(before)[:, :, 2], np.array(after)[:, :, 2])


@pytest.mark.parametrize(("unit", "least"), [("log2(tpm + 1)", 0), ("log2_intensity", -np.inf)])
def test_ends_are_clipped_where_no_value_is_below_zero(unit, least):
    low, high = intervals(learned(errors_of(40, 5), unit=unit), predictions_of(4, 3, 5) - 3, np.zeros(3))
    assert low.min() == 0 if least == 0 else low.min() < 0
    assert (high >= max(least, -1e9)).all() and (low <= high).all()


def test_few_samples_give_intervals_in_proportion_to_a_genes_typical_error():
    """Ten samples, a gene ten times as hard as others of its level: its interval is about ten times as wide, and never without end."""
    errors = errors_of(10, 400)
    errors /= errors.mean(axis=0)
    errors[:, 7] *= 10
    found = learned(errors, level=np.ones(400))
    low, high = intervals(found, np.zeros((4, 1, 400), np.float32), np.zeros(1))
    width = (high - low)[0]
    assert np.isfinite(width).all() and 5 < width[7] / np.median(width) < 10  # drawn towards the others as by four samples
    expected = 2 * found.scale * np.quantile(found.pieces.quantiles, 0.9)
    assert width == pytest.approx(expected, rel=0.02)


def test_typical_errors_of_a_group_are_learned_without_it():
    """A group whose errors are ten times as large has scores ten times as large: it had no say in what is typical."""
    errors, group = errors_of(12, 200), np.arange(12) // 3
    before = learned(errors, group=group).pieces
    errors[group == 2] *= 10
    after = learned(errors, group=group).pieces
    own = group[before.row] == 2
    assert after.quantiles[own] == pytest.approx(10 * before.quantiles[own], rel=1e-5)
    assert (after.quantiles[~own, 50] < before.quantiles[~own, 50]).all()


def test_genes_of_unknown_level_and_genes_that_are_never_wrong_have_a_typical_error():
    errors, level = errors_of(10, 100), np.arange(100.0)
    errors[:, :20] = 0  # four bins of level
    level[50:60] = np.nan
    found = learned(errors, level=level)
    assert (found.scale > 0).all() and np.isfinite(found.pieces.quantiles).all() and (found.pieces.count == 100).all()
    assert (learned(np.zeros((10, 4), np.float32)).pieces.quantiles == 0).all()


def growing(samples: int, rate: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return errors that grow with distance by exp(rate × distance), and distances."""
    distance = np.random.default_rng(seed).random(samples)
    return (errors_of(samples, 60, seed) * np.exp(rate * distance)[:, None]).astype(np.float32), distance


@pytest.mark.parametrize("samples", [20, 60])
def test_intervals_grow_with_distance_where_errors_do_and_no_further_than_was_seen(samples):
    errors, distance = growing(samples, 2.0)
    found = learned(errors, distance=distance)
    assert 1 < found.growth < 3
    asked = np.array([distance.min(), np.median(distance), distance.max(), distance.max() + 5, -5])
    factor = widening(found, asked)
    assert factor == pytest.approx(np.exp(found.growth * (np.clip(asked, distance.min(), distance.max()) - np.median(distance))), rel=1e-5)
    straight = learned((errors / widening(found, distance)[:, None]).astype(np.float32), distance=np.zeros(samples))
    assert np.array_equal(found.pieces.quantiles, straight.pieces.quantiles) and np.array_equal(found.scale, straight.scale)
    low, high = intervals(found, np.zeros((4, 5, 60), np.float32), asked)
    width = high - low
    assert width / width[1] == pytest.approx(np.repeat(factor[:, None], 60, axis=1), rel=1e-5)


def test_distance_counts_for_nothing_where_errors_do_not_follow_it_or_groups_are_few():
    errors, distance = growing(60, 0.0)
    assert learned(errors, distance=distance).growth == 0
    errors, distance = growing(60, 2.0)
    assert learned(errors, distance=distance, group=np.arange(60) % 9).growth == 0
    assert learned(errors, distance=np.full(60, 0.3)).growth == 0
    assert learned(errors, distance=-distance).growth == 0  # errors that shrink with distance are chance


def test_coverage_is_the_share_inside_intervals_made_without_the_group():
    """Own errors, by brute force: each group in turn is new, its samples' own predictions are all there is."""
    errors, group = errors_of(48, 30, missing=0.05), np.arange(48) // 3
    found = learned(errors, group=group)
    inside = np.full(errors.shape, np.nan)
    for i, gene in zip(*np.nonzero(~np.isnan(errors)), strict=True):
        low, high = plain_interval(errors[group != group[i], gene], np.zeros((group != group[i]).sum()))
        inside[i, gene] = low <= errors[i, gene] <= high
    assert found.growth == 0 and coverage(found) == pytest.approx(np.nanmean(inside, axis=1))


@pytest.mark.parametrize("larger", [1, 5])
def test_coverage_of_few_samples_is_that_of_intervals_learned_without_the_group(larger):
    """Each group in turn is new: a calibration that never saw it. Also where one group errs five times as much as the others."""
    errors, group = errors_of(10, 1_000), np.array([0, 1, 2, 3, 3, 4, 5, 5, 6, 7])
    errors[group == 3] *= larger
    level, expected = np.random.default_rng(0).random(1_000), np.empty(10)
    for number in range(8):
        own, others = group == number, group != number
        _, high = intervals(learned(errors[others], group=group[others], level=level), np.zeros((4, 1, 1_000), np.float32), np.zeros(1))
        expected[own] = (errors[own] <= high).mean(axis=1)
    assert coverage(learned(errors, group=group, level=level)) == pytest.approx(expected, abs=0.005)


def test_coverage_of_genes_rarely_measured_in_a_large_cohort():
    """Half of the genes are known in 12 of 40 samples: their errors are judged by those of all genes, the others' by their own."""
    errors, level = errors_of(40, 300), np.random.default_rng(0).random(300)
    errors[12:, ::2] = np.nan
    expected = np.empty(40)
    for i in range(40):
        others, known = np.arange(40) != i, ~np.isnan(errors[i])
        _, high = intervals(learned(errors[others], level=level), np.zeros((4, 1, 300), np.float32), np.zeros(1))
        expected[i] = (errors[i] <= high[0])[known].mean()
    assert coverage(learned(errors, level=level)) == pytest.approx(expected, abs=0.02)


def test_what_was_never_held_out_has_no_coverage_and_no_intervals():
    errors = errors_of(12, 30)
    errors[4] = np.nan
    distance = np.random.default_rng(0).random(12)
    distance[4] = np.nan
    assert np.flatnonzero(np.isnan(coverage(learned(errors, distance=distance)))).tolist() == [4]
    assert np.isnan(coverage(learned(errors[:4], group=np.zeros(4, int)))).all()  # one group: there is no other
    none = learned(np.full((4, 30), np.nan, np.float32))
    assert np.isnan(coverage(none)).all() and np.isnan(intervals(none, predictions_of(4, 2, 30), np.zeros(2))).all()


@pytest.mark.parametrize("samples", [12, 60])
def test_order_of_samples_and_genes_and_size_of_blocks_change_nothing(samples, monkeypatch):
    errors, distance = growing(samples, 2.0 if samples == 60 else 0.0)
    errors[np.random.default_rng(3).random(errors.shape) < 0.3] = np.nan  # some genes with fewer than 30 values, most with more, of 60
    found, predicted, new = learned(errors, distance=distance), predictions_of(4, 5, 60), np.linspace(0, 1, 5)
    both, covered = np.array(intervals(found, predicted, new)), coverage(found)
    assert bool(found.growth) == (samples == 60)
    rows, columns, others = (np.random.default_rng(4).permutation(n) for n in (samples, 60, 5))
    known = found.fold[rows], found.group[rows], found.distance[rows], found.level[columns]
    turned = learn(UNIT, np.arange(samples), errors[np.ix_(rows, columns)], *known)
    again = np.array(intervals(turned, predicted[:, others][:, :, columns], new[others]))
    assert np.array_equal(again, both[:, others][:, :, columns]) and np.array_equal(coverage(turned), covered[rows])
    monkeypatch.setattr(calibration, "AT_ONCE", 100)
    assert np.array_equal(intervals(found, predicted, new), both) and np.array_equal(coverage(found), covered)
    parts = [intervals(found, predicted[:, i : i + 2], new[i : i + 2]) for i in range(0, 5, 2)]
    assert np.array_equal(np.concatenate(parts, axis=1), both)


def cohort_file(path: Path, turned: np.ndarray) -> tuple[h5py.File, np.ndarray, np.ndarray]:
    """Write predictions of 90 samples in 3 folds that hold out two thirds of them, rows turned; return them, groups and distances."""
    rng, samples = np.random.default_rng(5), np.arange(90)
    observed, predicted = rng.normal(size=(90, 6)), rng.normal(size=(3, 2, 90, 6))
    role = np.where((samples // 3 % 3)[None, :, None] == np.arange(3)[:, None, None], TEST, TRAIN).astype(np.uint8) * np.ones(6, np.uint8)
    role[:, samples % 3 == 0] = TRAIN
    distance = rng.random(90)
    predictions_file(path, observed[turned].astype("f4"), predicted[:, :, turned].astype("f4"), role[:, turned]).close()
    with h5py.File(path, "a") as file:
        del file["role"], file["rows"]
        file.create_dataset("role", data=role[:, turned], chunks=(1, 7, 6))
        file["rows"] = [f"S{i}" for i in turned]
    return h5py.File(path), (samples // 5)[turned], distance[turned]


def test_of_a_large_cohort_some_samples_that_were_held_out_are_kept_as_they_are(tmp_path, monkeypatch, caplog):
    file, groups, distance = cohort_file(tmp_path / "family.h5", np.arange(90))
    with file, caplog.at_level(logging.INFO, logger="exprcast"):
        whole = calibrate(file, groups, distance)
        monkeypatch.setattr(calibration, "MOST_KEPT", 6 * 60)
        held_out = calibrate(file, groups, distance)
        assert not caplog.records
        monkeypatch.setattr(calibration, "MOST_KEPT", 6 * 25 + 5)
        some = calibrate(file, groups, distance)
    assert whole.sample.tolist() == list(range(90)) and held_out.sample.tolist() == [i for i in range(90) if i % 3]
    assert [record.getMessage() for record in caplog.records] == [
        "intervals rest on 25 of 60 held-out samples, drawn from 18 of 18 groups: 6 genes of all are more than the 155 numbers that are kept"
    ]
    for kept in (held_out, some):
        assert set(kept.group) == set(range(18)) and (np.diff(kept.sample) > 0).all() and set(kept.sample) <= set(held_out.sample)
        for name in ("residual", "fold", "group", "distance"):
            assert np.array_equal(getattr(kept, name), getattr(whole, name)[kept.sample]), name
        assert np.array_equal(kept.level, whole.level)
    assert len(some.sample) == 25 and calibration.MOST_KEPT < calibration.MOST_CELLS


def test_a_draw_does_not_depend_on_the_order_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MOST_KEPT", 6 * 25)
    turned = np.random.default_rng(6).permutation(90)
    (file, *known), (other, *turned_known) = (cohort_file(tmp_path / f"{rows[0]}.h5", rows) for rows in (np.arange(90), turned))
    with file, other:
        found, again = calibrate(file, *known), calibrate(other, *turned_known)
    same = np.argsort(turned[again.sample])
    assert np.array_equal(turned[again.sample][same], found.sample) and np.array_equal(again.residual[same], found.residual)
    assert np.array_equal(intervals(again, np.zeros((3, 1, 6)), np.zeros(1)), intervals(found, np.zeros((3, 1, 6)), np.zeros(1)))


def test_groups_have_their_share_of_a_draw_and_small_ones_a_sample():
    sizes = np.array([1] * 20 + [10] * 10 + [300, 600])
    groups = np.repeat(np.arange(32), sizes)
    drawn = draw_samples(np.array([f"S{i}" for i in range(len(groups))], dtype=object), groups, 130)
    count = np.bincount(groups[drawn], minlength=32)
    assert len(drawn) == 130 and (np.diff(drawn) > 0).all() and (count[:20] == 1).all() and (count[20:30] >= 1).all()
    assert count[31] == pytest.approx(2 * count[30], abs=2) and count[30] == pytest.approx(300 * count[20:30].sum() / 100, rel=0.3)


def test_of_more_groups_than_are_drawn_each_has_one_sample_or_none():
    groups = np.arange(400) // 4
    drawn = draw_samples(np.array([f"S{i}" for i in range(400)], dtype=object), groups, 30)
    assert len(drawn) == len(set(groups[drawn])) == 30 and len(set(drawn % 4)) == 4


def test_intervals_of_a_draw_cover_new_samples_about_as_those_of_all():
    """Samples of large groups err more, and new ones are of the same groups: a half of the samples has each group's share of them."""
    rng, sizes = np.random.default_rng(7), np.repeat([2, 4, 8], 40)
    group = np.repeat(np.arange(120), sizes)
    spread = (np.sqrt(sizes) * rng.lognormal(0, 0.2, 120))[group, None] * rng.uniform(0.5, 2, 60)
    own, new = (np.abs(rng.normal(size=spread.shape) * spread).astype(np.float32) for _ in range(2))
    drawn = draw_samples(np.array([f"S{i}" for i in range(560)], dtype=object), group, 280)
    full = learned(own, group=group)
    some = learned(own[drawn], group=group[drawn], level=full.level)
    inside, inside_some = ((new <= half_widths(one)).mean(axis=0) for one in (full, some))
    assert inside.mean() == pytest.approx(0.9, abs=0.01) and inside_some.mean() == pytest.approx(inside.mean(), abs=0.01)
    assert np.abs(inside_some - inside).max() < 0.06
    assert np.nanmean(coverage(some)) == pytest.approx(np.nanmean(coverage(full)), abs=0.01)
    first = np.concatenate([np.flatnonzero(group == number)[:2] for number in range(120)])
    assert (new <= half_widths(learned(own[first], group=group[first], level=full.level))).mean() < inside.mean() - 0.02


@pytest.mark.parametrize("pieces", [False, True])
def test_a_saved_calibration_gives_the_same_intervals(pieces, tmp_path):
    errors, distance = growing(40, 2.0)
    fold = np.random.default_rng(0).integers(0, 4, errors.shape).astype(np.uint16) if pieces else (np.arange(40) % 4).astype(np.uint16)
    found = learned(errors, distance=distance, fold=fold)
    with h5py.File(tmp_path / "bundle.h5", "w") as file:
        save(found, file.create_group("calibration"))
    with h5py.File(tmp_path / "bundle.h5") as file:
        read = load(file["calibration"])
    given = predictions_of(4, 3, 60), np.linspace(0, 1, 3)
    assert found.growth and read.unit == UNIT and np.array_equal(intervals(read, *given), intervals(found, *given))
    assert np.array_equal(coverage(read), coverage(found)) and np.array_equal(read.sample, np.arange(40))


def test_without_distances_intervals_do_not_grow(tmp_path):
    """Of data without open chromatin."""
    found = learned(errors_of(40, 6), distance=np.full(40, np.nan))
    with h5py.File(tmp_path / "bundle.h5", "w") as file:
        save(found, file.create_group("calibration"))
        read = load(file["calibration"])
    assert read.growth == 0 and np.array_equal(
        intervals(read, predictions_of(4, 3, 6), np.full(3, np.nan)),
        intervals(learned(errors_of(40, 6), distance=np.zeros(40)), predictions_of(4, 3, 6), np.zeros(3)),
    )


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_file_is_one_line(damage, tmp_path):
    with h5py.File(tmp_path / "bundle.h5", "w") as file:
        save(learned(errors_of(40, 6)), file.create_group("calibration"))
        damage(file["calibration"])
    with (
        h5py.File(tmp_path / "bundle.h5") as file,
        pytest.raises(InputError, match=r"^bundle.h5/calibration.*(damaged|elsewhere)") as error,
    ):
        load(file["calibration"])
    assert "\n" not in str(error.value)


def test_bytes_that_were_changed_are_one_line(tmp_path):
    path = tmp_path / "bundle.h5"
    with h5py.File(path, "w") as file:
        save(learned(errors_of(40, 600)), file.create_group("calibration"))
        start = file["calibration/residual"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    with h5py.File(path) as file, pytest.raises(InputError, match="residual: cannot be read"):
        load(file["calibration"])


@pytest.mark.parametrize(("folds", "genes"), [(3, 6), (4, 5)])
def test_predictions_of_another_run_are_refused(folds, genes):
    with pytest.raises(InputError, match=rf"4 folds and 6 genes, the predictions of {folds} and {genes}; both must come from the same run"):
        intervals(learned(errors_of(40, 6)), predictions_of(folds, 2, genes), np.zeros(2))
