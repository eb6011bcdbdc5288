"""From reads to tables with a real kallisto: estimates and their sums are right, and each of its silent failures ends in one line."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from exprcast.cli import InputError
from exprcast.kallisto import read_abundance, read_targets
from exprcast.reads import Reads
from exprcast.tables import read_matrix, read_table
from test_strand import random_bases, reverse_complement
from tiny import load_script, run_script

ROOT = Path(__file__).parents[1]
GENES = 12
LENGTH, READ, FRAGMENT = 900, 75, 200


class Lab:
    """A folder with transcripts of GENES genes (two each), their index, and ways to make reads from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transcripts = {f"ENST{number:011d}": random_bases(LENGTH, number) for number in range(2 * GENES)}
        self.fasta = folder / "cdna.fa"
        self.fasta.write_text(
            "".join(
                f">{name}.{n % 3 + 1} cdna gene:{gene_of(n)}.2 x\n{bases.decode()}\n"
                for n, (name, bases) in enumerate(self.transcripts.items())
            )
        )
        index(folder, self.fasta)

    def reads(self, name: str, pairs: int = 2000, seed: int = 0, strand: str = "reverse", prefix: str = "r") -> tuple[Path, Path]:
        """Write pairs of reads: uniform over transcripts, which begin with many of the first; return both files."""
        rng = np.random.default_rng(seed)
        all_bases = list(self.transcripts.values())
        which = rng.choice(len(all_bases), pairs, p=weights())
        start = rng.integers(0, LENGTH - FRAGMENT, pairs)
        fragments = [all_bases[t][s : s + FRAGMENT] for t, s in zip(which, start, strict=True)]
        flip = rng.random(pairs) < {"reverse": 1.0, "forward": 0.0, "unstranded": 0.5}[strand]
        first = [reverse_complement(f)[:READ] if back else f[:READ] for f, back in zip(fragments, flip, strict=True)]
        second = [f[:READ] if back else reverse_complement(f)[:READ] for f, back in zip(fragments, flip, strict=True)]
        return tuple(
            write_fastq(self.folder / f"{name}_{mate}.fastq.gz", sequences, prefix, mate) for mate, sequences in ((1, first), (2, second))
        )

    def quant(
        self, first: Path | list[Path], second: Path | list[Path] | None, *options: object, sample: str = "S1", out: str = "out"
    ) -> dict[str, str]:
        """Quantify and return the row of statistics."""
        listed = [paths if isinstance(paths, list) else [paths] for paths in (first, second) if paths]
        reads = [word for mate, paths in enumerate(listed, 1) for word in (f"--reads-{mate}", *paths)]
        made = ["--index", self.folder / "t.idx", "--targets", self.folder / "targets.tsv", "--probe", self.folder / "probe.npy"]
        outs = ["--stats-out", self.folder / f"{out}.tsv", "--out", self.folder / out]
        run_script("kallisto_quant", "--sample", sample, *reads, *made, *options, *outs)
        return next(row for _, row in read_table(self.folder / f"{out}.tsv", ("sample",)))


def gene_of(number: int) -> str:
    return f"ENSG{number // 2:011d}"


def weights() -> np.ndarray:
    """Return the transcripts' shares of all reads."""
    shares = np.arange(1.0, 2 * GENES + 1)
    return shares / shares.sum()


def write_fastq(path: Path, sequences: list[bytes], prefix: str = "r", mate: int = 1) -> Path:
    text = b"".join(
        b"@%s%d %d:N:0\n%s\n+\n%s\n" % (prefix.encode(), n, mate, bases, b"I" * len(bases)) for n, bases in enumerate(sequences)
    )
    path.write_bytes(gzip.compress(text, 1, mtime=0) if path.suffix == ".gz" else text)
    return path


def index(folder: Path, *fasta: Path, annotation: Path | None = None) -> None:
    options = ["--annotation", annotation] if annotation else []
    outs = ["--targets-out", folder / "targets.tsv", "--probe-out", folder / "probe.npy", "--out", folder / "t.idx"]
    run_script("kallisto_index", "--transcripts", *fasta, *options, *outs)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("made"))


@pytest.fixture
def lab(made, tmp_path) -> Lab:
    """The same lab, in a folder of this test's own."""
    for path in made.folder.iterdir():
        if path.name in ("t.idx", "targets.tsv", "probe.npy", "cdna.fa"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    own = object.__new__(Lab)
    own.__dict__ = made.__dict__ | {"folder": tmp_path, "fasta": tmp_path / "cdna.fa"}
    return own


def refusal(call, *arguments: object, **options: object) -> str:
    """Return the one line that a call ends in."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    return " ".join(str(caught.value).split())


# --- what comes out -----------------------------------------------------------------------------------------------------


def test_targets_know_their_genes_without_versions(lab):
    targets = read_targets(lab.folder / "targets.tsv")
    assert targets.names[1] == "ENST00000000001.2" and targets.transcripts[1] == "ENST00000000001" and targets.genes[1] == gene_of(1)
    assert int(targets.facts["bytes"]) == (lab.folder / "t.idx").stat().st_size and len(targets.names) == 2 * GENES


def test_estimates_follow_the_truth(lab):
    row = lab.quant(*lab.reads("a", 20_000), "--strandedness", "reverse")
    abundance = read_abundance(lab.folder / "out/abundance.tsv", "S1")
    np.testing.assert_allclose(abundance.tpm / 1e6, weights(), atol=0.006)
    assert abundance.counts.sum() == pytest.approx(float(row["mapped"])) and row["reads"] == "20000"
    assert (row["layout"], row["lanes"], row["strandedness"], row["transcripts"], row["genes"]) == ("paired", "1", "reverse", "24", "12")
    assert float(row["mapped_share"]) > 0.99 and float(row["fragment_mean"]) == pytest.approx(FRAGMENT, abs=1)
    assert sorted(path.name for path in (lab.folder / "out").iterdir()) == ["abundance.tsv", "kallisto_quant.log", "run_info.json"]


def test_lanes_are_quantified_together_and_named_by_sample(lab):
    one, two = lab.reads("one", 1000, 1, prefix="x"), lab.reads("two", 1500, 2, prefix="y")
    row = lab.quant([one[0], two[0]], [one[1], two[1]])
    assert (row["lanes"], row["reads"]) == ("2", "2500")
    said = (lab.folder / "out/kallisto_quant.log").read_text()
    assert "lane1_1/S1.fastq" in said and "lane2_2/S1.fastq" in said and str(lab.folder) not in said.replace(str(lab.folder / "t.idx"), "")


def test_single_ends_and_plain_fastq(lab):
    first, _ = lab.reads("s", strand="unstranded")
    plain = lab.folder / "plain.fastq"
    plain.write_bytes(gzip.decompress(first.read_bytes()))
    rows = [lab.quant(path, None, "--fragment-mean", 200, "--fragment-sd", 20, out=path.name[:5]) for path in (first, plain)]
    assert rows[0] == rows[1] and rows[0]["layout"] == "single" and (rows[0]["fragment_mean"], rows[0]["fragment_sd"]) == ("200", "20")


@pytest.mark.parametrize("strand", ["reverse", "forward", "unstranded"])
def test_auto_finds_the_strand(lab, strand):
    row = lab.quant(*lab.reads("a", strand=strand))
    assert row["strandedness"] == strand and float(row["mapped_share"]) > 0.95 and row["remark"] == ""


def test_strand_ignored_is_said(lab):
    row = lab.quant(*lab.reads("a"), "--strandedness", "unstranded")
    assert row["strandedness"] == "unstranded" and row["remark"].endswith("lie forward: reverse")


def test_same_reads_give_the_same_files(lab):
    reads = lab.reads("a")
    for out in ("one", "two"):
        lab.quant(*reads, out=out)
    for name in ("abundance.tsv", "run_info.json", "kallisto_quant.log"):
        assert (lab.folder / "one" / name).read_bytes() == (lab.folder / "two" / name).read_bytes(), name
    assert not {"start_time", "call"} & json.loads((lab.folder / "one/run_info.json").read_text()).keys()


def test_bootstraps_are_written_whatever_kallisto_was_built_with(lab):
    lab.quant(*lab.reads("a"), "--bootstraps", 3, "--cpus", 2)
    matrix = read_matrix(lab.folder / "out/bootstraps.tsv.gz")
    assert matrix.columns == ["bootstrap_1", "bootstrap_2", "bootstrap_3"] and matrix.values.shape == (2 * GENES, 3)
    assert (matrix.values.sum(axis=0) > 1900).all() and len({tuple(column) for column in matrix.values.T}) == 3
    assert not list((lab.folder / "out").glob("bs_*"))


def test_genes_are_the_sums_of_their_transcripts(lab):
    for sample, seed in (("A", 1), ("B", 2)):
        lab.quant(*lab.reads(sample, seed=seed), sample=sample, out=sample)
    outs = {table: lab.folder / f"{table}.tsv.gz" for table in ("transcript_tpm", "transcript_counts", "gene_counts", "gene_tpm")}
    options = [word for table in list(outs)[:3] for word in (f"--{table.replace('_', '-')}-out", outs[table])]
    run_script(
        "collect_abundances",
        "--abundance",
        lab.folder / "A",
        lab.folder / "B",
        "--targets",
        lab.folder / "targets.tsv",
        *options,
        "--out",
        outs["gene_tpm"],
    )
    tables = {table: read_matrix(path) for table, path in outs.items()}
    assert tables["gene_tpm"].columns == ["A", "B"] and tables["gene_tpm"].rows == [gene_of(n) for n in range(0, 2 * GENES, 2)]
    for unit in ("tpm", "counts"):
        transcripts, genes = tables[f"transcript_{unit}"], tables[f"gene_{unit}"]
        assert transcripts.attributes == genes.attributes == {"unit": unit}
        np.testing.assert_allclose(genes.values, transcripts.values[0::2] + transcripts.values[1::2], rtol=1e-8)
    np.testing.assert_allclose(tables["gene_tpm"].values.sum(axis=0), 1e6, rtol=1e-6)
    said = refusal(
        run_script,
        "collect_abundances",
        "--abundance",
        lab.folder / "A",
        lab.folder / "A",
        "--targets",
        lab.folder / "targets.tsv",
        *options,
        "--out",
        outs["gene_tpm"],
    )
    assert "'A' occurs twice" in said


def test_spike_ins_have_no_gene(lab):
    lab.fasta.write_text(lab.fasta.read_text() + f">ERCC-00002\n{random_bases(500, 99).decode()}\n")
    index(lab.folder, lab.fasta)
    targets = read_targets(lab.folder / "targets.tsv")
    assert targets.names[-1] == "ERCC-00002" and targets.genes[-1] == ""
    row = lab.quant(*lab.reads("a"))
    assert row["genes"] == "12"


def test_gencode_headers_and_genes_of_the_annotation(lab):
    bases = [bases.decode() for bases in lab.transcripts.values()]
    lab.fasta.write_text(
        f">ENST00000000000.1|ENSG00000000000.5_PAR_Y|-|-|A-201|A|900|\n{bases[0]}\n>ENST00000000001.4 no gene here\n{bases[1]}\n"
    )
    (lab.folder / "transcripts.tsv").write_text("transcript\tgene\nENST00000000001\tENSG00000000009\n")
    index(lab.folder, lab.fasta, annotation=lab.folder / "transcripts.tsv")
    targets = read_targets(lab.folder / "targets.tsv")
    assert targets.names[0].endswith("|900|") and targets.transcripts == ["ENST00000000000", "ENST00000000001"]
    assert targets.genes == ["ENSG00000000000_PAR_Y", "ENSG00000000009"]


# --- what must not pass -------------------------------------------------------------------------------------------------


def test_damaged_gzip(lab):
    first, second = lab.reads("a")
    second.write_bytes(second.read_bytes()[:-9000])
    said = refusal(lab.quant, first, second)
    assert "sample S1" in said and "a_2.fastq.gz" in said and "cut short" in said
    assert not (lab.folder / "out").exists() and not (lab.folder / "out.tsv").exists()


def test_second_mates_fewer(lab):
    first, second = lab.reads("a")
    write_fastq(second, [b"ACGT" * 20] * 1500)
    assert "a_1.fastq.gz and a_2.fastq.gz: 2,000 reads and 1,500" in refusal(lab.quant, first, second)


def test_mates_trimmed_to_unlike_lengths_belong_together(lab, monkeypatch):
    """The blocks in which files are read end at other records of one mate than of the other."""
    monkeypatch.setattr("exprcast.reads.BLOCK_BYTES", 5000)
    monkeypatch.setattr("exprcast.reads.NOTED_EVERY", 3)
    first, second = lab.reads("a", 600)
    rows = gzip.decompress(first.read_bytes()).splitlines()
    trimmed = [row if line % 2 == 0 else row[: 75 - (line // 4) % 40] for line, row in enumerate(rows)]
    first.write_bytes(gzip.compress(b"\n".join(trimmed)))  # the last line without its end
    assert lab.quant(first, second)["reads"] == "600"


def test_mates_that_part_after_the_first_record(lab):
    first, second = lab.reads("a", 1000)
    records = gzip.decompress(second.read_bytes()).split(b"@r")[1:]
    second.write_bytes(gzip.compress(b"".join(b"@r" + record for record in [records[0], *records[2:], records[1]])))
    assert "hold other reads (r999 1:N:0 beside r1 2:N:0)" in refusal(lab.quant, first, second)


def test_fragment_lengths_that_cannot_be(lab):
    first, second = lab.reads("a")
    assert "fragment lengths are for single ends" in refusal(lab.quant, first, second, "--fragment-mean", 200, "--fragment-sd", 20)
    assert "both are bp above 0 and up to 2,000" in refusal(lab.quant, first, None, "--fragment-mean", 20000, "--fragment-sd", 20)


def test_library_between_stranded_and_not_is_said(lab):
    (one, two), (three, four) = lab.reads("a", 1500, 1, "reverse"), lab.reads("b", 500, 2, "forward", "q")
    for path, other in ((one, three), (two, four)):
        path.write_bytes(path.read_bytes() + other.read_bytes())  # gzip members one after the other are one file
    row = lab.quant(one, two, "--strandedness", "reverse", out="declared")
    assert row["strandedness"] == "reverse" and row["remark"].startswith("given as reverse, but ")
    row = lab.quant(one, two, out="auto")
    assert row["strandedness"] == "unstranded" and row["remark"].startswith("neither stranded nor unstranded: ")
    assert "write unstranded" in refusal(lab.quant, one, two, "--strandedness", "forward", out="wrong")


def test_what_kallisto_says_is_held_against_what_it_was_asked(lab, tmp_path):
    script = load_script("kallisto_quant")
    reads = Reads("S1", [tmp_path / "a_1.fq"], [tmp_path / "a_2.fq"])
    (tmp_path / "run_info.json").write_text('{"n_processed": 7, "call": "x"}')
    assert "sample S1: kallisto read 7 of 8 pairs" in refusal(script.read_info, tmp_path, reads, 8)
    (tmp_path / "bs_abundance_0.tsv").touch()
    assert "2 bootstraps were asked for, kallisto wrote 1" in refusal(script.join_bootstraps, tmp_path, 2, reads)
    log = tmp_path / "log"
    log.write_text("[quant] estimated average fragment length: 0\n")
    assert "no fragment length between a_1.fq and a_2.fq" in refusal(script.estimated_fragment, log, reads)


def test_a_killed_script_takes_kallisto_with_it_and_leaves_nothing(lab):
    first, _ = lab.reads("a")
    made = ["--index", lab.folder / "t.idx", "--targets", lab.folder / "targets.tsv", "--probe", lab.folder / "probe.npy"]
    words = ["--sample", "S", "--reads-1", first, *made, "--strandedness", "unstranded", "--fragment-mean", 200, "--fragment-sd", 20]
    fake = lab.folder / "bin/kallisto"
    fake.parent.mkdir()
    version = read_targets(lab.folder / "targets.tsv").facts["kallisto"]
    fake.write_text(f'#!/bin/sh\n[ "$1" != version ] || {{ echo "kallisto, version {version}"; exit; }}\nexec sleep 300\n')
    fake.chmod(0o755)
    command = [sys.executable, ROOT / "bin/kallisto_quant.py", *words, "--stats-out", lab.folder / "o.tsv", "--out", lab.folder / "o"]
    process = subprocess.Popen(
        list(map(str, command)), env=os.environ | {"PATH": f"{fake.parent}:{os.environ['PATH']}", "TMPDIR": str(lab.folder)}
    )
    deadline = time.monotonic() + 20
    while (
        not (children := [child for child in psutil.Process(process.pid).children() if "sleep" in child.name()])
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) == 143 and children
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert not (lab.folder / "o").exists() and not list(lab.folder.glob(".o.*")) and not list(lab.folder.glob("exprcast.*"))


def test_versions_of_other_species_are_known_from_the_annotation(lab):
    bases = [bases.decode() for bases in lab.transcripts.values()]
    lab.fasta.write_text(f">Y74C9A.3.1 cdna gene:WBGene00022277.1 x\n{bases[0]}\n>MGP_T0000001.4 cdna gene:MGP_G0000001.2\n{bases[1]}\n")
    (lab.folder / "transcripts.tsv").write_text("transcript\tgene\nY74C9A.3.1\tWBGene00022277\nMGP_T0000001\tMGP_G0000001\n")
    index(lab.folder, lab.fasta, annotation=lab.folder / "transcripts.tsv")
    targets = read_targets(lab.folder / "targets.tsv")
    assert (targets.transcripts, targets.genes) == (["Y74C9A.3.1", "MGP_T0000001"], ["WBGene00022277", "MGP_G0000001"])


@pytest.mark.timeout(60)
def test_a_fault_in_the_first_of_two_lanes_ends_at_once(lab):
    """kallisto waits for both mates of a lane before it goes to the next, and we for kallisto: nobody may wait for ever."""
    one, two = lab.reads("one", 5000, 1, prefix="x"), lab.reads("two", 5000, 2, prefix="y")
    whole = gzip.decompress(one[1].read_bytes())
    one[1].write_bytes(gzip.compress(b"".join(whole.splitlines(keepends=True)[:4000])))
    assert "one_1.fastq.gz and one_2.fastq.gz: 5,000 reads and 1,000" in refusal(lab.quant, [one[0], two[0]], [one[1], two[1]])
    one[1].write_bytes(gzip.compress(whole)[:-5000])
    assert "one_2.fastq.gz: the gzip data are cut short" in refusal(lab.quant, [one[0], two[0]], [one[1], two[1]])
    one[1].write_bytes(b"")
    assert "one_2.fastq.gz is empty" in refusal(lab.quant, [one[0], two[0]], [one[1], two[1]])


@pytest.mark.timeout(60)
def test_kallisto_that_dies_at_once_keeps_nobody_waiting(lab, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "kallisto"
    fake.parent.mkdir()
    version = read_targets(lab.folder / "targets.tsv").facts["kallisto"]
    fake.write_text(
        f'#!/bin/sh\n[ "$1" != version ] || {{ echo "kallisto, version {version}"; exit; }}\necho Error: out of luck >&2\nexit 3\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    assert "sample S1: kallisto ended with exit status 3: Error: out of luck" in refusal(lab.quant, *lab.reads("a", 5000))
    fake.write_text(fake.read_text().replace("exit 3", "kill -9 $$"))
    with pytest.raises(SystemExit) as ended:
        lab.quant(*lab.reads("a", 5000))
    assert ended.value.code == 137  # which Nextflow tries again with more memory


def test_first_mates_given_twice_under_one_name_another_or_with_other_mate_marks(lab):
    first, _ = lab.reads("a")
    assert "a_1.fastq.gz is given twice" in refusal(lab.quant, first, first)
    copy = lab.folder / "copy.fastq.gz"
    copy.write_bytes(first.read_bytes())
    assert "copy.fastq.gz holds the same reads as a_1.fastq.gz" in refusal(lab.quant, first, copy)
    copy.write_bytes(gzip.compress(gzip.decompress(first.read_bytes()).replace(b" 1:N:0", b" 2:N:0")))
    assert "the first mates are given twice" in refusal(lab.quant, first, copy)


def test_mates_of_different_libraries_or_in_another_order(lab):
    first, second = lab.reads("a")
    _, other = lab.reads("b", prefix="q")
    said = refusal(lab.quant, first, other)
    assert "sample S1: a_1.fastq.gz and b_2.fastq.gz hold other reads (r0 1:N:0 beside q0 2:N:0)" in said
    records = gzip.decompress(second.read_bytes()).split(b"@r")[1:]
    second.write_bytes(gzip.compress(b"".join(b"@r" + record for record in records[1:] + records[:1])))
    assert "in one order" in refusal(lab.quant, first, second)


def test_mate_marks_of_old_fastq_and_of_archives_are_no_difference(lab):
    first, second = lab.reads("a")
    for path, mate in ((first, b"1"), (second, b"2")):
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b" %s:N:0" % mate, b"/%s" % mate)))
    assert lab.quant(first, second)["reads"] == "2000"


@pytest.mark.parametrize("declared", ["forward", "reverse"])
def test_wrong_strand_is_named(lab, declared):
    actual = {"forward": "reverse", "reverse": "forward"}[declared]
    said = refusal(lab.quant, *lab.reads("a", strand=actual), "--strandedness", declared)
    assert (
        f"strandedness {declared} is given" in said
        and f"write {actual}, or reads_1 and reads_2 are swapped" in said
        and "a_1.fastq.gz" in said
    )
    said = refusal(lab.quant, *lab.reads("a", strand="unstranded"), "--strandedness", declared)
    assert said.endswith("write unstranded")


def test_no_read_maps(lab):
    reads = [random_bases(READ, seed) for seed in range(5000, 5300)]
    pair = write_fastq(lab.folder / "x_1.fq", reads), write_fastq(lab.folder / "x_2.fq", reads[::-1], mate=2)
    assert "sample S1: no read of x_1.fq maps to the transcripts" in refusal(lab.quant, *pair)
    assert not (lab.folder / "out").exists()


def test_few_reads_map(lab):
    first, second = (gzip.decompress(path.read_bytes()) for path in lab.reads("a", 50))
    noise = [random_bases(READ, seed) for seed in range(5000, 6000)]
    files = [write_fastq(lab.folder / f"x_{mate}.fq", noise[::step], "n", mate) for mate, step in ((1, 1), (2, -1))]
    for path, text in zip(files, (first, second), strict=True):
        path.write_bytes(path.read_bytes() + text)
    said = refusal(lab.quant, *files)
    assert "4.8% of 1,050 pairs of x_1.fq map" in said and "less than --min_mapped 0.1" in said
    assert lab.quant(*files, "--min-mapped", 0.01)["mapped"] == "50"


def test_reads_that_tell_no_transcripts_apart(lab):
    twins = random_bases(LENGTH, 77).decode()
    lab.fasta.write_text("".join(f">ENST0000000010{n} cdna gene:ENSG0000000010{n}\n{twins}\n" for n in range(2)))
    index(lab.folder, lab.fasta)
    reads = [twins[start : start + READ].encode() for start in range(300)]
    said = refusal(lab.quant, write_fastq(lab.folder / "x.fq", reads), None, "--fragment-mean", 150, "--fragment-sd", 20)
    assert "none is of one transcript only (x.fq)" in said


def test_files_that_are_no_fastq(lab):
    first, second = lab.reads("a")
    cases = {
        "empty.fq": (b"", "empty.fq is empty"),
        "page.html": (b"<html>\nx\n+\ny\n", "page.html line 1 should begin with '@'"),
        "cut.fq": (b"@r\nACGT\n+\nIIII\n@s\nAC", "cut.fq ends within a record, after 1 whole ones"),
        "odd.fq": (b"@r\nACGT\n+\nIIII\n@s\nACGT\nIIII\n@t\n", "odd.fq line 7 should begin with '+'"),
        "short.fq": (b"@r\nACGT\n+\nIIII\n@s\nACGT\n+\nIII\n", "short.fq line 8: 3 qualities for 4 bases"),
    }
    for name, (text, said) in cases.items():
        path = lab.folder / name
        path.write_bytes(text)
        assert said in refusal(lab.quant, path, second), name
    assert "absent.fq: no such file" in refusal(lab.quant, first, lab.folder / "absent.fq")


def test_lanes_given_twice_or_unlike(lab):
    first, second = lab.reads("a")
    assert "2 files of first mates and 1 of second" in refusal(lab.quant, [first, second], [first])
    copies = [lab.folder / f"copy_{mate}.fastq.gz" for mate in (1, 2)]
    for copy, path in zip(copies, (first, second), strict=True):
        copy.write_bytes(path.read_bytes())
    assert "copy_1.fastq.gz holds the same reads as a_1.fastq.gz" in refusal(lab.quant, [first, copies[0]], [second, copies[1]])


def test_single_ends_without_fragment_lengths(lab):
    first, _ = lab.reads("a")
    said = refusal(lab.quant, first, None)
    assert "sample S1: single-end reads (a_1.fastq.gz) need fragment_mean and fragment_sd" in said


def test_damaged_index_and_index_of_another_kallisto(lab):
    reads = lab.reads("a")
    whole = (lab.folder / "t.idx").read_bytes()
    (lab.folder / "t.idx").write_bytes(whole[:-1000])
    assert f"t.idx is {len(whole) - 1000:,} bytes, it was made with {len(whole):,}" in refusal(lab.quant, *reads)
    (lab.folder / "t.idx").write_bytes(whole[:1000] + bytes(100) + whole[1100:])
    assert "t.idx is damaged: it is no longer the file that was made" in refusal(lab.quant, *reads)
    (lab.folder / "t.idx").write_bytes(whole)
    targets = lab.folder / "targets.tsv"
    targets.write_text(targets.read_text().replace("#kallisto=", "#kallisto=9."))
    assert "t.idx was made by kallisto 9." in refusal(lab.quant, *reads)


def test_wrong_transcripts(lab, tmp_path):
    fasta, folder = lab.fasta, lab.folder
    text = fasta.read_text()
    annotation = folder / "transcripts.tsv"
    annotation.write_text("transcript\tgene\nENST99999999999\tENSG1\n")
    said = refusal(index, folder, fasta, annotation=annotation)
    assert "cdna.fa: the GTF has none of the FASTA's 24 transcripts: the FASTA has ENST00000000000 …, the GTF ENST99999999999 …" in said
    fasta.write_text(text + text[:200].split("\n")[0].replace(".1 ", ".9 ") + "\nACGT\n")
    assert "cdna.fa line 49: transcript ENST00000000000 stands already at cdna.fa line 1" in refusal(index, folder, fasta)
    cases = {
        "": "no sequence in the file",
        "ACGT\n": "line 1: FASTA begins with '>'",
        ">a gene:b\n>c gene:d\nA\n": "line 1: a has no bases",
        ">\nACGT\n": "line 1: a sequence without a name",
        ">x\nACGT\n": "the longest transcript has 4 bases, kallisto needs 31",
        ">x\n" + "ACGT" * 10 + "\n": "no transcript has a gene",
        "> x gene:y\nACGT\n": "line 1: a sequence without a name",
        ">p gene:q\nMVLSPADKTNVK\n": "line 1: p holds 'L', which is no base; give transcripts as cDNA",
        ">chr1 gene:x\n" + "A" * 5_000_001 + "\n": "this looks like a genome",
    }
    for changed, said in cases.items():
        fasta.write_text(changed)
        assert said in refusal(index, folder, fasta), said
    assert "no such file" in refusal(index, folder, tmp_path)  # a folder: kallisto 0.48 would wait for ever


def test_damaged_abundance(lab):
    lab.quant(*lab.reads("a"))
    path = lab.folder / "out/abundance.tsv"
    text = path.read_text()
    lines = text.splitlines()
    cases = {"-nan": "holds NaN", "x": "is damaged", "999": "add up to"}
    for cell, said in cases.items():
        path.write_text("\n".join([lines[0], *("\t".join([*line.split("\t")[:4], cell]) for line in lines[1:])]) + "\n")
        assert said in refusal(read_abundance, path, "S1") and "sample S1" in refusal(read_abundance, path, "S1"), said
    assert "is no abundance.tsv" in refusal(read_abundance, lab.folder / "cdna.fa", "S1")


def test_no_kallisto_on_the_path(lab):
    reads = lab.reads("a")
    command = [
        sys.executable,
        ROOT / "bin/kallisto_quant.py",
        "--sample",
        "S",
        "--reads-1",
        reads[0],
        "--reads-2",
        reads[1],
        "--index",
        lab.folder / "t.idx",
    ]
    command += [
        "--targets",
        lab.folder / "targets.tsv",
        "--probe",
        lab.folder / "probe.npy",
        "--stats-out",
        lab.folder / "o.tsv",
        "--out",
        lab.folder / "o",
    ]
    done = subprocess.run(command, env=os.environ | {"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("kallisto_quant.py: error: kallisto is not on the PATH")
