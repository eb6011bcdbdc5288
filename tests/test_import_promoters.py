"""Ready promoters, half-life features and labels, as they are published: what is taken, what is refused, and in which order it is written."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.fold_table import read_fold_table
from exprcast.halflife import FEATURES
from exprcast.promoter_tables import read_halflife, read_labels
from exprcast.tables import read_chrom_sizes, read_matrix, read_table
from tiny import run_script

SEQUENCE = Path(__file__).parents[2] / "shared/data/sequence"
real = pytest.mark.skipif(not SEQUENCE.is_dir(), reason="../shared/data is absent")
PLACED = "gene_id\tchrom\tstart\tend\tstrand\tsequence\nG1.3\tchr10\t100\t104\t-\tACGT\nG2\tchr2\t50\t54\t+\tacgR\nENSG00000000001.4\tchr2\t20\t24\t-\tTTTN\n"


def import_table(folder, text, *words, name="p.tsv"):
    """Return (genes, tss, FASTA lines) of a table that was imported."""
    (folder / name).write_text(text)
    run_script("import_promoters", "--promoters", folder / name, *words, "--out", folder / "out")
    rows = [[row for _, row in read_table(folder / "out" / table, ())] for table in ("genes.tsv", "tss.tsv")]
    return *rows, gzip.decompress((folder / "out/promoters.fa.gz").read_bytes()).decode().splitlines()


def test_genes_stand_by_place_and_letters_other_than_acgt_are_n(tmp_path):
    genes, tss, fasta = import_table(tmp_path, PLACED)
    assert [(row["id"], row["chrom"], row["strand"]) for row in genes] == [
        ("ENSG00000000001", "chr2", "-"),
        ("G2", "chr2", "+"),
        ("G1.3", "chr10", "-"),
    ]
    assert fasta[1::2] == ["TTTN", "ACGN", "ACGT"] and fasta[0] == ">ENSG00000000001 chr2:20-24(-) tss=2"
    assert read_chrom_sizes(tmp_path / "out/chrom.sizes") == {"chr2": 54, "chr10": 104}


def test_the_start_site_is_one_base_on_both_strands(tmp_path):
    """Base 1 of the sequence: on plus start + 1, on minus end − 2."""
    _, tss, fasta = import_table(tmp_path, PLACED, "--tss", 1)
    assert {row["gene"]: int(row["position"]) for row in tss} == {"ENSG00000000001": 22, "G2": 51, "G1.3": 102}
    assert all(line.endswith(" tss=1") for line in fasta[::2])


def test_any_order_of_rows_gives_the_same_files(tmp_path):
    head, *rows = PLACED.splitlines(keepends=True)
    for name, text in (("a", PLACED), ("b", head + "".join(reversed(rows)))):
        (tmp_path / name).mkdir()
        import_table(tmp_path / name, text)
    for path in (tmp_path / "a/out").iterdir():
        assert path.read_bytes() == (tmp_path / "b/out" / path.name).read_bytes(), path.name


def test_chromosomes_come_from_another_table_where_the_promoters_name_none(tmp_path, caplog):
    (tmp_path / "folds.csv").write_text("ENSID,chrom,fold_1\nA,X,test\nB.1,2,train\n")
    (tmp_path / "no.tsv").write_text("ENSID\tfold_1\nA\ttest\n")
    genes, tss, fasta = import_table(
        tmp_path, "ENSID\tPROMOTER\nA\tACGT\nB\tACGA\nC\tACGG\n", "--chroms", tmp_path / "no.tsv", tmp_path / "folds.csv"
    )
    assert [(row["id"], row["chrom"], row["strand"]) for row in genes] == [("A", "X", "."), ("B", "unknown", "."), ("C", "unknown", ".")]
    assert tss == [] and fasta[0].split()[1:] == ["unknown", "tss=2"]
    assert "2 of 3 genes have no chromosome" in caplog.text


def test_the_table_of_xpresso_holds_label_and_half_life_too(tmp_path):
    head = "\t".join(["ENSID", "EXPRESSION", *FEATURES, "PROMOTER"])
    rows = [f"{gene}\t{level}\t10\t900\t5000\t300\t0.5\t0.6\t0.4\t7.5\tACGT" for gene, level in (("B", "1.5"), ("A", "NA"))]
    import_table(tmp_path, "\n".join([head, *rows]) + "\n", "--label-unit", "tpm")
    labels, halflife = (read_matrix(tmp_path / "out" / f"{name}.tsv.gz") for name in ("labels", "halflife"))
    assert labels.attributes == {"unit": "log10_tpm"} and labels.rows == ["A", "B"] and labels.columns == ["EXPRESSION"]
    assert np.isnan(labels.values[0, 0]) and labels.values[1, 0] == pytest.approx(np.log10(1.6))
    assert halflife.attributes == {"scale": "measured"} and halflife.values[1].tolist() == [10, 900, 5000, 300, 0.5, 0.6, 0.4, 7.5]


@pytest.mark.parametrize(
    "text, words, message",
    [
        ("gene_id\tsequence\nA\tACGT\nB\tACG\n", (), "different length: gene A has 4 bases, B 3"),
        ("gene_id\tsequence\nA\tACGT\nA\tACGA\n", (), "p.tsv: gene 'A' occurs twice"),
        ("gene_id\tsequence\nA\t\n", (), "p.tsv line 2: no sequence"),
        ("gene_id\tsequence\nA B\tACGT\n", (), "p.tsv line 2: 'A B' is no gene id"),
        ("gene_id\tsequence\n", (), "p.tsv: a header but no genes"),
        ("gene_id\tbases\nA\tACGT\n", (), "p.tsv: no column sequence or PROMOTER; the header has gene_id, bases"),
        ("name\tsequence\nA\tACGT\n", (), "p.tsv: no column gene_id, ENSID, id or gene; the header has name, sequence"),
        ("gene_id\tsequence\nA\tACGT\n", ("--tss", 4), "--promoter_tss 4: the promoters have 4 bases, counted from 0"),
        (PLACED.replace("104", "105"), (), "gene G1.3: from start to end are 5 bp, the sequence has 4"),
        (PLACED.replace("\t-\tACGT", "\t?\tACGT"), (), "gene G1.3: start '100', end '104', strand '\\?' are no place"),
        ("gene_id\tEXPRESSION\tsequence\nA\thigh\tACGT\n", (), "p.tsv line 2, column EXPRESSION: 'high' is no number"),
        (
            "gene_id\tEXPRESSION\tsequence\nA\t-1\tACGT\n",
            ("--label-unit", "rpkm"),
            "--label_unit rpkm: gene A has a value below 0; are these logarithms",
        ),
    ],
)
def test_what_is_no_table_of_promoters_is_said(tmp_path, text, words, message):
    with pytest.raises(InputError, match=message):
        import_table(tmp_path, text, *words)
    assert not (tmp_path / "out").exists()


def write_splits(folder, change=None, features=8, labels=(), kind=bool):
    """Write train, valid and test.h5 of 3, 1 and 2 genes with 5 bases; `change(name, arrays)` may edit what is written."""
    rng, first = np.random.default_rng(1), 0
    for name, genes in (("train", 3), ("valid", 1), ("test", 2)):
        arrays = {
            "promoter": np.eye(5, 4, dtype=kind)[rng.integers(0, 5, (genes, 5))],
            "data": rng.normal(size=(genes, features)) * 2,
            "label": rng.normal(size=(genes, *labels)),
            "geneName": np.array([f"ENSG0000000000{first + i}.{i + 1}" for i in range(genes)], dtype="S"),
        }
        first += genes
        if change:
            change(name, arrays)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for key, values in arrays.items():
                if isinstance(values, h5py.ExternalLink | h5py.SoftLink):
                    file[key] = values
                else:
                    file.create_dataset(key, data=values, **({"compression": "gzip"} if np.ndim(values) else {}))
    return [folder / f"{name}.h5" for name in ("test", "train", "valid")]


def import_splits(folder, **more):
    run_script("import_promoters", "--promoters", *write_splits(folder, **more), "--out", folder / "out")


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_ready_hdf5_become_one_table_with_their_split(tmp_path, kind):
    import_splits(tmp_path, labels=(2,), kind=kind)
    fasta = gzip.decompress((tmp_path / "out/promoters.fa.gz").read_bytes()).decode().splitlines()
    with h5py.File(tmp_path / "test.h5") as file:
        hot, label, data = file["promoter"][1], file["label"][1], file["data"][1]
    assert fasta[-2].split()[0] == ">ENSG00000000005"
    assert fasta[-1] == "".join("ACGT"[base.argmax()] if base.any() else "N" for base in hot)
    labels, halflife = (read_matrix(tmp_path / "out" / f"{name}.tsv.gz") for name in ("labels", "halflife"))
    assert labels.columns == ["label_1", "label_2"] and labels.attributes == {"unit": "zscore"}
    np.testing.assert_allclose(labels.values[5], label, rtol=1e-7)
    np.testing.assert_allclose(halflife.values[5], data, rtol=1e-7)
    assert halflife.attributes == {"scale": "transformed"} and halflife.columns == list(FEATURES)
    table = read_fold_table(tmp_path / "out/folds.tsv")
    assert table.roles.tolist() == [[0, 0, 0, 1, 2, 2]] and table.ids == labels.rows


def test_six_half_life_values_have_no_names_and_are_left_out(tmp_path, caplog):
    import_splits(tmp_path, features=6)
    assert not (tmp_path / "out/halflife.tsv.gz").exists() and "6 half-life features" in caplog.text
    assert read_matrix(tmp_path / "out/labels.tsv.gz").columns == ["label"]


def of(part, **new):
    """Return a change that replaces arrays of one file."""
    return lambda name, arrays: arrays.update(new) if name == part else None


@pytest.mark.parametrize(
    "change, message",
    [
        (of("valid", promoter=np.ones((1, 5, 4), bool)), "valid.h5: promoter is not one-hot"),
        (of("valid", promoter=np.full((1, 5, 4), 0.25)), "valid.h5: promoter is not one-hot"),
        (of("valid", promoter=np.zeros((1, 5), bool)), "valid.h5: promoter is bool of shape \\(1, 5\\)"),
        (of("valid", promoter=np.zeros((1, 6, 4), bool)), "different length: gene ENSG00000000000 has 5 bases, ENSG00000000003 6"),
        (of("test", promoter=np.zeros((1, 5, 4), bool)), "test.h5: promoter is bool of shape \\(1, 5, 4\\)"),
        (of("test", data=np.zeros((2, 7))), "data has 8, 8, 7 columns; they must be alike"),
        (of("test", data=np.zeros(2)), "test.h5: data is float64 of shape \\(2,\\)"),
        (of("test", label=np.array([b"a", b"b"])), "test.h5: label is |S1 of shape"),
        (of("test", label=np.full(2, np.inf)), "labels: gene ENSG00000000004 has an infinite value"),
        (of("train", geneName=np.arange(3)), "train.h5: geneName is int64"),
        (of("train", geneName=np.array([b"A", b"B b", b"C"])), "train.h5: geneName holds 'B b', which is no gene id"),
        (of("test", geneName=np.array([b"A", b"ENSG00000000000"])), "gene 'ENSG00000000000' occurs twice"),
        (of("test", geneName=np.array([], dtype="S1")), "test.h5: geneName is |S1 of shape \\(0,\\)"),
        (of("test", data=h5py.ExternalLink("train.h5", "data")), "test.h5: data is a link"),
        (of("test", data=h5py.SoftLink("/label")), "test.h5: data is a link"),
    ],
)
def test_hostile_hdf5_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        import_splits(tmp_path, change=change)
    assert not (tmp_path / "out").exists()


def test_hdf5_that_claim_too_much_are_refused_before_they_are_read(tmp_path):
    paths = write_splits(tmp_path)
    for shape, chunks, message in (
        ((3, 2**30, 4), (1, 2**16, 4), "more than 2,147,483,648 bases"),
        ((3, 2**28, 4), (1, 2**28, 4), "chunks of more"),
    ):
        with h5py.File(tmp_path / "train.h5", "a") as file:
            del file["promoter"]
            file.create_dataset("promoter", shape, bool, chunks=chunks, compression="gzip")
        with pytest.raises(InputError, match=f"train.h5: .*{message}"):
            run_script("import_promoters", "--promoters", *paths, "--out", tmp_path / "out")


def test_damaged_or_lacking_hdf5_are_refused(tmp_path):
    paths = write_splits(tmp_path)
    with pytest.raises(InputError, match="train.h5, valid.h5, test.h5 belong together; there is train.h5"):
        run_script("import_promoters", "--promoters", tmp_path / "train.h5", "--out", tmp_path / "out")
    for key, message in (("data/numbers", "data is no array; Xpresso's files hold"), ("numbers", "no data in it")):
        with h5py.File(tmp_path / "test.h5", "a") as file:
            del file["data"]
            file.create_group(key)
        with pytest.raises(InputError, match=f"test.h5: {message}"):
            run_script("import_promoters", "--promoters", *paths, "--out", tmp_path / "out")
    (tmp_path / "valid.h5").write_bytes((tmp_path / "valid.h5").read_bytes()[:900])
    with pytest.raises(InputError, match="valid.h5: cannot be read as HDF5"):
        run_script("import_promoters", "--promoters", *paths, "--out", tmp_path / "out")


def write_halflife(path, first="10\t900\t5000\t300", more=""):
    path.write_text(
        f"chrom\tENSID\t{more}"
        + "\t".join(FEATURES[4:])
        + "\tUTR5LEN_x\t"
        + "\t".join(FEATURES[1:4])
        + f"\nX\tG.1\t0.5\t0.6\t0.4\t7.5\t{first}\n"
    )
    return path


def test_scale_of_half_life_features_is_told_by_their_values(tmp_path):
    measured = read_halflife(write_halflife(tmp_path / "h.tsv"))
    assert measured.values[0].tolist() == [10, 900, 5000, 300, 0.5, 0.6, 0.4, 7.5] and measured.attributes["scale"] == "measured"
    assert read_halflife(write_halflife(tmp_path / "h.tsv", "1.0\t2.9\t3.7\t2.5")).attributes["scale"] == "transformed"
    assert read_halflife(write_halflife(tmp_path / "h.tsv", "-1.2\t0.3\t40\t0.1")).attributes["scale"] == "transformed"
    (tmp_path / "h.tsv").write_text((tmp_path / "h.tsv").read_text().replace("CDSGC", "GC"))
    with pytest.raises(InputError, match="h.tsv: not all of UTR5LEN, .* are columns; the header has chrom"):
        read_halflife(tmp_path / "h.tsv")


def test_labels_of_several_tables_are_joined_by_gene(tmp_path):
    (tmp_path / "b.tsv").write_text("start\tgene_id\tname\tlevel\tother\n5\tG2\tx\t-1\t3\n6\tG1\ty\t\t4\n")
    (tmp_path / "a.tsv").write_text("ENSID\tlevel\nG3\t7\nG1\t8\n")
    both = read_labels([tmp_path / "b.tsv", tmp_path / "a.tsv"], [], "zscore")
    assert both.columns == ["a.level", "b.level", "other"] and both.rows == ["G1", "G2", "G3"]
    assert np.array_equal(both.values, [[8, np.nan, 4], [np.nan, -1, 3], [7, np.nan, np.nan]], equal_nan=True)
    assert read_labels([tmp_path / "b.tsv"], ["other"], "cpm").values[:, 0].tolist() == pytest.approx(np.log10([4.1, 3.1]))


@pytest.mark.parametrize(
    "text, chosen, message",
    [
        ("gene_id\tlevel\nG1\t1\nG1\t2\n", [], "l.tsv: gene 'G1' occurs twice"),
        ("gene_id\tname\nG1\tx\n", [], "l.tsv: no column of numbers"),
        ("gene_id\tlevel\nG1\t1\n", ["levels"], "l.tsv: no column of numbers among --label_columns levels"),
        ("gene_id\tlevel\nG1\t1\n", ["level", "levels"], "--label_columns levels: no such column in l.tsv"),
        ("gene_id\tlevel\nG1\thigh\n", ["level"], "l.tsv line 2, column level: 'high' is no number"),
    ],
)
def test_what_is_no_table_of_labels_is_said(tmp_path, text, chosen, message):
    (tmp_path / "l.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        run_script("import_labels", "--labels", tmp_path / "l.tsv", "--columns", ",".join(chosen), "--out", tmp_path / "out.tsv")


@real
def test_published_tables_join_to_as_many_genes_as_the_catalogue_says(tmp_path):
    """8,737 genes have promoter and half-life, 7,736 a Roadmap median, too; no sample is needed."""
    folds = SEQUENCE / "leave_chromosome_out_12folds_18377genes.csv.gz"
    run_script("import_promoters", "--promoters", SEQUENCE / "promoters_2048bp_hg38.tsv.gz", "--out", tmp_path / "in")
    run_script("import_halflife", "--halflife", SEQUENCE / "halflife_features_18377genes.tsv.gz", "--out", tmp_path / "halflife.tsv.gz")
    labels = ("--labels", SEQUENCE / "labels_roadmap_median.tsv.gz", "--columns", "human_log10_median_rpkm")
    run_script("import_labels", *labels, "--out", tmp_path / "labels.tsv.gz")
    tables = {"promoters/sequence": tmp_path / "in/promoters.fa.gz", "promoters/halflife": tmp_path / "halflife.tsv.gz"}
    run_script(
        "assemble_dataset",
        *("--chrom-sizes", tmp_path / "in/chrom.sizes", "--genes", tmp_path / "in/genes.tsv", "--tss", tmp_path / "in/tss.tsv"),
        *(word for key, path in tables.items() for word in ("--table", key, path)),
        *("--table", "labels/value", tmp_path / "labels.tsv.gz", "--hold-out", "genes", "--fold-table", folds, "--gene-groups", "random"),
        *("--lost-ids-out", tmp_path / "lost.tsv", "--out", tmp_path / "dataset.h5"),
    )
    dataset = Dataset(tmp_path / "dataset.h5")
    halflife, labels = dataset.array("promoters/halflife"), dataset.array("labels/value")
    assert (~np.isnan(halflife).any(axis=1) & ~np.isnan(labels[0])).sum() == 7736 and len(dataset.genes) == 7739
    assert dataset.samples == [] and dataset.n_folds == 12 and ((dataset.gene_role == 2).sum(axis=0) == 1).sum() == 7736
    assert dataset.file["promoters/sequence"].attrs["upstream_bp"] == 1024 and (dataset.file["promoters/sequence"][:200] < 4).all()
    known = {row["gene_id"]: row for _, row in read_table(SEQUENCE / "labels_roadmap_median.tsv.gz", ())}
    assert labels[0, 5] == pytest.approx(float(known[dataset.genes[5]]["human_log10_median_rpkm"]))
    with_halflife = set(read_matrix(tmp_path / "halflife.tsv.gz").rows)
    assert sum(row["id"] in with_halflife for _, row in read_table(tmp_path / "in/genes.tsv", ())) == 8737
