"""The rule that joins sequence, accessibility and expression: what an element in a gene's window weighs, what an mRNA's features do."""

import math

import numpy as np

WINDOW_BP, DECAY_BP, HALF_SIGNAL, GAIN = 100_000, 9_000, 20.0, 3.0

MOTIF = "CCGGAAGT"  # as ETS factors bind; another word on the other strand
MOTIF_RANGE = (-200, -30)  # half-open, in bp from the TSS on the gene's strand
MOST_COPIES, COPY_GAIN = 3, 1.25  # of a gene; log2 a copy
EXON_GAIN, UTR3_GAIN = 7.0, -2.5  # log2 a tenfold exon density of the coding part, or length of the 3' UTR
USUAL_DENSITY, USUAL_UTR3_BP = 5.0, 275.0  # coding exons a kb, bp: these leave the level as it is
OTHER_RANGE = 3.0  # log2: what nothing explains is uniform from 0


def weigh(distance: np.ndarray) -> np.ndarray:
    """Return what an open element weighs at these distances in bp from the TSS, either side."""
    return np.exp(-np.abs(distance) / DECAY_BP)


def openness(tss: np.ndarray, summit: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return the rule's sum for each gene; summits must be sorted."""
    gene, peak = pairs_within(tss, summit)
    return np.bincount(gene, weigh(summit[peak] - tss[gene]) * (signal / (signal + HALF_SIGNAL))[peak], len(tss))


def pairs_within(tss: np.ndarray, summit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (gene, summit) of all pairs within WINDOW_BP; no window leaves its chromosome (genome.MARGIN_BP)."""
    first = np.searchsorted(summit, tss - WINDOW_BP, side="left")
    count = np.searchsorted(summit, tss + WINDOW_BP, side="right") - first
    gene = np.repeat(np.arange(len(tss)), count)
    return gene, np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)


def halflife_term(coding_exons: int, coding_bp: int, utr3_bp: int) -> float:
    """Return the log2 by which a stable mRNA (many exons, a short 3' UTR) stands above the usual one."""
    density = 1000 * coding_exons / coding_bp
    return EXON_GAIN * math.log10(density / USUAL_DENSITY) + UTR3_GAIN * math.log10(utr3_bp / USUAL_UTR3_BP)
