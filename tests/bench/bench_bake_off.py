"""Time and memory of bake_off.py on 1,000 samples × 20,000 genes, five folds, six families of three rules each.

python -m pytest tests/bench/bench_bake_off.py -s
"""

import json
import subprocess
import sys
from time import perf_counter

import pytest

from bench_evaluation import BIN, MIB, write_dataset, write_predictions

FAMILIES, RULES = 6, ("kernel", "mean", "rule")
MOST_S, MOST_GB = 1200, 2.0  # CPU time; the memory of the label table, without a retry


@pytest.mark.parametrize("hold_out", ["samples", "genes"])
def test_six_families_are_compared_in_2_GB(tmp_path, hold_out):
    dataset = write_dataset(tmp_path / "dataset.h5", hold_out)
    files = [write_predictions(tmp_path / f"family{i}.h5", dataset, hold_out, RULES, seed=2 + i) for i in range(FAMILIES)]
    command = [sys.executable, BIN / "bake_off.py", "--predictions", *files, "--dataset", dataset]
    command += ["--task-out", tmp_path / "task.json", "--out", tmp_path / "bake_off.tsv"]
    start = perf_counter()
    subprocess.run(list(map(str, command)), check=True, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    wall_s, facts = perf_counter() - start, json.loads((tmp_path / "task.json").read_text())
    for path in files:
        path.unlink()
    print(f"\n{hold_out} held out: {wall_s:.1f} s, {facts['cpu_s']:.1f} s of CPU time, {facts['peak_mib'] * MIB / 1e9:.2f} GB")
    assert facts["cpu_s"] <= MOST_S and facts["peak_mib"] * MIB / 1e9 <= MOST_GB
