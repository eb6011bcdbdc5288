"""MultiQC finds what we publish of kallisto, and shows each sample under its own name, whatever its files of reads are called."""

import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "tests" / "multiqc" / "requirements.txt"
READ_BP, FRAGMENT_BP = 75, 200
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
LIBRARIES = {  # lanes, paired, reads of a lane that come from a transcript, reads of a lane that do not
    "K562.rep-1": (1, True, 80, 20),
    "liver_R1": (2, True, 75, 25),  # an id that looks like a file of reads
    "HepG2": (1, False, 60, 40),
    "T_cell": (3, False, 90, 10),
}


@pytest.fixture(scope="module")
def multiqc() -> Path:
    """Return the program multiqc, from an environment of its own in the cache, made once for each list of packages."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exprcast"
    cache = Path(os.environ.get("EXPRCAST_CACHE") or default)
    environment = cache / f"multiqc-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    with (cache / "multiqc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / ".ready").exists():
            make_environment(cache, environment)
    return environment / "bin" / "multiqc"


def make_environment(cache: Path, environment: Path) -> None:
    """Install the packages with the uv that envs/setup.sh left in the cache (1 GB); .ready comes last."""
    version = re.search(r"^uv_version=(\S+)", (ROOT / "envs" / "setup.sh").read_text(), re.MULTILINE)[1]
    uv = cache / f"uv-{version}" / "bin" / "uv"
    assert uv.exists(), f"{uv} is not there: run envs/setup.sh"
    shutil.rmtree(environment, ignore_errors=True)
    settings = {"UV_CACHE_DIR": str(cache / "uv-cache"), "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    python = environment / "bin" / "python"
    for command in (["venv", "--python", sys.executable, environment], ["pip", "sync", "--python", python, REQUIREMENTS]):
        subprocess.run(list(map(str, [uv, *command])), env=settings | os.environ, check=True)
    (environment / ".ready").touch()


def random_bases(rng: np.random.Generator, count: int) -> bytes:
    return rng.choice(np.frombuffer(b"ACGT", np.uint8), count).tobytes()


def fragments(rng: np.random.Generator, transcripts: list[bytes], inside: int, outside: int) -> Iterator[bytes]:
    """Yield fragments without errors: so many of a transcript, then so many that are random."""
    for _ in range(inside):
        transcript = transcripts[rng.integers(len(transcripts))]
        start = int(rng.integers(len(transcript) - FRAGMENT_BP))
        yield transcript[start : start + FRAGMENT_BP]
    for _ in range(outside):
        yield random_bases(rng, FRAGMENT_BP)


def write_fastq(path: Path, reads: list[bytes]) -> Path:
    path.parent.mkdir()
    quality = b"I" * READ_BP
    path.write_bytes(gzip.compress(b"".join(b"@read%d\n%s\n+\n%s\n" % (n, read, quality) for n, read in enumerate(reads)), mtime=0))
    return path


def write_lanes(folder: Path, sample: str, transcripts: list[bytes]) -> list[list[Path]]:
    """Write a sample's files of first and of second mates, with names that do not tell the sample."""
    lanes, paired, inside, outside = LIBRARIES[sample]
    rng = np.random.default_rng(len(sample))
    mates: list[list[Path]] = [[], []]
    for lane in range(1, lanes + 1):
        pieces = list(fragments(rng, transcripts, inside, outside))
        mates[0].append(write_fastq(folder / f"{sample}.{lane}.1" / f"run7_L{lane}_R1.fastq.gz", [piece[:READ_BP] for piece in pieces]))
        if paired:
            ends = [piece.translate(COMPLEMENT)[::-1][:READ_BP] for piece in pieces]
            mates[1].append(write_fastq(folder / f"{sample}.{lane}.2" / f"run7_L{lane}_R2.fastq.gz", ends))
    return mates


def run_script(name: str, *options: object) -> None:
    subprocess.run(list(map(str, [sys.executable, ROOT / "bin" / f"{name}.py", *options])), check=True, timeout=120)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Return a folder of results: kallisto/<sample>/ of samples of one and of several lanes, paired and single."""
    if shutil.which("kallisto") is None:
        pytest.skip("kallisto is not on PATH")
    folder, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    transcripts = [random_bases(rng, 1000) for _ in range(4)]
    (folder / "cdna.fa").write_bytes(b"".join(b">T%d gene:G%d\n%s\n" % (n, n, bases) for n, bases in enumerate(transcripts)))
    index, targets, probe = folder / "index", folder / "targets.tsv", folder / "probe.npy"
    run_script("kallisto_index", "--transcripts", folder / "cdna.fa", "--targets-out", targets, "--probe-out", probe, "--out", index)
    for sample, (_, paired, *_) in LIBRARIES.items():
        first, second = write_lanes(folder, sample, transcripts)
        lengths = [] if paired else ["--fragment-mean", FRAGMENT_BP, "--fragment-sd", 20]
        inputs = ["--sample", sample, "--reads-1", *first, "--reads-2", *second, *lengths]
        made = ["--index", index, "--targets", targets, "--probe", probe]
        run_script("kallisto_quant", *inputs, *made, "--stats-out", folder / "stats.tsv", "--out", folder / "results" / "kallisto" / sample)
    return folder / "results"


@pytest.fixture(scope="module")
def found(published, multiqc) -> dict:
    """Return multiqc_data.json of a folder of results."""
    out = published.parent / "multiqc"
    command = [multiqc, "--quiet", "--no-version-check", "--outdir", out, published]
    subprocess.run(command, cwd=published.parent, check=True)
    return json.loads((out / "multiqc_data" / "multiqc_data.json").read_text())


def test_each_sample_is_there_under_its_name_with_its_share_of_aligned_reads(found):
    shown = found["report_saved_raw_data"]["multiqc_kallisto"]
    assert {name: row["percent_aligned"] for name, row in shown.items()} == {
        name: pytest.approx(100 * inside / (inside + outside)) for name, (_, _, inside, outside) in LIBRARIES.items()
    }


def test_the_lanes_of_a_sample_are_counted_together(found):
    shown = found["report_saved_raw_data"]["multiqc_kallisto"]
    assert {name: row["total_reads"] for name, row in shown.items()} == {
        name: lanes * (inside + outside) for name, (lanes, _, inside, outside) in LIBRARIES.items()
    }


def test_paired_reads_have_a_fragment_length_and_single_ones_none(found):
    lengths = {name: row.get("fragment_length") for name, row in found["report_saved_raw_data"]["multiqc_kallisto"].items()}
    assert lengths == {name: pytest.approx(FRAGMENT_BP, abs=1) if paired else None for name, (_, paired, *_) in LIBRARIES.items()}


def test_the_numbers_come_from_the_published_logs(found, published):
    sources = found["report_data_sources"]["Kallisto"]["all_sections"]
    assert sources == {name: str(published / "kallisto" / name / "kallisto_quant.log") for name in LIBRARIES}
