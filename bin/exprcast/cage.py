"""Start sites by CAGE: the base at which most transcripts of a gene's strongest promoter begin."""

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from exprcast.cli import InputError, log
from exprcast.intervals import data_lines, whole_number
from exprcast.tables import chrom_aliases, few, strip_version

PROMOTER = re.compile(r"p\d*@")  # FANTOM5 numbers the promoters of a gene by strength, and joins the names of several genes by commas
STRONGEST = "p1@"


class Place(NamedTuple):
    """Where a gene lies, or a peak that names it; `position` is a start site, 0-based."""

    name: str  # a gene's symbol; of a peak the gene's id or symbol
    chrom: str  # the genome's name for it, if it has that chromosome
    strand: str
    position: int
    score: float = 0.0


def cage_sites(path: Path, genes: dict[str, Place], sizes: dict[str, int]) -> dict[str, int]:
    """Return {gene: position of its CAGE start site}; of several peaks the highest score counts, then the first position.

    Peaks on another chromosome or strand than the gene that they name are left out and counted; genes are named by id or symbol.
    """
    peaks = read_peaks(path, sizes)
    by_symbol = defaultdict(list)
    for gene, place in genes.items():
        by_symbol[place.name].append(gene)
    found: dict[str, list[Place]] = defaultdict(list)
    unknown = elsewhere = 0
    for peak in peaks:
        gene = strip_version(peak.name)
        named = [gene] if gene in genes else by_symbol.get(peak.name, [])
        here = [gene for gene in named if genes[gene][1:3] == peak[1:3]]
        unknown, elsewhere = unknown + (not named), elsewhere + bool(named and not here)
        if here:
            found[min(here, key=lambda gene: abs(genes[gene].position - peak.position))].append(peak)
    if not found:
        both = f"peaks name {few(map(place_text, peaks))}; the genes are {few(map(place_text, genes.values()))}"
        raise InputError(f"{path.name}: no peak belongs to a gene: {both}")
    left_out = f"{unknown:,} peaks name none of them, {elsewhere:,} lie on another chromosome or strand than their gene"
    log.info(f"{path.name}: {len(found):,} of {len(genes):,} genes have a CAGE start site; {left_out}")
    return {gene: min(peaks, key=lambda peak: (-peak.score, peak.position)).position for gene, peaks in found.items()}


def place_text(place: Place) -> str:
    """Return a name with its chromosome and strand."""
    return f"{place.name} ({place.chrom} {place.strand})"


def read_peaks(path: Path, sizes: dict[str, int]) -> list[Place]:
    """Return the peaks of a BED, one a gene that it names: p1@gene if promoters are numbered, else the name itself."""
    aliases = chrom_aliases(sizes)
    rows = list(data_lines(path))
    short = next(((where, cells) for where, cells in rows if len(cells) < 6), None)
    if short is not None or not rows:
        where, found = (short[0], f"{len(short[1])} columns, no strand in column 6") if short else (path.name, "no peak in the file")
        raise InputError(f"{where}: {found}; give FANTOM5's peaks, or a BED of one base a gene with its id or symbol in column 4")
    numbered = any(PROMOTER.match(cells[3]) for _, cells in rows)
    peaks = []
    for where, cells in rows:
        names = cells[3].split(",")
        names = [name.removeprefix(STRONGEST) for name in names if name.startswith(STRONGEST)] if numbered else names
        if names:
            place = (aliases.get(cells[0], cells[0]), cells[5], start_site(cells, where, sizes, aliases), score_of(cells[4]))
            peaks += [Place(name, *place) for name in names]
    if not peaks:
        raise InputError(f"{path.name}: no peak is named {STRONGEST}gene, which is FANTOM5's name for a gene's strongest promoter")
    return peaks


def start_site(cells: list[str], where: str, sizes: dict[str, int], aliases: dict[str, str]) -> int:
    """Return a peak's start site: the one base from thickStart to thickEnd, or that of a BED without them, on both strands."""
    start, end = (whole_number(cell, where) for cell in (cells[6:8] if len(cells) > 7 else cells[1:3]))
    size = sizes.get(aliases.get(cells[0], ""), end)
    if end - start != 1:
        columns = "thickStart to thickEnd" if len(cells) > 7 else "start to end"
        raise InputError(f"{where}: {columns}, {start} to {end}, is {end - start} bp; a start site is one base, counted from 0")
    if not 0 <= start < size:
        raise InputError(f"{where}: position {start} is outside {cells[0]}, which has {size} bp; is this another assembly?")
    if cells[5] not in ("+", "-"):
        raise InputError(f"{where}: strand '{cells[5][:20]}' is neither + nor -; a start site needs one")
    return start


def score_of(cell: str) -> float:
    """Return a peak's score, 0 where none is given."""
    try:
        return float(cell)
    except ValueError:
        return 0.0
