"""Intervals of a narrowPeak, broadPeak or BED file: read by NumPy where every line is plain, else line by line with an error that names the line."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log
from exprcast.tables import chrom_aliases, few, read_bytes, read_lines

NAME_BYTES = 40  # the quick reader takes shorter chromosome names
SIGNAL_COLUMN = 7  # signalValue of narrowPeak and broadPeak
BED12_COLUMNS = 12  # column 7 is thickStart there
FLOAT32_MAX = float(np.finfo(np.float32).max)
INT32_MAX, INT64_MAX = np.iinfo(np.int32).max, np.iinfo(np.int64).max


class Intervals(NamedTuple):
    """Intervals of one file, 0-based half-open; `chrom` counts the genome's chromosomes, then the `unknown` names."""

    chrom: np.ndarray  # (intervals,) int32
    start: np.ndarray  # (intervals,) int64
    end: np.ndarray  # (intervals,) int64
    signal: np.ndarray  # (intervals,) float32
    unknown: list[str]  # chromosomes that the genome lacks

    def take(self, rows: np.ndarray) -> "Intervals":
        """Return some of the rows, chosen by number or by mask."""
        return Intervals(self.chrom[rows], self.start[rows], self.end[rows], self.signal[rows], self.unknown)


def read_intervals(path: Path, sizes: dict[str, int], what: str, signals: bool) -> Intervals:
    """Read a BED-like file; any fault is an InputError that names the line. Without signals each interval counts 1."""
    quick = read_quickly(path, sizes, signals)
    intervals = read_carefully(path, sizes, what, signals) if quick is None or faulty(quick, sizes) else quick
    if not len(intervals.start):
        raise InputError(f"{path.name}: no {what} in the file; it is empty or holds comments only")
    if intervals.chrom.min() >= len(sizes):
        both = f"{what}s have {few(intervals.unknown)}; the genome has {few(list(sizes))}"
        raise InputError(f"{path.name}: no {what} is on a known chromosome: {both}")
    if signals and intervals.start.any() and (intervals.signal == intervals.start.astype(np.float32)).all():
        log.info(f"{path.name}: column {SIGNAL_COLUMN} repeats the start (BED's thickStart), so every {what} counts 1")
        return intervals._replace(signal=np.ones_like(intervals.signal))
    return intervals


def read_quickly(path: Path, sizes: dict[str, int], signals: bool) -> Intervals | None:
    """Read a plain tab-separated file with NumPy's parser, or return None where anything is out of the ordinary."""
    text = skip_header(read_bytes(path))
    columns = text.partition(b"\n")[0].count(b"\t") + 1
    fields = [("chrom", f"S{NAME_BYTES}"), ("start", "i8"), ("end", "i8"), ("signal", "f8")]
    cells = [0, 1, 2, SIGNAL_COLUMN - 1] if signals and has_signal(columns) else [0, 1, 2]
    try:
        table = np.loadtxt(io.BytesIO(text), fields[: len(cells)], None, "\t", usecols=cells, ndmin=1) if text else None
    except ValueError:
        return None
    if table is None or text.count(b"\t") != len(table) * (columns - 1):
        return None  # empty or ragged
    runs = np.flatnonzero(np.append(True, table["chrom"][1:] != table["chrom"][:-1]))
    names = [name.decode("latin-1") for name in table["chrom"][runs].tolist()]
    if any(len(name) == NAME_BYTES or name.startswith("#") for name in names):
        return None
    codes, unknown = number_chromosomes(names, sizes)
    chrom = np.repeat(codes, np.diff(np.append(runs, len(table))))
    signal = table["signal"] if len(cells) > 3 else np.ones(len(table))
    with np.errstate(over="ignore"):
        return Intervals(chrom, table["start"], table["end"], signal.astype(np.float32), unknown)


def skip_header(text: bytes) -> bytes:
    """Return a file's text from its first line of data on."""
    while text and (text[:1] in b"#\r\n" or text.startswith((b"track", b"browser"))):
        text = text.partition(b"\n")[2]
    return text


def has_signal(columns: int) -> bool:
    """Say whether rows of so many columns have a signalValue."""
    return columns >= SIGNAL_COLUMN and columns != BED12_COLUMNS


def number_chromosomes(names: list[str], sizes: dict[str, int]) -> tuple[np.ndarray, list[str]]:
    """Return each name's number, and the names the genome lacks: their numbers follow those of its chromosomes."""
    number = {name: i for i, name in enumerate(sizes)}
    codes = {alias: number[name] for alias, name in chrom_aliases(sizes).items()}
    unknown = [name for name in dict.fromkeys(names) if name not in codes]
    codes |= {name: len(sizes) + i for i, name in enumerate(unknown)}
    return np.array([codes[name] for name in names], np.int32), unknown


def faulty(intervals: Intervals, sizes: dict[str, int]) -> bool:
    """Say whether any row breaks a rule; `read_carefully` then says which and where."""
    _, start, end, signal, unknown = intervals
    limit = np.array([*sizes.values(), *[INT64_MAX] * len(unknown)])[intervals.chrom]
    sound = (start >= 0) & (end > start) & (end <= limit) & (signal >= 0) & np.isfinite(signal)
    return not sound.all()


def read_carefully(path: Path, sizes: dict[str, int], what: str, signals: bool) -> Intervals:
    """Read a BED-like file line by line: tabs or spaces, comments anywhere; the first faulty line is an InputError."""
    aliases = chrom_aliases(sizes)
    names, starts, ends, values = [], [], [], []
    for where, cells in data_lines(path):
        start, end = (whole_number(cell, where) for cell in cells[1:3])
        if start < 0:
            raise InputError(f"{where}: start {start} is negative; BED counts bases from 0")
        if end < start:
            raise InputError(f"{where}: end {end} is before start {start}; is this a BED file?")
        if end == start:
            raise InputError(f"{where}: start and end are both {start}; a {what} has at least one base")
        size = sizes.get(aliases.get(cells[0], ""), INT64_MAX)
        if end > size:
            raise InputError(f"{where}: end {end} is beyond {cells[0]}, which has {size} bp; is this another assembly?")
        names.append(cells[0])
        starts.append(start)
        ends.append(end)
        values.append(signal_value(cells[SIGNAL_COLUMN - 1], where) if signals and has_signal(len(cells)) else 1.0)
    codes, unknown = number_chromosomes(names, sizes)
    return Intervals(codes, np.array(starts, np.int64), np.array(ends, np.int64), np.array(values, np.float32), unknown)


def data_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield ('file line N', cells) of each line but comments and headers; all have the same number of cells."""
    first = None
    for number, line in read_lines(path):
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or line.startswith("#") or line.split()[0] in ("track", "browser"):
            continue
        where = f"{path.name} line {number}"
        first = first or (number, len(cells))
        if len(cells) < 3:
            raise InputError(f"{where}: too few columns ({len(cells)}), BED begins with chromosome, start, end")
        if len(cells) != first[1]:
            raise InputError(f"{where}: {len(cells)} columns, line {first[0]} has {first[1]}; was the file cut short?")
        yield where, cells


def whole_number(cell: str, where: str) -> int:
    """Return a coordinate."""
    if not cell.strip().lstrip("+-").isdecimal() or len(cell) > 18:
        raise InputError(f"{where}: '{cell[:40]}' is no position; columns 2 and 3 of BED are whole numbers")
    return int(cell)


def signal_value(cell: str, where: str) -> float:
    """Return a signalValue: a number from 0 up that a float32 holds."""
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not 0 <= value <= FLOAT32_MAX:
        raise InputError(f"{where}: '{cell[:40]}' in column {SIGNAL_COLUMN} is no signal (a number from 0 up)")
    return value


def collapse(rows: Intervals) -> Intervals:
    """Return distinct intervals in genome order, each with its largest signal: narrowPeak has one row a summit."""
    order = np.lexsort((rows.end, rows.start, rows.chrom))
    chrom, start, end, signal, unknown = rows.take(order)
    differs = (chrom[1:] != chrom[:-1]) | (start[1:] != start[:-1]) | (end[1:] != end[:-1])
    first = np.flatnonzero(np.append(True, differs))
    return Intervals(chrom[first], start[first], end[first], np.maximum.reduceat(signal, first), unknown)
