"""Speed of bin_peaks.py beside bedtools on whole-genome peaks; ratios, measured side by side, and the same answer.

python -m pytest tests/bench/bench_binning.py -s
"""

import subprocess
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest

from bin_peaks import number_bins, paint
from exprcast.intervals import Intervals, collapse, read_intervals
from exprcast.tables import read_chrom_sizes

HG19 = Path(__file__).parents[1] / "blood" / "hg19.chrom.sizes"
PEAKS = (60_000, 200_000)
BIN_BP = (1_000, 200)
WHOLE_FLOOR, BINS_FLOOR = 4, 30  # times faster than bedtools: file to bins; arrays to bins
ROUNDS = 3


def simulate_peaks(sizes: dict[str, int], count: int, path: Path) -> None:
    """Write narrowPeak rows as MACS2 does: widths around 400 bp, every fifth interval with a second summit, sorted."""
    rng = np.random.default_rng(count)
    lengths = np.array(list(sizes.values()))
    chrom = rng.choice(len(sizes), count, p=lengths / lengths.sum())
    start = (rng.random(count) * (lengths[chrom] - 5_000)).astype(int)
    end = start + 200 + rng.gamma(1.5, 160, count).astype(int)
    rows = np.repeat(np.arange(count), 1 + (rng.random(count) < 0.2))
    signal = rng.gamma(2, 4, len(rows))
    names = list(sizes)
    tails = [f"{end[row]}\tall/s_peak_{n}\t136\t.\t{signal[n]:.5f}\t15.95411\t13.69\t145" for n, row in enumerate(rows)]
    lines = sorted((names[chrom[row]], int(start[row]), tail) for row, tail in zip(rows, tails, strict=True))
    path.write_text("".join(f"{name}\t{begin}\t{tail}\n" for name, begin, tail in lines))


def write_bins(sizes: dict[str, int], bin_bp: int, path: Path) -> None:
    """Write the genome's bins as sorted BED; the name is the bin's number."""
    first = dict(zip(sizes, number_bins(sizes, bin_bp).tolist(), strict=False))
    with path.open("w") as file:
        for name in sorted(sizes):
            size = sizes[name]
            starts = range(0, size, bin_bp)
            file.writelines(f"{name}\t{s}\t{min(s + bin_bp, size)}\t{first[name] + n}\n" for n, s in enumerate(starts))


def seconds(work, rounds: int = ROUNDS) -> tuple[float, object]:
    """Return the shortest time of some rounds, and the result."""
    best, result = float("inf"), None
    for _ in range(rounds):
        start = perf_counter()
        result = work()
        best = min(best, perf_counter() - start)
    return best, result


def bedtools_bins(bins: Path, peaks: Path, out: Path) -> None:
    with out.open("wb") as file:
        subprocess.run(["bedtools", "intersect", "-u", "-sorted", "-a", bins, "-b", peaks], stdout=file, check=True)


def file_to_bins(peaks: Path, sizes: dict[str, int], bin_bp: int) -> np.ndarray:
    rows = read_intervals(peaks, sizes, "peak", signals=True)
    return paint(collapse(rows), number_bins(sizes, bin_bp), bin_bp)[0]


@pytest.mark.parametrize("bin_bp", BIN_BP)
@pytest.mark.parametrize("count", PEAKS)
def test_binning_beats_bedtools(tmp_path, count, bin_bp):
    sizes = read_chrom_sizes(HG19)
    peaks, bins, out = (tmp_path / name for name in ("s.narrowPeak", "bins.bed", "open.bed"))
    simulate_peaks(sizes, count, peaks)
    write_bins(sizes, bin_bp, bins)
    bedtools_s, _ = seconds(lambda: bedtools_bins(bins, peaks, out))
    whole_s, ours = seconds(lambda: file_to_bins(peaks, sizes, bin_bp))
    intervals: Intervals = collapse(read_intervals(peaks, sizes, "peak", signals=True))
    bins_s, _ = seconds(lambda: paint(intervals, number_bins(sizes, bin_bp), bin_bp))
    print(
        f"\n{count:,} peaks, {bin_bp:,} bp bins: bedtools {bedtools_s:.2f} s, file to bins {whole_s * 1e3:.0f} ms "
        f"({bedtools_s / whole_s:.1f} x), bins alone {bins_s * 1e3:.1f} ms ({bedtools_s / bins_s:.0f} x), "
        f"{len(ours):,} open"
    )
    assert sorted(np.loadtxt(out, np.int64, usecols=3).tolist()) == ours.tolist()
    assert bedtools_s / whole_s >= WHOLE_FLOOR
    assert bedtools_s / bins_s >= BINS_FLOOR
