"""Baselines are what they say: means by hand, ridge as scikit-learn's, the nearest sample's own values."""

import tracemalloc
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from exprcast.baselines import fit_baselines, load_baselines, predict_baseline, save_baselines
from exprcast.dataset import LEARNT, TEST, TRAIN, VALID, Dataset
from exprcast.family import example_roles, load_family
from exprcast.means import fit_mean, nan_mean, patterns, predict_mean
from exprcast.neighbours import PENALTIES, fit_kernel, most_correlated, most_similar, profile_gram
from exprcast.ridge import ALPHAS, fit_ridge
from tiny import read_examples, tiny_dataset

OF_HELD_OUT = {
    "row",
    "column",
    "level",
}  # computed when fitting for every member, from its inputs: neighbours, similarity, level read from them
TOYS = Path(__file__).parent / "families"


def fitted(name, tmp_path, hold_out="samples", folder=TOYS, **how):
    family, dataset = load_family(name, folder), Dataset(tiny_dataset(tmp_path / "d.h5", hold_out=hold_out, **how))
    config = family.Config()
    examples = read_examples(family, dataset, config)
    roles = example_roles(family, dataset, 0)
    return family, dataset, examples, roles, fit_baselines(family, examples, roles)


def test_outputs_measured_in_the_same_members_are_one_part_however_many_members_there_are():
    measured = np.ones((2_000_000, 3), dtype=bool)
    measured[7, 1] = False
    start = perf_counter()
    first, second = patterns(measured)
    assert perf_counter() - start < 5, "a key of so many columns took a minute"
    assert len(first[0]) == 2_000_000 and first[1].tolist() == [0, 2]
    assert np.setdiff1d(first[0], second[0]).tolist() == [7] and second[1].tolist() == [1]


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


def test_kernel_equals_scikit_learn_at_its_penalty(tmp_path):
    family, dataset, examples, roles, arrays = fitted("toy_genes", tmp_path, hold_out="genes")
    train, test = np.flatnonzero(roles == TRAIN), np.flatnonzero(roles == TEST)
    fit, mean = arrays["kernel"], predict_baseline(family, examples, arrays, "mean", train)
    x = (examples.features(np.arange(len(examples))) - fit["centre"]) / fit["scale"]
    model = KernelRidge(alpha=fit["penalty"][0], kernel="rbf", gamma=1 / fit["width"][0]).fit(
        x[train], examples.targets(train).numpy() - mean
    )
    expected = mean[: len(test)] + model.predict(x[test])
    assert predict_baseline(family, examples, arrays, "kernel", test) == pytest.approx(expected, abs=2e-3)
    assert fit["penalty"][0] == PENALTIES[fit["valid_loss"].argmin()]


def test_kernel_of_pairs_is_one_of_samples(tmp_path):
    family, dataset, examples, roles, arrays = fitted("toy_pairs", tmp_path)
    samples = dataset.sample_role[0]
    train, tested = np.flatnonzero(samples == TRAIN), np.flatnonzero(samples == TEST)[0]
    profiles = np.stack([examples.features(row * 12 + np.arange(12)).ravel() for row in range(8)])
    distances = ((profiles[:, None] - profiles[None, :]) ** 2).sum(axis=2)
    gamma = 1 / np.median(distances[np.ix_(train, train)][distances[np.ix_(train, train)] > 0])
    values = np.log2(1 + dataset.array("expression/gene"))
    mean = values[train].mean(axis=0)
    model = KernelRidge(alpha=arrays["kernel"]["penalty"][0], kernel="rbf", gamma=gamma).fit(profiles[train], values[train] - mean)
    got = predict_baseline(family, examples, arrays, "kernel", tested * 12 + np.arange(12))[:, 0]
    assert got == pytest.approx(mean + model.predict(profiles[[tested]])[0], abs=2e-3)


def test_the_inner_products_of_profiles_find_the_same_neighbour(tmp_path):
    _, _, examples, roles, _ = fitted("toy_pairs", tmp_path)
    train = np.unique(np.flatnonzero(roles == TRAIN) // 12)
    profiles = np.stack([examples.features(row * 12 + np.arange(12)).ravel() for row in range(8)])
    gram = profile_gram(examples, np.arange(12), train)
    assert most_correlated(gram, train).tolist() == most_similar(profiles, train).tolist() and len(train) > 3


def errors(tmp_path, name, **how):
    """Return {baseline: mean squared error over measured test cells}, and whether every test cell is predicted."""
    family, dataset, examples, roles, arrays = fitted(name, tmp_path, samples=16, genes=45, **how)
    test = np.flatnonzero(roles == TEST)
    truth = examples.targets(test).numpy()
    predicted = {one: predict_baseline(family, examples, arrays, one, test) for one in arrays}
    return {one: float(nan_mean((values - truth) ** 2)) for one, values in predicted.items()}, all(
        np.isfinite(values).all() for one, values in predicted.items() if one != "rule"
    )


def lose(values, signal, halflife):
    """Forget the first gene's values, and half of the others'."""
    values[np.random.default_rng(3).random(values.shape) < 0.5] = np.nan
    values[:-2, 0] = np.nan


@pytest.mark.parametrize("name", ["toy_samples", "toy_pairs"])
def test_missing_values_are_left_out_and_not_taken_for_no_change(tmp_path, name):
    (tmp_path / "lost").mkdir()
    (whole, _), (half, finite) = errors(tmp_path, name), errors(tmp_path / "lost", name, change=lose)
    assert finite, "what the nearest sample lacks comes from the next one"
    if name == "toy_pairs":  # a few values are enough for one slope of all genes
        assert half["ridge"] < 1.5 * whole["ridge"] + 0.05 and half["trees"] < half["mean"]
    for rule in ("ridge", "kernel"):
        assert half[rule] < 1.1 * half["mean"], rule


def test_one_gene_that_was_never_seen_spoils_nothing(tmp_path):
    def forget(values, signal, halflife):
        values[:-2, 0] = np.nan

    (tmp_path / "lost").mkdir()
    (whole, _), (without, finite) = errors(tmp_path, "toy_pairs"), errors(tmp_path / "lost", "toy_pairs", change=forget)
    assert finite and without["ridge"] < 1.2 * whole["ridge"] + 0.05 and without["trees"] < 1.2 * whole["trees"] + 0.05


def test_trees_leave_out_what_new_genes_never_have(tmp_path):
    """atac_cis condenses its inputs with the gene's known level last: of a gene never seen there is none."""
    columns = []
    for hold_out in ("samples", "genes"):
        (tmp_path / hold_out).mkdir()
        *_, examples, _, arrays = fitted("atac_cis", tmp_path / hold_out, hold_out, None, samples=12, genes=45)
        columns.append((len(arrays["trees"]["columns"]), examples.summary(np.arange(3)).shape[1]))
    assert columns[0][0] == columns[0][1] and columns[1][0] == columns[1][1] - 1


class TwoSwitches:
    """One example a gene: its value is high when just one of two inputs is above 0."""

    rows, columns = ["label"], [f"G{i}" for i in range(2000)]

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
        self.y = ((self.x[:, :1] > 0) ^ (self.x[:, 1:] > 0)).astype(np.float32) * 4
        self.y[::9] = np.nan

    def __len__(self) -> int:
        return 2000

    def features(self, index):
        return self.x[index]

    def targets(self, index):
        return torch.from_numpy(self.y[index])


def test_trees_see_what_no_line_sees():
    family = SimpleNamespace(EXAMPLES="genes", fit_rule=lambda examples, train: {})
    examples, roles = TwoSwitches(), np.repeat([TRAIN, VALID, TEST], [1400, 200, 400])
    arrays, again = fit_baselines(family, examples, roles), fit_baselines(family, examples, roles)
    test = np.flatnonzero((roles == TEST) & ~np.isnan(examples.y[:, 0]))
    r = {
        name: np.corrcoef(predict_baseline(family, examples, arrays, name, test)[:, 0], examples.y[test, 0])[0, 1]
        for name in ("ridge", "kernel", "trees")
    }
    assert r["trees"] > 0.95 and r["kernel"] > 0.8 and r["ridge"] < 0.3, r
    assert arrays["trees"]["booster0"].tobytes() == again["trees"]["booster0"].tobytes()


@pytest.mark.parametrize("name", ["ridge", "kernel", "trees"])
def test_the_level_of_a_gene_never_seen_is_learnt(name, tmp_path):
    """The toy's expression rises with the signal around a gene: with whole chromosomes held out, simple fits must find that."""

    def plant(values, signal, halflife):
        height = np.linspace(1, 8, len(values[0]))[np.random.default_rng(1).permutation(len(values[0]))]
        signal[:], values[:] = np.exp2(height)[None, :] - 1, np.exp2(height)[None, :] - 1 + np.arange(len(values))[:, None] / 100

    family, dataset, examples, roles, arrays = fitted("toy_pairs", tmp_path, hold_out="genes", samples=12, genes=45, change=plant)
    test = np.flatnonzero(roles == TEST)
    r = np.corrcoef(predict_baseline(family, examples, arrays, name, test)[:, 0], examples.targets(test).numpy()[:, 0])[0, 1]
    assert r > 0.8


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


@pytest.mark.parametrize(
    "name, hold_out", [("toy_samples", "samples"), ("toy_genes", "genes"), ("toy_pairs", "genes"), ("toy_pairs", "both")]
)
def test_a_second_fit_keeps_the_choices_of_the_first(name, hold_out, tmp_path):
    family, dataset, examples, roles, first = fitted(name, tmp_path, hold_out, samples=12, genes=30)
    again = fit_baselines(family, examples, roles, first)
    for baseline, choice in (("ridge", "alpha"), ("kernel", "penalty"), ("kernel", "level_penalty"), ("trees", "rounds")):
        if choice in first.get(baseline, ()):
            assert np.array_equal(first[baseline][choice], again[baseline][choice]), choice
    assert ("level_penalty" in again["kernel"]) == (name == "toy_pairs"), "genes that are new"
    assert not {"valid_loss"} & (again["ridge"].keys() | again["kernel"].keys()), "nothing was judged"
    joined = np.flatnonzero(np.isin(roles, LEARNT))
    x, mean = examples.features(joined).astype(float), predict_mean(family.EXAMPLES, examples, again["mean"], joined, "base")
    scaled, features = (x - x.mean(axis=0)) / x.std(axis=0), x.shape[1]
    unit = max(1, features / len(joined)) * len(joined)
    model = Ridge(alpha=first["ridge"]["alpha"][0] * unit, fit_intercept=False).fit(scaled, examples.targets(joined).numpy() - mean)
    got = predict_baseline(family, examples, again, "ridge", joined)
    assert got == pytest.approx(mean + model.predict(scaled).reshape(mean.shape), abs=1e-3), "it is scikit-learn's on both parts together"


def test_a_second_fit_copies_from_the_twin_in_validation(tmp_path):
    (tmp_path / "plain").mkdir()
    roles = Dataset(tiny_dataset(tmp_path / "plain/d.h5")).sample_role[0]
    twin, tested = np.flatnonzero(roles == VALID)[0], np.flatnonzero(roles == TEST)[0]

    def plant(values, signal, halflife):
        signal[tested] = signal[twin] * 1.001
        values[twin] = np.arange(12) * 10

    family, _, examples, roles, first = fitted("toy_samples", tmp_path, change=plant)
    expected = np.log2(1 + np.arange(12) * 10)
    once, twice = (
        predict_baseline(family, examples, one, "nearest", np.array([tested]))[0]
        for one in (first, fit_baselines(family, examples, roles, first))
    )
    assert twice == pytest.approx(expected, abs=1e-4) and np.abs(once - expected).max() > 1


class Wide:
    """Few samples with many features and many outputs, some of which are measured in half of the samples only."""

    def __init__(self, samples: int, features: int, outputs: int) -> None:
        rng = np.random.default_rng(0)
        self.rows, self.columns = [f"S{i}" for i in range(samples)], [f"G{i}" for i in range(outputs)]
        self.x, self.y = (rng.normal(size=(samples, width)).astype(np.float32) for width in (features, outputs))
        self.y[::2, :5] = np.nan

    def __len__(self) -> int:
        return len(self.x)

    def features(self, index):
        return self.x[index]

    def targets(self, index):
        return torch.from_numpy(self.y[index])


@pytest.mark.parametrize(
    "fit, shape",
    [(fit_ridge, (40, 4000, 4000)), (fit_ridge, (400, 100, 4000)), (fit_kernel, (400, 100, 4000))],
    ids=["dual", "primal", "kernel"],
)
def test_one_penalty_at_a_time_is_in_memory(fit, shape):
    """All penalties' weights at once would be fifteen (features, outputs), or nine (landmarks, outputs): 1,920, 48 and 101 MB, and as much to judge them."""
    examples, index = Wide(*shape), np.arange(shape[0])
    train, valid = index[index % 8 > 0], index[::8]
    mean = fit_mean("samples", examples, train, valid)
    tracemalloc.start()
    fit("samples", examples, mean, train, valid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_nearest_never_copies_a_member_from_itself_or_from_outside_training():
    profiles = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [1.0, 0]])
    assert most_similar(profiles, np.array([1, 2]))[0].tolist() == [1, 2]
    assert most_similar(profiles, np.array([0, 1, 2]))[0].tolist() == [1, 2, 0], "it is not its own neighbour"


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
    assert len(before) == 6 - (name == "toy_samples")
    for baseline, arrays in before.items():
        for key in arrays.keys() - OF_HELD_OUT:
            assert np.array_equal(arrays[key], after[baseline][key], equal_nan=True), (baseline, key)
    assert VALID in roles


def test_saved_arrays_come_back(tmp_path):
    *_, arrays = fitted("toy_samples", tmp_path)
    save_baselines(tmp_path / "b.h5", arrays, None, family="toy", fold=3)
    loaded, selection, facts = load_baselines(tmp_path / "b.h5")
    assert facts["family"] == "toy" and facts["fold"] == 3 and selection is None
    assert np.array_equal(loaded["ridge"]["weights"], arrays["ridge"]["weights"])


def test_both_fits_come_back(tmp_path):
    *_, examples, roles, first = fitted("toy_samples", tmp_path)
    again = fit_baselines(load_family("toy_samples", TOYS), examples, roles, first)
    save_baselines(tmp_path / "b.h5", again, first, family="toy")
    loaded, selection, _ = load_baselines(tmp_path / "b.h5")
    assert loaded.keys() == selection.keys() == first.keys()
    assert np.array_equal(loaded["mean"]["output"], again["mean"]["output"])
    assert (
        np.array_equal(selection["mean"]["output"], first["mean"]["output"]) and (first["mean"]["output"] != again["mean"]["output"]).all()
    )
