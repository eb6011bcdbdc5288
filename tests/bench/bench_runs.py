"""Whole runs: seconds and peak memory (all processes of the run together) of the demo and of the ten blood populations.

python -m pytest -s tests/bench/bench_runs.py
"""

import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from demo_floors import floors

ROOT = Path(__file__).parents[2]
BLOOD = ROOT / "../shared/data/atac/blood_hg19"
GIB = 2**30


def watch(process: subprocess.Popen, peak: list[float]) -> None:
    """Keep the largest sum of proportional set sizes over a process and its descendants, looked at twice a second."""
    while process.poll() is None:
        total = 0
        try:
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total)
        time.sleep(0.5)


def run(folder: Path, *arguments: object) -> tuple[float, float]:
    """Run the pipeline in a folder; return seconds and the peak in GiB."""
    command = [ROOT / "envs/nextflow/nextflow", "run", ROOT, "-ansi-log", "false", *arguments]
    peak, start = [0.0], time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        status = process.wait(timeout=3600)
        watcher.join()
    assert status == 0, (folder / "log").read_text()[-2000:]
    return time.monotonic() - start, peak[0] / GIB


def test_demo(tmp_path):
    for profile, outdir, most_s in (("demo", "results", 300), ("demo_promoters", "results_promoters", 120)):
        seconds, gib = run(tmp_path, "-profile", profile, "--outdir", outdir, *(["-resume"] if outdir != "results" else []))
        print(f"\n{profile}: {seconds:.0f} s, {gib:.2f} GiB")
        for name, measured, floor in floors(tmp_path / outdir):
            print(f"{name}: {measured:.4f}, floor {floor:.4f}")
            assert measured >= floor
        assert gib <= 4 and seconds <= most_s


def test_blood(tmp_path):
    if not BLOOD.is_dir():
        pytest.skip(f"{BLOOD} is not here")
    tables = [
        "--gene_table",
        BLOOD / "refGene_hg19_TSS.bed.gz",
        "--expression",
        BLOOD / "rna_counts.tsv.gz",
        "--expression_unit",
        "counts",
        "--duplicate_genes",
        "sum",
    ]
    sheet = [
        "--samples",
        ROOT / "tests/blood/samples.csv",
        "--chrom_sizes",
        ROOT / "tests/blood/hg19.chrom.sizes",
        "--assembly",
        "hg19",
        "--folds",
        0,
    ]
    seconds, gib = run(tmp_path, "-profile", "local", *sheet, *tables)
    print(f"\nblood: {seconds:.0f} s, {gib:.2f} GiB")
    assert (tmp_path / "results/report.html").stat().st_size > 50_000
    assert seconds <= 900 and gib <= 6
