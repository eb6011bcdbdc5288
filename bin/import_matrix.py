#!/usr/bin/env python3
"""Read matrices of expression of any usual format, perhaps lists of landmark and target genes → samples × genes in blocks, and their tables."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError, Progress, log, run, whole_folder, write_task
from exprcast.duplicates import Pair, first_come, near_duplicates
from exprcast.gene_lists import LANDMARKS, TARGETS, Gene, LeftOut, all_genes, mean_of_features, place_genes, read_list, words_of
from exprcast.matrices import UNITS, gene_of, in_unit, join, open_matrix, with_gene_ids
from exprcast.matrix_file import SampleMatrix
from exprcast.sample_facts import SAMPLE_COLUMNS, group_columns, sample_rows
from exprcast.tables import name_some, write_table

UNKNOWN = "unknown"  # where a gene lies
FORMAT, FORMAT_VERSION = "exprcast-matrix", 1


def import_matrix(options: argparse.Namespace) -> None:
    """Write matrix.h5 and the tables of its samples and genes into a folder, where temporary files lie, too."""
    lists = {name: read_list(path) for name in (LANDMARKS, TARGETS) if (path := getattr(options, name)) is not None}
    with whole_folder(options.out) as folder:
        matrix = read_matrices(options, words_of(lists.values()), folder)
        genes, left_out = place_genes(matrix.features, lists, matrix.name) if lists else (all_genes(matrix.features), [])
        refuse_missing(left_out, options.missing_landmarks)
        samples = sample_rows(matrix, options.groups, options.sample_table)
        kept = np.arange(len(samples))
        if options.duplicates is not None:
            pairs = near_duplicates(matrix, options.duplicates, folder)
            kept = np.setdiff1d(kept, settle(pairs, samples, options, folder / "duplicates.tsv"))
        write_values(folder / "matrix.h5", matrix, genes, kept, UNITS[options.unit].stored)
        write_tables(folder, [samples[i] for i in kept], genes, left_out, bool(lists))
    log.info(f"kept {len(kept):,} of {len(samples):,} samples, {len(genes):,} genes, {UNITS[options.unit].stored}")


def write_tables(folder: Path, samples: list[tuple[str, ...]], genes: list[Gene], left_out: list[LeftOut], with_lists: bool) -> None:
    """Write samples and genes, and which gene is of which list."""
    write_table(folder / "samples.tsv", SAMPLE_COLUMNS, sorted(samples))
    rows = [(gene.id, gene.symbol, UNKNOWN, ".", "NA") for gene in genes]
    write_table(folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "biotype"], rows)
    if with_lists:
        write_table(folder / "lists.tsv", ["gene", "list"], [(gene.id, gene.list) for gene in genes])
        write_table(folder / "left_out.tsv", LeftOut._fields, left_out)


def read_matrices(options: argparse.Namespace, words: set[str], scratch: Path) -> SampleMatrix:
    """Return all files as one matrix in the unit that is given on."""
    looked_for = (lambda feature: feature in words or gene_of(feature) in words) if words else None
    matrices = [open_matrix(path, scratch, looked_for, options.features) for path in options.matrix]
    return join([in_unit(with_gene_ids(matrix), options.unit) for matrix in matrices])


def refuse_missing(left_out: list[LeftOut], rule: str) -> None:
    """Raise InputError for landmarks that are not there, if asked to."""
    missing = [gene.symbol for gene in left_out if gene.list == LANDMARKS]
    if missing and rule == "refuse":
        raise InputError(
            f"{len(missing):,} landmarks are not in the data: {name_some(missing)}; --missing_landmarks report goes on without them"
        )


def write_values(path: Path, matrix: SampleMatrix, genes: list[Gene], kept: np.ndarray, unit: str) -> None:
    """Write (samples, genes) float32, samples sorted by id, a block of samples in memory at a time; say which genes never vary."""
    ids = [matrix.samples[i] for i in kept]
    place = np.full(len(matrix.samples), -1)
    place[kept[np.argsort(ids, kind="stable")]] = np.arange(len(kept))
    low, high = np.full(len(genes), np.inf, np.float32), np.full(len(genes), -np.inf, np.float32)
    facts, progress = sorted(matrix.sample_facts), Progress(len(place), "samples read")
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": FORMAT, "format-version": FORMAT_VERSION})
        values = file.create_dataset("value", (len(kept), len(genes)), "f4")
        values.attrs["unit"] = unit
        write_texts(file, "samples/id", sorted(ids))
        write_texts(file, "genes/id", [gene.id for gene in genes])
        write_texts(file, "metadata/name", facts)
        in_order = kept[np.argsort(place[kept])].tolist()
        write_texts(file, "metadata/value", [[matrix.sample_facts[name][i] for i in in_order] for name in facts])
        for where, block, done in placed(matrix, place, genes):
            for row, target in zip(block, where.tolist(), strict=True):
                values[target] = row
            low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
            progress.step(done)
    report_constant(genes, low, high)


def placed(matrix: SampleMatrix, place: np.ndarray, genes: list[Gene]) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield (rows of the output, their values (samples, genes), samples read so far) of each block that has samples that stay."""
    first = 0
    for block in matrix.read():
        where = place[first : first + len(block)]
        first += len(block)
        if (where >= 0).any():
            yield where[where >= 0], mean_of_features(block[where >= 0], genes), first


def write_texts(file: h5py.File, path: str, texts: list) -> None:
    """Write a list of texts, or a table of them."""
    shape = (len(texts), len(texts[0])) if texts and isinstance(texts[0], list) else (len(texts),)
    file.create_dataset(path, data=np.array(texts, dtype=object).reshape(shape), dtype=h5py.string_dtype())


def report_constant(genes: list[Gene], low: np.ndarray, high: np.ndarray) -> None:
    """Say which genes have one value in all samples, and which have none."""
    for what, which in (("have one value in all samples", low == high), ("are measured in no sample", low > high)):
        if which.any():
            log.warning(f"warning: {which.sum():,} genes {what}: {name_some([genes[i].symbol for i in np.flatnonzero(which)])}")


def settle(pairs: list[Pair], samples: list[tuple[str, ...]], options: argparse.Namespace, out: Path) -> list[int]:
    """Write near duplicates, and return the samples that go: the later of each two that stay, or none if they are only to be reported."""
    drop = options.duplicate_samples == "drop"
    listed = first_come(pairs) if drop else pairs
    header = ["kept", "dropped", "distance"] if drop else ["first", "second", "distance"]
    write_table(out, header, [(samples[pair.first][0], samples[pair.second][0], pair.distance) for pair in listed])
    near = {sample for pair in listed for sample in pair[drop:2]}
    log.info(
        f"{len(near):,} of {len(samples):,} samples are nearer than {options.duplicates:g} to {'an earlier one: dropped' if drop else 'another'}"
    )
    if drop:
        return sorted(near)
    warn_of_leaks(pairs, samples)
    return []


def warn_of_leaks(pairs: list[Pair], samples: list[tuple[str, ...]]) -> None:
    """Say which near duplicates have no group in common."""
    both = [(samples[pair.first], samples[pair.second], pair.distance) for pair in pairs]
    apart = [(a[0], b[0], distance) for a, b, distance in both if not any(x and x == y for x, y in zip(a[1:], b[1:], strict=True))]
    if apart:
        first = name_some([f"{a} and {b} ({distance:.3g})" for a, b, distance in apart], 3)
        log.warning(
            f"warning: {len(apart):,} pairs of near duplicates have no group in common, so that training may know a test sample's twin: {first}"
        )


def positive(text: str) -> float:
    """Return a distance."""
    if not 0 < (value := float(text)) < np.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no distance above 0")
    return value


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--matrix", type=Path, nargs="+", required=True, help="GCT, GCTX, h5ad, Parquet, TSV or CSV; several are joined by feature"
    )
    parser.add_argument(
        "--unit", choices=tuple(UNITS), required=True, help="what the matrices hold; counts are stored as CPM of all features"
    )
    parser.add_argument("--features", choices=("auto", "rows", "columns"), default="auto", help="the axis of the files that holds features")
    parser.add_argument("--landmarks", type=Path, help="TSV: gene_id, perhaps symbol, probes (by commas); or one id a line")
    parser.add_argument("--targets", type=Path, help="the same; with a list, genes of no list are left out")
    parser.add_argument("--missing-landmarks", choices=("report", "refuse"), default="report", help="landmarks that are not in the data")
    parser.add_argument(
        "--groups", type=group_columns, default={}, help="donor=COLUMN,batch=COLUMN …: the samples' facts that say who belongs together"
    )
    parser.add_argument("--sample-table", type=Path, help="TSV with the samples' ids in its first column: more facts for --groups")
    parser.add_argument("--duplicates", type=positive, help="Euclidean distance over all features below which samples are near duplicates")
    parser.add_argument(
        "--duplicate-samples", choices=("drop", "report"), default="drop", help="drop the later one, or say which there are"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder: matrix.h5, samples.tsv, genes.tsv, lists.tsv, left_out.tsv, duplicates.tsv"
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Import, then say with what."""
    import_matrix(options)
    write_task(options.task_out, "numpy", "h5py", "pyarrow", "anndata")


if __name__ == "__main__":
    run(main, parse_args())
