"""collect_expression.py: values stay with their genes, missing stays missing, and counts do not pass for TPM."""

import gzip
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import numpy as np
import pytest

from exprcast.tables import Matrix, read_matrix, read_table, write_matrix

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
ENCODE29 = DATA / "atac" / "encode29_hg38_chr1_0_10Mb"
A = "gene\ts1\ts2\nENSG00000000001.5\t250000.5\t0\nENSG00000000002.1\t749999.5\t999999.5\nTSPAN6.2\t0\t0.5\n"
B = "gene\ts3\nENSG00000000002.7\t600000.5\nNEW\t399999.5\n"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def run_script(folder: Path, texts: dict[str, str | bytes], unit: str, *options: object) -> CompletedProcess:
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return run_on(folder, [folder / name for name in texts if name != "genes.tsv"], unit, *options)


def run_on(folder: Path, tables: list[Path], unit: str, *options: object) -> CompletedProcess:
    outputs = ["--stats-out", folder / "stats.tsv", "--out", folder / "out.tsv.gz"]
    command = [sys.executable, ROOT / "bin" / "collect_expression.py", "--unit", unit, *outputs, *options]
    return run(list(map(str, [*command, "--table", *tables])), capture_output=True, text=True, timeout=120)


def collected(folder: Path, texts: dict[str, str | bytes], unit: str, *options: object) -> Matrix:
    result = run_script(folder, texts, unit, *options)
    assert result.returncode == 0, result.stderr
    return read_matrix(folder / "out.tsv.gz")


def error_of(folder: Path, result: CompletedProcess) -> str:
    """Return the line of an error; the log may stand above it, and no result is left behind."""
    assert result.returncode == 1, result.stderr
    *log, line = result.stderr.splitlines()
    assert line.startswith("collect_expression.py: error: ")
    assert all(each.startswith("collect_expression.py: ") and "error" not in each for each in log)
    assert not (folder / "out.tsv.gz").exists() and not (folder / "stats.tsv").exists()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return line


def refused(folder: Path, texts: dict[str, str | bytes], unit: str, *options: object) -> str:
    return error_of(folder, run_script(folder, texts, unit, *options))


def stats(folder: Path) -> dict[str, dict[str, str]]:
    return {row["sample"]: row for _, row in read_table(folder / "stats.tsv", ["sample"])}


def test_tables_join_by_id_without_version_and_a_missing_gene_is_not_zero(tmp_path):
    matrix = collected(tmp_path, {"a.tsv": A, "b.tsv": B}, "tpm")
    assert matrix.attributes == {"unit": "tpm"}
    assert matrix.rows == ["ENSG00000000001", "ENSG00000000002", "TSPAN6.2", "NEW"]
    assert matrix.columns == ["s1", "s2", "s3"]
    nan = np.nan
    expected = [[250000.5, 0, nan], [749999.5, 999999.5, 600000.5], [0, 0.5, nan], [nan, nan, 399999.5]]
    np.testing.assert_array_equal(matrix.values, expected)
    assert gzip.open(tmp_path / "out.tsv.gz", "rt").read().splitlines()[-1] == "NEW\tNA\tNA\t399999.5"


def test_statistics_of_each_sample(tmp_path):
    collected(tmp_path, {"a.tsv": A, "b.tsv": B}, "tpm")
    assert list(stats(tmp_path)) == ["s1", "s2", "s3"]
    assert list(stats(tmp_path)["s1"].values()) == ["s1", "1000000", "2", f"{2 / 3:.9g}", "tpm"]
    assert list(stats(tmp_path)["s3"].values()) == ["s3", "1000000", "2", "1", "tpm"]


def test_counts_become_counts_per_million_of_the_whole_column(tmp_path):
    matrix = collected(tmp_path, {"a.tsv": "id\ts1\ts2\na\t1\t30\nb\t3\t0\nc\tNA\t10\n"}, "counts")
    assert matrix.attributes == {"unit": "cpm"}
    np.testing.assert_array_equal(matrix.values, [[250_000, 750_000], [750_000, 0], [np.nan, 250_000]])
    assert list(stats(tmp_path)["s1"].values()) == ["s1", "4", "2", "1", "counts"]


def test_a_comma_separated_table_and_an_r_style_header_are_read(tmp_path):
    plain = collected(tmp_path, {"a.tsv": "id\ts1\na\t1\nb\t3\n"}, "counts")
    for text in ('"","s1"\n"a",1\n"b",3\n', "s1\na\t1\nb\t3\n", "1\n\na\t1\nb\t3\n"):
        again = collected(tmp_path, {"a.tsv": text}, "counts")
        assert (again.rows, again.values.tolist()) == (plain.rows, plain.values.tolist())


def test_sample_ids_may_be_numbers(tmp_path):
    assert collected(tmp_path, {"a.tsv": "1\t2\na\t1\t2\nb\t3\t4\n"}, "counts").columns == ["1", "2"]


def test_bytes_repeat(tmp_path):
    collected(tmp_path, {"a.tsv": A}, "tpm")
    first = (tmp_path / "out.tsv.gz").read_bytes()
    collected(tmp_path, {"a.tsv": A}, "tpm")
    assert (tmp_path / "out.tsv.gz").read_bytes() == first


def test_the_result_can_be_collected_again_in_its_own_unit_only(tmp_path):
    collected(tmp_path, {"a.tsv": "id\ts1\na\t1.5\nb\t999998.5\n"}, "tpm")
    (tmp_path / "again").mkdir()
    assert run_on(tmp_path / "again", [tmp_path / "out.tsv.gz"], "tpm").returncode == 0
    (tmp_path / "other").mkdir()
    line = error_of(tmp_path / "other", run_on(tmp_path / "other", [tmp_path / "out.tsv.gz"], "cpm"))
    assert "out.tsv.gz says #unit=tpm, --expression_unit says cpm; name the table's own unit" in line


def test_tpm_of_a_part_of_the_genes_is_a_warning(tmp_path):
    result = run_script(tmp_path, {"a.tsv": "id\ts1\ts2\na\t20000.5\t1000000\nb\t8841.5\t0.5\n"}, "tpm")
    assert result.returncode == 0
    assert "warning: a subset of the genes: column s1 sums to 28,842, not 1,000,000 (1 of 2 columns)" in result.stderr


DUPLICATES = "id\ts1\ts2\nb\t5\t6\na\t1\t10\n\na\t3\tNA\n"


def test_a_repeated_gene_is_refused_with_both_lines_or_added_up(tmp_path):
    line = refused(tmp_path, {"a.tsv": DUPLICATES}, "counts")
    assert "a.tsv: gene a is on lines 3 and 5; 1 rows repeat an earlier id" in line
    assert "add them up with --duplicate_genes sum" in line
    matrix = collected(tmp_path, {"a.tsv": DUPLICATES}, "counts", "--duplicate-genes", "sum")
    assert matrix.rows == ["b", "a"]
    np.testing.assert_allclose(matrix.values, [[5e6 / 9, 6e6 / 16], [4e6 / 9, np.nan]])  # a part missing: all missing
    result = run_script(tmp_path, {"a.tsv": DUPLICATES}, "counts", "--duplicate-genes", "sum")
    assert "kept 2 of 3 rows, 1 repeat an earlier gene" in result.stderr


def test_two_versions_of_a_gene_are_one_gene_and_its_copy_on_y_another(tmp_path):
    text = "id\ts1\nENSG00000000001.4\t1\nENSG00000000001.4_PAR_Y\t2\nENSG00000000001.5\t3\n"
    assert "gene ENSG00000000001 is on lines 2 and 4" in refused(tmp_path, {"a.tsv": text}, "counts")
    rows = collected(tmp_path, {"a.tsv": text}, "counts", "--duplicate-genes", "sum").rows
    assert rows == ["ENSG00000000001", "ENSG00000000001_PAR_Y"]


FAULTS = {
    "whole": (
        "id\ts1\ts2\na\t30000000\t1\nb\t7123456\t2\n",
        "tpm",
        "a.tsv: these look like counts, not TPM: column s1 sums to 37,123,456, all values are whole; say --expression_unit counts",
    ),
    "small counts": ("id\ts1\na\t3\nb\t4\n", "tpm", "column s1 sums to 7, all values are whole; say --expression_unit counts"),
    "over a million": (
        "id\ts1\ts2\na\t999999.5\t1020000.5\n",
        "tpm",
        "these look like counts, not TPM: column s2 sums to 1,020,000; say --expression_unit counts",
    ),
    "cpm": ("id\ts1\na\t1500000.5\n", "cpm", "these look like counts, not CPM: column s1 sums to 1,500,000"),
    "rpkm": ("id\ts1\na\t12\nb\t900\n", "rpkm", "these look like counts, not RPKM: column s1 sums to 912"),
    "logarithms": (
        "id\ts1\n" + "".join(f"g{n}\t{n % 17 + 0.3}\n" for n in range(1000)),
        "tpm",
        "a.tsv: these look like logarithms: the largest value is 16.3; give linear TPM",
    ),
    "fraction": (
        "id\ts1\ts2\na\t1\t2\nb\t3\t4.25\n",
        "counts",
        "gene b, column s2: 4.25 is no whole number, so no count",
    ),
    "negative count": ("id\ts1\na\t-3\n", "counts", "gene a, column s1: -3 is negative or infinite"),
    "negative tpm": (
        "id\ts1\na\t-0.5\n",
        "tpm",
        "gene a, column s1: -0.5 is negative or infinite; linear values, not log",
    ),
    "infinite": ("id\ts1\na\tinf\n", "tpm", "gene a, column s1: inf is negative or infinite"),
    "empty column": ("id\ts1\ts2\na\t3\tNA\nb\t3\t\n", "counts", "a.tsv: column s2 holds no value at all; leave the"),
    "zero column": (
        "id\ts1\ts2\na\t3\t0\nb\t3\t0\n",
        "counts",
        "a.tsv: column s2 has no count at all; leave the sample out",
    ),
    "no number": ("id\ts1\na\t3\nb\tx\n", "counts", "a.tsv line 3, column s1: 'x' is no number"),
    "no gene id": ("id\ts1\n\t3\n", "counts", "a.tsv: a row has no gene id in its first column"),
    "no header": ("ENSG00000000003.14\t0.21\nENSG00000000005.5\t0\n", "tpm", "a.tsv: the first line is a gene already"),
    "header only": ("id\ts1\n", "tpm", "a.tsv: no rows; a header with column ids and at least one row are needed"),
    "no samples": ("id\na\nb\n", "tpm", "a.tsv: no sample columns"),
    "empty": ("", "tpm", "a.tsv: no rows"),
    "ragged": ("id\ts1\ts2\na\t1\t2\nb\t1\n", "counts", "a.tsv line 3: 2 cells where the header has 3"),
    "semicolon": ("id\ta;b\na\t1\n", "counts", "a.tsv: sample 'a;b': use letters, digits, '.', '_' and '-' only"),
    "path": ("id\t../x\na\t1\n", "counts", "a.tsv: sample '../x': use letters, digits, '.', '_' and '-' only"),
    "repeated sample": ("id\ts1\ts1\na\t1\t2\n", "counts", "a.tsv: column 's1' occurs twice; each id may stand once"),
}


@pytest.mark.parametrize(("text", "unit", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_line_that_says_where(tmp_path, text, unit, message):
    assert message in refused(tmp_path, {"a.tsv": text}, unit)


def test_a_sample_in_two_tables_is_refused(tmp_path):
    line = refused(tmp_path, {"a.tsv": A, "b.tsv": B.replace("s3", "s2")}, "tpm")
    assert "sample s2 is in a.tsv and in b.tsv; give each sample once" in line


def test_tables_without_a_common_gene_are_refused(tmp_path):
    texts = {"a.tsv": "id\ts1\nTSPAN6\t5\n", "b.tsv": "id\ts2\nENSG00000000003.14\t5\n"}
    line = refused(tmp_path, texts, "counts")
    assert "no gene id is in both tables: a.tsv has TSPAN6 …, b.tsv has ENSG00000000003 …" in line


def test_a_truncated_gzip_is_refused(tmp_path):
    packed = gzip.compress(("id\ts1\n" + "".join(f"g{n}\t{n * n}\n" for n in range(5000))).encode())
    assert "a.tsv: gzip data end or break after line" in refused(tmp_path, {"a.tsv": packed[:-50]}, "counts")


WITHOUT_IDS = "0.5,0,999999.5\n400000.25,599999.75,0.0\n"
GENES = "Gene stable ID\tChromosome\nENSG00000000003.2\t1\nENSG00000000001\t1\nENSG00000000002\t1\n"


def test_a_matrix_without_ids_needs_the_table_of_its_columns(tmp_path):
    line = refused(tmp_path, {"lines.csv": WITHOUT_IDS}, "tpm")
    assert "lines.csv has no gene and sample ids" in line
    assert "give the gene table of exactly its columns with --expression_columns" in line
    texts = {"lines.csv": WITHOUT_IDS, "genes.tsv": GENES}
    matrix = collected(tmp_path, texts, "tpm", "--column-genes", tmp_path / "genes.tsv")
    assert matrix.rows == ["ENSG00000000003", "ENSG00000000001", "ENSG00000000002"]
    assert matrix.columns == ["lines_1", "lines_2"]
    assert matrix.values.T.tolist() == [[0.5, 0, 999999.5], [400000.25, 599999.75, 0]]


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        (GENES + "ENSG4\t1\n", "lines.csv line 1: 3 columns, genes.tsv has 4 genes; give the gene table of exactly"),
        (GENES + "ENSG00000000003.9\t1\n", "genes.tsv: gene 'ENSG00000000003' occurs twice"),
    ],
)
def test_a_gene_table_of_other_columns_is_refused(tmp_path, genes, message):
    texts = {"lines.csv": WITHOUT_IDS, "genes.tsv": genes}
    assert message in refused(tmp_path, texts, "tpm", "--column-genes", tmp_path / "genes.tsv")


def test_column_genes_are_for_tables_without_ids(tmp_path):
    line = refused(tmp_path, {"a.tsv": A, "genes.tsv": GENES}, "tpm", "--column-genes", tmp_path / "genes.tsv")
    assert "--expression_columns genes.tsv: every table has ids of its own; leave the option out" in line


def two_cohorts(folder: Path, shuffle: bool, spread: float = 2.0) -> list[Path]:
    """Write two tables of 200 genes × 4 samples that share a profile; the second's gene ids may be shuffled."""
    rng = np.random.default_rng(0)
    base, genes = rng.normal(3, spread, 200), [f"g{n}" for n in range(200)]
    paths = [folder / "first.tsv", folder / "second.tsv"]
    for path in paths:
        ids = rng.permutation(genes).tolist() if shuffle and path == paths[1] else genes
        values = np.exp2(base[:, None] + rng.normal(0, 0.5, (200, 4)))
        write_matrix(path, Matrix({}, "id", ids, [f"{path.stem}_{n}" for n in range(4)], values))
    return paths


def test_tables_whose_genes_are_mixed_up_are_refused_with_the_correlations(tmp_path):
    line = error_of(tmp_path, run_on(tmp_path, two_cohorts(tmp_path, shuffle=True), "tpm"))
    assert "first.tsv and second.tsv: the columns are not the same genes in the same order: samples correlate by 0.9" in line
    assert "inside the tables, the tables' means by" in line and "over 200 genes" in line
    assert line.endswith("; find out which genes they are, or admit it with --admit_misaligned true")
    assert run_on(tmp_path, two_cohorts(tmp_path, shuffle=False), "tpm").returncode == 0


def attributes_of(path: Path) -> list[str]:
    """Return the lines above the header."""
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    return [line for line in text.splitlines() if line.startswith("#")]


def test_mixed_up_tables_that_are_admitted_are_joined_with_a_warning_and_both_outputs_say_so(tmp_path):
    refusal = error_of(tmp_path, run_on(tmp_path, two_cohorts(tmp_path, shuffle=True), "tpm"))
    result = run_on(tmp_path, two_cohorts(tmp_path, shuffle=True), "tpm", "--admit-misaligned")
    assert result.returncode == 0, result.stderr
    finding = refusal.removeprefix("collect_expression.py: error: ").partition("; find out")[0]
    assert f"collect_expression.py: warning: {finding}; admitted: scores across these tables mean nothing\n" in result.stderr
    assert attributes_of(tmp_path / "out.tsv.gz") == ["#unit=tpm", f"#misaligned={finding}"]
    assert attributes_of(tmp_path / "stats.tsv") == [f"#misaligned={finding}"]
    assert read_matrix(tmp_path / "out.tsv.gz").values.shape == (200, 8) and len(stats(tmp_path)) == 8


def test_nothing_is_said_of_tables_that_fit_though_misaligned_ones_would_be_admitted(tmp_path):
    result = run_on(tmp_path, two_cohorts(tmp_path, shuffle=False), "tpm", "--admit-misaligned")
    assert result.returncode == 0 and "warning: first.tsv and second.tsv" not in result.stderr
    assert attributes_of(tmp_path / "out.tsv.gz") == ["#unit=tpm"] and attributes_of(tmp_path / "stats.tsv") == []


def test_tables_of_samples_that_agree_with_nothing_are_not_judged(tmp_path):
    assert run_on(tmp_path, two_cohorts(tmp_path, shuffle=True, spread=0), "tpm").returncode == 0


def test_real_blood_counts(tmp_path):
    table = needs(DATA / "atac" / "blood_hg19" / "rna_counts.tsv.gz")
    line = error_of(tmp_path, run_on(tmp_path, [table], "counts"))
    assert "gene TMEM236 is on lines 9074 and 15359; 95 rows repeat an earlier id" in line
    line = error_of(tmp_path, run_on(tmp_path, [table], "tpm", "--duplicate-genes", "sum"))
    assert "these look like counts, not TPM: column HSC sums to 60,980,091" in line
    assert run_on(tmp_path, [table], "counts", "--duplicate-genes", "sum").returncode == 0
    matrix = read_matrix(tmp_path / "out.tsv.gz")
    assert (len(matrix.rows), len(matrix.columns)) == (32_643, 10)
    np.testing.assert_allclose(matrix.values.sum(axis=0), 1e6, rtol=1e-6)
    assert "RP11-153K16.2" in matrix.rows  # symbols keep their dots
    assert stats(tmp_path)["Mono"]["total"] == "82917202"


def test_real_subset_of_tpm(tmp_path):
    result = run_on(tmp_path, [needs(DATA / "atac" / "entex_hg38" / "expression.matrix.tsv.gz")], "tpm")
    assert "warning: a subset of the genes: column sigmoid_colon sums to 28,842" in result.stderr
    assert len(read_matrix(tmp_path / "out.tsv.gz").rows) == 19_831


def test_real_tissues_and_lines_do_not_have_the_same_columns(tmp_path):
    lines, tissues = (needs(ENCODE29 / f"exp_output_{kind}.csv.gz") for kind in ("lines", "tissues"))
    assert "exp_output_lines.csv.gz has no gene and sample ids" in error_of(tmp_path, run_on(tmp_path, [lines], "tpm"))
    genes = ["--column-genes", needs(ENCODE29 / "gene_columns_360.tsv")]
    line = error_of(tmp_path, run_on(tmp_path, [lines, tissues], "tpm", *genes))
    assert "samples correlate by 0.85 and 0.85 inside the tables, the tables' means by -0.02 over 360 genes" in line
    assert run_on(tmp_path, [lines, tissues], "tpm", *genes, "--admit-misaligned").returncode == 0
    assert read_matrix(tmp_path / "out.tsv.gz").values.shape == (360, 29)
    assert run_on(tmp_path, [lines], "tpm", *genes).returncode == 0
    matrix = read_matrix(tmp_path / "out.tsv.gz")
    assert matrix.rows[0] == "ENSG00000279928"
    assert matrix.columns == [f"exp_output_lines_{n}" for n in range(1, 11)]


def test_only_the_samples_of_the_sheet_are_kept(tmp_path):
    (tmp_path / "samples.tsv").write_text("id\tdonor\ns3\t\ns1\t\n")
    matrix = collected(tmp_path, {"a.tsv": A, "b.tsv": B}, "tpm", "--samples", tmp_path / "samples.tsv")
    assert matrix.columns == ["s1", "s3"] and set(stats(tmp_path)) == {"s1", "s3"}


def test_a_sample_that_no_table_has_is_named_with_the_names_there_are(tmp_path):
    (tmp_path / "samples.tsv").write_text("id\ns1\nBcell\n")
    line = refused(tmp_path, {"a.tsv": A, "b.tsv": B}, "tpm", "--samples", tmp_path / "samples.tsv")
    assert "no column for 1 of 2 samples: Bcell; the expression tables have s1, s2, s3; use the same names" in line
