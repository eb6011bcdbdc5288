"""The open bins of a sample → the expression of all genes in that sample; one network with one hidden layer.

After shashkat/Gene-Expression-Prediction-Using-Deep-Neural-Network (MIT): Linear – ReLU – Linear from a sample's bins to all
genes. The preset `shashkat` is that network as its notebook trained it: every bin of the genome, 1 or 0, 400 hidden units, raw
TPM, PyTorch's own initial weights, 100 steps of plain gradient descent on all samples at once. It suits a region (there
10,000 bins), not a genome: each hidden unit has a weight for every bin. tests/encode29/ repeats that study.

Departures of both: a peak opens every bin that it touches, not only that of its middle, and no threshold on the peaks' scores.
Departures of the default: the bins that vary most over training samples, with their quantile-normalised signal; the network reads
their principal components over training samples (elsewhere training cannot move its weights, and random ones are noise); it
predicts what a simple rule leaves over, in units of each gene's standard deviation. The rule: a gene follows the signal around
its own start site, with one slope for all genes. Log2 targets, dropout, AdamW, early stopping.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_matrix
from torch import nn

from exprcast.accessibility import (
    CODES_PER_LOG2,
    Scaled,
    choose_tss,
    quantile_reference,
    sample_codes,
    stored_reference,
    window_starts,
)
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.means import nan_mean
from exprcast.tables import bin_offsets
from exprcast.training import Settings

EXAMPLES = "samples"
INPUTS = ("accessibility/bin", "accessibility/signal", "tss/position")
TARGET = "expression/gene"
UNITS = ("tpm", "cpm", "rpkm")
METHODS = (
    "A network with one hidden layer of {hidden} rectifiers reads a sample's bins of {bin_bp:,} bp and predicts all genes at once. Its settings: "
    "values {values}, max_bins {max_bins} (those that vary most over training samples; 0: every bin), components {components} (principal components "
    "of the bins; 0: the bins as they are), target {target}, beside_rule {beside_rule} (it predicts what the family's rule leaves over)."
)
WORDS = {"values": ("signal", "open"), "target": ("log2", "raw")}
RULE_FLANK_BP, RULE_DECAY_BP = 20_000, 5_000
GAIN = 2.0  # norm of a typical sample's components, tried on ten blood populations


@dataclass
class Config(Settings):
    """Hyper-parameters; hidden units, dropout and early stopping as in the specification, the rest tried on ten blood populations."""

    bin_bp: int = 1_000
    max_bins: int = 20_000  # those that vary most over training samples; 0 = every bin of the genome
    values: str = "signal"  # quantile-normalised log2(1 + signal); or open: 1 or 0
    target: str = "log2"  # log2(unit + 1); or raw
    components: int = 64  # principal components of the bins that the network reads; 0 = the bins as they are
    beside_rule: bool = True  # predict what the rule leaves over, in each gene's standard deviations; or the values as they are
    hidden: int = 500
    dropout: float = 0.3
    epochs: int = 200
    patience: int = 20
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Raise InputError for a word that does not exist, or a number that cannot be."""
        super().__post_init__()
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} '{getattr(self, name)[:60]}': there are {', '.join(known)}")
        for name, least in {"bin_bp": 1, "max_bins": 0, "components": 0, "hidden": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)}: {least} at least is needed")


PRESETS = {
    "default": {},
    "quick": {"epochs": 4, "hidden": 16, "max_bins": 2_000},
    "shashkat": {
        "max_bins": 0, "values": "open", "target": "raw", "components": 0, "beside_rule": False, "hidden": 400, "dropout": 0.0,
        "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.0, "schedule": "constant", "weight_decay": 0.0, "clip_norm": 0.0,
        "epochs": 100, "batch_size": 0, "patience": 0,
    },
}  # fmt: skip


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training samples: the quantile reference, which bins vary most, each gene's start site, the mean sample."""
    if config.bin_bp % dataset.bin_bp:
        raise InputError(f"atac_bins: bins of {config.bin_bp} bp are no multiple of the dataset's {dataset.bin_bp} bp; change --bin_bp")
    reference = quantile_reference(dataset, rows.samples)
    scaled = Scaled(dataset, reference)
    bins, tss = choose_bins(scaled, rows.samples, config), choose_tss(scaled, rows.samples)
    mean_bins = read_samples(scaled, rows.samples, bins, config).mean(axis=0)
    return {
        "reference_rank": torch.from_numpy(reference[0]),
        "reference_value": torch.from_numpy(reference[1]),
        "bins": torch.from_numpy(bins),
        "mean_bins": torch.from_numpy(np.asarray(mean_bins, dtype=np.float32).ravel()),
        "tss": torch.from_numpy(tss),
        "mean_near": torch.from_numpy(signal_near(scaled, rows.samples, tss).mean(axis=0)),
        "components": torch.tensor(min(config.components, max(len(rows.samples) - 1, 1))),
    }


def choose_bins(scaled: Scaled, samples: np.ndarray, config: Config) -> np.ndarray:
    """Return the numbers of the `max_bins` bins whose values vary most over samples, ascending; of equal ones the first.

    One pass over the samples; a few genome-long arrays are held, however many samples there are.
    """
    total = count_bins(scaled.dataset, config.bin_bp)
    if not config.max_bins:
        return np.arange(total)
    sums, squares = np.zeros(total), np.zeros(total)
    for sample in samples:
        bins, values = read_bins(scaled, sample, config)
        sums[bins] += values
        squares[bins] += values.astype(np.float64) ** 2
    squares -= sums**2 / len(samples)  # now the variance, times the number of samples
    varying = np.flatnonzero(squares > 1e-6)
    if not len(varying):
        raise InputError(f"atac_bins: no bin differs between the {len(samples)} training samples; are their peaks one and the same file?")
    return np.sort(varying[np.argsort(-squares[varying], kind="stable")[: config.max_bins]])


def count_bins(dataset: Dataset, bin_bp: int) -> int:
    """Return how many bins the genome has."""
    return int(bin_offsets(dataset.chrom_sizes, bin_bp)[-1])


def read_bins(scaled: Scaled, sample: int, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return a sample's open bins of `bin_bp`, ascending, and their values: 1, or the largest signal of the stored bins inside."""
    dataset, (stored, values) = scaled.dataset, scaled.open_bins(sample)
    narrow, wide = (bin_offsets(dataset.chrom_sizes, bin_bp) for bin_bp in (dataset.bin_bp, config.bin_bp))
    chrom = np.searchsorted(narrow, stored, side="right") - 1
    bins, first = np.unique(wide[chrom] + (stored - narrow[chrom]) // (config.bin_bp // dataset.bin_bp), return_index=True)
    if config.values == "open" or not len(bins):
        return bins, np.ones(len(bins), np.float32)
    return bins, np.maximum.reduceat(values, first)


def read_samples(scaled: Scaled, samples: np.ndarray, chosen: np.ndarray, config: Config) -> csr_matrix:
    """Return (samples, chosen bins) float32."""
    place = np.full(count_bins(scaled.dataset, config.bin_bp), -1, dtype=np.int32)
    place[chosen] = np.arange(len(chosen))
    columns, data = [], []
    for sample in samples:
        bins, values = read_bins(scaled, sample, config)
        inside = place[bins] >= 0
        columns.append(place[bins][inside])
        data.append(values[inside])
    indptr = np.cumsum([0, *map(len, columns)])
    return csr_matrix((np.concatenate(data), np.concatenate(columns), indptr), shape=(len(samples), len(chosen)))


def signal_near(scaled: Scaled, samples: np.ndarray, tss: np.ndarray) -> np.ndarray:
    """Return (samples, genes) float32: the sum of the normalised signal around each gene's start site; weights halve every 3.5 kb."""
    dataset, flank = scaled.dataset, RULE_FLANK_BP // scaled.dataset.bin_bp
    start = window_starts(dataset, tss, np.arange(len(tss)), flank)
    weights = np.exp(-np.abs(np.arange(-flank, flank + 1)) * dataset.bin_bp / RULE_DECAY_BP).astype(np.float32) / CODES_PER_LOG2
    near = np.empty((len(samples), len(tss)), dtype=np.float32)
    for row, sample in enumerate(samples):
        near[row] = sliding_window_view(sample_codes(scaled, sample, flank), 2 * flank + 1)[start] @ weights
    return near


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill what examples read: the chosen bins of all samples, sparse, and of those asked for the signal near start sites."""
    scaled, samples = Scaled(dataset, stored_reference(state)), np.arange(len(dataset.samples))
    bins = read_samples(scaled, samples, state["bins"].numpy(), config)
    near = np.full((len(samples), len(dataset.genes)), np.nan, dtype=np.float32)
    near[dataset.asked] = signal_near(scaled, dataset.asked, state["tss"].numpy())
    for name, values in {"bin_value": bins.data, "bin_place": bins.indices, "bin_start": bins.indptr, "near": near}.items():
        allocate(name, values.shape, values.dtype.str)[:] = values


class Examples:
    """All samples; their bins are held sparse, since few are open."""

    def __init__(self, dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> None:
        self.rows, self.columns = dataset.samples, dataset.genes
        unit, values = dataset.unit(TARGET), dataset.array(TARGET)
        self.unit, self.values = (
            (unit, values) if config.target == "raw" else (f"log2({unit} + 1)", np.log2(1 + values))
        )  # (samples, genes)
        shape = len(self.rows), len(state["bins"])
        self.x = csr_matrix(tuple(extracted[name] for name in ("bin_value", "bin_place", "bin_start")), shape=shape)  # (samples, bins)
        self.near = extracted["near"]  # (samples, genes)
        self.means = state["mean_bins"], state["mean_near"]
        self.sizes = {"bins": shape[1], "genes": len(self.columns), "components": int(state["components"])}
        self.input_names = self.explained = ["bins", "near"] if config.beside_rule else ["bins"]

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the values of the chosen bins (index, bins) and, for the rule, the signal around start sites (index, genes)."""
        return (torch.from_numpy(self.features(index)), torch.from_numpy(self.near[index]))[: len(self.input_names)]

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the same of the mean training sample: attributions say why this sample differs from it."""
        return tuple(mean.expand(len(index), -1) for mean in self.means)[: len(self.input_names)]

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, genes)."""
        return torch.from_numpy(self.values[index])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, bins)."""
        return self.x[index].toarray()


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> Examples:
    """Return all samples of a dataset."""
    return Examples(dataset, config, state, extracted)


class Model(nn.Module):
    """Two linear layers with a rectifier between; `initialise` sets the buffers that stand before and behind them."""

    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__()
        self.components, self.beside_rule = sizes["components"], config.beside_rule
        self.hidden = nn.Linear(self.components or sizes["bins"], config.hidden)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.hidden, sizes["genes"])
        if self.components:
            self.register_buffer("bin_mean", torch.zeros(sizes["bins"]))
            self.register_buffer("directions", torch.zeros(sizes["bins"], self.components))
        if self.beside_rule:
            for name, value in (("mean", 0.0), ("sd", 1.0), ("near_mean", 0.0)):
                self.register_buffer(name, torch.full((sizes["genes"],), value))
            self.register_buffer("slope", torch.ones(()))

    def forward(self, bins: torch.Tensor, near: torch.Tensor | None = None) -> torch.Tensor:
        x = (bins - self.bin_mean) @ self.directions if self.components else bins  # (batch, components or bins)
        x = self.dropout(self.activation(self.hidden(x)))  # (batch, hidden)
        x = self.out(x)  # (batch, genes)
        return self.mean + self.sd * (x + self.slope * (near - self.near_mean)) if self.beside_rule else x


def initialise(model: Model, examples: Examples, train: np.ndarray) -> None:
    """Set the principal components and the rule; beside it the last layer starts at 0, so that the first prediction is the rule's."""
    learnt = principal_directions(examples.features(train), model.components) if model.components else {}
    if model.beside_rule:
        learnt |= fit_rule(examples, train)
        nn.init.zeros_(model.out.weight)
        nn.init.zeros_(model.out.bias)
    for name, values in learnt.items():
        getattr(model, name).copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))


def principal_directions(x: np.ndarray, components: int) -> dict[str, np.ndarray]:
    """Return the mean of (samples, bins) and (bins, components) directions: deviations along them have equal variances, in all GAIN².

    Each bin counts in units of its own standard deviation. What does not vary (a bin, a surplus component) becomes 0.
    """
    mean, sd = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    weight = np.divide(1, sd, out=np.zeros_like(sd), where=sd > 1e-6)
    z = (x - mean) * weight
    variance, vectors = np.linalg.eigh(z @ z.T / len(z))
    variance, vectors = variance[::-1][:components], vectors[:, ::-1][:, :components]
    whitening = np.divide(1, variance, out=np.zeros_like(variance), where=variance > 1e-6 * variance[0])
    directions = weight[:, None] * (z.T @ vectors) * whitening / np.sqrt(len(z)) * GAIN / np.sqrt(components)
    return {"bin_mean": mean, "directions": directions}


def fit_rule(examples: Examples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Fit one slope for all genes: how far, in its own standard deviations, a gene follows the signal around its start site."""
    values, near = examples.targets(train).numpy().astype(np.float64), examples.near[train].astype(np.float64)
    mean = nan_mean(values, axis=0)
    mean = np.where(np.isnan(mean), nan_mean(values), mean)  # of a gene never measured: the mean of all
    change, near_mean = values - mean, near.mean(axis=0)
    sd = np.sqrt(np.nan_to_num(nan_mean(change**2, axis=0)))
    expected = np.where(np.isnan(change), 0, (near - near_mean) * sd)
    slope = (expected * np.nan_to_num(change)).sum() / max((expected**2).sum(), 1e-12)
    return {"mean": mean, "sd": sd, "near_mean": near_mean, "slope": np.array(slope)}


def rule(examples: Examples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, genes): the training mean, and the change that the signal around the gene's own start site tells."""
    return fitted["mean"] + fitted["slope"] * fitted["sd"] * (examples.near[index] - fitted["near_mean"])
