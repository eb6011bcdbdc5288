"""Landmark genes → all other genes of the same sample; a network of one to three hidden layers.

After D-GEX (Chen et al. 2016, Bioinformatics 32:1832). The expression of some thousand genes tells much of that of all others. The preset
`paper` is the published network with the largest layers: tanh, dropout of 0.1 between layers, squared error summed over targets, gradient
descent with momentum 0.5 on batches of 200, three times the rate behind the first layer, its course of rates, its initial weights.

Departures of both: references, means and standard deviations are learned from training samples only, as are the samples that may be looked at;
samples are held out by series or donor; targets are one network's, where the authors trained two halves (gradients of hidden layers are as of a half);
validation never chooses an epoch of the preset `paper`. Landmarks that were not measured count as their training mean.
Departures of the default: hidden layers of GELU predict what ridge regression leaves over, as principal components, so that few samples
cannot make it much worse than ridge; AdamW, early stopping. The rule is KNN-GE: the mean of the landmarks that correlate most with a target.
The preset `elastic_net` is the default with elastic net beside it, too.
"""

from dataclasses import dataclass

import numpy as np
import torch

from exprcast.dataset import UNITS as UNITS
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.landmark_network import Model as Model
from exprcast.landmark_network import NetworkSettings
from exprcast.landmark_network import initialise as initialise
from exprcast.landmarks import INPUTS as INPUTS
from exprcast.landmarks import TARGET as TARGET
from exprcast.landmarks import LandmarkExamples, Reader, blocks, listed, mean_of_nearest, nearest_landmarks, read_unit

EXAMPLES = "samples"
METHODS = (
    "A network with hidden layers of {hidden} units ({activation}) reads the landmark genes of a sample as z-scores by training samples and predicts all "
    "target genes at once. Its settings: beside_ridge {beside_ridge} (it predicts what ridge regression leaves over), components {components} (principal "
    "components of that; 0: each target by itself), dropout {dropout_input} of landmarks and {dropout} of units, "
    "quantile {quantile} (which samples are mapped by rank onto training samples)."
)


@dataclass
class Config(NetworkSettings):
    """Hyper-parameters."""


PRESETS = {
    "default": {},
    "quick": {"epochs": 4, "hidden": [32]},
    "elastic_net": {"elastic_net": True},
    "paper": {
        "hidden": [9_000, 9_000, 9_000], "activation": "tanh", "dropout_input": 0.0, "dropout": 0.1, "beside_ridge": False, "components": 0,
        "outputs_counted": 4_760, "quantile": "all", "loss": "sum", "optimizer": "sgd", "momentum": 0.5, "learning_rate": 3e-4, "later_rate": 3.0,
        "schedule": "on-rise", "weight_decay": 0.0, "clip_norm": 0.0, "batch_size": 200, "epochs": 200, "patience": 0,
    },
}  # fmt: skip


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training samples: the references of landmarks and targets, and each landmark's mean and standard deviation."""
    landmarks, targets = (Reader(dataset, genes, config.quantile) for genes in listed(dataset))
    references = [reader.learn_reference(rows.samples) for reader in (landmarks, targets)]
    mean, sd, _ = landmarks.learn_scale(rows.samples)
    return {
        "landmark_reference": torch.from_numpy(references[0]),
        "target_reference": torch.from_numpy(references[1]),
        "mean": torch.from_numpy(mean),
        "sd": torch.from_numpy(sd),
        "target_sd": torch.from_numpy(targets.learn_scale(rows.samples)[1]),
        "components": torch.tensor(min(config.components, max(len(rows.samples) - 1, 1))),
    }


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill z-scores of landmarks, 0 where not measured, and values of targets, in the reference's scale where samples are mapped onto it."""
    readers = [Reader(dataset, genes, config.quantile) for genes in listed(dataset)]
    for reader, name in zip(readers, ("landmark", "target"), strict=True):
        reader.reference = state[f"{name}_reference"].numpy()
    every = np.arange(len(dataset.samples))
    x, y = (allocate(name, (len(every), len(reader.genes)), "f4") for name, reader in zip(("landmarks", "targets"), readers, strict=True))
    for part in blocks(every):
        x[part] = np.nan_to_num((readers[0].read(part) - state["mean"].numpy()) / state["sd"].numpy())
        y[part] = readers[1].read(part) if dataset.judged else np.nan


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> LandmarkExamples:
    """Return all samples of a dataset."""
    return LandmarkExamples(
        dataset, extracted, read_unit(dataset.unit(TARGET)), state["target_sd"].numpy(), int(state["components"]), config.elastic_net
    )


def fit_rule(examples: LandmarkExamples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Find each target's landmarks."""
    return nearest_landmarks(examples, train)


def rule(examples: LandmarkExamples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, targets) what they tell."""
    return mean_of_nearest(examples, fitted, index)
