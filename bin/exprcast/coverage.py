"""Mean coverage of a bigWig over open bins."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exprcast.cli import InputError, Progress
from exprcast.intervals import Intervals
from exprcast.tables import bin_offsets, chrom_aliases, few

if TYPE_CHECKING:
    import pyBigWig

BIGWIG, BIGBED = bytes.fromhex("26fc8f88"), bytes.fromhex("ebf28987")  # magic numbers; a whole bigWig also ends with its own
BLOCK_BP, GAP_BP = 1 << 22, 1 << 14  # a bigWig is read in pieces up to so long, across gaps up to so wide


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
