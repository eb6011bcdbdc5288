#!/usr/bin/env python3
"""Read ready promoters: a table of sequences, or Xpresso's train, valid and test.h5 → genes, start sites, promoters, and what else they hold."""

import argparse
import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, Progress, log, run, whole_folder, write_task
from exprcast.foreign_hdf5 import MOST_CHUNK_BYTES, member, opened
from exprcast.halflife import FEATURES
from exprcast.promoter_tables import (
    LABEL_UNITS,
    gene_column,
    halflife_columns,
    halflife_matrix,
    label_matrix,
    read_chroms,
)
from exprcast.tables import Matrix, parse_number, parse_numbers, read_table, refuse_duplicates, strip_version, write_matrix, write_table
from exprcast.windows import UPPER

SEQUENCE_COLUMNS, PLACE_COLUMNS, LABEL_COLUMN = ("sequence", "PROMOTER"), ("chrom", "start", "end", "strand"), "EXPRESSION"
SPLITS = ("train", "valid", "test")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
UNKNOWN = "unknown"  # a chromosome that nobody named
LETTERS = np.frombuffer(b"NACGT", np.uint8)  # by 1 + place in the one-hot code; four zeros are N
MOST_BASES, MOST_LABELS, LONGEST_NAME = 2**31, 1000, 200  # of a file from outside
BLOCK_BYTES = 2**25  # of one-hot codes in memory at once


class Promoter(NamedTuple):
    """A gene and its bases; `start` is the 0-based first base of the window on the genome, None where its place is not known."""

    gene: str
    sequence: bytes
    chrom: str = ""
    start: int | None = None
    strand: str = "."


class Ready(NamedTuple):
    """What ready files hold: promoters, and perhaps half-life features, labels and a split."""

    promoters: list[Promoter]
    halflife: Matrix | None
    labels: Matrix | None
    roles: dict[str, str]  # gene → train, valid or test


def import_promoters(options: argparse.Namespace) -> None:
    """Write the tables into a folder, genes by chromosome, start site and id."""
    ready = read_splits(options.promoters) if is_hdf5(options.promoters[0]) else read_promoter_table(options.promoters, options.label_unit)
    width = one_length(ready.promoters)
    tss = width // 2 if options.tss is None else options.tss
    if not 0 <= tss < width:
        raise InputError(f"--promoter_tss {tss}: the promoters have {width:,} bases, counted from 0")
    promoters = in_order(with_chroms(ready.promoters, read_chroms(options.chroms)))
    with whole_folder(options.out) as folder:
        write_places(folder, promoters, width, tss)
        write_promoters(folder / "promoters.fa.gz", promoters, width, tss)
        for name, matrix in (("halflife", ready.halflife), ("labels", ready.labels)):
            if matrix is not None:
                write_matrix(folder / f"{name}.tsv.gz", matrix)
        if ready.roles:
            write_table(folder / "folds.tsv", ["id", "fold_1"], sorted(ready.roles.items()))
    log.info(f"{len(promoters):,} promoters of {width:,} bp, the start site is base {tss:,}, counted from 0")


def is_hdf5(path: Path) -> bool:
    """Say whether a file is HDF5, by its first bytes."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        return file.read(len(HDF5_MAGIC)) == HDF5_MAGIC


def read_promoter_table(paths: Sequence[Path], unit: str) -> Ready:
    """Read a TSV of sequences; Xpresso's own has the label and half-life features in it."""
    if len(paths) > 1:
        raise InputError(f"--promoters: one table is needed, or {', '.join(f'{name}.h5' for name in SPLITS)}; {len(paths)} were given")
    path, promoters, halflife, label, columns = paths[0], [], [], [], {}
    for line, row in read_table(path, ()):
        columns = columns or {"gene": gene_column(row, path), "sequence": sequence_column(row, path)}
        features = halflife_columns(row)
        promoters.append(read_promoter(row, columns, f"{path.name} line {line}"))
        if features:
            halflife.append(parse_numbers([row[column] for column in features], path, line, features))
        if LABEL_COLUMN in row:
            label.append([parse_number(row[LABEL_COLUMN], path, line, LABEL_COLUMN)])
    genes = [promoter.gene for promoter in promoters]
    if not genes:
        raise InputError(f"{path.name}: a header but no genes")
    refuse_duplicates(genes, f"{path.name}: gene")
    labels = label_matrix(genes, [LABEL_COLUMN], np.array(label), unit) if label else None
    return Ready(promoters, halflife_matrix(genes, np.array(halflife), path.name) if halflife else None, labels and by_gene(labels), {})


def by_gene(matrix: Matrix) -> Matrix:
    """Return a table with its rows sorted by gene."""
    order = np.argsort(matrix.rows)
    return matrix._replace(rows=[matrix.rows[i] for i in order], values=matrix.values[order])


def sequence_column(header: dict[str, str], path: Path) -> str:
    """Return the name of the column that holds sequences."""
    found = next((column for column in SEQUENCE_COLUMNS if column in header), None)
    if found is None:
        raise InputError(f"{path.name}: no column {' or '.join(SEQUENCE_COLUMNS)}; the header has {', '.join(header)}")
    return found


def read_promoter(row: dict[str, str], columns: dict[str, str], where: str) -> Promoter:
    """Return a row's gene and bases, and their place where the row has all of chrom, start, end (0-based, half-open) and strand."""
    gene, sequence = strip_version(row[columns["gene"]]), row[columns["sequence"]].encode("ascii", "replace").translate(UPPER)
    if not sequence or not re.fullmatch(r"\S+", gene):
        raise InputError(f"{where}: {'no sequence' if gene and not sequence else f'{gene[:40]!r} is no gene id'}")
    if not all(row.get(column) for column in PLACE_COLUMNS):
        return Promoter(gene, sequence, row.get("chrom", ""))
    start, end, strand = row["start"], row["end"], row["strand"]
    if not (start.isdecimal() and end.isdecimal() and len(end) < 12 and strand in ("+", "-")):
        raise InputError(f"{where}: gene {gene}: start '{start[:20]}', end '{end[:20]}', strand '{strand[:5]}' are no place on a genome")
    if int(end) - int(start) != len(sequence):
        raise InputError(
            f"{where}: gene {gene}: from start to end are {int(end) - int(start):,} bp, the sequence has {len(sequence):,}; correct or leave out these columns"
        )
    return Promoter(gene, sequence, row["chrom"], int(start), strand)


def read_splits(paths: Sequence[Path]) -> Ready:
    """Read Xpresso's ready HDF5 files, and who is in which."""
    names = [path.name for path in paths]
    if sorted(path.stem for path in paths) != sorted(SPLITS):
        raise InputError(f"--promoters: {', '.join(f'{name}.h5' for name in SPLITS)} belong together; there is {', '.join(names)}")
    promoters, data, label, roles = [], [], [], {}
    for path in sorted(paths, key=lambda path: SPLITS.index(path.stem)):
        with opened(path) as file:
            genes = read_names(file, path)
            sequences = read_one_hot(file, path, len(genes))
            promoters += [Promoter(gene, sequence) for gene, sequence in zip(genes, sequences, strict=True)]
            data.append(array_of(file, path, "data", (len(genes), None), "f")[:].astype(np.float64))
            label.append(array_of(file, path, "label", (len(genes), ...), "f")[:].reshape(len(genes), -1).astype(np.float64))
            roles |= dict.fromkeys(genes, path.stem)
    genes = [promoter.gene for promoter in promoters]
    refuse_duplicates(genes, f"{', '.join(names)}: gene")
    for what, arrays in (("data", data), ("label", label)):
        if len({array.shape[1] for array in arrays}) > 1:
            raise InputError(
                f"{', '.join(names)}: {what} has {', '.join(str(array.shape[1]) for array in arrays)} columns; they must be alike"
            )
    values = np.concatenate(label)
    columns = ["label"] if values.shape[1] == 1 else [f"label_{number}" for number in range(1, values.shape[1] + 1)]
    return Ready(promoters, named_features(genes, np.concatenate(data)), by_gene(label_matrix(genes, columns, values, "zscore")), roles)


def named_features(genes: list[str], values: np.ndarray) -> Matrix | None:
    """Return half-life features; None where they are not the eight whose names are known."""
    if values.shape[1] != len(FEATURES):
        log.warning(
            f"warning: {values.shape[1]} half-life features, {len(FEATURES)} have names; they are left out, --halflife can bring them"
        )
        return None
    return halflife_matrix(genes, values, "data")


def array_of(file: h5py.File, path: Path, name: str, shape: tuple, kinds: str) -> h5py.Dataset:
    """Return an array of this shape (None: any size; ...: perhaps one axis more) and kind."""
    array = member(file, name, path)
    if not isinstance(array, h5py.Dataset):
        raise InputError(f"{path.name}: {name} is no array; Xpresso's files hold promoter, data, label and geneName")
    wanted = [size for size in shape if size is not ...]
    fits = len(wanted) <= array.ndim <= len(shape) and all(size in (None, is_) for size, is_ in zip(wanted, array.shape, strict=False))
    if not fits or array.dtype.kind not in kinds or (array.ndim == 2 and array.shape[1] > MOST_LABELS) or 0 in array.shape:
        raise InputError(f"{path.name}: {name} is {array.dtype} of shape {array.shape}; this is no ready file of Xpresso")
    return array


def read_names(file: h5py.File, path: Path) -> list[str]:
    """Return gene ids without their versions."""
    array = array_of(file, path, "geneName", (None,), "SO")
    if array.size > MOST_BASES // 1000 or array.dtype.itemsize > LONGEST_NAME:
        raise InputError(f"{path.name}: geneName is {array.dtype} of shape {array.shape}; this is no ready file of Xpresso")
    names = [name.decode("ascii", "replace") if isinstance(name, bytes) else str(name) for name in array[:].tolist()]
    wrong = next((name for name in names if not re.fullmatch(r"[\x21-\x7e]{1,200}", name)), None)
    if wrong is not None:
        raise InputError(f"{path.name}: geneName holds {wrong[:40]!r}, which is no gene id")
    return [strip_version(name) for name in names]


def read_one_hot(file: h5py.File, path: Path, genes: int) -> list[bytes]:
    """Return sequences of (genes, bases, 4) zeros and ones, a block of genes in memory at a time."""
    array = array_of(file, path, "promoter", (genes, None, 4), "biuf")
    width = array.shape[1]
    if genes * width > MOST_BASES:
        raise InputError(f"{path.name}: {genes:,} promoters of {width:,} bases are more than {MOST_BASES:,} bases")
    packed = array.chunks[0] if array.chunks else 1
    rows = max(BLOCK_BYTES // (4 * width * array.dtype.itemsize) // packed, 1) * packed
    rows = min(rows, max(MOST_CHUNK_BYTES // (4 * width * array.dtype.itemsize), 1))
    sequences, progress = [], Progress(genes, f"promoters of {path.name}")
    for start in range(0, genes, rows):
        codes = one_hot_codes(array[start : start + rows], f"{path.name}: promoter")
        sequences += [row.tobytes() for row in LETTERS[codes]]
        progress.step(len(sequences))
    return sequences


def one_hot_codes(block: np.ndarray, where: str) -> np.ndarray:
    """Return (genes, bases) 1 + the place of the one in (genes, bases, 4), 0 where there is none."""
    ones = block.astype(bool)
    if (block != ones).any() or (ones.sum(axis=2, dtype=np.uint8) > 1).any():
        raise InputError(f"{where} is not one-hot: a base has more than one letter, or a number that is neither 0 nor 1")
    return (ones.view(np.uint8) * np.arange(1, 5, dtype=np.uint8)).sum(axis=2, dtype=np.uint8)


def one_length(promoters: Sequence[Promoter]) -> int:
    """Return the number of bases that all promoters have."""
    first = promoters[0]
    other = next((promoter for promoter in promoters if len(promoter.sequence) != len(first.sequence)), None)
    if other is not None:
        raise InputError(
            f"promoters of different length: gene {first.gene} has {len(first.sequence):,} bases, {other.gene} {len(other.sequence):,}; cut all to one length"
        )
    return len(first.sequence)


def with_chroms(promoters: list[Promoter], chroms: dict[str, str]) -> list[Promoter]:
    """Return promoters that all have a chromosome: their own, one that another table names, or "unknown"."""
    named = [one._replace(chrom=one.chrom or chroms.get(one.gene, UNKNOWN)) for one in promoters]
    lacking = sum(one.chrom == UNKNOWN for one in named)
    if lacking:
        log.warning(
            f"warning: {lacking:,} of {len(named):,} genes have no chromosome; a column chrom here, in the half-life or the fold table names it"
        )
    return named


def in_order(promoters: list[Promoter]) -> list[Promoter]:
    """Return promoters by chromosome (2 before 10, numbers before letters), place and gene."""
    return sorted(promoters, key=lambda one: (natural(one.chrom), one.start or 0, one.gene))


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which chr2 stands before chr10 and chr10 before chrX."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name.removeprefix("chr")) if part]


def write_places(folder: Path, promoters: list[Promoter], width: int, tss: int) -> None:
    """Write genes, the start sites that are known, and chromosomes, each as long as what is known to lie on it."""
    sizes: dict[str, int] = {}
    for one in promoters:
        sizes[one.chrom] = max(sizes.get(one.chrom, 0), (one.start or 0) + width)
    write_table(
        folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "biotype"], [(p.gene, p.gene, p.chrom, p.strand, "NA") for p in promoters]
    )
    placed = [one for one in promoters if one.start is not None]
    sites = [(one.gene, one.start + (tss if one.strand == "+" else width - 1 - tss), "promoters") for one in placed]
    write_table(folder / "tss.tsv", ["gene", "position", "source"], sites)
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{size}\n" for name, size in sizes.items()))


def write_promoters(path: Path, promoters: list[Promoter], width: int, tss: int) -> None:
    """Write a FASTA as extract_promoters.py does."""
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as file:
        for one in promoters:
            place = UNKNOWN if one.start is None else f"{one.chrom}:{one.start}-{one.start + width}({one.strand})"
            file.write(f">{one.gene} {place} tss={tss}\n".encode() + one.sequence + b"\n")


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--promoters",
        type=Path,
        nargs="+",
        required=True,
        help=f"TSV: gene_id (or ENSID), {' or '.join(SEQUENCE_COLUMNS)}, perhaps {', '.join(PLACE_COLUMNS)}, {LABEL_COLUMN}, half-life features; or {', '.join(SPLITS)}.h5",
    )
    parser.add_argument("--chroms", type=Path, nargs="*", default=[], help="tables (CSV or TSV) whose column chrom says where genes lie")
    parser.add_argument("--tss", type=int, help="base that is the start site, from 0 (default: the middle)")
    parser.add_argument("--label-unit", choices=LABEL_UNITS, default="log10_rpkm", help=f"of {LABEL_COLUMN} in a TSV")
    parser.add_argument("--out", type=Path, required=True, help="folder: genes.tsv, tss.tsv, chrom.sizes, promoters.fa.gz …")
    return parser


def main(options: argparse.Namespace) -> None:
    """Import, then say with what."""
    import_promoters(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
