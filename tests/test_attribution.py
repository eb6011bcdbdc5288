"""Shares add up to the change of the prediction, equal hand-made ones of a linear model, and find a planted bin."""

import numpy as np
import pytest
import torch
from torch import nn

from exprcast.attribution import integrated_gradients
from exprcast.dataset import Dataset
from exprcast.families import atac_cis
from exprcast.folds import train_rows
from exprcast.training import make_fabric
from tiny import tiny_dataset

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
    result = integrated_gradients(Linear(), Two(), np.array([0, 3]), 0, FABRIC)
    assert result.shares["x"] == pytest.approx(np.array([[-5, 0, 500], [40, 450, 5000]]), rel=1e-5)
    assert result.completeness_error.max() < 1e-3
    assert (result.predicted - result.reference) == pytest.approx([495, 5490], rel=1e-5)


def test_mode_is_put_back():
    model = Linear().train()
    integrated_gradients(model, Two(), np.array([0]), 0, FABRIC)
    assert model.training


def test_atac_cis_shares_are_complete_and_local(tmp_path):
    dataset, config = Dataset(tiny_dataset(tmp_path / "d.h5", genes=30)), atac_cis.Config()
    examples = atac_cis.examples(dataset, config, atac_cis.prepare(dataset, train_rows(dataset, 0), config))
    torch.manual_seed(0)
    model = atac_cis.Model(config, examples.sizes)
    index = np.arange(60)
    result = integrated_gradients(model, examples, index, 0, FABRIC)
    assert result.completeness_error.max() < 1e-4
    window, mean, _ = examples.inputs(index)
    assert np.abs(result.shares["window"][(window == mean).numpy()]).max() == 0, "a bin as open as on average has no share"
    assert np.abs(result.shares["window"]).sum() > 0
