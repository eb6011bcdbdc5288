#!/usr/bin/env python3
"""Bin one sample's peaks: narrowPeak, broadPeak or BED, with or without a bigWig → the numbers of its open bins and their signals (.npz)."""

import argparse
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exprcast.cli import InputError, Progress, log, run, whole_file, write_task
from exprcast.tables import (
    bin_offsets,
    check_file_id,
    chrom_aliases,
    few,
    read_bytes,
    read_chrom_sizes,
    read_lines,
    write_table,
)

if TYPE_CHECKING:
    import pyBigWig

NAME_BYTES = 40  # the quick reader takes shorter chromosome names
SIGNAL_COLUMN = 7  # signalValue of narrowPeak and broadPeak
BED12_COLUMNS = 12  # column 7 is thickStart there
FLOAT32_MAX = float(np.finfo(np.float32).max)
INT32_MAX, INT64_MAX = np.iinfo(np.int32).max, np.iinfo(np.int64).max
BIGWIG, BIGBED = bytes.fromhex("26fc8f88"), bytes.fromhex("ebf28987")  # magic numbers; a whole bigWig also ends with its own
BLOCK_BP, GAP_BP = 1 << 22, 1 << 14  # a bigWig is read in pieces up to so long, across gaps up to so wide
COUNTS = ("sample", "rows", "intervals", "kept", "excluded", "off_genome", "open_bins", "open_share", "median_width")


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


def bin_peaks(
    sample: str,
    peaks: Path,
    chrom_sizes: Path,
    exclude: list[Path],
    bin_bp: int,
    stats_out: Path,
    out: Path,
    coverage: Path | None = None,
) -> None:
    """Write the bins that a sample's peaks touch and a row of counts.

    A bin's signal is its mean coverage in a bigWig; without one, the largest signal of the peaks that touch it.
    """
    check_file_id(sample, "--sample")
    sizes = read_chrom_sizes(chrom_sizes)
    offsets = number_bins(sizes, bin_bp)
    rows = read_intervals(peaks, sizes, "peak", signals=True)
    intervals = collapse(rows)
    on_genome = intervals.take(intervals.chrom < len(sizes))
    kept = drop_excluded(on_genome, exclude, sizes)
    counts = [len(each.start) for each in (rows, intervals, kept)]
    counts += [len(on_genome.start) - len(kept.start), len(intervals.start) - len(on_genome.start)]
    log.info(kept_line(peaks, counts, intervals.unknown))
    if not len(kept.start):
        raise InputError(f"{peaks.name}: every peak overlaps an exclusion list; is --exclude the right file?")
    bins, signal = paint(kept, offsets, bin_bp)
    if coverage is not None:
        signal = mean_coverage(coverage, bins, kept, sizes, bin_bp)
    share = len(bins) / offsets[-1]
    mean = "" if coverage is None else f"; their mean coverage in {coverage.name} is {signal.mean(dtype=np.float64):.4g}"
    log.info(f"{sample}: {len(bins):,} of {offsets[-1]:,} bins of {bin_bp:,} bp are open ({share:.2%}){mean}")
    write_table(stats_out, COUNTS, [(sample, *counts, len(bins), share, np.median(kept.end - kept.start))])
    names, lengths = np.array(list(sizes)), np.array(list(sizes.values()), np.int64)
    genome = {"chromosomes": names, "sizes": lengths, "bin_bp": np.int64(bin_bp)}
    with whole_file(out) as temporary, temporary.open("wb") as file:
        np.savez(file, sample=np.array(sample), **genome, bin=bins, signal=signal)


def number_bins(sizes: dict[str, int], bin_bp: int) -> np.ndarray:
    """Return the genome-wide number of each chromosome's first bin; all numbers fit int32."""
    if bin_bp < 1:
        raise InputError(f"--bin_bp {bin_bp}: a bin has at least one base; 200 is usual")
    offsets = bin_offsets(sizes, bin_bp)
    if offsets[-1] > INT32_MAX:
        raise InputError(f"--bin_bp {bin_bp}: {offsets[-1]:,} bins in this genome are too many; take wider bins")
    return offsets


def kept_line(peaks: Path, counts: list[int], unknown: list[str]) -> str:
    """Return what the log says of rows, intervals, kept, excluded and off-genome intervals."""
    rows, intervals, kept, excluded, off_genome = counts
    lacking = f" ({few(unknown)})" if unknown else ""
    return (
        f"{peaks.name}: kept {kept:,} of {intervals:,} intervals in {rows:,} rows; "
        f"{excluded:,} overlap an exclusion list, {off_genome:,} are on sequences the genome lacks{lacking}"
    )


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


def drop_excluded(intervals: Intervals, exclude: list[Path], sizes: dict[str, int]) -> Intervals:
    """Return the intervals of which no base lies in an exclusion list."""
    if not exclude:
        return intervals
    import pybedtools  # slow to import, and rarely needed

    if shutil.which("bedtools") is None:
        raise InputError("--exclude needs the program bedtools, which is not on the PATH; install it or use the image")
    lists = [bed_text(read_intervals(path, sizes, "region", signals=False)) for path in exclude]
    regions = pybedtools.BedTool("".join(lists), from_string=True)
    clear = pybedtools.BedTool(bed_text(intervals), from_string=True).intersect(regions, v=True)
    rows = [int(line.split("\t")[3]) for line in Path(clear.fn).read_text().splitlines()]
    pybedtools.cleanup()
    return intervals.take(np.array(sorted(rows), np.int64))


def bed_text(intervals: Intervals) -> str:
    """Return intervals as BED text; chromosome and name are numbers."""
    columns = (intervals.chrom.tolist(), intervals.start.tolist(), intervals.end.tolist(), range(len(intervals.start)))
    return "".join(f"{chrom}\t{start}\t{end}\t{row}\n" for chrom, start, end, row in zip(*columns, strict=True))


def paint(intervals: Intervals, offsets: np.ndarray, bin_bp: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending genome-wide numbers of the bins that hold a base of an interval, and each one's largest signal.

    A chromosome's first bin is `offsets[chrom]`; an interval touches its bins start // width … (end - 1) // width.
    """
    first = intervals.start // bin_bp
    count = (intervals.end - 1) // bin_bp - first + 1  # bins of each interval
    begin = np.cumsum(count) - count  # where they begin in the array of all
    bins = (np.repeat(offsets[intervals.chrom] + first - begin, count) + np.arange(count.sum())).astype(np.int32)
    signal = np.repeat(intervals.signal, count)
    order = np.argsort(bins, kind="stable")
    bins = bins[order]
    starts = np.flatnonzero(np.append(True, bins[1:] != bins[:-1]))
    return bins[starts], np.maximum.reduceat(signal[order], starts)


def mean_coverage(path: Path, bins: np.ndarray, peaks: Intervals, sizes: dict[str, int], bin_bp: int) -> np.ndarray:
    """Return (bins,) float32: the mean over a bin's bases of a bigWig; a base that it does not cover counts 0."""
    offsets, lengths = bin_offsets(sizes, bin_bp), np.array(list(sizes.values()))
    chrom = np.searchsorted(offsets, bins, side="right") - 1
    start = (bins - offsets[chrom]) * bin_bp
    end = np.minimum(start + bin_bp, lengths[chrom])
    apart = (np.diff(chrom) != 0) | (np.diff(start) > GAP_BP) | (np.diff(start // BLOCK_BP) != 0)
    total, progress = np.empty(len(bins)), Progress(len(bins), f"bins of {path.name}")
    with open_bigwig(path) as track:
        names = names_in_track(path, track.chroms(), peaks, sizes)
        for rows in np.split(np.arange(len(bins)), np.flatnonzero(apart) + 1):
            total[rows] = sum_bins(path, track, names[chrom[rows[0]]], start[rows], end[rows[-1]], bin_bp)
            progress.step(rows[-1] + 1)
    if not total.any():
        raise InputError(f"{path.name}: no coverage in any of the {len(bins):,} open bins; is it of this sample?")
    return (total / (end - start)).astype(np.float32)


def open_bigwig(path: Path) -> "pyBigWig.pyBigWig":
    """Return an open bigWig; another kind of file, or one that was cut short, is an InputError."""
    import pyBigWig  # NumPy must be imported before it

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as raw:
        first = raw.read(len(BIGWIG))
        raw.seek(-min(len(BIGWIG), path.stat().st_size), 2)
        last = raw.read()
    if first != BIGWIG:
        kind = "a bigBed, which holds intervals, not coverage" if first == BIGBED else "no bigWig"
        raise InputError(f"{path.name}: this is {kind}; --signal needs a bigWig of coverage")
    try:
        if last == BIGWIG:
            return pyBigWig.open(str(path))
    except RuntimeError:
        pass
    raise InputError(f"{path.name}: the bigWig is cut short or damaged; copy or download the file again")


def names_in_track(path: Path, track: dict[str, int], peaks: Intervals, sizes: dict[str, int]) -> dict[int, str]:
    """Return {chromosome's number: its name in a bigWig} of the chromosomes that have peaks: each must be there, with the genome's length."""
    aliases = chrom_aliases(sizes)
    found = {aliases[name]: name for name in track if name in aliases} | {name: name for name in track if name in sizes}
    names, lacking = {}, {}
    for number, count in zip(*np.unique(peaks.chrom, return_counts=True), strict=True):
        chrom = list(sizes)[number]
        if chrom not in found:
            lacking[chrom] = count
        elif track[found[chrom]] != sizes[chrom]:
            lengths = f"{found[chrom]} has {track[found[chrom]]} bp there, {sizes[chrom]} in the genome"
            raise InputError(f"{path.name}: {lengths}; is this another assembly?")
        names[number] = found.get(chrom)
    if lacking:
        where = f"{few(list(lacking))}, where {sum(lacking.values()):,} of the kept peaks lie"
        raise InputError(f"{path.name}: the bigWig does not have {where}; give the complete track, or leave those peaks out with --exclude")
    return names


def sum_bins(path: Path, track: "pyBigWig.pyBigWig", name: str, start: np.ndarray, end: int, bin_bp: int) -> np.ndarray:
    """Return the sum of the coverage of neighbouring bins, read in one piece up to `end`; only the last may be short."""
    try:
        values = track.values(name, int(start[0]), int(end), numpy=True)  # (bases,) float32, NaN where nothing is covered
    except RuntimeError:
        raise InputError(f"{path.name}: damaged in {name}:{start[0]}-{end}; copy or download the file again") from None
    if not len(values):
        raise InputError(f"{path.name}: the bigWig covers no base at all; is it the right file?")
    values = np.append(values, np.zeros(-len(values) % bin_bp, np.float32)).reshape(-1, bin_bp)[(start - start[0]) // bin_bp]
    row, base = np.nonzero((values < 0) | np.isinf(values))
    if len(row):
        place = f"{name}:{start[row[0]] + base[0]}"
        raise InputError(
            f"{path.name}: {values[row[0], base[0]]:.4g} at {place}; coverage is a number from 0 up; is this a track of ratios?"
        )
    return np.nansum(values, axis=1, dtype=np.float64)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", required=True, help="the sample's id: letters, digits, '.', '_' and '-'")
    parser.add_argument("--peaks", type=Path, required=True, help="narrowPeak, broadPeak or BED, gzip or not")
    parser.add_argument("--chrom-sizes", type=Path, required=True, help="chromosome<TAB>bp; its order numbers the bins")
    parser.add_argument(
        "--exclude",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="BED",
        help="regions to leave out: peaks that overlap one are dropped whole; repeatable",
    )
    parser.add_argument(
        "--signal", type=Path, metavar="BIGWIG", help="coverage: an open bin's signal is its mean, not the peak's signalValue"
    )
    parser.add_argument("--bin-bp", type=int, default=200, help="width of a bin in bp (default: %(default)s)")
    parser.add_argument("--stats-out", type=Path, required=True, help="one-row TSV of counts")
    parser.add_argument("--out", type=Path, required=True, help="the bins (.npz)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Bin, then say with what."""
    peaks, exclude = options.peaks, options.exclude
    bin_peaks(options.sample, peaks, options.chrom_sizes, exclude, options.bin_bp, options.stats_out, options.out, options.signal)
    write_task(options.task_out, "numpy", *(["pybedtools"] if exclude else []), *(["pyBigWig"] if options.signal else []))


if __name__ == "__main__":
    run(main, parse_args())
