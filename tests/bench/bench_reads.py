"""What our checks, tables and Nextflow cost over kallisto alone: 50 samples on two cores, in one run.

python -m pytest -s tests/bench/bench_reads.py
"""

import csv
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES, CPUS = 50, 2


def timed(command: list[object], folder: Path) -> float:
    """Run a command in a folder and return its wall-clock seconds."""
    start = time.monotonic()
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return time.monotonic() - start


def write_cohort(folder: Path, pairs: int) -> None:
    """Simulate a few samples, and give the files of those with one lane to 50."""
    made = ["--samples", 5, "--genes", 600, "--reads", pairs, "--seed", 1, "--out", folder / "cohort"]
    subprocess.run(list(map(str, [sys.executable, ROOT / "bin/simulate_cohort.py", *made])), check=True, capture_output=True)
    files = [sorted((folder / "cohort/reads").glob(f"*_R[12]_R{mate}.fastq.gz")) for mate in (1, 2)]
    rows = ["sample,reads_1,reads_2,strandedness"]
    for number in range(SAMPLES):
        links = [folder / "cohort" / f"S{number}_R{mate}.fastq.gz" for mate in (1, 2)]
        for link, paths in zip(links, files, strict=True):
            link.symlink_to(paths[number % len(paths)])
        rows.append(f"S{number},{links[0]},{links[1]},reverse")
    (folder / "samples.csv").write_text("\n".join(rows) + "\n")


def bare_commands(folder: Path) -> str:
    """Return a shell script that runs kallisto alone, two samples at a time."""
    with (folder / "samples.csv").open() as file:
        lines = [f"{row['sample']} {row['reads_1']} {row['reads_2']}" for row in csv.DictReader(file)]
    (folder / "list").write_text("\n".join(lines) + "\n")
    quant = f"xargs -P {CPUS} -L 1 bash -c 'kallisto quant -i t.idx -o bare/$0 --rf-stranded \"$@\"' < list"
    return f"set -e; mkdir bare; kallisto index -i t.idx cohort/cdna.fa.gz; {quant}"


@pytest.mark.parametrize("pairs", [200_000, 1_000_000])
def test_overhead(tmp_path, pairs):
    write_cohort(tmp_path, pairs)
    bare = timed(["bash", "-c", bare_commands(tmp_path)], tmp_path)
    tables = ["--gene_table", "cohort/genes.tsv", "--chrom_sizes", "cohort/chrom.sizes", "--transcript_fasta", "cohort/cdna.fa.gz"]
    run = [ROOT / "envs/nextflow/nextflow", "run", ROOT, "-profile", "local", "--samples", "samples.csv", *tables, "--families", "none"]
    ours = timed(run, tmp_path)
    ratio = ours / bare
    print(
        f"\n{SAMPLES} samples of {pairs:,} pairs: kallisto alone {bare:.1f} s, from samplesheet to tables and report {ours:.1f} s: {ratio:.2f} ×"
    )
    assert (tmp_path / "results/kallisto/S49/abundance.tsv").read_bytes() == (tmp_path / "bare/S49/abundance.tsv").read_bytes()
    assert ratio <= {1_000_000: 1.25, 200_000: 2.2}[pairs]  # Nextflow's start and 0.3 s a task weigh more on samples of a second
