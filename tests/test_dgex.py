"""dgex: what its network is, what it finds on linear and on non-linear data beside ridge regression, and what it takes."""

from functools import partial

import h5py
import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Ridge

from exprcast.attribution import share_out
from exprcast.baselines import fit_baselines, predict_baseline
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, VALID
from exprcast.families import dgex, dgex_transductive
from exprcast.family import describe_methods, make_config, make_model
from exprcast.folds import train_rows
from exprcast.means import fit_mean
from exprcast.results import read_shares
from exprcast.ridge import fit_ridge, predict_ridge
from exprcast.sections import carrier_tables, feature_tables
from exprcast.training import fit, make_deterministic, make_fabric, predict
from test_landmarks import write
from tiny import read_examples, run_script

SAMPLES, LANDMARKS, TARGETS = 600, 20, 12


def panel(path, function, noise=0.1, change=None):
    """Write 600 samples of which 60 validate and 120 test; targets are a function of landmarks plus noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, LANDMARKS))
    y = function(x, rng)
    values = np.hstack([x, y + noise * y.std(axis=0) * rng.normal(size=y.shape)])
    if change:
        change(values)
    roles = np.repeat([TRAIN, VALID, TEST], [420, 60, 120])[None]
    return write(path, values, LANDMARKS, roles=roles, batch=[f"b{i % 10 if i < 480 else 10}" for i in range(SAMPLES)])


def linear(x, rng):
    return x @ rng.normal(size=(LANDMARKS, TARGETS))


def product(x, rng):
    return (x[:, :4] * x[:, 4:8]) @ rng.normal(size=(4, TARGETS)) + 0.3 * x @ rng.normal(size=(LANDMARKS, TARGETS))


def errors(dataset, family=dgex, **options):
    """Return mean absolute errors over test samples, in training standard deviations, of the network and of every baseline."""
    make_deterministic(1)
    config = make_config(family, "default", {"hidden": [128], "components": 12, "epochs": 40, "batch_size": 32, **options})
    examples = read_examples(family, dataset, config, train_rows(dataset, 0))
    train, valid, test = (np.flatnonzero(dataset.sample_role[0] == role) for role in (TRAIN, VALID, TEST))
    fabric = make_fabric("cpu", "32-true")
    fitted = fit(partial(make_model, family, config, examples, train), examples, train, valid, config, 1, fabric)
    model = family.Model(config, examples.sizes)
    model.load_state_dict(fitted.weights)
    scale, observed = model.scale.numpy(), examples.values[test]
    baselines = fit_baselines(family, examples, dataset.sample_role[0])
    found = {"model": predict(model, examples, test, 64, fabric).numpy()}
    found |= {name: predict_baseline(family, examples, baselines, name, test) for name in ("mean", "ridge", "nearest", "rule")}
    return {name: float(np.nanmean(np.abs(values - observed) / scale)) for name, values in found.items()}


def test_on_linear_data_ridge_and_the_network_agree_within_two_percent(tmp_path):
    found = errors(panel(tmp_path / "d.h5", linear))
    assert found["model"] == pytest.approx(found["ridge"], rel=0.02)
    assert found["ridge"] < 0.15 * found["mean"]


def test_on_products_of_landmarks_the_network_beats_ridge(tmp_path):
    found = errors(panel(tmp_path / "d.h5", product))
    assert found["model"] < 0.9 * found["ridge"]


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "tanh", "hidden": [128, 64], "dropout": 0.0, "dropout_input": 0.0},
        {"components": 0},
        {"beside_ridge": False, "components": 0},
    ],
)
def test_other_settings_learn_them_too(tmp_path, options):
    found = errors(panel(tmp_path / "d.h5", product), **{"dropout": 0.1, "learning_rate": 3e-3, **options})
    assert found["model"] < 0.98 * found["ridge"]


@pytest.mark.parametrize("samples", [60, SAMPLES])
def test_the_ridge_beside_it_is_scikit_learns_for_all_targets_at_once(tmp_path, samples):
    def spoil(values):
        values[:7, LANDMARKS + 3] = np.nan

    dataset = panel(tmp_path / "d.h5", linear, change=spoil)
    examples = read_examples(dgex, dataset, make_config(dgex, "default"), train_rows(dataset, 0))
    train, valid = np.arange(samples - 40), np.arange(samples - 40, samples)
    mean = fit_mean("samples", examples, train, valid)
    ridge = fit_ridge("samples", examples, mean, train, valid)
    predicted = predict_ridge("samples", examples, mean, ridge, valid)
    x = (examples.landmarks - ridge["centre"]) / ridge["scale"]
    for column in range(TARGETS):
        known = train[~np.isnan(examples.values[train, column])]
        z, y = x[known], examples.values[known, column].astype(np.float64) - mean["base"][column]
        penalty = ridge["alpha"][0] * np.square(z).sum() / min(z.shape)
        expected = Ridge(penalty, fit_intercept=False).fit(z, y).predict(x[valid]) + mean["base"][column]
        np.testing.assert_allclose(predicted[:, column], expected, rtol=1e-6, atol=1e-6)


def test_elastic_net_on_request_is_scikit_learns_and_leaves_features_out(tmp_path):
    def gaps(values):
        values[5:50, LANDMARKS + 2] = np.nan

    dataset = panel(tmp_path / "d.h5", lambda x, rng: linear(x[:, :3].repeat(7, axis=1)[:, :LANDMARKS], rng), change=gaps)
    rows, roles, by_preset = train_rows(dataset, 0), dataset.sample_role[0], {}
    for preset in ("default", "elastic_net"):
        examples = read_examples(dgex, dataset, make_config(dgex, preset), rows)
        by_preset[preset] = fit_baselines(dgex, examples, roles)
    assert by_preset["elastic_net"].keys() - by_preset["default"].keys() == {"elastic_net"}
    fitted = by_preset["elastic_net"]["elastic_net"]
    assert 0 < (fitted["weights"] != 0).mean() < 0.9
    train, test = (np.flatnonzero(roles == role) for role in (TRAIN, TEST))
    for target in (0, 2):
        own = train[~np.isnan(examples.values[train, target])]
        x = (examples.features(own) - fitted["centre"]) / fitted["scale"]
        y = examples.values[own, target] - by_preset["elastic_net"]["mean"]["output"][target]
        penalty = fitted["penalty"][0] * np.abs(x.T @ y).max() / len(own) / 0.5
        theirs = ElasticNet(alpha=penalty, l1_ratio=0.5, fit_intercept=False, tol=1e-6).fit(x, y)
        np.testing.assert_allclose(fitted["weights"][:, target], theirs.coef_, atol=0.01 * np.abs(theirs.coef_).max())
    predicted = predict_baseline(dgex, examples, by_preset["elastic_net"], "elastic_net", test)
    left = np.nanmean((predicted - examples.values[test]) ** 2) / np.nanvar(examples.values[test])
    assert predicted.shape == (len(test), TARGETS) and left < 0.1


def test_missing_landmarks_and_targets_and_constant_genes_are_no_obstacle(tmp_path):
    def spoil(values):
        values[::3, 0] = np.nan  # a landmark
        values[::4, LANDMARKS] = np.nan  # a target
        values[:, LANDMARKS + 1] = 3.0
        values[:420, LANDMARKS + 2] = np.nan  # never measured in training

    dataset = panel(tmp_path / "d.h5", linear, change=spoil)
    assert np.isnan(dataset.array("expression/gene")[480, LANDMARKS])
    found = errors(dataset)
    assert all(np.isfinite(value) for value in found.values())
    assert found["model"] < found["mean"]


def test_a_series_seen_as_z_scores_is_predicted_though_its_level_is_another(tmp_path):
    def shift(values):
        values[480:] = values[480:] * 3 + 10

    dataset = panel(tmp_path / "d.h5", linear, change=shift)
    far, near = errors(dataset), errors(dataset, dgex_transductive)
    assert near["ridge"] < 0.3 and near["model"] < 0.3 and far["ridge"] > 1


def test_hidden_layers_feel_gradients_as_of_so_many_targets():
    config = make_config(
        dgex, "quick", {"outputs_counted": 3, "components": 0, "beside_ridge": False, "dropout_input": 0.0, "dropout": 0.0}
    )
    sizes, gradients = {"landmarks": 5, "targets": 12, "components": 0}, []
    for counted in (0, 3):
        torch.manual_seed(1)
        model = dgex.Model(make_config(dgex, "quick", vars(config) | {"outputs_counted": counted}), sizes)
        (model(torch.ones(2, 5)) - 1).square().sum().backward()
        gradients.append((model.hidden[0].weight.grad, model.out.weight.grad))
    torch.testing.assert_close(gradients[1][0], gradients[0][0] * 3 / 12)
    torch.testing.assert_close(gradients[1][1], gradients[0][1])


@pytest.mark.parametrize("components", [0, 4])
def test_a_network_cut_down_to_some_targets_computes_the_same(tmp_path, components):
    """Explained shares add up, too, where hidden layers feel weaker gradients in training."""
    dataset = panel(tmp_path / "d.h5", linear)
    config = make_config(dgex, "quick", {"components": components, "beside_ridge": components > 0, "outputs_counted": 3, "hidden": [7]})
    examples = read_examples(dgex, dataset, config, train_rows(dataset, 0))
    sizes = examples.sizes | {"components": components}
    model = dgex.Model(config, sizes).eval()
    for values in (*model.parameters(), *(values for values in model.buffers())):
        torch.nn.init.normal_(values)
    kept, index = np.array([1, 4]), np.array([0, 3, 5])
    inputs = examples.inputs(index)
    torch.testing.assert_close(model.only(kept)(*inputs), model(*inputs)[:, kept])
    shared = share_out(model, examples, index, np.array([4, 1, 4]), make_fabric("cpu", "32-true"))
    expected = model(*inputs)[[0, 1, 2], [4, 1, 4]].detach().numpy()
    np.testing.assert_allclose(shared.predicted, expected, rtol=1e-4)
    assert shared.completeness_error.max() < 1e-3 * np.abs(shared.predicted - shared.reference).max()


def test_first_weights_are_the_published_ones_where_nothing_stands_beside():
    config = make_config(dgex, "quick", {"hidden": [400, 300], "beside_ridge": False, "components": 0})
    model = dgex.Model(config, {"landmarks": 200, "targets": 50, "components": 0})
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    limits = [(6 / (200 + 400)) ** 0.5, (6 / (400 + 300)) ** 0.5, 1e-4]
    for layer, limit in zip(layers, limits, strict=True):
        assert 0.98 * limit < layer.weight.abs().max() <= limit and not layer.bias.any()


def test_the_report_names_the_landmarks_that_carry_a_target(tmp_path):
    found = []
    for seed in (1, 2):
        with h5py.File(tmp_path / f"{seed}.h5", "w") as file:
            file.attrs.update({"family": "dgex", "fold": 0, "seed": seed, "method": "integrated gradients", "completeness_error_max": 0.0})
            for name, ids in (("row", ["S0", "S1", "S0", "S1"]), ("column", ["T1", "T1", "T2", "T2"])):
                file.create_dataset(name, data=ids, dtype=h5py.string_dtype())
            file["predicted"], file["reference"] = np.ones(4), np.zeros(4)
            shares = np.array([[3, 0.5, 0], [-3, 0.5, 0], [0, 0, 1], [0, -1.0 * seed, 1]], np.float32)
            file.create_dataset("shares/landmarks", data=shares).attrs["names"] = ["L1", "L2", "L3"]
        found.append(read_shares(tmp_path / f"{seed}.h5"))
    (table,) = carrier_tables(found, {"L1": "GATA1", "T2": "HBB"})
    assert table.rows[0][:2] == ["HBB", "L3 57%, L2 43%, GATA1 0%"], "the mean over networks of mean |share|: 1 and (0.5 + 1) / 2"
    assert table.rows[1][:2] == ["T1", "GATA1 86%, L2 14%, L3 0%"] and table.rows[1][3] == "2"
    assert feature_tables(found) == [], "not every landmark by itself"


def test_shares_are_of_landmarks_and_have_their_names(tmp_path):
    dataset = panel(tmp_path / "d.h5", linear)
    prepared = ["--prepared", tmp_path / "prepared", "--dataset", dataset.path]
    run_script("prepare", "--family", "dgex", "--preset", "quick", "--fold", 0, "--dataset", dataset.path, "--out", tmp_path / "prepared")
    run_script("train", *prepared, "--history-out", tmp_path / "history.tsv", "--out", tmp_path / "a.pt")
    run_script("attribute", "--checkpoint", tmp_path / "a.pt", *prepared, "--genes", 2, "--out", tmp_path / "shares.h5")
    with h5py.File(tmp_path / "shares.h5") as file:
        shares = file["shares/landmarks"]
        assert shares.shape == (120 * 2, LANDMARKS) and shares.attrs["names"][0] == "G0000"
        np.testing.assert_allclose(shares[:].sum(axis=1), file["predicted"][:] - file["reference"][:], atol=1e-2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"activation": "relu"}, "activation 'relu': there are gelu, tanh"),
        ({"quantile": "some"}, "quantile 'some': there are none, all, other"),
        ({"hidden": []}, "hidden .*: one layer at least"),
        ({"dropout": 1.0}, "dropout 1.0: from 0, below 1"),
        ({"components": -1}, "components -1: 0 at least is needed"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(InputError, match=message):
        make_config(dgex, "default", options)


def test_the_methods_text_has_the_settings():
    for family in (dgex, dgex_transductive):
        assert "[512] units (gelu)" in describe_methods(family, make_config(family, "default"))
