"""The code of a sample's transcriptome: an autoencoder learns it from training samples, its encoder and its scale are kept.

Genes are read as log2(unit + 1), from 0 to 1 between the least and the largest value of training samples; outside these in others. A gene
that was not measured counts as its training mean and in no error. A sample's code does not depend on other samples: batch norm uses what it
learned.
"""

from functools import partial

import numpy as np
import torch

from exprcast.cli import Progress
from exprcast.dataset import Dataset
from exprcast.landmarks import Reader, blocks
from exprcast.published_isoforms import Autoencoder, make_encoder
from exprcast.training import Settings, Training, make_fabric

SEED = 1
LEARNING_RATE, WEIGHT_DECAY, BATCH = 1e-4, 1e-6, 128  # by Adam, as published
ENCODER = "encoder."  # what the names of its weights begin with in a state


def learn_code(dataset: Dataset, samples: np.ndarray, epochs: int) -> dict[str, torch.Tensor]:
    """Return the scale and the encoder's weights, learned from these samples; the same each time."""
    state = {name: torch.from_numpy(values) for name, values in learn_range(dataset, samples).items()}
    values = np.concatenate([read_scaled(dataset, part, state) for part in blocks(samples)])
    trained = train_autoencoder(values, state["code_mean"].numpy(), epochs)
    return state | {name: values for name, values in trained.items() if name.startswith(ENCODER)}


def learn_range(dataset: Dataset, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return (genes,) least values, differences of the largest to these (1 where there is none), and means as they are scaled; 0 of unknown genes."""
    reader = Reader(dataset, np.arange(len(dataset.genes)), "none")
    least, most, total, count = (np.full(len(dataset.genes), start) for start in (np.inf, -np.inf, 0.0, 0.0))
    for part in blocks(samples):
        values = reader.read(part)
        least, most = np.fmin(least, np.fmin.reduce(values)), np.fmax(most, np.fmax.reduce(values))
        total, count = total + np.nansum(values, axis=0), count + (~np.isnan(values)).sum(axis=0)
    least = np.where(count > 0, least, 0)
    span = np.where((count > 0) & (most > least), most - least, 1)
    return {"code_least": least, "code_span": span, "code_mean": np.where(count > 0, (total / np.maximum(count, 1) - least) / span, 0)}


def read_scaled(dataset: Dataset, samples: np.ndarray, state: dict[str, torch.Tensor]) -> np.ndarray:
    """Return (samples, genes) float32; NaN where not measured."""
    values = Reader(dataset, np.arange(len(dataset.genes)), "none").read(samples)
    return ((values - state["code_least"].numpy()) / state["code_span"].numpy()).astype(np.float32)


class Levels:
    """Samples whose levels are to be told from themselves, as the training loop reads them."""

    def __init__(self, values: np.ndarray, mean: np.ndarray) -> None:
        self.values, self.mean = values, mean

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, genes)."""
        return (torch.from_numpy(fill(self.values[index], self.mean)),)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return the same, NaN where not measured."""
        return torch.from_numpy(self.values[index])


def fill(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return (samples, genes) float32 with the mean (genes,) of what was not measured."""
    return np.where(np.isnan(values), mean, values).astype(np.float32)


def train_autoencoder(values: np.ndarray, mean: np.ndarray, epochs: int) -> dict[str, torch.Tensor]:
    """Return the weights after so many epochs on (samples, genes) scaled levels of this mean (genes,)."""
    settings = Settings(
        epochs=epochs, patience=0, batch_size=BATCH, optimizer="adam", schedule="constant", learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY, clip_norm=0.0,
    )  # fmt: skip
    network, progress = partial(Autoencoder, values.shape[1]), Progress(epochs, "epochs of the autoencoder")
    training = Training(network, Levels(values, mean), np.arange(len(values)), settings, SEED, make_fabric("cpu", "32-true"))
    for epoch in range(1, epochs + 1):
        training.epoch()
        progress.step(epoch)
    return training.weights()


@torch.no_grad()
def read_code(dataset: Dataset, samples: np.ndarray, state: dict[str, torch.Tensor]) -> np.ndarray:
    """Return (samples, 512) float32 codes."""
    encoder = make_encoder(len(dataset.genes)).eval()
    encoder.load_state_dict({name.removeprefix(ENCODER): values for name, values in state.items() if name.startswith(ENCODER)})
    return encoder(torch.from_numpy(fill(read_scaled(dataset, samples, state), state["code_mean"].numpy()))).numpy()
