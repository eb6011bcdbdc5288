"""simulate_cohort.py: reads come from the transcripts, as often and as oriented as they should, and kallisto finds them there."""

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from exprcast.simulation.cohort import Cohort
from exprcast.simulation.reads import READ_BP, draw_fragments, effective_lengths, write_reads

SCRIPT = Path(__file__).parents[1] / "bin" / "simulate_cohort.py"
PAIRS = 4_000
SMALL = ("--samples", "6", "--genes", "40", "--reads", str(PAIRS))
SEED_BP = 16
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
needs_kallisto = pytest.mark.skipif(shutil.which("kallisto") is None, reason="kallisto is not on the PATH")


def made(out: Path, *options: str) -> Path:
    result = subprocess.run([sys.executable, SCRIPT, *options, "--out", out], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("cohort") / "small", *SMALL)


def sheet_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fastq(path: Path) -> list[tuple[str, bytes, bytes]]:
    """Return (name, bases, qualities) of each read."""
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert len(lines) % 4 == 0 and set(lines[2::4]) == {b"+"}
    return [(name.decode(), *rest) for name, *rest in zip(lines[::4], lines[1::4], lines[3::4], strict=True)]


def transcripts_of(folder: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return {transcript: its sequence} and {transcript: its gene}, without versions."""
    sequences, genes = {}, {}
    for record in gzip.decompress((folder / "cdna.fa.gz").read_bytes()).decode().split(">")[1:]:
        header, _, lines = record.partition("\n")
        name = header.partition(".")[0]
        sequences[name] = lines.replace("\n", "").encode()
        genes[name] = re.search(r"gene:(\w+)", header)[1]
    return sequences, genes


def matrix_of(path: Path) -> dict[str, dict[str, float]]:
    """Return {sample: {id without version: value}}."""
    header, *rows = [line.split("\t") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    return {sample: {row[0].partition(".")[0]: float(row[number]) for row in rows} for number, sample in enumerate(header) if number}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def differences(one: bytes, other: bytes) -> int:
    return sum(x != y for x, y in zip(one, other, strict=True))


class Finder:
    """Finds reads in transcripts."""

    def __init__(self, sequences: dict[str, bytes]) -> None:
        self.sequences = sequences
        self.seeds = defaultdict(list)
        for name, bases in sequences.items():
            for start in range(len(bases) - SEED_BP + 1):
                self.seeds[bases[start : start + SEED_BP]].append((name, start))

    def find(self, read: bytes) -> dict[str, int]:
        """Return {transcript: where in it} of a sense read, a few errors allowed."""
        hits = {}
        for offset in (0, 17, 34):
            for name, start in self.seeds.get(read[offset : offset + SEED_BP], ()):
                target = self.sequences[name][max(0, start - offset) : start - offset + READ_BP]
                if len(target) == READ_BP and differences(target, read) <= 8:
                    hits[name] = start - offset
        return hits


@pytest.fixture(scope="module")
def found(cohort) -> tuple[list[tuple], list[dict[str, tuple[int, int]]], dict[str, bytes], dict[str, str]]:
    """Return a sample's pairs; of each {transcript: start and end of the fragment there}; sequences; genes."""
    sequences, genes = transcripts_of(cohort)
    finder = Finder(sequences)
    row = sheet_of(cohort)[0]
    pairs = list(zip(fastq(cohort / row["reads_1"]), fastq(cohort / row["reads_2"]), strict=True))
    places = []
    for first, second in pairs:
        left, right = finder.find(second[1]), finder.find(first[1].translate(COMPLEMENT)[::-1])
        places.append({name: (left[name], right[name] + READ_BP) for name in left.keys() & right.keys()})
    return pairs, places, sequences, genes


def test_records_are_paired_and_named_alike(cohort):
    for row in sheet_of(cohort)[:2]:
        first, second = fastq(cohort / row["reads_1"]), fastq(cohort / row["reads_2"])
        assert len(first) == len(second) == PAIRS
        assert first[0][0] == f"@{row['sample']}:000000001 1:N:0" and second[0][0] == f"@{row['sample']}:000000001 2:N:0"
        assert [name.replace(" 1:", " 2:") for name, _, _ in first] == [name for name, _, _ in second]
        assert len({name for name, _, _ in first}) == PAIRS
        assert {len(text) for read in first + second for text in read[1:]} == {READ_BP}
        assert set(b"".join(bases for _, bases, _ in first + second)) == set(b"ACGT")


def test_first_mates_are_antisense_and_second_mates_sense(found):
    _, places, _, _ = found
    assert np.mean([bool(place) for place in places]) > 0.998
    assert all(end - start >= READ_BP for place in places for start, end in place.values())


def test_read_from_the_wrong_strand_is_found_nowhere(found):
    pairs, _, sequences, _ = found
    finder = Finder(sequences)
    assert not any(finder.find(first[1]) or finder.find(second[1].translate(COMPLEMENT)[::-1]) for first, second in pairs[:500])


def test_one_base_in_two_hundred_is_wrong_and_has_the_lowest_quality(found):
    pairs, places, sequences, genes = found
    alone = {name for name, gene in genes.items() if list(genes.values()).count(gene) == 1}
    wrong = total = 0
    for (first, second), place in zip(pairs, places, strict=True):
        for name, (start, end) in ((name, place[name]) for name in place.keys() & alone):
            bases = sequences[name]
            truth = bases[end - READ_BP : end].translate(COMPLEMENT)[::-1], bases[start : start + READ_BP]
            for (_, read, quality), true in zip((first, second), truth, strict=True):
                assert [x != y for x, y in zip(read, true, strict=True)] == [letter == ord(",") for letter in quality]
                wrong += differences(read, true)
                total += READ_BP
    assert wrong / total == pytest.approx(0.005, rel=0.1) and wrong > 300
    assert set(b"".join(quality for first, _ in pairs for quality in first[2:])) == set(b",:F")


def test_fragments_are_as_long_and_lie_as_evenly_as_they_should(found):
    _, places, sequences, _ = found
    one = [(name, *place[name]) for place in places if len(place) == 1 for name in place]
    sizes = np.array([end - start for _, start, end in one])
    assert sizes.mean() == pytest.approx(200, abs=3) and sizes.std() == pytest.approx(30, abs=2)
    share = [start / (len(sequences[name]) - (end - start)) for name, start, end in one]
    drawn = draw_fragments(np.array([1.0]), np.array([700]), 20_000, np.random.default_rng(1))[0]
    assert min(share) >= 0 and max(share) <= 1
    assert chisquare(np.histogram(drawn, bins=10, range=(0, 350))[0]).pvalue > 1e-3


def test_numbers_of_fragments_follow_the_true_levels(cohort, found):
    _, places, sequences, genes = found
    levels = matrix_of(cohort / "true_transcripts.tsv.gz")[sheet_of(cohort)[0]["sample"]]
    expected, observed = defaultdict(float), defaultdict(int)
    for name, tpm in levels.items():
        expected[genes[name]] += tpm * (len(sequences[name]) - 199)
    for place in places:
        observed[genes[next(iter(place))] if place else None] += 1
    wanted = np.array([expected[gene] for gene in expected]) * (PAIRS - observed.pop(None, 0)) / sum(expected.values())
    assert chisquare([observed[gene] for gene in expected], wanted).pvalue > 1e-3


def test_fragments_of_transcripts_follow_level_times_effective_length():
    lengths, tpm = np.array([60, 150, 210, 700, 3000]), np.array([5e5, 2e5, 1e5, 1e5, 1e5])
    start, end = draw_fragments(tpm, lengths, 100_000, np.random.default_rng(1))
    borders = np.cumsum(lengths)
    transcript = np.searchsorted(borders, start, side="right")
    assert (end <= borders[transcript]).all() and (start >= (borders - lengths)[transcript]).all()
    assert (end - start >= READ_BP).all()
    weight = tpm * effective_lengths(lengths)
    assert chisquare(np.bincount(transcript, minlength=5), 100_000 * weight / weight.sum()).pvalue > 1e-3


def test_effective_length_is_the_mean_number_of_places_for_a_fragment():
    fragments = np.rint(np.random.default_rng(1).normal(200, 30, 1_000_000))
    lengths = np.array([49, 50, 120, 200, 260, 600, 3000])
    effective = effective_lengths(lengths)
    assert effective[0] == 0 and effective[1] == pytest.approx(1) and effective[-2:] == pytest.approx([401, 2801])
    for length, places in zip(lengths[1:], effective[1:], strict=True):
        assert places == pytest.approx(length + 1 - np.clip(fragments, READ_BP, length).mean(), abs=0.1)


def test_samplesheet_names_reads_that_exist_and_the_strand(cohort):
    sheet = sheet_of(cohort)
    columns = ["sample", "donor", "biosample", "replicate_group", "batch", "reads_1", "reads_2", "strandedness", "peaks"]
    assert list(sheet[0]) == columns and {row["strandedness"] for row in sheet} == {"reverse"}
    named = [row[column] for row in sheet for column in ("reads_1", "reads_2")]
    assert sorted(named) == sorted(f"reads/{path.name}" for path in (cohort / "reads").iterdir())
    assert sheet[0]["reads_1"] == f"reads/{sheet[0]['sample']}_R1.fastq.gz"


def test_fifth_sample_has_two_lanes_that_share_its_pairs(cohort):
    sheet = sheet_of(cohort)
    assert [row["sample"] for row in sheet].count(sheet[4]["sample"]) == 2 and len(sheet) == 7
    one, two = sheet[4:6]
    assert {column for column in one if one[column] != two[column]} == {"reads_1", "reads_2"}
    assert one["reads_2"] == f"reads/{one['sample']}_L1_R2.fastq.gz" and two["reads_2"] == f"reads/{one['sample']}_L2_R2.fastq.gz"
    for mate in ("reads_1", "reads_2"):
        names = [[name.split()[0] for name, _, _ in fastq(cohort / lane[mate])] for lane in (one, two)]
        assert [len(lane) for lane in names] == [PAIRS // 2] * 2
        assert names[0] + names[1] == [f"@{one['sample']}:{number:09d}" for number in range(1, PAIRS + 1)]


def test_same_seed_same_bytes_whatever_the_cpus(cohort, tmp_path):
    assert bytes_of(cohort) == bytes_of(made(tmp_path / "again", *SMALL, "--cpus", "2"))
    other = bytes_of(made(tmp_path / "other", *SMALL, "--seed", "2"))
    same = {name for name, data in bytes_of(cohort).items() if other[name] == data}
    assert same == {"samples.csv"}


def test_without_reads_all_else_is_the_same(cohort, tmp_path):
    bare = made(tmp_path / "bare", *SMALL[:-1], "0")
    with_reads, without = bytes_of(cohort), bytes_of(bare)
    assert {name for name in with_reads if not name.startswith("reads/")} == without.keys()
    assert {name for name in without if without[name] != with_reads[name]} == {"samples.csv"}
    assert list(sheet_of(bare)[0]) == ["sample", "donor", "biosample", "replicate_group", "batch", "peaks"]
    assert not (bare / "reads").exists() and len(sheet_of(bare)) == 6


def test_reads_of_a_sample_do_not_depend_on_how_many_follow(tmp_path):
    sequences = [np.random.default_rng(number).integers(0, 4, 700).astype(np.uint8) for number in range(3)]
    levels = np.array([[5e5, 3e5, 2e5]] * 4)
    for count in (2, 4):
        donor = np.zeros(count, int)
        samples = [f"S{number}" for number in range(count)]
        cohort = Cohort(samples, donor, donor + 1, ["D"], np.zeros(1, int), ["B"])
        write_reads(tmp_path / str(count), cohort, levels[:count], sequences, 50, np.random.SeedSequence(1), 1)
    two, four = bytes_of(tmp_path / "2"), bytes_of(tmp_path / "4")
    assert two.items() <= four.items() and len(four) == 2 * len(two) == 8
    assert gzip.decompress(two["S0_R1.fastq.gz"]).splitlines()[1::4] != gzip.decompress(two["S1_R1.fastq.gz"]).splitlines()[1::4]


def quantified(folder: Path, work: Path, sample: str, *options: str) -> tuple[dict[str, float], float]:
    """Return ({gene: TPM}, percentage of the pairs that map) as kallisto sees one sample."""
    index = work / "index"
    if not index.exists():
        subprocess.run(["kallisto", "index", "-i", index, folder / "cdna.fa.gz"], check=True, capture_output=True, cwd=work, timeout=60)
    reads = [folder / row[mate] for row in sheet_of(folder) if row["sample"] == sample for mate in ("reads_1", "reads_2")]
    # kallisto exits 1 where nothing maps, but says so in its files
    subprocess.run(["kallisto", "quant", "-i", index, "-o", work / "out", *options, *reads], capture_output=True, cwd=work, timeout=60)
    genes = transcripts_of(folder)[1]
    levels: dict[str, float] = defaultdict(float)
    with (work / "out" / "abundance.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            levels[genes[row["target_id"].partition(".")[0]]] += float(row["tpm"])
    return levels, json.loads((work / "out" / "run_info.json").read_text())["p_pseudoaligned"]


def correlation(one: dict[str, float], other: dict[str, float]) -> float:
    """Return Pearson's r of log2(TPM + 1) over genes."""
    x, y = (np.log2([levels[gene] + 1 for gene in one]) for levels in (one, other))
    return float(np.corrcoef(x, y)[0, 1])


@needs_kallisto
def test_kallisto_finds_the_levels_and_the_strand(tmp_path):
    """At the default size; with fewer pairs for as many genes, counting alone takes r down (0.95 at 50,000)."""
    folder = made(tmp_path / "cohort", "--samples", "5")
    levels = matrix_of(folder / "expression.tsv.gz")
    samples = [row["sample"] for row in sheet_of(folder)]
    for sample in (samples[0], samples[-1]):  # the last one has two lanes
        found, mapped = quantified(folder, tmp_path, sample, "--rf-stranded")
        assert mapped > 90 and correlation(levels[sample], found) > 0.98
    assert quantified(folder, tmp_path, samples[0], "--fr-stranded")[1] < 5
