"""Eight features of a gene's mRNA that stand for how long it lives: lengths, GC and exon density of its representative transcript.

The coding part (ORF) is what CDS and stop_codon rows cover together: a GTF of Ensembl or GENCODE leaves the stop codon out of the
CDS, one made of a GFF3 has it inside, and both come out the same. Untranslated regions are the other exon bases before and behind
it, introns the rest of the transcript's span.

Held against the published table (Ensembl 90; lengths as log10 z-scores, whose mean and SD a linear fit gives back) for the 211
genes of a chr21 GTF that it lists, every difference is of one of these kinds (tests/test_halflife.py):
* a published segment is end - start of a closed interval and lacks a base; published CDS lack the stop codon, too. So UTR5LEN,
  CDSLEN and UTR3LEN are ours less the number of segments, and CDSLEN 3 less than that;
* what segments lack was counted as intron, less the one base that the span lacks: INTRONLEN is that much longer;
* ORFEXONDENSITY has that CDSLEN below the line: 0.9 % above ours in the median;
* two genes' transcripts end before a stop codon, so that nothing is to be left out; one gene's ends a base later there.
The representative transcript was the same in all of them, and GC, where the bases are at hand, to the last digit: of the whole
ORF, stop codon included.
"""

import re
from typing import NamedTuple

import numpy as np

from exprcast.gtf import Annotation
from exprcast.tables import chrom_aliases

FEATURES = ("UTR5LEN", "CDSLEN", "INTRONLEN", "UTR3LEN", "UTR5GC", "CDSGC", "UTR3GC", "ORFEXONDENSITY")
HISTONE = re.compile(r"HIST|Hist|^(H1-|H1f|H[23][ABC]|H4C|H[23][abc]|H4[cf])\S*\d")  # old names, then new ones of human and mouse


class Models(NamedTuple):
    """Transcripts with a coding part, one a row; lengths in bp."""

    transcript: np.ndarray  # (models,) number in the annotation
    orf: np.ndarray  # (models, 2) first coding base and the end of the last
    span: np.ndarray  # (models,) introns included
    utr5_bp: np.ndarray
    orf_bp: np.ndarray
    utr3_bp: np.ndarray
    orf_exons: np.ndarray
    exons: list[np.ndarray]  # (exons, 2) of each


def coding_models(annotation: Annotation) -> Models:
    """Return what the coding transcripts of an annotation are made of."""
    count = len(annotation.transcripts)
    coding = united(annotation.coding)
    coded = np.unique(coding[:, 0])
    exons = united(np.concatenate([annotation.exons, annotation.coding]))
    exons = exons[np.isin(exons[:, 0], coded)]
    orf, spans = extents(coding, count), extents(exons, count)
    number, start, end = exons.T
    before = sums(number, np.clip(orf[number, 0], start, end) - start, count)
    behind = sums(number, end - np.clip(orf[number, 1], start, end), count)
    minus = np.array([row.strand == "-" for row in annotation.transcripts], bool)
    lengths = (np.where(minus, behind, before), sums(coding[:, 0], coding[:, 2] - coding[:, 1], count), np.where(minus, before, behind))
    orf_exons = np.bincount(coding[:, 0], minlength=count)
    parts = np.split(exons[:, 1:], np.flatnonzero(np.diff(number)) + 1)
    return Models(coded, orf[coded], np.diff(spans[coded])[:, 0], *(bp[coded] for bp in lengths), orf_exons[coded], parts)


def united(rows: np.ndarray) -> np.ndarray:
    """Return rows of (transcript, start, end), in order, those of one transcript that touch or overlap as one."""
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    if not len(rows):
        return rows
    room = int(rows[:, 2].max()) + 1  # transcripts laid end to end, so that one pass finds how far the rows before reach
    starts, ends = rows[:, 0] * room + rows[:, 1], np.maximum.accumulate(rows[:, 0] * room + rows[:, 2])
    first = np.flatnonzero(np.append(True, starts[1:] > ends[:-1]))
    last = np.append(first[1:], len(rows)) - 1
    return np.column_stack([rows[first, 0], rows[first, 1], ends[last] - rows[first, 0] * room])


def extents(rows: np.ndarray, count: int) -> np.ndarray:
    """Return where the rows of each of so many transcripts start and end, (count, 2); 0 of those without."""
    found = np.zeros((count, 2), np.int64)
    first = np.flatnonzero(np.append(True, np.diff(rows[:, 0]) > 0)[: len(rows)])
    last = np.append(first[1:], len(rows)) - 1
    found[rows[first, 0]] = np.column_stack([rows[first, 1], rows[last, 2]])
    return found


def sums(number: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of each transcript's values, (count,) int64."""
    total = np.zeros(count, np.int64)
    np.add.at(total, number, values)
    return total


def representatives(annotation: Annotation, models: Models, genes: dict[str, tuple[str, str]], sizes: dict[str, int]) -> dict[str, int]:
    """Return {gene: row of its representative transcript}; `genes` says on which chromosome and strand each one lies.

    Longest coding part among transcripts with a 5' UTR, else of all; then the longest 5' UTR, the longest 3' UTR, the first id.
    """
    aliases = chrom_aliases(sizes)
    best: dict[str, tuple[tuple[bool, int, int, int], str, int]] = {}
    keys = zip((models.utr5_bp > 0).tolist(), models.orf_bp.tolist(), models.utr5_bp.tolist(), models.utr3_bp.tolist(), strict=True)
    for row, (number, key) in enumerate(zip(models.transcript.tolist(), keys, strict=True)):
        transcript = annotation.transcripts[number]
        if genes.get(transcript.gene) == (aliases.get(transcript.chrom), transcript.strand):
            known = best.get(transcript.gene)
            if known is None or key > known[0] or (key == known[0] and transcript.transcript < known[1]):
                best[transcript.gene] = (key, transcript.transcript, row)
    return {gene: row for gene, (_, _, row) in best.items()}


def measure(models: Models, row: int, strand: str, bases: str) -> list[float]:
    """Return the eight features of one transcript; `bases` are those of its span on the plus strand."""
    exons, (first, last) = models.exons[row], models.orf[row].tolist()
    origin = int(exons[0, 0])
    parts = [
        "".join(bases[start - origin : end - origin] for start, end in np.clip(exons, *limits).tolist())
        for limits in ((origin, first), (first, last), (last, int(exons[-1, 1])))
    ]
    utr5, orf, utr3 = parts if strand == "+" else parts[::-1]
    lengths = [int(bp[row]) for bp in (models.utr5_bp, models.orf_bp, models.utr3_bp)]
    intron_bp = int(models.span[row]) - sum(lengths)
    density = round(1000 * int(models.orf_exons[row]) / lengths[1], 2)
    return [*lengths[:2], intron_bp, lengths[2], gc_fraction(utr5), gc_fraction(orf), gc_fraction(utr3), density]


def gc_fraction(bases: str) -> float:
    """Return the share of G and C among known bases, to 3 decimals: 0 of no bases, NaN where all are N."""
    if not bases:
        return 0.0
    bases = bases.upper()
    strong, weak = (sum(map(bases.count, letters)) for letters in ("GC", "AT"))
    return round(strong / (strong + weak), 3) if strong + weak else float("nan")


def is_histone(symbol: str) -> bool:
    """Say whether a gene's name is a histone's: most of their mRNAs have no poly-A tail, so that libraries that select it miss them."""
    return HISTONE.search(symbol) is not None
