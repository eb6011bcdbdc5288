"""Open chromatin as models read it: signals put on one scale, windows of bins around genes, the TSS that training samples use.

A signal s is read as log2(1 + s), then mapped by rank onto the mean profile of the training samples (quantile normalisation:
the k-th strongest bin of any sample gets the mean of the training samples' k-th strongest; closed bins stay 0). Codes are
uint8, 1/16 of that value, so that 1,000 samples × 20,000 genes × 200 bins fit in 4 GB.
"""

from collections.abc import Iterator
from functools import reduce

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exprcast.cli import Progress
from exprcast.dataset import Dataset
from exprcast.tables import bin_offsets

CODES_PER_LOG2 = 16
REFERENCE_RANKS = 2048
GRAM_STEPS = 256  # of similarity, in a log2 of signal
MOST_AT_ONCE, MOST_IN_MEMORY = 12_500_000, 50_000_000  # 100 MB of products; open bins, 400 MB


def log_signal(dataset: Dataset, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one sample's open bins and their log2(1 + signal)."""
    bins, signal = dataset.open_bins(sample)
    return bins, np.log2(1 + signal)


def reference_ranks(longest: int) -> np.ndarray:
    """Return up to 2,048 ranks from 1 to `longest`, dense at the strong end where the profile is steep."""
    return np.unique(np.geomspace(1, max(longest, 1), REFERENCE_RANKS).round().astype(np.int64))


def quantile_reference(dataset: Dataset, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (ranks, values): the mean over `samples` of their k-th strongest log signal; a sample without a k-th counts 0."""
    ranks = reference_ranks(int(np.diff(dataset.array("accessibility/indptr"))[samples].max()))
    total = np.zeros(len(ranks))
    for sample in samples:
        strongest = np.sort(log_signal(dataset, sample)[1])[::-1]
        total += np.interp(ranks, np.arange(1, len(strongest) + 1), strongest, right=0.0) if len(strongest) else 0.0
    return ranks, (total / len(samples)).astype(np.float32)


def stored_reference(state: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference that a family's prepare() keeps in its state."""
    return state["reference_rank"].numpy(), state["reference_value"].numpy()


def normalise(values: np.ndarray, reference: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Map log signals onto the reference by rank; equal values share their mean rank, so a BED without signal stays flat."""
    _, place, count = np.unique(-values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return np.interp(np.log(ranks), np.log(reference[0]), reference[1]).astype(np.float32)


class Scaled:
    """A dataset's open bins with their log signals on a reference's scale.

    Each sample's are worked out once and kept, if those of all samples together are at most `in_memory` bins.
    """

    def __init__(self, dataset: Dataset, reference: tuple[np.ndarray, np.ndarray], in_memory: int = MOST_IN_MEMORY) -> None:
        self.dataset, self.reference = dataset, reference
        self.passes = max(-(-int(dataset.array("accessibility/indptr")[-1]) // in_memory), 1)  # over the genome, to hold so much at once
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def open_bins(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one sample's open bins, ascending, and their values."""
        found = self.kept.get(sample)
        if found is None:
            bins, values = log_signal(self.dataset, sample)
            found = bins, normalise(values, self.reference)
            if self.passes == 1:
                self.kept[sample] = found
        return found


def sample_codes(scaled: Scaled, sample: int, flank: int = 0) -> np.ndarray:
    """Return uint8 codes of one sample's normalised signal in all bins of the genome.

    `flank` closed bins stand before each chromosome and after the last, so that no window of ± flank bins reaches into another one.
    """
    bins, values = scaled.open_bins(sample)
    offsets = bin_offsets(scaled.dataset.chrom_sizes, scaled.dataset.bin_bp)
    codes = np.zeros(offsets[-1] + len(offsets) * flank, dtype=np.uint8)
    codes[bins + np.searchsorted(offsets, bins, side="right") * flank] = encode(values)
    return codes


def encode(values: np.ndarray) -> np.ndarray:
    """Return uint8 codes of log2 values; an open bin never becomes 0."""
    return np.clip(np.rint(values * CODES_PER_LOG2), 1, 255).astype(np.uint8)


def genome_gram(scaled: Scaled, training: np.ndarray, at_once: int = MOST_AT_ONCE) -> np.ndarray:
    """Return (samples, samples) inner products of normalised signals over the whole genome; NaN for two samples that are not in training.

    Signals count in steps of 1/256, so that sums of products are whole numbers that a float64 holds: a product is the same bytes whatever
    other samples stand beside it. `at_once` numbers are multiplied at once. Of large cohorts one part of the genome after the other is
    in memory; all samples are read anew for each.
    """
    count = len(scaled.dataset.samples)
    bounds = np.linspace(0, bin_offsets(scaled.dataset.chrom_sizes, scaled.dataset.bin_bp)[-1], scaled.passes + 1).astype(int)
    products, size = np.zeros((len(training), count)), np.zeros(count)
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        columns = [part_of_sample(scaled, sample, low, high) for sample in range(count)]
        size += [(in_steps(values) ** 2).sum() for _, values in columns]
        starts = np.append(np.arange(low, high, max(at_once // count, 1)), high)
        places = [np.searchsorted(bins, starts.astype(bins.dtype)) for bins, _ in columns]
        for number, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
            parts = [slice(*place[number : number + 2]) for place in places]
            opened = np.zeros(end - start, dtype=bool)  # in some training sample: no other bin counts
            for sample in training:
                opened[columns[sample][0][parts[sample]] - start] = True
            column = np.cumsum(opened, dtype=np.int32) - 1
            block = np.zeros((count, np.count_nonzero(opened)))
            for row, part, (bins, values) in zip(block, parts, columns, strict=True):
                own = bins[part] - start
                inside = opened[own]
                row[column[own[inside]]] = in_steps(values[part][inside])
            products += block[training] @ block.T
    gram = np.full((count, count), np.nan)
    gram[training], gram[:, training] = products, products.T
    np.fill_diagonal(gram, size)
    return gram / GRAM_STEPS**2


def in_steps(values: np.ndarray) -> np.ndarray:
    """Return float64 whole numbers: values in steps of 1/256."""
    return np.rint(values * GRAM_STEPS).astype(np.float64)


def cosine(gram: np.ndarray, samples: np.ndarray | int, others: np.ndarray) -> np.ndarray:
    """Return the cosine of samples' signals with others'; numbers of samples are combined as NumPy does: (3, 1) and (5,) give (3, 5)."""
    size = np.sqrt(np.maximum(np.diag(gram), 1e-12))
    return gram[samples, others] / size[samples] / size[others]


def part_of_sample(scaled: Scaled, sample: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one sample's open bins from low to high, and their normalised signal; the other bins do not stay in memory for it."""
    bins, values = scaled.open_bins(sample)
    part = slice(*np.searchsorted(bins, (low, high)))
    return (bins, values) if scaled.passes == 1 else (bins[part].copy(), values[part].copy())


def choose_tss(scaled: Scaled, samples: np.ndarray, flank_bp: int = 500) -> np.ndarray:
    """Return (genes,) positions: of each gene's TSSs the one with the strongest mean signal within ± flank_bp in `samples`.

    A tie, and a gene without any signal, keeps the gene's first (default) TSS.
    """
    dataset = scaled.dataset
    gene, position = dataset.array("tss/gene"), dataset.array("tss/position")
    flank = flank_bp // dataset.bin_bp
    total, start = np.zeros(len(gene)), window_starts(dataset, position, gene, flank)
    for sample in samples:
        total += sliding_window_view(sample_codes(scaled, sample, flank), 2 * flank + 1)[start].max(axis=1)
    order = np.lexsort((np.arange(len(gene)), -total, gene))
    first = np.unique(gene[order], return_index=True)[1]
    return position[order][first]


def window_starts(dataset: Dataset, position: np.ndarray, gene: np.ndarray, flank: int) -> np.ndarray:
    """Return (positions,) where the windows of ± flank bins around positions on these genes' chromosomes begin in sample_codes(…, flank)."""
    number = {name: i for i, name in enumerate(dataset.chrom_sizes)}
    chrom = np.array([number[name] for name in dataset.text("genes/chrom")])[gene]
    return bin_offsets(dataset.chrom_sizes, dataset.bin_bp)[chrom] + position // dataset.bin_bp + chrom * flank


def read_windows(scaled: Scaled, samples: np.ndarray, position: np.ndarray, flank_bp: int, bin_bp: int) -> Iterator[np.ndarray]:
    """Yield for each sample (genes, bins) uint8 codes of ± flank_bp around each gene's TSS, upstream first on the gene's own strand.

    Bins of `bin_bp` (a multiple of the stored width) hold the maximum of the stored ones. The bin of the TSS opens the second
    half on both strands. Beyond the chromosome's ends all is closed.
    """
    dataset = scaled.dataset
    flank, multiple = flank_bp // dataset.bin_bp, bin_bp // dataset.bin_bp
    minus = np.array([strand == "-" for strand in dataset.text("genes/strand")])
    start = window_starts(dataset, position, np.arange(len(position)), flank) + minus
    progress = Progress(len(samples), "samples' windows read")
    for done, sample in enumerate(samples, 1):
        windows = sliding_window_view(sample_codes(scaled, sample, flank), 2 * flank)[start]
        windows[minus] = windows[minus, ::-1]
        narrow = windows.reshape(len(position), -1, multiple)
        yield reduce(np.maximum, (narrow[:, :, i] for i in range(multiple)))  # ten times faster than max(axis=2)
        progress.step(done)


def bin_centres(flank_bp: int, bin_bp: int) -> np.ndarray:
    """Return (bins,) distances in bp of window bins' centres from the TSS, negative upstream."""
    return np.arange(-flank_bp, flank_bp, bin_bp) + bin_bp / 2
