"""The rule that joins accessibility and expression: what each element in a gene's window weighs."""

import numpy as np

WINDOW_BP, DECAY_BP, HALF_SIGNAL, GAIN = 100_000, 9_000, 20.0, 3.0


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
