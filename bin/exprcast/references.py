"""Reference samples: whose RNA may be looked at for a sample, which of them resemble it, and how all its genes compare with them."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from exprcast.accessibility import CODES_PER_LOG2, cosine
from exprcast.cli import Progress
from exprcast.context import EVIDENCE, FEATURES, GENES_AT_ONCE, Around, Background, Relation, compare, programmes
from exprcast.dataset import Dataset
from exprcast.folds import GROUP_COLUMNS, group_samples

SOFTNESS = 10.0  # of the weights that fall with dissimilarity
PAIRS_AT_ONCE = 128


def sample_groups(dataset: Dataset) -> list[str]:
    """Return one group name a sample, by what the folds promise to keep together."""
    keys = [name.replace(":", "/") for name in dataset.promised if name.removeprefix("samples:") in GROUP_COLUMNS]
    columns = {key: dataset.text(key) for key in keys if dataset.has(key)}
    return group_samples(columns) if columns else list(dataset.samples)


class Rna:
    """What may be looked at of expression: log2 values of training pairs, and each gene's mean without a sample's own group."""

    def __init__(self, values: np.ndarray, training: np.ndarray, genes: np.ndarray, groups: np.ndarray) -> None:
        self.training, self.groups = training, groups
        self.values = np.full_like(values, np.nan)
        self.values[np.ix_(training, genes)] = values[np.ix_(training, genes)]
        self.group = np.where(np.isin(np.arange(len(values)), training), groups, -1)  # −1: not in training
        self.number = np.unique(self.group, return_inverse=True)[1]  # of each sample's row in `means`
        self.means = means_of_others(self.values, self.number)

    def known(self, sample: int) -> np.ndarray:
        """Return (genes,) means over the training samples of other groups; NaN = never seen."""
        return self.means[self.number[sample]]

    def candidates(self, sample: int) -> np.ndarray:
        """Return the training samples of other groups."""
        return self.training[self.groups[self.training] != self.group[sample]]


def means_of_others(values: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return (groups, genes) float32: for each numbered group the genes' means over all samples of other groups; NaN = none has a value."""
    sums, counts = (np.zeros((number.max() + 1, values.shape[1])) for _ in range(2))
    np.add.at(sums, number, np.nan_to_num(values, nan=0.0))
    np.add.at(counts, number, ~np.isnan(values))
    with np.errstate(invalid="ignore"):
        return ((sums.sum(axis=0) - sums) / (counts.sum(axis=0) - counts)).astype(np.float32)


def choose_references(gram: np.ndarray, sample: int, candidates: np.ndarray, groups: np.ndarray, most: int, cut: float = 0.0) -> np.ndarray:
    """Return up to `most` candidates that resemble the sample most, ascending; `cut` leaves out that share of groups, the most similar first."""
    similarity = cosine(gram, sample, candidates)
    order = candidates[np.argsort(-similarity, kind="stable")]
    if cut:
        names = list(dict.fromkeys(groups[order].tolist()))
        order = order[~np.isin(groups[order], names[: min(round(cut * len(names)), len(names) - 2)])] if len(names) > 2 else order
    return np.sort(order[:most])


def relate(gram: np.ndarray, sample: int, references: np.ndarray) -> Relation:
    """Return how a sample resembles its references."""
    members = np.append(references, sample)
    kernel = gram[np.ix_(members, members)]
    mean = kernel[:, :-1].mean(axis=1)
    kernel = kernel - mean[:, None] - mean + mean[:-1].mean()
    similarity = cosine(gram, sample, references)
    soft = np.exp(SOFTNESS * (similarity - similarity.max()))
    kernel = kernel / max(np.trace(kernel[:-1, :-1]) / len(references), 1e-9)
    return Relation(kernel, soft / soft.sum(), int(similarity.argmax()))


class Cohort:
    """All samples' neighbourhoods, and how a sample is compared with others."""

    def __init__(
        self, signals: np.ndarray, windows: np.ndarray, gram: np.ndarray, rna: Rna, roots: list[np.ndarray], scales: np.ndarray
    ) -> None:
        self.signals, self.windows, self.gram, self.rna, self.roots = signals, windows, gram, rna, roots
        self.scales = scales  # as from usual_scales(); may be filled later
        self.blocks = [slice(start, start + GENES_AT_ONCE) for start in range(0, signals.shape[1], GENES_AT_ONCE)]

    def usual_scales(self, most: int = 32) -> np.ndarray:
        """Return how much each signal, then each kernel varies over training samples (up to 32 of them), on average over genes."""
        training, genes = self.rna.training, self.signals.shape[1]
        chosen = training[np.linspace(0, len(training) - 1, min(most, len(training))).astype(int)]
        of_signals, of_kernels = np.zeros(self.signals.shape[2]), np.zeros(len(self.roots))
        for block in self.blocks:
            around = self.around(chosen, block)
            of_signals += around.signals.var(axis=0).sum(axis=0)
            spread = around.windows.var(axis=0)
            of_kernels += [(spread * root[block] ** 2).sum() for root in self.roots]
        return np.maximum(np.concatenate([of_signals, of_kernels]) / genes, 1e-6)

    def references(self, sample: int, most: int, cut: float = 0.0) -> np.ndarray:
        """Return the references of a sample; `cut` as in choose_references()."""
        return choose_references(self.gram, sample, self.rna.candidates(sample), self.rna.groups, most, cut)

    def around(self, samples: int | np.ndarray, genes: slice | np.ndarray) -> Around:
        """Return what stands around some genes in a sample, or in several."""
        return Around(self.signals[samples, genes].astype(np.float32), self.windows[samples, genes] / np.float32(CODES_PER_LOG2))

    def compare(self, pairs: Sequence[tuple[int, np.ndarray]], features: Sequence[np.ndarray]) -> None:
        """Fill (genes, FEATURES) of each sample against its references."""
        progress = Progress(len(pairs), "samples compared with their references")
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            self.compare_some(pairs[part], features[part])
            progress.step(min(start + PAIRS_AT_ONCE, len(pairs)))

    def compare_some(self, pairs: Sequence[tuple[int, np.ndarray]], features: Sequence[np.ndarray]) -> None:
        """Do so for pairs whose evidence has room in memory, one block of genes after the other."""
        relations = [relate(self.gram, *pair) for pair in pairs]
        told = np.empty((len(pairs), self.signals.shape[1], len(EVIDENCE)), dtype=np.float32)
        columns = [FEATURES.index(name) for name in EVIDENCE]

        def chosen(number: int) -> list[int]:
            return pairs[number][1].tolist()

        alike = groupby(sorted(range(len(pairs)), key=chosen), key=chosen)
        groups = [list(group) for _, group in alike]  # of pairs with the same references
        for genes in self.blocks:
            for group in groups:
                background = self.background(pairs[group[0]][1], genes, relations[group[0]])
                for number in group:
                    sample = pairs[number][0]
                    found = compare(self.around(sample, genes), background, self.rna.known(sample)[genes], relations[number])
                    features[number][genes], told[number, genes] = found, found[:, columns]
        for (_, references), out, exact in zip(pairs, features, told, strict=True):
            programmes(out, exact, self.rna.values[references])

    def background(self, references: np.ndarray, genes: slice | np.ndarray, relation: Relation) -> Background:
        """Return what references tell about some genes."""
        rows = references if isinstance(genes, slice) else references[:, None]
        roots = [root[genes] for root in self.roots]
        return Background(self.around(rows, genes), self.rna.values[rows, genes], relation.kernel[:-1, :-1], roots, self.scales)
