"""Runs of the real pipeline: one copy of the project, one small cohort and one finished run that the tests share."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy  # noqa: F401 (pyBigWig needs it first)
import pyBigWig
import pytest
from finished import Run

from exprcast.tables import read_chrom_sizes

ROOT = Path(__file__).parents[2]
LIMIT_S = 900  # of one run, on a machine that does other things, too


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project, so that tests can edit code and nobody's work disturbs theirs."""
    folder = tmp_path_factory.mktemp("project") / "exprcast"
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("modules", "bin", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    for name in ("main.nf", "nextflow.config", "nextflow_schema.json"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def nextflow(project: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Return a function that calls the project's launcher in a folder, within a time limit."""

    def call(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess:
        command = [str(project / "envs/nextflow/nextflow"), *map(str, words)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            text, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, process.returncode, text)

    return call


@pytest.fixture(scope="session")
def pipeline(nextflow: Callable[..., subprocess.CompletedProcess], project: Path) -> Callable[..., Run]:
    """Return a function that runs the pipeline in a folder; the folder keeps the work of earlier runs there for -resume."""

    def run(folder: Path, *words: object, outdir: str = "results", **environment: str) -> Run:
        finished = nextflow(folder, "run", project, "-ansi-log", "false", *words, "--outdir", outdir, **environment)
        return Run(finished.returncode, finished.stdout, folder / outdir)

    return run


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files that a user would give: the cohort of -profile test; its expression in two tables, too; some under awkward names."""
    folder = tmp_path_factory.mktemp("user") / "cohort"
    sizes = ("--samples", "8", "--genes", "40", "--reads", "20000", "--seed", "1")
    subprocess.run([sys.executable, ROOT / "bin/simulate_cohort.py", *sizes, "--out", folder], check=True, timeout=LIMIT_S)
    rows = [line.split("\t") for line in gzip.decompress((folder / "expression.tsv.gz").read_bytes()).decode().splitlines()]
    for name, columns in (("first.tsv", [0, 1, 2, 3]), ("second half.tsv", [0, 8, 7, 6, 5, 4])):
        (folder / name).write_text("".join("\t".join(row[column] for column in columns) + "\n" for row in rows))
    sheet = folder / "samples.csv"
    for usual, awkward in (("peaks/CT01_D1_R1", "peaks/one (1); & more"), ("reads/CT01_D1_R2_R1", "reads/R 1")):
        path = next(folder.glob(f"{usual}.*"))
        path.rename(folder / path.relative_to(folder).as_posix().replace(usual, awkward))
        sheet.write_text(sheet.read_text().replace(f"{usual}.", f"{awkward}."))
    rows = [line.split(",") for line in sheet.read_text().splitlines()]
    columns = [rows[0].index(name) for name in ("sample", "donor", "replicate_group", "peaks")]
    tables = dict.fromkeys(",".join(row[column] for column in columns) for row in rows)  # one row a sample, without reads
    (folder / "tables.csv").write_text("\n".join(tables) + "\n")
    empty = ["fragment_mean", "fragment_sd"], ["", ""]  # between tabs, as a spreadsheet writes them
    signals = [[*row.split(","), *empty[number > 0], "even.bw" if number else "signal"] for number, row in enumerate(tables)]
    (folder / "signals.tsv").write_text("\r\n".join("\t".join(row) for row in signals) + "\r\n", newline="")
    write_even_signal(folder / "even.bw", read_chrom_sizes(folder / "chrom.sizes"))
    (folder / "no peak's here.bed").write_text("chr1\t0\t1\n")
    shutil.copy(folder / "landmarks.tsv", folder / "land mark's; (1).tsv")
    return folder


def write_even_signal(path: Path, sizes: dict[str, int]) -> None:
    """Write a bigWig that is 2.5 everywhere."""
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()))
        for chrom, size in sizes.items():
            track.addEntries([chrom], [0], ends=[size], values=[2.5])


@pytest.fixture(scope="session")
def words() -> Callable[..., list[str]]:
    """Return a function that makes the command line for a folder of such files, in place of a simulation: reads, or tables where one is named."""

    def make(folder: Path, **files: str) -> list[str]:
        usual = {"samples": "samples.csv", "gtf": "annotation.gtf.gz", "fasta": "genome.fa.gz", "transcript_fasta": "cdna.fa.gz"}
        tables = {"samples": "tables.csv", "gene_table": "genes.tsv", "chrom_sizes": "chrom.sizes"}
        files = (tables if "expression" in files else usual) | files
        paths = {name: ",".join(str(folder / part) for part in file.split(",")) for name, file in files.items()}
        return ["-profile", "test", "--simulate", "false", *(word for name, path in paths.items() for word in (f"--{name}", path))]

    return make


@pytest.fixture(scope="session")
def files(cohort: Path, words: Callable[..., list[str]]) -> list[str]:
    """Return the command line of the shared run."""
    return words(cohort, exclude="no peak's here.bed", factors="factors.tsv", landmarks="land mark's; (1).tsv", targets="targets.tsv")


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of the shared run."""
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="session")
def base(pipeline: Callable[..., Run], launch: Path, files: list[str]) -> Run:
    """Run the pipeline on the cohort's files, from the first task to the report."""
    run = pipeline(launch, *files)
    assert run.status == 0, run.text
    return run


@pytest.fixture(scope="session")
def changed() -> Callable[..., AbstractContextManager[None]]:
    """Return a context in which a file has another text; afterwards it is as before, its time too."""

    @contextmanager
    def change(path: Path, text: str) -> Iterator[None]:
        before, times = path.read_text(), path.stat()
        path.write_text(text)
        try:
            yield
        finally:
            path.write_text(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # Nextflow hashes a script's time of change

    return change


@pytest.fixture(scope="session")
def readme(project):
    """Return a function that runs the README's one command that holds some words, with more behind it and some words changed."""
    for name in ("tests/chr19", "tests/blood", "tests/panel", "tests/isoform"):
        shutil.copytree(ROOT / name, project / name, dirs_exist_ok=True)
    shared = project.parent / "shared"
    if not shared.exists():
        shared.symlink_to((ROOT / "../shared").resolve())

    def run(holds: str, *words: object, **changed: str) -> Run:
        blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        (command,) = (block.rstrip() for block in blocks if holds in block)
        for old, new in changed.items():
            assert old in command
            command = command.replace(old, new)
        outdir = (re.findall(r"--outdir (\S+)", command) or ["results"])[0]
        line = f"set -e\n{command} -ansi-log false {' '.join(map(str, words))}"
        done = subprocess.run(["bash", "-c", line], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200)
        return Run(done.returncode, done.stdout + done.stderr, project / outdir)

    return run
