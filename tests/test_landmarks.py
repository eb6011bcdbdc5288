"""landmarks: what values are read as, mapping by rank by hand, z-scores that held-out samples cannot move, the landmarks nearest to a target."""

import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import Dataset, create_dataset, write_array
from exprcast.families import dgex, dgex_transductive
from exprcast.family import make_config, make_model
from exprcast.folds import Rows
from exprcast.landmark_network import choose_alpha, fit_ridge
from exprcast.landmarks import (
    LEAST_SD,
    Reader,
    Targets,
    deal_parts,
    map_by_rank,
    mean_of_nearest,
    nearest_landmarks,
    series_of,
    stretch,
)
from tiny import read_examples

NAN = np.nan


def write(path, values, landmarks, main_unit="zscore", roles=None, **columns):
    """Write a dataset of (samples, genes) values whose first genes are landmarks, the others targets; `columns` are of samples."""
    samples, genes = values.shape
    with create_dataset(path, assembly="none", annotation="none", code="", sources="{}") as file:
        write_array(file, "samples/id", [f"S{i:04d}" for i in range(samples)])
        for name, texts in columns.items():
            write_array(file, f"samples/{name}", texts)
        write_array(file, "genes/id", [f"G{i:04d}" for i in range(genes)])
        write_array(file, "chromosomes/name", ["unknown"])
        write_array(file, "chromosomes/size", np.array([1]))
        write_array(file, "expression/gene", values, unit=main_unit)
        write_array(file, "lists/landmark", np.arange(genes) < landmarks)
        write_array(file, "lists/target", np.arange(genes) >= landmarks)
        roles = np.zeros((1, samples)) if roles is None else roles
        write_array(file, "folds/sample_role", roles, hold_out="samples", scheme="by hand", promised="samples:batch", seed=1)
        write_array(file, "folds/gene_role", np.zeros((len(roles), genes)))
    return Dataset(path)


def read(family, dataset, samples, **options):
    """Return the examples as these training samples prepare them."""
    rows = Rows(np.array(samples), np.arange(len(dataset.genes)))
    return read_examples(family, dataset, make_config(family, "default", options), rows)


def test_a_value_takes_the_place_of_its_rank_among_the_samples_unique_values():
    reference = np.array([10.0, 20, 30, 40, 50, 60])
    assert map_by_rank(np.array([5.0, 1, 9, 2, 7, 3]), reference).tolist() == [40, 10, 60, 20, 50, 30]
    # three unique values: places 1 · 6 / 3 = 2, 4 and 6; ties share theirs
    assert map_by_rank(np.array([0.0, 0, 0, 7, 7, 8]), reference).tolist() == [20, 20, 20, 40, 40, 60]
    # four of six: 1 · 6 / 4 = 1.5 → 1, 3, 4.5 → 4, 6; what was not measured stays so
    np.testing.assert_array_equal(map_by_rank(np.array([4.0, 3, NAN, 2, 1, 1]), reference), [60, 40, NAN, 30, 10, 10])
    assert map_by_rank(np.array([3.0, 3, 3]), reference).tolist() == [60] * 3
    assert np.isnan(map_by_rank(np.full(4, NAN), reference)).all()


def test_the_reference_is_the_mean_of_sorted_values_in_the_main_unit(tmp_path):
    values = np.array([[1.0, 5, 3, 9], [8, 2, 4, 9], [1000, 2000, 3000, 9]])
    dataset = write(tmp_path / "d.h5", values, 3, "log2_intensity", unit=["log2_intensity", "log2_intensity", "tpm"])
    reader = Reader(dataset, np.arange(3), "other")
    assert reader.learn_reference(np.arange(3)).tolist() == [1.5, 3.5, 6.5], "the third sample is in another unit"
    assert reader.read(np.array([2, 0])).tolist() == [[1.5, 3.5, 6.5], [1, 5, 3]]
    every = Reader(dataset, np.arange(3), "all")
    every.reference = reader.reference
    assert every.read(np.array([0])).tolist() == [[1.5, 6.5, 3.5]]
    assert Reader(dataset, np.arange(3), "none").read(np.array([2]))[0] == pytest.approx(np.log2([1001, 2001, 3001]))
    assert stretch(np.array([1.0, 3]), 4).tolist() == [1, 1.5, 2.5, 3]


def test_linear_units_are_read_as_logarithms_and_others_as_they_are(tmp_path):
    values = np.array([[0.0, 1, 3], [7, 15, 31], [1, 1, 1]])
    assert read(dgex, write(tmp_path / "a.h5", values, 1, "tpm"), [0, 1, 2]).targets(np.array([1])).tolist() == [[4, 5]]
    logs = read(dgex, write(tmp_path / "b.h5", values, 1, "log2_intensity"), [0, 1, 2])
    assert (logs.unit, logs.targets(np.array([1])).tolist()) == ("log2_intensity", [[15, 31]])
    assert read(dgex, Dataset(tmp_path / "a.h5"), [0, 1, 2]).unit == "log2(tpm + 1)"


def test_columns_are_targets_and_landmarks_are_z_scores_of_training_samples(tmp_path):
    values = np.array([[1.0, 2, 5, 7], [3, 2, 6, 8], [NAN, 4, NAN, 9], [7, 2, 8, 1]])
    examples = read(dgex, write(tmp_path / "d.h5", values, 2), [0, 1])
    assert (examples.columns, examples.names) == (["G0002", "G0003"], {"landmarks": ["G0000", "G0001"]})
    expected = [[-1 / (1 + LEAST_SD), 0], [1 / (1 + LEAST_SD), 0], [0, 2 / LEAST_SD], [5 / (1 + LEAST_SD), 0]]
    np.testing.assert_allclose(examples.landmarks, expected, rtol=1e-5)
    np.testing.assert_array_equal(examples.values, values[:, 2:].astype(np.float32))
    assert not examples.reference(np.arange(3))[0].any()


@pytest.mark.parametrize("family, quantile", [(dgex, "none"), (dgex, "all"), (dgex_transductive, "none")])
def test_what_training_samples_are_read_as_does_not_change_with_held_out_ones(tmp_path, family, quantile):
    values = np.random.default_rng(0).normal(size=(12, 8))
    other = values.copy()
    other[8:] = other[8:] * 5 + 3
    batch = list("aaaabbbbbccc")
    first, second = (
        read(family, write(tmp_path / f"{name}.h5", one, 3, batch=batch), range(8), quantile=quantile)
        for name, one in (("a", values), ("b", other))
    )
    np.testing.assert_array_equal(first.landmarks[:8], second.landmarks[:8])
    np.testing.assert_array_equal(first.values[:8], second.values[:8])
    if quantile == "none":
        assert np.abs(first.values[8] - second.values[8]).max() > 0.1, "it is read on the scale of training"


def test_in_a_series_both_sides_are_z_scores_of_that_series(tmp_path):
    values = np.random.default_rng(0).normal(size=(9, 5)) * [1, 2, 3, 4, 5] + 7
    values[3, 4] = NAN
    dataset = write(tmp_path / "d.h5", values, 2, batch=list("aaaabbbcc"))
    examples = read(dgex_transductive, dataset, range(4), between=0.0)
    halved = read(dgex_transductive, dataset, [0, 1, 2, 3, 7, 8], between=0.5)
    every = values[[0, 1, 2, 3, 7, 8]]
    z = (every - np.nanmean(every, axis=0)) / (np.nanstd(every, axis=0) + LEAST_SD)
    np.testing.assert_allclose(halved.values[:4], (examples.values[:4] + z[:4, 2:]) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(halved.values[4:7], examples.values[4:7])
    for members in (slice(0, 4), slice(4, 7)):
        own = values[members]
        z = (own - np.nanmean(own, axis=0)) / (np.nanstd(own, axis=0) + LEAST_SD)
        np.testing.assert_allclose(examples.landmarks[members], z[:, :2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(examples.values[members], z[:, 2:], rtol=1e-4, atol=1e-5)
    assert np.isnan(examples.values[7:]).all() and not examples.landmarks[7:].any(), "two samples have no standard deviation to speak of"
    assert examples.unit == "zscore"


def test_series_that_are_all_too_small_in_training_are_refused(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 4))
    dataset = write(tmp_path / "d.h5", values, 2, batch=list("abababab"))
    with pytest.raises(InputError, match=r"no series \(samples of one batch\) has 3 of the 4 training samples, .* or none: then all"):
        read(dgex_transductive, dataset, range(4))
    assert np.isfinite(read(dgex_transductive, dataset, range(5)).values[:5:2]).all(), "three are enough"
    assert np.isfinite(read(dgex_transductive, write(tmp_path / "one.h5", values, 2), range(4)).values).all()


def test_a_set_is_a_series_of_its_own_and_without_any_all_samples_are_one(tmp_path):
    values = np.zeros((4, 3))
    assert series_of(write(tmp_path / "a.h5", values, 1)).tolist() == [0, 0, 0, 0]
    columns = {"batch": ["x", "", "x", "y"], "set": ["", "", "lcl", "lcl"]}
    numbers = series_of(write(tmp_path / "b.h5", values, 1, **columns))
    assert numbers[2] == numbers[3] and len(set(numbers.tolist())) == 3


def test_a_target_is_the_mean_of_its_nearest_landmarks_that_rise_with_it(tmp_path):
    rng = np.random.default_rng(0)
    level = rng.normal(size=(40, 1))
    landmarks = np.hstack([-2 * level, level + 1e-6 * rng.normal(size=(40, 20))])
    values = np.hstack([landmarks, 3 * level + 5, np.full((40, 1), 2.0)])
    examples = read(dgex, write(tmp_path / "d.h5", values, 21), range(30))
    fitted = nearest_landmarks(examples, np.arange(30))
    assert fitted["near"].tolist()[0] == list(range(1, 21)), "the landmark that falls as the target rises is far from it"
    predicted = mean_of_nearest(examples, fitted, np.arange(30, 40))
    np.testing.assert_allclose(predicted[:, 0], values[30:, 21], rtol=5e-3)
    np.testing.assert_allclose(predicted[:, 1], 2, atol=1e-2)


def test_only_the_twenty_nearest_landmarks_count(tmp_path):
    rng = np.random.default_rng(0)
    level = rng.normal(size=(60, 1))
    values = np.hstack([level + 0.1 * rng.normal(size=(60, 20)), rng.normal(size=(60, 30)), level])
    fitted = nearest_landmarks(read(dgex, write(tmp_path / "d.h5", values, 50), range(60)), np.arange(60))
    assert fitted["near"].tolist() == [list(range(20))]


def test_the_start_is_ridge_regression_of_each_target_where_it_was_measured(tmp_path):
    rng = np.random.default_rng(0)
    for samples in (30, 90):  # fewer and more than landmarks
        x = rng.normal(size=(samples, 50))
        y = x @ rng.normal(size=(50, 6)) + rng.normal(size=(samples, 6))
        y[:10, 2] = NAN
        examples = read(dgex, write(tmp_path / f"{samples}.h5", np.hstack([x, y]), 50), range(samples))
        targets = Targets(examples, np.arange(samples))
        weights, alpha = fit_ridge(targets), choose_alpha(targets)
        for column, rows in ((0, slice(None)), (2, slice(10, None))):
            z = examples.landmarks[rows].astype(np.float64)
            own = (examples.values[rows, column] - targets.mean[column]) / targets.scale[column]
            values = np.linalg.eigvalsh(z.T @ z)
            penalty = alpha * values[values > 1e-9 * values[-1]].mean()
            np.testing.assert_allclose(weights[:, column], np.linalg.solve(z.T @ z + penalty * np.eye(50), z.T @ own), rtol=1e-3, atol=1e-5)


def test_samples_of_one_group_stay_together_when_the_penalty_is_chosen():
    parts = deal_parts([f"g{i // 3}" for i in range(30)])
    assert len(set(parts.tolist())) == 5 and all(len(set(parts[start : start + 3].tolist())) == 1 for start in range(0, 30, 3))
    assert len(set(deal_parts(["one"] * 9).tolist())) == 5


def test_a_network_reads_the_scale_of_targets_from_training_samples_alone(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 6))
    values[15:] += 100
    examples = read(dgex, write(tmp_path / "d.h5", values, 3), range(15))
    model = make_model(dgex, make_config(dgex, "quick"), examples, np.arange(15))
    np.testing.assert_allclose(model.mean, values[:15, 3:].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(model.scale, values[:15, 3:].std(axis=0) + LEAST_SD, rtol=1e-4)
