#!/usr/bin/env python3
"""Extract promoters: a genome and each gene's default TSS → one strand-oriented sequence a gene (FASTA, gzip)."""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path

import pysam

from exprcast.cli import InputError, Progress, log, run, whole_file, write_task
from exprcast.genome import open_genome
from exprcast.tables import chrom_aliases, few, read_table, refuse_duplicates
from exprcast.windows import Site, along, bounds, fetch


def extract_promoters(genome: Path, genes: Path, tss: Path, upstream_bp: int, downstream_bp: int, out: Path) -> None:
    """Write the bases from `upstream_bp` before each gene's default TSS to `downstream_bp` behind it, the TSS among the latter."""
    if upstream_bp < 0 or downstream_bp < 1:
        raise InputError(f"--upstream_bp {upstream_bp}, --downstream_bp {downstream_bp}: from 0 and from 1 (the TSS itself) up")
    with open_genome(genome) as fasta:
        sites = read_sites(genes, tss, dict(zip(fasta.references, fasta.lengths, strict=True)), genome)
        unknown = write_promoters(out, sites, fasta, upstream_bp, downstream_bp)
    width = upstream_bp + downstream_bp
    empty = sum(bases == width for bases in unknown)
    log.info(f"{len(sites):,} promoters of {width:,} bp; {sum(unknown) / (len(sites) * width):.2%} of their bases are N")
    if empty * 2 > len(sites):
        log.warning(f"warning: {empty:,} of {len(sites):,} promoters are N throughout; is {genome.name} masked, or cut out of a genome?")


def read_sites(genes: Path, tss: Path, sizes: dict[str, int], genome: Path) -> list[Site]:
    """Return each gene's default start site, in the order of the gene table; each lies on the genome."""
    aliases = chrom_aliases(sizes)
    positions: dict[str, tuple[int, str]] = {}
    for number, row in read_table(tss, ("gene", "position")):
        positions.setdefault(row["gene"], (number, row["position"]))
    sites = []
    for number, row in read_table(genes, ("id", "chrom", "strand")):
        where, gene = f"{genes.name} line {number}", row["id"]
        if row["strand"] not in ("+", "-"):
            raise InputError(f"{where}: strand '{row['strand'][:20]}' of gene {gene} is neither + nor -")
        if row["chrom"] not in aliases:
            raise InputError(f"{where}: gene {gene} is on {row['chrom']}; {genome.name} has {few(sizes)}")
        if gene not in positions:
            raise InputError(f"{where}: gene {gene} has no start site in {tss.name}; do both tables come from one run?")
        line, text = positions[gene]
        chrom = aliases[row["chrom"]]
        if not text.isdecimal() or int(text) >= sizes[chrom]:
            outside = f"'{text[:40]}' of gene {gene} is no position on {chrom}, which has {sizes[chrom]} bp in {genome.name}"
            raise InputError(f"{tss.name} line {line}: {outside}; is this another assembly?")
        sites.append(Site(gene, chrom, row["strand"], int(text)))
    if not sites:
        raise InputError(f"{genes.name}: a header but no genes")
    refuse_duplicates((site.name for site in sites), f"{genes.name}: gene")
    return sites


def write_promoters(out: Path, sites: list[Site], fasta: pysam.FastaFile, upstream_bp: int, downstream_bp: int) -> list[int]:
    """Write a FASTA of promoters, gzip without a date; return how many of each one's bases are N."""
    unknown = []
    progress = Progress(len(sites), "promoters")
    with whole_file(out) as temporary, temporary.open("wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as file:
            for header, sequence in promoters(sites, fasta, upstream_bp, downstream_bp):
                file.write(f">{header}\n".encode() + sequence + b"\n")
                unknown.append(sequence.count(b"N"))
                progress.step(len(unknown))
    return unknown


def promoters(sites: list[Site], fasta: pysam.FastaFile, upstream_bp: int, downstream_bp: int) -> Iterator[tuple[str, bytes]]:
    """Yield (header, bases) of each gene: the TSS is base `upstream_bp`, counted from 0, on both strands."""
    for site in sites:
        start, end = bounds(site, upstream_bp, downstream_bp)
        bases = along(fetch(fasta, site.chrom, start, end), site.strand)
        yield f"{site.name} {site.chrom}:{start}-{end}({site.strand}) tss={upstream_bp}", bases


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genome", type=Path, required=True, help="FASTA of index_genome.py, its indexes beside it")
    parser.add_argument("--genes", type=Path, required=True, help="TSV: id, chrom, strand")
    parser.add_argument("--tss", type=Path, required=True, help="TSV: gene, position (0-based); a gene's first row counts")
    parser.add_argument("--upstream-bp", type=int, default=7000, help="bases before the TSS (default: %(default)s)")
    parser.add_argument("--downstream-bp", type=int, default=3500, help="bases from the TSS on (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="FASTA (gzip), one line a sequence")
    return parser


def main(options: argparse.Namespace) -> None:
    """Extract, then say with what."""
    extract_promoters(options.genome, options.genes, options.tss, options.upstream_bp, options.downstream_bp, options.out)
    write_task(options.task_out, "pysam")


if __name__ == "__main__":
    run(main, parse_args())
