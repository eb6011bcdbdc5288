"""What a gene's own sequence says of its level: copies of a motif in its promoter, and features of its mRNA."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exprcast.simulation.genome import Genes
from exprcast.simulation.rule import COPY_GAIN, MOST_COPIES, MOTIF, MOTIF_RANGE, OTHER_RANGE, halflife_term
from exprcast.simulation.transcripts import STOP_BP, Transcript
from exprcast.tables import write_table

MOTIF_CODES = np.array(["ACGT".index(base) for base in MOTIF], np.uint8)


class Promoters(NamedTuple):
    """What each gene's sequence adds to its strength, in gene order; log2."""

    starts: list[np.ndarray]  # of each copy: its first base on the gene's strand, counted from the TSS (below 0: upstream)
    halflife: np.ndarray  # (genes,) NaN without a coding part
    other: np.ndarray  # (genes,) what nothing explains

    @property
    def strength(self) -> np.ndarray:
        """Return the sum of all, (genes,)."""
        copies = np.array([len(starts) for starts in self.starts])
        return COPY_GAIN * copies + np.nan_to_num(self.halflife) + self.other


def draw_promoters(genes: Genes, transcripts: list[Transcript], rng: np.random.Generator) -> Promoters:
    """Draw the copies of each gene and what nothing explains; the half-life term follows from its transcripts."""
    copies_rng, other_rng = rng.spawn(2)
    copies = copies_rng.integers(MOST_COPIES, size=len(genes.ids), endpoint=True)
    starts = [draw_starts(count, copies_rng) for count in copies.tolist()]
    return Promoters(starts, halflife_terms(len(genes.ids), transcripts), other_rng.uniform(0, OTHER_RANGE, len(genes.ids)))


def draw_starts(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return where copies begin that don't overlap, (count,), from upstream; every such choice is as likely."""
    spare = len(MOTIF) - 1  # bases of a copy but its first
    room = MOTIF_RANGE[1] - MOTIF_RANGE[0] - spare * count
    return MOTIF_RANGE[0] + np.sort(rng.choice(room, count, replace=False)) + spare * np.arange(count)


def halflife_terms(genes: int, transcripts: list[Transcript]) -> np.ndarray:
    """Return each gene's half-life term by the transcript with the longest coding part, (genes,), NaN without one."""
    longest: dict[int, tuple[int, int, int, int]] = {}  # gene: coding bp, 5' UTR bp, 3' UTR bp, coding exons
    for transcript in transcripts:
        if transcript.coding:
            start, end = transcript.coding[0], transcript.coding[1] + STOP_BP
            found = (end - start, start, transcript.length - end, len(transcript.pieces(start, end)))
            longest[transcript.gene] = max(longest.get(transcript.gene, found), found)
    terms = np.full(genes, np.nan)
    for gene, (coding_bp, _, utr3_bp, exons) in longest.items():
        terms[gene] = halflife_term(exons, coding_bp, utr3_bp)
    return terms


def plant_motif(sense: np.ndarray, starts: np.ndarray) -> None:
    """Write the motif at its places into the bases of MOTIF_RANGE on the gene's strand, where it then is nowhere else.

    No copy can begin inside another one, as no end of the motif is a beginning of it.
    """
    while len(chance := motif_places(sense)):
        sense[chance] = (sense[chance] + 1) % 4
    for start in starts - MOTIF_RANGE[0]:
        sense[start : start + len(MOTIF)] = MOTIF_CODES


def motif_places(sense: np.ndarray) -> np.ndarray:
    """Return where the motif begins in these bases."""
    return np.flatnonzero((sliding_window_view(sense, len(MOTIF)) == MOTIF_CODES).all(axis=1))


def write_promoter_truth(path: Path, genes: Genes, promoters: Promoters, base: np.ndarray) -> None:
    """Write what was planted, and the base levels (genes,) that follow from it."""
    places = [",".join(map(str, starts.tolist())) or None for starts in promoters.starts]
    rows = zip(genes.ids, map(len, promoters.starts), places, promoters.halflife, promoters.other, base, strict=True)
    write_table(path, ["gene", "copies", "starts", "halflife", "other", "base"], rows)
