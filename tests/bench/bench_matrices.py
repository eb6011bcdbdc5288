"""Seconds and memory of importing 111,009 arrays × 22,268 probe sets as 10,463 genes, near duplicates sought over all pairs; of their dataset and
the check of its folds; and of text.

python -m pytest tests/bench/bench_matrices.py -s                                         7 minutes, 15 GB in the temporary folder
SAMPLES=5000 PROBES=4000 TEXT_SAMPLES=500 python -m pytest tests/bench/bench_matrices.py -s    a quick look
"""

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench_scale import measure
from exprcast.tables import read_table, write_table

SAMPLES, PROBES = int(os.environ.get("SAMPLES", 111_009)), int(os.environ.get("PROBES", 22_268))
TEXT_SAMPLES = int(os.environ.get("TEXT_SAMPLES", 3_000))
LANDMARKS, PROBES_PER_GENE, TWINS, PROGRAMMES, BLOCK = 943, 2, 200, 50, 1_000
MOST_GB, MOST_TEXT_GB = 2, 2


def simulate(folder: Path) -> list[tuple[str, str]]:
    """Write a GCTX in which genes follow a few programmes, and two lists; return the pairs (sample, its near twin) that were planted."""
    rng = np.random.default_rng(1)
    loadings, level = rng.normal(size=(PROGRAMMES, PROBES)).astype(np.float32), rng.normal(8, 2, PROBES).astype(np.float32)
    odd = rng.choice(np.arange(1, SAMPLES, 2), min(TWINS, SAMPLES // 10), replace=False)
    twins = {int(later): 2 * int(rng.integers(later // 2 + 1)) for later in odd}  # of an earlier one with an even number, which is no twin
    with h5py.File(folder / "arrays.gctx", "w") as file:
        file.attrs["version"] = "GCTX1.0"
        file["0/META/COL/id"] = np.array([f"GSM{i}" for i in range(SAMPLES)], "S")
        file["0/META/ROW/id"] = np.array([f"{i}_at" for i in range(PROBES)], "S")
        matrix = file.create_dataset("0/DATA/0/matrix", (SAMPLES, PROBES), "f4")
        for start in range(0, SAMPLES, BLOCK):
            count = min(BLOCK, SAMPLES - start)
            noise = rng.standard_normal((count, PROBES), np.float32) * np.float32(0.3)
            matrix[start : start + count] = (
                level + rng.standard_normal((count, PROGRAMMES), np.float32) @ loadings * np.float32(0.2) + noise
            )
        for later, earlier in sorted(twins.items()):
            matrix[later] = matrix[earlier] + np.float32(0.9 / np.sqrt(PROBES)) * rng.choice(np.float32([-1, 1]), PROBES)
    genes = PROBES // PROBES_PER_GENE
    rows = [(f"ENSG{i:011}", ",".join(f"{i * PROBES_PER_GENE + k}_at" for k in range(PROBES_PER_GENE))) for i in range(min(genes, 10_463))]
    write_table(folder / "landmarks.tsv", ["gene_id", "probes"], rows[:LANDMARKS])
    write_table(folder / "targets.tsv", ["gene_id", "probes"], rows[LANDMARKS:])
    return [(f"GSM{earlier}", f"GSM{later}") for later, earlier in twins.items()]


def lists(folder: Path) -> list[object]:
    """Return the options of both lists."""
    return [word for name in ("landmarks", "targets") for word in (f"--{name}", folder / f"{name}.tsv")]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> tuple[Path, list[tuple[str, str]]]:
    """Return a folder with a simulated GCTX and lists, and the twins in it."""
    folder, start = tmp_path_factory.mktemp("matrices"), time.perf_counter()
    twins = simulate(folder)
    print(f"\n{SAMPLES:,} arrays × {PROBES:,} probe sets; simulated in {time.perf_counter() - start:.0f} s")
    return folder, twins


def test_a_compendium_becomes_genes_and_loses_its_near_duplicates(arrays):
    folder, twins = arrays
    options = ["--matrix", folder / "arrays.gctx", "--unit", "log2_intensity", *lists(folder), "--duplicates", 1]
    measure(folder, "import_matrix", *options, "--out", folder / "out", most_gb=MOST_GB)
    dropped = {row["dropped"] for _, row in read_table(folder / "out/duplicates.tsv", ["kept", "dropped"])}
    assert dropped == {later for _, later in twins}, "each planted twin, and nothing else"
    with h5py.File(folder / "out/matrix.h5") as file:
        assert len(file["samples/id"]) == SAMPLES - len(twins)
    words = ["--main", folder / "out", "--folds", 10, "--group-by", "random", "--sets-out", folder / "sets.tsv"]
    measure(folder, "assemble_matrices", *words, "--out", folder / "dataset.h5", most_gb=MOST_GB)
    tables = ["--leakage-out", folder / "leakage.tsv", "--nearest-out", folder / "nearest.tsv"]
    measure(folder, "check_folds", "--dataset", folder / "dataset.h5", *tables, "--out", folder / "folds.txt", most_gb=MOST_GB)
    nearest = [row for _, row in read_table(folder / "nearest.tsv", ["id", "nearest"])]
    assert len({row["id"] for row in nearest}) == len(nearest) == SAMPLES - len(twins), "each sample is tested once"


def test_a_text_of_genes_by_samples_is_turned_round(arrays):
    folder, _ = arrays
    count = min(TEXT_SAMPLES, SAMPLES)
    with h5py.File(folder / "arrays.gctx") as file:
        values = file["0/DATA/0/matrix"][:count].T
    with (folder / "arrays.gct").open("w") as out:
        out.write(f"#1.2\n{PROBES}\t{count}\n" + "\t".join(["Name", "Description", *(f"GSM{i}" for i in range(count))]) + "\n")
        for number, row in enumerate(values):
            out.write(f"{number}_at\tNA\t" + "\t".join(f"{x:.4f}" for x in row.tolist()) + "\n")
    del values
    options = ["--matrix", folder / "arrays.gct", "--unit", "log2_intensity", *lists(folder)]
    cpu_s = measure(folder, "import_matrix", *options, "--out", folder / "text", what=" (GCT)", most_gb=MOST_TEXT_GB)
    print(f"{count * PROBES / cpu_s / 1e6:.1f} million cells a second of CPU time")
