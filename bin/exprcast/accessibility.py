"""Open chromatin as models read it: signals put on one scale, windows of bins around genes, the TSS that training samples use.

A signal s is read as log2(1 + s), then mapped by rank onto the mean profile of the training samples (quantile normalisation:
the k-th strongest bin of any sample gets the mean of the training samples' k-th strongest; closed bins stay 0). Codes are
uint8, 1/16 of that value, so that 1,000 samples × 20,000 genes × 200 bins fit in 4 GB.
"""

import numpy as np

from exprcast.cli import Progress
from exprcast.dataset import Dataset
from exprcast.tables import bin_offsets

CODES_PER_LOG2 = 16
REFERENCE_RANKS = 2048


def log_signal(dataset: Dataset, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one sample's open bins and their log2(1 + signal)."""
    bins, signal = dataset.open_bins(sample)
    return bins, np.log2(1 + signal)


def reference_ranks(longest: int) -> np.ndarray:
    """Return up to 2,048 ranks from 1 to `longest`, dense at the strong end where the profile is steep."""
    return np.unique(np.geomspace(1, max(longest, 1), REFERENCE_RANKS).round().astype(np.int64))


def quantile_reference(dataset: Dataset, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (ranks, values): the mean over `samples` of their k-th strongest log signal; a sample without a k-th counts 0."""
    longest = max(len(dataset.open_bins(sample)[0]) for sample in samples)
    ranks = reference_ranks(longest)
    total = np.zeros(len(ranks))
    for sample in samples:
        strongest = np.sort(log_signal(dataset, sample)[1])[::-1]
        total += np.interp(ranks, np.arange(1, len(strongest) + 1), strongest, right=0.0) if len(strongest) else 0.0
    return ranks, (total / len(samples)).astype(np.float32)


def normalise(values: np.ndarray, reference: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Map log signals onto the reference by rank; equal values share their mean rank, so a BED without signal stays flat."""
    _, place, count = np.unique(-values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return np.interp(np.log(ranks), np.log(reference[0]), reference[1]).astype(np.float32)


def sample_codes(dataset: Dataset, sample: int, reference: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return (all bins of the genome,) uint8 codes of one sample's normalised signal."""
    bins, values = log_signal(dataset, sample)
    codes = np.zeros(bin_offsets(dataset.chrom_sizes, dataset.bin_bp)[-1], dtype=np.uint8)
    codes[bins] = encode(normalise(values, reference))
    return codes


def encode(values: np.ndarray) -> np.ndarray:
    """Return uint8 codes of log2 values; an open bin never becomes 0."""
    return np.clip(np.rint(values * CODES_PER_LOG2), 1, 255).astype(np.uint8)


def choose_tss(dataset: Dataset, samples: np.ndarray, reference: tuple[np.ndarray, np.ndarray], flank_bp: int = 500) -> np.ndarray:
    """Return (genes,) positions: of each gene's TSSs the one with the strongest mean signal within ± flank_bp in `samples`.

    A tie, and a gene without any signal, keeps the gene's first (default) TSS.
    """
    gene, position = dataset.array("tss/gene"), dataset.array("tss/position")
    flank = max(flank_bp // dataset.bin_bp, 0)
    total = np.zeros(len(gene))
    index, inside = window_index(dataset, position, gene, flank)
    for sample in samples:
        total += np.where(inside, sample_codes(dataset, sample, reference)[index], 0).max(axis=1)
    order = np.lexsort((np.arange(len(gene)), -total, gene))
    first = np.unique(gene[order], return_index=True)[1]
    return position[order][first]


def window_index(dataset: Dataset, position: np.ndarray, gene: np.ndarray, flank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return genome-wide bin numbers (positions, 2 · flank + 1) around positions, and which of them lie on the chromosome."""
    names = list(dataset.chrom_sizes)
    chrom = np.array([names.index(name) for name in dataset.text("genes/chrom")])[gene]
    offsets = bin_offsets(dataset.chrom_sizes, dataset.bin_bp)
    index = (offsets[chrom] + position // dataset.bin_bp)[:, None] + np.arange(-flank, flank + 1)
    inside = (index >= offsets[chrom][:, None]) & (index < offsets[chrom + 1][:, None])
    return np.where(inside, index, 0), inside


def extract_windows(
    dataset: Dataset, position: np.ndarray, reference: tuple[np.ndarray, np.ndarray], flank_bp: int, bin_bp: int
) -> np.ndarray:
    """Return (samples, genes, bins) uint8 codes of ± flank_bp around each gene's TSS, upstream first on the gene's own strand.

    Bins of `bin_bp` (a multiple of the stored width) hold the maximum of the stored ones. The bin of the TSS opens the second
    half on both strands. Beyond the chromosome's ends all is closed.
    """
    flank, multiple = flank_bp // dataset.bin_bp, bin_bp // dataset.bin_bp
    index, inside = window_index(dataset, position, np.arange(len(position)), flank)
    minus = np.array([strand == "-" for strand in dataset.text("genes/strand")])
    index = np.where(minus[:, None], index[:, ::-1], index)[:, :-1]
    inside = np.where(minus[:, None], inside[:, ::-1], inside)[:, :-1]
    windows = np.empty((len(dataset.samples), len(position), 2 * flank // multiple), dtype=np.uint8)
    progress = Progress(len(dataset.samples), "samples' windows read")
    for sample in range(len(dataset.samples)):
        codes = np.where(inside, sample_codes(dataset, sample, reference)[index], 0)
        windows[sample] = codes.reshape(len(position), -1, multiple).max(axis=2)
        progress.step(sample + 1)
    return windows


def bin_centres(flank_bp: int, bin_bp: int) -> np.ndarray:
    """Return (bins,) distances in bp of window bins' centres from the TSS, negative upstream."""
    return np.arange(-flank_bp, flank_bp, bin_bp) + bin_bp / 2
