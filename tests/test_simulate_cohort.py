"""simulate_cohort.py: the files are what users bring, and the stated rule alone explains the expression in them."""

import csv
import gzip
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from exprcast.simulation.promoters import plant_motif
from exprcast.tables import read_matrix
from halflife_features import halflife_features
from index_genome import index_genome

SCRIPT = Path(__file__).parents[1] / "bin" / "simulate_cohort.py"
COMPLEMENT = str.maketrans("ACGT", "TGCA")
SMALL = ("--samples", "8", "--genes", "40", "--reads", "0")
WINDOW_BP, DECAY_BP, HALF_SIGNAL, GAIN = 100_000, 9_000, 20.0, 3.0  # the rule as the script's docstring states it


def simulate(out: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *options, "--out", out], capture_output=True, text=True, timeout=120)


def made(out: Path, *options: str) -> Path:
    result = simulate(out, *options)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("cohort") / "small", *SMALL)


@pytest.fixture(scope="module")
def default(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("cohort") / "default", "--reads", "0")


def rows_of(path: Path, delimiter: str = "\t") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def matrix_of(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return (ids without version, samples, values)."""
    with gzip.open(path, "rt") as file:
        header, *rows = [line.rstrip("\n").split("\t") for line in file]
    return [row[0].partition(".")[0] for row in rows], header[1:], np.array([row[1:] for row in rows], float)


def peaks_of(path: Path) -> list[tuple]:
    """Return (chrom, start, end, signalValue, peak offset, row) of each line."""
    with gzip.open(path, "rt") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [(row[0], int(row[1]), int(row[2]), float(row[6]), int(row[9]), row) for row in rows]


def measured_and_oracle(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return log2(TPM + 1) and the oracle, (genes, samples), joined by id."""
    genes, samples, tpm = matrix_of(folder / "expression.tsv.gz")
    oracle_genes, oracle_samples, oracle = matrix_of(folder / "oracle.tsv.gz")
    assert oracle_samples == samples
    return np.log2(tpm + 1)[[genes.index(gene) for gene in oracle_genes]], oracle


def median_r_sample(folder: Path) -> float:
    measured, oracle = measured_and_oracle(folder)
    return float(np.median([np.corrcoef(x, y)[0, 1] for x, y in zip(measured, oracle, strict=True)]))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes_another_seed_other_bytes(small, tmp_path):
    assert bytes_of(small) == bytes_of(made(tmp_path / "again", *SMALL))
    other = bytes_of(made(tmp_path / "other", *SMALL, "--seed", "2"))
    assert other.keys() == bytes_of(small).keys()
    assert {name for name, data in other.items() if data == bytes_of(small)[name]} == {"samples.csv"}


def test_noise_of_expression_leaves_every_other_part_alone(small, tmp_path):
    quiet, noisy = bytes_of(made(tmp_path / "quiet", *SMALL, "--noise", "0")), bytes_of(small)
    assert {name for name in noisy if noisy[name] != quiet[name]} == {"expression.tsv.gz", "true_transcripts.tsv.gz"}


def test_a_quarter_of_the_genes_are_landmarks_and_all_others_targets(default, small, tmp_path):
    """Drawn for the whole cohort, neither first in the genome nor of one chromosome; the seed, and nothing else, decides."""
    symbols = {row["id"].partition(".")[0]: row["symbol"] for row in rows_of(default / "genes.tsv")}
    genes = list(symbols)
    lists = {name: rows_of(default / f"{name}.tsv") for name in ("landmarks", "targets")}
    landmarks, targets = ([row["gene_id"] for row in rows] for rows in lists.values())
    assert len(landmarks) == 150 and sorted([*landmarks, *targets]) == sorted(genes)
    assert all(row == {"gene_id": row["gene_id"], "symbol": symbols[row["gene_id"]]} for rows in lists.values() for row in rows)
    places = [genes.index(gene) for gene in landmarks]
    assert places == sorted(places) and min(np.histogram(places, 4, (0, 600))[0]) > 20
    assert [len(rows_of(small / f"{name}.tsv")) for name in ("landmarks", "targets")] == [10, 30]
    quiet = made(tmp_path / "quiet", *SMALL, "--noise", "0", "--samples", "9")
    assert (quiet / "landmarks.tsv").read_bytes() == (small / "landmarks.tsv").read_bytes()


def test_sizes_are_those_asked_for(tmp_path):
    sizes = "--samples 9 --genes 31 --chromosomes 3 --replicates 1 --donors-per-biosample 3 --reads 0"
    folder = made(tmp_path / "cohort", *sizes.split())
    sheet = rows_of(folder / "samples.csv", ",")
    assert [row["sample"] for row in sheet][:4] == ["CT01_D1_R1", "CT01_D2_R1", "CT01_D3_R1", "CT02_D1_R1"]
    assert len(sheet) == len(list((folder / "peaks").iterdir())) == 9
    assert Counter(row["chrom"] for row in rows_of(folder / "genes.tsv")) == {"chr1": 11, "chr2": 10, "chr3": 10}


@pytest.mark.parametrize("sizes", [("40", "2", "2"), ("25", "3", "2"), ("8", "2", "2"), ("24", "1", "3")])
def test_replicates_nest_in_donors_and_donors_in_biosamples(sizes, tmp_path):
    samples, replicates, donors = sizes
    options = ("--samples", samples, "--replicates", replicates, "--donors-per-biosample", donors, "--genes", "4", "--reads", "0")
    sheet = rows_of(made(tmp_path / "cohort", *options) / "samples.csv", ",")
    assert list(sheet[0]) == ["sample", "donor", "biosample", "replicate_group", "batch", "peaks"]
    assert len({row["sample"] for row in sheet}) == len(sheet) == int(samples)
    for inner, outer in (("replicate_group", "donor"), ("donor", "biosample")):
        assert len({(row[inner], row[outer]) for row in sheet}) == len({row[inner] for row in sheet})
    assert max(Counter(row["replicate_group"] for row in sheet).values()) == int(replicates)
    donors_of = Counter(biosample for _, biosample in {(row["donor"], row["biosample"]) for row in sheet})
    assert len(donors_of) >= 3
    assert max(donors_of.values()) == int(donors)


def test_biosamples_differ_more_than_donors_and_donors_more_than_replicates(default):
    _, samples, oracle = matrix_of(default / "oracle.tsv.gz")
    level = dict(zip(samples, (oracle - oracle.mean(axis=1, keepdims=True)).T, strict=True))
    pairs = ("CT01_D1_R2", "CT01_D2_R1", "CT02_D1_R1")
    replicate, donor, biosample = (np.corrcoef(level["CT01_D1_R1"], level[other])[0, 1] for other in pairs)
    assert replicate > donor + 0.03
    assert donor > biosample + 0.3


def test_narrowpeak_lines_are_valid_sorted_and_inside_the_genome(default):
    sizes = dict(line.split("\t") for line in (default / "chrom.sizes").read_text().splitlines())
    for path in sorted((default / "peaks").iterdir())[:3]:
        peaks = peaks_of(path)
        order = list(sizes)
        assert [(order.index(p[0]), p[1]) for p in peaks] == sorted((order.index(p[0]), p[1]) for p in peaks)
        assert len({p[5][3] for p in peaks}) == len(peaks)
        for chrom, start, end, signal, offset, row in peaks:
            assert len(row) == 10
            assert 0 <= start < end <= int(sizes[chrom])
            assert 200 <= end - start <= 1500
            assert 0 <= offset < end - start
            assert signal > 0
            assert 0 <= int(row[4]) <= 1000
        intervals = sorted({p[:3] for p in peaks}, key=lambda interval: (order.index(interval[0]), interval[1]))
        for (chrom, _, end), (next_chrom, start, _) in zip(intervals, intervals[1:], strict=False):
            assert chrom != next_chrom or end <= start


def test_some_peaks_have_several_summits_with_their_own_offset_and_signal(default):
    peaks = peaks_of(next((default / "peaks").iterdir()))
    several = [interval for interval, count in Counter(p[:3] for p in peaks).items() if count > 1]
    assert len(several) > 50
    for interval in several:
        rows = [p for p in peaks if p[:3] == interval]
        assert len({p[4] for p in rows}) == len(rows)
        assert len({p[3] for p in rows}) == len(rows)


def test_noise_peaks_are_weak_and_far_from_every_element_and_an_option(default, small, tmp_path):
    def strays(folder: Path, sample: str = "CT01_D1_R1") -> list[float]:
        summits = [(row["chrom"], int(row["summit"])) for row in rows_of(folder / "truth.tsv")]
        by_chrom = {chrom: np.array([s for c, s in summits if c == chrom]) for chrom, _ in summits}
        peaks = peaks_of(folder / "peaks" / f"{sample}.narrowPeak.gz")
        return [p[3] for p in peaks if np.abs(by_chrom[p[0]] - p[1] - p[4]).min() > 1000]

    signals = strays(default)
    elements = len({(row["chrom"], row["summit"]) for row in rows_of(default / "truth.tsv")})
    assert len(signals) == round(0.5 * elements)
    assert np.median(signals) < 5
    assert strays(made(tmp_path / "clean", *SMALL, "--noise-peaks", "0")) == []


def test_expression_is_tpm_of_the_same_genes_under_other_versions(default):
    ids, samples, tpm = matrix_of(default / "expression.tsv.gz")
    assert samples == [row["sample"] for row in rows_of(default / "samples.csv", ",")]
    assert np.allclose(tpm.sum(axis=0), 1e6, rtol=1e-6)
    assert (tpm > 0).all()
    table = [row["id"] for row in rows_of(default / "genes.tsv")]
    with gzip.open(default / "expression.tsv.gz", "rt") as file:
        written = [line.partition("\t")[0] for line in file][1:]
    assert set(table).isdisjoint(written)
    assert ids != [identifier.partition(".")[0] for identifier in table]  # joined by id, never by order
    assert set(ids) == {identifier.partition(".")[0] for identifier in table}
    assert set(ids) == set(matrix_of(default / "oracle.tsv.gz")[0])
    assert set(ids) == {row["gene"] for row in rows_of(default / "truth.tsv")}


def test_truth_says_where_each_element_lies_and_what_it_weighs(default):
    genes = {row["id"].partition(".")[0]: row for row in rows_of(default / "genes.tsv")}
    truth = rows_of(default / "truth.tsv")
    planted = Counter(row["gene"] for row in truth if row["kind"] == "planted")
    assert planted.keys() == genes.keys()
    assert set(planted.values()) == {1, 2, 3, 4}
    assert 0.4 < sum(count == 1 for count in planted.values()) / len(planted) < 0.6
    for row in truth:
        gene, distance = genes[row["gene"]], int(row["distance_bp"])
        ahead = int(row["summit"]) - int(gene["tss"])
        assert row["chrom"] == gene["chrom"]
        assert distance == (ahead if gene["strand"] == "+" else -ahead)
        assert abs(distance) <= 20_000 if row["kind"] == "planted" else 40_000 <= abs(distance) <= WINDOW_BP
        assert float(row["weight"]) == pytest.approx(math.exp(-abs(distance) / DECAY_BP))
        assert row["single"] == ("yes" if planted[row["gene"]] == 1 else "no")


def test_single_elements_lie_at_promoters_and_away_from_them_on_both_sides(default):
    rows = [row for row in rows_of(default / "truth.tsv") if row["single"] == "yes" and row["kind"] == "planted"]
    distance = np.array([int(row["distance_bp"]) for row in rows])
    for where in (np.abs(distance) < 1000, distance < -3000, distance > 3000):
        assert where.mean() > 0.15


def test_decoys_are_as_strong_and_as_variable_as_planted_elements(default):
    truth = rows_of(default / "truth.tsv")
    planted = {(row["chrom"], int(row["summit"])) for row in truth if row["kind"] == "planted"}
    elements = sorted({(row["chrom"], int(row["summit"])) for row in truth})
    signal = np.zeros((len(elements), 40))
    for number, path in enumerate(sorted((default / "peaks").iterdir())):
        found = {(p[0], (p[1] + p[4]) // 200): p[3] for p in peaks_of(path)}
        near = [[found.get((chrom, s // 200 + side), 0) for side in (-1, 0, 1)] for chrom, s in elements]
        signal[:, number] = np.max(near, axis=1)
    is_planted = np.array([element in planted for element in elements])
    log_signal = np.log2(1 + signal)
    for of in (log_signal.mean(axis=1), log_signal.std(axis=1)):
        assert np.median(of[~is_planted]) == pytest.approx(np.median(of[is_planted]), rel=0.1)


def test_oracle_is_the_stated_rule_on_the_called_peaks(small):
    """Differences between genes of differences between samples are free of base(g) and of the scale of a sample."""
    genes = rows_of(small / "genes.tsv")
    sheet = rows_of(small / "samples.csv", ",")
    rule = np.zeros((len(genes), len(sheet)))
    for column, sample in enumerate(sheet):
        best: dict[tuple, tuple] = {}
        for chrom, start, end, signal, offset, _ in peaks_of(small / sample["peaks"]):
            best[chrom, start, end] = max(best.get((chrom, start, end), (0.0, 0)), (signal, start + offset))
        for row, gene in enumerate(genes):
            for (chrom, _, _), (signal, summit) in best.items():
                distance = abs(summit - int(gene["tss"]))
                if chrom == gene["chrom"] and distance <= WINDOW_BP:
                    rule[row, column] += GAIN * math.exp(-distance / DECAY_BP) * signal / (signal + HALF_SIGNAL)
    level = np.log2(np.exp2(matrix_of(small / "oracle.tsv.gz")[2]) - 1)

    def centred(x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()

    assert np.allclose(centred(level), centred(rule), atol=1e-5)
    assert np.allclose((np.exp2(level)).sum(axis=0), 1e6, rtol=1e-5)


@pytest.mark.parametrize("options", [("--seed", "2"), ("--samples", "24", "--genes", "300", "--seed", "3")])
def test_oracle_correlates_as_it_should_with_what_was_measured(options, default, tmp_path):
    assert 0.85 <= median_r_sample(default) <= 0.92
    result = simulate(tmp_path / "cohort", *options, "--reads", "0")
    r_sample = median_r_sample(tmp_path / "cohort")
    assert 0.85 <= r_sample <= 0.92
    assert f"median r_sample is {r_sample:.3f}" in result.stderr


def test_noise_multiplies_the_noise(default, tmp_path):
    measured, oracle = measured_and_oracle(default)
    quiet_measured, quiet_oracle = measured_and_oracle(made(tmp_path / "quiet", "--noise", "0", "--reads", "0"))
    loud_measured, _ = measured_and_oracle(made(tmp_path / "loud", "--noise", "2", "--reads", "0"))
    assert np.array_equal(oracle, quiet_oracle)
    assert np.median([np.corrcoef(x, y)[0, 1] for x, y in zip(quiet_measured, quiet_oracle, strict=True)]) > 0.95
    noise, twice = (np.std(x - quiet_measured, axis=1) for x in (measured, loud_measured))
    assert np.median(twice / noise) == pytest.approx(2, rel=0.1)
    assert np.quantile(noise, 0.9) < 1.6 * np.quantile(noise, 0.1)  # one sd for all genes


MOTIF, UPSTREAM, DOWNSTREAM = "CCGGAAGT", 200, 30  # between so many bp before the TSS


def promoters_of(folder: Path) -> dict[str, str]:
    """Return the bases from UPSTREAM to DOWNSTREAM before each gene's TSS on its strand, in upper case."""
    text = gzip.decompress((folder / "genome.fa.gz").read_bytes()).decode()
    chroms = {record.split()[0]: record.partition("\n")[2].replace("\n", "") for record in text.split(">")[1:]}
    found = {}
    for row in rows_of(folder / "genes.tsv"):
        tss, bases = int(row["tss"]), chroms[row["chrom"]]
        sense = bases[tss - UPSTREAM : tss - DOWNSTREAM].upper()
        if row["strand"] == "-":
            sense = bases[tss + DOWNSTREAM + 1 : tss + UPSTREAM + 1].upper().translate(COMPLEMENT)[::-1]
        found[row["id"].partition(".")[0]] = sense
    return found


def test_the_motif_is_in_each_promoter_where_the_truth_says_and_nowhere_else_there(default):
    promoters = promoters_of(default)
    truth = rows_of(default / "promoters.tsv")
    assert [row["gene"] for row in truth] == list(promoters)
    for row in truth:
        places = [match.start() - UPSTREAM for match in re.finditer(f"(?={MOTIF})", promoters[row["gene"]])]
        assert row["starts"] == (",".join(map(str, places)) or "NA") and int(row["copies"]) == len(places)
    copies = Counter(int(row["copies"]) for row in truth)
    assert set(copies) == {0, 1, 2, 3} and min(copies.values()) > len(truth) / 6
    starts = [int(start) for row in truth if row["starts"] != "NA" for start in row["starts"].split(",")]
    assert min(starts) < -190 and -45 < max(starts) <= -DOWNSTREAM - len(MOTIF)
    assert MOTIF.translate(COMPLEMENT)[::-1] != MOTIF


def test_a_motif_that_is_there_by_chance_goes_and_planted_ones_stay():
    """Forty bases that hold four copies by chance; one is planted over two of them."""
    codes = np.array(["ACGT".index(base) for base in f"{MOTIF}{MOTIF}AAA{MOTIF}{MOTIF}"] + [0] * 135, np.uint8)
    plant_motif(codes, np.array([-UPSTREAM + 4]))
    assert [match.start() for match in re.finditer(f"(?={MOTIF})", "".join("ACGT"[code] for code in codes))] == [4]


def strengths_of(folder: Path) -> np.ndarray:
    """Return what the truth adds up to for each gene, as the script's docstring states it."""
    rows = rows_of(folder / "promoters.tsv")
    halflife = [0 if row["halflife"] == "NA" else float(row["halflife"]) for row in rows]
    return np.array([1.25 * int(row["copies"]) + term + float(row["other"]) for row, term in zip(rows, halflife, strict=True)])


def test_half_life_follows_from_the_features_that_the_pipeline_measures(default, tmp_path):
    genes = [[row["id"].partition(".")[0], row["symbol"], row["chrom"], row["strand"]] for row in rows_of(default / "genes.tsv")]
    (tmp_path / "genes.tsv").write_text("\n".join(map("\t".join, [["id", "symbol", "chrom", "strand"], *genes])) + "\n")
    index_genome(default / "genome.fa.gz", tmp_path / "sizes", tmp_path / "genome.fa.gz")
    halflife_features(default / "annotation.gtf.gz", tmp_path / "genome.fa.gz", tmp_path / "genes.tsv", tmp_path / "halflife.tsv.gz")
    measured = read_matrix(tmp_path / "halflife.tsv.gz")
    density, utr3_bp = (measured.values[:, measured.columns.index(name)] for name in ("ORFEXONDENSITY", "UTR3LEN"))
    planted = np.array([float(row["halflife"].replace("NA", "nan")) for row in rows_of(default / "promoters.tsv")])
    expected = 7 * np.log10(density / 5) - 2.5 * np.log10(utr3_bp / 275)
    np.testing.assert_allclose(planted, expected, atol=0.02)  # densities have two decimals
    assert 0.85 < np.isfinite(planted).mean() < 0.95 and np.nanstd(planted) > 0.8


def test_base_levels_are_uniform_and_in_the_order_of_what_was_planted(default):
    rows = rows_of(default / "promoters.tsv")
    base, other = (np.array([float(row[name]) for row in rows]) for name in ("base", "other"))
    assert (np.diff(base[strengths_of(default).argsort()]) > 0).all()
    for values, most in ((base, 7), (other, 3)):
        assert kstest(values / most, "uniform").pvalue > 0.01


def test_motif_explains_half_and_half_life_a_fifth_of_base_levels(default, tmp_path):
    for folder in (default, made(tmp_path / "other", "--seed", "2", "--reads", "0")):
        rows = rows_of(folder / "promoters.tsv")
        base, copies = (np.array([float(row[name]) for row in rows]) for name in ("base", "copies"))
        halflife = np.array([0 if row["halflife"] == "NA" else float(row["halflife"]) for row in rows])
        explained = [np.corrcoef(base, term)[0, 1] ** 2 for term in (copies, halflife)]
        assert 0.48 < explained[0] < 0.60 and 0.14 < explained[1] < 0.25, explained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--genes", "0"), "--genes 0: give 1 or more"),
        (("--samples", "-3"), "--samples -3: give 1 or more"),
        (("--genes", "3", "--chromosomes", "4"), "--genes 3 is less than --chromosomes 4"),
        (("--samples", "4"), "makes fewer than 3 biosamples: give at least 5 samples"),
        (("--noise", "-1"), "--noise -1.0: give 0 or more"),
        (("--noise", "nan"), "--noise nan: give 0 or more"),
        (("--noise-peaks", "inf"), "--noise-peaks inf: give 0 or more"),
        (("--seed", "-1"), "--seed -1: give 0 or more"),
        (("--reads", "-5"), "--reads -5: give 0 for no reads, or at least 2 pairs"),
        (("--reads", "1"), "--reads 1: give 0 for no reads, or at least 2 pairs"),
        (("--cpus", "0"), "--cpus 0: give 1 or more"),
    ],
)
def test_sizes_that_make_no_cohort_end_in_one_line(options, message, tmp_path):
    result = simulate(tmp_path / "cohort", *options)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith("simulate_cohort.py: error: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    refusals = {"mine": "exists already", "file": "exists already", "file/cohort": "name a folder that can be made"}
    for out, message in refusals.items():
        result = simulate(tmp_path / out, *SMALL)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine", "notes.txt"]


def test_an_unfinished_cohort_never_has_the_final_name(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "from pathlib import Path; import simulate_cohort as script\n"
        "def fail(*_): raise RuntimeError('disk full')\n"
        "script.write_truth = fail\n"
        f"script.simulate_cohort(Path({str(tmp_path / 'cohort')!r}), script.Sizes(8, 40, 4, 2, 2, 0.5, 0), 1.0, 1, 1)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "disk full" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_folder_and_files_can_be_read_by_others(small):
    assert small.stat().st_mode & 0o777 == 0o777 & ~umask()
    assert {path.stat().st_mode & 0o777 for path in small.rglob("*") if path.is_file()} == {0o666 & ~umask()}


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
