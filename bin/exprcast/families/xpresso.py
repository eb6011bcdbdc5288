"""The bases around a gene's start site, and half-life features of its mRNA → its level; a convolutional network.

After Xpresso (Agarwal & Shendure 2020, Cell Reports 31:107663). An mRNA's level is what transcription makes, which the promoter tells of,
times how long it lasts, which the lengths and the G+C of UTRs, coding sequence and introns tell of (stabilities are not measured: these
are proxies). The presets `paper` and `notebook` are the published network (112,485 parameters at 10,500 bases and eight features): two
convolutions with large pools, then dense layers of 64 and 2 rectifiers, trained by Adam, or by plain gradient descent with momentum as in the
authors' notebook. Its last hidden layer is why a fifth of such trainings collapse: two rectifiers that are off stay off.

The default is ours: one convolution, residual blocks with growing dilation, average pools, no narrow layer. Weights are averaged over
steps, each batch is shifted by up to 24 bases, and the prediction is the mean over three shifts. Tried on 7,736 genes of the public table.

Sequence and features are read as they are stored; scales are learned from training genes. Genes without a coding sequence have no half-life
features and are neither learnt nor predicted where these are read. The rule: ridge regression on 4-mers and half-life features.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import nn
from torch.nn import functional

from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.sequence import BASES, N, WordConvolution, count_words, one_hot, reverse_complement
from exprcast.training import Settings

EXAMPLES = "genes"
INPUTS = ("promoters/sequence",)
TARGET = "labels/value"
UNITS = ("log10_rpkm", "log10_tpm", "log10_cpm", "zscore")
METHODS = (
    "A convolutional network ({network}) reads the bases around a gene's start site as one-hot numbers, shifted by up to {shift_bp} bases in training, "
    "and half-life features of its mRNA; the prediction is the mean over shifts of {test_shifts} bases."
)
HALFLIFE, LOGARITHMIC = "promoters/halflife", (0, 1, 2, 3, 7)  # features that are lengths, or a density
BACKGROUND = (0.2617, 0.2335, 0.2379, 0.2668)  # A, C, G, T around silent genes, as published
NETWORKS = ("residual", "pooled")
WORD_BP, CORE_BP, CENTRE_BP, WINDOW_BP, STEP_BP, DINUCLEOTIDE_BP = 4, 500, 2_048, 64, 128, 256
GENES_AT_ONCE = 256
ALPHAS = np.logspace(0, 6, 25)


@dataclass
class Config(Settings):
    """Hyper-parameters; those of the presets `paper` and `notebook` as published, the default's tried on 7,736 genes."""

    network: str = "residual"  # or pooled, the published one
    upstream_bp: int = 0  # bases before the start site that are read; 0 = all that are stored
    downstream_bp: int = 0  # bases from the start site on; 0 = all that are stored
    filters: list[int] = field(default_factory=lambda: [64])  # of each convolution (residual: of all)
    widths: list[int] = field(default_factory=lambda: [12])
    pools: list[int] = field(default_factory=lambda: [8, 16])
    dense: list[int] = field(default_factory=lambda: [64, 32])
    dropouts: list[float] = field(default_factory=lambda: [0.3, 0.3])
    shift_bp: int = 24  # at most, of a training batch, either way
    test_shifts: list[int] = field(default_factory=lambda: [-8, 0, 8])  # whose mean is predicted
    reverse_complement: float = 0.0  # share of training batches that are read from the other strand
    epochs: int = 14
    patience: int = 4
    batch_size: int = 64
    schedule: str = "one-cycle"
    learning_rate: float = 2e-3
    average: float = 0.99

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        super().__post_init__()
        if self.network not in NETWORKS:
            raise InputError(f"network '{self.network[:60]}': there are {', '.join(NETWORKS)}")
        if len(self.dense) != len(self.dropouts):
            raise InputError(f"dense {self.dense}, dropouts {self.dropouts}: one dropout a dense layer is needed")
        if max(map(abs, self.test_shifts), default=self.shift_bp + 1) > self.shift_bp:
            raise InputError(f"test_shifts {self.test_shifts}: one at least, and none above shift_bp {self.shift_bp}")
        least = [self.upstream_bp + 1, self.downstream_bp + 1, self.shift_bp + 1, *self.filters, *self.widths, *self.pools, *self.dense]
        if min(least) < 1:
            raise InputError("xpresso: windows and shifts from 0 up; filters, widths, pools and dense layers from 1 up")


PUBLISHED = {
    "network": "pooled", "upstream_bp": 7_000, "downstream_bp": 3_500, "filters": [128, 32], "widths": [6, 9], "pools": [30, 10], "dense": [64, 2],
    "dropouts": [0.00099, 0.01546], "shift_bp": 0, "test_shifts": [0], "epochs": 100, "batch_size": 128, "schedule": "constant", "weight_decay": 0.0,
    "clip_norm": 0.0, "average": 0.0,
}  # fmt: skip
PRESETS = {
    "default": {},
    "quick": {"upstream_bp": 1_000, "downstream_bp": 500, "batch_size": 16, "filters": [16]},
    "paper": PUBLISHED | {"learning_rate": 1e-3, "patience": 5},
    "notebook": PUBLISHED | {"optimizer": "sgd", "learning_rate": 5e-4, "momentum": 0.9, "patience": 7},
}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn each half-life feature's mean and standard deviation from training genes; refuse pools that leave nothing of the window."""
    start, width = window(dataset, config)
    check_pools(config, width)
    values = halflife(dataset)[rows.genes]
    known = values[~np.isnan(values).any(axis=1)]
    if values.shape[1] and len(known) < 2:
        raise InputError(f"xpresso: {len(known)} of {len(values)} training genes have half-life features; is this the annotation's GTF?")
    scale = known.std(axis=0) if len(known) else np.ones(values.shape[1])
    return {
        "start": torch.tensor(start),  # of the window in what is stored
        "width": torch.tensor(width),
        "tss": torch.tensor(int(dataset.file[INPUTS[0]].attrs["upstream_bp"]) - start),  # in the window
        "halflife_mean": torch.from_numpy(known.mean(axis=0) if len(known) else np.zeros(values.shape[1])),
        "halflife_sd": torch.from_numpy(np.where(scale > 0, scale, 1.0)),
    }


def window(dataset: Dataset, config: Config) -> tuple[int, int]:
    """Return where in the stored sequence the window begins, and its length; a window that is wanted longer than what is stored is cut."""
    stored = dict(dataset.file[INPUTS[0]].attrs)
    upstream = min(config.upstream_bp or np.inf, int(stored["upstream_bp"]))
    return int(stored["upstream_bp"]) - upstream, upstream + min(config.downstream_bp or np.inf, int(stored["downstream_bp"]))


def check_pools(config: Config, width: int) -> None:
    """Raise InputError if nothing is left of the window after all pools."""
    left = width // 2 if config.network == "residual" else width
    for pool in config.pools:
        left //= pool
    if left < 1:
        raise InputError(f"xpresso: pools of {' and '.join(map(str, config.pools))} leave nothing of {width:,} bases; choose smaller ones")


def halflife(dataset: Dataset) -> np.ndarray:
    """Return (genes, features) float64 with lengths as log10(x + 0.1), NaN of genes without a coding sequence; no columns where there are none."""
    if not dataset.has(HALFLIFE):
        return np.zeros((len(dataset.genes), 0))
    return transformed(dataset.array(HALFLIFE).astype(np.float64), str(dataset.file[HALFLIFE].attrs["scale"]))


def transformed(values: np.ndarray, scale: str) -> np.ndarray:
    """Return (genes, features) with lengths and density as log10(x + 0.1), changed in place where they are as measured."""
    if scale == "measured":
        values[:, LOGARITHMIC] = np.log10(values[:, LOGARITHMIC] + 0.1)
    return values


def halflife_names(dataset: Dataset) -> list[str]:
    """Return the names of the half-life features."""
    return list(map(str, dataset.file[HALFLIFE].attrs["name"])) if dataset.has(HALFLIFE) else []


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill the codes of each gene's window with its margins for shifts, and the words in it."""
    (start, width, tss), genes = (int(state[name]) for name in ("start", "width", "tss")), len(dataset.genes)
    stored = dataset.file[INPUTS[0]].shape[1]
    low, high = start - config.shift_bp, start + width + config.shift_bp
    codes = allocate("codes", (genes, high - low), "u1")
    counted = allocate("words", (genes, sequence_features(np.zeros((1, width), np.uint8), tss).shape[1]), "f4")
    for first in range(0, genes, GENES_AT_ONCE):
        part = slice(first, min(first + GENES_AT_ONCE, genes))
        read = dataset.file[INPUTS[0]][part, max(low, 0) : min(high, stored)]
        codes[part] = np.pad(read, ((0, 0), (max(-low, 0), max(high - stored, 0))), constant_values=N)
        counted[part] = sequence_features(codes[part, config.shift_bp : config.shift_bp + width], tss)


def sequence_features(codes: np.ndarray, tss: int) -> np.ndarray:
    """Return (genes, features) of (genes, bases) windows: 4-mers of all and of the core, G+C and CpG along the centre, its dinucleotides."""
    core, centre = (codes[:, max(tss - width // 2, 0) : tss + width // 2] for width in (CORE_BP, CENTRE_BP))
    gc, cpg = ((centre == 1) | (centre == 2)), (centre[:, :-1] == 1) & (centre[:, 1:] == 2)
    along = [cells(values, WINDOW_BP) for values in (gc, np.pad(cpg, ((0, 0), (0, 1))))]
    starts = range(0, centre.shape[1] - DINUCLEOTIDE_BP + 1, STEP_BP)
    pairs = [count_words(centre[:, start : start + DINUCLEOTIDE_BP], 2) for start in starts]
    return np.concatenate([count_words(codes, WORD_BP), count_words(core, WORD_BP), *along, *pairs], axis=1)


def cells(values: np.ndarray, width: int) -> np.ndarray:
    """Return (genes, cells) float32 sums of (genes, bases) over cells of `width` bases; what is left over at the end is dropped."""
    count = values.shape[1] // width
    return values[:, : count * width].reshape(len(values), count, width).sum(axis=2, dtype=np.float32)


class Examples:
    """All genes."""

    input_names = explained = ["window", "halflife"]

    def __init__(self, dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> None:
        self.rows, self.columns, self.unit = dataset.text("labels/name"), dataset.genes, dataset.unit(TARGET)
        self.codes, self.words = extracted["codes"], extracted["words"]
        scaled = (halflife(dataset) - state["halflife_mean"].numpy()) / state["halflife_sd"].numpy()
        self.unknown = np.isnan(scaled).any(axis=1)
        self.halflife = torch.from_numpy(np.nan_to_num(scaled).astype(np.float32))
        self.values = torch.from_numpy(np.where(self.unknown, np.nan, dataset.array(TARGET)).T.astype(np.float32))  # (genes, labels)
        self.names = {"halflife": halflife_names(dataset)}
        self.sizes = {"width": int(state["width"]), "halflife": self.halflife.shape[1], "labels": len(self.rows)}
        self.place = {"bins": self.codes.shape[1], "bin_bp": 1, "flank_bp": int(state["tss"]) + config.shift_bp}  # of what shares lie along

    def __len__(self) -> int:
        return len(self.columns)

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, bases) uint8 codes with margins for shifts, and (index, features) half-life in standard deviations."""
        return torch.from_numpy(self.codes[index]), self.halflife[index]

    def continuous(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the same with (index, bases, 4) one-hot numbers."""
        codes, features = self.inputs(index)
        return one_hot(codes), features

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the base frequencies around silent genes in the place of each base, and an average mRNA."""
        codes, features = self.inputs(index)
        return torch.where(codes[:, :, None] == N, 0.0, torch.tensor(BACKGROUND)), torch.zeros_like(features)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, labels)."""
        return self.values[index]

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, features): words, G+C and CpG along the promoter, half-life last."""
        return np.concatenate([self.words[index], self.halflife[index].numpy()], axis=1)


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> Examples:
    """Return the genes as examples."""
    return Examples(dataset, config, state, extracted)


class Model(nn.Module):
    """Bases and half-life features → labels, in units of each label's standard deviation over training genes inside, in its own outside."""

    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__()
        self.width, self.shift, self.test_shifts, self.flipped = (
            sizes["width"],
            config.shift_bp,
            config.test_shifts,
            config.reverse_complement,
        )
        self.trunk = (residual_trunk if config.network == "residual" else pooled_trunk)(config)
        with torch.no_grad():
            inside = self.trunk.eval()(torch.zeros(1, self.width, dtype=torch.uint8)).shape[1] + sizes["halflife"]
        self.trunk.train()
        layers = []
        for units, dropout in zip(config.dense, config.dropouts, strict=True):
            layers += [nn.Linear(inside, units), nn.GELU() if config.network == "residual" else nn.ReLU(), nn.Dropout(dropout)]
            inside = units
        self.head = nn.Sequential(*layers, nn.Linear(inside, sizes["labels"]))
        if config.network == "pooled":
            self.apply(glorot)
        self.register_buffer("mean", torch.zeros(sizes["labels"]))
        self.register_buffer("scale", torch.ones(sizes["labels"]))

    def forward(self, sequence: torch.Tensor, halflife: torch.Tensor) -> torch.Tensor:
        """Read (batch, bases with margins) codes, or (…, 4) numbers, and (batch, features)."""
        if not self.training:
            return torch.stack([self.read(sequence, halflife, shift) for shift in self.test_shifts]).mean(dim=0)
        if self.flipped and float(torch.rand(())) < self.flipped:
            sequence = reverse_complement(sequence)
        return self.read(sequence, halflife, int(torch.randint(-self.shift, self.shift + 1, ())))

    def views(self) -> list[nn.Module]:
        """Return the parts whose mean is predicted, one a shift, for attributions."""
        return [Shifted(self, shift) for shift in self.test_shifts]

    def read(self, sequence: torch.Tensor, halflife: torch.Tensor, shift: int) -> torch.Tensor:
        """Return (batch, labels) of the window that lies `shift` bases downstream."""
        start = self.shift + shift
        return self.mean + self.scale * self.head(torch.cat([self.trunk(sequence[:, start : start + self.width]), halflife], dim=1))


class Shifted(nn.Module):
    """What a network reads at one shift."""

    def __init__(self, model: Model, shift: int) -> None:
        super().__init__()
        self.model, self.shift = model, shift

    def forward(self, sequence: torch.Tensor, halflife: torch.Tensor) -> torch.Tensor:
        """Return (batch, labels)."""
        return self.model.read(sequence, halflife, self.shift)


def pooled_trunk(config: Config) -> nn.Sequential:
    """Return the published convolutions: rectified, each followed by its pool; flattened position by position."""
    layers: list[nn.Module] = [WordConvolution(config.filters[0], config.widths[0], config.pools[0])]
    shapes = zip(config.filters, config.filters[1:], config.widths[1:], config.pools[1:], strict=False)
    for before, filters, width, pool in shapes:
        layers += [nn.Conv1d(before, filters, width, padding="same"), nn.ReLU(), nn.MaxPool1d(pool)]
    return nn.Sequential(*layers, Transposed(), nn.Flatten())


def residual_trunk(config: Config) -> nn.Sequential:
    """Return our convolutions: one of every second base, a pool, three residual blocks, an average pool; flattened."""
    channels = config.filters[0]
    blocks = [Block(channels, dilation) for dilation in (1, 2, 4)]
    first = [Stem(channels, config.widths[0]), nn.MaxPool1d(config.pools[0]), nn.BatchNorm1d(channels), nn.GELU()]
    return nn.Sequential(*first, *blocks, nn.GELU(), nn.AvgPool1d(config.pools[1]), nn.Flatten(), nn.Dropout(0.2))


class Transposed(nn.Module):
    """Positions before channels, as the published weights lie."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, positions, channels) of (batch, channels, positions)."""
        return x.transpose(1, 2)


class Stem(nn.Module):
    """Convolution of one-hot bases with stride 2, as one matrix product, which is faster on a CPU where there are four channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear, self.width = nn.Linear(len(BASES) * width, channels), width

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, bases / 2) of (batch, bases) codes or (batch, bases, 4) numbers."""
        numbers = sequence if sequence.is_floating_point() else one_hot(sequence)
        left = (self.width - 1) // 2
        padded = functional.pad(numbers, (0, 0, left, self.width - 2 - left))
        return self.linear(padded.unfold(1, self.width, 2).flatten(2)).transpose(1, 2)


class Block(nn.Module):
    """Two convolutions beside which the input passes unchanged."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.BatchNorm1d(channels), nn.GELU(), nn.Conv1d(channels, channels, 5, padding="same", dilation=dilation), nn.GELU(),
            nn.Conv1d(channels, channels, 1), nn.Dropout1d(0.1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape, (batch, channels, positions)."""
        return x + self.inside(x)


def glorot(layer: nn.Module) -> None:
    """Set published initial weights: Glorot's, normal in convolutions, uniform in dense layers; no offsets."""
    if isinstance(layer, nn.Conv1d | nn.Linear):
        (nn.init.xavier_normal_ if isinstance(layer, nn.Conv1d) else nn.init.xavier_uniform_)(layer.weight)
        nn.init.zeros_(layer.bias)


def initialise(model: Model, examples: Examples, train: np.ndarray) -> None:
    """Set each label's mean and standard deviation over training genes."""
    values = examples.targets(train).double().numpy()
    scale = np.nanstd(values, axis=0)
    model.mean.copy_(torch.from_numpy(np.nanmean(values, axis=0)))
    model.scale.copy_(torch.from_numpy(np.where(scale > 0, scale, 1.0)))


def rule_inputs(examples: Examples, index: np.ndarray) -> np.ndarray:
    """Return (index, 4-mers and half-life features)."""
    return np.concatenate([examples.words[index, : len(BASES) ** WORD_BP], examples.halflife[index].numpy()], axis=1).astype(np.float64)


def fit_rule(examples: Examples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Fit each label where it is known; the penalty is chosen by generalised cross-validation."""
    x, values = rule_inputs(examples, train), examples.targets(train).double().numpy()
    centre, scale = x.mean(axis=0), x.std(axis=0)
    x = (x - centre) / np.where(scale > 0, scale, 1.0)
    fits = [RidgeCV(ALPHAS).fit(x[known], y[known]) for y, known in zip(values.T, ~np.isnan(values.T), strict=True)]
    weights, offsets = np.column_stack([fit.coef_ for fit in fits]), np.array([fit.intercept_ for fit in fits])
    return {"centre": centre, "scale": np.where(scale > 0, scale, 1.0), "weights": weights, "offset": offsets}


def rule(examples: Examples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, labels)."""
    return (rule_inputs(examples, index) - fitted["centre"]) / fitted["scale"] @ fitted["weights"] + fitted["offset"]
