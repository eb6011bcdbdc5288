"""The demo against its truth; and ten blood populations from public files to a report, where those files are at hand."""

import csv
import gzip
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.dataset import Dataset
from exprcast.kallisto import read_abundance
from exprcast.tables import read_matrix

ROOT = Path(__file__).parents[2]
BLOOD = ROOT / "../shared/data/atac/blood_hg19"
READS = ROOT / "../shared/data/reads"
sys.path.insert(0, str(ROOT / "tests/bench"))
from demo_floors import floors  # noqa: E402
from recorded import read_recorded, warn_of_older  # noqa: E402
from strict import read_predictions, residual_r  # noqa: E402


def gib(text: str) -> float:
    """Return the trace's "1.2 GB" as GiB."""
    number, unit = text.split()
    return float(number) / {"KB": 2**20, "MB": 2**10, "GB": 1}[unit]


def test_demo_meets_its_floors(pipeline, tmp_path):
    """Both runs of `make demo`; the second takes all before the dataset from the first."""
    runs = [pipeline(tmp_path, "-profile", "demo"), pipeline(tmp_path, "-profile", "demo_promoters", "-resume", outdir="promoters")]
    for run in runs:
        assert run.status == 0, run.text
        for name, measured, floor in floors(run.results):
            assert measured >= floor, f"{name}: {measured:.3f}, asked for {floor:.3f}"
        largest = max(gib(row["peak_rss"]) for row in run.tasks if row["peak_rss"] not in ("-", "0"))
        assert 2 * largest + 1 <= 4, f"two tasks of {largest:.2f} GiB beside Nextflow's one are more than 4 GiB"
    assert runs[1].processes("CACHED") >= {"SIMULATE_COHORT", "KALLISTO_QUANT", "BIN_PEAKS", "EXTRACT_PROMOTERS"}


def test_the_commands_on_your_own_data_run_as_written(readme, cohort, project):
    """The README's own names are given to files of the small cohort: only what is in them differs from a lab's."""
    for folder in ("reads", "peaks"):
        (project / folder).symlink_to(cohort / folder)
    release = "Homo_sapiens.GRCh38"
    for name, file in (
        ("samples.csv", "samples.csv"),
        (f"{release}.116.gtf.gz", "annotation.gtf.gz"),
        (f"{release}.dna.primary_assembly.fa.gz", "genome.fa.gz"),
    ):
        shutil.copy(cohort / file, project / name)
    with gzip.open(cohort / "cdna.fa.gz", "rt") as file:
        transcripts = file.read().split(">")[1:]
    for name, part in (("cdna.all", transcripts[:-3]), ("ncrna", transcripts[-3:])):
        with gzip.open(project / f"{release}.{name}.fa.gz", "wt") as file:
            file.write("".join(f">{transcript}" for transcript in part))
    run = readme("--samples samples.csv", "--families", "none")
    assert run.status == 0, run.text
    assert len(read_matrix(run.results / "tables/transcript_tpm.tsv.gz").rows) == len(transcripts)
    again = readme("--samples samples.csv", "--families", "none", "-resume")
    assert again.status == 0 and again.processes("CACHED") >= {"KALLISTO_INDEX", "KALLISTO_QUANT", "MAKE_GENE_TABLE"}


def test_chr19_reads_end_in_tables(readme):
    """The README's command on four ENCODE libraries of chromosome 19, paired and single-end."""
    if not READS.is_dir():
        pytest.skip(f"the reads are not at {READS}")
    run = readme("--outdir results_chr19", "--bootstraps", 2)
    assert run.status == 0, run.text
    transcripts = read_matrix(run.results / "tables/transcript_tpm.tsv.gz")
    for sample in transcripts.columns:
        published = read_abundance(READS / "kallisto_outputs/encode_chr19_kallisto0.52.0" / sample / "abundance.tsv", sample)
        np.testing.assert_allclose(transcripts.values[:, transcripts.columns.index(sample)], published.tpm, rtol=1e-6)
        assert len(read_matrix(run.results / f"kallisto/{sample}/bootstraps.tsv.gz").columns) == 2
    genes = read_matrix(run.results / "tables/expression.tsv.gz")
    assert len(genes.rows) == 1988 and sorted(genes.columns) == sorted(transcripts.columns) and len(genes.columns) == 4
    np.testing.assert_allclose(genes.values.sum(axis=0), 1e6, rtol=1e-4)  # no read falls on a spike-in
    report = (run.results / "report.html").read_text()
    assert "ENCSR142YZV_rep1 (given as unstranded, but 2% of" in report


def test_blood_from_public_files_to_a_report(readme):
    """The README's command for one of its eight folds, with two small networks: the third is held to what was recorded of it."""
    if not BLOOD.is_dir():
        pytest.skip(f"the blood data are not at {BLOOD}")
    one_fold = {"--folds 0": "--fold_table tests/blood/mono.csv", "atac_bins,atac_cis,": "atac_bins:quick,atac_cis:quick,"}
    run = readme("--outdir results_blood", "--attribution_genes", 20, **one_fold)
    assert run.status == 0, run.text
    assert len([row for row in run.tasks if row["process"].endswith(":TRAIN")]) == 3
    with (run.results / "scores.tsv").open() as file:
        scores = {
            (row["family"], row["predictor"], row["metric"]): row["value"]
            for row in csv.DictReader(file, delimiter="\t")
            if row["scope"] == "pooled" and not row["against"]
        }
    assert scores["atac_cis", "mean", "r_gene_dev"] == "NA" and float(scores["atac_cis", "mean", "r_gene"]) > 0.8
    assert float(scores["ensemble", "model", "r_gene_dev"]) > 0.35
    report = (run.results / "report.html").read_text()
    assert "What the ensemble is made of" in report and "knock-out" in report
    dataset, recorded = Dataset(run.results / "dataset.h5"), read_recorded("atac")
    predicted = read_predictions(run.results / "predictions/atac_context.h5")["atac_context"]
    measured = residual_r(dataset, predicted)[dataset.samples.index("Mono")]
    assert measured >= float(recorded["STRICT r: atac_context on Mono"]["value"]) - 0.03
    warn_of_older("atac", "atac_bins", "atac_cis", "atac_context")


def test_a_population_is_predicted_from_its_peaks(readme, project):
    """The README's two commands, with a small network: monocytes by models that never saw one."""
    if not BLOOD.is_dir():
        pytest.skip(f"the blood data are not at {BLOOD}")
    quick = {"--folds 0": "--folds 2", "--families atac_context --refit": "--families atac_bins:quick --attribution_genes 0"}
    run = readme("--outdir results_monocytes", **quick)
    assert run.status == 0, run.text
    with h5py.File(project / "results_monocytes/predictions/atac_bins.h5") as file:
        assert list(file["rows"].asstr()[:]) == ["Mono"]
        predicted, observed = file["predicted"][0, 0, 0], file["observed"][0]
        inside = (file["low"][0] <= observed) & (observed <= file["high"][0])
    assert np.corrcoef(predicted, observed)[0, 1] > 0.8 and 0.6 < inside.mean() < 1
    assert "Mono" in (project / "results_monocytes/report.html").read_text()
