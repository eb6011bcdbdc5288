"""Time and memory of evaluate.py on 1,000 samples × 20,000 genes, five folds, six baselines; and how often its intervals are right.

python -m pytest tests/bench/bench_evaluation.py -s
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import h5py
import numpy as np
import pytest

import combine
from exprcast.dataset import TEST, TRAIN, VALID, create_dataset, write_array
from exprcast.metrics import interval_of_ratio
from exprcast.scoring import row_blocks

BIN = Path(__file__).parents[2] / "bin"
SAMPLES, GENES, FOLDS = 1_000, 20_000, 5
BASELINES = ("kernel", "mean", "nearest", "ridge", "rule", "trees")
MOST_S, MOST_GB, MIB = 60, 4, 2**20
UNITS, SETS = [[1] * n for n in (6, 8, 10, 20, 50)] + [[1, 1, 1, 1, 2, 2, 2, 3, 3, 4], [2, 2, 1, 1, 1, 1, 1, 1]], 10_000
NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "exponential, mirrored": lambda rng, shape: 1 - rng.exponential(size=shape),
    "Student's t, 3 degrees": lambda rng, shape: rng.standard_t(3, size=shape),
}


def write_dataset(path: Path, hold_out: str) -> Path:
    """Write a dataset of ids and folds only: what evaluate.py reads of it."""
    roles = {"samples": np.zeros((FOLDS, SAMPLES), np.uint8), "genes": np.zeros((FOLDS, GENES), np.uint8)}
    for fold in range(FOLDS):
        roles[hold_out][fold, fold::FOLDS] = TEST
        roles[hold_out][fold, (fold + 1) % FOLDS :: 2 * FOLDS] = VALID
    with create_dataset(path, assembly="none", annotation="none", code="", sources="{}") as file:
        write_array(file, "samples/id", [f"S{i:04}" for i in range(SAMPLES)])
        for column, per in (("donor", 2), ("biosample", 4), ("replicate_group", 2), ("batch", SAMPLES)):
            write_array(file, f"samples/{column}", [f"{column}{i // per}" for i in range(SAMPLES)])
        for column, text in {"id": [f"G{i:05}" for i in range(GENES)], "symbol": [f"g{i}" for i in range(GENES)]}.items():
            write_array(file, f"genes/{column}", text)
        for column, value in (("chrom", "chr1"), ("strand", "+")):
            write_array(file, f"genes/{column}", [value] * GENES)
        write_array(file, "chromosomes/name", ["chr1"])
        write_array(file, "chromosomes/size", np.array([250_000_000]))
        promised = "samples:replicate_group" if hold_out == "samples" else "genes:chrom"
        write_array(file, "folds/sample_role", roles["samples"], hold_out=hold_out, scheme="bench", seed=1, promised=promised)
        write_array(file, "folds/gene_role", roles["genes"])
    return path


def write_predictions(path: Path, dataset: Path, hold_out: str, baselines: Sequence[str] = BASELINES, seed: int = 2) -> Path:
    """Write predictions as combine.py does: what is true plus noise where a fold does not train, NaN elsewhere; a tenth of all values is 0.

    `seed` is of the noise; the family is named like the file.
    """
    rng, own = np.random.default_rng(1), np.random.default_rng(seed)
    with h5py.File(dataset) as data, h5py.File(path, "w") as file:
        roles = data["folds/sample_role"][:], data["folds/gene_role"][:]
        file.attrs.update(
            {
                "format": combine.FORMAT,
                "format-version": 1,
                "family": path.stem,
                "preset": "default",
                "axes": "samples×genes",
                "unit": "log2(tpm + 1)",
            }
        )
        file["rows"], file["columns"] = data["samples/id"][:], data["genes/id"][:]
        file["folds"], file["seeds"] = np.arange(FOLDS), [1]
        file["status"] = [["trained"]] * FOLDS
        level = rng.gamma(2, 2, GENES).astype(np.float32)
        file["training_mean"], file["training_sd"] = np.tile(level, (FOLDS, 1, 1)), np.ones((FOLDS, 1, GENES), np.float32)
        shape = (FOLDS, SAMPLES, GENES)
        observed = combine.create_matrices(file, "observed", shape[1:], "f4")
        role = combine.create_matrices(file, "role", shape, "u1")
        predicted = combine.create_matrices(file, "predicted", (FOLDS, 1, *shape[1:]), "f4")
        arrays = [combine.create_matrices(file, f"baselines/{name}", shape, "f4") for name in baselines]
        pool = rng.normal(size=4 * GENES).astype(np.float32)
        for rows in row_blocks(file):
            noise = lambda rng, count=rows.stop - rows.start: np.stack([pool[k : k + GENES] for k in rng.integers(0, 3 * GENES, count)])  # noqa: E731
            truth = np.maximum(level + noise(rng), 0)
            observed[rows] = truth
            for fold in range(FOLDS):
                part = np.broadcast_to(roles[0][fold, rows, None] if hold_out == "samples" else roles[1][fold], truth.shape)
                role[fold, rows] = part
                predicted[fold, 0, rows] = np.where(part == TRAIN, np.nan, truth + noise(own))
                for name, array in zip(baselines, arrays, strict=True):
                    array[fold, rows] = np.where(part == TRAIN, np.nan, level if name == "mean" else truth + 2 * noise(own))
    return path


@pytest.mark.parametrize("hold_out", ["samples", "genes"])
def test_a_thousand_samples_are_scored_in_a_minute_and_4_GB(tmp_path, hold_out):
    dataset = write_dataset(tmp_path / "dataset.h5", hold_out)
    predictions = write_predictions(tmp_path / "bench.h5", dataset, hold_out)
    task = tmp_path / "task.json"
    outs = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", tmp_path / f"{kind}.tsv")]
    command = [
        sys.executable,
        BIN / "evaluate.py",
        "--predictions",
        predictions,
        "--dataset",
        dataset,
        *outs,
        "--task-out",
        task,
        "--out",
        tmp_path / "scores.tsv",
    ]
    start = perf_counter()
    subprocess.run(list(map(str, command)), check=True, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    wall_s = perf_counter() - start
    facts = json.loads(task.read_text())
    print(
        f"\n{hold_out} held out: {wall_s:.1f} s, {facts['cpu_s']:.1f} s of CPU time, {facts['peak_mib'] * MIB / 1e9:.2f} GB; file of {predictions.stat().st_size / 1e6:.0f} MB"
    )
    assert wall_s <= MOST_S and facts["peak_mib"] * MIB / 1e9 <= MOST_GB


def test_intervals_are_right_for_few_and_skewed_units():
    """Print how often a nominal 95 % interval holds the true gain, 0, and how often it lies above it ("better")."""
    print()
    for kind, draw in NOISE.items():
        for sizes in UNITS:
            counts, n = np.array(sizes, dtype=float), len(sizes)
            sets = counts * draw(np.random.default_rng(n), (SETS, n))
            low, high = np.array([interval_of_ratio(gains, counts, 1)[1:] for gains in sets]).T
            covered, better = ((low <= 0) & (high >= 0)).mean(), (low > 0).mean()
            print(f"{kind}, {n} units of {min(sizes)} to {max(sizes)}: covers {100 * covered:.1f} %, better {100 * better:.1f} %")
            assert 0.92 <= covered <= 0.98 and better <= 0.06
