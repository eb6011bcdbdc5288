"""deepsf_paper: sizes as published, forward passes by hand, a code that neither other samples nor held-out ones move, and that it learns."""

from functools import partial

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from exprcast.attribution import DEEPLIFT, share_out
from exprcast.autoencoder import fill, learn_code, learn_range, read_code, read_scaled, train_autoencoder
from exprcast.cli import InputError
from exprcast.controls import under
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.families import deepsf_paper
from exprcast.family import describe_methods, make_config, make_model
from exprcast.folds import train_rows
from exprcast.isoforms import fit_line
from exprcast.published_isoforms import Autoencoder, Model
from exprcast.training import Settings, Training, cut, fit, make_deterministic, make_fabric, predict
from planted import planted_dataset
from tiny import load_script, read_examples, run_script

FABRIC = make_fabric("cpu", "32-true")
PUBLISHED = {"factors": 1_279, "isoforms": 10_095}
PRESETS = ("two_hidden", "linear", "ensemble")
SMALL = {"epochs": 150, "patience": 50, "autoencoder_epochs": 20}


def config_of(preset, **options):
    return make_config(deepsf_paper, preset, options)


def trained(dataset, preset="two_hidden", **options):
    """Return examples of fold 0, the network that was trained on them, and the numbers of test examples."""
    make_deterministic(1)
    config = config_of(preset, **SMALL | options)
    examples = read_examples(deepsf_paper, dataset, config, train_rows(dataset, 0))
    train, valid = (np.flatnonzero(dataset.sample_role[0] == role) for role in (TRAIN, VALID))
    result = fit(partial(make_model, deepsf_paper, config, examples, train), examples, train, valid, config, 1, FABRIC)
    model = Model(config, examples.sizes)
    model.load_state_dict(result.weights)
    assert result.status == "trained"
    return examples, model.eval(), np.flatnonzero(dataset.sample_role[0] == TEST)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a dataset of 96 samples."""
    path = tmp_path_factory.mktemp("planted") / "dataset.h5"
    planted_dataset(path)
    return Dataset(path)


@pytest.mark.parametrize("network, code, count", [("linear", 0, 12_931_695), ("two_hidden", 0, 1_097_838), ("ensemble", 512, 6_266_478)])
def test_networks_have_as_many_parameters_as_published(network, code, count):
    model = Model(config_of(network), PUBLISHED | {"code": code})
    assert sum(values.numel() for values in model.parameters() if values.requires_grad) == count


def test_the_autoencoder_has_as_many_parameters_as_published():
    assert sum(values.numel() for values in Autoencoder(19_594).parameters()) == 20_611_722


def scrambled(module, seed=0):
    """Return a module in evaluation mode in which each number, those of batch norm among them, is another one."""
    rng = torch.Generator().manual_seed(seed)
    for values in module.state_dict().values():
        if values.is_floating_point():
            values.copy_(torch.rand(values.shape, generator=rng) - 0.5)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_var += 1
    return module.eval()


def by_hand(layer, x):
    """Return what a dense layer or batch norm makes of (samples, units)."""
    values = {name: value.numpy().astype(np.float64) for name, value in layer.state_dict().items()}
    if isinstance(layer, nn.Linear):
        return x @ values["weight"].T + values["bias"]
    return (x - values["running_mean"]) / np.sqrt(values["running_var"] + 1e-5) * values["weight"] + values["bias"]


@pytest.mark.parametrize("network", PRESETS)
def test_a_forward_pass_is_the_published_formula(network):
    code = 512 if network == "ensemble" else 0
    model = scrambled(Model(config_of(network), {"factors": 5, "isoforms": 7, "code": code}))
    model.gene.copy_(torch.tensor([0, 0, 1, 1, 1, 2, 2]))
    rng = np.random.default_rng(0)
    factors, genes, codes = rng.normal(size=(6, 5)), rng.normal(size=(6, 3)), rng.normal(size=(6, code))
    h = factors
    if network != "linear":
        first, first_norm, _, second, second_norm, _ = model.hidden
        h = np.maximum(by_hand(first_norm, by_hand(first, h)), 0)
        h = np.maximum(by_hand(second_norm, by_hand(second, h)), 0)
        assert h.shape == (6, 82) and (first.out_features, second.in_features) == (183, 183)
    y = by_hand(model.out, np.hstack([h, codes])) + model.of_gene.detach().numpy() * genes[:, [0, 0, 1, 1, 1, 2, 2]]
    expected = y if network == "linear" else np.maximum(y, 0)
    inputs = [torch.from_numpy(values.astype(np.float32)) for values in (factors, genes, codes)]
    found = model(*inputs).detach().numpy()
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5) and (y < 0).any() and (y > 0).any()
    assert model.only(np.array([5, 1]))(*inputs).detach().numpy() == pytest.approx(expected[:, [5, 1]], rel=1e-5, abs=1e-5)
    rectifiers = [layer for layer in model.modules() if isinstance(layer, nn.ReLU)]
    assert len(rectifiers) == (0 if network == "linear" else 3), "one instance a use"


def test_the_encoder_is_the_autoencoder_up_to_its_third_activation(planted):
    make_deterministic(1)
    train = train_rows(planted, 0).samples
    state, every = learn_code(planted, train, 3), np.arange(len(planted.samples))
    scaled = read_scaled(planted, every, state)
    whole = Autoencoder(len(planted.genes))
    whole.load_state_dict(train_autoencoder(scaled[train], state["code_mean"].numpy(), 3))
    activations = []
    for layer in whole.modules():
        if isinstance(layer, nn.Sigmoid):
            layer.register_forward_hook(lambda _layer, _inputs, output: activations.append(output.detach()))
    with torch.no_grad():
        out = whole.eval()(torch.from_numpy(scaled))
    assert len(activations) == 4 and torch.equal(activations[3], out)
    codes = read_code(planted, every, state)
    assert codes == pytest.approx(activations[2].numpy(), abs=1e-6) and codes.std(axis=0).min() > 0
    assert codes.min() >= 0 and codes.max() <= 1, "its last sigmoid is there"
    assert np.abs(read_code(planted, every[[5]], state) - codes[5]).max() < 1e-6, "batch norm looks at no other sample"


def test_the_state_ships_the_scale_and_the_encoder_of_training_samples(planted):
    train = train_rows(planted, 0).samples
    state = deepsf_paper.prepare(planted, train_rows(planted, 0), config_of("ensemble", autoencoder_epochs=1))
    values = np.log2(planted.rows("expression/gene", train).astype(np.float64) + 1)
    assert state["code_least"].numpy() == pytest.approx(values.min(axis=0)) and state["code_span"].numpy() == pytest.approx(
        np.ptp(values, axis=0)
    )
    scaled = read_scaled(planted, train, state)
    assert scaled.min() == 0 and scaled.max() == pytest.approx(1, abs=1e-6)
    assert state["code_mean"].numpy() == pytest.approx(scaled.mean(axis=0), abs=1e-6)
    assert len([name for name in state if name.startswith("encoder.")]) == 16
    assert not [name for name in deepsf_paper.prepare(planted, train_rows(planted, 0), config_of("two_hidden")) if "code" in name]
    tpm = planted.rows("expression/gene", train)[:, state["factor_genes"].numpy()]
    assert state["factor_mean"].numpy() == pytest.approx(tpm.mean(axis=0), rel=1e-5), "no logarithm"
    examples = read_examples(deepsf_paper, planted, config_of("two_hidden"))
    for z in examples.inputs(train)[:2]:
        assert z.numpy().mean(axis=0) == pytest.approx(0, abs=1e-4) and z.numpy().std(axis=0) == pytest.approx(1, abs=1e-4)


def test_held_out_samples_change_nothing_that_is_learned(tmp_path):
    states = []
    for name in ("as_is", "changed"):
        planted_dataset(tmp_path / f"{name}.h5", samples=24, donors=12, genes=40)
        with h5py.File(tmp_path / f"{name}.h5", "r+") as file:
            held_out = np.flatnonzero(file["folds/sample_role"][0] != TRAIN) if name == "changed" else []
            for entry in ("expression/gene", "expression/transcript"):
                values = file[entry][:]
                values[held_out] *= 5
                file[entry][...] = values
        dataset = Dataset(tmp_path / f"{name}.h5")
        states.append(deepsf_paper.prepare(dataset, train_rows(dataset, 0), config_of("ensemble", autoencoder_epochs=2)))
    assert states[0].keys() == states[1].keys() and all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_genes_without_values_count_as_their_mean(tmp_path):
    """A gene that one sample lacks, one that no training sample has, and one that does not vary."""
    planted_dataset(tmp_path / "dataset.h5", samples=12, donors=12, genes=40)
    with h5py.File(tmp_path / "dataset.h5", "r+") as file:
        values = file["expression/gene"][:]
        values[0, 0], values[:9, 1], values[:, 2] = np.nan, np.nan, 7
        file["expression/gene"][...] = values
    dataset, train = Dataset(tmp_path / "dataset.h5"), np.arange(9)
    state = {name: torch.from_numpy(array) for name, array in learn_range(dataset, train).items()}
    logged = np.log2(values[1:9, 0].astype(np.float64) + 1)
    assert float(state["code_mean"][0]) == pytest.approx((logged.mean() - logged.min()) / np.ptp(logged), rel=1e-5)
    assert [float(state[name][1]) for name in ("code_least", "code_span", "code_mean")] == [0, 1, 0]
    assert [float(state[name][2]) for name in ("code_least", "code_span", "code_mean")] == [3, 1, 0]
    scaled = read_scaled(dataset, train, state)
    assert np.isnan(scaled[0, 0]) and np.isnan(scaled[:, 1]).all()
    assert fill(scaled, state["code_mean"].numpy())[0, :2] == pytest.approx([float(state["code_mean"][0]), 0])
    weights = train_autoencoder(scaled, state["code_mean"].numpy(), 2)
    assert all(values.isfinite().all() for values in weights.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_it_learns_and_no_prediction_depends_on_other_samples(planted, preset):
    examples, model, test = trained(planted, preset)
    found, observed = predict(model, examples, test, 64, FABRIC).numpy(), examples.values[test]
    alone = np.concatenate([predict(model, examples, test[i : i + 1], 64, FABRIC).numpy() for i in range(len(test))])
    assert found == pytest.approx(alone, abs=1e-5)
    mean = examples.values[planted.sample_role[0] == TRAIN].mean(axis=0)
    assert ((found - observed) ** 2).mean() < 0.6 * ((mean - observed) ** 2).mean()
    assert examples.unit == "log2(tpm + 1)" and examples.sizes["code"] == (512 if preset == "ensemble" else 0)


def test_deeplift_adds_up_and_a_factor_at_half_is_at_half(planted):
    examples, model, test = trained(planted)
    outputs = np.arange(len(examples.columns))[::40]
    index = np.repeat(test[:6], len(outputs))
    result = share_out(model, examples, index, np.tile(outputs, 6), FABRIC, DEEPLIFT)
    assert result.completeness_error.max() < 1e-4 and list(result.shares) == ["factors"]
    assert np.abs(result.shares["factors"]).sum() > 0
    factors, genes, _ = examples.knocked_down(int(test[0]))
    tpm = factors.numpy() * examples.factor_sd + examples.factor_mean
    assert len(tpm) == 1 + factors.shape[1] and torch.equal(genes, genes[:1].expand_as(genes))
    for number in (0, 3):
        expected = tpm[0].copy()
        expected[number] /= 2
        assert tpm[1 + number] == pytest.approx(expected, rel=1e-3)
    lost = load_script("attribute").knock_down(model, examples, test[:1], outputs[:1], FABRIC)
    assert lost.shape == (1, factors.shape[1]) and np.abs(lost).max() > 0


def test_the_rule_is_a_line_on_the_own_genes_level(planted):
    examples = read_examples(deepsf_paper, planted, config_of("default"))
    train, test = (np.flatnonzero(planted.sample_role[0] == role) for role in (TRAIN, TEST))
    isoform = int(np.argmax(examples.values[train].std(axis=0)))
    transcript = examples.isoforms.listed[isoform]
    tpm, gene_of = planted.array("expression/transcript").astype(np.float64), planted.array("transcripts/gene")
    x, y = np.log2(tpm[:, gene_of == gene_of[transcript]].sum(axis=1) + 1), np.log2(tpm[:, transcript] + 1)
    slope, offset = np.polyfit(x[train], y[train], 1)
    found = deepsf_paper.rule(examples, deepsf_paper.fit_rule(examples, train), test)[:, isoform]
    assert found == pytest.approx(np.maximum(slope * x[test] + offset, 0), rel=1e-4)


def test_a_line_leaves_out_what_is_not_known():
    nan = np.nan
    level, of_gene = np.array([[1.0, nan], [2, nan], [nan, nan], [9, nan]]), np.array([[2.0, 1], [4, 2], [6, 3], [nan, 4]])
    line = fit_line(level, of_gene)
    assert (line.slope[0], line.offset[0]) == (0.5, 0) and np.isnan(line.offset[1])
    assert line.level(np.array([[-8.0, 1]]))[0, 0] == 0, "no level is below 0"


def test_controls_change_factors_and_leave_the_genes_levels(planted):
    examples = read_examples(deepsf_paper, planted, config_of("default"))
    index = np.arange(len(examples))
    own = examples.inputs(index)
    for control in deepsf_paper.CONTROLS:
        other = under(deepsf_paper, examples, control, 1).inputs(index)
        assert not torch.equal(own[0], other[0]) and torch.equal(own[1], other[1])
    assert torch.equal(examples.reference(index)[1], own[1]) and not examples.reference(index)[0].any()


@pytest.mark.parametrize("preset", PRESETS)
def test_one_validation_sample_and_a_last_batch_of_one_are_enough(tmp_path, preset):
    planted_dataset(tmp_path / "dataset.h5", samples=13, donors=13, genes=40)
    with h5py.File(tmp_path / "dataset.h5", "r+") as file:
        file["folds/sample_role"][0] = [TEST] * 3 + [VALID] + [TRAIN] * 9
    examples, model, test = trained(Dataset(tmp_path / "dataset.h5"), preset, batch_size=4, epochs=3)
    assert np.isfinite(predict(model, examples, test, 64, FABRIC).numpy()).all()


def test_a_last_batch_of_one_joins_the_one_before():
    def sizes(count, size, least):
        return [len(part) for part in cut(np.arange(count), size, least)]

    assert sizes(9, 4, 1) == [4, 4, 1] and sizes(9, 4, 2) == [4, 5] and sizes(10, 4, 2) == [4, 4, 2]
    assert sizes(1, 4, 2) == [1] and sizes(0, 4, 2) == []
    assert np.concatenate(cut(np.arange(9), 4, 2)).tolist() == list(range(9))
    settings = Settings(epochs=1, batch_size=2, accumulate=2, optimizer="adam")
    rng, read = np.random.default_rng(0), []

    class Noise:
        values = rng.normal(size=(9, 6)).astype(np.float32)

        def inputs(self, index):
            read.append(len(index))
            return (torch.from_numpy(self.values[index]),)

        def targets(self, index):
            return torch.from_numpy(self.values[index])

    Training(partial(Autoencoder, 6), Noise(), np.arange(9), settings, 1, FABRIC).epoch()
    assert read == [2, 2, 2, 3]


def test_methods_say_what_scores_mean_and_impossible_settings_are_refused(tmp_path):
    text = describe_methods(deepsf_paper, config_of("ensemble"))
    assert "The level of the gene is the sum of what is predicted" in text and "network (ensemble)" in text and "by AdamW" in text
    assert "learning rate 0.0001, constant, weight decay 0.01, batches of 128, at most 3000 epochs" in text
    for options, message in (
        ({"network": "deep"}, "network 'deep': there are linear, two_hidden, ensemble"),
        ({"autoencoder_epochs": 0}, "autoencoder_epochs 0: 1 at least is needed"),
        ({"batch_size": 1}, "batch_size 1: 2 at least are needed"),
    ):
        with pytest.raises(InputError, match=message):
            config_of("default", **options)
    planted_dataset(tmp_path / "dataset.h5", samples=12, donors=6, genes=40)
    with h5py.File(tmp_path / "dataset.h5", "r+") as file:
        file["expression/gene"].attrs["unit"] = "zscore"
    with pytest.raises(InputError, match="deepsf_paper reads levels of genes in tpm, cpm, rpkm; dataset.h5 has them in zscore"):
        run_script("prepare", "--family", "deepsf_paper", "--fold", 0, "--dataset", tmp_path / "dataset.h5", "--out", tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()
