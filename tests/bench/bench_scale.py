"""Seconds and memory of 1,000 samples × 20,000 genes × 3.1 million bins, from bins to predictions of one fold.

python -m pytest tests/bench/bench_scale.py -s                        an hour, 16 GB in the temporary folder
SAMPLES=100 GENES=5000 python -m pytest tests/bench/bench_scale.py -s    a quick look

Two peaks are printed: all that a process holds, and without the file pages that it maps, which the system takes back when it needs memory.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from exprcast.dataset import TRAIN, Dataset
from exprcast.family import Examples, make_model
from exprcast.prepared import Prepared
from exprcast.tables import Matrix, bin_offsets, read_chrom_sizes, write_matrix, write_table
from exprcast.training import Training, make_deterministic, make_fabric

BIN, HG19 = Path(__file__).parents[2] / "bin", Path(__file__).parents[1] / "blood" / "hg19.chrom.sizes"
SAMPLES, GENES = int(os.environ.get("SAMPLES", 1_000)), int(os.environ.get("GENES", 20_000))
BIN_BP, TSS_PER_GENE, CANDIDATES = 1_000, 5, 400_000  # bins that are open in some sample
OPEN_BINS = (60_000, 100_000)  # of a sample
MOST_GB = {
    "assemble_dataset": 2,
    "check_folds": 2,
    "prepare": 1.5,
    "train": 2.5,
    "fit_baselines": 3,
    "predict": 3,
    "attribute": 2.5,
}  # private
MOST_CPU_S, MOST_LOADER_MS = {"atac_cis": 25 * 60, "atac_context": 50 * 60}, 2
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def simulate(folder: Path, count: int = SAMPLES) -> None:
    """Write bins as bin_peaks.py does, a gene table, start sites, an expression table in which a gene follows the bin of its first one."""
    rng, sizes = np.random.default_rng(1), read_chrom_sizes(HG19)
    offsets, names = bin_offsets(sizes, BIN_BP), list(sizes)
    chrom = np.sort(rng.choice(24, GENES))
    position = (rng.random((GENES, TSS_PER_GENE)) * (np.diff(offsets)[chrom] * BIN_BP)[:, None]).astype(int)
    own = offsets[chrom] + position[:, 0] // BIN_BP
    candidates = np.union1d(own, rng.choice(offsets[-1], CANDIDATES, replace=False))
    ids = [f"G{i:05}" for i in range(GENES)]
    columns = zip(ids, ids, (names[i] for i in chrom), rng.choice(["+", "-"], GENES), ["protein_coding"] * GENES, strict=True)
    write_table(folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "biotype"], columns)
    starts = ((gene, place, "simulated") for gene, row in zip(ids, position, strict=True) for place in row)
    write_table(folder / "tss.tsv", ["gene", "position", "source"], starts)
    samples = [f"S{i:04}" for i in range(count)]
    rows = ((sample, f"d{i // 2}", f"b{i // 4}", f"r{i // 2}", "") for i, sample in enumerate(samples))
    write_table(folder / "samples.tsv", ["id", "donor", "biosample", "replicate_group", "batch"], rows)
    level, values = rng.normal(3, 2, GENES), np.empty((GENES, count))
    genome = {
        "chromosomes": np.array(names),
        "sizes": np.array(list(sizes.values())),
        "bin_bp": np.int64(BIN_BP),
        "source": np.array("peaks"),
    }
    for number, sample in enumerate(samples):
        bins = np.sort(rng.choice(candidates, rng.integers(*OPEN_BINS), replace=False)).astype(np.int32)
        signal = rng.gamma(2, 4, len(bins)).astype(np.float32)
        near = np.zeros(offsets[-1], np.float32)
        near[bins] = np.log2(1 + signal)
        values[:, number] = np.maximum(2 ** (level + near[own] / 2 + rng.normal(0, 0.5, GENES)) - 1, 0)
        with (folder / f"{sample}.npz").open("wb") as file:
            np.savez(file, sample=np.array(sample), **genome, bin=bins, signal=signal)
    write_matrix(folder / "expression.tsv", Matrix({"unit": "tpm"}, "gene", ids, samples, values.round(3)))


def private_gb(pid: int, peak: list[float], done: threading.Event) -> None:
    """Keep the most memory that a process holds for itself (RssAnon of proc(5), in GB), looked at ten times a second."""
    while not done.wait(0.1):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        peak[0] = max([peak[0], *(int(line.split()[1]) * 1024 / 1e9 for line in status.splitlines() if line.startswith("RssAnon"))])


def measure(folder: Path, script: str, *options: object, what: str = "", most_gb: float = 0) -> float:
    """Run a script of bin/, print its seconds and peaks, compare the private one with its bound, and return its seconds of CPU time."""
    task, peak, done = folder / f"{script}{what}.task.json", [0.0], threading.Event()
    command = list(map(str, [sys.executable, BIN / f"{script}.py", *options, "--task-out", task]))
    start = time.perf_counter()
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=private_gb, args=(process.pid, peak, done))
    watcher.start()
    _, log = process.communicate()
    done.set()
    watcher.join()
    assert process.returncode == 0, log[-2000:]
    facts, wall_s = json.loads(task.read_text()), time.perf_counter() - start
    whole = facts["peak_mib"] * 2**20 / 1e9
    print(f"{script + what:32} {wall_s:6.0f} s {facts['cpu_s']:6.0f} s of CPU time {whole:6.2f} GB, private {peak[0]:5.2f} GB", flush=True)
    assert peak[0] <= (most_gb or MOST_GB[script]), f"{script}: {peak[0]:.2f} GB"
    return facts["cpu_s"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Return a dataset that was simulated and assembled, its folds checked."""
    folder, start = tmp_path_factory.mktemp("scale"), time.perf_counter()
    simulate(folder)
    print(f"\n{SAMPLES:,} samples, {GENES:,} genes; simulated in {time.perf_counter() - start:.0f} s")
    print(f"both: {assemble(folder, '--dataset', folder / 'dataset.h5'):.0f} s of CPU time")
    return folder / "dataset.h5"


@pytest.mark.parametrize("family", ["atac_cis", "atac_context"])
def test_a_thousand_samples_go_through(dataset, family, tmp_path):
    print(f"\n{family}")
    data, prepared = ["--dataset", dataset], ["--prepared", tmp_path / "prepared"]
    cpu_s = measure(tmp_path, "prepare", "--family", family, "--config", '{"epochs": 2}', "--fold", 0, *data, "--out", prepared[1])
    prepared += data
    network, baselines = ["--checkpoint", tmp_path / "a.pt", *prepared, "--device", "cpu"], tmp_path / "a.h5"
    cpu_s += measure(tmp_path, "train", *network[2:], "--history-out", tmp_path / "history.tsv", "--out", network[1])
    cpu_s += measure(tmp_path, "predict", *network, "--out", tmp_path / "p.h5", what=" (network)")
    cpu_s += measure(tmp_path, "attribute", *network, "--genes", 20, "--out", tmp_path / "s.h5")
    loader(prepared[1], dataset)
    cpu_s += measure(tmp_path, "fit_baselines", *prepared, "--out", baselines)
    cpu_s += measure(tmp_path, "predict", "--baselines", baselines, *prepared, "--out", tmp_path / "b.h5", what=" (baselines)")
    print(f"all: {cpu_s:.0f} s of CPU time")
    assert cpu_s <= MOST_CPU_S[family]


def assemble(folder: Path, *data: object) -> float:
    """Make the dataset and check its folds; return seconds of CPU time."""
    places = ["--samples", folder / "samples.tsv", "--chrom-sizes", HG19, "--genes", folder / "genes.tsv", "--tss", folder / "tss.tsv"]
    tables = ["--table", "expression/gene", folder / "expression.tsv", "--table", "accessibility/bin", *sorted(folder.glob("*.npz"))]
    cpu_s = measure(folder, "assemble_dataset", *places, *tables, "--out", data[1])
    outs = [word for name in ("leakage", "nearest") for word in (f"--{name}-out", folder / f"{name}.tsv")]
    return cpu_s + measure(folder, "check_folds", *data, *outs, "--out", folder / "folds.txt")


def loader(folder: Path, dataset: Path) -> None:
    """Print how long the inputs of 1,024 examples take beside a training step: from the disk, from the system's cache, and once mapped."""
    make_deterministic(1)
    for path in sorted(folder.rglob("*.npy")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    prepared = Prepared(folder, Dataset(dataset))
    examples = prepared.examples(with_valid=False)
    order = np.random.default_rng(1).permutation(np.flatnonzero(prepared.roles == TRAIN))
    batches = [order[start : start + 1_024] for start in range(0, min(len(order), 400 * 1_024), 1_024)]
    times = 1e3 * np.array([seconds(read, examples, batch) for batch in batches])
    print(f"inputs of 1,024 examples: {np.median(times[:20]):.1f} ms from the disk, {np.median(times[-100:]):.2f} ms once mapped")
    network = partial(make_model, prepared.family, prepared.config, examples, order)
    training = Training(network, examples, order, prepared.config, 1, make_fabric("cpu", "32-true"))
    training.model.train()
    step = 1e3 * np.median([seconds(training.step, batch) for batch in batches[-12:]])
    print(f"a training step of 1,024 examples on one CPU, inputs included: {step:.0f} ms")
    assert np.median(times[-100:]) <= MOST_LOADER_MS


def read(examples: Examples, index: np.ndarray) -> None:
    """Read what a training step reads."""
    examples.inputs(index)
    examples.targets(index)


def seconds(work: Callable, *arguments: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start
