"""Open chromatin within ± 100 kb of a gene in a sample → that gene's expression in that sample; one network for all genes.

Our own design for specification A2 (a gene-wise counterpart of shashkat's bins → genes network). It asks two questions. How
high is the gene on average? For a gene whose RNA was seen in training that is its mean there; for a gene never seen it is read
from the window of an average training sample. How does this sample differ? That is read from the sample's window beside the
average one. Each question is answered by the same kind of network: a small convolution looks at the signal, then channels with
distances of their own add it up (each starts as an exponential decay, 1 to 60 kb, and learns from there), then a small
perceptron turns the sums into log2 units.

Departures from the plain window-to-expression network: deviations from the average training sample as an input, learned
distance weights in place of attention pooling (a sum over elements must stay a sum), the known mean of a trained gene as an
offset; in training that offset is hidden from a tenth of the examples, which teaches the first question.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import nn

from exprcast.accessibility import (
    CODES_PER_LOG2,
    Scaled,
    bin_centres,
    choose_tss,
    genome_gram,
    quantile_reference,
    read_windows,
    stored_reference,
)
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.means import same_levels
from exprcast.training import Settings

EXAMPLES = "samples×genes"
INPUTS = ("accessibility/bin", "accessibility/signal", "tss/position", "genes/strand")
TARGET = "expression/gene"
UNITS = ("tpm", "cpm", "rpkm")
METHODS = (
    "One convolutional network for all genes reads the quantile-normalised signal in bins of {bin_bp:,} bp within ± {flank_bp:,} bp of a gene's start "
    "site (of several, the one with the strongest signal in training samples), as it is and as its deviation from the mean training sample. "
    "{channels} channels, each with learned weights of distance, are summed and pass {hidden} hidden units; the result is added to the gene's mean "
    "in training, or, for a gene never seen, to a level read from the mean training sample's window."
)
SCALE = CODES_PER_LOG2 * 4  # codes to numbers of about one
OPENNESS = 4.0  # steepness of the soft open/closed channel; a hard one would have no gradient to attribute by
RULE_DECAYS_BP = (5_000, 50_000)
SUMMARY_DECAYS_BP = (1_000, 5_000, 20_000, 60_000)


@dataclass
class Config(Settings):
    """Hyper-parameters; window and bins as in the specification, the rest chosen on simulated cohorts."""

    flank_bp: int = 100_000
    bin_bp: int = 1_000
    channels: int = 16
    kernel: int = 5
    hidden: int = 64
    dropout: float = 0.1
    hidden_level: float = 0.1  # share of training examples whose gene's known mean is hidden
    epochs: int = 16
    learning_rate: float = 5e-3
    examples_per_epoch: int = 40_000


PRESETS = {"default": {}, "quick": {"epochs": 4, "channels": 4, "hidden": 16}}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training samples: the quantile reference, each gene's TSS, the average window; from training pairs: gene means."""
    if config.bin_bp % dataset.bin_bp or config.flank_bp % config.bin_bp:
        raise InputError(
            f"atac_cis: bins of {config.bin_bp} bp and a flank of {config.flank_bp} bp are not multiples of the dataset's {dataset.bin_bp} bp"
        )
    reference = quantile_reference(dataset, rows.samples)
    scaled = Scaled(dataset, reference)
    tss = choose_tss(scaled, rows.samples)
    windows = read_windows(scaled, rows.samples, tss, config.flank_bp, config.bin_bp)
    mean_window = reduce(np.add, windows, np.uint32(0)) / len(rows.samples)
    level = np.full(len(dataset.genes), np.nan, dtype=np.float32)
    values = np.log2(1 + dataset.array(TARGET)[np.ix_(rows.samples, rows.genes)])
    measured = ~np.isnan(values)
    level[rows.genes] = np.where(measured.any(axis=0), np.nansum(values, axis=0) / np.maximum(measured.sum(axis=0), 1), np.nan)
    return {
        "reference_rank": torch.from_numpy(reference[0]),
        "reference_value": torch.from_numpy(reference[1]),
        "tss": torch.from_numpy(tss),
        "samples": torch.from_numpy(rows.samples),
        "mean_window": torch.from_numpy(mean_window.round().astype(np.uint8)),
        "level": torch.from_numpy(level),
    }


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill `windows` (samples, genes, bins) uint8 with the codes of samples that are asked for, one by one, and `gram` (samples, samples)."""
    count, scaled = len(dataset.samples), Scaled(dataset, stored_reference(state))
    windows = allocate("windows", (count, len(dataset.genes), 2 * config.flank_bp // config.bin_bp), "uint8")
    codes = read_windows(scaled, dataset.asked, state["tss"].numpy(), config.flank_bp, config.bin_bp)
    for sample, own in zip(dataset.asked, codes, strict=True):
        windows[sample] = own
    allocate("gram", (count, count), "f8")[:] = genome_gram(scaled, state["samples"].numpy())


class Examples:
    """All (sample, gene) pairs: number = sample · genes + gene."""

    input_names = ["window", "mean_window", "level"]
    explained = ["window"]

    def __init__(self, dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> None:
        self.rows, self.columns = dataset.samples, dataset.genes
        self.unit = f"log2({dataset.unit(TARGET)} + 1)"
        self.values = np.log2(1 + dataset.array(TARGET))  # (samples, genes)
        self.tss, self.windows = state["tss"].numpy(), extracted["windows"]  # (samples, genes, bins) uint8
        self.sample_gram = extracted["gram"]
        self.mean_window, self.level = state["mean_window"].numpy(), state["level"].numpy()
        self.sizes = {"bins": self.windows.shape[2], "bin_bp": config.bin_bp, "flank_bp": config.flank_bp}
        place = bin_centres(config.flank_bp, config.bin_bp)  # below 0 upstream
        self.distance = np.abs(place)
        sums = [np.exp(-self.distance / decay) for decay in SUMMARY_DECAYS_BP]
        means = [self.distance <= 1_000, (place < -2_000) & (place > -50_000), (place > 2_000) & (place < 50_000), self.distance >= 50_000]
        self.regions = np.column_stack([*sums, *(mask / max(mask.sum(), 1) for mask in means)]).astype(np.float32)  # (bins, 8)

    def __len__(self) -> int:
        return self.values.size

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return this sample's window and the average one (index, bins), and the gene's known mean (index,), NaN = never seen."""
        sample, gene = np.divmod(index, len(self.columns))
        return decode(self.windows[sample, gene]), decode(self.mean_window[gene]), torch.from_numpy(self.level[gene])

    def forget(self) -> None:
        """Know no gene's level: all that were seen have their mean."""
        self.level = same_levels(self.level)

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the same with the average training sample's window: attributions say why this sample differs from it."""
        _, mean, level = self.inputs(index)
        return mean, mean, level

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, 1) log2(unit + 1)."""
        return torch.from_numpy(self.values.ravel()[index][:, None])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, 2 · bins): the window's deviation from the average one, and the average one."""
        window, mean, _ = self.inputs(index)
        return torch.cat([window - mean, mean], dim=1).numpy()

    def summary(self, index: np.ndarray) -> np.ndarray:
        """Return (index, 21): the promoter's maximum, sums that decay with distance, three regions and the share of open bins, once for
        the window's deviation from the average one and once for the average one; the gene's known mean."""
        window, mean, level = (values.numpy() for values in self.inputs(index))
        near = self.distance <= 1_000
        change = [(window[:, near].max(axis=1) - mean[:, near].max(axis=1)), (window - mean) @ self.regions, (window > 0).mean(axis=1)]
        usual = [mean[:, near].max(axis=1), mean @ self.regions, (mean > 0).mean(axis=1)]
        return np.column_stack([*change, *usual, level]).astype(np.float32)


def decode(codes: np.ndarray) -> torch.Tensor:
    """Return codes as float32 of about one."""
    return torch.from_numpy(codes.astype(np.float32) / SCALE)


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> Examples:
    """Return all pairs of the dataset, read with a fold's state."""
    return Examples(dataset, config, state, extracted)


class Reader(nn.Module):
    """Signal channels along a window → features: convolve, weigh by distance, add up."""

    def __init__(self, inputs: int, config: Config, sizes: dict[str, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, config.channels, config.kernel, padding="same")
        self.activation1 = nn.GELU()
        self.conv2 = nn.Conv1d(config.channels, config.channels, 1)
        self.activation2 = nn.GELU()
        distance = torch.from_numpy(np.abs(bin_centres(sizes["flank_bp"], sizes["bin_bp"]))).float()
        decay = torch.logspace(3, np.log10(60_000), config.channels)
        weight = torch.exp(-distance / decay[:, None])
        self.distance_weight = nn.Parameter(weight / weight.sum(dim=1, keepdim=True).sqrt())  # (channels, bins)
        self.hidden = nn.Linear(config.channels, config.hidden)
        self.activation3 = nn.GELU()
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.hidden, 1)
        nn.init.zeros_(self.conv1.bias)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation1(self.conv1(x))  # (batch, channels, bins)
        x = self.activation2(self.conv2(x))
        x = (x * self.distance_weight).sum(dim=2)  # (batch, channels)
        x = self.activation3(self.hidden(x))  # (batch, hidden)
        return self.out(self.dropout(x)).squeeze(1)  # (batch,)


class Model(nn.Module):
    """The gene's level, known or read from the average window, plus this sample's deviation from it."""

    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__()
        self.hidden_level = config.hidden_level
        self.level = Reader(1, config, sizes)
        self.deviation = Reader(3, config, sizes)

    def forward(self, window: torch.Tensor, mean_window: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        hide = torch.isnan(level)
        if self.training:
            hide = hide | (torch.rand_like(level) < self.hidden_level)
        channels = torch.stack([window, window - mean_window, torch.tanh(OPENNESS * window)], dim=1)  # (batch, 3, bins)
        deviation = self.deviation(channels)  # (batch,)
        known = torch.nan_to_num(level)
        if hide.any():
            known = known.index_put((hide,), self.level(mean_window[hide][:, None]))
            deviation = torch.where(hide, deviation.detach(), deviation) if self.training else deviation
        return (known + deviation)[:, None]  # (batch, 1)


def rule_features(examples: Examples, index: np.ndarray) -> np.ndarray:
    """Return (index, 4): promoter (± 1 kb) and sums decaying over 5 and 50 kb, as deviations from the average sample; one."""
    window, mean, _ = examples.inputs(index)
    change = (window - mean).numpy()
    weights = [examples.distance <= 1_000, *(np.exp(-examples.distance / decay) for decay in RULE_DECAYS_BP)]
    return np.column_stack([change @ weight.astype(np.float32) for weight in weights] + [np.ones(len(index), np.float32)])


def fit_rule(examples: Examples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Fit the decayed sums to training deviations by least squares; a gene never seen gets the mean of all levels."""
    fallback = np.float64(np.nanmean(examples.level))
    blocks = [
        (rule_features(examples, part), examples.targets(part).numpy()[:, 0] - known_level(examples, part, fallback))
        for part in np.array_split(train, max(1, len(train) // 50_000))
    ]
    measured = [~np.isnan(y) for _, y in blocks]
    gram = sum(x[m].T.astype(np.float64) @ x[m] for (x, _), m in zip(blocks, measured, strict=True))
    moment = sum(x[m].T.astype(np.float64) @ y[m] for (x, y), m in zip(blocks, measured, strict=True))
    return {"weights": np.linalg.lstsq(gram, moment, rcond=None)[0], "fallback": fallback[None]}


def rule(examples: Examples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, 1) predictions of the decayed sums."""
    return (known_level(examples, index, fitted["fallback"][0]) + rule_features(examples, index) @ fitted["weights"])[:, None]


def known_level(examples: Examples, index: np.ndarray, fallback: float) -> np.ndarray:
    """Return (index,) the gene's training mean, or the fallback."""
    level = examples.level[index % len(examples.columns)]
    return np.where(np.isnan(level), fallback, level)
