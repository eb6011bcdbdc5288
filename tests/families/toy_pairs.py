"""A toy family with one example a (sample, gene): the signal at the gene's TSS → its level, by one linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exprcast.training import Settings

EXAMPLES, INPUTS, TARGET, UNITS = "samples×genes", ("accessibility/bin", "accessibility/signal"), "expression/gene", ("tpm",)
METHODS = "One linear layer, at most {epochs} epochs."


@dataclass
class Config(Settings):
    epochs: int = 60
    learning_rate: float = 0.03


PRESETS = {"default": {}, "short": {"epochs": 2}}


def prepare(dataset, rows, config):
    values = np.log2(1 + dataset.array(TARGET))[np.ix_(rows.samples, rows.genes)]
    return {"level": torch.tensor(values.mean()), "signal": torch.tensor(dataset.open_bins(rows.samples[0])[1].mean())}


def extract(dataset, config, state, allocate):
    order = sorted(range(len(dataset.genes)), key=lambda i: (dataset.text("genes/chrom")[i], i))
    signal = allocate("signal", (len(dataset.samples), len(dataset.genes)), "float32")
    for sample, row in enumerate(signal):
        row[order] = np.log2(1 + dataset.open_bins(sample)[1])


class Examples:
    input_names = explained = ["signal"]

    def __init__(self, dataset, config, state, extracted):
        self.rows, self.columns, self.unit, self.state = dataset.samples, dataset.genes, "log2(tpm + 1)", state
        self.x, self.y, self.sizes = extracted["signal"], np.log2(1 + dataset.array(TARGET)), {}

    def __len__(self):
        return self.x.size

    def inputs(self, index):
        return (torch.from_numpy(self.x.ravel()[index][:, None]),)

    def reference(self, index):
        return (torch.zeros(len(index), 1),)

    def targets(self, index):
        return torch.from_numpy(self.y.ravel()[index][:, None])

    def features(self, index):
        return self.x.ravel()[index][:, None]


def examples(dataset, config, state, extracted):
    return Examples(dataset, config, state, extracted)


class Model(nn.Module):
    def __init__(self, config, sizes):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, signal):
        return self.linear(signal)


def fit_rule(examples, train):
    return {"mean": np.array([examples.targets(train).numpy().mean()])}


def rule(examples, fitted, index):
    return np.full((len(index), 1), fitted["mean"][0])
