"""A toy family with one example a sample: its signal at every gene's TSS → all genes, by one linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exprcast.training import Settings

EXAMPLES, INPUTS, TARGET, UNITS = "samples", ("accessibility/bin", "accessibility/signal"), "expression/gene", ("tpm",)
METHODS = "One linear layer, at most {epochs} epochs."


@dataclass
class Config(Settings):
    epochs: int = 60
    learning_rate: float = 0.03


PRESETS = {"default": {}, "short": {"epochs": 2}}


def signals(dataset):
    return np.stack([np.log2(1 + dataset.open_bins(i)[1]) for i in range(len(dataset.samples))])


def prepare(dataset, rows, config):
    values = np.log2(1 + dataset.array(TARGET))[rows.samples]
    return {
        "input_mean": torch.from_numpy(signals(dataset)[rows.samples].mean(axis=0)),
        "output_mean": torch.from_numpy(values.mean(axis=0)),
    }


class Examples:
    input_names, explained = ["signal", "level"], ["signal"]

    def __init__(self, dataset, config, state):
        self.rows, self.columns, self.unit, self.state = dataset.samples, dataset.genes, "log2(tpm + 1)", state
        self.x, self.y = torch.from_numpy(signals(dataset)), torch.from_numpy(np.log2(1 + dataset.array(TARGET)))
        self.sizes = {"bins": self.x.shape[1], "genes": self.y.shape[1]}

    def __len__(self):
        return len(self.x)

    def inputs(self, index):
        return self.x[index], self.state["output_mean"].expand(len(index), -1)

    def reference(self, index):
        return self.state["input_mean"].expand(len(index), -1), self.inputs(index)[1]

    def targets(self, index):
        return self.y[index]

    def features(self, index):
        return self.x[index].numpy()


def examples(dataset, config, state, extracted):
    return Examples(dataset, config, state)


class Model(nn.Module):
    def __init__(self, config, sizes):
        super().__init__()
        self.linear = nn.Linear(sizes["bins"], sizes["genes"])

    def forward(self, signal, level):
        return level + self.linear(signal)


def fit_rule(examples, train):
    return {"mean": examples.targets(train).numpy().mean(axis=0)}


def rule(examples, fitted, index):
    return np.broadcast_to(fitted["mean"], (len(index), len(fitted["mean"])))
