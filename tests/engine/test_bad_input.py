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


def test_way_in_must_be_one_and_complete(pipeline, tmp_path, cohort, words):
    tables = {"expression": "expression.tsv.gz", "transcript_fasta": "cdna.fa.gz"}
    expect_refused(pipeline(tmp_path), "nothing to work on: give --samples .*")
    expect_refused(
        pipeline(tmp_path, "--samples", cohort / "samples.csv"),
        "--gtf or --gene_table: is needed; it says where genes lie",
        "--fasta or --chrom_sizes: is needed; it says how long chromosomes are",
        "--transcript_fasta is needed: sample CT01_D1_R1 has reads; .*",
    )
    expect_refused(
        pipeline(tmp_path, *words(cohort, **tables, gtf="annotation.gtf.gz", landmarks="landmarks.tsv"), "--families", "dgex:quick"),
        "--families dgex: reads landmark genes; give --landmarks and --targets, with --matrix or --samples",
        "--landmarks, --targets: give both lists or none: .*",
        "--gtf, --gene_table: give only one of them; .*",
        "--transcript_fasta is for reads, and no sample has reads_1",
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
    (copy / "tables.csv").write_text(SHEET, newline="")
    run = pipeline(tmp_path, *words(copy, expression="expression.tsv.gz"))
    expect_refused(
        run,
        "tables.csv line 2, column sample: 'a;b': use letters, digits, .*",
        "tables.csv line 3, column sample: '../x': use letters, digits, .*",
        r"tables.csv line 4 \(sample ok\), column peaks: file not found: .*none.gz",
        r"tables.csv line 5 \(sample ok\), column sample: already on line 4",
        r"tables.csv line 6 \(sample sly\), column peaks: a path may not hold any of .*touch oops.*",
    )
    assert "Submitted" not in run.text


def test_faults_of_reads_are_found_before_any_task(pipeline, copy, tmp_path, words):
    pair = "reads/CT01_D1_R1_R1.fastq.gz,reads/CT01_D1_R1_R2.fastq.gz"
    rows = [
        "sample,donor,reads_1,reads_2,strandedness,fragment_mean,fragment_sd,peaks,signal",
        f"A,d,{pair},reverse,,,peaks/CT01_D2_R2.narrowPeak.gz,",
        "A,e,reads/CT01_D2_R1_R1.fastq.gz,,reverse,,,peaks/CT01_D2_R2.narrowPeak.gz,",
        "B,d,reads/CT01_D1_R1_R1.fastq.gz,,rf,200,-3,peaks/CT01_D2_R2.narrowPeak.gz,",
        "C,d,,reads/CT01_D2_R2_R2.fastq.gz,,,,,genes.tsv",
        "D,d,reads/CT01_D2_R2_R1.fastq.gz,reads/CT01_D2_R1_R2.fastq.gz,,200,,peaks/CT01_D2_R2.narrowPeak.gz,",
        "D,d,,,,,,peaks/CT01_D2_R2.narrowPeak.gz,",
    ]
    (copy / "samples.csv").write_text("\n".join(rows) + "\n")
    run = pipeline(tmp_path, *words(copy))
    expect_refused(
        run,
        r"samples.csv line 3 \(sample A\), column fragment_mean and fragment_sd: single-end reads need both in bp .*",
        r"samples.csv line 3 \(sample A\), column donor: 'e', but 'd' on line 2; rows of one sample are its lanes .*",
        r"samples.csv line 3 \(sample A\), column reads_2: line 2 is paired; the lanes of a sample must be alike",
        r"samples.csv line 4 \(sample B\), column strandedness: 'rf': write auto, unstranded, forward or reverse, or nothing",
        r"samples.csv line 4 \(sample B\), column fragment_sd: '-3': a number of bp above 0 and up to 2000 is needed",
        r"samples.csv line 4 \(sample B\), column reads_1: CT01_D1_R1_R1.fastq.gz is already reads_1 of sample A on line 2",
        r"samples.csv line 5 \(sample C\), column peaks: is empty",
        r"samples.csv line 5 \(sample C\), column reads_1: is empty, and reads_2 is not; .*",
        r"samples.csv line 5 \(sample C\), column signal: needs peaks, too: .*",
        r"samples.csv line 2 \(sample A\), column signal: is empty, but sample C has one; give it for all or for none",
        r"samples.csv line 6 \(sample D\), column fragment_mean: leave it empty for pairs, .*",
        r"samples.csv line 7 \(sample D\), column sample: already on line 6",
    )
    assert "Submitted" not in run.text


def test_reads_cut_short(pipeline, copy, tmp_path, words):
    reads = copy / "reads/CT02_D1_R2_R2.fastq.gz"
    reads.write_bytes(reads.read_bytes()[:-3000])
    run = pipeline(tmp_path, *words(copy), "--families", "none")
    expect_refused(run, r"kallisto_quant.py: error: sample CT02_D1_R2: CT02_D1_R2_R2.fastq.gz: .*cut short.*")
    assert last_line(run).startswith("kallisto_quant.py: error: ") and "KALLISTO_QUANT (CT02_D1_R2)" in run.text
    assert not (run.results / "kallisto/CT02_D1_R2").exists()


def test_annotation_of_another_assembly(pipeline, copy, tmp_path, words):
    """The same genes, ten bases further on: all inside their chromosomes, but not one intron is spliced where it should be."""
    rows = [line.split("\t") for line in gzip.decompress((copy / "annotation.gtf.gz").read_bytes()).decode().splitlines()]
    moved = [row if len(row) < 9 else [*row[:3], str(int(row[3]) + 10), str(int(row[4]) + 10), *row[5:]] for row in rows]
    (copy / "other.gtf").write_text("\n".join("\t".join(row) for row in moved) + "\n")
    run = pipeline(tmp_path, *words(copy, gtf="other.gtf"), "--families", "none")
    expect_refused(
        run, r"make_gene_table.py: error: other.gtf: only .* have GT…AG in genome.fa.gz .*; this GTF belongs to another assembly"
    )


def test_transcripts_of_another_annotation(pipeline, copy, tmp_path, words):
    text = gzip.decompress((copy / "cdna.fa.gz").read_bytes()).decode().replace(">ENST0", ">ENST9")
    (copy / "other.fa").write_text(text)
    run = pipeline(tmp_path, *words(copy, transcript_fasta="other.fa"), "--families", "none")
    expect_refused(run, r"kallisto_index.py: error: other.fa: the GTF has none of the FASTA's 80 transcripts: .*ENST9.*ENST0.*")


def test_misspelt_column_is_not_taken_for_the_user_s_own(pipeline, copy, tmp_path, words):
    text = (copy / "samples.csv").read_text()
    (copy / "samples.csv").write_text(text.replace("donor", "donnor"))
    expect_refused(pipeline(tmp_path, *words(copy)), "samples.csv: column donnor is not known; did you mean donor.*")


def test_peaks_of_another_genome(pipeline, copy, tmp_path, words):
    peaks = copy / "peaks/CT01_D2_R2.narrowPeak.gz"
    peaks.write_bytes(gzip.compress(gzip.decompress(peaks.read_bytes()).replace(b"chr", b"scaffold")))
    run = pipeline(tmp_path, *words(copy, expression="expression.tsv.gz"))
    expect_refused(run, r"bin_peaks.py: error: CT01_D2_R2.narrowPeak.gz: no peak is on a known chromosome: .*scaffold1.*chr1.*")
    assert last_line(run).startswith("bin_peaks.py: error: ") and "BIN_PEAKS (CT01_D2_R2)" in run.text


def test_peaks_cut_short(pipeline, copy, tmp_path, words):
    peaks = copy / "peaks/CT02_D1_R1.narrowPeak.gz"
    peaks.write_bytes(peaks.read_bytes()[:-2000])
    run = pipeline(tmp_path, *words(copy, expression="expression.tsv.gz"))
    expect_refused(run, r"bin_peaks.py: error: CT02_D1_R1.narrowPeak.gz: .*cut short.*")
    assert last_line(run).startswith("bin_peaks.py: error: ")


def test_counts_that_were_called_tpm(pipeline, copy, tmp_path, words):
    header, *rows = gzip.decompress((copy / "expression.tsv.gz").read_bytes()).decode().splitlines()
    counts = ["\t".join([gene, *(str(round(float(value) * 3)) for value in values)]) for gene, *values in (row.split("\t") for row in rows)]
    (copy / "counts.tsv").write_text("\n".join([header, *counts]) + "\n")
    run = pipeline(tmp_path, *words(copy, expression="counts.tsv"))
    expect_refused(run, r"collect_expression.py: error: counts.tsv: .*counts.*--expression_unit counts.*")
    assert last_line(run).startswith("collect_expression.py: error: ")


def test_columns_for_a_table_that_has_ids(pipeline, cohort, tmp_path, words):
    run = pipeline(tmp_path, *words(cohort, expression="expression.tsv.gz", expression_columns="genes.tsv"))
    expect_refused(run, r"collect_expression.py: error: --expression_columns genes.tsv: every table has ids of its own.*")


def test_dataset_cut_short(base, pipeline, tmp_path):
    whole = (base.results / "dataset.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    run = pipeline(tmp_path, "--dataset", tmp_path / "cut.h5")
    expect_refused(run, r"check_folds.py: error: cut.h5: cannot be opened as a dataset: .*cut short.*")


def test_a_sample_under_two_names_cannot_be_overlooked(pipeline, copy, tmp_path, words):
    """One sample stands in the sheet twice, the second time as another donor: nothing is trained, and both names are told."""
    sample, _, _, peaks = (copy / "tables.csv").read_text().splitlines()[-1].split(",")
    with (copy / "tables.csv").open("a") as file:
        file.write(f"COPY,D9,D9,{peaks}\n")
    rows = [line.split("\t") for line in gzip.decompress((copy / "expression.tsv.gz").read_bytes()).decode().splitlines()]
    twice = rows[0].index(sample)
    (copy / "twice.tsv").write_text("".join("\t".join([*row, "COPY" if row is rows[0] else row[twice]]) + "\n" for row in rows))
    run = pipeline(tmp_path, *words(copy, expression="twice.tsv"), "--folds", 0)
    assert run.status == 1
    line = last_line(run)
    assert line.startswith("check_folds.py: error: ") and f"COPY={sample}" in line and "TRAIN" not in run.text
    (shown,) = re.findall(r"^to go on +(.*)$", run.text, re.MULTILINE)
    assert shown.startswith("mend that, then ") and "/envs/nextflow/nextflow run " in shown and shown.endswith(" -resume")


def test_a_sample_that_no_expression_table_has(pipeline, copy, tmp_path, words):
    (copy / "tables.csv").write_text((copy / "tables.csv").read_text().replace("CT01_D1_R1,", "Bcell,"))
    run = pipeline(tmp_path, *words(copy, expression="expression.tsv.gz"), "--families", "none")
    expect_refused(run, "collect_expression.py: error: no column for 1 of 8 samples: Bcell; the expression tables have CT01_D1_R1, .*")
