"""Tables with ids as text files: read with line numbers in every message, written whole and with the same bytes each time.

A table is TSV with a header and the id column first; gzip or not is read off the first two bytes. Facts about a whole table
(its unit, say) stand above the header as lines `#key=value`.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from exprcast.cli import InputError, whole_file

FILE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VERSIONED = re.compile(r"(ENS[A-Z]*[EGTP]\d{11})\.\d+(?:_\d+)?(_PAR_Y)?")
RAW_UNITS = ("tpm", "cpm", "rpkm")  # of expression; logarithms are taken of them
MISSING = {"", "NA", "NaN", "nan", "na", "NULL", "."}


class Matrix(NamedTuple):
    """Numbers with the ids of their rows and columns; attributes are the `#key=value` lines above the header."""

    attributes: dict[str, str]
    corner: str
    rows: list[str]
    columns: list[str]
    values: np.ndarray  # (rows, columns) float64, NaN = not measured
    lines: Sequence[int] = ()  # where in its file each row stands; empty if it was not read from one


def open_text(path: Path) -> TextIO:
    """Open a text file, gzip or not, as UTF-8 without a byte order mark."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.open(path) if zipped else path.open("rb"), encoding="utf-8-sig", newline="")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end); a damaged gzip or wrong encoding is an InputError."""
    number = 0
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path.name}: gzip data end or break after line {number}; copy or download the file again") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name} line {number + 1}: not text in UTF-8; is this the right file?") from None


def read_bytes(path: Path) -> bytes:
    """Return a whole file, unpacked if it is gzip; a damaged gzip is an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    raw = path.read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{path.name}: the gzip data are cut short or damaged; copy or download the file again") from None


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a TSV with a header that has at least `columns`."""
    header: list[str] | None = None
    for number, line in read_lines(path):
        if not line.strip() or (line.startswith("#") and header is None):
            continue
        cells = line.split("\t")
        if header is None:
            header = cells
            lacking = [column for column in columns if column not in header]
            refuse_duplicates(header, f"{path.name}: column")
            if lacking:
                raise InputError(f"{path.name} line {number}: no column {', '.join(lacking)}; the header has {', '.join(header)}")
            continue
        if len(cells) != len(header):
            raise InputError(f"{path.name} line {number}: {len(cells)} cells where the header has {len(header)}; is this tab-separated?")
        yield number, dict(zip(header, cells, strict=True))
    if header is None:
        raise InputError(f"{path.name}: the file is empty")


def read_matrix(path: Path) -> Matrix:
    """Read a TSV (or CSV, by its header) of numbers: ids in the first column, column ids in the header.

    An R-style header that is one name short is understood. Duplicate column ids and cells that are no number are errors;
    duplicate row ids are left to the caller.
    """
    attributes, rows, values, lines = {}, [], [], []
    header: list[str] | None = None
    delimiter, width = "\t", 0
    for number, line in read_lines(path):
        if line.startswith("#") and header is None:
            key, _, value = line[1:].partition("=")
            attributes[key.strip()] = value.strip()
            continue
        if not line.strip():
            continue
        if header is None:
            delimiter = "\t" if "\t" in line or "," not in line else ","
            header = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
            continue
        cells = next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)
        if not rows:
            width = len(cells)
            if len(header) == width - 1:
                header = ["id", *header]
        if len(cells) != len(header):
            raise InputError(f"{path.name} line {number}: {len(cells)} cells where the header has {len(header)}")
        rows.append(cells[0].strip())
        values.append(parse_numbers(cells[1:], path, number, header[1:]))
        lines.append(number)
    if header is None or not rows:
        raise InputError(f"{path.name}: no rows; a header with column ids and at least one row are needed")
    refuse_duplicates(header[1:], f"{path.name}: column")
    return Matrix(attributes, header[0], rows, header[1:], np.array(values), lines)


def parse_numbers(cells: list[str], path: Path, line: int, columns: Sequence[str]) -> np.ndarray:
    """Return float64 values of one row of text cells; NA and the like are NaN."""
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        return np.array([parse_number(cell, path, line, column) for cell, column in zip(cells, columns, strict=True)])


def parse_number(cell: str, path: Path, line: int, column: str) -> float:
    """Return one value of a text cell, NaN where it says that it is missing."""
    try:
        return float("nan") if cell.strip() in MISSING else float(cell)
    except ValueError:
        raise InputError(f"{path.name} line {line}, column {column}: '{cell[:40]}' is no number") from None


def refuse_duplicates(ids: Iterable[str], what: str) -> None:
    """Raise InputError naming the first id that occurs twice."""
    seen: set[str] = set()
    for identifier in ids:
        if identifier in seen:
            raise InputError(f"{what} '{identifier}' occurs twice; each id may stand once")
        seen.add(identifier)


def few(names: Iterable[str]) -> str:
    """Return the first three names."""
    names = list(names)
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def name_some(names: Sequence[str], most: int = 6) -> str:
    """Return the first names of a list in a sentence, and how many follow."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def check_file_id(identifier: str, what: str) -> str:
    """Return an id that is safe as part of a file name and a shell word, or raise InputError."""
    if not FILE_ID.fullmatch(identifier):
        raise InputError(f"{what} '{identifier[:60]}': use letters, digits, '.', '_' and '-' only, beginning with a letter or digit")
    return identifier


def strip_version(identifier: str) -> str:
    """Return an Ensembl id without its version (ENSG00000141510.18 → ENSG00000141510); every other id stays as it is.

    `_PAR_Y` is kept: the copy on Y is another row than its twin on X. GENCODE's lifted ids have a second number (.5_2).
    """
    match = VERSIONED.fullmatch(identifier)
    return match.group(1) + (match.group(2) or "") if match else identifier


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], attributes: dict[str, str] | None = None) -> None:
    """Write a TSV under its final name once it is complete; gzip (without a date) if the name ends in .gz."""
    with whole_file(path) as temporary, temporary.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) if path.suffix == ".gz" else raw
        with io.TextIOWrapper(packed, encoding="utf-8", newline="\n", write_through=False) as file:
            for key, value in (attributes or {}).items():
                file.write(f"#{key}={value}\n")
            file.write("\t".join(columns) + "\n")
            for row in rows:
                file.write("\t".join(cell_text(cell) for cell in row) + "\n")


def cell_text(cell: object) -> str:
    """Return a table cell: floats to nine significant digits (float32 survives), NaN and None as NA."""
    if cell is None:
        return "NA"
    if isinstance(cell, float | np.floating):
        return "NA" if np.isnan(cell) else f"{cell:.9g}"
    return str(cell)


def write_matrix(path: Path, matrix: Matrix) -> None:
    """Write ids and numbers as read_matrix reads them."""
    numbers = "\t".join(["%.9g"] * len(matrix.columns))  # a row at once: eight times faster than cell by cell
    texts = ((numbers % tuple(row.tolist())).replace("nan", "NA") for row in matrix.values)
    write_table(path, [matrix.corner, *matrix.columns], zip(matrix.rows, texts, strict=True), matrix.attributes)


def read_chrom_sizes(path: Path) -> dict[str, int]:
    """Return {chromosome: length in bp} of a two-column chrom.sizes (or .fai) file, in file order."""
    sizes: dict[str, int] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) < 2 or not cells[1].isdecimal() or int(cells[1]) == 0:
            raise InputError(f"{path.name} line {number}: '{line[:60]}' is not 'chromosome<TAB>length in bp'; is this a chrom.sizes file?")
        if cells[0] in sizes:
            raise InputError(f"{path.name} line {number}: chromosome {cells[0]} occurs twice")
        sizes[cells[0]] = int(cells[1])
    if not sizes:
        raise InputError(f"{path.name}: the file is empty")
    return sizes


def chrom_aliases(sizes: dict[str, int]) -> dict[str, str]:
    """Return {name a file may use: the genome's name}: UCSC's chr1 and chrM for Ensembl's 1 and MT, and the other way round."""
    aliases = {name: name for name in sizes}
    for name in sizes:
        bare = name.removeprefix("chr")
        bare = "M" if bare == "MT" else bare
        for other in (bare, f"chr{bare}", *(("MT",) if bare == "M" else ())):
            aliases.setdefault(other, name)
    return aliases


def bin_offsets(sizes: dict[str, int], bin_bp: int) -> np.ndarray:
    """Return (chromosomes + 1,) int64: the genome-wide number of each chromosome's first bin; the last bin of one may be short."""
    bins = [-(-size // bin_bp) for size in sizes.values()]
    return np.concatenate([[0], np.cumsum(bins)]).astype(np.int64)
