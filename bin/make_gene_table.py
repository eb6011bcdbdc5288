#!/usr/bin/env python3
"""Make the gene table: a GTF, TSV or BED of genes, CAGE peaks on request → genes.tsv, tss.tsv and transcripts.tsv, by position in the genome."""

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cage import Place, cage_sites
from exprcast.cli import InputError, log, run, write_task
from exprcast.gtf import LAST_RANK, NO_ANNOTATION, Annotation, Feature, is_count, judge_introns, read_gtf
from exprcast.tables import chrom_aliases, few, read_chrom_sizes, read_lines, read_table, strip_version, write_table

ID_COLUMNS = ("id", "gene_id", "gene")  # of a TSV, the first one present
TSV_COLUMNS = ("chrom", "strand", "tss")
FORMS = "a GTF, a TSV whose header names id, chrom, strand and tss, or a BED of 6 or more columns"
TRANSCRIPT_COLUMNS = ("transcript", "gene", "symbol", "biotype", "chrom", "strand", "tss", "length")
UNKNOWN = "NA"
CAGE = "cage"


class Tss(NamedTuple):
    """One row of the input: where a gene's (or one of its transcripts') first base lies."""

    gene: str
    symbol: str
    chrom: str
    strand: str
    position: int  # 0-based
    line: int
    biotype: str = UNKNOWN
    rank: int = LAST_RANK
    source: str = ""  # other than the file of genes


def make_gene_table(
    genes: Path,
    chrom_sizes: Path,
    genome: Path | None,
    assembly: str,
    tss_out: Path,
    transcripts_out: Path,
    out: Path,
    cage: Path | None = None,
) -> None:
    """Write one row a gene, each gene's distinct start sites with the default one first, and one row a transcript of a GTF."""
    sizes = read_chrom_sizes(chrom_sizes)
    form = form_of(genes)
    annotation = read_gtf(genes, sizes, assembly) if form == "gtf" else NO_ANNOTATION
    if form == "gtf" and genome is not None:
        judge_introns(genes, annotation, genome)
    rows = start_sites(annotation) if form == "gtf" else list(read_tsv(genes) if form == "tsv" else read_bed(genes))
    sites = gene_sites(rows, sizes, genes, form)
    if cage is not None:
        sites = with_cage(sites, cage, sizes)
    several, lacking = sum(len(each) > 1 for each in sites.values()), len({row.gene for row in rows}) - len(sites)
    dropped = f"{lacking:,} genes on sequences the genome lacks were dropped"
    log.info(f"{len(sites):,} genes with {sum(map(len, sites.values())):,} start sites; {several:,} have several; {dropped}")
    positions = ((gene, site.position, site.source or genes.name) for gene in sites for site in sites[gene])
    write_table(tss_out, ["gene", "position", "source"], positions)
    write_table(transcripts_out, TRANSCRIPT_COLUMNS, transcript_rows(annotation, list(sites), sizes))
    defaults = (sites[gene][0] for gene in sites)
    write_table(out, ["id", "symbol", "chrom", "strand", "biotype"], [(d.gene, d.symbol, d.chrom, d.strand, d.biotype) for d in defaults])


def gene_sites(rows: list[Tss], sizes: dict[str, int], path: Path, form: str) -> dict[str, list[Tss]]:
    """Return the distinct start sites of each gene on the genome, the default first; genes stand by chromosome and default site."""
    kept = on_genome(rows, sizes, path, "transcripts" if form == "gtf" else "rows")
    by_gene = defaultdict(list)
    for row in kept:
        by_gene[row.gene].append(row)
    if form == "tsv":
        refuse_several_chromosomes(by_gene, path)
    order = {name: number for number, name in enumerate(sizes)}
    placed = {gene: one_place(rows, order) for gene, rows in by_gene.items()}
    left, moved = sum(map(len, placed.values())), sum(len(placed[gene]) < len(rows) for gene, rows in by_gene.items())
    if moved:
        log.info(f"kept {left:,} of {len(kept):,} rows: {moved:,} genes lie on several chromosomes or both strands")
    return by_position({gene: distinct_sites(rows) for gene, rows in placed.items()}, order)


def by_position(sites: dict[str, list[Tss]], order: dict[str, int]) -> dict[str, list[Tss]]:
    """Return genes by chromosome and default site; `order` numbers the chromosomes."""
    return dict(sorted(sites.items(), key=lambda item: (order[item[1][0].chrom], item[1][0].position, item[0])))


def with_cage(sites: dict[str, list[Tss]], cage: Path, sizes: dict[str, int]) -> dict[str, list[Tss]]:
    """Make a gene's CAGE start site, where it has one, its default; the others follow."""
    defaults = {gene: Place(each[0].symbol, each[0].chrom, each[0].strand, each[0].position) for gene, each in sites.items()}
    moved = {
        gene: [sites[gene][0]._replace(position=position, source=CAGE), *(site for site in sites[gene] if site.position != position)]
        for gene, position in cage_sites(cage, defaults, sizes).items()
    }
    return by_position(sites | moved, {name: number for number, name in enumerate(sizes)})


def form_of(path: Path) -> str:
    """Return gtf, tsv or bed; every line of BED has a whole number in column 2, a TSV has a header."""
    for number, cells in data_lines(path):
        if len(cells) > 4 and cells[3].isdecimal() and cells[4].isdecimal() and not cells[1].isdecimal():
            if path.name.lower().endswith((".gff3", ".gff3.gz")) or (len(cells) > 8 and re.match(r'[^\s"=]+=', cells[8])):
                raise InputError(f"{path.name} line {number}: GFF3 is not read; give the GTF, which Ensembl and GENCODE have beside it")
            return "gtf"
        return "tsv" if len(cells) < 2 or not cells[1].lstrip("-").isdecimal() else "bed"
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
    if not is_count(cell.removeprefix("-")):
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


def start_sites(annotation: Annotation) -> list[Tss]:
    """Return the start site of each transcript, and of each gene that has none."""
    with_transcripts = {row.gene for row in annotation.transcripts}
    rows = [*annotation.transcripts, *(row for gene, row in annotation.genes.items() if gene not in with_transcripts)]
    sites = []
    for row in rows:
        symbol, biotype = gene_facts(row, annotation)
        sites.append(Tss(row.gene, symbol, row.chrom, row.strand, first_base(row.start, row.end, row.strand), row.line, biotype, row.rank))
    return sites


def gene_facts(row: Feature, annotation: Annotation) -> tuple[str, str]:
    """Return the symbol and the biotype of a row's gene: the gene's own row knows best."""
    gene = annotation.genes.get(row.gene, row)
    return gene.symbol or row.symbol or row.gene, gene.gene_biotype or row.gene_biotype or UNKNOWN


def transcript_rows(annotation: Annotation, ids: list[str], sizes: dict[str, int]) -> list[tuple[object, ...]]:
    """Return the rows of transcripts.tsv: genes in their order, then those that the genome lacks, by place."""
    lengths = np.zeros(len(annotation.transcripts), np.int64)
    np.add.at(lengths, annotation.exons[:, 0], annotation.exons[:, 2] - annotation.exons[:, 1])
    order, aliases = {gene: number for number, gene in enumerate(ids)}, chrom_aliases(sizes)
    rows = []
    for row, length in zip(annotation.transcripts, lengths.tolist(), strict=True):
        tss, symbol = first_base(row.start, row.end, row.strand), gene_facts(row, annotation)[0]
        place = (aliases.get(row.chrom, row.chrom), row.strand, tss)
        key = (order[row.gene], row.transcript) if row.gene in order else (len(order), row.chrom, tss, row.gene, row.transcript)
        rows.append((key, (row.transcript, row.gene, symbol, row.biotype or UNKNOWN, *place, length or None)))
    return [row for _, row in sorted(rows)]


def on_genome(rows: list[Tss], sizes: dict[str, int], path: Path, what: str) -> list[Tss]:
    """Return the rows (or what they are) on the genome's chromosomes, under its names for them."""
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
    log.info(f"{path.name}: kept {len(kept):,} of {len(rows):,} {what}; {dropped}")
    return kept


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
    """Return one row a position: first that of the best transcript, then the one that most share, then the first in the file."""
    counts = Counter(site.position for site in sites)
    firsts = {site.position: site for site in reversed(sites)}
    ranks = {site.position: site.rank for site in sorted(sites, key=lambda site: -site.rank)}
    return [firsts[position] for position in sorted(counts, key=lambda position: (ranks[position], -counts[position]))]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=Path, required=True, help=FORMS)
    parser.add_argument("--cage", type=Path, help="BED of CAGE peaks: p1@symbol with thickStart and thickEnd, or one base a gene")
    parser.add_argument("--chrom-sizes", type=Path, required=True, help="chromosome<TAB>bp; its order sorts the genes")
    parser.add_argument("--genome", type=Path, help="FASTA of index_genome.py: says whether the introns of a GTF fit it")
    parser.add_argument("--assembly", default="unknown", help="hg38, GRCh38, mm10 …: must agree with a GTF's header (default: %(default)s)")
    parser.add_argument("--tss-out", type=Path, required=True, help="TSV: gene, position (0-based), source")
    parser.add_argument("--transcripts-out", type=Path, required=True, help="TSV: transcripts of a GTF with gene, tss and spliced length")
    parser.add_argument("--out", type=Path, required=True, help="TSV: id, symbol, chrom, strand, biotype")
    return parser


def main(options: argparse.Namespace) -> None:
    """Make the tables, then say with what."""
    inputs = (options.genes, options.chrom_sizes, options.genome, options.assembly)
    make_gene_table(*inputs, options.tss_out, options.transcripts_out, options.out, options.cage)
    write_task(options.task_out, "numpy", "pysam")


if __name__ == "__main__":
    run(main, parse_args())
