#!/usr/bin/env python3
"""Turn the two matrices of bins of the original study into what the pipeline reads: a BED a sample, samplesheet, genes, folds.

    DATA=../shared/data/atac/encode29_hg38_chr1_0_10Mb
    envs/setup.sh python tests/encode29/make_inputs.py FOLDER
    envs/nextflow/nextflow run . -profile local --samples FOLDER/samples.csv --chrom_sizes FOLDER/chr1.sizes --gene_table FOLDER/genes.tsv \\
        --expression $DATA/exp_output_lines.csv.gz,$DATA/exp_output_tissues.csv.gz --expression_columns $DATA/gene_columns_360.tsv \\
        --expression_unit tpm --admit_misaligned true --min_detected 0 --bin_bp 1000 --assembly hg38 \\
        --hold_out samples --fold_table FOLDER/folds.csv --families atac_bins:shashkat --refit true --seed 42

The network has to score an MSE of 614.661 on the ten lines (predicting 0: 521.087; the tissues' mean: 730.274): that result is no
prediction of expression, because the columns of the two tables are not the same genes. Which gene a column of the tissues is,
nobody knows. So start sites are the columns' numbers, not places: the network's output layer then has the original's order (by
position, another draw of its initial weights: 614.471), and nothing may be read off this dataset that needs a gene's place.
"""

import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[3] / "shared/data/atac/encode29_hg38_chr1_0_10Mb"
REGION_BP, BIN_BP = 10_000_000, 1_000
VALID = ("exp_output_tissues_18", "exp_output_tissues_19")  # they have expression


def make_inputs(folder: Path) -> None:
    """Write everything under `folder`."""
    (folder / "peaks").mkdir(parents=True, exist_ok=True)
    samples = []
    for kind in ("lines", "tissues"):
        bins = np.loadtxt(DATA / f"peaks_input_{kind}.csv.gz", delimiter=",")
        for row, values in enumerate(bins, 1):
            samples.append(f"exp_output_{kind}_{row}")  # as collect_expression.py names the rows of the expression
            write_bed(folder / f"peaks/{samples[-1]}.bed", np.flatnonzero(values) * BIN_BP)
    (folder / "samples.csv").write_text("sample,peaks\n" + "".join(f"{sample},peaks/{sample}.bed\n" for sample in samples))
    (folder / "chr1.sizes").write_text(f"chr1\t{REGION_BP}\n")
    ids = [line.split("\t")[0] for line in (DATA / "gene_columns_360.tsv").read_text().splitlines()[1:]]
    (folder / "genes.tsv").write_text("id\tchrom\tstrand\ttss\n" + "".join(f"{gene}\tchr1\t+\t{n}\n" for n, gene in enumerate(ids)))
    (folder / "folds.csv").write_text("id,fold_1\n" + "".join(f"{sample},{role(sample)}\n" for sample in samples))


def write_bed(path: Path, starts: np.ndarray) -> None:
    """Write intervals of one bin."""
    path.write_text("".join(f"chr1\t{start}\t{start + BIN_BP}\n" for start in starts))


def role(sample: str) -> str:
    """Return what a sample is in the one fold."""
    return "test" if "lines" in sample else "valid" if sample in VALID else "train"


if __name__ == "__main__":
    make_inputs(Path(sys.argv[1]))
