"""Matrices become samples × genes: lists of genes, probe sets, groups, near duplicates, and what is refused."""

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

import exprcast.matrix_file
from exprcast.assembly import SAMPLE_COLUMNS, read_samples
from exprcast.cli import InputError
from exprcast.dataset import UNITS as DATASET_UNITS
from exprcast.gene_lists import mean_of_features, place_genes, read_list
from exprcast.matrices import UNITS
from exprcast.tables import read_table
from tiny import load_script, run_script

PANEL = Path(__file__).parents[2] / "shared/data/panel"
real = pytest.mark.skipif(not PANEL.is_dir(), reason="../shared/data is absent")
LANDMARKS = "symbol\tgene_id\tprobes\nA\tENSG00000000001\t1_at\nB\tENSG00000000002\t2_at,3_at,AFFX-B_at\nC\tENSG00000000003\t4_at\n"
TARGETS = (
    "symbol\tgene_id\tprobes\nA\tENSG00000000001\t5_at\nD\tENSG00000000004\t6_at,7_at\nE\tENSG00000000005\t8_at\nF\tENSGR0000000006\t9_at\n"
)
ARRAYS = {
    "1_at": [1, 2, 3],
    "2_at": [2, 4, 6],
    "3_at": [4, "NA", 8],
    "5_at": [9, 9, 9],
    "6_at": ["NA", 1, 1],
    "9_at": [5, 5, 5],
    "other": [0, 0, 0],
}


def write(folder, arrays=ARRAYS, samples=("S3", "S1", "S2"), landmarks=LANDMARKS, targets=TARGETS):
    """Write a table of arrays and two lists; return their options."""
    lines = ["\t".join(["id", *samples]), *("\t".join([probe, *map(str, values)]) for probe, values in arrays.items())]
    texts = {"matrix": "\n".join(lines) + "\n", "landmarks": landmarks, "targets": targets}
    for name, text in texts.items():
        (folder / f"{name}.tsv").write_text(text)
    return [word for name in texts for word in (f"--{name}", folder / f"{name}.tsv")]


def imported(folder, *options, out="out", unit="log2_intensity"):
    """Import; return the folder, (samples, genes, values)."""
    run_script("import_matrix", *options, "--unit", unit, "--out", folder / out)
    with h5py.File(folder / out / "matrix.h5") as file:
        return folder / out, list(file["samples/id"].asstr()[:]), list(file["genes/id"].asstr()[:]), file["value"][:]


def rows_of(path):
    """Return the rows of a table as tuples."""
    return [tuple(row.values()) for _, row in read_table(path, ())]


def test_a_gene_is_the_mean_of_its_probe_sets_that_are_measured(tmp_path, caplog):
    caplog.set_level("INFO")
    out, samples, genes, values = imported(tmp_path, *write(tmp_path))
    assert samples == ["S1", "S2", "S3"] and genes == [f"ENSG0000000000{i}" for i in (1, 2, 4)] + ["ENSG00000000006_PAR_Y"]
    np.testing.assert_array_equal(values, np.array([[2, 4, 1, 5], [3, 7, 1, 5], [1, 3, np.nan, 5]], np.float32))
    assert rows_of(out / "lists.tsv") == list(zip(genes, ["landmarks", "landmarks", "targets", "targets"], strict=True))
    assert [row[:2] for row in rows_of(out / "genes.tsv")] == list(zip(genes, "ABDF", strict=True))
    assert rows_of(out / "left_out.tsv") == [
        ("ENSG00000000001", "A", "targets", "is a landmark"),
        ("ENSG00000000003", "C", "landmarks", "not in matrix.tsv"),
        ("ENSG00000000005", "E", "targets", "not in matrix.tsv"),
    ]
    text = caplog.text
    assert "kept 2 of 3 landmarks (found by probes)" in text and "1 landmarks not in matrix.tsv; left out: C" in text
    assert "1 targets are landmarks under other probes" in text and "kept 2 of 4 targets" in text
    assert "1 probe sets are not in matrix.tsv: 7_at" in text and "AFFX" not in text
    assert "2 genes have one value in all samples: D, F" in text


def test_any_order_of_rows_and_columns_gives_the_same_bytes(tmp_path):
    arrays = {probe: [0.1 * i + 0.37 * j for j in range(3)] for i, probe in enumerate([f"{i}_at" for i in range(1, 10)])}
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        (tmp_path / name).mkdir()
        probes = list(arrays)
        random.Random(name).shuffle(probes)
        matrix = {probe: [arrays[probe][i] for i in order] for probe in probes}
        imported(tmp_path / name, *write(tmp_path / name, matrix, [f"S{i}" for i in order]))
    for path in (tmp_path / "a/out").iterdir():
        assert path.read_bytes() == (tmp_path / "b/out" / path.name).read_bytes(), path.name


def test_blocks_of_samples_change_nothing(tmp_path, monkeypatch):
    options = write(tmp_path)
    whole = imported(tmp_path, *options, "--duplicates", 5)
    monkeypatch.setattr(exprcast.matrix_file, "BLOCK_BYTES", 4)
    parts = imported(tmp_path, *options, "--duplicates", 5, out="parts")
    for path in whole[0].iterdir():
        assert path.read_bytes() == (parts[0] / path.name).read_bytes(), path.name


def test_without_lists_features_are_genes_and_counts_become_cpm(tmp_path):
    write(tmp_path, {"ENSG00000000002.5": [1, 0, 2], "X.1": [3, 5, 2], "ENSG00000000001.1_PAR_Y": [0, 5, 4]})
    out, samples, genes, values = imported(tmp_path, "--matrix", tmp_path / "matrix.tsv", unit="counts")
    assert genes == ["ENSG00000000001_PAR_Y", "ENSG00000000002", "X.1"] and not (out / "lists.tsv").exists()
    np.testing.assert_allclose(values[2], [0, 250_000, 750_000])
    with h5py.File(out / "matrix.h5") as file:
        assert file["value"].attrs["unit"] == "cpm"
    assert {unit.stored for unit in UNITS.values()} <= set(DATASET_UNITS)


def test_cpm_are_of_all_genes_of_the_file_not_of_the_listed_ones(tmp_path):
    write(tmp_path, {"ENSG00000000001": [1, 1, 1], "ENSG00000000002": [1, 1, 1], "ENSG00000000009": [2, 2, 2]})
    options = ["--matrix", tmp_path / "matrix.tsv", "--landmarks", tmp_path / "landmarks.tsv"]
    assert imported(tmp_path, *options, unit="counts")[3].tolist() == [[250_000, 250_000]] * 3


def test_lists_may_be_one_id_a_line_and_match_by_gene_or_symbol(tmp_path):
    (tmp_path / "ids.tsv").write_text("# mine\nENSG00000000002.3\nENSG00000000001\n")
    assert [row.gene for row in read_list(tmp_path / "ids.tsv")] == ["ENSG00000000002", "ENSG00000000001"]
    write(tmp_path)
    lists = {name: read_list(tmp_path / f"{name}.tsv") for name in ("landmarks", "targets")}
    genes, _ = place_genes(["A", "B", "D"], lists, "m")
    assert [(gene.id[-1], gene.features, gene.list) for gene in genes] == [
        ("1", [0], "landmarks"),
        ("2", [1], "landmarks"),
        ("4", [2], "targets"),
    ]
    genes, _ = place_genes([f"ENSG0000000000{i}" for i in (4, 2, 1)], lists, "m")
    assert [gene.features for gene in genes] == [[2], [1], [0]]


def test_a_target_is_no_landmark_by_another_name_either(tmp_path):
    """By its feature, and as the copy on Y of a landmark."""
    landmarks = "gene_id\tprobes\nENSG00000000001\t1_at\nENSG00000000006\t2_at\n"
    write(
        tmp_path, landmarks=landmarks, targets="gene_id\tprobes\nENSG00000000007\t1_at,3_at\nENSGR0000000006\t4_at\nENSG00000000008\t5_at\n"
    )
    lists = {name: read_list(tmp_path / f"{name}.tsv") for name in ("landmarks", "targets")}
    genes, left_out = place_genes([f"{i}_at" for i in range(1, 6)], lists, "m")
    assert [gene.id[-1] for gene in genes if gene.list == "targets"] == ["8"]
    assert {gene.gene for gene in left_out} == {"ENSG00000000007", "ENSG00000000006_PAR_Y"}


@pytest.mark.parametrize(
    "change, words, message",
    [
        (
            {"arrays": {"1_at": [1, 2, 3], "6_at": [1, 2, 3]}},
            (),
            "matrix.tsv: 1 of 3 landmarks are in it: the list has ENSG00000000001, A, 1_at …, the file 1_at, 6_at",
        ),
        ({}, ("--missing-landmarks", "refuse"), "1 landmarks are not in the data: C; --missing_landmarks report"),
        ({"landmarks": "symbol\tgene_id\nA\t\n"}, (), "landmarks.tsv line 2: '' is no gene id"),
        ({"landmarks": LANDMARKS + "A\tENSG00000000001\t1_at\n"}, (), "landmarks.tsv: gene 'ENSG00000000001' occurs twice"),
        ({"landmarks": "A B\n"}, (), "landmarks.tsv line 1: one id a line is needed"),
        ({"targets": "#\n"}, (), "targets.tsv: no gene in it"),
        ({"arrays": ARRAYS | {"6_at": ["inf", 1, 1]}}, (), "matrix.tsv: sample S3, feature 6_at: inf is infinite"),
        ({"arrays": ARRAYS | {"6_at": [1e6, 1, 1]}}, (), "sample S3, feature 6_at: 1e.06 cannot be a value in log2_intensity"),
        (
            {"arrays": {"z_at": [1, 2, 3]}},
            ("--landmarks", "ids.txt", "--features", "rows"),
            "matrix.tsv: 0 of 1 landmarks are in it: the list has a_at",
        ),
        ({}, ("--groups", "donor=person"), "--matrix_groups: no column person in matrix.tsv; there is none"),
        (
            {},
            ("--duplicates", "1e9", "--sample-table", "table.tsv"),
            "table.tsv: no row for 2 of 3 samples: the matrix has S3, S2, the table S1",
        ),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(tmp_path, monkeypatch, change, words, message):
    monkeypatch.chdir(tmp_path)
    Path("table.tsv").write_text("id\tperson\nS1\tp\n")
    Path("ids.txt").write_text("a_at\n")
    with pytest.raises(InputError, match=message):
        imported(tmp_path, *write(tmp_path, **change), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.txt", "landmarks.tsv", "matrix.tsv", "table.tsv", "targets.tsv"]


@pytest.mark.parametrize("text", ["person=x", "donor", "donor=", "donor=a,donor=b", "id=a"])
def test_groups_that_do_not_exist_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        load_script("import_matrix").parse_args().parse_args(["--matrix", "m", "--unit", "cpm", "--out", "o", "--groups", text])
    assert "argument --groups" in capsys.readouterr().err


def test_groups_come_from_the_file_or_from_a_table(tmp_path):
    write(tmp_path)
    (tmp_path / "table.tsv").write_text("sample\tperson\tplate\nS1\tp1\tNA\nS2\tp1\tx y\nS3\tp2\tx\nS4\tp4\tx\n")
    options = ("--matrix", tmp_path / "matrix.tsv", "--features", "rows", "--sample-table", tmp_path / "table.tsv")
    out, *_ = imported(tmp_path, *options, "--groups", "donor=person,batch=plate")
    assert load_script("import_matrix").SAMPLE_COLUMNS == SAMPLE_COLUMNS
    assert rows_of(out / "samples.tsv") == [("S1", "p1", "", "", ""), ("S2", "p1", "", "", "x y"), ("S3", "p2", "", "", "x")]
    assert read_samples(out / "samples.tsv")["donor"] == ["p1", "p1", "p2"]


def test_the_later_of_two_near_duplicates_goes_and_is_listed(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path, {"1_at": [1, 1, 9, 5], "2_at": [2, 2.5, 8, 5]}, ["S4", "S1", "S3", "S2"])
    options = ["--matrix", tmp_path / "matrix.tsv", "--duplicates", 1]
    out, samples, _, values = imported(tmp_path, *options)
    assert samples == ["S2", "S3", "S4"] and values[:, 1].tolist() == [5, 8, 2]
    assert rows_of(out / "duplicates.tsv") == [("S4", "S1", "0.5")] and [row[0] for row in rows_of(out / "samples.tsv")] == samples
    out, samples, *_ = imported(tmp_path, *options, "--duplicate-samples", "report", out="all")
    assert len(samples) == 4 and rows_of(out / "duplicates.tsv") == [("S4", "S1", "0.5")]
    assert "1 pairs of near duplicates have no group in common" in caplog.text and "S4 and S1 (0.5)" in caplog.text
    (tmp_path / "table.tsv").write_text("id\tperson\nS1\ta\nS2\tb\nS3\tc\nS4\ta\n")
    caplog.clear()
    groups = ("--sample-table", tmp_path / "table.tsv", "--groups", "donor=person")
    imported(tmp_path, *options, "--duplicate-samples", "report", *groups, out="grouped")
    assert "2 of 4 samples are nearer than 1 to another" in caplog.text and "no group in common" not in caplog.text


def test_several_files_are_one_matrix(tmp_path):
    write(tmp_path, {"1_at": [1, 2, 3], "2_at": [4, 5, 6]})
    (tmp_path / "more.csv").write_text("id,1_at,3_at\nS9,7,8\n")
    _, samples, genes, values = imported(tmp_path, "--matrix", tmp_path / "matrix.tsv", tmp_path / "more.csv")
    assert samples == ["S1", "S2", "S3", "S9"] and genes == ["1_at", "2_at", "3_at"]
    np.testing.assert_array_equal(values[[0, 3]], [[2, 5, np.nan], [7, np.nan, 8]])


def test_facts_of_samples_are_kept(tmp_path):
    (tmp_path / "m.gct").write_text("#1.3\n1\t2\t0\t2\nid\tS2\tS1\ntissue\tskin\tblood\na/../b\tx\t-666\n1_at\t1\t2\n")
    out, *_ = imported(tmp_path, "--matrix", tmp_path / "m.gct", "--groups", "biosample=tissue")
    with h5py.File(out / "matrix.h5") as file:
        assert list(file["metadata/name"].asstr()[:]) == ["a/../b", "tissue"]
        assert file["metadata/value"].asstr()[:].tolist() == [["", "x"], ["blood", "skin"]]
    assert [row[2] for row in rows_of(out / "samples.tsv")] == ["blood", "skin"]


def test_a_matrix_without_a_listed_target_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match="m: no listed gene is in it: the lists have ENSG00000000001, .*, the file x_at, y_at"):
        place_genes(["x_at", "y_at"], {"targets": read_list(tmp_path / "targets.tsv")}, "m")


def test_a_mean_is_that_of_float64_whatever_the_number_of_probe_sets():
    rng = np.random.default_rng(0)
    block = rng.normal(size=(5, 40)).astype(np.float32)
    block[rng.random(block.shape) < 0.3] = np.nan
    block[2, :10] = np.nan
    genes = [type("Gene", (), {"features": part}) for part in ([0, 1, 2, 3], [4], list(range(5, 10)), [39, 12])]
    found = mean_of_features(block, genes)
    for number, one in enumerate(genes):
        with np.errstate(invalid="ignore"):
            part = block[:, one.features].astype(np.float64)
            expected = np.nansum(part, axis=1) / (~np.isnan(part)).sum(axis=1)
        np.testing.assert_allclose(found[:, number], expected, rtol=1e-6)
    assert np.isnan(found[2, 2]) and found.dtype == np.float32


@real
def test_the_real_panel_has_as_many_genes_as_the_catalogue_says(tmp_path):
    """943 landmarks and 9,520 targets, 445 of which are landmarks; IL9R and its copy on Y are two."""
    lists = ("--landmarks", PANEL / "landmarks_943.tsv", "--targets", PANEL / "targets_9520.tsv")
    geo = PANEL / "geo_u133a_probes.gctx"
    out, samples, genes, values = imported(tmp_path, "--matrix", geo, *lists, "--groups", "batch=series")
    kinds = [row[1] for row in rows_of(out / "lists.tsv")]
    assert (len(samples), kinds.count("landmarks"), kinds.count("targets"), len(rows_of(out / "left_out.tsv"))) == (233, 943, 9075, 445)
    assert {"ENSG00000124334", "ENSG00000124334_PAR_Y"} <= set(genes) and len({row[4] for row in rows_of(out / "samples.tsv")}) == 14
    with h5py.File(geo) as file:
        names, probes = file["0/META/COL/id"][:].astype(str).tolist(), file["0/META/ROW/id"][:].astype(str).tolist()
        matrix = file["0/DATA/0/matrix"][:].astype(np.float64)
    listed = {row[1]: row[2].split(",") for row in rows_of(PANEL / "landmarks_943.tsv") + rows_of(PANEL / "targets_9520.tsv")}
    for gene in (
        "ENSG00000175063",
        "ENSG00000075624",
        genes[4000],
    ):  # the second is ACTB, three of whose probes are controls that are absent
        own = [probes.index(probe) for probe in listed[gene] if probe in probes]
        expected = matrix[[names.index(sample) for sample in samples]][:, own].mean(axis=1)
        np.testing.assert_allclose(values[:, genes.index(gene)], expected, rtol=1e-6)


@real
def test_real_counts_hold_as_many_genes_as_the_catalogue_says(tmp_path):
    """926 landmarks and 9,244 targets are there, 440 of these are landmarks."""
    lists = ("--landmarks", PANEL / "landmarks_943.tsv", "--targets", PANEL / "targets_9520.tsv")
    out, samples, genes, values = imported(tmp_path, "--matrix", PANEL / "lcl_rnaseq_pickrell_counts.tsv.gz", *lists, unit="counts")
    kinds, reasons = ([row[i] for row in rows_of(out / name)] for name, i in (("lists.tsv", 1), ("left_out.tsv", 3)))
    assert (len(samples), kinds.count("landmarks"), kinds.count("targets") + reasons.count("is a landmark")) == (69, 926, 9244)
    assert (values.sum(axis=1) < 1e6).all() and values.sum(axis=1).min() > 1e5
