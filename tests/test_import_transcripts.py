"""Transcripts × samples become values of transcripts and genes: tables, kallisto's and salmon's files, genes of transcripts, and what is refused."""

import gzip
import random
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import exprcast.matrix_file
from exprcast.cli import InputError
from exprcast.tables import read_table
from tiny import load_script, run_script

SHARED = Path(__file__).parents[2] / "shared/data"
real = pytest.mark.skipif(not (SHARED / "isoform").is_dir(), reason="../shared/data is absent")
FACTORS = "QKI\nENSG00000000002.3\n"
ROWS = {
    "ENST00000000011.1": ("ENSG00000000001.4", 1500, 1, 2, 3),
    "ENST00000000012.7": ("ENSG00000000001.4", 800, 4, 0, 8),
    "ENST00000000031.2": ("ENSG00000000003.1", 700, 0, 0, 0),
    "ENST00000000021.1": ("ENSG00000000002.9", 90, 16, 32, 64),
}
FACTS = [f"ENSG0000000000{i}" for i in (1, 2, 3)]


def write(folder, rows=ROWS, samples=("S3", "S1", "S2"), facts=("gene_id", "length"), factors=FACTORS, delimiter="\t"):
    """Write a table and a list of factors; return their options."""
    lines = [["tx", *facts, *samples], *([name, *row[2 - len(facts) :]] for name, row in rows.items())]
    (folder / "table.tsv").write_text("".join(delimiter.join(map(str, line)) + "\n" for line in lines))
    (folder / "factors.txt").write_text(factors)
    return ["--transcripts", folder / "table.tsv", "--factors", folder / "factors.txt"]


def imported(folder, *options, out="out", unit="tpm"):
    """Import; return {transcripts, genes: (samples, ids, values)} and the folder."""
    run_script("import_transcripts", *options, "--unit", unit, "--out", folder / out)
    found = {}
    for axis in ("transcripts", "genes"):
        with h5py.File(folder / out / f"{axis}.h5") as file:
            found[axis] = file["samples/id"].asstr()[:].tolist(), file[f"{axis}/id"].asstr()[:].tolist(), file["value"][:]
    return found, folder / out


def rows_of(path):
    """Return the rows of a table as tuples."""
    return [tuple(row.values()) for _, row in read_table(path, ())]


def test_a_gene_is_the_sum_of_its_transcripts(tmp_path, caplog):
    caplog.set_level("INFO")
    found, out = imported(tmp_path, *write(tmp_path))
    assert found["transcripts"][:2] == (["S1", "S2", "S3"], [f"ENST000000000{i}" for i in (11, 12, 21, 31)]), (
        "by gene and id, without versions"
    )
    assert found["transcripts"][2].tolist() == [[2, 0, 32, 0], [3, 8, 64, 0], [1, 4, 16, 0]]
    assert found["genes"][:2] == (["S1", "S2", "S3"], FACTS) and found["genes"][2].tolist() == [[2, 32, 0], [11, 64, 0], [5, 16, 0]]
    with h5py.File(out / "transcripts.h5") as file:
        assert file["transcripts/gene"].asstr()[:].tolist() == [FACTS[0], *FACTS] and file["value"].attrs["unit"] == "tpm"
    assert rows_of(out / "factors.tsv") == [("QKI", "QKI"), (FACTS[1], "ENSG00000000002.3")]
    assert rows_of(out / "genes.tsv") == [(gene, gene, "unknown", ".", "NA") for gene in FACTS]
    assert f"1 of 3 genes are 0 in all samples; kept: {FACTS[2]}" in caplog.text
    assert "a part of all transcripts: samples add up to 21 to 75 of 1,000,000" in caplog.text


def test_any_order_of_rows_and_columns_gives_the_same_bytes(tmp_path):
    numbers = random.Random(1)
    rows = {f"T{i}": [f"G{i % 3}", 9, *(numbers.random() for _ in range(3))] for i in range(9)}
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        (tmp_path / name).mkdir()
        shuffled = list(rows)
        random.Random(name).shuffle(shuffled)
        imported(
            tmp_path / name,
            *write(tmp_path / name, {t: [*rows[t][:2], *(rows[t][2 + i] for i in order)] for t in shuffled}, [f"S{i}" for i in order]),
        )
    for path in (tmp_path / "a/out").iterdir():
        assert path.read_bytes() == (tmp_path / "b/out" / path.name).read_bytes(), path.name


def test_blocks_of_samples_change_nothing(tmp_path, monkeypatch):
    _, whole = imported(tmp_path, *write(tmp_path), unit="counts")
    monkeypatch.setattr(exprcast.matrix_file, "BLOCK_BYTES", 4)
    _, parts = imported(tmp_path, *write(tmp_path), unit="counts", out="parts")
    for path in whole.iterdir():
        assert path.read_bytes() == (parts / path.name).read_bytes(), path.name


def test_counts_need_not_be_whole_and_become_cpm_of_all_transcripts(tmp_path):
    rows = {**ROWS, "ENST00000000099": ("NA", 5, 2.5, 3, 25)}
    found, _ = imported(tmp_path, *write(tmp_path, rows), unit="counts")
    np.testing.assert_allclose(found["transcripts"][2][1], np.array([3, 8, 64, 0]) * 1e4)
    np.testing.assert_allclose(found["genes"][2][1], np.array([11, 64, 0]) * 1e4)


def test_csv_gzip_parquet_and_h5ad_hold_the_same(tmp_path):
    expected, _ = imported(tmp_path, *write(tmp_path))
    options = write(tmp_path, delimiter=",")
    (tmp_path / "table.tsv").write_bytes(gzip.compress((tmp_path / "table.tsv").read_bytes()))
    columns = {"tx": list(ROWS), "gene_id": [row[0] for row in ROWS.values()], "length": [row[1] for row in ROWS.values()]}
    columns |= {sample: [float(row[2 + i]) for row in ROWS.values()] for i, sample in enumerate(("S3", "S1", "S2"))}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")
    var = pd.DataFrame({"gene_id": columns["gene_id"]}, index=list(ROWS))
    values = np.array([columns[sample] for sample in ("S3", "S1", "S2")], np.float32)
    ad.AnnData(values, pd.DataFrame(index=["S3", "S1", "S2"]), var).write_h5ad(tmp_path / "table.h5ad")
    for number, path in enumerate(tmp_path / f"table.{form}" for form in ("tsv", "parquet", "h5ad")):
        found, _ = imported(tmp_path, "--transcripts", path, *options[2:], out=f"again{number}")
        for axis, (samples, ids, values) in expected.items():
            assert found[axis][:2] == (samples, ids), path.name
            np.testing.assert_array_equal(found[axis][2], values)


@pytest.mark.parametrize(
    "text, symbols",
    [
        ("transcript_id\tgene_id\tgene_name\nENST00000000011\tENSG00000000001\tA\nENST00000000012.3\tENSG00000000001.2\tA\n", {"A"}),
        ("ENST00000000011\tENSG00000000001\tA\nENST00000000012\tENSG00000000001\tA\n", {"A"}),
        ("ENST00000000011,ENSG00000000001\nENST00000000012,ENSG00000000001\n", set()),
        (
            '#kallisto=0.5\ntarget\ttranscript\tgene\nx|y\tENST00000000011\tENSG00000000001\nz\tENST00000000012\t"ENSG00000000001"\nspike\tspike\tNA\n',
            set(),
        ),
    ],
    ids=["header", "tx2gene", "csv", "targets"],
)
def test_a_table_beside_says_the_genes(tmp_path, text, symbols, caplog):
    rows = {"ENST00000000011": ("", 0, 1, 2, 3), "ENST00000000012.7": ("", 0, 4, 0, 8), "spike": ("", 0, 5, 5, 5)}
    (tmp_path / "genes").write_text(text)
    found, out = imported(tmp_path, *write(tmp_path, rows, facts=()), "--transcript-genes", tmp_path / "genes")
    assert found["genes"][1] == [FACTS[0]] and found["genes"][2].tolist() == [[2], [11], [5]]
    assert (
        rows_of(out / "transcripts_without_gene.tsv") == [("spike",)]
        and "1 of 3 transcripts have no gene in genes; left out: spike" in caplog.text
    )
    assert {row[1] for row in rows_of(out / "genes.tsv")} == (symbols or {FACTS[0]})


def test_genes_are_found_by_their_looks_and_in_gencodes_ids(tmp_path):
    rows = {f"T{i}": (f"ENSG0000000000{i}.1", "x", 1, 2, 3) for i in (1, 2)}
    found, _ = imported(tmp_path, *write(tmp_path, rows, facts=("Gene_Symbol", "kind")))
    assert found["genes"][1] == FACTS[:2]
    ids = {f"ENST0000000000{i}.2|ENSG0000000000{i}.4|-|-|A-201|A{i}|99|protein_coding|": ("", 0, 1, 2, 3) for i in (1, 2)}
    found, out = imported(tmp_path, *write(tmp_path, ids, facts=()), out="gencode")
    assert found["transcripts"][1] == ["ENST00000000001", "ENST00000000002"] and [row[:2] for row in rows_of(out / "genes.tsv")] == [
        (FACTS[0], "A1"),
        (FACTS[1], "A2"),
    ]


def write_folders(folder, header="target_id\tlength\teff_length\test_counts\ttpm", order=(3, 4), name="abundance.tsv", packed=False):
    """Write one file a sample; return their options. `order` are the places of counts and TPM."""
    paths = []
    for number, sample in enumerate(("S2", "S1")):
        cells = {order[0]: 10 * (number + 1), order[1]: 400_000}
        lines = [header, *("\t".join([f"ENST0000000001{i}.1", *(str(cells.get(place, 100) + i) for place in range(1, 5))]) for i in (1, 2))]
        paths.append(folder / sample / name)
        paths[-1].parent.mkdir(exist_ok=True)
        text = ("\n".join(lines) + "\n").encode()
        paths[-1].write_bytes(gzip.compress(text) if packed else text)
    (folder / "genes").write_text("ENST00000000011\tENSG00000000001\nENST00000000012\tENSG00000000001\n")
    (folder / "factors.txt").write_text(FACTORS)
    return ["--transcripts", *paths, "--names", "S2", "S1", "--transcript-genes", folder / "genes", "--factors", folder / "factors.txt"]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"header": "Name\tLength\tEffectiveLength\tTPM\tNumReads", "order": (4, 3), "name": "quant.sf"},
        {"header": "Name\tLength\tEffectiveLength\tTPM\tNumReads", "order": (4, 3), "name": "quant.sf.gz", "packed": True},
    ],
    ids=["kallisto", "salmon", "gzip"],
)
def test_files_of_kallisto_and_salmon_are_joined(tmp_path, form):
    options = write_folders(tmp_path, **form)
    found, _ = imported(tmp_path, *options)
    assert found["transcripts"][0] == ["S1", "S2"] and found["transcripts"][2].tolist() == [[400_001, 400_002]] * 2
    assert found["genes"][2].tolist() == [[800_003]] * 2
    found, out = imported(tmp_path, *options, unit="counts", out="counts")
    np.testing.assert_allclose(found["transcripts"][2], np.array([[21, 22], [11, 12]]) / [[43], [23]] * 1e6)
    with h5py.File(out / "genes.h5") as file:
        assert file["value"].attrs["unit"] == "cpm"


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    options = write_folders(tmp_path)
    path = tmp_path / "S1/abundance.tsv"
    text = path.read_text()
    for wrong, message in (
        (text.replace("012.1", "013.1"), r"sample S1: its transcripts are not those of sample S2 \(in another order, or others\)"),
        (text + "ENST00000000013\t1\t1\t1\t1\n", r"not those of sample S2 \(3 and 2\)"),
        (text.replace("400002", "-nan"), "sample S1: abundance.tsv is empty or holds NaN"),
        (text.replace("400002", "many"), "sample S1: abundance.tsv is damaged"),
        (text.replace("400002", "inf"), "sample S1, feature ENST00000000012.1: inf is infinite"),
        (text.replace("tpm", "fpkm"), "sample S1: abundance.tsv is neither an abundance.tsv of kallisto nor a quant.sf"),
        (text.splitlines()[0] + "\n", "sample S1: (abundance.tsv is empty|its transcripts)"),
    ):
        path.write_text(wrong)
        with pytest.raises(InputError, match=message):
            imported(tmp_path, *options)
    assert not (tmp_path / "out").exists()


def changed(row, place, value):
    return {**ROWS, row: (*ROWS[row][:place], value, *ROWS[row][place + 1 :])}


FIRST = "ENST00000000011.1"
NO_GENE = {name: ("NA", *row[1:]) for name, row in list(ROWS.items())[:2]}


@pytest.mark.parametrize(
    "more, message",
    [
        ({"rows": changed(FIRST, 3, -1)}, "sample S1, feature ENST00000000011: -1 is negative; linear values"),
        ({"rows": changed(FIRST, 3, "inf")}, "sample S1, feature ENST00000000011.*inf is infinite"),
        ({"rows": changed(FIRST, 3, "x")}, "table.tsv line 2, column S1: 'x' is no number"),
        ({"rows": changed("ENST00000000021.1", 3, 4e6)}, "sample S1 adds up to 4,000,002, TPM to 1,000,000 at most; are these counts"),
        ({"rows": {name: (*row[:3], 0, 1) for name, row in ROWS.items()}}, "sample S1 has no value above 0; leave it out"),
        ({"rows": {**ROWS, "ENST00000000011.2": ROWS[FIRST]}}, r"transcript \(without its version\) 'ENST00000000011' occurs twice"),
        ({"rows": {**ROWS, **NO_GENE}}, "2 of 4 transcripts have no gene in table.tsv: ENST00000000011, ENST00000000012; are these"),
        ({"rows": {"|ENSG00000000001": ROWS[FIRST]}}, r"'\|ENSG00000000001' is no id of a transcript"),
        ({"samples": ("S1", "S2", "S1")}, "table.tsv: column 'S1' occurs twice"),
        ({"samples": ("S1", "a/../b", "S2")}, r"table.tsv: sample 'a/\.\./b': use letters"),
        ({"facts": ()}, "there are ids and numbers only; give --transcript_genes, a table of transcript and gene"),
        ({"facts": ("kind", "length"), "rows": {"T1": ("x", 1, 1, 1, 1)}}, "beside the ids there is kind, length; give --transcript_genes"),
        ({"factors": "# none\n"}, "factors.txt: no gene in it"),
        ({"factors": "QKI\nQKI\n"}, "factors.txt: gene 'QKI' occurs twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        imported(tmp_path, *write(tmp_path, **more))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_transcript_twice_in_one_table_is_refused(tmp_path):
    options = write(tmp_path)
    path = tmp_path / "table.tsv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(InputError, match=r"table.tsv: row 'ENST00000000011.1' occurs twice"):
        imported(tmp_path, *options)


def test_logarithms_are_refused(tmp_path):
    rows = {f"T{i}": (f"G{i % 9}", 9, i % 14, 2.5, 1) for i in range(1000)}
    with pytest.raises(InputError, match="these look like logarithms: the largest value is 13; give linear TPM"):
        imported(tmp_path, *write(tmp_path, rows))


@pytest.mark.parametrize(
    "text, message",
    [
        ("transcript\tgene\nT1\tA\nT1\tB\n", "genes line 3: transcript T1 is of gene B, before it was of A; give each once"),
        ("transcript\tgene\nT1\n", "genes line 2: 1 cells where the first line has 2"),
        ("transcript\tlength\nT1\t5\n", "genes: columns of transcript and gene are needed; the first line has transcript, length"),
        ("transcript\tgene\nT1\tA\0\n", "genes line 2: there are control characters in it"),
        ("T1\n", "genes: columns of transcript and gene are needed"),
        ("", "genes: no line in it"),
        ("other\tA\n", "4 of 4 transcripts have no gene in genes: ENST00000000011"),
    ],
)
def test_a_table_of_genes_that_cannot_be_used_is_refused(tmp_path, text, message):
    (tmp_path / "genes").write_text(text)
    with pytest.raises(InputError, match=message):
        imported(tmp_path, *write(tmp_path), "--transcript-genes", tmp_path / "genes")


def test_missing_values_stay_missing(tmp_path, caplog):
    found, _ = imported(tmp_path, *write(tmp_path, changed(FIRST, 3, "NA")))
    assert np.isnan(found["transcripts"][2]).sum() == 1 and np.isnan(found["genes"][2][0, 0]) and found["genes"][2][1, 0] == 11
    assert "1 values are missing; so is the level of a gene with such a transcript" in caplog.text


def test_groups_come_from_a_table_beside(tmp_path):
    table = tmp_path / "people.tsv"
    table.write_text("sample\tperson\nS1\tA\nS2\tA\nS3\tB\nS4\tC\n")
    _, out = imported(tmp_path, *write(tmp_path), "--sample-table", table, "--groups", "donor=person")
    assert [row[:2] for row in rows_of(out / "samples.tsv")] == [("S1", "A"), ("S2", "A"), ("S3", "B")]
    table.write_text("sample\tperson\nS1\tA\n")
    with pytest.raises(InputError, match="people.tsv: no row for 2 of 3 samples: the matrix has S3, S2, the table S1"):
        imported(tmp_path, *write(tmp_path), "--sample-table", table, out="again")


@real
def test_the_factors_of_the_tests_are_those_of_the_list_that_have_a_gene():
    symbols = (SHARED / "isoform/splicing_factors_170.txt").read_text().split()
    genes = {
        row["Gene name"]: row["gene_id"] for _, row in read_table(SHARED / "sequence/halflife_features_18377genes.tsv.gz", ("gene_id",))
    }
    expected = [(genes[symbol], symbol) for symbol in symbols if symbol in genes]
    assert len(expected) == 161 and rows_of(Path(__file__).parent / "isoform/factors.tsv") == expected


@real
def test_people_of_geuvadis_are_counts(tmp_path):
    options = [
        "--transcripts",
        SHARED / "isoform/geuvadis_chr19_CEU91/TrQuantCount_CEU_chr19.tsv.gz",
        "--factors",
        SHARED / "isoform/splicing_factors_170.txt",
    ]
    with pytest.raises(InputError, match="adds up to .* are these counts"):
        imported(tmp_path, *options)
    found, _ = imported(tmp_path, *options, unit="counts")
    assert found["transcripts"][2].shape == (91, 5408) and found["genes"][2].shape == (91, 1939)
    np.testing.assert_allclose(found["genes"][2].sum(axis=1), 1e6, rtol=1e-5)


def test_its_options_are_checked():
    parser = load_script("import_transcripts").parse_args()
    with pytest.raises(SystemExit):
        parser.parse_args(["--transcripts", "t", "--factors", "f", "--unit", "rpkm", "--out", "o"])
