"""Groups never straddle; every member is tested once; what cannot be held out is said."""

import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.folds import combine_roles, group_samples, leakage, make_folds, train_rows
from tiny import tiny_dataset


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
    assert roles.tolist() == [[TRAIN, VALID, UNUSED, UNUSED], [VALID, VALID, UNUSED, UNUSED], [UNUSED, UNUSED, TEST, UNUSED]]
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


def test_leakage_table_finds_a_planted_donor(tmp_path):
    clean = Dataset(tiny_dataset(tmp_path / "clean.h5"))
    assert {row[1]: row[3] for row in leakage(clean)}["donor"] == 0
    leaky = Dataset(tiny_dataset(tmp_path / "leaky.h5"))
    leaky.sample_role = leaky.sample_role.copy()
    leaky.sample_role[0, :2] = [TEST, TRAIN]  # S0 and S1 share donor g0
    (row,) = [row for row in leakage(leaky) if row[1] == "donor"]
    assert row[3] == 1 and "g0" in row[4]
