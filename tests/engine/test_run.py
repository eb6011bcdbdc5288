"""The pipeline from files to report: what it leaves, that the same comes out again, and what -resume takes from the last time."""

import csv
import gzip
import json
import re
from pathlib import Path

import h5py
import numpy as np

from exprcast.dataset import TEST, Dataset
from exprcast.tables import read_matrix, read_table

FAMILY = "atac_cis"
SAME_BYTES = (
    "dataset.h5",
    "predictions/atac_cis.h5",
    "predictions/atac_cis.tsv.gz",
    "scores.tsv",
    "checkpoints/atac_cis.fold0.seed1.pt",
    "attributions/atac_cis.fold1.seed1.h5",
)


def rows_of(path: Path, *columns: str) -> list[dict[str, str]]:
    return [row for _, row in read_table(path, columns)]


def test_dataset_holds_the_samples_and_genes_that_came_in(base, cohort):
    dataset = Dataset(base.results / "dataset.h5")
    assert len(dataset.samples) == 8 and len(dataset.genes) == 40 and dataset.n_folds == 2
    assert dataset.unit("expression/gene") == "tpm" and dataset.bin_bp == 200
    given = read_matrix(cohort / "expression.tsv.gz")
    ids = [row.split(".")[0] for row in given.rows]
    truth = given.values[np.ix_([ids.index(gene) for gene in dataset.genes], [given.columns.index(sample) for sample in dataset.samples])]
    measured = dataset.array("expression/gene").T
    for sample in range(8):
        assert np.corrcoef(np.log2(truth[:, sample] + 1), np.log2(measured[:, sample] + 1))[0, 1] > 0.98
    assert dataset.file.attrs["assembly"] == "simulated" and len(dataset.file.attrs["code"]) == 32


def test_dataset_holds_the_transcripts_and_the_lists_that_came_in(base, cohort):
    dataset = Dataset(base.results / "dataset.h5")
    tpm, gene = dataset.array("expression/transcript"), dataset.array("transcripts/gene")
    assert tpm.shape == (8, len(read_matrix(base.results / "tables/transcript_tpm.tsv.gz").rows))
    total = np.array([np.bincount(gene, row, 40) for row in tpm])
    np.testing.assert_allclose(total, dataset.array("expression/gene"), rtol=1e-4, atol=1e-3)
    listed = {row["gene_id"] for row in rows_of(cohort / "factors.tsv", "gene_id", "symbol")}
    assert {dataset.genes[i] for i in np.flatnonzero(dataset.array("lists/splicing_factor"))} == listed
    for key, name in (("lists/landmark", "land mark's; (1).tsv"), ("lists/target", "targets.tsv")):
        listed = {row["gene_id"] for row in rows_of(cohort / name, "gene_id", "symbol")}
        assert {dataset.genes[i] for i in np.flatnonzero(dataset.array(key))} == listed
    spliced = {row["transcript"] for row in rows_of(cohort / "splicing.tsv", "factor", "transcript", "effect")}
    isoforms = np.array(dataset.text("transcripts/id"))[dataset.array("lists/isoform") == 1]
    assert spliced <= {name.split(".")[0] for name in isoforms} and len(isoforms) < tpm.shape[1]


def test_predictions_cover_every_sample_and_gene(base):
    with h5py.File(base.results / f"predictions/{FAMILY}.h5") as file:
        tested = file["role"][:] == TEST
        assert (tested.sum(axis=0) == 1).all()  # each cell in just one fold
        assert np.isfinite(file["predicted"][:].mean(axis=1)[tested]).all()
    assert len(rows_of(base.results / f"predictions/{FAMILY}.tsv.gz", "row", "column", "model")) == 8 * 40


def test_checkpoints_are_listed_with_their_fold_and_seed(base):
    with (base.results / "checkpoints/checkpoints.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert [(row["family"], row["preset"], row["fold"], row["seed"]) for row in listed] == [
        (FAMILY, "quick", "0", "1"),
        (FAMILY, "quick", "1", "1"),
    ]
    assert {row["checkpoint"] for row in listed} == {path.name for path in (base.results / "checkpoints").glob("*.pt")}


def test_attributions_are_there_for_every_checkpoint(base):
    for fold in (0, 1):
        with h5py.File(base.results / f"attributions/{FAMILY}.fold{fold}.seed1.h5") as file:
            assert len(set(file["column"].asstr()[:])) == 5  # attribution_genes of the profile
            assert file.attrs["completeness_error_max"] < 0.05


def test_tables_are_complete(base):
    tables = base.results / "tables"
    assert [row["id"] for row in rows_of(tables / "samples.tsv", "id", "donor")] == sorted(Dataset(base.results / "dataset.h5").samples)
    assert len(list((tables / "peaks").glob("*.peaks.tsv"))) == 8 and len(list((tables / "histories").glob("*.history.tsv"))) == 2
    for name in ("sample_scores.tsv", "leakage.tsv", "nearest.tsv", "lost_ids.tsv", "expression_stats.tsv", "expression.tsv.gz"):
        assert (tables / name).stat().st_size > 0, name


def test_reference_is_there_to_the_base(base, cohort):
    reference = base.results / "reference"
    assert len(rows_of(reference / "genes.tsv", "id")) == 40 <= len(rows_of(reference / "tss.tsv", "gene"))
    given = {row["id"].split(".")[0]: (row["chrom"], row["strand"], row["tss"]) for row in rows_of(cohort / "genes.tsv", "id")}
    sites = {row["gene"]: row["position"] for row in reversed(rows_of(reference / "tss.tsv", "gene"))}
    assert {row["id"]: (row["chrom"], row["strand"], sites[row["id"]]) for row in rows_of(reference / "genes.tsv", "id")} == given
    dataset = Dataset(base.results / "dataset.h5")
    promoters = gzip.decompress((reference / "promoters.fa.gz").read_bytes()).decode().splitlines()
    assert [line[1:].split()[0] for line in promoters[::2]] == dataset.genes and {len(line) for line in promoters[1::2]} == {10_500}
    assert "".join("ACGTN"[code] for code in dataset.file["promoters/sequence"][7]) == promoters[15]


def test_reads_are_quantified_and_shown(base):
    stats = {
        path.name.split(".")[0]: rows_of(path, "reads", "strandedness")[0] for path in (base.results / "tables/reads").glob("*.reads.tsv")
    }
    assert len(stats) == 8 and {row["strandedness"] for row in stats.values()} == {"reverse"}
    assert [sample for sample, row in stats.items() if row["lanes"] == "2"] == ["CT02_D1_R1"]
    for sample, row in stats.items():
        assert row["reads"] == "20000" and float(row["mapped_share"]) > 0.95, sample
        assert f"{sample}.fastq" in (base.results / "kallisto" / sample / "kallisto_quant.log").read_text()
    genes, transcripts = (read_matrix(base.results / f"tables/{kind}_tpm.tsv.gz") for kind in ("gene", "transcript"))
    np.testing.assert_allclose(genes.values.sum(axis=0), 1e6, rtol=1e-4)
    np.testing.assert_allclose(transcripts.values.sum(axis=0), genes.values.sum(axis=0), rtol=1e-6)
    assert "mapped" in (base.results / "report.html").read_text()


def test_leakage_says_what_the_grouping_left(base):
    shared = {
        row["shared"]: row["folds"] for row in rows_of(base.results / "tables/leakage.tsv", "axis", "shared") if row["axis"] == "samples"
    }
    assert shared["donor"] == shared["replicate_group"] == "0"  # held out together
    assert shared["biosample"] != "0"  # left out of --group_by by the profile, and said so


def test_scores_and_report_show_the_model_beside_its_baselines(base):
    scores = rows_of(base.results / "scores.tsv", "family", "predictor", "metric", "value")
    assert {row["predictor"] for row in scores} >= {"model", "mean", "ridge", "nearest", "kernel", "trees", "rule"}
    assert all(-1 <= float(row["value"]) <= 1 for row in scores if row["metric"] == "r_gene")
    page = (base.results / "report.html").read_text()
    assert FAMILY in page and page.rstrip().endswith("</html>")


def test_trace_and_closing_line(base):
    assert base.processes("COMPLETED") >= {"KALLISTO_QUANT", "BIN_PEAKS", "ASSEMBLE_DATASET", "TRAIN", "REPORT"}
    assert re.search(rf"^  report +{base.results}/report.html$", base.text, re.MULTILINE)
    assert re.search(r"^Done in .*: \d+ tasks run, 0 taken from an earlier run\.$", base.text, re.MULTILINE)
    for name in ("timeline.html", "report.html", "dag.html"):
        assert (base.results / "pipeline_info" / name).stat().st_size > 0


def test_second_run_takes_every_task_from_the_first(base, pipeline, launch, files):
    again = pipeline(launch, *files, "-resume", outdir="resumed")
    assert again.status == 0, again.text
    assert again.processes("CACHED") == base.processes("COMPLETED") and len(again.tasks) == len(base.tasks)
    assert {row["status"] for row in again.tasks} == {"CACHED"}
    for name in SAME_BYTES:
        assert (again.results / name).read_bytes() == (base.results / name).read_bytes(), name


def test_order_of_the_samplesheet_does_not_matter(base, pipeline, launch, files, cohort, changed):
    header, *rows = (cohort / "samples.csv").read_text().splitlines()
    with changed(cohort / "samples.csv", "\n".join([header, *reversed(rows)]) + "\n"):
        again = pipeline(launch, *files, "-resume", outdir="reordered")
    assert again.status == 0, again.text
    assert {row["status"] for row in again.tasks} == {"CACHED"}, again.text


def test_simulation_from_scratch_elsewhere_gives_the_same_bytes(base, pipeline, cohort, tmp_path):
    """The files of the shared run are this simulation's, so all that follows must be the same; bins remember what was excluded."""
    again = pipeline(tmp_path, "-profile", "test", "--exclude", cohort / "no peak's here.bed")
    assert again.status == 0, again.text
    for name in SAME_BYTES:
        assert (again.results / name).read_bytes() == (base.results / name).read_bytes(), name
    assert {"truth.tsv", "promoters.tsv", "splicing.tsv", "oracle.tsv.gz", "expression.tsv.gz", "true_transcripts.tsv.gz"} == {
        path.name for path in (again.results / "truth").iterdir()
    }
    for name in ("factors.tsv", "landmarks.tsv", "targets.tsv"):
        assert (again.results / "inputs" / name).read_bytes() == (cohort / name).read_bytes()


def test_a_dataset_starts_at_the_models_and_three_families_end_in_a_bake_off(base, pipeline, tmp_path):
    """The third predicts its targets from landmarks: what all three predict are the targets."""
    words = ["--dataset", base.results / "dataset.h5", "--attribution_genes", 0, "--families", f"{FAMILY}:quick,atac_bins:quick,dgex:quick"]
    run = pipeline(tmp_path, "-profile", "test", "--simulate", "false", *words)
    assert run.status == 0, run.text
    assert run.processes("COMPLETED") == {
        "CHECK_FOLDS",
        "BUNDLE",
        "PREPARE",
        "TRAIN",
        "FIT_BASELINES",
        "PREDICT",
        "COMBINE",
        "EVALUATE",
        "BAKE_OFF",
        "REPORT",
        "CHECK_TRAINED",
        "WRITE_PARAMETERS",
    }
    scores, alone = ((results / "scores.tsv").read_text().splitlines() for results in (run.results, base.results))
    assert [row for row in scores if not row.startswith(("atac_bins\t", "dgex\t"))] == alone, "what stands beside it changes no score"
    assert not (run.results / "dataset.h5").exists()  # it has not been made here
    found = rows_of(run.results / "bake_off.tsv", "predictor", "kind", "metric", "cells", "value")
    assert {row["cells"] for row in found} == {"common"}
    assert {row["metric"]: row["value"] for row in found if row["kind"] == "count"} == {
        "samples": "8",
        "genes": "30",
        "folds": "2",
        "values": "240",
    }
    assert {row["predictor"] for row in found if row["kind"] == "score"} >= {FAMILY, "atac_bins", "dgex", "mean", "all"}
    assert "All families side by side" in (run.results / "report.html").read_text()
    assert "BAKE_OFF" not in base.processes("COMPLETED") and not (base.results / "bake_off.tsv").exists(), (
        "one family has nobody to compare with"
    )


def test_seeds_and_a_control_with_shuffled_labels(base, pipeline, tmp_path):
    words = ["--dataset", base.results / "dataset.h5", "--attribution_genes", 0, "--seeds", 2, "--shuffled_control"]
    run = pipeline(tmp_path, "-profile", "test", "--simulate", "false", *words)
    assert run.status == 0, run.text
    assert len([row for row in run.tasks if row["process"].endswith(":TRAIN")]) == 2 * (2 + 1)
    scores = {
        (row["predictor"], row["scope"]): float(row["value"])
        for row in rows_of(run.results / "scores.tsv", "predictor", "scope", "against", "metric", "value")
        if row["metric"] == "r_gene_dev" and not row["against"] and row["value"] != "NA"
    }
    assert {scope for name, scope in scores if name == "model"} >= {
        "pooled",
        "seed 1",
        "seed 2",
        "mean over seeds (SD)",
        "best seed by validation",
    }
    one, other = (scores["model", f"seed {seed}"] for seed in (1, 2))
    assert one != other and abs(scores["model", "mean over seeds (SD)"] - (one + other) / 2) < 1e-6
    assert scores["shuffled", "pooled"] != scores["model", "pooled"] and scores["rule", "pooled"] > 0.3, (
        "a network this small learns little"
    )
    page = (run.results / "report.html").read_text()
    assert "shuffled" in page and "best seed by validation" in page
    assert not [path.name for path in run.results.rglob("*shuffled*")], "a control is no product"


def test_genes_held_out_with_their_paralogs(pipeline, cohort, words, tmp_path):
    pairs = [row["id"] for row in rows_of(cohort / "genes.tsv", "id")]
    (tmp_path / "pairs.tsv").write_text("gene\tparalog\n" + "".join(f"{a}\t{b}\n" for a, b in zip(pairs[::2], pairs[1::2], strict=True)))
    split = ["--hold_out", "genes", "--gene_groups", "paralogs", "--paralogs", tmp_path / "pairs.tsv", "--attribution_genes", 0]
    run = pipeline(tmp_path, *words(cohort, expression="expression.tsv.gz", samples="tables.csv"), *split)
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    groups = dict(zip(dataset.genes, dataset.text("genes/paralog_group"), strict=True))
    assert all(groups[a.split(".")[0]] == groups[b.split(".")[0]] != "" for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    shared = {
        row["shared"]: row for row in rows_of(run.results / "tables/leakage.tsv", "axis", "shared", "held_out") if row["axis"] == "genes"
    }
    assert (shared["paralog_group"]["promised"], shared["paralog_group"]["folds"]) == ("1", "0")
    assert (shared["chrom"]["promised"], shared["chrom"]["folds"]) == ("0", "2"), "of three chromosomes, both folds share some"
    scores = {
        (row["predictor"], row["metric"]): row["value"]
        for row in rows_of(run.results / "scores.tsv", "predictor")
        if row["scope"] == "pooled" and not row["against"]
    }
    assert all(-1 <= float(scores[name, "r_gene"]) <= 1 for name in ("model", "ridge", "nearest", "kernel", "trees", "rule"))
    assert float(scores["mean", "r_gene"]) < 0.2, "one number a fold knows no gene"
    assert "how expression differs between genes" in (run.results / "report.html").read_text(), "judged by r_gene"


def test_tables_instead_of_reads_stop_where_no_model_is_asked_for(pipeline, cohort, words, tmp_path):
    """A lab's own tables under awkward names, through all stages before the dataset; the page says that there is no model."""
    run = pipeline(tmp_path, *words(cohort, expression="first.tsv,second half.tsv", samples="signals.tsv"), "--families", "none")
    assert run.status == 0, run.text
    assert run.processes("COMPLETED") == {
        "MAKE_GENE_TABLE",
        "COLLECT_EXPRESSION",
        "BIN_PEAKS",
        "REPORT",
        "WRITE_SAMPLE_TABLE",
        "WRITE_PARAMETERS",
    }
    table, given = read_matrix(run.results / "tables/expression.tsv.gz"), read_matrix(cohort / "expression.tsv.gz")
    assert sorted(table.columns) == sorted(given.columns) and len(table.rows) == 40
    for row in run.tasks:
        if row["process"].endswith("BIN_PEAKS"):
            with np.load(next(Path(row["workdir"]).glob("*.npz"))) as bins:
                assert (bins["signal"] == 2.5).all(), "the bigWig is read, not the peaks' values"
    page = (run.results / "report.html").read_text()
    assert "no model was trained" in page and not (run.results / "dataset.h5").exists()


def test_report_knows_parameters_and_versions(base):
    parameters, versions = (
        {row["hash"]: row["workdir"] for row in base.tasks if row["process"].endswith(name)} for name in ("WRITE_PARAMETERS", "TRAIN")
    )
    written = json.loads(next(Path(folder) / "parameters.json" for folder in parameters.values()).read_text())
    assert written["families"] == f"{FAMILY}:quick" and written["folds"] == 2 and "outdir" not in written
    assert json.loads(next(Path(folder) / "task.json" for folder in versions.values()).read_text())["versions"]["torch"]
