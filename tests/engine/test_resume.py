"""Which tasks run again after an edit: proved with stubs, whose hashes take in the same fingerprints of the code."""

import os

import pytest

BEFORE_THE_DATASET = {"SIMULATE_COHORT", "WRITE_SAMPLE_TABLE", "INDEX_GENOME", "MAKE_GENE_TABLE", "EXTRACT_PROMOTERS", "GROUP_PARALOGS"}
BEFORE_THE_DATASET |= {"KALLISTO_INDEX", "KALLISTO_QUANT", "COLLECT_ABUNDANCES", "COLLECT_EXPRESSION", "BIN_PEAKS"}
MODELS = {"PREPARE", "TRAIN", "FIT_BASELINES", "PREDICT", "ATTRIBUTE"}


@pytest.fixture(scope="module")
def stubs(pipeline, tmp_path_factory):
    """Run all stubs in a folder and return it."""
    folder = tmp_path_factory.mktemp("stubs")
    run = pipeline(folder, "-profile", "test", "-stub")
    assert run.status == 0, run.text
    assert (run.results / "report.html").exists()
    return folder


@pytest.fixture
def rerun_after(stubs, project, pipeline, changed):
    """Return a function that says which processes run again when a comment is added to a file of bin/."""

    def rerun(name):
        edited = project / "bin" / name
        with changed(edited, edited.read_text() + "# an edit\n"):
            run = pipeline(stubs, "-profile", "test", "-stub", "-resume")
        assert run.status == 0, run.text
        return run.processes("COMPLETED")

    return rerun


def test_stubs_run_with_the_strict_parser(pipeline, tmp_path):
    run = pipeline(tmp_path, "-profile", "test", "-stub", NXF_SYNTAX_PARSER="v2")
    assert run.status == 0, run.text
    assert (run.results / "report.html").exists()


def test_edit_of_the_training_loop_trains_again_and_bins_nothing(rerun_after):
    again = rerun_after("exprcast/training.py")
    assert again >= MODELS and not again & (BEFORE_THE_DATASET | {"ASSEMBLE_DATASET", "CHECK_FOLDS"})


def test_edit_of_the_read_checks_quantifies_again_and_indexes_nothing(rerun_after):
    again = rerun_after("exprcast/reads.py")
    assert again >= {"KALLISTO_QUANT", "COLLECT_ABUNDANCES", "ASSEMBLE_DATASET"} and not again & {
        "KALLISTO_INDEX",
        "BIN_PEAKS",
        "MAKE_GENE_TABLE",
    }


def test_another_kallisto_indexes_again(stubs, pipeline, tmp_path):
    """Versions of kallisto do not read each other's index."""
    fake = tmp_path / "kallisto"
    fake.write_text("#!/bin/sh\necho kallisto, version 9.9.9\n")
    fake.chmod(0o755)
    run = pipeline(stubs, "-profile", "test", "-stub", "-resume", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert run.status == 0, run.text
    assert run.processes("COMPLETED") >= {"KALLISTO_INDEX", "KALLISTO_QUANT"} and "MAKE_GENE_TABLE" in run.processes("CACHED")


def test_edit_of_attributions_trains_nothing(rerun_after):
    assert rerun_after("exprcast/attribution.py") == {"ATTRIBUTE", "REPORT", "CHECK_TRAINED"}


def test_edit_of_a_family_runs_its_models_again(rerun_after):
    again = rerun_after("exprcast/families/atac_cis.py")
    assert again >= MODELS and not again & (BEFORE_THE_DATASET | {"ASSEMBLE_DATASET", "CHECK_FOLDS"})


def test_edit_of_the_report_draws_the_report_again(rerun_after):
    assert rerun_after("report.py") == {"REPORT", "CHECK_TRAINED"}
