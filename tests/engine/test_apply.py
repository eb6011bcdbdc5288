"""Models of the shared run, applied to samples from their peaks: nothing is trained, what was learnt predicts, and mistakes are told in one line."""

import gzip
import json
import re
import shutil

import anndata
import h5py
import numpy as np
import pyarrow.parquet
import pytest

from exprcast.dataset import Dataset

NEW = ("CT01_D1_R1", "CT02_D1_R2", "CT03_D1_R1")
LEARN = {"PREPARE", "TRAIN", "FIT_BASELINES", "MAKE_GENE_TABLE", "INDEX_GENOME", "CHECK_FOLDS", "BUNDLE", "REPORT"}


@pytest.fixture(scope="module")
def new(cohort):
    """Return the command line of three samples' peaks, under other names, and their RNA."""
    rows = [line.split(",") for line in (cohort / "tables.csv").read_text().splitlines()]
    peaks = {row[0]: row[3] for row in rows}
    (cohort / "new.csv").write_text("sample,peaks\n" + "".join(f"N{i},{peaks[sample]}\n" for i, sample in enumerate(NEW)))
    header, *lines = gzip.decompress((cohort / "expression.tsv.gz").read_bytes()).decode().splitlines()
    for i, sample in enumerate(NEW):
        header = header.replace(sample, f"N{i}")
    (cohort / "new_rna.tsv").write_text("\n".join([header, *lines[5:]]) + "\n")  # five genes are not measured
    return ["--samples", cohort / "new.csv", "--exclude", cohort / "no peak's here.bed"]


@pytest.fixture(scope="module")
def applied(base, pipeline, new, cohort, tmp_path_factory):
    run = pipeline(tmp_path_factory.mktemp("apply"), "--apply", base.results / "models", *new, "--expression", cohort / "new_rna.tsv")
    assert run.status == 0, run.text
    return run


def test_nothing_is_trained(applied):
    assert applied.processes("COMPLETED") == {
        "CHECK_BUNDLE", "WRITE_SAMPLE_TABLE", "COLLECT_EXPRESSION", "BIN_PEAKS", "ASSEMBLE_NEW", "APPLY", "AVERAGE_FOLDS", "EXPORT_APPLIED", "SCORE_APPLIED",
        "WRITE_PARAMETERS", "REPORT_APPLIED",
    }  # fmt: skip
    assert not applied.processes("COMPLETED") & LEARN
    assert not (applied.results / "checkpoints").exists() and not (applied.results / "models").exists()


def test_predictions_are_those_of_the_samples_own_peaks(applied, base):
    """Peaks under another name are the same sample: each fold says what it said of it, where it had been held out."""
    training = Dataset(base.results / "dataset.h5")
    with h5py.File(applied.results / "predictions/atac_cis.h5") as file, h5py.File(base.results / "predictions/atac_cis.h5") as recorded:
        assert list(file["rows"].asstr()[:]) == ["N0", "N1", "N2"] and list(file["columns"].asstr()[:]) == training.genes
        assert list(file["samples/nearest"].asstr()[:]) == list(NEW) and np.abs(file["samples/distance"][:]).max() < 1e-9
        low, high, predicted = file["low"][:], file["high"][:], file["predicted"][0, 0]
        assert (low <= predicted).all() and (predicted <= high).all() and (high - low).mean() > 0.1
        assert np.isnan(file["observed"][:]).mean() == 5 / 40
        r = [np.corrcoef(predicted[i], recorded["observed"][training.samples.index(sample)])[0, 1] for i, sample in enumerate(NEW)]
    assert min(r) > 0.8


def test_other_programs_read_the_exports(applied):
    folder = applied.results / "predictions"
    table = pyarrow.parquet.read_table(folder / "atac_cis.parquet")
    assert table.num_rows == 3 * 40 and {"sample", "gene", "predicted", "low", "high", "observed"} <= set(table.column_names)
    annotated = anndata.read_h5ad(folder / "atac_cis.h5ad")
    assert (
        annotated.shape == (3, 40) and {"low", "high", "observed"} <= set(annotated.layers) and list(annotated.obs["nearest"]) == list(NEW)
    )
    assert len(gzip.decompress((folder / "atac_cis.tsv.gz").read_bytes()).splitlines()) >= 121


def test_the_page_and_the_scores_tell_of_the_new_samples(applied):
    page = (applied.results / "report.html").read_text()
    assert all(name in page for name in ("N0", "N1", "N2", *NEW)) and "nearest" in page
    scores = (applied.results / "scores.tsv").read_text()
    assert "atac_cis\tmodel\t\tr_gene\tpooled" in scores and "atac_cis\tridge" in scores


def test_a_bundle_says_what_it_is(base):
    bundle = base.results / "models/atac_cis"
    content = json.loads((bundle / "bundle.json").read_text())
    assert content["folds"] == [0, 1] and content["assembly"] == "simulated" and content["bin_source"].startswith("peaks, without ")
    card = (bundle / "card.md").read_text()
    assert "CT03_D1_R1" in card and "core hours" in card and "exprcast 0.1.0" in card


def test_a_dataset_is_applied_to_without_any_file_of_a_sample(base, pipeline, tmp_path):
    run = pipeline(tmp_path, "-profile", "test", "--apply", base.results / "models", "--dataset", base.results / "dataset.h5")
    assert run.status == 0, run.text
    assert not {"BIN_PEAKS", "ASSEMBLE_NEW", "SIMULATE_COHORT", *LEARN} & run.processes("COMPLETED")
    with h5py.File(run.results / "predictions/atac_cis.h5") as file:
        assert file["predicted"].shape == (1, 1, 8, 40)


def test_resume_takes_all_from_the_last_run_until_the_bundle_changes(base, pipeline, new, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(base.results / "models", models)
    words = ["--apply", models, *new]
    assert pipeline(tmp_path, *words).status == 0
    again = pipeline(tmp_path, *words, "-resume")
    assert again.status == 0 and again.processes("CACHED") >= {"CHECK_BUNDLE", "BIN_PEAKS", "ASSEMBLE_NEW", "APPLY", "AVERAGE_FOLDS"}, (
        again.text
    )
    path = models / "atac_cis/fold0.seed1.pt"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    changed = pipeline(tmp_path, *words, "-resume")
    assert changed.status == 1 and "fold0.seed1.pt is not what bundle.json lists" in changed.text.splitlines()[-1], changed.text


def test_the_readmes_command_applies_what_a_run_left(base, new, readme, project, cohort):
    shutil.copytree(base.results / "models", project / "results/models", dirs_exist_ok=True)
    (project / "new.csv").write_text((cohort / "new.csv").read_text().replace("peaks/", f"{cohort}/peaks/"))
    shutil.copy(cohort / "no peak's here.bed", project / "regions.bed")
    run = readme("--outdir applied", "--exclude", "regions.bed")
    assert run.status == 0, run.text
    assert (run.results / "predictions/atac_cis.parquet").is_file() and not (run.results / "scores.tsv").exists()


def test_what_cannot_be_applied_is_said_in_a_line(base, pipeline, new, cohort, tmp_path):
    models, damaged = base.results / "models", tmp_path / "damaged"
    shutil.copytree(models, damaged)
    path = damaged / "atac_cis/fold1.seed1.pt"
    path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "odd" / "x").mkdir(parents=True)
    (tmp_path / "odd/x/bundle.json").write_text('{"family": "../x"')
    soon = {  # words, and what is said before any task
        ("--apply", "nowhere", *new): "--apply: folder not found: .*nowhere",
        ("--apply", base.results, *new): f"--apply: no bundle in {base.results}; it has a folder models: give --apply {models}",
        (
            "--apply",
            tmp_path / "odd",
            *new,
        ): "--apply: .*odd/x/bundle.json is damaged or of no exprcast bundle; copy the whole folder again",
        ("--apply", models): "--apply: new samples are needed; give --samples with their peaks, or --matrix, or --dataset",
        ("--apply", models, *new, "--folds", 3): "--folds: has no effect beside --apply; bundles hold what was learnt, and with what",
        (
            "--apply",
            models,
            *new,
            "--families",
            "atac_sis",
        ): "--families atac_sis: no such bundle in .*; did you mean atac_cis.*; there are atac_cis",
        ("--apply", models, *new, "--bin_bp", 500): "--bin_bp 500: bundle atac_cis was trained with 200; .*",
        ("--apply", models, "--samples", cohort / "samples.csv"): "sample .* has reads_1: beside --apply RNA comes as a table; .*",
    }
    for words, expected in soon.items():
        run = pipeline(tmp_path, *words)
        assert run.status == 1 and "Submitted" not in run.text, run.text
        assert re.search(f"^{expected}$", run.text, re.MULTILINE), f"{expected}\n{run.text}"
    late = {  # what a task finds
        ("--apply", damaged, *new): "check_bundle.py: error: bundle atac_cis: fold1.seed1.pt is not what bundle.json lists",
        ("--apply", models, *new[:2]): "assemble_new.py: error: bundle atac_cis was trained on bins of 200 bp of peaks, without ",
    }
    for words, expected in late.items():
        run = pipeline(tmp_path, *words)
        assert run.status == 1 and expected in run.text.splitlines()[-1], run.text
        assert not (run.results / "report.html").exists()
    shutil.copytree(models, tmp_path / "results/models")
    run = pipeline(tmp_path, "--apply", tmp_path / "results/models", *new)
    assert run.status == 1 and "--outdir results: the models that are applied lie in there; name another folder" in run.text
