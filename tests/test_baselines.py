"""Baselines are what they say: means by hand, ridge as scikit-learn's, the nearest sample's own values."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from exprcast.baselines import ALPHAS, fit_baselines, load_baselines, most_similar, predict_baseline, save_baselines
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.family import example_roles, load_family
from exprcast.folds import train_rows
from tiny import tiny_dataset

TOYS = Path(__file__).parent / "families"


def fitted(name, tmp_path, hold_out="samples", folder=TOYS, **how):
    family, dataset = load_family(name, folder), Dataset(tiny_dataset(tmp_path / "d.h5", hold_out=hold_out, **how))
    config = family.Config()
    examples = family.examples(dataset, config, family.prepare(dataset, train_rows(dataset, 0), config))
    roles = example_roles(family, dataset, 0)
    return family, dataset, examples, roles, fit_baselines(family, examples, roles)


def test_mean_is_the_training_mean_of_each_gene(tmp_path):
    family, dataset, examples, roles, arrays = fitted("toy_samples", tmp_path)
    values = np.log2(1 + dataset.array("expression/gene"))
    got = predict_baseline(family, examples, arrays, "mean", np.flatnonzero(roles == TEST))
    assert got == pytest.approx(np.tile(values[roles == TRAIN].mean(axis=0), (2, 1)), abs=1e-5)


def test_mean_of_a_gene_never_seen_is_the_mean_of_all(tmp_path):
    family, dataset, examples, roles, arrays = fitted("toy_pairs", tmp_path, hold_out="genes")
    values, role = np.log2(1 + dataset.array("expression/gene")), roles.reshape(8, 12)
    got = predict_baseline(family, examples, arrays, "mean", np.flatnonzero(roles == TEST))
    assert got == pytest.approx(values[role == TRAIN].mean(), abs=1e-5)


@pytest.mark.parametrize("name", ["toy_samples", "toy_pairs"])  # more features than samples (dual form), and fewer
def test_ridge_equals_scikit_learn_at_its_alpha(name, tmp_path):
    family, dataset, examples, roles, arrays = fitted(name, tmp_path)
    train, test = np.flatnonzero(roles == TRAIN), np.flatnonzero(roles == TEST)
    x, mean = examples.features(train).astype(float), predict_baseline(family, examples, arrays, "mean", train)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    alpha = arrays["ridge"]["alpha"][0] * max(1, x.shape[1] / len(train)) * len(train)  # mean eigenvalue of what was decomposed
    model = Ridge(alpha=alpha, fit_intercept=False).fit(scaled, examples.targets(train).numpy() - mean)
    expected = predict_baseline(family, examples, arrays, "mean", test) + model.predict(
        (examples.features(test) - x.mean(axis=0)) / x.std(axis=0)
    ).reshape(len(test), -1)
    assert predict_baseline(family, examples, arrays, "ridge", test) == pytest.approx(expected, abs=1e-3)
    assert arrays["ridge"]["alpha"][0] == ALPHAS[arrays["ridge"]["valid_loss"].argmin()]


def test_nearest_copies_the_twin(tmp_path):
    (tmp_path / "plain").mkdir()
    roles = Dataset(tiny_dataset(tmp_path / "plain/d.h5")).sample_role[0]
    twin, tested = np.flatnonzero(roles == TRAIN)[0], np.flatnonzero(roles == TEST)[0]

    def plant(values, signal, halflife):
        signal[tested] = signal[twin] * 1.001
        values[twin] = np.arange(12) * 10

    family, _, examples, _, arrays = fitted("toy_pairs", tmp_path, change=plant)
    got = predict_baseline(family, examples, arrays, "nearest", tested * 12 + np.arange(12))
    assert got[:, 0] == pytest.approx(np.log2(1 + np.arange(12) * 10), abs=1e-4)


def test_nearest_never_copies_a_member_from_itself_or_from_outside_training():
    profiles = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [1.0, 0]])
    assert most_similar(profiles, np.array([1, 2]))[0] == 1
    assert most_similar(profiles, np.array([0, 1, 2]))[0] == 1, "its own copy is not its neighbour"


@pytest.mark.parametrize(
    "name, hold_out, folder",
    [("toy_samples", "samples", TOYS), ("toy_genes", "genes", TOYS), ("atac_cis", "samples", None), ("atac_cis", "genes", None)],
)
def test_held_out_rows_change_nothing(name, hold_out, folder, tmp_path):
    def disturb(values, signal, halflife):
        if hold_out == "samples":
            values[held_out] += 100
        else:
            halflife[held_out] += 1
            values[:, held_out] += 100

    (tmp_path / "other").mkdir()
    family, dataset, _, roles, before = fitted(name, tmp_path, hold_out, folder)
    axis = dataset.sample_role[0] if hold_out == "samples" else dataset.gene_role[0]
    held_out = np.flatnonzero(axis == TEST)
    _, _, _, _, after = fitted(name, tmp_path / "other", hold_out, folder, change=disturb)
    for baseline in ("mean", "ridge", "rule"):
        for key, values in before[baseline].items():
            assert np.array_equal(values, after[baseline][key], equal_nan=True), (baseline, key)
    assert VALID in roles


def test_saved_arrays_come_back(tmp_path):
    *_, arrays = fitted("toy_samples", tmp_path)
    save_baselines(tmp_path / "b.h5", arrays, family="toy", fold=3)
    loaded, facts = load_baselines(tmp_path / "b.h5")
    assert facts["family"] == "toy" and facts["fold"] == 3
    assert np.array_equal(loaded["ridge"]["weights"], arrays["ridge"]["weights"])
