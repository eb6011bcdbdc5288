"""A gene's neighbourhood in a sample, seen against reference samples whose RNA is known: numbers that say how the gene may differ here.

Three questions are asked of a (sample, gene) pair. How does the open chromatin around the start site depart from that of the
references (SIGNALS, as they are and as deviations)? If this gene followed its own chromatin in the references, where would that put
it now (slopes, kernels over the ± 100 kb)? And which references does the sample resemble, over the whole genome (global kernels)?
A kernel is a similarity of samples: kernel ridge regression predicts the gene's RNA by the references' RNA, weighted by
similarity. Sums of a local and a global kernel ask both at once.

A sample's own group never is among its references, in training as in prediction, so what the numbers are worth is learnt from
samples that were as unknown as a new one will be. Features of RNA are NaN for genes whose RNA training never saw. What a
reference lacks counts there as its mean over the others.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np

from exprcast.accessibility import CODES_PER_LOG2, bin_centres
from exprcast.dataset import Dataset
from exprcast.means import nan_mean

WIDE_BP = 1_000  # bins of the windows that kernels compare
CONTESTED = 0.3  # a bin weighs so much less for every other gene whose start site is nearer
SIGNALS = (
    "promoter_max", "promoter", "decay_1kb", "decay_5kb", "far", "open",  # of all bins
    "contested_5kb", "contested_20kb", "contested_60kb", "upstream", "downstream",  # bins shared with genes nearer to them
)  # fmt: skip
PROGRAMMES = {  # what all genes together tell, and the evidence that it is read from
    "programme_change": "change_contested_20kb", "programme_slope": "slope_contested_20kb",
    "programme_local": "local_50kb_firm", "programme_sum": "sum_50kb",
}  # fmt: skip
CIS = (*(f"signal_{name}" for name in SIGNALS), *(f"change_{name}" for name in SIGNALS))
RNA = (
    *(f"slope_{name}" for name in SIGNALS),
    "rna_near", "rna_mean", "rna_sd", "rna_max", "rna_min",  # of the references
    "global_kernel", "global_soft", "global_nearest", "local_nearest",
    "local_10kb", "local_50kb", "local_10kb_firm", "local_50kb_firm", "sum_10kb", "sum_50kb", "sum_all",
    *PROGRAMMES,
)  # fmt: skip
FEATURES = (*CIS, *RNA)
EVIDENCE = ("rna_mean", "rna_near", *PROGRAMMES.values())
KERNELS_BP = (10_000, 50_000)
PENALTY, FIRM_PENALTY = 0.1, 1.0  # of kernel ridge regression, in units of the kernel's mean diagonal
SHARE = 0.3  # of a local kernel beside the global one, in sum_all
PROGRAMME_PENALTY = 0.02
GENES_AT_ONCE = 500


class Relation(NamedTuple):
    """How one sample resembles its references over the whole genome."""

    kernel: np.ndarray  # (references + 1, references + 1) centred on the references, their mean variance 1; the sample comes last
    soft: np.ndarray  # (references,) weights that sum to 1
    nearest: int  # place among the references


class Around(NamedTuple):
    """What stands around some genes: in a sample (genes, …), or in several (samples, genes, …)."""

    signals: np.ndarray  # (…, genes, SIGNALS)
    windows: np.ndarray  # (…, genes, wide bins) mean log2 signal, in whole codes


def nearer_genes(dataset: Dataset, position: np.ndarray, flank_bp: int) -> np.ndarray:
    """Return (genes, wide bins) uint8: how many other genes' start sites are nearer to a bin of a gene's window than its own."""
    chrom, minus = np.array(dataset.text("genes/chrom")), np.array([strand == "-" for strand in dataset.text("genes/strand")])
    centres = bin_centres(flank_bp, WIDE_BP)
    counts = np.zeros((len(position), len(centres)), dtype=np.uint8)
    for name in np.unique(chrom):
        genes = np.flatnonzero(chrom == name)
        sites = np.sort(position[genes])
        place = position[genes][:, None] + np.where(minus[genes], -1, 1)[:, None] * centres
        low, high = (np.searchsorted(sites, place + sign * (np.abs(centres) - 1), side) for sign, side in ((-1, "left"), (1, "right")))
        counts[genes] = np.clip(high - low, 0, 255)
    return counts


class Reader:
    """Turns the codes of windows into signals and wide bins; `nearer` as from nearer_genes()."""

    def __init__(self, dataset: Dataset, flank_bp: int, nearer: np.ndarray) -> None:
        self.multiple = WIDE_BP // dataset.bin_bp
        distance = np.abs(bin_centres(flank_bp, dataset.bin_bp))
        self.promoter = distance <= max(500, dataset.bin_bp / 2)
        decays = [np.exp(-distance / decay) for decay in (1_000, 5_000)]
        regions = [distance <= max(1_000, dataset.bin_bp / 2), distance >= 50_000]
        self.weights = np.column_stack([unit_sum(regions[0]), *map(unit_norm, decays), unit_norm(regions[1])]).astype(np.float32)
        place = bin_centres(flank_bp, WIDE_BP)
        wide = [np.exp(-np.abs(place) / decay) for decay in (5_000, 20_000, 60_000)]
        wide += [(place < -2_000) & (place > -50_000), (place > 2_000) & (place < 50_000)]
        self.wide_weights = np.column_stack([unit_norm(weight) for weight in wide]).astype(np.float32)
        self.contested = CONTESTED ** nearer.astype(np.float32)

    def read(self, codes: np.ndarray, genes: slice | np.ndarray = slice(None)) -> Around:
        """Return signals and windows around some genes from the codes (genes, narrow bins) of their windows."""
        narrow = codes.reshape(len(codes), -1, self.multiple)
        sums = reduce(np.add, (narrow[:, :, i] for i in range(self.multiple)), np.zeros(1, np.uint16))  # ten times faster than mean(axis=2)
        windows = sums.astype(np.float32) / CODES_PER_LOG2 / self.multiple
        plain = codes.astype(np.float32) @ (self.weights / CODES_PER_LOG2)
        contested = (windows * self.contested[genes]) @ self.wide_weights
        opened = reduce(np.add, (narrow[:, :, i] > 0 for i in range(self.multiple)), np.zeros(1, np.uint8)).sum(axis=1, dtype=np.float32)
        highest = codes[:, self.promoter].max(axis=1).astype(np.float32) / CODES_PER_LOG2
        signals = np.column_stack([highest, plain, opened / codes.shape[1] * 10, contested])
        return Around(signals, np.rint(windows * CODES_PER_LOG2) / CODES_PER_LOG2)


def unit_sum(weight: np.ndarray) -> np.ndarray:
    """Scale weights to a sum of 1."""
    return weight / max(weight.sum(), 1e-9)


def unit_norm(weight: np.ndarray) -> np.ndarray:
    """Scale weights so that sums of noise have the size of one bin's."""
    return weight / max(np.sqrt((weight.astype(float) ** 2).sum()), 1e-9)


def kernel_weights(flank_bp: int, nearer: np.ndarray) -> list[np.ndarray]:
    """Return for each kernel (genes, wide bins) square roots of its weights: falling with distance, and where other genes are nearer."""
    distance = np.abs(bin_centres(flank_bp, WIDE_BP))
    return [np.sqrt(np.exp(-distance / decay) * CONTESTED ** nearer.astype(np.float32)).astype(np.float32) for decay in KERNELS_BP]


def centre(kernel: np.ndarray) -> np.ndarray:
    """Centre kernels (genes, members, members) on their references: all members but the last."""
    mean = kernel[:, :, :-1].mean(axis=2)
    return kernel - mean[:, :, None] - mean[:, None, :] + mean[:, :-1].mean(axis=1)[:, None, None]


def ridge_weights(kernel: np.ndarray, penalty: np.ndarray | float) -> np.ndarray:
    """Return (…, references) how much each reference counts in kernel ridge regression's prediction for the last member.

    `penalty` is added to the diagonal of centred kernels (…, members, members).
    """
    square = kernel[..., :-1, :-1] + (np.asarray(penalty) + 1e-6)[..., None, None] * np.eye(kernel.shape[-1] - 1)
    return np.linalg.solve(square, kernel[..., :-1, -1:])[..., 0]


def ridge(kernel: np.ndarray, change: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Return (genes,) what it predicts from the references' (references, genes) changes, with kernels (genes, members, members)."""
    return np.einsum("gr,rg->g", ridge_weights(kernel, penalty), change)


def variance(kernel: np.ndarray) -> np.ndarray:
    """Return (genes,) the mean variance of the references in centred kernels."""
    return np.trace(kernel[:, :-1, :-1], axis1=1, axis2=2) / (kernel.shape[1] - 1)


def compare(
    own: np.ndarray,
    others: np.ndarray,
    rna: np.ndarray,
    known: np.ndarray,
    relation: Relation,
    kernels: list[np.ndarray],
    scales: np.ndarray,
) -> np.ndarray:
    """Return (genes, FEATURES) float32 of one sample, without what other genes tell (PROGRAMMES are NaN).

    own (genes, SIGNALS), others (references, genes, SIGNALS), rna (references, genes) log2 units, known (genes,) the gene's mean over all that
    may be looked at; NaN = not measured. `kernels`: the local ones, as from local_kernels(). `scales`: how much signals, then kernels vary on
    average over genes.
    """
    usual = others.mean(axis=0)  # (genes, SIGNALS)
    changes = own - usual
    near = nan_mean(rna, axis=0).astype(np.float32)
    near = np.where(np.isnan(near), known, near)  # measured in training, but in none of the references
    rna_change = np.nan_to_num(rna - near)  # (references, genes)
    deviation = others - usual
    covariance = (deviation * rna_change[:, :, None]).mean(axis=0)
    slopes = covariance / ((deviation**2).mean(axis=0) + scales[: len(SIGNALS)]) * changes
    offset = near - known
    told = [offset, near, rna_change.std(axis=0), rna_change.max(axis=0), rna_change.min(axis=0)]
    predicted = [ridge_weights(relation.kernel, PENALTY) @ rna_change, relation.soft @ rna_change, rna_change[relation.nearest]]
    distance = np.diagonal(kernels[-1], axis1=1, axis2=2)[:, :-1] - 2 * kernels[-1][:, -1, :-1]
    predicted.append(rna_change[distance.argmin(axis=1), np.arange(len(near))])
    spread = [np.maximum(variance(kernel), 1e-3) for kernel in kernels]
    firm = [np.maximum(one, scale) for one, scale in zip(spread, scales[len(SIGNALS) :], strict=True)]
    predicted += [ridge(kernel, rna_change, PENALTY * one) for kernel, one in zip(kernels, spread, strict=True)]
    predicted += [ridge(kernel, rna_change, FIRM_PENALTY * one) for kernel, one in zip(kernels, firm, strict=True)]
    sums = [relation.kernel + kernel / one[:, None, None] for kernel, one in zip(kernels, spread, strict=True)]
    sums.append(relation.kernel + sum(SHARE * kernel / one[:, None, None] for kernel, one in zip(kernels, firm, strict=True)))
    predicted += [ridge(kernel, rna_change, PENALTY * variance(kernel)) for kernel in sums]
    lowest, highest = rna_change.min(axis=0), rna_change.max(axis=0)
    span = highest - lowest  # kernels extrapolate where references hardly differ: no further than as far again as the references reach
    predicted = [np.clip(values, lowest - span, highest + span) for values in predicted]
    of_rna = np.column_stack([slopes, *told, *(values + offset for values in predicted), *[np.full(len(near), np.nan)] * len(PROGRAMMES)])
    of_rna[np.isnan(known)] = np.nan
    return np.column_stack([own, changes, of_rna]).astype(np.float32)


def local_kernels(own: np.ndarray, others: np.ndarray, roots: list[np.ndarray]) -> list[np.ndarray]:
    """Return for each root (genes, members, members) centred inner products of windows (genes, wide bins) and (references, genes, wide bins)."""
    members = np.empty((others.shape[1], len(others) + 1, others.shape[2]), dtype=np.float32)
    members[:, :-1], members[:, -1] = others.transpose(1, 0, 2), own
    members -= others.mean(axis=0)[:, None]
    scaled = (members * root[:, None] for root in roots)
    return [centre((one @ one.transpose(0, 2, 1)).astype(np.float64)) for one in scaled]


class TrainingKernels:
    """What local kernels of training samples around some genes have in common, whatever sample stands beside them."""

    def __init__(self, windows: np.ndarray, roots: list[np.ndarray]) -> None:
        self.mean = windows.mean(axis=0)  # of (samples, genes, wide bins)
        self.moved = np.ascontiguousarray((windows - self.mean).transpose(1, 0, 2))
        self.weights = [root**2 for root in roots]
        scaled = (self.moved * root[:, None] for root in roots)
        self.among = [one @ one.transpose(0, 2, 1) for one in scaled]  # (genes, samples, samples)

    def beside(self, own: np.ndarray, references: np.ndarray) -> list[np.ndarray]:
        """Return what local_kernels() does for a sample's windows (genes, wide bins) and references among the samples, by their places."""
        own = own - self.mean
        kernels = []
        for weight, among in zip(self.weights, self.among, strict=True):
            kernel = np.empty((len(own), len(references) + 1, len(references) + 1))
            weighted = (own * weight)[:, :, None]
            kernel[:, :-1, :-1] = among[:, references[:, None], references]
            kernel[:, -1, :-1] = kernel[:, :-1, -1] = (self.moved @ weighted)[:, references, 0]
            kernel[:, -1, -1] = (own[:, None] @ weighted)[:, 0, 0]
            kernels.append(centre(kernel))
        return kernels


def programmes(features: np.ndarray, told: np.ndarray, rna: np.ndarray) -> None:
    """Fill in, for one sample, what all genes together tell: features (genes, FEATURES) are changed in place.

    Which mixture of the references' RNA (references, genes) explains best the changes that the neighbourhoods announce over all genes? A
    programme that many of them announce is believed for every gene of it. told (genes, EVIDENCE): features in full precision.
    """
    evidence = dict(zip(EVIDENCE, told.T, strict=True))
    seen = ~np.isnan(evidence["rna_mean"])
    change = np.nan_to_num(rna - evidence["rna_mean"])[:, seen]  # (references, genes)
    square = change @ change.T
    square += (PROGRAMME_PENALTY * np.trace(square) / len(square) + 1e-9) * np.eye(len(square))
    for name, source in PROGRAMMES.items():
        announced = evidence[source][seen].astype(np.float64)
        announced -= evidence["rna_near"][seen] if source in RNA[len(SIGNALS) :] else 0  # as departures from the references' mean
        features[seen, FEATURES.index(name)] = np.linalg.solve(square, change @ (announced - announced.mean())) @ change
