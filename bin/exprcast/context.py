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


def dual(square: np.ndarray, change: np.ndarray, penalty: np.ndarray | float) -> np.ndarray:
    """Return (genes, references) dual coefficients of kernel ridge regression of the references' (references, genes) changes.

    `penalty` is added to the diagonal of centred kernels (genes, references, references). The sum of coefficients times a sample's similarity
    to each reference is what is predicted for it.
    """
    return np.linalg.solve(square + (np.asarray(penalty) + 1e-6)[..., None, None] * np.eye(square.shape[-1]), change.T[:, :, None])[..., 0]


class Local:
    """How alike references' windows around some genes are, and a sample's to them; weighted inner products, centred on the references."""

    def __init__(self, windows: np.ndarray, root: np.ndarray, scale: float) -> None:
        """windows (genes, references, wide bins) as departures from their mean, root (genes, wide bins) as from kernel_weights()."""
        self.weight, scaled = root**2, windows * root[:, None]
        kernel = (scaled @ scaled.transpose(0, 2, 1)).astype(np.float64)
        self.mean = kernel.mean(axis=2)  # nothing but rounding, as windows are departures
        self.whole = self.mean.mean(axis=1)[:, None]
        self.square = kernel - self.mean[:, :, None] - self.mean[:, None] + self.whole[:, :, None]
        self.spread = np.maximum(mean_variance(self.square), 1e-3)
        self.firm = np.maximum(self.spread, scale)

    def similarity(self, own: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """Return (genes, references) of a sample's window (genes, wide bins) to the references', both as departures from these's mean."""
        found = (windows @ (own * self.weight)[:, :, None])[:, :, 0].astype(np.float64)
        return found - found.mean(axis=1)[:, None] - self.mean + self.whole


def mean_variance(square: np.ndarray) -> np.ndarray:
    """Return (…) the mean variance of the references in centred kernels (…, references, references)."""
    return np.trace(square, axis1=-2, axis2=-1) / square.shape[-1]


class Background:
    """What references tell about some genes, whatever sample is compared with them; most of the work of a comparison is done here.

    around: (references, genes, …); rna (references, genes) log2 units, NaN = not measured; kernel (references, references): how they resemble
    each other over the whole genome, as in Relation; roots as from kernel_weights(); scales: how much signals, then kernels vary on average
    over genes.
    """

    def __init__(self, around: Around, rna: np.ndarray, kernel: np.ndarray, roots: list[np.ndarray], scales: np.ndarray) -> None:
        self.usual = around.signals.mean(axis=0)  # (genes, SIGNALS)
        self.near = nan_mean(rna, axis=0).astype(np.float32)
        self.change = np.nan_to_num(rna - self.near)  # (references, genes)
        deviation = around.signals - self.usual
        covariance = (deviation * self.change[:, :, None]).mean(axis=0)
        self.slopes = covariance / ((deviation**2).mean(axis=0) + scales[: len(SIGNALS)])
        self.usual_window = around.windows.mean(axis=0)
        self.windows = np.ascontiguousarray((around.windows - self.usual_window).transpose(1, 0, 2))  # (genes, references, wide bins)
        self.local = [Local(self.windows, root, scale) for root, scale in zip(roots, scales[len(SIGNALS) :], strict=True)]
        squares = [one.square for one in self.local]
        self.coefficients = [  # (genes, references) each
            *(dual(one.square, self.change, PENALTY * one.spread) for one in self.local),
            *(dual(one.square, self.change, FIRM_PENALTY * one.firm) for one in self.local),
            *(dual(square, self.change, PENALTY * mean_variance(square)) for square in self.sums(kernel, squares)),
        ]
        self.everywhere = np.linalg.solve(kernel + (PENALTY + 1e-6) * np.eye(len(kernel)), self.change)  # (references, genes)

    def sums(self, everywhere: np.ndarray, local: list[np.ndarray]) -> list[np.ndarray]:
        """Return the similarity over the whole genome (…) with each local one (genes, …), then with a share of all of them."""
        alone = [everywhere + (part.T / one.spread).T for one, part in zip(self.local, local, strict=True)]
        return [*alone, everywhere + sum((SHARE * part.T / one.firm).T for one, part in zip(self.local, local, strict=True))]

    def predict(self, own: np.ndarray, relation: Relation) -> list[np.ndarray]:
        """Return (genes,) changes as each similarity of a sample's windows (genes, wide bins) to the references' tells them, in the order of RNA."""
        moved, everywhere = own - self.usual_window, relation.kernel[-1, :-1]
        alike = [one.similarity(moved, self.windows) for one in self.local]
        distance = np.diagonal(self.local[-1].square, axis1=1, axis2=2) - 2 * alike[-1]
        told = zip(self.coefficients, [*alike, *alike, *self.sums(everywhere, alike)], strict=True)
        return [
            everywhere @ self.everywhere,
            relation.soft @ self.change,
            self.change[relation.nearest],
            self.change[distance.argmin(axis=1), np.arange(len(own))],
            *(np.einsum("gr,gr->g", coefficients, similarity) for coefficients, similarity in told),
        ]


def compare(own: Around, background: Background, known: np.ndarray, relation: Relation) -> np.ndarray:
    """Return (genes, FEATURES) float32 of one sample, without what other genes tell (PROGRAMMES are NaN).

    known (genes,): the gene's mean over all that may be looked at; NaN = not measured.
    """
    changes, rna_change = own.signals - background.usual, background.change
    near = np.where(np.isnan(background.near), known, background.near)  # measured in training, but in none of the references
    offset, lowest, highest = near - known, rna_change.min(axis=0), rna_change.max(axis=0)
    told = [offset, near, rna_change.std(axis=0), highest, lowest]
    span = highest - lowest  # kernels extrapolate where references hardly differ: no further than as far again as the references reach
    predicted = [np.clip(values, lowest - span, highest + span) + offset for values in background.predict(own.windows, relation)]
    of_rna = np.column_stack([background.slopes * changes, *told, *predicted, *[np.full(len(near), np.nan)] * len(PROGRAMMES)])
    of_rna[np.isnan(known)] = np.nan
    return np.column_stack([own.signals, changes, of_rna]).astype(np.float32)


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
