"""index_genome.py: every FASTA becomes one bgzip with its indexes, no base changes, and nothing doubtful passes."""

import gzip
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import index_genome as script
from exprcast.tables import read_chrom_sizes
from index_genome import index_genome

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
GENOME = b">chr1 first\nACGTN\nacgtr\nAC\n>chr2\nTTT\n"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def bgzip(path: Path, text: bytes) -> Path:
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(text)
    return path


def indexed(folder: Path, text: bytes) -> dict[str, str]:
    """Return {name: bases} of the indexed genome, whose chrom.sizes must agree."""
    (folder / "in.fa").write_bytes(text)
    return read_back(folder, folder / "in.fa")


def read_back(folder: Path, fasta: Path) -> dict[str, str]:
    index_genome(fasta, folder / "chrom.sizes", folder / "genome.fa.gz")
    with pysam.FastaFile(str(folder / "genome.fa.gz")) as genome:
        found = {name: genome.fetch(name) for name in genome.references}
    assert list(read_chrom_sizes(folder / "chrom.sizes").items()) == [(name, len(bases)) for name, bases in found.items()]
    return found


def run_script(folder: Path, fasta: Path) -> CompletedProcess:
    outputs = ["--chrom-sizes-out", folder / "chrom.sizes", "--out", folder / "genome.fa.gz"]
    command = [sys.executable, ROOT / "bin" / "index_genome.py", "--fasta", fasta, *outputs]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def refused(folder: Path, content: bytes, name: str = "in.fa") -> str:
    """Return the one line of an error; nothing may be left behind."""
    (folder / name).write_bytes(content)
    result = run_script(folder, folder / name)
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("index_genome.py: error: ")
    assert {path.name for path in folder.iterdir()} == {name}
    return line


def test_names_are_first_words_and_bases_stay_as_they_are(tmp_path):
    assert indexed(tmp_path, GENOME) == {"chr1": "ACGTNacgtrAC", "chr2": "TTT"}
    ensembl = b">10 dna:chromosome chromosome:GRCh38:10:1:4:1 REF\nACGT\n>2 dna:chromosome\nAA\n"
    assert list(indexed(tmp_path, ensembl)) == ["10", "2"]  # file order
    others = b">chr1 1\nAC\n>chrM\tMT\nAC\n>ENA|CM000683|CM000683.2 Homo\nA\n"
    assert list(indexed(tmp_path, others)) == ["chr1", "chrM", "ENA|CM000683|CM000683.2"]


@pytest.mark.parametrize(
    "text",
    [
        GENOME.replace(b"\n", b"\r\n"),
        GENOME.rstrip(b"\n"),
        b">chr1 first\nACGTNacgtrAC\n\n>chr2\n\nT\n\nTT \n\n",
        b">chr1 first\nA\nCGTNacgt\nrAC\n>chr2\nTT\nT\n",
    ],
)
def test_ends_and_lengths_of_lines_change_nothing(tmp_path, text):
    indexed(tmp_path, GENOME)
    expected = (tmp_path / "genome.fa.gz").read_bytes()
    assert indexed(tmp_path, text) == {"chr1": "ACGTNacgtrAC", "chr2": "TTT"}
    assert (tmp_path / "genome.fa.gz").read_bytes() == expected


def test_plain_gzip_and_two_gzips_in_one_file_give_the_same_bytes(tmp_path):
    outputs = []
    for packed in (GENOME, gzip.compress(GENOME), gzip.compress(GENOME[:9]) + gzip.compress(GENOME[9:])):
        indexed(tmp_path, packed)
        outputs.append([(tmp_path / name).read_bytes() for name in ("genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi")])
    assert outputs[0] == outputs[1] == outputs[2]
    assert gzip.decompress(outputs[0][0]) == b">chr1 first\nACGTNacgtrAC\n>chr2\nTTT\n"


def test_a_bgzip_file_is_copied_as_it_is_and_stays_what_it_was(tmp_path):
    given_file = bgzip(tmp_path / "given.fa.gz", GENOME)
    given_file.chmod(0o400)
    assert read_back(tmp_path, given_file) == {"chr1": "ACGTNacgtrAC", "chr2": "TTT"}
    assert (tmp_path / "genome.fa.gz").read_bytes() == given_file.read_bytes()
    assert given_file.stat().st_mode & 0o777 == 0o400 and given_file.stat().st_nlink == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sequences=st.lists(st.text("ACGTN", min_size=1, max_size=150), min_size=1, max_size=4),
    block=st.integers(1, 90),
    width=st.integers(1, 100),
)
def test_where_blocks_and_lines_end_does_not_matter(tmp_path, monkeypatch, sequences, block, width):
    monkeypatch.setattr(script, "BLOCK_BYTES", block)
    lines = ("\n".join(bases[start : start + width] for start in range(0, len(bases), width)) for bases in sequences)
    text = "".join(f">s{number} and more\n{each}\n" for number, each in enumerate(lines))
    assert list(indexed(tmp_path, text.encode()).values()) == sequences


FAULTS = {
    b"": "in.fa: the file is empty",
    b"\n>chr1\nA\n": r"in.fa: not a FASTA: it begins with b'\n', a FASTA begins with '>'",
    b"chr1\t5\t9\n": "in.fa: not a FASTA: it begins with b'c', a FASTA begins with '>'",
    b"PK\x03\x04zip": "in.fa: not a FASTA: it begins with b'P'",
    b">p1\nACGT\nMKEL\n": "in.fa line 3: 'E' in sequence p1 is no base: A C G T N and IUPAC's codes for DNA are; is this a protein",
    b">r1\nACGU\n": "in.fa line 2: 'U' in sequence r1 is no base",
    b">a\nAC\n\nAC-T\n": "in.fa line 4: '-' in sequence a is no base",
    b">a\nAC>b\n": "in.fa line 2: '>' in sequence a is no base",
    b">a\nAC\n>b\nA\n>a x\nA\n": "in.fa line 5: sequence a stands on line 1 already; each name may stand once",
    b">a\n>b\nA\n": "in.fa line 1: sequence a has no bases; was the file cut short?",
    b">a\nA\n>b\n\n": "in.fa line 3: sequence b has no bases",
    b">a\nA\n>b": "in.fa line 3: sequence b has no bases",
    b">a\nA\n> b\nA\n": "in.fa line 3: no name behind '>'",
    b">\nA\n": "in.fa line 1: no name behind '>'",
    b">\xc3\xa4\nA\n": "in.fa line 1: the name has letters other than ASCII",
    b">" + b"x" * (6 << 20): "in.fa: a header line of more than 1,048,576 bytes; is this a FASTA?",
    gzip.compress(GENOME * 9)[:-9]: "in.fa: the gzip data are cut short, damaged or followed by something else; copy or download",
    gzip.compress(GENOME) + b"more\n": "in.fa: the gzip data are cut short, damaged or followed by something else",
    gzip.compress(b"no FASTA"): "in.fa: not a FASTA: it begins with b'n'",
    b"\x1f\x8b": "in.fa: the gzip data are cut short",
}


@pytest.mark.parametrize(("content", "message"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_fault_is_one_line_that_says_where(tmp_path, content, message):
    assert message in refused(tmp_path, content)


def test_a_bgzip_file_that_is_cut_at_a_block_s_end_or_goes_on_as_text_is_refused(tmp_path):
    content = bgzip(tmp_path / "in.fa", GENOME).read_bytes()
    end_mark = "in.fa: bgzip without its end mark, so cut short or with something behind; copy or download the file again"
    assert end_mark in refused(tmp_path, content[:-28])
    assert end_mark in refused(tmp_path, content + b">chr3\nACGT\n")
    assert end_mark in refused(tmp_path, content[:-40])


def test_a_bgzip_file_with_lines_of_different_length_says_what_to_do(tmp_path):
    content = bgzip(tmp_path / "in.fa", b">a\nAC\nACGT\nACG\n").read_bytes()
    assert "in.fa: samtools faidx cannot index this file, mostly because the lines of a sequence differ in length" in refused(
        tmp_path, content
    )


def test_transcripts_are_no_genome(tmp_path):
    line = refused(tmp_path, b"".join(b">t%d\nACGT\n" % number for number in range(20_001)))
    assert "in.fa: 20,001 sequences of 4 bp in the median look like transcripts, not like a genome; give" in line
    assert len(indexed(tmp_path, b"".join(b">t%d\nACGT\n" % number for number in range(20_000)))) == 20_000


def test_missing_files_and_folders_are_refused(tmp_path):
    for path, why in ((tmp_path / "absent.fa", "no such file"), (tmp_path, "a directory")):
        result = run_script(tmp_path, path)
        assert result.returncode == 1 and result.stderr == f"index_genome.py: error: {path}: {why}; --fasta is one FASTA file\n"


def test_the_log_says_how_much_and_how_fast(tmp_path):
    (tmp_path / "in.fa").write_bytes(GENOME)
    log = run_script(tmp_path, tmp_path / "in.fa").stderr
    assert "in.fa: 2 sequences, 0.0 Mb in" in log and "MB/s" in log


def test_real_genome(tmp_path):
    fasta = needs(DATA / "genome" / "derived_hg38_mini_masked.fa.gz")
    found = read_back(tmp_path, fasta)
    assert {name: len(bases) for name, bases in found.items()} == {"chr1": 1_000_000, "chr21": 19_999_999, "chr22": 33_094_980}
    assert sum(len(bases) - bases.count("N") for bases in found.values()) == 6_867_498
    assert gzip.decompress((tmp_path / "genome.fa.gz").read_bytes()) == gzip.decompress(fasta.read_bytes())
