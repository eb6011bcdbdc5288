"""Groups never straddle; every member is tested once; what cannot be held out is said."""

import csv
import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exprcast.cli import InputError
from exprcast.dataset import LEARNT, MIXED, TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.fold_table import read_fold_table, table_folds
from exprcast.folds import (
    axis_roles,
    combine_roles,
    group_genes,
    group_samples,
    make_folds,
    promises,
    train_rows,
)
from tiny import tiny_dataset

PUBLIC = Path(__file__).parents[2] / "shared/data/sequence/leave_chromosome_out_12folds_18377genes.csv.gz"
KEYS = ("expression/gene", "accessibility/bin", "promoters/sequence")


def test_samples_that_share_anything_are_one_group():
    groups = group_samples(
        {"donor": ["d1", "d1", "d2", "", ""], "biosample": ["liver", "", "liver", "", ""], "replicate_group": ["", "", "", "", ""]}
    )
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], groups[3], groups[4]}) == 3, "an empty cell joins nothing"


def test_every_sample_is_tested_once_and_groups_stay_whole():
    groups = [f"g{i // 3}" for i in range(21)]
    sample_role, gene_role = make_folds(groups, ["chr1"] * 4, "samples", 3, 0, seed=5)
    assert ((sample_role == TEST).sum(axis=0) == 1).all()
    assert (gene_role == TRAIN).all()
    for roles in sample_role:
        assert {TRAIN, VALID, TEST} == set(roles)
        for group in set(groups):
            assert len(set(roles[np.array(groups) == group])) == 1
        assert (roles == VALID).sum() == 3


def test_zero_folds_hold_out_each_group_once():
    groups = ["a", "a", "b", "c", "d"]
    sample_role, _ = make_folds(groups, ["chr1", "chr1"], "samples", 0, 0, seed=1)
    assert len(sample_role) == 4
    assert sorted(tuple(np.flatnonzero(row == TEST)) for row in sample_role) == [(0, 1), (2,), (3,), (4,)]


def test_seed_decides_folds():
    groups = [f"g{i}" for i in range(20)]
    first, again, other = (make_folds(groups, ["chr1"] * 3, "samples", 4, 0, seed)[0] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_chromosomes_are_held_out_whole():
    chroms = ["chr1"] * 5 + ["chr2"] * 3 + ["chr3"] * 2 + ["chr4"]
    sample_role, gene_role = make_folds(["a", "b", "c"], chroms, "genes", 2, 0, seed=1)
    assert (sample_role == TRAIN).all()
    for roles in gene_role:
        for chrom in set(chroms):
            assert len(set(roles[np.array(chroms) == chrom])) == 1


def test_both_axes_are_crossed_and_tested_once():
    sample_role, gene_role = make_folds([f"g{i}" for i in range(9)], [f"chr{i % 4}" for i in range(12)], "both", 3, 2, seed=1)
    assert sample_role.shape == (6, 9) and gene_role.shape == (6, 12)
    tested = sum((combine_roles(s, g, "both") == TEST).astype(int) for s, g in zip(sample_role, gene_role, strict=True))
    assert (tested == 1).all()


def test_roles_of_pairs():
    roles = combine_roles(np.array([TRAIN, VALID, TEST], np.uint8), np.array([TRAIN, VALID, TEST, UNUSED], np.uint8), "both")
    assert roles.tolist() == [[TRAIN, MIXED, UNUSED, UNUSED], [MIXED, VALID, UNUSED, UNUSED], [UNUSED, UNUSED, TEST, UNUSED]]
    by_sample = combine_roles(np.array([TRAIN, TEST], np.uint8), np.array([TEST, TRAIN], np.uint8), "samples")
    assert by_sample.tolist() == [[TRAIN, TRAIN], [TEST, TEST]]


@pytest.mark.parametrize(
    "groups, folds, message",
    [
        (["a", "a", "b"], 0, r"samples: 2 group\(s\) that must stay together, at least 3"),
        (["a", "b", "c"], 5, "5 folds asked for but there are only 3 groups"),
        (["a", "b", "c", "d"], 1, "one fold leaves nothing to train on"),
        (["a", "b", "c"], 0, r"fold 0 would train on 1 sample\(s\)"),
    ],
)
def test_what_cannot_be_held_out_is_said(groups, folds, message):
    with pytest.raises(InputError, match=message):
        make_folds(groups, ["chr1", "chr2"], "samples", folds, 0, seed=1)


def test_training_sees_only_its_own_rows(tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "both.h5", hold_out="samples"))
    rows = train_rows(dataset, 0)
    assert (dataset.sample_role[0][rows.samples] == TRAIN).all()
    assert len(rows.genes) == len(dataset.genes)


@pytest.mark.parametrize("hold_out", ["samples", "genes", "both"])
def test_a_second_fit_sees_the_rows_of_validation_and_never_those_of_test(tmp_path, hold_out):
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", hold_out=hold_out, samples=10, genes=15))
    for fold in range(dataset.n_folds):
        roles = combine_roles(dataset.sample_role[fold], dataset.gene_role[fold], hold_out)
        rows = train_rows(dataset, fold, with_valid=True)
        seen = np.zeros(roles.shape, dtype=bool)
        seen[np.ix_(rows.samples, rows.genes)] = True
        assert (seen == np.isin(roles, LEARNT)).all() and seen.sum() > (roles == TRAIN).sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=40, max_size=60), st.integers(0, 10**6))
def test_samples_that_share_a_value_never_straddle(cells, seed):
    columns = [[f"v{value}" if value < 15 else "" for value in column] for column in zip(*cells, strict=True)]
    groups = group_samples(dict(zip(("replicate_group", "donor", "biosample"), columns, strict=True)))
    assume(len(set(groups)) > 9)
    roles = axis_roles(groups, 3, np.random.default_rng(seed), "samples")
    assert ((roles == TEST).sum(axis=0) == 1).all()
    for fold in roles:
        for values in columns:
            for value in set(values) - {""}:
                assert len({role for role, other in zip(fold, values, strict=True) if other == value}) == 1


def test_genes_are_grouped_as_each_scheme_says():
    ids, chroms, paralogs = ["a", "b", "c", "d"], ["chr1", "chr1", "chr2", "chr3"], ["a", "", "a", ""]
    grouped = {by: group_genes(by, ids, chroms, paralogs) for by in ("chromosome", "paralogs", "chromosome+paralogs", "random")}
    assert grouped["chromosome"] == grouped["chromosome+paralogs"] == chroms
    assert grouped["paralogs"] == ["a", "b", "a", "d"], "a gene without paralogs is alone"
    assert grouped["random"] == ids
    with pytest.raises(InputError, match=r"--gene_groups paralogs: which genes are paralogs is not known; give --paralogs, or a genome"):
        group_genes("paralogs", ids, chroms, None)


def test_paralogs_stay_whole_and_cross_chromosomes():
    rng = np.random.default_rng(3)
    ids = [f"g{i:03d}" for i in range(200)]
    families = [ids[int(k)] if k < 30 else "" for k in rng.integers(0, 60, 200)]
    chroms = [f"chr{i % 4}" for i in range(200)]
    _, roles = make_folds(["a", "b", "c"], group_genes("paralogs", ids, chroms, families), "genes", 4, 0, seed=1)
    assert ((roles == TEST).sum(axis=0) == 1).all()
    for fold in roles:
        for family in set(families) - {""}:
            assert len({role for role, other in zip(fold, families, strict=True) if other == family}) == 1
        assert len({chrom for role, chrom in zip(fold, chroms, strict=True) if role == TEST}) == 4


def test_chromosome_plus_paralogs_leaves_out_test_genes_with_kin_in_training():
    chroms = ["chr1", "chr1", "chr2", "chr2", "chr3", "chr3", "chr4", "chr4"]
    paralogs = ["A", "B", "A", "", "B", "", "C", "C"]
    _, plain = make_folds(["a", "b", "c"], chroms, "genes", 0, 0, seed=2)
    _, roles = make_folds(["a", "b", "c"], chroms, "genes", 0, 0, seed=2, apart=["A", "", "A", "", "", "", "C", "C"])
    assert (roles[plain != TEST] == plain[plain != TEST]).all(), "training and validation stay"
    by_gene = [set(column[before == TEST]) for column, before in zip(roles.T, plain.T, strict=True)]
    assert by_gene == [{UNUSED}, {TEST}, {UNUSED}, {TEST}, {TEST}, {TEST}, {TEST}, {TEST}], "C lies on chr4 alone, and empty is no group"
    with pytest.raises(InputError, match="gene fold .: each of its 2 test genes has a paralog in training"):
        make_folds(["a", "b", "c"], chroms, "genes", 0, 0, seed=2, apart=paralogs)


def test_both_axes_leave_out_paralogs_in_each_crossed_fold():
    chroms, paralogs = [f"chr{i % 5}" for i in range(20)], ["A", "A", *[""] * 18]
    samples, genes = make_folds([f"s{i}" for i in range(9)], chroms, "both", 3, 0, seed=1, apart=paralogs)
    assert samples.shape == (15, 9) and genes.shape == (15, 20)
    assert not (genes[:, :2] == TEST).any() and (genes[:, :2] == UNUSED).sum() == 6


def test_a_random_split_deals_genes_one_by_one():
    chroms = ["chr1"] * 30
    _, roles = make_folds(["a", "b", "c"], group_genes("random", [f"g{i}" for i in range(30)], chroms, None), "genes", 5, 0, seed=1)
    assert (
        ((roles == TEST).sum(axis=0) == 1).all() and ((roles == TEST).sum(axis=1) == 6).all() and ((roles == VALID).sum(axis=1) == 3).all()
    )


def test_thousands_of_folds_are_refused():
    with pytest.raises(InputError, match="genes: 1,500 folds are too many; choose 2 to 1,000"):
        make_folds(["a", "b", "c"], [f"g{i}" for i in range(1500)], "genes", 0, 0, seed=1)


@pytest.mark.parametrize(
    "hold_out, group_by, gene_groups, promised",
    [
        ("samples", ["donor"], "paralogs", "samples:donor samples:peaks samples:expression"),
        ("samples", ["random"], "chromosome", ""),
        ("genes", ["donor"], "chromosome", "genes:chrom"),
        ("genes", ["donor"], "paralogs", "genes:paralog_group genes:promoter"),
        ("genes", ["donor"], "chromosome+paralogs", "genes:chrom genes:paralog_group genes:promoter"),
        ("genes", ["donor"], "random", ""),
        ("both", ["biosample"], "chromosome", "samples:biosample samples:peaks samples:expression genes:chrom"),
    ],
)
def test_what_a_scheme_promises(hold_out, group_by, gene_groups, promised):
    assert " ".join(promises(hold_out, group_by, gene_groups, KEYS)) == promised
    assert "expression" not in " ".join(promises(hold_out, group_by, gene_groups, ()))


def write_folds(path, text):
    path.write_text(text)
    return path


def test_a_table_of_genes_is_taken_as_it_stands(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = write_folds(
        tmp_path / "folds.csv",
        "ENSID,chrom,fold_10,fold_2,fold_enformer,Gene name\n"
        'ENSG00000000001.4,1,train,test,test,"A, B"\nENSG00000000002.1,1,test,train,,x\n'
        "ENSG00000000003,2,valid,valid,,y\nENSG00000000004,2,train,train,,z\nENSG00000000005,2,train,,,z\n",
    )
    genes = [f"ENSG0000000000{i}" for i in (4, 1, 2, 3, 9, 5)]
    samples, roles = table_folds(read_fold_table(path), ["S1", "S2"], genes, "genes")
    assert roles.tolist() == [[TRAIN, TEST, TRAIN, VALID, UNUSED, UNUSED], [TRAIN, TRAIN, TEST, VALID, UNUSED, TRAIN]], (
        "fold_2, then fold_10"
    )
    assert (samples == TRAIN).all() and samples.shape == (2, 2)
    assert "other columns are not used: chrom, fold_enformer, Gene name" in caplog.text
    assert "folds.csv has 5 of 6 genes of the dataset; the others are unused" in caplog.text


def test_a_table_of_samples_leaves_out_folds_without_a_test(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    text = "sample\tfold_1\tfold_2\nS1\ttrain\ttest\nS2\ttrain\ttrain\nS3\tvalid\ttrain\nS4\tmaybe\tvalid\nelse\ttest\ttrain\n"
    roles, genes = table_folds(read_fold_table(write_folds(tmp_path / "t.tsv", text)), ["S1", "S2", "S3", "S4"], ["g"], "samples")
    assert roles.tolist() == [[TEST, TRAIN, TRAIN, VALID]] and genes.tolist() == [[TRAIN]]
    assert "t.tsv: fold_1 test none of the dataset's samples" in caplog.text
    assert "1 cells are none of train, valid, test (maybe) and count as unused" in caplog.text


@pytest.mark.parametrize(
    "text, hold_out, message",
    [
        ("id,fold_1\n", "genes", "t.csv: no rows; a header"),
        ("id,fold\ng1,test\n", "genes", "t.csv: no column fold_1, fold_2 …; the header has id, fold"),
        ("id,fold_1,fold_01\ng1,test,test\n", "genes", "t.csv: fold '1' occurs twice"),
        ("id,fold_1\ng1,test\ng1,train\n", "genes", "t.csv: id 'g1' occurs twice"),
        ("id,fold_1\ng1,test\n\ng2,train,x\n", "genes", "t.csv line 4: 3 cells where the header has 2"),
        ("id,fold_1\nA,test\n", "genes", "t.csv: no id fits: it has A, the dataset samples S1, S2 and genes g1, g2, g3 …"),
        ("id,fold_1\ng1,test\n", "samples", r"--hold_out samples: --fold_table t.csv splits genes \(g1\); give --hold_out genes"),
        ("id,fold_1\nS1,test\n", "genes", r"--fold_table t.csv splits samples \(S1\); give --hold_out samples"),
        ("id,fold_1\ng1,test\n", "both", "--hold_out both: --fold_table t.csv splits genes"),
        ("id,fold_1\ng1,train\n", "genes", "none of the dataset's genes has the role test"),
        ("id,fold_1\ng1,test\ng2,train\ng3,train\n", "genes", "t.csv, fold_1: 2 genes to train and 0 to validate on; 2 and 1 are needed"),
        ("id,fold_1\ng1,test\ng2,train\ng3,valid\n", "genes", "t.csv, fold_1: 1 genes to train and 1 to validate on"),
    ],
)
def test_a_wrong_table_of_folds_gets_one_line(tmp_path, text, hold_out, message):
    path = write_folds(tmp_path / "t.csv", text)
    with pytest.raises(InputError, match=message):
        table_folds(read_fold_table(path), ["S1", "S2"], ["g1", "g2", "g3", "g4"], hold_out)


@pytest.mark.skipif(not PUBLIC.exists(), reason="needs ../shared/data")
def test_the_public_table_gives_its_own_roles():
    with gzip.open(PUBLIC, "rt") as file:
        rows = {row["ENSID"]: row for row in csv.DictReader(file)}
    genes = [*sorted(rows)[::40], "ENSG99999999999"]
    samples, roles = table_folds(read_fold_table(PUBLIC), ["S1"], genes, "genes")
    words = {"train": TRAIN, "valid": VALID, "test": TEST}
    assert len(rows) == 18_377 and roles.shape == (12, len(genes)) and samples.shape == (12, 1)
    assert roles[:, :-1].T.tolist() == [[words[rows[gene][f"fold_{k}"]] for k in range(1, 13)] for gene in genes[:-1]]
    assert (roles[:, -1] == UNUSED).all() and (roles == VALID).any(axis=1).all()
    assert ((roles == TEST).sum(axis=0)[:-1] == 1).all()
