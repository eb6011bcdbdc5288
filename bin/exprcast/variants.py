"""Variants of a VCF that lie in windows around start sites, and windows with their alternative alleles.

An allele of another length moves the bases behind it. They move away from the start site, which stays at its place: bases at the far end
of the window drop out, or come in from the genome.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pysam

from exprcast.cli import InputError
from exprcast.tables import chrom_aliases, few, read_lines
from exprcast.windows import Site, bounds, fetch

COLUMNS = 5  # of a VCF's eight, CHROM POS ID REF ALT are read
SPELLED = re.compile(r"[ACGTN]+")
SYMBOLIC = re.compile(r"\.|\*|<[^<>]+>|.*[\[\]].*|\.[ACGTN]+|[ACGTN]+\.", re.IGNORECASE)  # none, deleted, named, break-ends
LONGEST_BP = 1_000  # of an allele
CAVEAT = (
    "differences may have the wrong sign, also large ones: across 839 people a sequence network (Enformer) predicted the expression of 599 genes "
    "significantly, of 32.6 % of them in the wrong direction; do not take them for effects in people"
)


class Variant(NamedTuple):
    """One alternative allele; `chrom` is the genome's name."""

    chrom: str
    position: int  # 0-based, of the reference allele's first base
    reference: str
    alternative: str
    name: str

    @property
    def end(self) -> int:
        """Return where the reference allele ends."""
        return self.position + len(self.reference)


class Windows:
    """Start sites by the places of their windows, which are all of one length."""

    def __init__(self, sites: list[Site], upstream_bp: int, downstream_bp: int) -> None:
        self.width = upstream_bp + downstream_bp
        self.by_chrom: dict[str, tuple[list[int], list[int]]] = {}  # starts in order, and the sites' numbers
        for start, number, chrom in sorted((bounds(site, upstream_bp, downstream_bp)[0], i, site.chrom) for i, site in enumerate(sites)):
            starts, numbers = self.by_chrom.setdefault(chrom, ([], []))
            starts.append(start)
            numbers.append(number)

    def over(self, chrom: str, start: int, end: int) -> list[int]:
        """Return the numbers of the sites in whose windows a base from start to end lies."""
        starts, numbers = self.by_chrom.get(chrom, ([], []))
        return numbers[bisect_right(starts, start - self.width) : bisect_left(starts, end)]


def read_variants(path: Path, fasta: pysam.FastaFile, genome: str, windows: Windows) -> tuple[list[Variant], Counter[str]]:
    """Return the distinct alleles that lie in a window, in genome order, and how many others there are of which kind.

    A reference allele that is not the genome's is an InputError.
    """
    sizes = dict(zip(fasta.references, fasta.lengths, strict=True))
    aliases, order = chrom_aliases(sizes), {chrom: number for number, chrom in enumerate(sizes)}
    found: set[Variant] = set()
    others: Counter[str] = Counter()
    strangers: dict[str, None] = {}
    known = 0
    for where, (name, position, identifier, reference, alternatives) in data_rows(path):
        if name not in aliases:
            strangers[name] = None
            others["on chromosomes that the genome lacks"] += len(alternatives)
            continue
        known += 1
        chrom = aliases[name]
        if position + len(reference) > sizes[chrom]:
            raise InputError(
                f"{where}: {name}:{position + 1} is beyond {chrom}, which has {sizes[chrom]:,} bp in {genome}; is this another assembly?"
            )
        if not windows.over(chrom, position, position + len(reference)):
            others["outside all windows"] += len(alternatives)
            continue
        own = fasta.fetch(chrom, position, position + len(reference)).upper()
        if any(ours != theirs for ours, theirs in zip(own, reference, strict=True) if "N" not in (ours, theirs)):
            both = f"{reference[:30]} at {name}:{position + 1}, {genome} has {own[:30]}"
            raise InputError(f"{where}: the reference allele is {both}; is the VCF of another assembly?")
        for alternative in alternatives:
            kind = left_out(own, reference, alternative, where)
            if kind:
                others[kind] += 1
            else:
                found.add(Variant(chrom, position, reference, alternative, identifier))
    if strangers and not known:
        raise InputError(f"{path.name}: no variant is on a known chromosome: it has {few(strangers)}; {genome} has {few(sizes)}")
    return sorted(found, key=lambda one: (order[one.chrom], *one[1:])), others


def data_rows(path: Path) -> Iterator[tuple[str, tuple[str, int, str, str, list[str]]]]:
    """Yield ('file line N', (chromosome, 0-based position, id, reference, alternatives)) of each variant; alleles in upper case."""
    headed = False
    for number, line in read_lines(path):
        where = f"{path.name} line {number}"
        if line.startswith("#"):
            headed |= line.startswith("#CHROM\t")
            continue
        cells = line.split("\t", COLUMNS)[:COLUMNS]
        if not headed or len(cells) < COLUMNS or not cells[1].isdecimal() or len(cells[1]) > 10:
            raise InputError(
                f"{where}: '{line[:40]}' is no variant; a VCF has a header that ends in #CHROM POS ID REF ALT, then such lines"
            )
        chrom, position, identifier, reference, alternatives = cells
        if not SPELLED.fullmatch(reference.upper()):
            raise InputError(f"{where}: reference allele '{reference[:40]}' is not spelled in A, C, G, T and N")
        if position != "0":  # a telomere
            yield where, (chrom, int(position) - 1, identifier, reference.upper(), alternatives.upper().split(","))
    if not headed:
        raise InputError(f"{path.name}: no line that begins with #CHROM; is this a VCF?")


def left_out(own: str, reference: str, alternative: str, where: str) -> str:
    """Return why an allele is not predicted; "" if it is. One that no VCF may hold is an InputError."""
    if SYMBOLIC.fullmatch(alternative):
        return "symbolic, or without an allele that is spelled out"
    if not SPELLED.fullmatch(alternative):
        raise InputError(f"{where}: alternative allele '{alternative[:40]}' is not spelled in A, C, G, T and N")
    if max(len(reference), len(alternative)) > LONGEST_BP:
        return f"longer than {LONGEST_BP:,} bp"
    return "with bases that are not known" if set(own + reference + alternative) - set("ACGT") else ""


def distance_to_tss(site: Site, variant: Variant) -> int:
    """Return where a variant's first base lies from the start site, in bp along the gene's strand; upstream is negative."""
    return (variant.position - site.position) * (1 if site.strand == "+" else -1)


def with_alternative(fasta: pysam.FastaFile, site: Site, variant: Variant, low: int, high: int) -> bytes:
    """Return the bases of the plus strand from low to high of a site's chromosome with the alternative allele.

    Where the start site itself is replaced, the upstream bases stay.
    """
    start, end, bases = shortest(variant)
    if site.position < start or (site.position < end and site.strand == "+"):
        more = high - start - len(bases)  # bases behind the allele
        text = fetch(fasta, site.chrom, low, start) + bases + fetch(fasta, site.chrom, end, end + max(more, 0))
        return text[: high - low]
    more = end - low - len(bases)  # bases before the allele
    text = fetch(fasta, site.chrom, start - max(more, 0), start) + bases + fetch(fasta, site.chrom, end, high)
    return text[len(text) - (high - low) :]


def shortest(variant: Variant) -> tuple[int, int, bytes]:
    """Return which bases from start to end are replaced by which, those that both alleles share at their ends left out."""
    reference, alternative, start = variant.reference, variant.alternative, variant.position
    while reference and alternative and reference[-1] == alternative[-1]:
        reference, alternative = reference[:-1], alternative[:-1]
    while reference and alternative and reference[0] == alternative[0]:
        reference, alternative, start = reference[1:], alternative[1:], start + 1
    return start, start + len(reference), alternative.encode()
