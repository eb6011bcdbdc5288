#!/usr/bin/env python3
"""Read transcripts × samples (a table, or files of kallisto or salmon) and a list of factor genes → values of transcripts and genes, and their tables."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, Progress, log, run, whole_folder, write_task
from exprcast.gene_lists import read_list
from exprcast.matrix_file import SampleMatrix, refuse_value
from exprcast.sample_facts import SAMPLE_COLUMNS, group_columns, sample_rows
from exprcast.tables import name_some, write_table
from exprcast.transcripts import Annotated, open_transcripts

UNKNOWN = "unknown"  # where a gene lies
STORED = {"tpm": "tpm", "cpm": "cpm", "counts": "cpm"}  # unit of the file → unit that is given on
PER_MILLION, TOLERANCE = 1e6, 0.02  # what TPM and CPM of all transcripts add up to
LOG_MAX, LOG_TRANSCRIPTS = 30, 1000  # so many transcripts, none above this: logarithms


class Order(NamedTuple):
    """The transcripts that have a gene, by gene and id."""

    transcripts: list[str]
    genes: list[str]  # one a transcript
    places: np.ndarray  # in the file
    starts: np.ndarray  # of each gene's transcripts

    def distinct(self) -> list[str]:
        """Return the genes, each once."""
        return [self.genes[start] for start in self.starts]


def import_transcripts(options: argparse.Namespace) -> None:
    """Write transcripts.h5, genes.h5 and the tables of samples, genes and factors into a folder, where temporary files lie, too."""
    factors = read_list(options.factors)
    with whole_folder(options.out) as folder:
        found = open_transcripts(options.transcripts, options.names, options.unit, options.transcript_genes, folder)
        samples = sample_rows(found.matrix, options.groups, options.sample_table)
        order = by_gene(found)
        write_values(folder, found.matrix, order, options.unit)
        write_table(folder / "samples.tsv", SAMPLE_COLUMNS, sorted(samples))
        genes = [(gene, found.symbols.get(gene, gene), UNKNOWN, ".", "NA") for gene in order.distinct()]
        write_table(folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "biotype"], genes)
        write_table(folder / "tss.tsv", ["gene", "position", "source"], [])
        (folder / "chrom.sizes").write_text(f"{UNKNOWN}\t1\n")
        write_table(folder / "factors.tsv", ["gene_id", "symbol"], [(factor.gene, factor.symbol) for factor in factors])
        lost = [(transcript,) for transcript, gene in zip(found.matrix.features, found.genes, strict=True) if not gene]
        write_table(folder / "transcripts_without_gene.tsv", ["transcript"], sorted(lost))
    log.info(
        f"{len(samples):,} samples, {len(order.places):,} transcripts of {len(genes):,} genes, {STORED[options.unit]}; {len(factors):,} factors listed"
    )


def by_gene(found: Annotated) -> Order:
    """Return the transcripts that have a gene, by gene and id."""
    rows = sorted((gene, name, place) for place, (name, gene) in enumerate(zip(found.matrix.features, found.genes, strict=True)) if gene)
    genes, names, places = (list(column) for column in zip(*rows, strict=True))
    starts = [i for i, gene in enumerate(genes) if not i or genes[i - 1] != gene]
    return Order(names, genes, np.array(places), np.array(starts))


def write_values(folder: Path, matrix: SampleMatrix, order: Order, unit: str) -> None:
    """Write (samples, transcripts) and (samples, genes) float32, samples by id, a block of samples in memory at a time; a gene is the sum of its transcripts."""
    ids, distinct = sorted(matrix.samples), order.distinct()
    row_of = {sample: row for row, sample in enumerate(ids)}
    high, missing, done, progress = np.zeros(len(distinct), np.float32), 0, 0, Progress(len(ids), "samples read")
    with h5py.File(folder / "transcripts.h5", "w") as of_transcripts, h5py.File(folder / "genes.h5", "w") as of_genes:
        values = new_matrix(of_transcripts, ids, "transcripts", order.transcripts, STORED[unit])
        of_transcripts.create_dataset("transcripts/gene", data=np.array(order.genes, dtype=object), dtype=h5py.string_dtype())
        levels = new_matrix(of_genes, ids, "genes", distinct, STORED[unit])
        for block in in_unit(matrix, unit):
            block = np.take(block, order.places, axis=1)
            sums = np.add.reduceat(block, order.starts, axis=1, dtype=np.float64)
            for number in range(len(block)):
                row = row_of[matrix.samples[done + number]]
                values[row], levels[row] = block[number], sums[number]
            high, missing, done = np.fmax(high, np.fmax.reduce(sums)), missing + int(np.isnan(block).sum()), done + len(block)
            progress.step(done)
    report(distinct, high, missing)


def new_matrix(file: h5py.File, samples: list[str], axis: str, ids: list[str], unit: str) -> h5py.Dataset:
    """Write the ids of both axes, and return an array for the values."""
    for name, texts in (("samples", samples), (axis, ids)):
        file.create_dataset(f"{name}/id", data=np.array(texts, dtype=object), dtype=h5py.string_dtype())
    values = file.create_dataset("value", (len(samples), len(ids)), "f4")
    values.attrs["unit"] = unit
    return values


def in_unit(matrix: SampleMatrix, unit: str) -> Iterator[np.ndarray]:
    """Yield (some samples, transcripts) values that have been checked against their unit, counts as CPM of all of the file's transcripts."""
    first, largest, lowest, highest = 0, 0.0, np.inf, 0.0
    for block in matrix.read():
        if (block < 0).any():
            refuse_value(matrix, block, block < 0, first, "is negative; linear values, not logarithms, are needed")
        totals = np.nansum(block, axis=1, dtype=np.float64)
        check_totals(matrix, totals, first, unit)
        largest, lowest, highest = max(largest, float(np.nanmax(block))), min(lowest, totals.min()), max(highest, totals.max())
        yield block if unit != "counts" else (block * (PER_MILLION / totals)[:, None]).astype(np.float32)
        first += len(block)
    if unit != "counts" and len(matrix.features) >= LOG_TRANSCRIPTS and largest <= LOG_MAX:
        raise InputError(f"{matrix.name}: these look like logarithms: the largest value is {largest:.3g}; give linear {unit.upper()}")
    if unit != "counts" and lowest < (1 - TOLERANCE) * PER_MILLION:
        log.info(f"{matrix.name}: a part of all transcripts: samples add up to {lowest:,.0f} to {highest:,.0f} of 1,000,000")


def check_totals(matrix: SampleMatrix, totals: np.ndarray, first: int, unit: str) -> None:
    """Refuse a sample without any value, and counts that are said to be TPM or CPM."""
    if not totals.all():
        raise InputError(f"{matrix.name}: sample {matrix.samples[first + int(np.argmin(totals))]} has no value above 0; leave it out")
    if unit != "counts" and (totals > (1 + TOLERANCE) * PER_MILLION).any():
        at = int(np.argmax(totals))
        raise InputError(
            f"{matrix.name}: sample {matrix.samples[first + at]} adds up to {totals[at]:,.0f}, {unit.upper()} to 1,000,000 at most; are these counts? Say --matrix_unit counts"
        )


def report(genes: list[str], high: np.ndarray, missing: int) -> None:
    """Say which genes are 0 in all samples, and how many values are missing."""
    silent = [genes[i] for i in np.flatnonzero(high == 0)]
    if silent:
        log.warning(f"warning: {len(silent):,} of {len(genes):,} genes are 0 in all samples; kept: {name_some(silent)}")
    if missing:
        log.warning(f"warning: {missing:,} values are missing; so is the level of a gene with such a transcript")


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--transcripts",
        type=Path,
        nargs="+",
        required=True,
        help="TSV, CSV, GCT, Parquet or h5ad of transcripts × samples; or one abundance.tsv or quant.sf a sample",
    )
    parser.add_argument("--names", nargs="*", default=[], help="the samples' names, where there is one file a sample")
    parser.add_argument(
        "--transcript-genes", type=Path, help="TSV or CSV: transcript and gene, perhaps symbol; without it a column of the table says it"
    )
    parser.add_argument("--factors", type=Path, required=True, help="TSV: gene_id, perhaps symbol; or one id or symbol a line")
    parser.add_argument(
        "--unit", choices=tuple(STORED), required=True, help="what the values are; counts are stored as CPM of all transcripts"
    )
    parser.add_argument(
        "--groups", type=group_columns, default={}, help="donor=COLUMN,batch=COLUMN …: the samples' facts that say who belongs together"
    )
    parser.add_argument("--sample-table", type=Path, help="TSV with the samples' ids in its first column: the facts for --groups")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder: transcripts.h5, genes.h5, samples.tsv, genes.tsv, tss.tsv, chrom.sizes, factors.tsv, transcripts_without_gene.tsv",
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Import, then say with what."""
    import_transcripts(options)
    write_task(options.task_out, "numpy", "h5py", "pyarrow", "anndata")


if __name__ == "__main__":
    run(main, parse_args())
