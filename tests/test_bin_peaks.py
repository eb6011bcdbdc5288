"""bin_peaks.py: a bin is open when any base of a peak lies in it, and nothing doubtful passes."""

import gzip
import sys
from pathlib import Path
from struct import unpack_from
from subprocess import CompletedProcess, run

import numpy as np
import pyBigWig
import pytest
from pybedtools import BedTool

import bin_peaks as script
from bin_peaks import bin_peaks, paint
from exprcast.cli import InputError
from exprcast.coverage import BIGBED, BIGWIG
from exprcast.intervals import collapse, read_carefully, read_intervals, read_quickly
from exprcast.tables import bin_offsets

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
HG19 = ROOT / "tests" / "blood" / "hg19.chrom.sizes"
SIZES = {"chr1": 1000, "chr2": 450, "chrM": 200}  # bins of 100 bp: chr1 0-9, chr2 10-14, chrM 15-16


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def write_sizes(folder: Path, sizes: dict[str, int] = SIZES) -> Path:
    path = folder / "chrom.sizes"
    path.write_text("".join(f"{name}\t{size}\n" for name, size in sizes.items()))
    return path


def run_script(folder: Path, text: str | bytes, *options: object, name: str = "peaks.bed") -> CompletedProcess:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    inputs = ["--sample", "s", "--bin-bp", 100, "--peaks", folder / name, "--chrom-sizes", write_sizes(folder)]
    outputs = ["--stats-out", folder / "s.tsv", "--out", folder / "s.npz"]
    command = [sys.executable, ROOT / "bin" / "bin_peaks.py", *inputs, *outputs, *options]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def write_bigwig(folder: Path, rows: list[tuple[str, int, int, float]], sizes: dict[str, int] = SIZES) -> Path:
    """Write a bigWig of (chromosome, start, end, value); its header lists all chromosomes."""
    path = folder / "s.bw"
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()), maxZooms=0)
        for chrom, start, end, value in rows:
            track.addEntries([chrom], [start], ends=[end], values=[float(value)])
    return path


def binned(folder: Path, text: str | bytes, *exclude: Path, coverage: Path | None = None) -> dict[int, float]:
    """Return {genome-wide bin: signal}."""
    peaks = folder / "peaks.bed"
    peaks.write_bytes(text.encode() if isinstance(text, str) else text)
    bin_peaks("s", peaks, write_sizes(folder), list(exclude), 100, folder / "s.tsv", folder / "s.npz", coverage)
    with np.load(folder / "s.npz", allow_pickle=False) as table:
        return dict(zip(table["bin"].tolist(), table["signal"].tolist(), strict=True))


def refused(folder: Path, text: str | bytes, *options: object, name: str = "peaks.bed") -> str:
    """Return the one line of an error; nothing may be left behind."""
    before = set(folder.iterdir())
    result = run_script(folder, text, *options, name=name)
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("bin_peaks.py: error: ")
    assert {path.name for path in set(folder.iterdir()) - before} <= {name, "chrom.sizes"}
    return line


def refused_coverage(folder: Path, text: str, coverage: Path) -> str:
    """Return what is said of a bigWig that will not do; no result may be left behind."""
    with pytest.raises(InputError) as refusal:
        binned(folder, text, coverage=coverage)
    assert not (folder / "s.npz").exists() and not (folder / "s.tsv").exists()
    return str(refusal.value)


def stats(folder: Path) -> dict[str, str]:
    header, row = (line.split("\t") for line in (folder / "s.tsv").read_text().splitlines())
    return dict(zip(header, row, strict=True))


def test_the_last_base_of_a_bin_opens_it_and_one_base_further_does_not(tmp_path):
    assert binned(tmp_path, "chr1\t199\t300\n") == {1: 1.0, 2: 1.0}  # bases 199 to 299
    assert binned(tmp_path, "chr1\t200\t300\n") == {2: 1.0}
    assert binned(tmp_path, "chr1\t200\t301\n") == {2: 1.0, 3: 1.0}
    assert binned(tmp_path, "chr1\t0\t1\n") == {0: 1.0}


def test_bins_of_a_chromosome_follow_those_of_the_one_before_and_its_last_may_be_short(tmp_path):
    text = "chr2\t0\t1\nchr2\t449\t450\nchrM\t150\t200\nchr1\t999\t1000\n"
    assert binned(tmp_path, text) == {9: 1.0, 10: 1.0, 14: 1.0, 16: 1.0}


def test_a_bin_has_the_largest_signal_of_the_peaks_that_touch_it(tmp_path):
    rows = [(100, 150, 3.5), (100, 250, 2.0), (240, 310, 2.5)]
    text = "".join(f"chr1\t{start}\t{end}\t.\t0\t.\t{signal}\t-1\t-1\t10\n" for start, end, signal in rows)
    assert binned(tmp_path, text) == {1: 3.5, 2: 2.5, 3: 2.5}


def test_rows_of_several_summits_are_one_interval_with_the_largest_signal(tmp_path):
    text = "".join(f"chr1\t100\t150\tp{n}\t0\t.\t{signal}\t-1\t-1\t{n}\n" for n, signal in enumerate([1.5, 4.5, 2.5]))
    assert binned(tmp_path, text) == {1: 4.5}
    counts = {"rows": "3", "intervals": "1", "kept": "1", "open_bins": "1", "median_width": "50"}
    assert counts.items() <= stats(tmp_path).items()


@pytest.mark.parametrize("columns", [3, 6, 12])
def test_a_bed_without_signal_counts_one(tmp_path, columns):
    bed12 = ["chr1", "100", "150", "p", "900", "+", "120", "130", "0", "1", "50", "0"]
    assert binned(tmp_path, "\t".join(bed12[:columns]) + "\n") == {1: 1.0}


def test_thick_start_is_not_taken_for_a_signal(tmp_path):
    assert binned(tmp_path, "chr1\t100\t150\tp\t900\t+\t100\t150\t0\n") == {1: 1.0}


def test_broad_peak_has_nine_columns_and_the_signal_in_the_seventh(tmp_path):
    assert binned(tmp_path, "chr1\t100\t150\tp\t900\t.\t7.25\t3.0\t2.0\n") == {1: 7.25}


@pytest.mark.parametrize("text", ["1\t0\t100\nMT\t0\t100\n", "chr1\t0\t100\nchrM\t0\t100\n", "1\t0\t100\nM\t0\t100\n"])
def test_ucsc_and_ensembl_names_mean_the_same(tmp_path, text):
    assert binned(tmp_path, text) == {0: 1.0, 15: 1.0}


def test_comments_blank_lines_spaces_and_windows_line_ends_change_nothing(tmp_path):
    plain = binned(tmp_path, "chr1\t100\t150\nchr2\t0\t50\n")
    header = '#header\nbrowser position chr1\ntrack name="a b"\n'
    assert binned(tmp_path, header + "chr1\t100\t150\n\n#chr1\t300\t350\ntrack x\nchr2\t0\t50") == plain
    assert binned(tmp_path, "chr1 100  150\nchr2 0 50\n") == plain
    assert binned(tmp_path, "chr1\t100\t150\r\nchr2\t0\t50\r\n") == plain
    assert binned(tmp_path, gzip.compress(b"chr1\t100\t150\nchr2\t0\t50\n")) == plain


def test_a_row_that_is_commented_out_is_no_peak_on_a_scaffold(tmp_path):
    assert binned(tmp_path, "chr1\t100\t150\n#chr1\t300\t350\n") == {1: 1.0}
    assert {"rows": "1", "off_genome": "0"}.items() <= stats(tmp_path).items()


def test_peaks_on_scaffolds_are_counted_and_left_out(tmp_path):
    result = run_script(tmp_path, "chr1\t0\t100\nchrUn_1\t0\t9999\nchrUn_1\t0\t9999\nHLA*1\t5\t10\n")
    assert "kept 1 of 3 intervals in 4 rows" in result.stderr
    assert "2 are on sequences the genome lacks (chrUn_1, HLA*1)" in result.stderr
    assert stats(tmp_path)["off_genome"] == "2"


def test_a_long_scaffold_name_is_not_cut_to_a_known_one(tmp_path):
    long = "scaffold_" * 8
    sizes = {long + "1": 100, long + "2": 100}
    (tmp_path / "long.bed").write_text(f"{long}2\t0\t50\n{long}1\t0\t50\n")
    assert read_intervals(tmp_path / "long.bed", sizes, "peak", signals=True).chrom.tolist() == [1, 0]


def test_a_peak_that_overlaps_an_exclusion_list_is_dropped_whole(tmp_path):
    first, second = tmp_path / "a.bed", tmp_path / "b.bed.gz"
    first.write_text("1\t299\t300\tHigh Signal Region\n")
    second.write_bytes(gzip.compress(b"chr2\t0\t50\nchrUn_1\t0\t50\n"))
    text = "chr1\t0\t299\nchr1\t250\t300\nchr1\t300\t400\nchr2\t49\t150\nchr2\t50\t60\n"
    assert binned(tmp_path, text, first, second) == dict.fromkeys([0, 1, 2, 3, 10], 1.0)
    assert stats(tmp_path)["excluded"] == "2"
    assert binned(tmp_path, text, first) == dict.fromkeys([0, 1, 2, 3, 10, 11], 1.0)


def test_what_the_file_says_of_genome_and_sample(tmp_path):
    binned(tmp_path, "chr1\t0\t100\nchr1\t800\t1000\n")
    with np.load(tmp_path / "s.npz", allow_pickle=False) as table:
        assert str(table["sample"]) == "s"
        assert table["chromosomes"].tolist() == list(SIZES)
        assert table["sizes"].tolist() == list(SIZES.values())
        assert table["sizes"].dtype == np.int64
        assert int(table["bin_bp"]) == 100
        assert (table["bin"].dtype, table["signal"].dtype) == (np.int32, np.float32)
    assert stats(tmp_path) == {
        **{"sample": "s", "rows": "2", "intervals": "2", "kept": "2", "excluded": "0", "off_genome": "0"},
        **{"open_bins": "3", "open_share": f"{3 / 17:.9g}", "median_width": "150"},
    }


def test_row_order_does_not_matter_and_bytes_repeat(tmp_path):
    rows = [f"chr{1 + n % 2}\t{n * 20}\t{n * 20 + 30}\tp\t0\t.\t{n + 0.5}\t-1\t-1\t1\n" for n in range(20)]
    assert run_script(tmp_path, "".join(rows)).returncode == 0
    first = (tmp_path / "s.npz").read_bytes()
    assert run_script(tmp_path, "".join(reversed(rows))).returncode == 0
    assert (tmp_path / "s.npz").read_bytes() == first


FAULTS = {
    "chr1\t0\t100\nchr1\t900\t100\n": "peaks.bed line 2: end 100 is before start 900; is this a BED file?",
    "#x\n\nchr1\t900\t900\n": "peaks.bed line 3: start and end are both 900; a peak has at least one base",
    "chr1\t-5\t100\n": "peaks.bed line 1: start -5 is negative; BED counts bases from 0",
    "chr2\t400\t451\n": "peaks.bed line 1: end 451 is beyond chr2, which has 450 bp; is this another assembly?",
    "chrom\tstart\tend\n": "peaks.bed line 1: 'start' is no position; columns 2 and 3 of BED are whole numbers",
    "chr1\t1.0\t20\n": "peaks.bed line 1: '1.0' is no position; columns 2 and 3 of BED are whole numbers",
    "chr1\t1\t99999999999999999999\n": "peaks.bed line 1: '99999999999999999999' is no position",
    "chr1\t100\n": "peaks.bed line 1: too few columns (2), BED begins with chromosome, start, end",
    "chr1\t0\t100\tp\nchr1\t200\t300\n": "peaks.bed line 2: 3 columns, line 1 has 4; was the file cut short?",
    "chr1\t0\t100\t.\t0\t.\tNaN\t1\t1\t5\n": "peaks.bed line 1: 'NaN' in column 7 is no signal (a number from 0 up)",
    "chr1\t0\t100\t.\t0\t.\t-0.5\t1\t1\t5\n": "peaks.bed line 1: '-0.5' in column 7 is no signal",
    "chr1\t0\t100\t.\t0\t.\tinf\t1\t1\t5\n": "peaks.bed line 1: 'inf' in column 7 is no signal",
    "chr1\t0\t100\t.\t0\t.\t1e39\t1\t1\t5\n": "peaks.bed line 1: '1e39' in column 7 is no signal",
    "chr1\t0\t100\tENSG1\t0\t+\tENSG1\n": "peaks.bed line 1: 'ENSG1' in column 7 is no signal",
    "": "peaks.bed: no peak in the file; it is empty or holds comments only",
    "# only this\n": "peaks.bed: no peak in the file; it is empty or holds comments only",
    "chr7\t0\t5\nchr8\t0\t5\nchr9\t0\t5\nchr10\t0\t5\n": (
        "peaks.bed: no peak is on a known chromosome: peaks have chr7, chr8, chr9 …; the genome has chr1, chr2, chrM"
    ),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_fault_is_one_line_that_says_where(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_truncated_gzip_is_refused(tmp_path):
    packed = gzip.compress(b"".join(b"chr1\t%d\t%d\n" % (n, n + 7) for n in range(900)))
    assert "cut short or damaged" in refused(tmp_path, packed[:-20], name="peaks.bed.gz")
    assert "cut short or damaged" in refused(tmp_path, packed[:15], name="peaks.bed.gz")


def test_binary_and_missing_files_are_refused(tmp_path):
    assert "peaks.bed line 1: not text in UTF-8" in refused(tmp_path, b"\xeb\xf2\x89\x87\x04\x00\xff\xff")
    assert "no such file" in refused(tmp_path, "chr1\t0\t5\n", "--peaks", tmp_path / "absent.bed")


@pytest.mark.parametrize("sample", ["a;b", "../x", "a b", "", "-x", "."])
def test_an_id_that_is_no_file_name_is_refused(tmp_path, sample):
    line = refused(tmp_path, "chr1\t0\t5\n", f"--sample={sample}")
    assert f"--sample '{sample}': use letters, digits, '.', '_' and '-' only" in line


@pytest.mark.parametrize("width", [0, -5])
def test_a_bin_has_a_width(tmp_path, width):
    line = refused(tmp_path, "chr1\t0\t5\n", f"--bin-bp={width}")
    assert f"--bin_bp {width}: a bin has at least one base" in line


def test_too_many_bins_for_int32_are_refused(tmp_path):
    (tmp_path / "huge.sizes").write_text("chr1\t3000000000\n")
    line = refused(tmp_path, "chr1\t0\t5\n", "--bin-bp", "1", "--chrom-sizes", tmp_path / "huge.sizes")
    assert "3,000,000,000 bins in this genome are too many" in line


EXCLUSION_FAULTS = {
    "chr9\t0\t5\n": "list.bed: no region is on a known chromosome: regions have chr9; the genome has chr1, chr2, chrM",
    "chr1\t0\t5\nchr1\t0\t5000\n": "list.bed line 2: end 5000 is beyond chr1, which has 1000 bp",
    "chr1\t0\t1000\n": "peaks.bed: every peak overlaps an exclusion list; is --exclude the right file?",
    "": "list.bed: no region in the file",
}


@pytest.mark.parametrize(("text", "message"), EXCLUSION_FAULTS.items(), ids=range(len(EXCLUSION_FAULTS)))
def test_a_wrong_exclusion_list_is_refused(tmp_path, text, message):
    (tmp_path / "list.bed").write_text(text)
    line = run_script(tmp_path, "chr1\t0\t5\n", "--exclude", tmp_path / "list.bed").stderr.splitlines()[-1]
    assert line.startswith("bin_peaks.py: error: ") and message in line
    assert not (tmp_path / "s.npz").exists() and not (tmp_path / "s.tsv").exists()


def test_an_open_bin_has_the_mean_coverage_of_its_bases_and_a_base_without_any_counts_0(tmp_path):
    coverage = write_bigwig(tmp_path, [("chr1", 100, 150, 3), ("chr1", 150, 210, 5), ("chr1", 300, 400, 7), ("chr2", 400, 425, 4)])
    text = "".join(f"{where}\t.\t0\t.\t99\t-1\t-1\t10\n" for where in ("chr1\t199\t201", "chr1\t500\t501", "chr2\t449\t450"))
    # bin 1: 50 × 3 + 50 × 5 of 100 bases; bin 2: 10 × 5; bin 3 is covered, not open; bin 5 is open, not covered; bin 14 has 50 bases
    assert binned(tmp_path, text, coverage=coverage) == pytest.approx({1: 4.0, 2: 0.5, 5: 0.0, 14: 2.0})
    assert binned(tmp_path, text) == dict.fromkeys([1, 2, 5, 14], 99.0)


def test_a_chromosome_without_coverage_is_all_0_if_the_bigwig_lists_it(tmp_path):
    coverage = write_bigwig(tmp_path, [("chr1", 0, 100, 2)])
    assert binned(tmp_path, "chr1\t0\t50\nchr2\t0\t150\n", coverage=coverage) == {0: 2.0, 10: 0.0, 11: 0.0}


def test_a_bigwig_may_name_chromosomes_in_the_other_style(tmp_path):
    coverage = write_bigwig(tmp_path, [("1", 0, 100, 2), ("MT", 100, 200, 3)], {"1": 1000, "2": 450, "MT": 200, "GL000": 7})
    assert binned(tmp_path, "chr1\t0\t50\nchrM\t150\t160\n", coverage=coverage) == {0: 2.0, 16: 3.0}


def test_the_log_says_the_mean_and_versions_name_the_reader(tmp_path):
    coverage = write_bigwig(tmp_path, [("chr1", 0, 100, 2), ("chr1", 100, 200, 5)])
    result = run_script(tmp_path, "chr1\t0\t200\n", "--signal", coverage, "--task-out", tmp_path / "task.json")
    assert "2 of 17 bins of 100 bp are open (11.76%); their mean coverage in s.bw is 3.5" in result.stderr
    assert '"pyBigWig"' in (tmp_path / "task.json").read_text()
    assert list(stats(tmp_path)) == list(script.COUNTS) and stats(tmp_path)["open_bins"] == "2"
    first = (tmp_path / "s.npz").read_bytes()
    run_script(tmp_path, "chr1\t0\t200\n", "--signal", coverage)
    assert (tmp_path / "s.npz").read_bytes() == first


@pytest.mark.parametrize(("block_bp", "gap_bp"), [(1 << 22, 1 << 14), (1000, 0), (1000, 400), (50, 50)])
def test_means_are_the_same_in_pieces_of_any_length(tmp_path, monkeypatch, block_bp, gap_bp):
    monkeypatch.setattr("exprcast.coverage.BLOCK_BP", block_bp)
    monkeypatch.setattr("exprcast.coverage.GAP_BP", gap_bp)
    sizes, text = random_peaks(150)
    rng, rows = np.random.default_rng(2), []
    bases = {name: np.zeros(size) for name, size in sizes.items()}
    for name, values in bases.items():
        cuts = np.unique(rng.integers(0, len(values), len(values) // 100)).tolist()
        for start, end in zip(cuts[:-1:2], cuts[1::2], strict=True):
            rows.append((name, start, end, int(rng.integers(1, 9))))
            values[start:end] = rows[-1][3]
    (tmp_path / "peaks.bed").write_text(text)
    genome, coverage = write_sizes(tmp_path, sizes), write_bigwig(tmp_path, rows, sizes)
    bin_peaks("s", tmp_path / "peaks.bed", genome, [], 200, tmp_path / "s.tsv", tmp_path / "s.npz", coverage)
    expected = np.array([values[start : start + 200].mean() for values in bases.values() for start in range(0, len(values), 200)])
    with np.load(tmp_path / "s.npz", allow_pickle=False) as table:
        np.testing.assert_allclose(table["signal"], expected[table["bin"]], rtol=1e-6)


def test_a_bigwig_without_a_chromosome_that_has_peaks_is_refused(tmp_path):
    coverage = write_bigwig(tmp_path, [("chr1", 0, 100, 2)], {"chr1": 1000})
    text = "chr1\t0\t50\nchr2\t0\t50\nchr2\t60\t90\nchrM\t0\t50\nchrUn\t0\t50\n"
    line = refused_coverage(tmp_path, text, coverage)
    assert "s.bw: the bigWig does not have chr2, chrM, where 3 of the kept peaks lie; give the complete track, or leave" in line
    (tmp_path / "x.bed").write_text("chr2\t0\t450\nchrM\t0\t200\n")
    assert binned(tmp_path, text, tmp_path / "x.bed", coverage=coverage) == {0: 2.0}


def test_a_bigwig_of_another_assembly_is_refused(tmp_path):
    coverage = write_bigwig(tmp_path, [("1", 0, 100, 2)], {"1": 1001, "2": 449})
    line = refused_coverage(tmp_path, "chr1\t0\t50\n", coverage)
    assert "s.bw: 1 has 1001 bp there, 1000 in the genome; is this another assembly?" in line


@pytest.mark.parametrize(("value", "said"), [(-0.25, "-0.25"), (float("inf"), "inf")])
def test_a_track_of_ratios_is_refused(tmp_path, value, said):
    coverage = write_bigwig(tmp_path, [("chr1", 100, 200, value)])
    line = refused_coverage(tmp_path, "chr1\t0\t150\n", coverage)
    assert f"s.bw: {said} at chr1:100; coverage is a number from 0 up" in line


def test_a_ratio_below_0_is_not_outweighed_by_its_neighbours(tmp_path):
    line = refused_coverage(tmp_path, "chr1\t0\t150\n", write_bigwig(tmp_path, [("chr1", 0, 90, 5), ("chr1", 90, 95, -3)]))
    assert "s.bw: -3 at chr1:90" in line


@pytest.mark.parametrize("value", [0, 7])
def test_a_bigwig_without_coverage_in_any_peak_is_refused(tmp_path, value):
    line = refused_coverage(tmp_path, "chr1\t0\t150\n", write_bigwig(tmp_path, [("chr1", 500 if value else 0, 600, value)]))
    assert "s.bw: no coverage in any of the 2 open bins; is it of this sample?" in line


def test_a_bigwig_that_covers_nothing_is_refused(tmp_path):
    line = refused_coverage(tmp_path, "chr1\t0\t150\n", write_bigwig(tmp_path, []))
    assert "s.bw: the bigWig covers no base at all" in line


NO_BIGWIGS = {
    b"chr1\t0\t100\t2.5\n": "s.bw: this is no bigWig; --signal needs a bigWig of coverage",
    b"": "s.bw: this is no bigWig",
    gzip.compress(b"chr1"): "s.bw: this is no bigWig",
    BIGBED + bytes(60): "s.bw: this is a bigBed, which holds intervals, not coverage; --signal needs a bigWig",
    BIGWIG + bytes(60): "s.bw: the bigWig is cut short or damaged; copy or download the file again",
}


@pytest.mark.parametrize("content", NO_BIGWIGS, ids=range(len(NO_BIGWIGS)))
def test_what_is_no_bigwig_is_refused(tmp_path, content):
    (tmp_path / "s.bw").write_bytes(content)
    assert NO_BIGWIGS[content] in refused_coverage(tmp_path, "chr1\t0\t150\n", tmp_path / "s.bw")


def test_an_absent_bigwig_is_one_line_and_exit_1(tmp_path):
    result = run_script(tmp_path, "chr1\t0\t150\n", "--signal", tmp_path / "absent.bw")
    *_, line = result.stderr.splitlines()
    assert result.returncode == 1 and line.startswith("bin_peaks.py: error: ") and line.endswith("absent.bw: no such file")


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_bigwig_that_was_cut_short_is_refused(tmp_path, part):
    whole = write_bigwig(tmp_path, [("chr1", 10 * n, 10 * n + 7, n) for n in range(99)]).read_bytes()
    (tmp_path / "s.bw").write_bytes(whole[: int(len(whole) * part)])
    line = refused_coverage(tmp_path, "chr1\t0\t150\n", tmp_path / "s.bw")
    assert "s.bw: the bigWig is cut short or damaged" in line


def test_a_damaged_piece_of_a_bigwig_is_refused(tmp_path):
    path = write_bigwig(tmp_path, [("chr1", 10 * n, 10 * n + 7, n) for n in range(99)])
    content = bytearray(path.read_bytes())
    (data,) = unpack_from("<Q", content, 16)
    content[data + 8 : data + 28] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.bw: damaged in chr1:0-200; copy or download the file again"):
        binned(tmp_path, "chr1\t0\t150\n", coverage=path)


def test_real_coverage_of_every_open_bin(tmp_path):
    peaks = needs(DATA / "peaks" / "K562.ATAC.chr22.macs2_p0.1.narrowPeak.gz")
    coverage = needs(DATA / "peaks" / "acc.K562.chr22.bw")
    sizes = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    bin_peaks("K562", peaks, sizes, [], 200, tmp_path / "s.tsv", tmp_path / "s.npz", coverage)
    with pyBigWig.open(str(coverage)) as track:
        start, end, value = np.array(track.intervals("chr22")).T
        lengths = track.chroms()
    edges = np.concatenate([[0], np.ravel([start, end], "F")])
    area = np.concatenate([[0], np.cumsum(np.ravel([np.zeros(len(start)), (end - start) * value], "F"))])  # up to each edge
    with np.load(tmp_path / "s.npz", allow_pickle=False) as table:
        names, chromosomes = table["chromosomes"].tolist(), dict(zip(table["chromosomes"].tolist(), table["sizes"].tolist(), strict=True))
        left = (table["bin"] - bin_offsets(chromosomes, 200)[names.index("chr22")]) * 200.0
        signal = table["signal"]
    assert len(signal) == 49_185 and chromosomes["chr22"] == lengths["chr22"]
    expected = (np.interp(left + 200, edges, area) - np.interp(left, edges, area)) / 200
    np.testing.assert_allclose(signal, expected, rtol=1e-5, atol=1e-6)


def random_peaks(count: int, seed: int = 1) -> tuple[dict[str, int], str]:
    """Return a genome and narrowPeak text: overlapping, repeated and adjoining peaks up to both ends of chromosomes."""
    rng = np.random.default_rng(seed)
    sizes = {f"chr{n}": int(size) for n, size in enumerate(rng.integers(20_000, 90_000, 5), 1)}
    rows = []
    for name in rng.choice(list(sizes), count):
        start = int(rng.integers(0, sizes[name] - 1))
        end = min(start + int(rng.choice([1, 50, 199, 200, 201, 1500])), sizes[name])
        start = max(0, start - start % 200) if rng.random() < 0.3 else start
        rows += [f"{name}\t{start}\t{end}\t.\t0\t.\t{rng.gamma(2):.5f}\t-1\t-1\t0\n"] * int(rng.integers(1, 3))
    return sizes, "".join(rows)


def test_both_readers_read_the_same(tmp_path):
    sizes, text = random_peaks(500)
    path = tmp_path / "p.narrowPeak"
    path.write_text(text + "chrUn\t5\t9\t.\t0\t.\t1\t-1\t-1\t0\n")
    quick, careful = read_quickly(path, sizes, True), read_carefully(path, sizes, "peak", True)
    assert quick.unknown == careful.unknown == ["chrUn"]
    for ours, theirs in zip(quick[:4], careful[:4], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def bed(text: str) -> BedTool:
    return BedTool(text, from_string=True)


@pytest.mark.parametrize("bin_bp", [200, 1000])
def test_bins_are_those_that_bedtools_finds(tmp_path, bin_bp):
    sizes, text = random_peaks(400)
    path = tmp_path / "p.narrowPeak"
    path.write_text(text)
    intervals = collapse(read_intervals(path, sizes, "peak", signals=True))
    bins, signal = paint(intervals, bin_offsets(sizes, bin_bp), bin_bp)
    starts = [(name, start) for name, size in sizes.items() for start in range(0, size, bin_bp)]  # in the bins' order
    ends = [min(start + bin_bp, sizes[name]) for name, start in starts]
    genome = "".join(f"{name}\t{start}\t{ends[n]}\t{n}\n" for n, (name, start) in enumerate(starts))
    expected: dict[int, float] = {}
    for hit in bed(genome).intersect(bed(text), wa=True, wb=True):
        expected[int(hit[3])] = max(expected.get(int(hit[3]), 0.0), float(hit[10]))
    assert bins.tolist() == sorted(expected)
    np.testing.assert_array_equal(signal, np.array([expected[n] for n in sorted(expected)], np.float32))


def test_real_monocyte_peaks(tmp_path):
    peaks = needs(DATA / "atac" / "blood_hg19" / "Mono.narrowPeak.gz")
    bin_peaks("Mono", peaks, HG19, [], 1000, tmp_path / "s.tsv", tmp_path / "s.npz")
    assert {"rows": "93002", "intervals": "78552", "kept": "78552", "excluded": "0"}.items() <= stats(tmp_path).items()
    with np.load(tmp_path / "s.npz", allow_pickle=False) as table:
        signal = dict(zip(table["bin"].tolist(), table["signal"].tolist(), strict=True))
    assert signal[567] == pytest.approx(549.41541) and signal[565] == pytest.approx(159.52568)  # chr1:567,267-567,777
    assert 566 not in signal


def test_real_relaxed_peaks_against_the_real_exclusion_list(tmp_path):
    peaks = needs(DATA / "peaks" / "K562.ATAC.chr22.macs2_p0.1.narrowPeak.gz")
    excluded = needs(DATA / "genome" / "GRCh38_unified_blacklist.bed")
    sizes = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    bin_peaks("K562", peaks, sizes, [excluded], 200, tmp_path / "s.tsv", tmp_path / "s.npz")
    clear = BedTool(str(peaks)).intersect(str(excluded), v=True)
    assert stats(tmp_path)["kept"] == str(len({(row.chrom, row.start, row.end) for row in clear}))
    assert int(stats(tmp_path)["excluded"]) > 100


def test_hg38_peaks_do_not_pass_for_hg19(tmp_path):
    peaks = needs(DATA / "peaks" / "ENCFF469LGT.sigmoid_colon.IDR.narrowPeak.gz")
    hg38 = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    bin_peaks("colon", peaks, hg38, [], 200, tmp_path / "s.tsv", tmp_path / "s.npz")
    assert {"rows": "60532", "intervals": "28264", "off_genome": "0"}.items() <= stats(tmp_path).items()
