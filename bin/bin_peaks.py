#!/usr/bin/env python3
"""Bin one sample's peaks: narrowPeak, broadPeak or BED, with or without a bigWig → the numbers of its open bins and their signals (.npz)."""

import argparse
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np

from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.coverage import mean_coverage
from exprcast.intervals import INT32_MAX, Intervals, collapse, read_intervals
from exprcast.tables import bin_offsets, check_file_id, few, read_bytes, read_chrom_sizes, write_table

COUNTS = ("sample", "rows", "intervals", "kept", "excluded", "off_genome", "open_bins", "open_share", "median_width")


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
    made = {"chromosomes": names, "sizes": lengths, "bin_bp": np.int64(bin_bp), "source": np.array(source(coverage, exclude))}
    with whole_file(out) as temporary, temporary.open("wb") as file:
        np.savez(file, sample=np.array(sample), **made, bin=bins, signal=signal)


def source(coverage: Path | None, exclude: list[Path]) -> str:
    """Say what the bins are made of: "peaks" or "coverage", and the exclusion lists by a digest of their text, in any order."""
    digests = sorted(sha256(read_bytes(path)).hexdigest()[:12] for path in exclude)
    return ("peaks" if coverage is None else "coverage") + "".join(f", without {digest}" for digest in digests)


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
