"""Matrices of expression from any of the usual formats as samples × features: which axis is which, several files joined, counts as CPM."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exprcast.cli import InputError, log
from exprcast.matrix_file import (
    BLOCK_BYTES,
    Axis,
    SampleMatrix,
    Spool,
    Stored,
    checked,
    clean_facts,
    clean_ids,
    few_ids,
    refuse_size,
    refuse_value,
)
from exprcast.matrix_hdf5 import read_hdf5
from exprcast.matrix_text import PLACES, read_text
from exprcast.tables import name_some, strip_version

HDF5_MAGIC, PARQUET_MAGIC, ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PAR1", b"PK\x03\x04"
OLD_PAR = re.compile(r"ENSGR(\d{10})(?:\.\d+)?")  # Ensembl's former word for a gene's copy on Y
FEATURE = re.compile(r"ENS[A-Z]*[GT]R?\d{10,11}(\.\d+)?(_PAR_Y)?|.*\d_at")  # what can be told without lists: Ensembl ids, probe sets
PER_MILLION = 1e6


class Unit(NamedTuple):
    """What values of a unit can be, and the unit that they are given on in."""

    low: float
    high: float
    stored: str


UNITS = {
    "counts": Unit(0, np.inf, "cpm"),
    "cpm": Unit(0, 1.001e6, "cpm"),
    "tpm": Unit(0, 1.001e6, "tpm"),
    "rpkm": Unit(0, np.inf, "rpkm"),
    "log2_intensity": Unit(-64, 64, "log2_intensity"),
    "zscore": Unit(-np.inf, np.inf, "zscore"),
}


def open_matrix(path: Path, folder: Path, is_feature: Callable[[str], bool] | None = None, features: str = "auto") -> SampleMatrix:
    """Read ids and facts of a matrix; its numbers come in blocks of samples, those of text, Parquet and csc from a temporary file in the folder.

    `is_feature` says whether an id is one of a feature that is looked for; `features` is the axis of the file that
    holds features: rows, columns, or auto.
    """
    stored = read_stored(path, folder)
    axis = features if features in ("rows", "columns") else features_axis(stored, path.name, is_feature or may_be_feature)
    samples, found, read, turned = (
        (stored.columns, stored.rows, stored.by_columns, stored.by_rows)
        if axis == "rows"
        else (stored.rows, stored.columns, stored.by_rows, stored.by_columns)
    )
    if read is None:
        refuse_size(path.name, len(samples.ids), len(found.ids), folder)
        read = Spool.of(turned(), folder, len(samples.ids)).by_columns
    log.info(f"{path.name}: {len(samples.ids):,} samples ({few_ids(samples.ids)}), {len(found.ids):,} features ({few_ids(found.ids)})")
    return checked(SampleMatrix(path.name, samples.ids, found.ids, samples.facts, found.facts, read))


def read_stored(path: Path, folder: Path) -> Stored:
    """Read a file by what its first bytes say that it is."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        magic = file.read(8)
    if not magic:
        raise InputError(f"{path.name}: the file is empty")
    if magic == HDF5_MAGIC:
        return read_hdf5(path, folder)
    if magic.startswith(PARQUET_MAGIC):
        return read_parquet(path, folder)
    if magic.startswith(ZIP_MAGIC):
        raise InputError(f"{path.name}: a zip archive or an Excel sheet; unpack it, or save the sheet as tab-separated text")
    return read_text(path, folder)


def read_parquet(path: Path, folder: Path) -> Stored:
    """Read a Parquet file of one row an id: the ids are pandas' index or the first column of text, other texts are facts of the rows."""
    try:
        with pq.ParquetFile(path) as file:
            ids, texts, numbers = parquet_columns(file.schema_arrow, path)
            rows = file.metadata.num_rows
            refuse_size(path.name, rows, len(numbers), folder)
            columns = Axis(clean_ids(numbers, f"{path.name}: column"), {})
            facts = {name: clean_facts(file.read(columns=[name]).column(0).to_pylist()) for name in texts}
            axis = Axis(clean_ids(file.read(columns=[ids]).column(0).to_pylist(), f"{path.name}: row"), facts)
            if len(axis.ids) != rows:
                raise InputError(f"{path.name}: {rows:,} rows are announced, {len(axis.ids):,} are there; write the file again")
            spool, width = Spool(folder, rows), max(BLOCK_BYTES // (8 * rows), 1)
            for start in range(0, len(numbers), width):
                table = file.read(columns=numbers[start : start + width])
                spool.add(np.stack([column.to_numpy().astype(np.float64) for column in table.itercolumns()]))
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path.name}: cannot be read as Parquet ({reason}); copy or write the file again") from None
    return Stored(axis, columns, spool.by_columns, spool.by_rows)


def parquet_columns(schema: pa.Schema, path: Path) -> tuple[str, list[str], list[str]]:
    """Return the column of ids, those of other texts, those of numbers that are values, no places or lengths."""
    texts = [field.name for field in schema if is_text(field.type)]
    numbers = [field.name for field in schema if is_number(field.type) and field.name.lower() not in PLACES]
    index = [name for name in (schema.pandas_metadata or {}).get("index_columns", []) if name in texts]
    if not texts or not numbers or len(schema.names) != len(set(schema.names)):
        found = few_ids([f"{field.name} {field.type}" for field in schema])
        raise InputError(
            f"{path.name}: one column of text with the ids and columns of numbers are needed, each name once; there is {found}"
        )
    ids = (index or texts)[0]
    return ids, [name for name in texts if name != ids], numbers


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column of Parquet holds text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column of Parquet holds numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def may_be_feature(identifier: str) -> bool:
    """Say whether an id is that of a gene, a transcript or a probe set, by its looks."""
    return FEATURE.fullmatch(identifier) is not None


def features_axis(stored: Stored, name: str, is_feature: Callable[[str], bool]) -> str:
    """Return the axis that holds features: the one with more ids of features, else that of the format's convention."""
    rows, columns = (sum(map(is_feature, axis.ids)) for axis in (stored.rows, stored.columns))
    found = f"{rows:,} of {len(stored.rows.ids):,} rows ({few_ids(stored.rows.ids)}) and {columns:,} of {len(stored.columns.ids):,} columns ({few_ids(stored.columns.ids)})"
    if rows and columns or (not rows and not columns):
        if not stored.features:
            raise InputError(
                f"{name}: features may be rows or columns: {found} have ids of features that are looked for; say --matrix_features rows or columns"
            )
        return stored.features
    axis = "rows" if rows else "columns"
    if stored.features not in ("", axis):
        log.warning(
            f"warning: {name}: {found} are features that are looked for, against the format's convention; its {axis} are taken as features"
        )
    return axis


def gene_of(feature: str) -> str:
    """Return an Ensembl id without its version, the old ENSGR as the copy on Y that it is; every other id stays as it is."""
    return OLD_PAR.sub(r"ENSG0\1_PAR_Y", feature) if OLD_PAR.fullmatch(feature) else strip_version(feature)


def with_gene_ids(matrix: SampleMatrix) -> SampleMatrix:
    """Return a matrix whose Ensembl ids have no versions; two versions of one gene are refused."""
    owner: dict[str, str] = {}
    for feature in matrix.features:
        if (other := owner.setdefault(gene_of(feature), feature)) != feature:
            raise InputError(f"{matrix.name}: features {other} and {feature} are one gene without their versions; keep one, or add them up")
    return matrix._replace(features=list(owner))


def in_unit(matrix: SampleMatrix, unit: str) -> SampleMatrix:
    """Return a matrix whose values are checked against their unit, counts as CPM of all of the file's features."""
    rule = UNITS[unit]

    def read() -> Iterator[np.ndarray]:
        first = 0
        for block in matrix.read():
            wrong = (block < rule.low) | (block > rule.high)
            if wrong.any():
                refuse_value(matrix, block, wrong, first, f"cannot be a value in {unit}; name the unit that the file has")
            yield to_cpm(block, matrix, first) if unit == "counts" else block
            first += len(block)

    return matrix._replace(read=read)


def to_cpm(block: np.ndarray, matrix: SampleMatrix, first: int) -> np.ndarray:
    """Return (samples, features) counts per million of all counts of a sample; what is no whole number is no count."""
    broken = (block != np.floor(block)) & ~np.isnan(block)
    if broken.any():
        refuse_value(matrix, block, broken, first, "is no whole number, so no count; is it tpm, cpm or rpkm?")
    totals = np.nansum(block, axis=1, dtype=np.float64)
    if not totals.all():
        raise InputError(f"{matrix.name}: sample {matrix.samples[first + int(np.argmin(totals))]} has no count at all; leave it out")
    return (block * (PER_MILLION / totals)[:, None]).astype(np.float32)


def join(matrices: list[SampleMatrix]) -> SampleMatrix:
    """Return all samples of several files; features meet by id, one that a file lacks is NaN there."""
    owner: dict[str, str] = {}
    for matrix in matrices:
        twice = next((sample for sample in matrix.samples if sample in owner), None)
        if twice is not None:
            raise InputError(f"sample {twice} is in {owner[twice]} and in {matrix.name}; give each sample once")
        owner |= dict.fromkeys(matrix.samples, matrix.name)
    if len(matrices) == 1:
        return matrices[0]
    first = matrices[0]
    for other in matrices[1:]:
        if not set(first.features) & set(other.features):
            both = f"{first.name} has {few_ids(first.features)}, {other.name} has {few_ids(other.features)}"
            raise InputError(f"no feature is in both matrices: {both}; are these the same kind of id?")
    features = sorted({feature for matrix in matrices for feature in matrix.features})
    place = {feature: number for number, feature in enumerate(features)}

    def read() -> Iterator[np.ndarray]:
        for matrix in matrices:
            columns = [place[feature] for feature in matrix.features]
            for block in matrix.read():
                wide = np.full((len(block), len(features)), np.nan, np.float32)
                wide[:, columns] = block
                yield wide

    name = name_some([matrix.name for matrix in matrices], 3)
    return SampleMatrix(name, list(owner), features, joined_facts(matrices), {}, read)


def joined_facts(matrices: list[SampleMatrix]) -> dict[str, list[str]]:
    """Return each fact of all samples, "" for those of a file that has no such column."""
    names = sorted({name for matrix in matrices for name in matrix.sample_facts})
    return {name: [value for matrix in matrices for value in matrix.sample_facts.get(name, [""] * len(matrix.samples))] for name in names}
