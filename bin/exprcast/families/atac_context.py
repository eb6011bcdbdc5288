"""Open chromatin around a gene, seen against samples whose RNA is known → that gene's expression in a new sample.

For a biologist: to guess how a gene behaves in a population that nobody has sequenced RNA of, look at populations where both were
measured. If the elements around the gene open and close there together with its RNA, believe them here, too; if the new population
resembles one of them over the whole genome, expect that one's RNA; and if many neighbourhoods announce the same gene programme,
believe it for the programme's other genes. exprcast.context turns each of these arguments into numbers (features); a small network,
the same for all genes, learns how far to trust which.

What is learnt must hold for samples that resemble nothing in training. So a training sample is looked at as if its RNA and that of
its whole group were unknown: its references are the other groups' samples (nested reference sets), and in further views of it also the
groups that resemble it most are taken away. The start site of a gene is the one with the strongest signal in training samples.

The network adds three answers: how the gene departs from its known mean, told by all features; for genes whose RNA was never seen,
the same told by chromatin alone, and the gene's level, told by the chromatin of the average reference. Each is a linear function
(fitted by ridge regression at the start and kept) plus one hidden layer. In training, a part of the examples has its RNA hidden to
teach the latter two. Our own design; kernel ridge regression of RNA on ATAC-seq is an old and good idea.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exprcast.accessibility import CODES_PER_LOG2, Scaled, choose_tss, genome_gram, quantile_reference, read_windows, stored_reference
from exprcast.cli import InputError
from exprcast.context import CIS, FEATURES, PROGRAMMES, SIGNALS, WIDE_BP, Reader, compare, kernel_weights, nearer_genes
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.means import nan_mean, same_levels
from exprcast.references import Cohort, Rna, relate, sample_groups
from exprcast.training import Settings

EXAMPLES = "samples×genes"
INPUTS = ("accessibility/bin", "accessibility/signal", "tss/position", "genes/strand", "genes/chrom")
TARGET = "expression/gene"
UNITS = ("tpm", "cpm", "rpkm")
REFERENCES = True
METHODS = (
    "A small network for all genes ({hidden} hidden units beside a linear function) read how the quantile-normalised signal within ± {flank_bp:,} bp "
    "of a gene's start site departs from that of at most {references} training samples with known RNA, what kernel ridge regression on local and "
    "genome-wide similarity predicts from their RNA, and which gene programmes all neighbourhoods together announce. A sample's own group was never "
    "among its references, in training as in prediction; in training (of up to {most_viewed} samples) the most similar groups were left out, too, in "
    "some views."
)
RIDGE = 100.0  # added to the sums of squares of standardised features
FITTED_ON = 400_000  # examples at most that scales and linear starts are fitted on
CLIP = 8.0  # standard deviations


@dataclass
class Config(Settings):
    """Hyper-parameters, chosen on ten blood populations."""

    flank_bp: int = 100_000
    references: int = 16  # that a sample is compared with, the most similar ones
    views: int = 3  # of a training sample: with all its references, and without a third, two thirds of the groups that resemble it most
    most_viewed: int = 64  # training samples; where there are more, they have one view
    hidden: int = 64
    dropout: float = 0.2
    hidden_rna: float = 0.2  # share of training examples that teach what to do without RNA; all but this share where genes are held out
    epochs: int = 8
    patience: int = 3
    batch_size: int = 1_024
    examples_per_epoch: int = 300_000
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        """Raise InputError for a number that cannot be."""
        super().__post_init__()
        for name, least in {"flank_bp": WIDE_BP, "references": 1, "views": 1, "hidden": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} {getattr(self, name)}: {least:,} at least is needed")


PRESETS = {"default": {}, "quick": {"epochs": 2, "hidden": 16, "views": 2}}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training: the quantile reference, each gene's start site, which samples and genes may be looked at, who belongs together."""
    if WIDE_BP % dataset.bin_bp or config.flank_bp % WIDE_BP:
        raise InputError(
            f"atac_context: bins of {dataset.bin_bp} bp or a flank of {config.flank_bp} bp do not fit into {WIDE_BP:,} bp; change --bin_bp"
        )
    groups = np.unique(sample_groups(dataset), return_inverse=True)[1]
    if len(set(groups[rows.samples].tolist())) < 2:
        raise InputError(
            "atac_context: all training samples are one group, so none has a reference; hold out less, or group less with --group_by"
        )
    reference = quantile_reference(dataset, rows.samples)
    return {
        "reference_rank": torch.from_numpy(reference[0]),
        "reference_value": torch.from_numpy(reference[1]),
        "tss": torch.from_numpy(choose_tss(Scaled(dataset, reference), rows.samples)),
        "samples": torch.from_numpy(rows.samples),
        "genes": torch.from_numpy(rows.genes),
        "groups": torch.from_numpy(groups),
    }


def log_expression(dataset: Dataset) -> np.ndarray:
    """Return (samples, genes) log2(unit + 1)."""
    return np.log2(1 + dataset.array(TARGET))


def allowed_rna(values: np.ndarray, state: dict) -> Rna:
    """Return what a fold's training may look at of all expression; samples that training's dataset does not have belong to no group of it."""
    groups = np.full(len(values), -1)
    groups[: len(state["groups"])] = state["groups"].numpy()
    return Rna(values, state["samples"].numpy(), state["genes"].numpy(), groups)


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill signals, windows, the samples' similarity, and the features of every pair in every view; training's, and of samples asked for."""
    shape, rna = (len(dataset.samples), len(dataset.genes)), allowed_rna(log_expression(dataset), state)
    nearer = nearer_genes(dataset, state["tss"].numpy(), config.flank_bp)
    signals = allocate("signals", (*shape, len(SIGNALS)), "f2")
    windows = allocate("windows", (*shape, nearer.shape[1]), "u1")
    reader, scaled = Reader(dataset, config.flank_bp, nearer), Scaled(dataset, stored_reference(state))
    read = np.union1d(rna.training, dataset.asked)
    for sample, codes in zip(read, read_codes(scaled, config, state, read), strict=True):
        around = reader.read(codes)
        signals[sample], windows[sample] = around.signals, np.rint(around.windows * CODES_PER_LOG2)
    gram = allocate("gram", (shape[0], shape[0]), "f8")
    gram[:] = genome_gram(scaled, rna.training)
    roots = kernel_weights(config.flank_bp, nearer)
    scales = allocate("scales", (len(SIGNALS) + len(roots),), "f8")
    cohort = Cohort(signals, windows, gram, rna, roots, scales)
    scales[:] = cohort.usual_scales()
    views = config.views if len(rna.training) <= config.most_viewed else 1
    features = allocate("features", (views, *shape, len(FEATURES)), "f2")
    viewed = [
        (view, sample) for view in range(views) for sample in (np.intersect1d(dataset.asked, rna.training) if view else dataset.asked)
    ]
    pairs = [(sample, cohort.references(sample, config.references, view / views)) for view, sample in viewed]
    cohort.compare(pairs, [features[one] for one in viewed])


def read_codes(scaled: Scaled, config: Config, state: dict, samples: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each sample's codes around all genes, in the dataset's own bins."""
    return read_windows(scaled, samples, state["tss"].numpy(), config.flank_bp, scaled.dataset.bin_bp)


class Examples:
    """All (sample, gene) pairs: number = sample · genes + gene."""

    input_names = ["features", "known"]
    explained = ["features"]
    names = {"features": list(FEATURES)}

    def __init__(self, dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> None:
        self.dataset, self.config, self.state, self.extracted = dataset, config, state, extracted
        self.rows, self.columns = dataset.samples, dataset.genes
        self.unit = f"log2({dataset.unit(TARGET)} + 1)"
        self.values = log_expression(dataset)
        self.tss, self.array, self.sample_gram = state["tss"].numpy(), extracted["features"], extracted["gram"]
        self.rna = allowed_rna(self.values, state)
        self.all_seen = bool(np.isfinite(self.rna.means).any(axis=0).all())
        self.sizes = {"features": len(FEATURES), "cis": len(CIS), "signals": len(SIGNALS), "all_seen": int(self.all_seen)}
        self.sizes |= {"bins": extracted["windows"].shape[2], "bin_bp": WIDE_BP, "flank_bp": config.flank_bp}  # of what is knocked out

    def __len__(self) -> int:
        return self.values.size

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the features of pairs (index, FEATURES), and each gene's known mean (index,), NaN = never seen."""
        return self.read(np.zeros(len(index), dtype=int), index)

    def augmented(self, index: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Return the same of training pairs, one half as they are, the others in a view drawn at random."""
        view = rng.integers(len(self.array), size=len(index)) * rng.integers(2, size=len(index))
        return self.read(view, index)

    def read(self, view: np.ndarray, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return inputs in given views; RNA that was never seen is 0 there."""
        sample, gene = np.divmod(index, len(self.columns))
        return torch.from_numpy(np.nan_to_num(self.array[view, sample, gene].astype(np.float32))), torch.from_numpy(self.known(index)[:, 0])

    def known(self, index: np.ndarray) -> np.ndarray:
        """Return (index, 1) the gene's mean over the training samples of other groups; NaN = never seen."""
        sample, gene = np.divmod(index, len(self.columns))
        return self.rna.means[self.rna.number[sample], gene][:, None]

    def forget(self) -> None:
        """Know no gene's mean: all that were seen have theirs."""
        self.rna.means = same_levels(self.rna.means)

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the inputs of a pair whose chromatin does not depart from its references' and tells nothing."""
        features, known = self.inputs(index)
        first = len(CIS) + len(SIGNALS)
        features[:, : len(SIGNALS)] -= features[:, len(SIGNALS) : len(CIS)]
        features[:, len(SIGNALS) : first] = 0
        told = [i for i, name in enumerate(FEATURES) if i >= first and not name.startswith("rna_")]
        features[:, told] = features[:, [FEATURES.index("rna_near")]]
        features[:, [FEATURES.index(name) for name in PROGRAMMES]] = 0
        return features, known

    def without_bins(self, sample: int, genes: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[torch.Tensor, ...]]]:
        """Yield for each gene its open wide bins, and the inputs as they are (first) and with each of these bins closed.

        What the whole genome and all genes together tell is held as it is.
        """
        config, known = self.config, self.rna.known(sample)
        nearer = nearer_genes(self.dataset, self.tss, config.flank_bp)
        parts = (self.extracted[name] for name in ("signals", "windows", "gram"))
        cohort = Cohort(*parts, self.rna, kernel_weights(config.flank_bp, nearer), self.extracted["scales"])
        reader = Reader(self.dataset, config.flank_bp, nearer)
        around = next(read_codes(Scaled(self.dataset, stored_reference(self.state)), config, self.state, np.array([sample])))
        references = cohort.references(sample, config.references)
        relation = relate(self.sample_gram, sample, references)
        programme = [FEATURES.index(name) for name in PROGRAMMES]
        for gene in genes:
            codes = around[gene]
            opened = np.flatnonzero(codes.reshape(-1, reader.multiple).any(axis=1))
            codes = np.repeat(codes[None], 1 + len(opened), axis=0)
            for row, wide in enumerate(opened, 1):
                codes[row, wide * reader.multiple : (wide + 1) * reader.multiple] = 0
            same = np.full(len(codes), gene)
            background = cohort.background(references, same, relation)
            features = compare(reader.read(codes, same), background, known[same], relation)
            features[:, programme] = self.array[0, sample, gene, programme]
            yield opened, (torch.from_numpy(np.nan_to_num(features)), torch.from_numpy(known[same]))

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, 1) log2(unit + 1)."""
        return torch.from_numpy(self.values.ravel()[index][:, None])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, FEATURES), or those of chromatin alone where genes are held out."""
        return self.inputs(index)[0][:, : None if self.all_seen else len(CIS)].numpy()

    def summary(self, index: np.ndarray) -> np.ndarray:
        """Return (index, FEATURES), NaN where RNA was never seen."""
        sample, gene = np.divmod(index, len(self.columns))
        return self.array[0, sample, gene].astype(np.float32)


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> Examples:
    """Return all pairs of the dataset, read with a fold's state."""
    return Examples(dataset, config, state, extracted)


class Answer(nn.Module):
    """One number from some features: a linear function that `initialise` sets, and one hidden layer that starts at 0."""

    def __init__(self, inputs: int, config: Config) -> None:
        super().__init__()
        for name, value in (("mean", 0.0), ("sd", 1.0), ("slope", 0.0)):
            self.register_buffer(name, torch.full((inputs,), value))
        self.register_buffer("base", torch.zeros(()))
        self.hidden = nn.Linear(inputs, config.hidden)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.hidden, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = ((x - self.mean) / self.sd).clamp(-CLIP, CLIP)  # (batch, inputs)
        return self.base + x @ self.slope + self.out(self.dropout(self.activation(self.hidden(x)))).squeeze(1)  # (batch,)


class Model(nn.Module):
    """The gene's known mean and how it departs from it; for a gene never seen, its level and departure as chromatin tells them."""

    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__()
        self.hidden_rna = config.hidden_rna if sizes["all_seen"] else 1 - config.hidden_rna
        self.signals, self.cis = sizes["signals"], sizes["cis"]
        self.all_told = Answer(sizes["features"], config)
        self.cis_told = Answer(self.cis, config)
        self.level = Answer(self.signals, config)

    def forward(self, features: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        new = torch.isnan(known)
        alone = new.clone()  # told by chromatin alone
        if self.training:
            draw = torch.rand_like(known)
            new, alone = new | (draw < self.hidden_rna / 2), alone | (draw < self.hidden_rna)
        change = torch.where(alone, self.cis_told(features[:, : self.cis]), self.all_told(features))
        level = self.level(features[:, : self.signals] - features[:, self.signals : self.cis])  # of the average reference
        change = torch.where(new, change.detach(), change) if self.training else change
        return (torch.where(new, level, torch.nan_to_num(known)) + change)[:, None]  # (batch, 1)


def initialise(model: Model, examples: Examples, train: np.ndarray) -> None:
    """Set each answer's scales and its linear function by ridge regression; one with nothing to learn from stays as it is."""
    drawn = np.sort(np.random.default_rng(0).choice(train, FITTED_ON, replace=False)) if len(train) > FITTED_ON else train
    features, known = (values.numpy() for values in examples.inputs(drawn))
    y = examples.targets(drawn).numpy()[:, 0]
    kept = ~np.isnan(y)
    drawn, features, known, y = drawn[kept], features[kept], known[kept], y[kept]
    cis, signals = model.cis, model.signals
    most = features[:, FEATURES.index("rna_mean")] + features[:, FEATURES.index("rna_max")]
    heard = most >= 1  # log2(1 + 1 TPM) in some reference: the others are silent, and most of all genes in many cell types
    seen = ~np.isnan(known)
    heard = seen & (heard if heard[seen].any() else True)
    fit_linear(model.all_told, features[heard], (y - known)[heard])
    fit_linear(model.cis_told, features[:, :cis], y - gene_means(drawn % len(examples.columns), y))
    fit_linear(model.level, features[:, :signals] - features[:, signals:cis], y)


def gene_means(gene: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (examples,) the mean of y over all examples of an example's gene."""
    return (np.bincount(gene, y) / np.maximum(np.bincount(gene), 1))[gene]


def fit_linear(answer: Answer, x: np.ndarray, y: np.ndarray) -> None:
    """Set an answer's buffers from (examples, inputs) and (examples,); none of them where there is no example."""
    if not len(y):
        return
    mean, sd = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    sd = np.where(sd > 1e-6, sd, 1.0)
    z = np.clip((x - mean) / sd, -CLIP, CLIP)
    slope = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    for name, values in {"mean": mean, "sd": sd, "slope": slope, "base": y.mean()}.items():
        getattr(answer, name).copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))


def fit_rule(examples: Examples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Fit two slopes: on what the sum of kernels tells, and for genes never seen on the change of the signal within 20 kb."""
    fitted = {"level": np.array(nan_mean(examples.known(train[: 10 * len(examples.columns)])))}
    for name, column in (("sum_all", FEATURES.index("sum_all")), ("change", FEATURES.index("change_contested_20kb"))):
        top, bottom = 0.0, 1e-12
        for part in np.array_split(train, max(1, len(train) // 100_000)):
            x = examples.inputs(part)[0][:, column].numpy().astype(np.float64)
            y = (examples.targets(part).numpy() - examples.known(part))[:, 0]
            top, bottom = top + np.nansum(x * y), bottom + (x[~np.isnan(y)] ** 2).sum()
        fitted[name] = np.array(top / bottom)
    return fitted


def rule(examples: Examples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, 1): the known mean and what kernel ridge regression on local and global similarity tells."""
    features, known = (values.numpy() for values in examples.inputs(index))
    new = fitted["level"] + fitted["change"] * features[:, FEATURES.index("change_contested_20kb")]
    return np.where(np.isnan(known), new, known + fitted["sum_all"] * features[:, FEATURES.index("sum_all")])[:, None]
