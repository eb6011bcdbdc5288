"""Readers of matrices of expression: every format both ways gives the same numbers, and what is wrong with a file is said in one line."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import exprcast.matrix_file
from exprcast.cli import InputError
from exprcast.matrices import features_axis, gene_of, in_unit, join, open_matrix, read_stored
from exprcast.matrix_file import SampleMatrix

PANEL = Path(__file__).parents[2] / "shared/data/panel"
real = pytest.mark.skipif(not PANEL.is_dir(), reason="../shared/data is absent")
SAMPLES, GENES = ["S2", "S1"], ["G.1", "G3", "G2"]
VALUES = np.array([[1, 0, 2.5], [-3, np.nan, 0]], np.float32)  # (samples, genes)
FILLED = np.nan_to_num(VALUES)  # for formats of sparse values
TISSUE, SYMBOL = ["blood", "deep skin"], ["one", "three", ""]


def gene(identifier):
    """Say whether an id is that of a gene of these tests."""
    return identifier.startswith("G")


def table(rows, columns, values, delimiter="\t", corner="id"):
    """Return a table as text."""
    lines = [
        [corner, *columns],
        *([row, *("NA" if np.isnan(x) else f"{x:g}" for x in line)] for row, line in zip(rows, values, strict=True)),
    ]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def gct(version="#1.3", counts=None, values=VALUES):
    """Return a GCT of genes × samples as text."""
    facts = version == "#1.3"
    head = f"{version}\n" + (counts or ("3\t2\t1\t1" if facts else "3\t2")) + "\n"
    head += ("id\tsymbol" if facts else "Name\tsymbol") + "\t" + "\t".join(SAMPLES) + "\n"
    head += "tissue\tna\tblood\tdeep skin\n" if facts else ""
    cells = (("NA" if np.isnan(x) else f"{x:g}" for x in column) for column in values.T)
    return head + "".join(
        "\t".join([name, symbol or "-666", *line]) + "\n" for name, symbol, line in zip(GENES, SYMBOL, cells, strict=True)
    )


def write_gctx(path, values=VALUES, samples=SAMPLES, genes=GENES, version="GCTX1.0", turned=False, kind="f4"):
    """Write a GCTX; `turned`: the genes are its columns."""
    with h5py.File(path, "w") as file:
        file.attrs["version"] = version
        matrix = np.where(np.isnan(values), -666, values).astype(kind)
        file["0/DATA/0/matrix"] = matrix.T if turned else matrix
        for axis, ids, facts in (("ROW" if turned else "COL", samples, {"tissue": TISSUE}), ("COL" if turned else "ROW", genes, {})):
            file[f"0/META/{axis}/id"] = np.array(ids, "S")
            for name, texts in facts.items():
                file[f"0/META/{axis}/{name}"] = np.array(texts, "S")
    return path


def write_h5ad(path, values=VALUES, turned=False):
    """Write an h5ad of samples × genes; `turned`: genes × samples."""
    obs, var = pd.DataFrame({"tissue": pd.Categorical(TISSUE)}, index=SAMPLES), pd.DataFrame({"symbol": SYMBOL}, index=GENES)
    values = values.T.asformat(values.format) if turned and sp.issparse(values) else values.T if turned else values
    AnnData(values, obs=var if turned else obs, var=obs if turned else var).write_h5ad(path)
    return path


def write_text(path, text):
    """Write text, gzip if the name says so."""
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_parquet(path, rows, columns, values, **more):
    """Write a table with its index, in small groups of rows."""
    frame = pd.DataFrame(values, index=rows, columns=columns)
    for name, texts in more.items():
        frame.insert(0, name, texts)
    frame.to_parquet(path, row_group_size=1)
    return path


MAKERS = {
    "gct 1.2": lambda path: write_text(path, gct("#1.2")),
    "gct 1.3": lambda path: write_text(path, gct()),
    "gct.gz": lambda path: write_text(path.with_suffix(".gz"), gct()),
    "tsv": lambda path: write_text(path, "# made by hand\n" + table(GENES, SAMPLES, VALUES.T)),
    "tsv of samples": lambda path: write_text(path, table(SAMPLES, GENES, VALUES)),
    "tsv with symbols": lambda path: write_text(
        path, "id\tsymbol\tS2\tS1\n" + "".join(f"{g}\t{s}x\t{a}\t{b}\n" for g, s, (a, b) in zip(GENES, SYMBOL, VALUES.T, strict=True))
    ),
    "tsv as R writes it": lambda path: write_text(path, table(GENES, SAMPLES, VALUES.T).removeprefix("id\t")),
    "csv.gz": lambda path: write_text(path.with_suffix(".gz"), table(['"G.1"', "G3", "G2"], SAMPLES, VALUES.T, ",")),
    "csv of samples": lambda path: write_text(path, table(SAMPLES, GENES, VALUES, ",")),
    "parquet": lambda path: write_parquet(path, GENES, SAMPLES, VALUES.T, symbol=SYMBOL),
    "parquet of samples": lambda path: write_parquet(path, SAMPLES, GENES, VALUES, tissue=TISSUE),
    "gctx": write_gctx,
    "gctx float64": lambda path: write_gctx(path, kind="f8", version=np.array([b"GCTX1.0"])),
    "gctx the other way round": lambda path: write_gctx(path, turned=True, version=np.bytes_(b"GCTX1.0")),
    "h5ad": write_h5ad,
    "h5ad the other way round": lambda path: write_h5ad(path, turned=True),
}


def contents(path, folder, **more):
    """Return (matrix, all its values)."""
    matrix = open_matrix(path, folder, **({"is_feature": gene} | more))
    return matrix, np.concatenate(list(matrix.read()))


@pytest.mark.parametrize("block_bytes", [4, 2**27])
@pytest.mark.parametrize("name", MAKERS)
def test_every_format_gives_the_same_samples_and_numbers(tmp_path, monkeypatch, name, block_bytes):
    monkeypatch.setattr(exprcast.matrix_file, "BLOCK_BYTES", block_bytes)
    matrix, values = contents(MAKERS[name](tmp_path / "m"), tmp_path)
    assert matrix.samples == SAMPLES and matrix.features == GENES and values.dtype == np.float32
    np.testing.assert_array_equal(values, VALUES)
    assert len(list(matrix.read())) == (2 if block_bytes == 4 else 1), "blocks of samples, and again from the beginning"
    if name in ("gct 1.3", "gctx", "gctx the other way round", "h5ad", "h5ad the other way round", "parquet of samples"):
        assert matrix.sample_facts["tissue"] == TISSUE
    if name in ("gct 1.2", "gct 1.3", "parquet", "h5ad"):
        assert matrix.feature_facts["symbol"] == SYMBOL
    assert [path.name for path in tmp_path.iterdir()] in (["m"], ["m.gz"]), "no temporary file stays"


@pytest.mark.parametrize(
    "text, facts",
    [
        ('!Series_title\t"x"\n\n!series_matrix_table_begin\n"ID_REF"\t"S2"\t"S1"\n"1_at"\t1\t2\n!series_matrix_table_end\n', {}),
        ("TargetID\tGene_Symbol\tChr\tCoord\tS2\tS1\n1_at\tA\t7\t1000\t1\t2\n", {"Gene_Symbol": ["A"], "Chr": ["7"], "Coord": ["1000"]}),
        ("# made by\nGeneid\tLength\tS2\tS1\n1_at\t99\t1\t2\n", {"Length": ["99"]}),
    ],
)
def test_tables_as_others_write_them(tmp_path, text, facts):
    """A series matrix of GEO, Geuvadis, featureCounts: what stands beside the numbers is no sample."""
    matrix, values = contents(write_text(tmp_path / "m.txt", text), tmp_path, is_feature=None)
    assert matrix.samples == ["S2", "S1"] and matrix.features == ["1_at"] and matrix.feature_facts == facts
    assert values.tolist() == [[1], [2]]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix])
def test_sparse_h5ad_are_read_by_lines_in_blocks(tmp_path, monkeypatch, form, turned):
    monkeypatch.setattr(exprcast.matrix_file, "BLOCK_BYTES", 12)
    matrix, values = contents(write_h5ad(tmp_path / "m.h5ad", form(FILLED), turned), tmp_path)
    np.testing.assert_array_equal(values, FILLED)
    assert matrix.samples == SAMPLES and matrix.features == GENES and matrix.sample_facts["tissue"] == TISSUE


def test_which_axis_holds_features_is_told_by_ids_by_looks_or_by_the_user(tmp_path):
    text = table(["a", "b"], ["c", "d"], np.eye(2))
    path = write_text(tmp_path / "m.tsv", text)
    with pytest.raises(
        InputError,
        match=r"m.tsv: features may be rows or columns: 0 of 2 rows \(a, b\) and 0 of 2 columns \(c, d\) .*--matrix_features rows",
    ):
        open_matrix(path, tmp_path)
    with pytest.raises(InputError, match="1 of 2 rows .* and 1 of 2 columns"):
        open_matrix(path, tmp_path, lambda identifier: identifier in ("a", "d"))
    assert open_matrix(path, tmp_path, lambda identifier: identifier == "c").features == ["c", "d"]
    assert open_matrix(path, tmp_path, features="columns").samples == ["a", "b"]
    probes = write_text(tmp_path / "p.tsv", table(["a", "b"], ["200814_at", "217140_s_at"], np.eye(2)))
    assert open_matrix(probes, tmp_path).samples == ["a", "b"]
    genes = write_text(tmp_path / "g.tsv", table(["ENSG00000000003.7", "other"], ["c", "d"], np.eye(2)))
    assert open_matrix(genes, tmp_path).samples == ["c", "d"]


def test_a_format_with_a_convention_keeps_it_unless_ids_speak_against_it(tmp_path):
    stored = read_stored(write_gctx(tmp_path / "m.gctx"), tmp_path)
    assert features_axis(stored, "m", lambda _: False) == features_axis(stored, "m", lambda _: True) == "rows"
    assert features_axis(stored, "m", lambda identifier: identifier in SAMPLES) == "columns"


@pytest.mark.parametrize(
    "text, message",
    [
        (gct(counts="3\t3\t1\t1"), "m line 3: 4 cells where the counts in line 2 make 5"),
        (gct(counts="4\t2\t1\t1"), "m: line 2 says 4 rows, there are 3"),
        (gct(counts="2\t2\t1\t1"), "m: line 2 says 2 rows, there are 3"),
        (gct(counts="3\t2\t1\t9"), "m line 5: .* cells where the counts|m: the file ends before"),
        (gct(counts="3\t2"), "m line 2: '3\t2' are not the 4 counts"),
        (gct(counts="3\t-2\t1\t1"), "are not the 4 counts"),
        (gct(counts="3\t99999999999\t1\t1"), "m: 3 rows and 99,999,999,999 columns; 1 to 10,000,000"),
        ("#1.3\n", "m line 2: '' are not the 4 counts"),
        (gct().replace("2.5", "2,5"), "m line 7, column S2: '2,5' is no number"),
        (gct().replace("2.5", "inf"), "m: sample S2, feature G2: inf is infinite"),
        (gct().replace("2.5", "1e39"), "m: sample S2, feature G2: inf is infinite or too large"),
        (gct().replace("G3", "G2"), "m: row 'G2' occurs twice"),
        (gct().replace("S2\tS1", "S1\tS1"), "m line 3: column 'S1' occurs twice"),
        ("<!DOCTYPE html>\n<html>", "m line 1: this is a web page"),
        ("\n", "m: no rows"),
        ("", "m: the file is empty"),
        ("PK\x03\x04rest", "m: a zip archive or an Excel sheet"),
        ("id\tS1\n", "m: no rows"),
        ("G1 2 3\nG2 4 5\n", "m: 1 cells in the header and 1 in line 2, no table"),
        ("id\tS1\tS2\nG1\tx\ty\n", "m: 3 cells in the header and 3 in line 2, no table of numbers"),
        ("id\tS1\tS2\nG1\t1\n", "m: 3 cells in the header and 2 in line 2"),
        ("id\tS1\tS2\nG1\t1\t2\nG2\t3\n", "m line 3: 2 cells where the header has 3"),
        ("id\tS1\tS1\nG1\t1\t2\n", "m: column 'S1' occurs twice"),
        ("id\tS1\nG1\t1\nG1\t2\n", "m: row 'G1' occurs twice"),
        ("id\tS1\nG1\t1\n\t2\n", "m: row number 2 has the id '', which is no id"),
        ("id\tS1\nG\x001\t1\n", "m: row number 1 has the id 'G.x001', which is no id"),
        ('id\tS1\nG1\t1\nG2\t"' + "1" * 200_000 + "\n", "m line 3: a quotation mark without its other half"),
        ("id\tname\tname\tS1\nG1\tx\ty\t1\n", "m: column 'name' occurs twice"),
        ("id\tS1\nG1\t-inf\n", "m: sample S1, feature G1: -inf is infinite"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_where_it_is(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        contents(write_text(tmp_path / "m", text), tmp_path)


def test_a_gzip_that_was_cut_is_said(tmp_path):
    rng = np.random.default_rng(1)
    whole = gzip.compress(table([f"G{i}" for i in range(500)], SAMPLES, rng.normal(size=(500, 2))).encode())
    (tmp_path / "m.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="m.tsv.gz: gzip data end or break after line"):
        contents(tmp_path / "m.tsv.gz", tmp_path)


def change_gctx(tmp_path, change):
    """Return a GCTX after a change to its open file."""
    path = write_gctx(tmp_path / "m.gctx")
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replace(key, values, **more):
    """Return a change that writes an array or a link anew."""

    def change(file):
        del file[key]
        if isinstance(values, h5py.SoftLink | h5py.ExternalLink):
            file[key] = values
        else:
            file.create_dataset(key, data=values, **more)

    return change


def huge(key, shape, dtype, chunks):
    """Return a change that writes an array that claims much and holds nothing."""

    def change(file):
        del file[key]
        file.create_dataset(key, shape, dtype, chunks=chunks, compression="gzip")

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (replace("0/DATA/0/matrix", VALUES.T), "m.gctx: the matrix is 3 × 2, its ids are those of 2 columns and 3 rows; it is transposed"),
        (replace("0/DATA/0/matrix", VALUES[:, :2]), "m.gctx: the matrix is 2 × 2, .* they do not belong together"),
        (replace("0/DATA/0/matrix", np.full((2, 3), np.inf)), "m.gctx: sample S2, feature G.1: inf is infinite"),
        (replace("0/DATA/0/matrix", np.full((2, 3), b"x")), "m.gctx: 0/DATA/0/matrix is .S1 with 2 axes"),
        (replace("0/DATA/0/matrix", h5py.SoftLink("/0/META")), "m.gctx: 0/DATA/0/matrix is a link"),
        (replace("0/DATA/0/matrix", h5py.ExternalLink("/etc/passwd", "x")), "m.gctx: 0/DATA/0/matrix is a link"),
        (replace("0/META/COL/id", h5py.ExternalLink("x.h5", "x")), "m.gctx: 0/META/COL/id is a link|m.gctx: id is a link"),
        (replace("0/META/ROW/id", np.array([b"A", b"B", b"A"])), "m.gctx: row 'A' occurs twice"),
        (replace("0/META/ROW/id", np.array([b"A", b"B\tC", b"D"])), "m.gctx: row number 2 has the id 'B.tC'"),
        (replace("0/META/ROW/id", np.array([b"A", b"B\0C", b"D"])), "m.gctx: row number 2 has the id 'B.x00C'"),
        (replace("0/META/COL/tissue", np.array([b"A"])), "m.gctx: 0/META/COL/tissue has 1 values for 2 columns"),
        (huge("0/DATA/0/matrix", (2**31, 2**31), "f4", (1, 2**10)), "m.gctx: 2,147,483,648 rows and .* can be read"),
        (huge("0/DATA/0/matrix", (2**20, 2**20), "f4", (2**14, 2**14)), "m.gctx: 0/DATA/0/matrix is packed in chunks of more than"),
        (huge("0/META/COL/id", (2**30,), "S100", (2**10,)), "m.gctx: id claims 1,073,741,824 values of 100 bytes"),
        (lambda file: file.attrs.update({"version": "GCTX2.0"}), "m.gctx: its version is 'GCTX2.0'"),
        (lambda file: file.pop("0/META/ROW"), "m.gctx: no 0/META/ROW in it"),
        (lambda file: file.move("0", "a"), "m.gctx: HDF5, but neither GCTX .* nor h5ad .*; it holds a"),
    ],
)
def test_hostile_gctx_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        contents(change_gctx(tmp_path, change), tmp_path)


def test_hdf5_that_was_cut_is_said(tmp_path):
    path = write_gctx(tmp_path / "m.gctx")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match="m.gctx: cannot be read as HDF5: it is cut short"):
        contents(path, tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (replace("X/indices", np.array([0, 2, 99])), "an index of X is 99, beyond 3"),
        (replace("X/indices", np.array([0, 2, -1])), "an index of X is -1, beyond 3"),
        (replace("X/indptr", np.array([0, 3, 2])), "indptr, indices and data of X do not fit"),
        (replace("X/indptr", np.array([0, 2, 2**40])), "indptr, indices and data of X do not fit"),
        (replace("X/data", np.array([1.0])), "indptr, indices and data of X do not fit"),
        (lambda file: file["X"].attrs.update({"shape": (2, 4)}), r"X is \(2, 4\), obs has 2 rows and var 3"),
        (lambda file: file["X"].attrs.update({"encoding-type": "coo_matrix"}), "X is neither an array nor a csr or csc matrix"),
        (replace("obs/_index", h5py.ExternalLink("x.h5", "x")), "_index is a link"),
        (huge("obs/_index", (2**30,), "S100", (2**10,)), "_index claims"),
        (replace("obs", np.array([1, 2])), "obs is a table of an old AnnData"),
        (lambda file: file["obs"].attrs.pop("_index"), "obs is no table that AnnData can read"),
    ],
)
def test_hostile_h5ad_are_refused(tmp_path, change, message):
    path = write_h5ad(tmp_path / "m.h5ad", sp.csr_matrix(FILLED))
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(InputError, match=f"m.h5ad: .*{message}"):
        contents(path, tmp_path)


def test_what_is_no_matrix_in_parquet_is_said(tmp_path):
    path = tmp_path / "m.parquet"
    pd.DataFrame({"a": [1.0], "b": [2.0]}).to_parquet(path)
    with pytest.raises(
        InputError, match="m.parquet: one column of text with the ids and columns of numbers are needed, .* there is a double, b double"
    ):
        contents(path, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="m.parquet: cannot be read as Parquet"):
        contents(path, tmp_path)


def test_no_room_to_turn_a_matrix_round_is_said_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(exprcast.matrix_file.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match=r"m: 3 × 2 numbers have to be turned round: .* GB are free"):
        contents(write_parquet(tmp_path / "m", GENES, SAMPLES, VALUES.T), tmp_path)


def matrix_of(name, samples, features, values):
    """Return a matrix that lies in memory."""
    return SampleMatrix(name, samples, features, {}, {}, lambda: iter([np.array(values, np.float32)]))


def test_matrices_meet_by_feature_and_what_a_file_lacks_is_missing():
    both = join([matrix_of("a", ["S1"], ["G1", "G2"], [[1, 2]]), matrix_of("b", ["S2"], ["G3", "G2"], [[3, 4]])])
    assert both.samples == ["S1", "S2"] and both.features == ["G1", "G2", "G3"]
    np.testing.assert_array_equal(np.concatenate(list(both.read())), [[1, 2, np.nan], [np.nan, 4, 3]])
    with pytest.raises(InputError, match="no feature is in both matrices: a has G1, b has G2"):
        join([matrix_of("a", ["S1"], ["G1"], [[1]]), matrix_of("b", ["S2"], ["G2"], [[3]])])
    with pytest.raises(InputError, match="sample S1 is in a and in b"):
        join([matrix_of("a", ["S1"], ["G1"], [[1]]), matrix_of("b", ["S1"], ["G1"], [[3]])])


def test_counts_become_cpm_of_all_features():
    cpm = in_unit(matrix_of("m", ["S1", "S2"], ["G1", "G2", "G3"], [[1, 3, np.nan], [5, 0, 15]]), "counts")
    np.testing.assert_allclose(next(cpm.read()), [[250_000, 750_000, np.nan], [250_000, 0, 750_000]])


@pytest.mark.parametrize(
    "unit, values, message",
    [
        ("counts", [[1, -1]], "m: sample S1, feature G2: -1 cannot be a value in counts"),
        ("counts", [[1, 0.5]], "m: sample S1, feature G2: 0.5 is no whole number"),
        ("counts", [[0, 0]], "m: sample S1 has no count at all"),
        ("tpm", [[0, -1]], "-1 cannot be a value in tpm"),
        ("cpm", [[0, 2e6]], "2e.06 cannot be a value in cpm"),
        ("log2_intensity", [[0, 5000]], "5000 cannot be a value in log2_intensity"),
    ],
)
def test_values_that_are_not_of_their_unit_are_refused(unit, values, message):
    with pytest.raises(InputError, match=message):
        next(in_unit(matrix_of("m", ["S1"], ["G1", "G2"], values), unit).read())


def test_versions_are_cut_from_ensembl_ids_only_and_old_ids_on_y_are_that_copy():
    ids = {
        "ENSG00000124334.17": "ENSG00000124334",
        "ENSGR0000124334": "ENSG00000124334_PAR_Y",
        "ENSGR0000124334.3": "ENSG00000124334_PAR_Y",
    }
    ids |= {"ENSG00000124334.17_PAR_Y": "ENSG00000124334_PAR_Y", "AB.1": "AB.1", "200814_at": "200814_at"}
    assert {identifier: gene_of(identifier) for identifier in ids} == ids


@real
def test_real_panel_files_are_read_as_the_catalogue_describes_them(tmp_path):
    matrix = open_matrix(PANEL / "geo_u133a_probes.gctx", tmp_path)
    with h5py.File(PANEL / "geo_u133a_probes.gctx") as file:
        np.testing.assert_array_equal(np.concatenate(list(matrix.read())), file["0/DATA/0/matrix"][:])
    assert (len(matrix.samples), len(matrix.features), len(set(matrix.sample_facts["series"]))) == (233, 22_215, 14)
    p100, values = contents(PANEL / "gct_format/test_p100.gct", tmp_path)
    assert (len(p100.sample_facts), len(p100.feature_facts), values.shape, np.isnan(values).sum()) == (19, 11, (96, 96), 1)
    assert p100.feature_facts["pr_gene_symbol"][0] and p100.samples[0] == "PM7-27493-001A01-3"
    for name, shape in (("mini_gctx_with_metadata_n2x3", (2, 3)), ("mini_gctoo_for_testing", (6, 6))):
        mini, values = contents(PANEL / f"gct_format/{name}.gctx", tmp_path)
        with h5py.File(PANEL / f"gct_format/{name}.gctx") as file:
            assert file["0/DATA/0/matrix"].dtype == np.float64
            np.testing.assert_array_equal(values, file["0/DATA/0/matrix"][:].astype(np.float32))
        assert values.shape == shape and values.dtype == np.float32 and mini.sample_facts
