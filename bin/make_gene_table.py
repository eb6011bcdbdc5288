#!/usr/bin/env python3
"""Make the gene table: a TSV or BED of transcription start sites → genes.tsv and tss.tsv, by position in the genome."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from exprcast.cli import InputError, log, run, write_versions
from exprcast.tables import chrom_aliases, read_chrom_sizes, read_lines, read_table, strip_version, write_table

ID_COLUMNS = ("id", "gene_id", "gene")  # of a TSV, the first one present
TSV_COLUMNS = ("chrom", "strand", "tss")
ANNOTATIONS = (".gtf", ".gtf.gz", ".gff", ".gff.gz", ".gff3", ".gff3.gz")
FORMS = "a TSV whose header names id, chrom, strand and tss, or a BED of 6 or more columns"


class Tss(NamedTuple):
    """One row of the input: where a gene's (or one of its transcripts') first base lies."""

    gene: str
    symbol: str
    chrom: str
    strand: str
    position: int  # 0-based
    line: int


def make_gene_table(genes: Path, chrom_sizes: Path, tss_out: Path, out: Path) -> None:
    """Write one row a gene, and each gene's distinct start sites with the default one first."""
    sizes = read_chrom_sizes(chrom_sizes)
    tsv = is_tsv(genes)
    rows = on_genome(list(read_tsv(genes) if tsv else read_bed(genes)), sizes, genes)
    by_gene = defaultdict(list)
    for row in rows:
        by_gene[row.gene].append(row)
    if tsv:
        refuse_several_chromosomes(by_gene, genes)
    order = {name: number for number, name in enumerate(sizes)}
    placed = {gene: one_place(rows, order) for gene, rows in by_gene.items()}
    kept, moved = sum(map(len, placed.values())), sum(len(placed[gene]) < len(rows) for gene, rows in by_gene.items())
    log.info(f"kept {kept:,} of {len(rows):,} rows: {moved:,} genes lie on several chromosomes or both strands")
    sites = {gene: distinct_sites(rows) for gene, rows in placed.items()}
    ids = sorted(sites, key=lambda gene: (order[sites[gene][0].chrom], sites[gene][0].position, gene))
    several = sum(len(sites[gene]) > 1 for gene in ids)
    log.info(f"{len(ids):,} genes with {sum(map(len, sites.values())):,} start sites; {several:,} have several")
    positions = ((gene, site.position, genes.name) for gene in ids for site in sites[gene])
    write_table(tss_out, ["gene", "position", "source"], positions)
    defaults = (sites[gene][0] for gene in ids)
    write_table(out, ["id", "symbol", "chrom", "strand"], [(d.gene, d.symbol, d.chrom, d.strand) for d in defaults])


def is_tsv(path: Path) -> bool:
    """Say whether the file has a header; every line of BED has a whole number in column 2."""
    if path.name.lower().endswith(ANNOTATIONS):
        raise InputError(f"{path.name}: GTF and GFF are not read yet; give {FORMS}")
    for number, cells in data_lines(path):
        if len(cells) > 4 and cells[3].isdecimal() and cells[4].isdecimal() and not cells[1].isdecimal():
            raise InputError(f"{path.name} line {number}: GTF and GFF are not read yet; give {FORMS}")
        return len(cells) < 2 or not cells[1].lstrip("-").isdecimal()
    raise InputError(f"{path.name}: the file is empty; give {FORMS}")


def data_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each line but comments and browser headers."""
    for number, line in read_lines(path):
        if line.strip() and not line.startswith("#") and line.split()[0] not in ("track", "browser"):
            yield number, [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]


def read_tsv(path: Path) -> Iterator[Tss]:
    """Yield the start sites of a table with a header; `tss` is the 0-based first base."""
    for number, row in read_table(path, TSV_COLUMNS):
        where = f"{path.name} line {number}"
        gene = next((row[column] for column in ID_COLUMNS if column in row), None)
        if gene is None:
            raise InputError(f"{path.name}: no column {', '.join(ID_COLUMNS[:-1])} or {ID_COLUMNS[-1]} in the header")
        position = whole_number(row["tss"], where)
        yield checked(Tss(gene, row.get("symbol", ""), row["chrom"], row["strand"], position, number), where)


def read_bed(path: Path) -> Iterator[Tss]:
    """Yield the start sites of BED intervals of genes or transcripts."""
    rows = list(data_lines(path))
    short = next(((number, cells) for number, cells in rows if len(cells) < 6), None)
    if short is not None:
        raise InputError(f"{path.name} line {short[0]}: {len(short[1])} columns, no strand in column 6; give {FORMS}")
    column = id_column([cells for _, cells in rows])
    log.info(f"{path.name}: gene ids are taken from column {column + 1}")
    for number, cells in rows:
        where = f"{path.name} line {number}"
        if len(cells) <= column:
            raise InputError(f"{where}: {len(cells)} columns, other lines have the gene id in column {column + 1}")
        start, end = whole_number(cells[1], where), whole_number(cells[2], where)
        if end < start:
            raise InputError(f"{where}: end {end} is before start {start}; is this a BED file?")
        position = first_base(start, end, cells[5])
        yield checked(Tss(cells[column], "", cells[0], cells[5], position, number), where)


def id_column(rows: list[list[str]]) -> int:
    """Return the index of the gene id's cell: column 5 if that is no score (refGene), else 7 if no number, else 4."""
    for index in (4, 6):
        if any(len(cells) > index and not is_number(cells[index]) for cells in rows):
            return index
    return 3


def is_number(cell: str) -> bool:
    """Say whether a cell is a number, or the dot of an absent one."""
    try:
        float(cell)
    except ValueError:
        return cell == "."
    return True


def first_base(start: int, end: int, strand: str) -> int:
    """Return a transcript's first base, counted from 0; an empty interval is the boundary upstream of that base."""
    return start if strand == "+" else end - 1


def whole_number(cell: str, where: str) -> int:
    """Return a coordinate."""
    if not cell.lstrip("-").isdecimal():
        raise InputError(f"{where}: '{cell[:40]}' is no position (a whole number, bases counted from 0)")
    return int(cell)


def checked(tss: Tss, where: str) -> Tss:
    """Return a row with the version stripped from its id and the symbol filled in, or raise InputError."""
    if tss.strand not in ("+", "-"):
        raise InputError(f"{where}: strand '{tss.strand[:20]}' is neither + nor -; a start site needs one")
    if tss.gene in ("", ".", "NA"):
        raise InputError(f"{where}: no gene id")
    gene = strip_version(tss.gene)
    return tss._replace(gene=gene, symbol=tss.symbol or gene)


def on_genome(rows: list[Tss], sizes: dict[str, int], path: Path) -> list[Tss]:
    """Return the rows on the genome's chromosomes, under its names for them."""
    aliases = chrom_aliases(sizes)
    kept = [row._replace(chrom=aliases[row.chrom]) for row in rows if row.chrom in aliases]
    unknown = list(dict.fromkeys(row.chrom for row in rows if row.chrom not in aliases))
    if not rows:
        raise InputError(f"{path.name}: a header but no rows")
    if not kept:
        both = f"genes are on {few(unknown)}; the genome has {few(sizes)}"
        raise InputError(f"{path.name}: no gene is on a known chromosome: {both}")
    for row in kept:
        if not 0 <= row.position < sizes[row.chrom]:
            outside = f"position {row.position} is outside {row.chrom}, which has {sizes[row.chrom]} bp"
            raise InputError(f"{path.name} line {row.line}: {outside}; is this another assembly?")
    lacking = f" ({few(unknown)})" if unknown else ""
    dropped = f"{len(rows) - len(kept):,} are on sequences the genome lacks{lacking}"
    log.info(f"{path.name}: kept {len(kept):,} of {len(rows):,} rows; {dropped}")
    return kept


def few(names: Iterable[str]) -> str:
    """Return the first three names."""
    names = list(names)
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def refuse_several_chromosomes(by_gene: dict[str, list[Tss]], path: Path) -> None:
    """Raise InputError for an id of a TSV on more than one chromosome: there an id is one gene."""
    for gene, sites in by_gene.items():
        other = next((site for site in sites if site.chrom != sites[0].chrom), None)
        if other is not None:
            places = f"{sites[0].chrom} (line {sites[0].line}) and {other.chrom} (line {other.line})"
            raise InputError(f"{path.name}: gene {gene} is on {places}; give each its own id")


def one_place(sites: list[Tss], order: dict[str, int]) -> list[Tss]:
    """Return a gene's rows on the chromosome and strand with most of them; ties: first chromosome, first row."""
    counts = Counter((site.chrom, site.strand) for site in sites)
    chrom, strand = min(counts, key=lambda place: (-counts[place], order[place[0]]))
    return [site for site in sites if (site.chrom, site.strand) == (chrom, strand)]


def distinct_sites(sites: list[Tss]) -> list[Tss]:
    """Return one row a position: first the one that most transcripts share, on a tie the first in the file."""
    counts = Counter(site.position for site in sites)
    firsts = {site.position: site for site in reversed(sites)}
    return [firsts[position] for position, _ in counts.most_common()]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=Path, required=True, help=FORMS)
    parser.add_argument("--chrom-sizes", type=Path, required=True, help="chromosome<TAB>bp; its order sorts the genes")
    parser.add_argument("--tss-out", type=Path, required=True, help="TSV: gene, position (0-based), source")
    parser.add_argument("--out", type=Path, required=True, help="TSV: id, symbol, chrom, strand")
    return parser


def main(options: argparse.Namespace) -> None:
    """Make the tables, then say with what."""
    make_gene_table(options.genes, options.chrom_sizes, options.tss_out, options.out)
    write_versions(options.versions, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
