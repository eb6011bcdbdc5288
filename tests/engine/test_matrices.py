"""From matrices of expression to a dataset: the one that is trained on and external sets, by one command; and what is refused."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_bad_input import expect_refused

from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.folds import make_folds
from exprcast.score_tables import POOLED
from exprcast.tables import read_table

ROOT = Path(__file__).parents[2]
PANEL = ROOT.parent / "shared/data/panel"
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests/bench"))
from matrix_files import GENES, LANDMARKS, TARGETS, write_gctx, write_matrices  # noqa: E402
from recorded import read_recorded, warn_of_older  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_matrices(tmp_path_factory.mktemp("matrices"))


def words(folder, **more):
    """Return the command line of a run of these files; None leaves a parameter out."""
    given = {"matrix": folder / "arrays.gctx", "matrix_unit": "log2_intensity", "matrix_groups": "batch=series", "families": "none"}
    given |= {name: folder / f"{name}.tsv" for name in ("landmarks", "targets")} | more
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]


def test_matrices_become_a_dataset_with_a_fold_of_external_sets(pipeline, folder, tmp_path):
    run = pipeline(tmp_path, *words(folder, external=folder / "external.csv", folds=0, duplicates="0.001:report"))
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    sets, units = dataset.text("samples/set"), dataset.text("samples/unit")
    assert dataset.genes == GENES and len(dataset.samples) == 36 and dataset.samples == sorted(dataset.samples)
    assert set(zip(sets, units, strict=True)) == {("", "log2_intensity"), ("rnaseq", "cpm"), ("pcr", "log2_intensity")}
    for key, genes in (("lists/landmark", LANDMARKS), ("lists/target", TARGETS)):
        assert [gene for gene, listed in zip(GENES, dataset.array(key), strict=True) if listed] == genes
    values, row = dataset.array("expression/gene"), dataset.samples.index("GSM5")
    with h5py.File(folder / "arrays.gctx") as file:
        probes = file["0/DATA/0/matrix"][5]
    np.testing.assert_array_equal(values[row, :10], probes[:10])
    assert values[row, 10] == np.float32((probes[10] + probes[31]) / 2), "the mean of two probe sets"
    lacking = [gene for i, gene in enumerate(GENES) if np.isnan(values[dataset.samples.index("counts0"), i])]
    assert lacking == [GENES[0], *GENES[12:14]]
    main = np.array([not name for name in sets])
    assert dataset.n_folds == 7 and (dataset.sample_role[:6][:, ~main] == UNUSED).all() and (dataset.sample_role[6][main] == TRAIN).all()
    assert {name: set(dataset.sample_role[6][np.array(sets) == name].tolist()) for name in set(sets) - {""}} == {
        "rnaseq": {TEST},
        "pcr": {VALID},
    }
    assert {batch for batch, fold in zip(dataset.text("samples/batch"), (dataset.sample_role[:6] == TEST).sum(axis=0), strict=True) if fold} == {
        "GSE1_a", "GSE1_b", "GSE2", "GSE3", "GSE4", "GSE5",
    }  # fmt: skip
    shared = {row["shared"]: row["names"] for _, row in read_table(run.results / "tables/leakage.tsv", ())}
    assert shared["accession"] == "GSE1", "GSE1_a and GSE1_b are parts of one study"
    assert [row["set"] for _, row in read_table(run.results / "tables/matrices/sets.tsv", ())] == ["main", "pcr", "rnaseq"]
    left_out = [row["reason"] for _, row in read_table(run.results / "tables/matrices/main/left_out.tsv", ())]
    assert left_out == ["is a landmark"] and (run.results / "tables/matrices/main/duplicates.tsv").is_file()
    assert "36 samples" in (run.results / "report.html").read_text()


def test_what_is_wrong_beside_a_matrix_is_said_before_any_task(pipeline, folder, tmp_path):
    bad = folder / "bad.csv"
    bad.write_text("name,matrix,unit,role\nmain,none.tsv,fpkm,train\npcr,pcr.tsv,log2_intensity,choose\n")
    run = pipeline(
        tmp_path,
        *words(folder, matrix_unit=None, targets=None, hold_out="genes", group_by="donor", families="atac_cis", external=bad, refit="true"),
    )
    expect_refused(
        run,
        "--matrix_unit is needed: what the numbers of --matrix mean; .*",
        "--landmarks, --targets: both lists are needed beside --matrix: .*",
        "--refit: sets that choose would be trained on; .*",
        "--hold_out genes: targets are predicted from landmarks of the same sample; .*",
        "--families atac_cis: reads no landmark genes, and a matrix has nothing else; choose from .*none",
        "--group_by donor: --matrix_groups names no donor; write --matrix_groups donor=COLUMN",
        "bad.csv line 2, column name: 'main': use letters.*",
        r"bad.csv line 2 \(set main\), column matrix: file not found: .*none.tsv",
        r"bad.csv line 2 \(set main\), column unit: 'fpkm': choose from counts, .*",
        r"bad.csv line 2 \(set main\), column role: 'train': write test .*",
        "bad.csv: no set has the role test: .*",
    )
    assert "Submitted" not in run.text
    run = pipeline(tmp_path, *words(folder, simulate="true", bin_bp=100, duplicates="0", matrix_groups="series", matrix_unit="fpkm"))
    expect_refused(
        run,
        "--matrix_unit fpkm: choose from counts, cpm, tpm, rpkm, log2_intensity, zscore",
        "--duplicates 0: not possible; .* 1.0:report",
        "--matrix_groups series: not possible; .* batch=series,donor=person",
    )
    run = pipeline(tmp_path, *words(folder, simulate="true"))
    expect_refused(run, "--matrix, --simulate: give only one of files, --promoters, --matrix, --transcripts, --dataset and --simulate")
    run = pipeline(tmp_path, "--simulate", "--landmarks", folder / "landmarks.tsv")
    expect_refused(run, "--landmarks: has no effect without --matrix or --samples")


def test_a_set_that_lacks_the_landmarks_is_refused_by_name(pipeline, folder, tmp_path):
    lines = (folder / "pcr.tsv").read_text().splitlines()
    (folder / "few.tsv").write_text("\n".join([lines[0], *lines[7:]]) + "\n")
    (folder / "few.csv").write_text("name;matrix;unit\nfew;few.tsv;log2_intensity\n")
    run = pipeline(tmp_path, *words(folder, external=folder / "few.csv"))
    expect_refused(run, "import_matrix.py: error: few.tsv: 4 of 10 landmarks are in it: .*; are these the same kind of id.")


@pytest.fixture(scope="module")
def trained(pipeline, folder, tmp_path_factory):
    """Train the smallest network on the arrays, with both external sets in a fold of their own."""
    options = words(folder, external=folder / "external.csv", folds=2, families="dgex:quick", attribution_genes=3)
    run = pipeline(tmp_path_factory.mktemp("trained"), *options)
    assert run.status == 0, run.text
    return run


def test_landmarks_are_scored_in_every_fold_and_on_external_sets(trained):
    dataset = Dataset(trained.results / "dataset.h5")
    with h5py.File(trained.results / "predictions/dgex.h5") as file:
        rows, columns, tested = file["rows"].asstr()[:].tolist(), file["columns"].asstr()[:].tolist(), file["role"][:] == TEST
        predicted = file["predicted"][:].mean(axis=1)
    assert rows == dataset.samples and columns == TARGETS and len(predicted) == 3
    for fold, roles in enumerate(dataset.sample_role):
        assert tested[fold].any(axis=1).tolist() == (roles == TEST).tolist()
        assert np.isfinite(predicted[fold][tested[fold]]).all()
    for name in ("scores.tsv", "report.html", "models/dgex/bundle.json"):
        assert (trained.results / name).is_file(), name
    scored = {
        row["scope"]: row
        for _, row in read_table(trained.results / "scores.tsv", ())
        if (row["predictor"], row["metric"]) == ("model", "mse")
    }
    assert {"pooled", "set rnaseq"} <= set(scored) and "set pcr" not in scored, "what chooses is not scored"
    assert "ATAC" not in (trained.results / "report.html").read_text()


def test_readme_command_completes_samples_that_have_only_landmarks(readme, trained, folder):
    with h5py.File(folder / "arrays.gctx") as file:
        values = file["0/DATA/0/matrix"][:5, :10]
    write_gctx(folder / "profiles.gctx", [f"plate:A{i}" for i in range(5)], LANDMARKS, values)
    changed = {"results_panel/models": str(trained.results / "models"), "--matrix profiles.gctx": f"--matrix {folder / 'profiles.gctx'}"}
    run = readme("--outdir completed", **changed)
    assert run.status == 0, run.text
    with h5py.File(run.results / "predictions/dgex.gctx") as file:
        assert file["0/META/COL/id"].asstr()[:].tolist() == [f"plate:A{i}" for i in range(5)]
        genes, completed = file["0/META/ROW/id"].asstr()[:].tolist(), file["0/DATA/0/matrix"][:]
    assert sorted(genes) == GENES and np.isfinite(completed).all()
    np.testing.assert_array_equal(completed[:, [genes.index(gene) for gene in LANDMARKS]], values)


def test_what_cannot_be_completed_is_said_before_any_task(pipeline, trained, folder, tmp_path):
    run = pipeline(
        tmp_path,
        "--apply",
        trained.results / "models",
        *words(folder, matrix_unit="counts", families="xpresso", dataset=folder / "pcr.tsv"),
    )
    expect_refused(
        run,
        "--matrix, --dataset: give only one of them beside --apply",
        "--matrix_groups: has no effect beside --apply; .*",
        "--targets: has no effect beside --apply; .*",
        "--matrix_unit counts: a total over landmarks says nothing; give CPM or TPM",
        "--families xpresso: no such bundle in .*",
    )
    assert "Submitted" not in run.text


@pytest.mark.skipif(not PANEL.is_dir(), reason="../shared/data is absent")
def test_readme_command_is_as_good_on_one_study_of_the_real_panel_as_recorded(readme, tmp_path):
    """One of the ten folds of tests/bench/accuracy_panel.py, which trains them all and both families."""
    _, rows = zip(*read_table(ROOT / "tests/panel/samples.tsv", ("id", "accession")), strict=True)
    (roles, *_), _ = make_folds([row["accession"] for row in rows], ["unknown"] * 2, "samples", 0, 0, 1)
    lines = [f"{row['id']}\t{('train', 'valid', 'test')[role]}" for row, role in zip(rows, roles, strict=True)]
    (tmp_path / "fold.tsv").write_text("\n".join(["id\tfold_1", *lines]) + "\n")
    (study,) = {row["accession"] for row, role in zip(rows, roles, strict=True) if role == TEST}
    one_fold = {"--families dgex,dgex_transductive --folds 0": f"--families dgex --fold_table {tmp_path / 'fold.tsv'}"}
    run = readme("--outdir results_panel", "--attribution_genes", 5, **one_fold)
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    assert (len(dataset.samples), len(dataset.genes), dataset.n_folds) == (233, 943 + 9_075, 1)
    assert dataset.promised == ["samples:batch", "samples:expression"] and not np.isnan(dataset.array("expression/gene")).any()
    (accession,) = [row for _, row in read_table(run.results / "tables/leakage.tsv", ()) if row["shared"] == "accession"]
    assert accession["folds"] == "0"
    scores = [row for _, row in read_table(run.results / "scores.tsv", ()) if (row["metric"], row["scope"]) == ("mae_sd", POOLED)]
    errors = {(row["family"], row["predictor"]): float(row["value"]) for row in scores}
    assert {name for family, name in errors if family == "dgex"} == {"model", "mean", "ridge", "nearest", "rule", "kernel"}
    assert ("ensemble", "model") in errors and errors["dgex", "ridge"] < errors["dgex", "rule"] < errors["dgex", "mean"]
    assert errors["dgex", "model"] <= float(read_recorded("panel")[f"dgex on {study}"]["value"]) + 0.02
    warn_of_older("panel", "dgex", "dgex_transductive")
