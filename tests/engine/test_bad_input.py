"""What a user reads who gives something wrong: one plain line for each thing, exit status 1, and no result under its final name."""

import gzip
import re
import shutil

import pytest

SHEET = """\ufeffSample;Donor;peaks\r
"a;b";d;peaks/CT01_D2_R2.narrowPeak.gz\r
../x;d;peaks/CT01_D1_R2.narrowPeak.gz\r
ok;d;peaks/none.gz\r
ok;d;peaks/CT01_D2_R1.narrowPeak.gz\r
sly;d;peaks/$(touch oops).gz\r
"""


@pytest.fixture
def copy(cohort, tmp_path):
    """Copy the cohort, to be broken."""
    return shutil.copytree(cohort, tmp_path / "cohort")


def expect_refused(run, *messages):
    """Check that a run failed and said just these lines (regular expressions), without a stack trace; the last line is the first of them."""
    assert run.status == 1, run.text
    for message in messages:
        assert re.search(f"^{message}$", run.text, re.MULTILINE), f"{message}\n--- is not in ---\n{run.text}"
    assert not re.search(r"^\s+at [\w.$]+\(|Traceback|Exception", run.text, re.MULTILINE), run.text
    for name in ("dataset.h5", "scores.tsv", "report.html", "checkpoints", "predictions"):
        assert not (run.results / name).exists(), name


def last_line(run):
    return run.text.strip().splitlines()[-1]


def test_all_wrong_parameters_at_once(pipeline, tmp_path):
    wrong = {"hold_outs": "genes", "folds": "five", "bin_bp": "5", "device": "gpu", "families": "atac cis"}
    wrong |= {"exclude": "no.bed", "assembly": "x;y", "group_by": "", "resume": "yes"}
    run = pipeline(tmp_path, "-profile", "test", *(word for name, value in wrong.items() for word in (f"--{name}", value)))
    expect_refused(
        run,
        "--hold_outs: there is no such parameter; did you mean --hold_out.*",
        "--folds five: a whole number is needed",
        "--bin_bp 5: from 10 to .*",
        "--device gpu: choose from auto, cpu, cuda",
        "--families atac cis: not possible.*",
        "--exclude: file not found: .*no.bed",
        "--assembly x;y: not possible.*",
        "--group_by: a value is needed",
        "--resume: there is no such parameter; Nextflow's own option has one dash: -resume.*",
    )
    assert "Submitted" not in run.text


def test_way_in_must_be_one_and_complete(pipeline, tmp_path, cohort):
    expect_refused(pipeline(tmp_path), "nothing to work on: give --samples .*")
    expect_refused(
        pipeline(tmp_path, "--samples", cohort / "samples.csv"), "--samples needs --gene_table, --chrom_sizes, --expression, too"
    )
    expect_refused(pipeline(tmp_path, "--simulate", "--samples", cohort / "samples.csv"), "--samples, --simulate: give only one .*")


def test_unknown_family_is_named_beside_the_known_ones(pipeline, tmp_path):
    expect_refused(
        pipeline(tmp_path, "--simulate", "--families", "atac_sic"), "--families atac_sic: there is no such family; choose from .*atac_cis.*"
    )


def test_help_names_every_parameter_and_succeeds(pipeline, tmp_path):
    run = pipeline(tmp_path, "--help")
    assert run.status == 0
    assert "  --hold_out " in run.text and "[samples, genes, both; default samples]" in run.text


def test_samplesheet_is_read_before_any_task_with_all_its_faults(pipeline, copy, tmp_path, words):
    (copy / "samples.csv").write_text(SHEET, newline="")
    run = pipeline(tmp_path, *words(copy))
    expect_refused(
        run,
        "samples.csv line 2, column sample: 'a;b': use letters, digits, .*",
        "samples.csv line 3, column sample: '../x': use letters, digits, .*",
        r"samples.csv line 4 \(sample ok\), column peaks: file not found: .*none.gz",
        r"samples.csv line 5 \(sample ok\), column sample: already on line 4",
        r"samples.csv line 6 \(sample sly\), column peaks: a path may not hold any of .*touch oops.*",
    )
    assert "Submitted" not in run.text


def test_misspelt_column_is_not_taken_for_the_user_s_own(pipeline, copy, tmp_path, words):
    text = (copy / "samples.csv").read_text()
    (copy / "samples.csv").write_text(text.replace("donor", "donnor"))
    expect_refused(pipeline(tmp_path, *words(copy)), "samples.csv: column donnor is not known; did you mean donor.*")


def test_peaks_of_another_genome(pipeline, copy, tmp_path, words):
    peaks = copy / "peaks/CT01_D2_R2.narrowPeak.gz"
    peaks.write_bytes(gzip.compress(gzip.decompress(peaks.read_bytes()).replace(b"chr", b"scaffold")))
    run = pipeline(tmp_path, *words(copy))
    expect_refused(run, r"bin_peaks.py: error: CT01_D2_R2.narrowPeak.gz: no peak is on a known chromosome: .*scaffold1.*chr1.*")
    assert last_line(run).startswith("bin_peaks.py: error: ") and "BIN_PEAKS (CT01_D2_R2)" in run.text


def test_peaks_cut_short(pipeline, copy, tmp_path, words):
    peaks = copy / "peaks/CT02_D1_R1.narrowPeak.gz"
    peaks.write_bytes(peaks.read_bytes()[:-2000])
    run = pipeline(tmp_path, *words(copy))
    expect_refused(run, r"bin_peaks.py: error: CT02_D1_R1.narrowPeak.gz: .*cut short.*")
    assert last_line(run).startswith("bin_peaks.py: error: ")


def test_counts_that_were_called_tpm(pipeline, copy, tmp_path, words):
    header, *rows = gzip.decompress((copy / "expression.tsv.gz").read_bytes()).decode().splitlines()
    counts = ["\t".join([gene, *(str(round(float(value) * 3)) for value in values)]) for gene, *values in (row.split("\t") for row in rows)]
    (copy / "counts.tsv").write_text("\n".join([header, *counts]) + "\n")
    run = pipeline(tmp_path, *words(copy, expression="counts.tsv"))
    expect_refused(run, r"collect_expression.py: error: counts.tsv: .*counts.*--unit counts.*")
    assert last_line(run).startswith("collect_expression.py: error: ")


def test_columns_for_a_table_that_has_ids(pipeline, cohort, tmp_path, words):
    run = pipeline(tmp_path, *words(cohort, expression_columns="genes.tsv"))
    expect_refused(run, r"collect_expression.py: error: --column-genes genes.tsv: every table has ids of its own.*")


def test_dataset_cut_short(base, pipeline, tmp_path):
    whole = (base.results / "dataset.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    run = pipeline(tmp_path, "--dataset", tmp_path / "cut.h5")
    expect_refused(run, r"list_folds.py: error: cut.h5: cannot be opened as a dataset: .*cut short.*")
