"""Tables are joined by id, never by order; what does not join is said, and nothing is filled in."""

import argparse

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.tables import Matrix, write_matrix, write_table
from tiny import run_script

SAMPLES = ["A_1", "A_2", "B_1", "C_1", "D_1"]
GENES = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "ENSG00000000004"]


def write_inputs(folder, reverse=False, genes=GENES):
    """Five samples, four genes (on chr1 the first three), one open bin a sample: bin number = sample's place."""
    turn = slice(None, None, -1 if reverse else 1)
    write_table(
        folder / "samples.tsv", ["id", "donor", "biosample", "replicate_group", "batch"], [(s, s[0], "", s[0], "") for s in SAMPLES][turn]
    )
    (folder / "chrom.sizes").write_text("chr1\t2000\nchr2\t1000\n")
    write_table(
        folder / "genes.tsv",
        ["id", "symbol", "chrom", "strand", "biotype"],
        [(g, f"g{i}", "chr1" if i < 3 else "chr2", "+", "NA") for i, g in enumerate(genes)],
    )
    write_table(folder / "tss.tsv", ["gene", "position", "source"], [(g, 100 * (i + 1), "t") for i, g in enumerate(genes)])
    values = np.arange(5.0 * len(genes)).reshape(-1, 5) + 1
    values[2, 1] = np.nan
    versions = [f"{gene}.{i + 7}" for i, gene in enumerate(genes)]
    write_matrix(folder / "expression.tsv", Matrix({"unit": "tpm"}, "gene", versions[turn], SAMPLES[turn], values[turn, turn]))
    for i, sample in enumerate(SAMPLES):
        arrays = {
            "chromosomes": np.array(["chr1", "chr2"]),
            "sizes": np.array([2000, 1000]),
            "bin_bp": np.int64(200),
            "source": np.array("peaks"),
        }
        np.savez(
            folder / f"{sample}.npz", sample=np.array(sample), bin=np.array([i], np.int32), signal=np.array([2.0], np.float32), **arrays
        )
    return folder


def assemble(folder, *more, out="dataset.h5"):
    bins = sorted(folder.glob("*.npz"))
    run_script(
        "assemble_dataset",
        *("--samples", folder / "samples.tsv", "--chrom-sizes", folder / "chrom.sizes", "--genes", folder / "genes.tsv"),
        *("--tss", folder / "tss.tsv", "--table", "expression/gene", folder / "expression.tsv", "--table", "accessibility/bin", *bins),
        *("--folds", 0, "--lost-ids-out", folder / "lost.tsv", *more, "--out", folder / out),
    )
    return Dataset(folder / out)


def test_promoters_are_codes_by_gene(tmp_path):
    write_inputs(tmp_path)
    fasta = tmp_path / "promoters.fa"
    fasta.write_text(
        "".join(
            f">{gene} chr1:0-6(+) tss=4\n{bases}\n"
            for gene, bases in zip(reversed([*GENES, "other"]), ("AAAAAA", "ACGTNA", "CCCCCC", "NNNNNN", "GGTTAC"), strict=True)
        )
    )
    dataset = assemble(tmp_path, "--table", "promoters/sequence", fasta)
    codes = dataset.file["promoters/sequence"]
    assert codes[:].tolist() == [[2, 2, 3, 3, 0, 1], [4] * 6, [1] * 6, [0, 1, 2, 3, 4, 0]]
    assert codes.attrs["upstream_bp"] == 4 and codes.attrs["downstream_bp"] == 2
    fasta.write_text(f">{GENES[0]} chr1:0-6(+) tss=4\nACGTAC\n")
    with pytest.raises(InputError, match="promoters.fa: no promoter of 3 genes"):
        assemble(tmp_path, "--table", "promoters/sequence", fasta)


def test_joined_by_id(tmp_path):
    dataset = assemble(write_inputs(tmp_path))
    assert dataset.samples == SAMPLES and dataset.genes == GENES
    values = dataset.array("expression/gene")
    assert values[1].tolist()[:2] == [2.0, 7.0] and np.isnan(values[1, 2]), "missing stays missing"
    assert values[4, 3] == 20
    assert [dataset.open_bins(i)[0].tolist() for i in range(5)] == [[0], [1], [2], [3], [4]]
    assert (dataset.sample_role[:, 0] == dataset.sample_role[:, 1]).all(), "replicates stay together"
    assert dataset.file["samples"]["donor"].asstr()[0] == "A"


def test_any_order_gives_the_same_file(tmp_path):
    for name, reverse in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        assemble(write_inputs(tmp_path / name, reverse))
    assert (tmp_path / "a/dataset.h5").read_bytes() == (tmp_path / "b/dataset.h5").read_bytes()


def test_genes_without_a_value_are_listed_not_zero(tmp_path):
    write_inputs(tmp_path)
    lines = (tmp_path / "expression.tsv").read_text().replace("ENSG00000000002.8", "ENSG00000000009.1")
    (tmp_path / "expression.tsv").write_text(lines)
    dataset = assemble(tmp_path)
    assert dataset.genes == [GENES[0], GENES[2], GENES[3]]
    assert dataset.array("tss/position").tolist() == [100, 300, 400]
    assert (tmp_path / "lost.tsv").read_text().splitlines()[1:] == [
        "ENSG00000000002\tno value in the expression table",
        "ENSG00000000009\tnot in the gene table",
    ]


def change(name, old, new):
    def edit(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    "edit, message",
    [
        (change("samples.tsv", "A_2", "A_1"), "samples.tsv: sample 'A_1' occurs twice"),
        (change("samples.tsv", "A_2", "a;b"), "samples.tsv: sample 'a;b': use letters"),
        (change("samples.tsv", "A_2", "../x"), r"sample '\.\./x': use letters"),
        (change("samples.tsv", "A_2", "A_9"), "no column for sample A_9; the table has A_1, A_2"),
        (change("genes.tsv", "ENSG00000000002", "ENSG00000000001"), "genes.tsv: gene 'ENSG00000000001' occurs twice"),
        (change("genes.tsv", "chr2", "chrX"), "genes on chrX, the genome has chr1, chr2"),
        (change("expression.tsv", "ENSG0", "GENE0"), "0 of 4 genes of the gene table have a value: it has ENSG00000000001"),
        (change("expression.tsv", "ENSG00000000002.8", "ENSG00000000001.3"), "expression.tsv: gene 'ENSG00000000001' occurs twice"),
        (change("expression.tsv", "20\n", "twenty\n"), "expression.tsv line 6, column D_1: 'twenty' is no number"),
        (change("chrom.sizes", "chr2\t1000", "chr2\t900"), "binned on 2 chromosomes of another genome"),
        (lambda folder: (folder / "B_1.npz").unlink(), "accessibility: no peaks for sample B_1"),
    ],
)
def test_what_does_not_join_is_said(tmp_path, edit, message):
    edit(write_inputs(tmp_path))
    with pytest.raises(InputError, match=message):
        assemble(tmp_path)
    assert not (tmp_path / "dataset.h5").exists()
    assert not list(tmp_path.glob(".dataset*")), "nothing half-written"


def test_empty_sample_is_refused_with_both_numbers(tmp_path):
    write_inputs(tmp_path)
    table = (tmp_path / "expression.tsv").read_text().splitlines()
    zeroed = [
        line if line[0] == "#" or line.startswith("gene") else "\t".join([*line.split("\t")[:2], "0", *line.split("\t")[3:]])
        for line in table
    ]
    (tmp_path / "expression.tsv").write_text("\n".join(zeroed) + "\n")
    with pytest.raises(InputError, match="sample A_2: 0 genes detected, the cohort's median is 4; leave it out"):
        assemble(tmp_path)


def test_grouping_column_is_checked(tmp_path):
    for given in ("tissue", "donor,random"):
        with pytest.raises(
            InputError,
            match=f"--group_by {given.removeprefix('donor,')}: choose from replicate_group, donor, biosample, batch, or random alone",
        ):
            assemble(write_inputs(tmp_path), "--group-by", given)


def scheme_of(dataset):
    attributes = dataset.file["folds/sample_role"].attrs
    return attributes["scheme"], attributes["promised"]


def test_the_scheme_and_its_promises_are_written(tmp_path):
    write_inputs(tmp_path)
    values = "samples:peaks,samples:expression"
    assert scheme_of(assemble(tmp_path, "--group-by", "donor,replicate_group")) == (
        "samples; samples by donor+replicate_group",
        f"samples:donor,samples:replicate_group,{values}",
    )


def test_a_random_split_separates_replicates_and_is_warned_of(tmp_path, caplog):
    dataset = assemble(write_inputs(tmp_path), "--group-by", "random")
    assert scheme_of(dataset) == ("samples; samples at random", "")
    assert len(dataset.sample_role) == 5 and (dataset.sample_role[:, 0] != dataset.sample_role[:, 1]).any()
    assert "warning: a random split: test and training may share donors, replicates or paralogs" in caplog.text


def write_kin(folder):
    """Genes 1 and 4 are paralogs, on two chromosomes; 9 is no gene of the dataset."""
    write_table(folder / "paralogs.tsv", ["gene", "group"], [(GENES[0], GENES[0]), (GENES[3], GENES[0]), ("ENSG00000000009", "x")])
    rows = [(GENES[3], GENES[0], 0.5), (GENES[1], "ENSG00000000009", 0.9), (GENES[1], GENES[2], 0.0625)]
    write_table(folder / "similar.tsv", ["gene", "other", "containment"], rows)
    return ("--table", "genes/paralog_group", folder / "paralogs.tsv", "--table", "similarity/gene", folder / "similar.tsv")


def test_paralogs_and_pairs_are_joined_by_id(tmp_path):
    dataset = assemble(write_inputs(tmp_path), *write_kin(tmp_path))
    assert dataset.text("genes/paralog_group") == [GENES[0], "", "", GENES[0]]
    pairs = [dataset.array(f"similarity/{name}").tolist() for name in ("gene", "other", "containment")]
    assert pairs == [[0, 1], [3, 2], [0.5, 0.0625]], "by place in the dataset, the first before the other"
    assert not assemble(tmp_path).has("genes/paralog_group")


def test_no_pair_at_all_is_written_as_none(tmp_path):
    words = write_kin(write_inputs(tmp_path))
    write_table(tmp_path / "similar.tsv", ["gene", "other", "containment"], [])
    write_table(tmp_path / "paralogs.tsv", ["gene", "group"], [])
    dataset = assemble(tmp_path, *words)
    assert len(dataset.array("similarity/gene")) == 0 and dataset.text("genes/paralog_group") == [""] * 4


def test_paralogs_are_held_out_together(tmp_path):
    write_inputs(tmp_path, genes=[*GENES, "ENSG00000000005", "ENSG00000000006"])
    dataset = assemble(tmp_path, *write_kin(tmp_path), "--hold-out", "genes", "--gene-groups", "paralogs")
    assert scheme_of(dataset) == ("genes; genes by paralogs", "genes:paralog_group")
    assert (dataset.gene_role[:, 0] == dataset.gene_role[:, 3]).all() and len(dataset.gene_role) == 5
    with pytest.raises(InputError, match="--gene_groups paralogs: which genes are paralogs is not known"):
        assemble(tmp_path, "--hold-out", "genes", "--gene-groups", "paralogs")


def test_a_table_of_folds_is_taken(tmp_path):
    write_inputs(tmp_path)
    (tmp_path / "mine.csv").write_text("sample,fold_1,fold_2\nA_1,train,test\nA_2,train,train\nB_1,valid,train\nC_1,test,valid\n")
    dataset = assemble(tmp_path, "--fold-table", tmp_path / "mine.csv", "--group-by", "donor")
    assert dataset.sample_role.tolist() == [[0, 0, 1, 2, 3], [2, 0, 0, 1, 3]] and not dataset.gene_role.any()
    assert scheme_of(dataset) == ("samples; samples by the table mine.csv", "samples:donor,samples:peaks,samples:expression")


def write_values(path, values, **attributes):
    """Write {gene: values} as a table with its attributes."""
    columns = [f"c{number}" for number in range(len(next(iter(values.values()))))]
    write_matrix(path, Matrix(attributes, "gene", list(values), columns, np.array(list(values.values()), dtype=float)))
    return path


def test_features_and_labels_lose_no_gene_that_was_measured(tmp_path):
    """Expression decides which genes there are; what another table lacks is missing, not 0."""
    write_inputs(tmp_path)
    halflife = write_values(tmp_path / "h.tsv", {GENES[3]: [1, 2], "other": [3, 4]}, scale="measured")
    labels = write_values(tmp_path / "l.tsv", {GENES[1]: [5], GENES[0]: [np.nan]}, unit="zscore")
    dataset = assemble(tmp_path, "--table", "promoters/halflife", halflife, "--table", "labels/value", labels)
    assert dataset.genes == GENES
    assert np.array_equal(dataset.array("promoters/halflife"), [[np.nan] * 2] * 3 + [[1, 2]], equal_nan=True)
    assert np.array_equal(dataset.array("labels/value"), [[np.nan, 5, np.nan, np.nan]], equal_nan=True)
    assert dataset.file["promoters/halflife"].attrs["scale"] == "measured" and dataset.unit("labels/value") == "zscore"
    with pytest.raises(InputError, match="labels/value: none of the 4 genes .* is in the table, which has x; are these the same kind"):
        assemble(tmp_path, "--table", "labels/value", write_values(tmp_path / "l.tsv", {"x": [1]}, unit="zscore"))


def test_without_labels_the_median_over_samples_is_one(tmp_path):
    dataset = assemble(write_inputs(tmp_path))
    values = dataset.array("expression/gene").astype(float)
    assert dataset.text("labels/name") == ["median"] and dataset.unit("labels/value") == "log10_tpm"
    np.testing.assert_allclose(dataset.array("labels/value")[0], np.nanmedian(np.log10(values + 0.1), axis=0), rtol=1e-6)


def assemble_genes(folder, *words):
    """Assemble without samples."""
    run_script(
        "assemble_dataset",
        *("--chrom-sizes", folder / "chrom.sizes", "--genes", folder / "genes.tsv", "--tss", folder / "tss.tsv"),
        *("--folds", 0, "--lost-ids-out", folder / "lost.tsv", *words, "--out", folder / "dataset.h5"),
    )
    return Dataset(folder / "dataset.h5")


def test_a_dataset_may_hold_genes_and_labels_alone(tmp_path):
    genes = [*GENES, "ENSG00000000005"]
    write_inputs(tmp_path, genes=genes)
    values = {gene: [place] for place, gene in enumerate(genes[1:])} | {genes[0]: [np.nan]}
    labels = write_values(tmp_path / "l.tsv", values, unit="log10_rpkm")
    words = ("--table", "labels/value", labels, "--hold-out", "genes", "--gene-groups", "random")
    dataset = assemble_genes(tmp_path, *words)
    assert dataset.samples == [] and dataset.genes == genes[1:], "a gene without any label has no part in it"
    assert dataset.sample_role.shape == (4, 0) and dataset.gene_role.shape == (4, 4)
    assert f"{genes[0]}\tno value in the table of labels" in (tmp_path / "lost.tsv").read_text()
    (tmp_path / "tss.tsv").write_text("gene\tposition\tsource\n")
    assert not assemble_genes(tmp_path, *words).has("tss/position"), "nobody said where genes lie"


@pytest.mark.parametrize(
    "hold_out, message",
    [
        ("genes", "a dataset of genes alone has no labels: give --labels"),
        ("both", "a dataset of genes alone has no samples to hold out: give --hold_out genes"),
    ],
)
def test_genes_alone_need_labels_and_are_what_is_held_out(tmp_path, hold_out, message):
    with pytest.raises(InputError, match=message):
        assemble_genes(write_inputs(tmp_path), "--hold-out", hold_out)


def test_unknown_table_key(tmp_path):
    with pytest.raises((InputError, argparse.ArgumentError), match="--table expression/tpm: no such table"):
        assemble(write_inputs(tmp_path), "--table", "expression/tpm", "x.tsv")


TRANSCRIPTS = {"T9": GENES[0], "T1": GENES[2], "T2": GENES[2], "T3": GENES[2], "T0": GENES[0], "T5": "ENSG00000000009", "T4": GENES[3]}


def write_imported(folder, samples=SAMPLES, genes=TRANSCRIPTS, unit="tpm", values=None):
    """Write transcripts as import_transcripts.py does: of gene 0 two, of gene 2 three, of gene 3 one, and one of a gene that is not known."""
    with h5py.File(folder / "transcripts.h5", "w") as file:
        text = h5py.string_dtype()
        file.create_dataset("samples/id", data=np.array(samples, object), dtype=text)
        file.create_dataset("transcripts/id", data=np.array(list(genes), object), dtype=text)
        file.create_dataset("transcripts/gene", data=np.array(list(genes.values()), object), dtype=text)
        table = np.tile(np.array([2, 4, 8, 0.5, 4, 1, 32]), (len(samples), 1)) if values is None else values
        file["value"] = np.array(table, np.float32) + np.arange(len(samples), dtype=np.float32)[:, None] * 0.01
        file["value"].attrs["unit"] = unit
    write_table(folder / "factors.tsv", ["gene_id", "symbol"], [(GENES[1], "x"), ("g3", "g3"), ("QKI", "QKI")])
    return ["--table", "lists/splicing_factor", folder / "factors.tsv", "--table", "expression/transcript", folder / "transcripts.h5"]


def test_transcripts_stand_by_gene_and_id_and_expressed_ones_of_several_are_predicted(tmp_path, caplog):
    caplog.set_level("INFO")
    dataset = assemble(write_inputs(tmp_path), *write_imported(tmp_path, [*reversed(SAMPLES), "other"]))
    assert dataset.text("transcripts/id") == ["T0", "T9", "T1", "T2", "T3", "T4"]
    assert dataset.array("transcripts/gene").tolist() == [0, 0, 2, 2, 2, 3]
    np.testing.assert_allclose(dataset.row("expression/transcript", SAMPLES.index("D_1")), [4, 2, 4, 8, 0.5, 32])
    np.testing.assert_allclose(dataset.row("expression/transcript", SAMPLES.index("A_1")), np.array([4, 2, 4, 8, 0.5, 32]) + 0.04)
    assert dataset.array("lists/isoform").tolist() == [1, 1, 1, 1, 0, 0], "T3 is hardly expressed, T4 the only one of its gene"
    assert dataset.array("lists/splicing_factor").tolist() == [0, 1, 0, 1], "by id, and by symbol"
    text = caplog.text
    assert "kept 6 of 7 transcripts" in text and "1 columns belong to no sample and are left out: other" in text
    assert "4 isoforms of 2 genes are predicted" in text
    assert "kept 2 of 3 splicing factors" in text and "1 splicing factors are no genes of the dataset: QKI" in text


def test_levels_that_are_not_the_sum_of_their_transcripts_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    assemble(write_inputs(tmp_path), *write_imported(tmp_path))
    assert (
        "levels of genes (" in caplog.text
        and f"{GENES[3]} in A_1 is 16, its transcripts add up to 32; the levels given are kept" in caplog.text
    )
    caplog.clear()
    right = np.array([[1 + i, 6 + i, 6 + i, 1, 0, 1, 16 + i] for i in range(5)], float)  # the levels are 1…5, 11…15, 16…20
    right[:, 1], right[:, 2] = [5, 6, 6, 6, 7], [5, np.nan, 6, 7, 7]
    assemble(write_inputs(tmp_path), *write_imported(tmp_path, values=right))
    assert "add up to" not in caplog.text
    caplog.clear()
    assemble(write_inputs(tmp_path), *write_imported(tmp_path, unit="cpm"))
    assert "genes are in tpm, transcripts in cpm: sums are not compared" in caplog.text


def test_missing_transcripts_are_no_zeros(tmp_path):
    values = np.tile(np.array([2.0, 4, 8, 0.5, 4, 1, 32]), (5, 1))
    values[:4, 0], values[:, 1] = np.nan, np.nan
    dataset = assemble(write_inputs(tmp_path), *write_imported(tmp_path, values=values))
    assert np.isnan(dataset.array("expression/transcript")).sum(axis=0).tolist() == [0, 4, 5, 0, 0, 0]
    assert dataset.array("lists/isoform").tolist() == [1, 1, 0, 1, 0, 0], "the median is that of the samples that measured it"


@pytest.mark.parametrize(
    "more, message",
    [
        ({"samples": SAMPLES[:3]}, "transcripts: no column for 2 of 5 samples: C_1, D_1; the table has A_1, A_2, B_1"),
        ({"genes": dict.fromkeys(TRANSCRIPTS, "X")}, "none of 7 is of a gene of the dataset: theirs are X, X, X …, the dataset's ENSG0"),
        ({"values": np.zeros((5, 7))}, "none of 6 is to be predicted: 5 are of a gene with several, none of these has a median above 1"),
    ],
)
def test_transcripts_that_fit_nothing_are_refused(tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        assemble(write_inputs(tmp_path), *write_imported(tmp_path, **more))
    assert not (tmp_path / "dataset.h5").exists()


def test_factors_that_are_no_genes_are_refused(tmp_path):
    options = write_imported(write_inputs(tmp_path))
    write_table(tmp_path / "factors.tsv", ["gene_id", "symbol"], [("QKI", "QKI")])
    with pytest.raises(
        InputError, match=r"none of 1 splicing factors is a gene of the dataset: the list has QKI, the dataset ENSG00000000001 \(g0\)"
    ):
        assemble(tmp_path, *options)
    (tmp_path / "genes.tsv").write_text((tmp_path / "genes.tsv").read_text().replace("\tg0\t", f"\t{GENES[0]}\t"))
    with pytest.raises(InputError, match="no symbols are known there; give a list with the column gene_id"):
        assemble(tmp_path, *options)


def listed(folder, landmarks, targets):
    """Write two lists as users do; return their options."""
    for name, text in (("landmarks.tsv", landmarks), ("targets.txt", targets)):
        (folder / name).write_text(text)
    return ["--table", "lists/target", folder / "targets.txt", "--table", "lists/landmark", folder / "landmarks.tsv"]


def test_landmarks_and_targets_are_found_by_id_and_symbol_and_no_gene_is_both(tmp_path, caplog):
    """A table of ids with versions, and one symbol or id a line; whichever table is named first, landmarks are known before targets."""
    caplog.set_level("INFO")
    options = listed(write_inputs(tmp_path), f"gene_id\tsymbol\n{GENES[0]}.3\tother\nTP53\tg2\n", f"# mine\n{GENES[3]}.1\ng2\ng1\nQKI\n")
    dataset = assemble(tmp_path, *options)
    assert dataset.array("lists/landmark").tolist() == [1, 0, 1, 0]
    assert dataset.array("lists/target").tolist() == [0, 1, 0, 1]
    assert "kept 2 of 2 landmarks" in caplog.text and "kept 3 of 4 targets" in caplog.text
    assert "1 targets are no genes of the dataset: QKI" in caplog.text
    assert "1 targets are landmarks, too; they are landmarks only: g2" in caplog.text


def test_a_copy_on_y_of_a_landmark_is_no_target(tmp_path):
    genes = [*GENES[:3], f"{GENES[0]}_PAR_Y"]
    levels = write_inputs(tmp_path, genes=genes) / "expression.tsv"
    levels.write_text(levels.read_text().replace("_PAR_Y.10", "_PAR_Y"))
    dataset = assemble(tmp_path, *listed(tmp_path, f"{GENES[0]}\n", "\n".join(genes[1:]) + "\n"))
    assert dataset.array("lists/landmark").tolist() == [1, 0, 0, 0] and dataset.array("lists/target").tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    "landmarks, targets, message",
    [
        (
            "QKI\nTP53\ng1\n",
            "g2\n",
            r"1 of 3 landmarks are genes of the dataset: the list has QKI, TP53, the dataset ENSG00000000001 \(g0\) …",
        ),
        ("g1\n", "QKI\n", r"none of 1 targets is a gene of the dataset: the list has QKI, the dataset ENSG00000000001 \(g0\)"),
        ("g1\ng2\n", "g2\n", "no target is left: all of them are landmarks, too; are these the right lists.$"),
        ("g1\ng1\n", "g2\n", "landmarks.tsv: gene 'g1' occurs twice"),
        ("gene_id\n\x07\n", "g2\n", "landmarks.tsv line 2: '.*' is no gene id"),
        ("", "g2\n", "landmarks.tsv: no gene in it"),
    ],
)
def test_lists_that_fit_nothing_are_refused(tmp_path, landmarks, targets, message):
    with pytest.raises(InputError, match=message):
        assemble(write_inputs(tmp_path), *listed(tmp_path, landmarks, targets))
    assert not (tmp_path / "dataset.h5").exists()


def test_levels_of_genes_may_come_from_an_imported_file(tmp_path):
    dataset = assemble(write_inputs(tmp_path))
    with h5py.File(tmp_path / "genes.h5", "w") as file:
        for axis, ids in (("samples", SAMPLES[::-1]), ("genes", GENES[::-1])):
            file.create_dataset(f"{axis}/id", data=np.array(ids, object), dtype=h5py.string_dtype())
        file["value"] = dataset.array("expression/gene")[::-1, ::-1]
        file["value"].attrs["unit"] = "cpm"
    (tmp_path / "genes.h5").replace(tmp_path / "expression.tsv")
    again = assemble(tmp_path, out="again.h5")
    np.testing.assert_array_equal(again.array("expression/gene"), dataset.array("expression/gene"))
    assert again.unit("expression/gene") == "cpm"
