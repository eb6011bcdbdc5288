"""Shares add up to the change of the prediction, equal hand-made ones of a linear model, and find a planted bin."""

import numpy as np
import pytest
import torch
from torch import nn

from exprcast.attribution import METHODS, share_out
from exprcast.dataset import TEST, Dataset
from exprcast.families import atac_cis
from exprcast.family import load_family, make_config, make_model
from exprcast.training import make_deterministic, make_fabric
from tiny import load_script, read_examples, tiny_dataset

FABRIC = make_fabric("cpu", "32-true")


class Two:
    """Two inputs of which the first is explained against ones."""

    input_names, explained = ["x", "context"], ["x"]

    def inputs(self, index):
        x = torch.arange(12.0).reshape(4, 3)[index]
        return x, torch.full((len(index),), 5.0)

    def reference(self, index):
        return torch.ones(len(index), 3), torch.full((len(index),), 5.0)


class Linear(nn.Module):
    def forward(self, x, context):
        return (x @ torch.tensor([1.0, 10.0, 100.0]) * context)[:, None]


def test_linear_model_by_hand():
    result = share_out(Linear(), Two(), np.array([0, 3]), np.zeros(2, int), FABRIC)
    assert result.shares["x"] == pytest.approx(np.array([[-5, 0, 500], [40, 450, 5000]]), rel=1e-5)
    assert result.completeness_error.max() < 1e-3
    assert (result.predicted - result.reference) == pytest.approx([495, 5490], rel=1e-5)


def test_mode_is_put_back():
    model = Linear().train()
    share_out(model, Two(), np.array([0]), np.zeros(1, int), FABRIC)
    assert model.training


def test_atac_cis_shares_are_complete_and_local(tmp_path):
    dataset, config = Dataset(tiny_dataset(tmp_path / "d.h5", genes=30)), atac_cis.Config()
    examples = read_examples(atac_cis, dataset, config)
    torch.manual_seed(0)
    model = atac_cis.Model(config, examples.sizes)
    index = np.arange(60)
    result = share_out(model, examples, index, np.zeros(len(index), int), FABRIC)
    assert result.completeness_error.max() < 1e-4
    window, mean, _ = examples.inputs(index)
    assert np.abs(result.shares["window"][(window == mean).numpy()]).max() == 0, "a bin as open as on average has no share"
    assert np.abs(result.shares["window"]).sum() > 0


@pytest.mark.parametrize("name", ["atac_bins", "atac_cis", "atac_context"])
def test_deeplift_agrees_with_integrated_gradients(tmp_path, name):
    """Both add up, and rank what was read alike; in the deterministic mode that every script asks for."""
    make_deterministic(1)
    family, dataset = load_family(name), Dataset(tiny_dataset(tmp_path / "d.h5", genes=30))
    config = make_config(family, "quick")
    examples = read_examples(family, dataset, config)
    torch.manual_seed(0)
    train = np.flatnonzero(dataset.sample_role[0] == 0) if name == "atac_bins" else np.arange(30)
    model = make_model(family, config, examples, train)
    index = np.arange(6)
    found = [share_out(model, examples, index, np.zeros(len(index), int), FABRIC, method) for method in METHODS.values()]
    both = [np.concatenate([one.shares[key].ravel() for key in examples.explained]) for one in found]
    assert np.abs(both[0]).sum() > 0 and np.corrcoef(*both)[0, 1] > 0.9
    assert max(one.completeness_error.max() for one in found) < 0.01


class TwoOutputs(nn.Module):
    def forward(self, x, context):
        return torch.stack([x @ torch.tensor([1.0, 10.0, 100.0]), x @ torch.tensor([2.0, 0.0, 0.0])], dim=1)


def test_each_example_explains_its_own_output():
    result = share_out(TwoOutputs(), Two(), np.array([0, 0, 3]), np.array([0, 1, 1]), FABRIC)
    assert result.shares["x"][1, 1:] == pytest.approx([0, 0], abs=1e-6)
    assert result.shares["x"][1, 0] == pytest.approx(2 * result.shares["x"][0, 0], rel=1e-5)
    assert result.completeness_error.max() < 1e-3


def test_a_sample_is_explained_for_the_genes_that_vary_most(tmp_path):
    attribute = load_script("attribute")
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30))
    family = load_family("atac_bins")
    examples = read_examples(family, dataset, make_config(family, "quick"))
    roles = dataset.sample_role[0]
    index, outputs = attribute.chosen_examples("samples", examples, roles, 3)
    spread = examples.targets(np.arange(12)).numpy().std(axis=0)
    assert set(outputs) == set(np.argsort(-spread)[:3])
    rows, columns = attribute.places("samples", examples, index, outputs)
    tested = (roles == TEST).sum()
    assert len(set(zip(rows, columns, strict=True))) == 3 * tested


def test_knock_out_is_what_the_prediction_loses(tmp_path):
    attribute = load_script("attribute")
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30))
    family = load_family("atac_context")
    config = make_config(family, "quick")
    examples = read_examples(family, dataset, config)
    index = 11 * 30 + np.arange(30)
    model = make_model(family, config, examples, np.arange(300))
    lost = attribute.knock_out(FABRIC.setup_module(model), examples, index, FABRIC)
    assert lost.shape == (30, 200)
    _, (features, known) = next(iter(examples.without_bins(11, np.array([7]))))
    with torch.no_grad():
        predicted = model.eval()(features, known)[:, 0].numpy()
    assert np.sort(lost[7][lost[7] != 0]) == pytest.approx(np.sort(predicted[0] - predicted[1:])[predicted[1:] != predicted[0]], abs=1e-6)
    assert np.abs(lost[:, 100]).min() > 0, "the start site's own bin is open and tells something"
