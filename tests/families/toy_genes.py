"""A toy family with one example a gene and two targets: its half-life features → the labels' training means and one linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exprcast.training import Settings

EXAMPLES, INPUTS, TARGET, UNITS = "genes", ("promoters/halflife",), "labels/value", ("zscore",)
METHODS = "One linear layer, at most {epochs} epochs."


@dataclass
class Config(Settings):
    epochs: int = 200
    patience: int = 50
    learning_rate: float = 0.05


PRESETS = {"default": {}, "short": {"epochs": 2}}


def prepare(dataset, rows, config):
    values = dataset.array("promoters/halflife")[rows.genes]
    return {"mean": torch.from_numpy(values.mean(axis=0)), "sd": torch.from_numpy(values.std(axis=0))}


class Examples:
    input_names = explained = ["halflife"]

    def __init__(self, dataset, config, state):
        self.rows, self.columns, self.unit = dataset.text("labels/name"), dataset.genes, "zscore"
        self.x = (torch.from_numpy(dataset.array("promoters/halflife")) - state["mean"]) / state["sd"]
        self.y = torch.from_numpy(dataset.array(TARGET).T.copy())  # (genes, labels)
        self.sizes = {"features": self.x.shape[1], "labels": self.y.shape[1]}

    def __len__(self):
        return len(self.x)

    def inputs(self, index):
        return (self.x[index],)

    def reference(self, index):
        return (torch.zeros_like(self.x[index]),)

    def targets(self, index):
        return self.y[index]

    def features(self, index):
        return self.x[index].numpy()


def examples(dataset, config, state, extracted):
    return Examples(dataset, config, state)


class Model(nn.Module):
    def __init__(self, config, sizes):
        super().__init__()
        self.linear = nn.Linear(sizes["features"], sizes["labels"])
        self.register_buffer("mean", torch.zeros(sizes["labels"]))

    def forward(self, halflife):
        return self.mean + self.linear(halflife)


def initialise(model, examples, train):
    model.mean.copy_(examples.targets(train).nanmean(dim=0))


def fit_rule(examples, train):
    x, y = examples.features(train), examples.targets(train).numpy()
    return {"weights": np.linalg.lstsq(x[:, :1], y, rcond=None)[0]}


def rule(examples, fitted, index):
    return examples.features(index)[:, :1] @ fitted["weights"]
