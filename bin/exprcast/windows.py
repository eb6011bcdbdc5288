"""Windows of a genome around start sites, read along the gene's strand: the start site is the same base of each, on both strands."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysam

from exprcast.cli import InputError
from exprcast.intervals import data_lines, whole_number
from exprcast.tables import chrom_aliases, few, refuse_duplicates

# Bases in upper case; whatever is not A, C, G or T becomes N.
UPPER = bytes(ord(chr(code).upper()) if chr(code) in "ACGTacgt" else ord("N") for code in range(256))
COMPLEMENT = UPPER.translate(bytes.maketrans(b"ACGT", b"TGCA"))
CODES = bytes("ACGT".find(chr(code)) % 5 for code in UPPER)  # A C G T N = 0…4
BED6 = 6


class Site(NamedTuple):
    """A start site; `chrom` is the genome's name."""

    name: str
    chrom: str
    strand: str
    position: int  # 0-based


def read_sites(path: Path, sizes: dict[str, int], genome: str) -> list[Site]:
    """Read start sites from a BED file with six columns and intervals of one base, in genome order; a site named `.` is named by its place."""
    aliases, order, sites = chrom_aliases(sizes), {chrom: number for number, chrom in enumerate(sizes)}, []
    for where, cells in data_lines(path):
        if len(cells) < BED6:
            raise InputError(f"{where}: {len(cells)} columns; six are needed, the last is the strand")
        start, end = (whole_number(cell, where) for cell in cells[1:3])
        if end - start != 1:
            raise InputError(f"{where}: {start} to {end} is no single base; give each start site as an interval of one base")
        if cells[0] not in aliases:
            raise InputError(f"{where}: the site is on {cells[0][:40]}; {genome} has {few(sizes)}")
        if cells[5] not in ("+", "-"):
            raise InputError(f"{where}: strand '{cells[5][:20]}' is neither + nor -")
        chrom = aliases[cells[0]]
        if not 0 <= start < sizes[chrom]:
            raise InputError(f"{where}: base {start} is not on {chrom}, which has {sizes[chrom]} bp in {genome}; is this another assembly?")
        sites.append(Site(cells[3] if cells[3] != "." else f"{chrom}:{start}-{end}({cells[5]})", chrom, cells[5], start))
    if not sites:
        raise InputError(f"{path.name}: no start sites in the file")
    refuse_duplicates((site.name for site in sites), f"{path.name}: site")
    return sorted(sites, key=lambda site: (order[site.chrom], site.position, site.strand, site.name))


def bounds(site: Site, upstream_bp: int, downstream_bp: int) -> tuple[int, int]:
    """Return where on the chromosome a window starts and ends; the start site is the first of the downstream bases."""
    if site.strand == "+":
        return site.position - upstream_bp, site.position + downstream_bp
    return site.position - downstream_bp + 1, site.position + upstream_bp + 1


def fetch(fasta: pysam.FastaFile, chrom: str, start: int, end: int) -> bytes:
    """Return the bases from start to end of a chromosome, N where it overhangs."""
    bases = fasta.fetch(chrom, max(start, 0), max(end, 0)).encode()
    left = min(max(-start, 0), end - start)
    return b"N" * left + bases + b"N" * (end - start - left - len(bases))


def along(bases: bytes, strand: str) -> bytes:
    """Return bases of the plus strand as they are read on a strand, A C G T and N only."""
    return bases.translate(UPPER) if strand == "+" else bases.translate(COMPLEMENT)[::-1]


def encode(bases: bytes) -> np.ndarray:
    """Return (bases,) uint8 codes A C G T N = 0…4."""
    return np.frombuffer(bases.translate(CODES), np.uint8)
