"""Seconds and memory of importing 200,000 transcripts × 600 samples of 60,000 genes from text, and from one file of kallisto a sample; and of their dataset.

python -m pytest tests/bench/bench_transcripts.py -s                                      7 minutes, 5 GB in the temporary folder
SAMPLES=60 TRANSCRIPTS=20000 GENES=6000 python -m pytest tests/bench/bench_transcripts.py -s    a quick look
"""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench_scale import measure
from exprcast.dataset import Dataset

SAMPLES, TRANSCRIPTS, GENES = (
    int(os.environ.get(name, usual)) for name, usual in (("SAMPLES", 600), ("TRANSCRIPTS", 200_000), ("GENES", 60_000))
)
KALLISTO_SAMPLES, DISTINCT, MOST_GB = 20, 500, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Write a table whose rows repeat a few hundred, and lists beside it."""
    folder, rng = tmp_path_factory.mktemp("transcripts"), np.random.default_rng(1)
    values = (rng.gamma(0.3, 1.0, (DISTINCT, SAMPLES)) * rng.lognormal(0, 1, (DISTINCT, 1))).round(4)
    values *= 0.99e6 / TRANSCRIPTS / values.mean(axis=0)
    rows = ["\t".join(f"{value:.4f}" for value in row) for row in values.tolist()]
    with (folder / "tpm.tsv").open("w") as file:
        file.write("\t".join(["tx", "gene_id", *(f"S{i:04}" for i in range(SAMPLES))]) + "\n")
        for i in range(TRANSCRIPTS):
            file.write(f"ENST{i:011}.1\tENSG{i % GENES:011}.2\t{rows[i % DISTINCT]}\n")
    (folder / "genes.tsv").write_text("".join(f"ENST{i:011}\tENSG{i % GENES:011}\n" for i in range(TRANSCRIPTS)))
    (folder / "factors.txt").write_text("".join(f"ENSG{i:011}\n" for i in range(1_000)))
    print(
        f"\n{TRANSCRIPTS:,} transcripts of {GENES:,} genes × {SAMPLES:,} samples: {(folder / 'tpm.tsv').stat().st_size / 1e9:.2f} GB of text"
    )
    return folder


def test_a_table_of_a_consortium_becomes_a_dataset(folder):
    options = ["--transcripts", folder / "tpm.tsv", "--factors", folder / "factors.txt", "--unit", "tpm"]
    cpu_s = measure(folder, "import_transcripts", *options, "--out", folder / "out", most_gb=MOST_GB)
    print(f"{TRANSCRIPTS * SAMPLES / cpu_s / 1e6:.1f} million cells a second of CPU time")
    tables = {"expression/gene": "genes.h5", "expression/transcript": "transcripts.h5", "lists/splicing_factor": "factors.tsv"}
    words = [word for key, name in tables.items() for word in ("--table", key, folder / "out" / name)]
    words += [word for option in ("samples", "genes", "tss") for word in (f"--{option}", folder / f"out/{option}.tsv")]
    words += ["--chrom-sizes", folder / "out/chrom.sizes", "--group-by", "random", "--out", folder / "dataset.h5"]
    measure(folder, "assemble_dataset", *words, most_gb=MOST_GB)
    dataset = Dataset(folder / "dataset.h5")
    assert dataset.file["expression/transcript"].shape == (SAMPLES, TRANSCRIPTS) and len(dataset.genes) == GENES
    sums = np.bincount(dataset.array("transcripts/gene"), dataset.row("expression/transcript", 7), GENES)
    np.testing.assert_allclose(dataset.row("expression/gene", 7), sums, rtol=1e-4)


def test_files_of_kallisto_are_joined(folder):
    for i in range(KALLISTO_SAMPLES):
        (folder / f"S{i:04}").mkdir()
        lines = (f"ENST{t:011}.1\t900\t700.5\t{t % 97}\t{400 * (t % 100 == i)}\n" for t in range(TRANSCRIPTS))
        (folder / f"S{i:04}/abundance.tsv").write_text("target_id\tlength\teff_length\test_counts\ttpm\n" + "".join(lines))
    names = [f"S{i:04}" for i in range(KALLISTO_SAMPLES)]
    options = ["--transcripts", *(folder / name / "abundance.tsv" for name in names), "--names", *names, "--unit", "tpm"]
    options += ["--transcript-genes", folder / "genes.tsv", "--factors", folder / "factors.txt"]
    measure(folder, "import_transcripts", *options, "--out", folder / "joined", what=" (kallisto)", most_gb=MOST_GB)
    with h5py.File(folder / "joined/transcripts.h5") as file:
        assert file["value"].shape == (KALLISTO_SAMPLES, TRANSCRIPTS)
