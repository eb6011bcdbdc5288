"""Seconds, memory and coverage when models of 24 samples are applied to 100 new ones × 20,000 genes, five folds.

python -m pytest tests/bench/bench_apply.py -s                           twenty minutes, most of it training
NEW=20 GENES=2000 python -m pytest tests/bench/bench_apply.py -s         a quick look
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench_scale import GENES, HG19, measure, simulate
from exprcast.dataset import Dataset
from exprcast.tables import read_table, write_table
from tiny import run_script

TRAINING, NEW, FOLDS = 24, int(os.environ.get("NEW", 100)), 5
CORES = 2  # a laptop's at least; the pipeline gives each task one
MOST_S, MOST_GB = 5 * 60, 2.0  # from peaks to tables, folds side by side; private memory of each task
CONFIGS = {"atac_cis": '{"epochs": 1, "examples_per_epoch": 100000}', "atac_context": '{"epochs": 1}'}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Simulate all samples, and assemble those that are trained on."""
    folder = tmp_path_factory.mktemp("apply")
    simulate(folder, TRAINING + NEW)
    columns = ("id", "donor", "biosample", "replicate_group", "batch")
    rows = [tuple(row[name] for name in columns) for _, row in read_table(folder / "samples.tsv", columns)]
    write_table(folder / "old.tsv", columns, rows[:TRAINING])
    write_table(folder / "new.tsv", columns, rows[TRAINING:])
    places = ["--samples", folder / "old.tsv", "--chrom-sizes", HG19, "--genes", folder / "genes.tsv", "--tss", folder / "tss.tsv"]
    bins = [folder / f"{row[0]}.npz" for row in rows[:TRAINING]]
    tables = ["--table", "expression/gene", folder / "expression.tsv", "--table", "accessibility/bin", *bins]
    run_script("assemble_dataset", *places, *tables, "--folds", FOLDS, "--assembly", "hg19", "--out", folder / "dataset.h5")
    return folder


def train(folder: Path, family: str) -> Path:
    """Return a bundle of all folds."""
    data, parts, checkpoints, baselines = ["--dataset", folder / "dataset.h5"], [], [], []
    for fold in range(FOLDS):
        stem = folder / f"{family}.fold{fold}"
        prepared = ["--prepared", f"{stem}.prepared", *data]
        run_script("prepare", "--family", family, "--config", CONFIGS[family], "--fold", fold, *data, "--out", prepared[1])
        run_script("train", *prepared, "--device", "cpu", "--history-out", f"{stem}.history.tsv", "--out", f"{stem}.seed1.pt")
        run_script("fit_baselines", *prepared, "--out", f"{stem}.baselines.h5")
        for option, source in (("--checkpoint", f"{stem}.seed1.pt"), ("--baselines", f"{stem}.baselines.h5")):
            parts.append(f"{source}.predictions.h5")
            run_script("predict", option, source, *prepared, "--out", parts[-1])
        checkpoints.append(f"{stem}.seed1.pt")
        baselines.append(f"{stem}.baselines.h5")
    predictions = folder / f"{family}.h5"
    run_script("combine", "--predictions", *parts, "--out", predictions)
    tables = ["--samples-out", folder / "s.tsv", "--genes-out", folder / "g.tsv", "--out", folder / "scores.tsv"]
    run_script("evaluate", "--predictions", predictions, *data, *tables)
    given = ["--predictions", predictions, "--checkpoints", *checkpoints, "--baselines", *baselines, "--scores", folder / "scores.tsv"]
    (folder / "models").mkdir(exist_ok=True)
    run_script("bundle", *data, *given, "--out", folder / "models" / family)
    return folder / "models" / family


@pytest.mark.parametrize("family", list(CONFIGS))
def test_a_hundred_samples_take_five_minutes(cohort, family, tmp_path):
    start = time.perf_counter()
    bundle = train(cohort, family)
    print(
        f"\n{family}: {TRAINING} samples trained on in {time.perf_counter() - start:.0f} s; {NEW} new samples × {GENES:,} genes, {FOLDS} folds"
    )
    samples = Dataset(cohort / "dataset.h5").samples
    bins = [path for path in sorted(cohort.glob("S*.npz")) if path.stem not in samples]
    bundled, limit, start = ["--bundle", bundle], {"most_gb": MOST_GB}, time.perf_counter()
    new = ["--samples", cohort / "new.tsv", "--bins", *bins]
    cpu_s = measure(tmp_path, "assemble_new", *bundled, *new, "--out", tmp_path / "new.h5", **limit)
    given = [*bundled, "--dataset", tmp_path / "new.h5"]
    files = [tmp_path / f"fold{fold}.h5" for fold in range(FOLDS)]

    def apply_fold(fold: int, *more: object, what: str = "", out: Path | None = None) -> float:
        told = ["--fold", fold, "--device", "cpu", *more, "--out", out or files[fold]]
        return measure(tmp_path, "apply", *given, *told, what=f" (fold {fold}{what})", **limit)

    with ThreadPoolExecutor(CORES) as pool:
        cpu_s += sum(pool.map(apply_fold, range(FOLDS)))
    out = tmp_path / f"{family}.h5"
    cpu_s += measure(tmp_path, "average_folds", *given, "--applied", *files, "--out", out, **limit)
    exports = ["--table-out", tmp_path / "a.tsv.gz", "--parquet-out", tmp_path / "a.parquet", "--out", tmp_path / "a.h5ad"]
    cpu_s += measure(tmp_path, "export_applied", "--applied", out, *exports, **limit)
    wall_s = time.perf_counter() - start
    print(f"all: {wall_s:.0f} s on {CORES} cores, {cpu_s:.0f} s of CPU time")
    apply_fold(0, "--rules", what=", and rules", out=tmp_path / "rules.h5")
    apply_fold(0, "--block-samples", 8, what=", blocks of 8", out=tmp_path / "b.h5")
    rna = ["--expression", cohort / "expression.tsv"]
    measure(tmp_path, "assemble_new", *bundled, *new, *rna, "--out", tmp_path / "known.h5", what=" (with RNA)", **limit)
    measured = [*bundled, "--dataset", tmp_path / "known.h5", "--applied", *files]
    measure(tmp_path, "average_folds", *measured, "--out", tmp_path / "known.applied.h5", what=" (with RNA)", **limit)
    print_coverage(tmp_path / "known.applied.h5")
    with h5py.File(files[0]) as one, h5py.File(tmp_path / "b.h5") as other:
        assert np.array_equal(one["seed1"][:], other["seed1"][:]) or np.abs(one["seed1"][:] - other["seed1"][:]).max() < 2e-6
    assert wall_s <= MOST_S


def print_coverage(path: Path) -> None:
    """Print the share of new values inside their intervals, over all and per sample."""
    with h5py.File(path) as file:
        inside = (file["low"][:] <= file["observed"][:]) & (file["observed"][:] <= file["high"][:])
        held_out, width = file["calibration/coverage"][:], (file["high"][:] - file["low"][:]).mean()
    by_sample = np.quantile(inside.mean(axis=1), [0, 0.05, 0.5, 0.95, 1])
    print(
        f"inside 90 % intervals: {inside.mean():.3f} of new values (held-out training samples {np.nanmean(held_out):.3f}), mean width {width:.2f}"
    )
    print("per new sample, lowest, 5 %, middle, 95 %, highest: " + ", ".join(f"{value:.3f}" for value in by_sample))
