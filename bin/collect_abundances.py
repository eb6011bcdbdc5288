#!/usr/bin/env python3
"""Collect the samples' kallisto estimates: folders with abundance.tsv → transcripts × samples and genes × samples, TPM and estimated counts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from exprcast.cli import InputError, Progress, log, run, write_task
from exprcast.kallisto import Targets, read_abundance, read_targets
from exprcast.tables import Matrix, check_file_id, refuse_duplicates, write_matrix


def collect_abundances(folders: list[Path], targets: Targets, outs: dict[str, Path]) -> None:
    """Write TPM and counts of all targets, and their sums over the targets of each gene; a sample is named by its folder."""
    samples = [check_file_id(folder.name, "folder") for folder in folders]
    refuse_duplicates(samples, "folder")
    counts, tpm = (np.empty((len(targets.names), len(samples))) for _ in range(2))
    progress = Progress(len(samples), "samples")
    for number, (folder, sample) in enumerate(zip(folders, samples, strict=True)):
        abundance = read_abundance(folder / "abundance.tsv", sample)
        if abundance.names != targets.names:
            raise InputError(
                f"sample {sample}: its targets are not those of the index ({len(abundance.names):,} and {len(targets.names):,}); quantify it again"
            )
        counts[:, number], tpm[:, number] = abundance.counts, abundance.tpm
        progress.step(number + 1)
    genes, gene_tpm = sum_by_gene(targets.genes, tpm)
    write_matrix(outs["transcript_tpm"], Matrix({"unit": "tpm"}, "transcript_id", targets.transcripts, samples, tpm))
    write_matrix(outs["transcript_counts"], Matrix({"unit": "counts"}, "transcript_id", targets.transcripts, samples, counts))
    write_matrix(outs["gene_tpm"], Matrix({"unit": "tpm"}, "gene_id", genes, samples, gene_tpm))
    write_matrix(outs["gene_counts"], Matrix({"unit": "counts"}, "gene_id", genes, samples, sum_by_gene(targets.genes, counts)[1]))
    share = gene_tpm.sum(axis=0).min() / 1e6
    log.info(
        f"{len(samples):,} samples, {len(targets.names):,} targets, {len(genes):,} genes; genes hold at least {share:.1%} of a sample's TPM"
    )


def sum_by_gene(genes: Sequence[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the genes, ascending, and the sums of (targets, samples) over their targets; targets without a gene are in none."""
    names, gene = np.unique(np.array(genes, dtype=object), return_inverse=True)
    order = np.argsort(gene, kind="stable")
    sums = np.add.reduceat(values[order], np.searchsorted(gene[order], np.arange(len(names))))
    named = names != ""
    return list(names[named]), sums[named]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--abundance", type=Path, nargs="+", required=True, help="folders of kallisto_quant.py, named by sample")
    parser.add_argument("--targets", type=Path, required=True, help="TSV of kallisto_index.py")
    for table in ("transcript_tpm", "transcript_counts", "gene_counts"):
        parser.add_argument(f"--{table.replace('_', '-')}-out", type=Path, required=True, help=f"TSV: {table.replace('_', ' ')}")
    parser.add_argument("--out", type=Path, required=True, help="TSV: gene TPM, the sum over a gene's transcripts")
    return parser


def main(options: argparse.Namespace) -> None:
    """Collect, then say with what."""
    outs = {table: getattr(options, f"{table}_out") for table in ("transcript_tpm", "transcript_counts", "gene_counts")}
    collect_abundances(options.abundance, read_targets(options.targets), outs | {"gene_tpm": options.out})
    write_task(options.task_out, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
