"""Open elements, their accessibility in each donor, and the peaks that are called of them in each sample."""

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import Progress
from exprcast.simulation.cohort import Cohort
from exprcast.simulation.genome import CELL_BP, Genes, Genome
from exprcast.simulation.rule import openness

PLANTED_BP, DECOY_BP = 15_000, 40_000
PROMOTER_SHARE, PROMOTER_SD_BP = 0.4, 300
MAX_HALF_BP = 750  # a peak's reach either side of its summit
MEDIAN_SIGNAL, ELEMENT_SD = 20.0, 1.0  # sds of accessibility are of natural logs
BIOSAMPLE_SD, DONOR_SD, REPLICATE_SD = 1.2, 0.4, 0.15
CLOSED_SHARE, CLOSED_FOLD = 0.9, 30  # up to this share of biosamples have an element this many times less open
DEPTH_SD, CALL_SD, THRESHOLD = 0.1, 0.2, 2.0


class Elements(NamedTuple):
    """Open elements in genome order, planted ones and decoys."""

    summit: np.ndarray  # (elements,) int64, genome-wide
    reach: np.ndarray  # (elements, 2) bp from the summit to the left and right end of its peak
    minor: np.ndarray  # (elements, 2) signal of a minor summit left and right over the main one's; 0 = none


class World(NamedTuple):
    """What is true before anything is measured; accessibility lacks the replicate's own part."""

    genome: Genome
    genes: Genes
    elements: Elements
    cohort: Cohort
    log_open: np.ndarray  # (donors, elements) natural log of accessibility


class Calls(NamedTuple):
    """The narrowPeak rows of one sample, in genome order: one a summit."""

    start: np.ndarray  # (rows,) int64, genome-wide
    end: np.ndarray
    summit: np.ndarray
    signal: np.ndarray  # (rows,) float64
    main: np.ndarray  # (rows,) bool, the strongest summit of its peak


def place_elements(genome: Genome, genes: Genes, rng: np.random.Generator) -> Elements:
    """Plant one to four elements near each TSS and put decoys where every TSS is far."""
    counts = np.where(rng.permutation(len(genes.tss)) % 2 == 0, 1, rng.integers(2, 4, len(genes.tss), endpoint=True))
    planted = [tss + spaced(near_tss, count, rng) for tss, count in zip(genes.tss, counts, strict=True)]
    decoys = []
    borders = np.sort(np.concatenate([genes.tss, genome.starts]))
    for low, high in zip(borders[:-1] + DECOY_BP, borders[1:] - DECOY_BP, strict=True):
        if high - low > CELL_BP:
            count = rng.integers(1, 2 + min((high - low) // (4 * CELL_BP), 3))
            decoys.append(spaced(rng.integers, low, high, count))
    summit = np.sort(np.concatenate(planted + decoys))
    reach = rng.integers(100, MAX_HALF_BP, (len(summit), 2))
    has_minor = (reach > MAX_HALF_BP / 3) & (rng.random(reach.shape) < 0.25)
    return Elements(summit, reach, np.where(has_minor, rng.uniform(0.3, 0.8, reach.shape), 0.0))


def near_tss(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distances of planted elements: at the promoter, or anywhere up to PLANTED_BP away on either side."""
    promoter = np.rint(rng.normal(0, PROMOTER_SD_BP, count)).astype(np.int64)
    distal = rng.integers(-PLANTED_BP, PLANTED_BP, count, endpoint=True)
    return np.where(rng.random(count) < PROMOTER_SHARE, promoter, distal)


def spaced(draw: Callable[..., np.ndarray], *arguments: object) -> np.ndarray:
    """Draw positions until no two peaks at them could touch."""
    while True:
        positions = np.sort(draw(*arguments))
        if (np.diff(positions) >= CELL_BP).all():
            return positions


def open_elements(cohort: Cohort, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the natural log of each element's accessibility in each donor, (donors, elements)."""
    own = math.log(MEDIAN_SIGNAL) + ELEMENT_SD * rng.standard_normal(count)
    closed_share = rng.uniform(0, CLOSED_SHARE, count)  # from housekeeping to cell-type specific
    biosample_rng, closed_rng, donor_rng = rng.spawn(3)
    biosample = own + BIOSAMPLE_SD * biosample_rng.standard_normal((len(cohort.biosamples), count))
    biosample -= math.log(CLOSED_FOLD) * (closed_rng.random(biosample.shape) < closed_share)
    return biosample[cohort.biosample] + DONOR_SD * donor_rng.standard_normal((len(cohort.donors), count))


def write_peaks(folder: Path, world: World, noise_peaks: float, seed: np.random.SeedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Call and write each sample's peaks; return the rule's sums (samples, genes) on the truth and on the calls."""
    folder.mkdir()
    genome, genes, elements, cohort, log_open = world
    free = free_cells(genome, elements)
    noise_count = min(round(noise_peaks * len(elements.summit)), len(free))
    true, called = np.empty((2, len(cohort.samples), len(genes.ids)))
    progress = Progress(len(cohort.samples), "samples")
    for number, (sample, child) in enumerate(zip(cohort.samples, seed.spawn(len(cohort.samples)), strict=True)):
        rng = np.random.default_rng(child)
        signal = np.exp(log_open[cohort.donor[number]] + REPLICATE_SD * rng.standard_normal(len(elements.summit)))
        calls = call_peaks(elements, signal, rng.choice(free, noise_count, replace=False), rng)
        true[number] = openness(genes.tss, elements.summit, signal)
        called[number] = openness(genes.tss, calls.summit[calls.main], calls.signal[calls.main])
        write_narrowpeak(folder / f"{sample}.narrowPeak.gz", genome, calls, sample)
        progress.step(number + 1)
    return true, called


def free_cells(genome: Genome, elements: Elements) -> np.ndarray:
    """Return the numbers of the cells of CELL_BP that no element's peak can touch."""
    free = np.ones(genome.starts[-1] // CELL_BP, bool)
    for side in (-MAX_HALF_BP - 100, MAX_HALF_BP + 100):  # 100: more than a summit moves between samples
        free[(elements.summit + side) // CELL_BP] = False
    return np.flatnonzero(free)


def call_peaks(elements: Elements, accessibility: np.ndarray, noise_cells: np.ndarray, rng: np.random.Generator) -> Calls:
    """Return one sample's peaks: of elements with this accessibility (elements,), and noise in each of the cells."""
    count = len(accessibility)
    signal = accessibility * np.exp(DEPTH_SD * rng.standard_normal() + CALL_SD * rng.standard_normal(count))
    summit = elements.summit + np.clip(np.rint(rng.normal(0, 20, count)), -80, 80).astype(np.int64)
    reach = np.clip(np.rint(elements.reach * rng.uniform(0.9, 1.1, (count, 2))), 100, MAX_HALF_BP).astype(np.int64)
    start, end = summit - reach[:, 0], summit + reach[:, 1]
    left, right = summit - reach[:, 0] * 3 // 5, summit + reach[:, 1] * 3 // 5
    weaker = signal[:, None] * elements.minor
    parts = (
        Calls(start, end, summit, signal, np.ones(count, bool)),
        Calls(start, end, left, weaker[:, 0], np.zeros(count, bool)),
        Calls(start, end, right, weaker[:, 1], np.zeros(count, bool)),
        call_noise(noise_cells, rng),
    )
    calls = Calls(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    calls = calls._replace(signal=np.round(calls.signal, 4))  # as written, so that the oracle sees the files' values
    order = np.lexsort((calls.summit, calls.start))
    order = order[calls.signal[order] >= THRESHOLD]
    return Calls(*(column[order] for column in calls))


def call_noise(cells: np.ndarray, rng: np.random.Generator) -> Calls:
    """Return a weak, narrow peak in each of these cells."""
    count = len(cells)
    summit = cells * CELL_BP + rng.integers(300, CELL_BP - 300, count)
    reach = rng.integers(100, 300, (count, 2))
    signal = THRESHOLD * (1 + rng.exponential(0.5, count))
    return Calls(summit - reach[:, 0], summit + reach[:, 1], summit, signal, np.ones(count, bool))


def write_narrowpeak(path: Path, genome: Genome, calls: Calls, sample: str) -> None:
    """Write one sample's rows with MACS's names: peak_7, or peak_8a and peak_8b for two summits of one peak."""
    chrom, start = genome.locate(calls.start)
    new = np.diff(calls.start, prepend=-1) > 0
    number = np.cumsum(new)
    several = np.bincount(number)[number] > 1
    letter = np.arange(len(number)) - np.flatnonzero(new)[number - 1]
    p_value = 3 * calls.signal  # -log10, as rises with the signal
    width, offset = calls.end - calls.start, calls.summit - calls.start
    columns = (chrom, start, width, number, several, letter, calls.signal, p_value, offset)
    lines = [
        f"{genome.names[c]}\t{s}\t{s + w}\t{sample}_peak_{n}{'abc'[i] if many else ''}\t{min(1000, int(10 * (p - 1)))}"
        f"\t.\t{signal:.4f}\t{p:.4f}\t{p - 1:.4f}\t{summit}\n"
        for c, s, w, n, many, i, signal, p, summit in zip(*(column.tolist() for column in columns), strict=True)
    ]
    path.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0))
