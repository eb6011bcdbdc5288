#!/usr/bin/env python3
"""Measure half-life features: a GTF, a genome and the gene table → eight numbers of each gene's representative transcript (TSV, gzip)."""

import argparse
from pathlib import Path

import numpy as np
import pysam

from exprcast.cli import InputError, Progress, log, run, write_task
from exprcast.genome import open_genome
from exprcast.gtf import CODING_FEATURES, Annotation, read_gtf
from exprcast.halflife import FEATURES, Models, coding_models, is_histone, measure, representatives
from exprcast.tables import Matrix, chrom_aliases, few, name_some, read_table, write_matrix

ALL_GTF = "give the whole GTF of Ensembl or GENCODE"


def halflife_features(gtf: Path, genome: Path, genes: Path, out: Path) -> None:
    """Write one row a gene of the gene table, in its order; all are NA where no transcript has a coding part."""
    with open_genome(genome) as fasta:
        sizes = dict(zip(fasta.references, fasta.lengths, strict=True))
        annotation = read_gtf(gtf, sizes, "unknown", with_coding=True)
        refuse_without_coding(annotation, sizes, gtf, genome)
        places, symbols = read_places(genes, sizes, genome)
        models = coding_models(annotation)
        chosen = representatives(annotation, models, places, sizes)
        if not chosen:
            both = f"{gtf.name} has {few(sorted({row.gene for row in annotation.transcripts}))}; {genes.name} has {few(places)}"
            raise InputError(f"{gtf.name}: no gene of {genes.name} has a coding part in it: {both}; do both come from one run?")
        values = measure_all(models, chosen, places, fasta)
    log.info(f"{len(chosen):,} of {len(places):,} genes have a coding part; the others' features are NA")
    histones = sorted(symbol for gene, symbol in symbols.items() if gene in chosen and is_histone(symbol))
    if histones:
        log.info(f"{len(histones):,} are histones, whose mRNAs mostly lack a poly-A tail; they are kept: {name_some(histones)}")
    write_matrix(out, Matrix({"scale": "measured"}, "gene", list(places), list(FEATURES), values))


def refuse_without_coding(annotation: Annotation, sizes: dict[str, int], gtf: Path, genome: Path) -> None:
    """Raise InputError if nothing is coding, or nothing of it lies on the genome."""
    if not len(annotation.coding):
        raise InputError(f"{gtf.name}: no {' or '.join(CODING_FEATURES)} rows, so no gene has a coding part; {ALL_GTF}")
    chroms = dict.fromkeys(annotation.transcripts[number].chrom for number in np.unique(annotation.coding[:, 0]).tolist())
    if not chroms.keys() & chrom_aliases(sizes).keys():
        both = f"coding transcripts are on {few(chroms)}; {genome.name} has {few(sizes)}"
        raise InputError(f"{gtf.name}: no coding transcript is on a known chromosome: {both}")


def read_places(genes: Path, sizes: dict[str, int], genome: Path) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Return {gene: (chromosome, strand)} and {gene: symbol}, in the order of the gene table."""
    aliases = chrom_aliases(sizes)
    places, symbols = {}, {}
    for number, row in read_table(genes, ("id", "symbol", "chrom", "strand")):
        if row["chrom"] not in aliases:
            raise InputError(f"{genes.name} line {number}: gene {row['id']} is on {row['chrom']}; {genome.name} has {few(sizes)}")
        places[row["id"]], symbols[row["id"]] = (aliases[row["chrom"]], row["strand"]), row["symbol"]
    return places, symbols


def measure_all(models: Models, chosen: dict[str, int], places: dict[str, tuple[str, str]], fasta: pysam.FastaFile) -> np.ndarray:
    """Return the features of all genes, (genes, features) float64, NaN without a coding part."""
    values = np.full((len(places), len(FEATURES)), np.nan)
    progress = Progress(len(places), "genes")
    for number, (gene, (chrom, strand)) in enumerate(places.items()):
        if gene in chosen:
            exons = models.exons[chosen[gene]]
            values[number] = measure(models, chosen[gene], strand, fasta.fetch(chrom, int(exons[0, 0]), int(exons[-1, 1])))
        progress.step(number + 1)
    return values


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gtf", type=Path, required=True, help="GTF with CDS rows")
    parser.add_argument("--genome", type=Path, required=True, help="FASTA of index_genome.py, its indexes beside it")
    parser.add_argument("--genes", type=Path, required=True, help="genes.tsv of make_gene_table.py")
    parser.add_argument("--out", type=Path, required=True, help=f"TSV: gene, {', '.join(FEATURES)}")
    return parser


def main(options: argparse.Namespace) -> None:
    """Measure, then say with what."""
    halflife_features(options.gtf, options.genome, options.genes, options.out)
    write_task(options.task_out, "numpy", "pysam")


if __name__ == "__main__":
    run(main, parse_args())
