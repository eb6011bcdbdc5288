"""Shares of isoforms by hand, the state of cells, genes in the place of factors, and levels made of shares."""

import h5py
import numpy as np
import pytest
import torch

from exprcast.cell_state import learn_state, matched_genes, read_state
from exprcast.cli import InputError
from exprcast.dataset import TEST, Dataset
from exprcast.isoforms import LEAST_PART, Isoforms, fill_genes
from exprcast.tables import read_table
from folds_run import predict
from planted import planted_dataset
from test_landmarks import write
from tiny import run_script, tiny_dataset


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a small dataset's path and its truth."""
    path = tmp_path_factory.mktemp("planted") / "dataset.h5"
    return path, planted_dataset(path, samples=24, donors=8, genes=60, folds=2, biosamples=3)


def test_shares_are_parts_of_all_transcripts_of_the_gene(tmp_path):
    path = tiny_dataset(tmp_path / "dataset.h5", samples=8, genes=6)
    with h5py.File(path, "r+") as file:
        values = np.zeros((8, 12), np.float32)
        values[0] = [3, 1, 0, 5, 2, 2, *[1] * 6]
        values[1] = np.nan
        file["expression/transcript"][...] = values
        file["lists/isoform"][...] = [1, 0, 1, 1, 0, 1, *[0] * 6]
    isoforms = Isoforms(Dataset(path))
    assert isoforms.ids == ["T0", "T2", "T3", "T5"] and isoforms.group.tolist() == [0, 1, 1, 2]
    shares = isoforms.shares(np.arange(3))
    assert shares[0].tolist() == [0.75, 0, 1, 0.5]
    assert np.isnan(shares[1:]).all(), "neither what was not measured nor what is not expressed has shares"
    own, gene = isoforms.values(np.array([0]))
    assert own.tolist() == [[3, 0, 5, 2]] and gene.tolist() == [[4, 5, 4]]


def test_shares_fill_their_gene_and_stay_as_they_are_within_bounds():
    group, mean, rest = torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.3, 0.6]), torch.tensor([0.2, 0.4])
    inside = torch.tensor([[0.4, 0.4, 0.1]])
    torch.testing.assert_close(fill_genes(inside, mean, rest, group), inside, atol=1e-6, rtol=0)
    wild = torch.tensor([[1.5, -0.3, -2.0], [-1.0, -1.0, 7.0]])
    filled = fill_genes(wild, mean, rest, group)
    least = LEAST_PART * mean
    assert float(filled[0, 0]) == pytest.approx(1.5 / (1.5 + float(least[1]) + LEAST_PART * 0.2), rel=1e-4)
    assert float(filled[1, 2]) == pytest.approx(7 / (7 + LEAST_PART * 0.4), rel=1e-4)
    assert bool((filled > 0).all()) and bool((torch.zeros(2, 2).index_add(1, group, filled) <= 1 + 1e-6).all())


def test_codes_are_principal_components_of_training_samples(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(8, 2, (30, 40))
    values[:, 30:] = 0.5  # never expressed
    dataset = write(tmp_path / "dataset.h5", values, 5)
    train = np.arange(20)
    state = learn_state(dataset, train, 6)
    assert len(state["state_genes"]) == 30 and state["state_weights"].shape == (30, 6)
    codes = read_state(dataset, np.arange(30), state)
    x = dataset.rows("expression/gene", np.arange(30))[:, :30].astype(np.float64)
    z = (x - x[train].mean(axis=0)) / (x[train].std(axis=0) + 1e-3) / np.sqrt(30)
    _, _, directions = np.linalg.svd(z[train], full_matrices=False)
    assert np.abs(codes) == pytest.approx(np.abs(z @ directions[:6].T), abs=1e-6)
    assert learn_state(dataset, train, 64)["state_weights"].shape[1] == 19, "no more than the samples less one"
    assert learn_state(dataset, train, 0)["state_weights"].shape[1] == 0


def test_matched_genes_have_the_factors_mean_and_spread(planted):
    path, _ = planted
    dataset = Dataset(path)
    factors, train = np.flatnonzero(dataset.array("lists/splicing_factor")), np.arange(16)
    chosen = matched_genes(dataset, train, factors, seed=1)
    assert len(set(chosen)) == len(factors) == len(chosen) and not set(chosen) & set(factors)
    assert chosen.tolist() == matched_genes(dataset, train, factors, seed=1).tolist()
    levels = np.log2(dataset.rows("expression/gene", train) + 1)
    others = np.setdiff1d(np.arange(len(dataset.genes)), factors)
    for moment in (levels.mean(axis=0), levels.std(axis=0)):
        distance = np.abs(moment[chosen] - moment[factors]).mean()
        by_chance = np.abs(moment[others][:, None] - moment[factors]).mean()
        assert distance < 0.7 * by_chance
    crowd = np.arange(len(dataset.genes) - 3)
    assert len(matched_genes(dataset, train, crowd, seed=1)) == len(crowd), "three genes stand in for all others"


@pytest.fixture(scope="module")
def shares(planted, tmp_path_factory):
    """Return predictions of shares of both folds, controls beside them."""
    return predict(planted[0], tmp_path_factory.mktemp("shares"), "deepsf", ("--preset", "quick"), controls=("permuted", "matched"))


def test_levels_are_shares_times_genes(planted, shares, tmp_path):
    dataset, out = Dataset(planted[0]), tmp_path / "levels.h5"
    run_script("isoform_levels", "--predictions", shares, "--dataset", dataset.path, "--out", out)
    isoforms = Isoforms(dataset)
    own, gene = isoforms.values(np.arange(len(dataset.samples)))
    gene = gene[:, isoforms.group]
    with h5py.File(shares) as given, h5py.File(out) as file:
        assert (file.attrs["family"], file.attrs["unit"]) == ("deepsf_levels", "log2(tpm + 1)")
        assert set(file["baselines"]) == {*given["baselines"], "own_gene"} and set(file["controls"]) == {"permuted", "matched"}
        np.testing.assert_allclose(file["observed"][:], np.log2(own + 1), rtol=1e-5)
        for fold, role in enumerate(given["role"][:, :, 0]):
            test, train = role == TEST, role != TEST
            share = isoforms.shares(np.flatnonzero(train)).mean(axis=0)
            bias = (np.log2(own[train] + 1) - np.log2(share * gene[train] + 1)).mean(axis=0)
            for key, place in (("predicted", (fold, 0)), ("baselines/ridge", (fold,)), ("controls/permuted", (fold,))):
                expected = np.maximum(np.log2(np.maximum(given[key][place][test], 0) * gene[test] + 1) + bias, 0)
                np.testing.assert_allclose(file[key][place][test], expected, rtol=1e-4, atol=1e-5)
                assert np.isnan(file[key][place][~test & (role != 1)]).all(), "training cells stay unknown"
            np.testing.assert_allclose(file["training_mean"][fold, 0], np.log2(own[train] + 1).mean(axis=0), rtol=1e-5)
            x, y = np.log2(gene + 1)[:, 0], np.log2(own + 1)[:, 0]
            slope, offset = np.polyfit(x[train], y[train], 1)
            np.testing.assert_allclose(file["baselines/own_gene"][fold][test, 0], slope * x[test] + offset, rtol=1e-4)


def test_levels_of_genes_may_be_another_familys(planted, shares, tmp_path):
    """Predictions of half of the genes: isoforms of the others stay unknown."""
    dataset, isoforms = Dataset(planted[0]), Isoforms(Dataset(planted[0]))
    half, out = dataset.genes[::2], tmp_path / "levels.h5"
    with h5py.File(shares) as given, h5py.File(tmp_path / "genes.h5", "w") as file:
        role = np.repeat(given["role"][:, :, :1], len(half), axis=2)
        for name in ("rows", "folds", "seeds", "status"):
            given.copy(name, file)
        file["columns"] = np.array(half, dtype=object)
        file["role"], file["predicted"] = role, np.full((len(role), 1, *role.shape[1:]), np.log2(101.0), np.float32)
        for name in ("observed", "training_mean", "training_sd"):
            file[name] = np.zeros((1, 1))
        file.create_group("baselines")
        file.attrs.update({"format": "exprcast-predictions", "unit": "log2(tpm + 1)", "family": "atac_cis"})
    run_script("isoform_levels", "--predictions", shares, "--dataset", dataset.path, "--genes", tmp_path / "genes.h5", "--out", out)
    known = np.isin(np.array(dataset.genes)[isoforms.genes[isoforms.group]], half)
    with h5py.File(shares) as given, h5py.File(out) as file:
        test = given["role"][0, :, 0] == TEST
        found = file["predicted"][0, 0][test]
        assert np.isnan(found[:, ~known]).all() and not np.isnan(found[:, known]).any()
        share, bias = (
            given["predicted"][0, 0][test][:, known],
            found[:, known] - np.log2(given["predicted"][0, 0][test][:, known] * 100 + 1),
        )
        assert share.std() > 0 and bias.std(axis=0) == pytest.approx(0, abs=1e-4)
        assert "predicted by genes" in file.attrs["methods"]


def test_other_predictions_are_refused_in_a_line(planted, shares, tmp_path):
    out = tmp_path / "levels.h5"
    with pytest.raises(InputError, match=r"deepsf.h5: its samples or isoforms are not those of dataset.h5"):
        run_script("isoform_levels", "--predictions", shares, "--dataset", tiny_dataset(tmp_path / "dataset.h5"), "--out", out)
    other = tmp_path / "other.h5"
    other.write_bytes(shares.read_bytes())
    with h5py.File(other, "r+") as file:
        file.attrs["unit"] = "log2(tpm + 1)"
    with pytest.raises(InputError, match=r"other.h5: predictions in log2\(tpm \+ 1\); shares of isoforms are needed"):
        run_script("isoform_levels", "--predictions", other, "--dataset", planted[0], "--out", out)
    assert not out.exists()


def test_an_isoforms_symbol_is_that_of_its_gene(planted, shares, tmp_path):
    dataset = Dataset(planted[0])
    tables = [word for name in ("samples", "genes") for word in (f"--{name}-out", tmp_path / f"{name}.tsv")]
    run_script("evaluate", "--predictions", shares, "--dataset", dataset.path, *tables, "--out", tmp_path / "scores.tsv")
    symbols, gene_of = (
        dataset.text("genes/symbol"),
        dict(zip(dataset.text("transcripts/id"), dataset.array("transcripts/gene"), strict=True)),
    )
    rows = [row for _, row in read_table(tmp_path / "genes.tsv", ("gene", "symbol"))]
    assert rows and all(row["symbol"] == symbols[gene_of[row["gene"]]] for row in rows)
