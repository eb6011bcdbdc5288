"""planted.py: the datasets whose splicing is known are what they say, for the tests that rely on them."""

import numpy as np
import pytest

from exprcast.dataset import TEST, TRAIN, Dataset
from exprcast.tables import FILE_ID
from planted import planted_dataset


def correlations(dataset: Dataset) -> np.ndarray:
    """Return r over samples (genes, transcripts) between log2(TPM + 1) of genes and logits of transcripts' shares."""
    tpm, gene = dataset.array("expression/gene").astype(float), dataset.array("transcripts/gene")
    share = dataset.array("expression/transcript") / tpm[:, gene]
    x, y = np.log2(tpm + 1), np.log(share / (1 - share))
    x, y = (values - values.mean(axis=0) for values in (x, y))
    return (x / np.linalg.norm(x, axis=0)).T @ (y / np.linalg.norm(y, axis=0))


@pytest.fixture
def planted(tmp_path):
    truth = planted_dataset(tmp_path / "d.h5")
    return Dataset(tmp_path / "d.h5"), truth


def test_a_dataset_has_the_sizes_asked_for_and_genes_are_their_transcripts_sums(planted):
    dataset, truth = planted
    assert len(dataset.samples) == 96 and dataset.samples == sorted(dataset.samples) and all(map(FILE_ID.fullmatch, dataset.samples))
    gene = dataset.array("transcripts/gene")
    assert len(dataset.genes) == 100 and set(np.bincount(gene)) == {2, 3, 4} and (np.diff(gene) >= 0).all()
    assert len(dataset.text("transcripts/id")) == len(gene) == dataset.array("lists/isoform").sum()
    total = np.array([np.bincount(gene, row) for row in dataset.array("expression/transcript")])
    np.testing.assert_allclose(total, dataset.array("expression/gene"), rtol=1e-5)
    assert np.flatnonzero(dataset.array("lists/splicing_factor")).tolist() == sorted([*truth.factors, *truth.decoys])
    assert len(truth.factors) == 6 and len(truth.decoys) == 12


def test_donors_are_held_out_and_cross_biosamples(tmp_path):
    planted_dataset(tmp_path / "d.h5", biosamples=2)
    dataset = Dataset(tmp_path / "d.h5")
    donor, biosample = (np.array(dataset.text(f"samples/{column}")) for column in ("donor", "biosample"))
    assert len(set(donor)) == 24 and len(set(zip(donor, biosample, strict=True))) == 48
    assert dataset.n_folds == 4 and (dataset.sample_role == TEST).sum(axis=0).tolist() == [1] * 96
    for roles in dataset.sample_role:
        assert not set(donor[roles == TEST]) & set(donor[roles != TEST]) and (roles == TRAIN).sum() > 50


def test_every_effect_shows_with_its_sign_and_ahead_of_all_others(planted):
    dataset, truth = planted
    assert len(truth.effect) == 24 and set(truth.factor) == set(truth.factors) and not set(truth.gene) & set(truth.factors)
    assert (dataset.array("transcripts/gene")[truth.transcript] == truth.gene).all()
    listed = np.flatnonzero(dataset.array("lists/splicing_factor"))
    r = correlations(dataset)
    found = r[truth.factor, truth.transcript]
    assert (np.sign(found) == np.sign(truth.effect)).all() and np.abs(found).min() > 0.75
    assert (listed[np.abs(r[listed][:, truth.transcript]).argmax(axis=0)] == truth.factor).all()


def test_decoys_and_genes_that_nothing_acts_on_are_as_chance_has_them(planted):
    dataset, truth = planted
    gene = dataset.array("transcripts/gene")
    free = ~np.isin(gene, truth.gene)
    r = correlations(dataset)
    for rows, columns in ((truth.decoys, np.ones(len(gene), bool)), (truth.factors, free)):
        apart = rows[:, None] != gene[None, columns]  # a gene's noise is in its own level
        assert r[rows][:, columns][apart].std() < 1.4 / np.sqrt(95)


def test_without_strength_nothing_acts_and_levels_of_other_genes_stay(planted, tmp_path):
    dataset, truth = planted
    same = planted_dataset(tmp_path / "null.h5", strength=0)
    null = Dataset(tmp_path / "null.h5")
    assert (same.factor == truth.factor).all() and (same.transcript == truth.transcript).all() and not same.effect.any()
    assert np.abs(correlations(null)[truth.factor, truth.transcript]).max() < 0.45
    untouched = ~np.isin(np.arange(100), truth.gene)
    assert np.array_equal(null.array("expression/gene")[:, untouched], dataset.array("expression/gene")[:, untouched])


def test_same_seed_same_bytes(planted, tmp_path):
    dataset, truth = planted
    planted_dataset(tmp_path / "again.h5")
    other = planted_dataset(tmp_path / "other.h5", seed=2)
    assert (tmp_path / "again.h5").read_bytes() == dataset.path.read_bytes() != (tmp_path / "other.h5").read_bytes()
    assert set(other.factors) != set(truth.factors)
