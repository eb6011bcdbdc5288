"""The section on promoters: which gene is drawn, its numbers, its letters, the words; nothing where nothing fits."""

import h5py
import numpy as np
import pytest

from exprcast.dataset import TEST, TRAIN
from exprcast.promoter import LOGO_BP, best_gene, logo_start, promoter_picture, promoter_section, read_promoters, read_values
from exprcast.results import read_predictions, read_shares

GENES, BASES = ["G<0>", "G1", "G2", "G3"], 120
TEXT = h5py.string_dtype()


def write_predictions(path):
    """Two folds that test two genes each, two seeds; training means 1 and 2."""
    role = np.full((2, 1, 4), TRAIN, np.uint8)
    role[0, 0, :2] = role[1, 0, 2:] = TEST
    predicted = np.full((2, 2, 1, 4), np.nan, np.float32)
    predicted[0, :, 0, :2], predicted[1, :, 0, 2:] = [[3.0, 1.5], [2.0, 1.5]], [[0.0, 5.0], [1.0, 5.0]]
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "exprcast-predictions", "format-version": 2, "family": "toy", "preset": "default", "axes": "genes"})
        file.attrs.update({"unit": "log10_rpkm", "methods": ""})
        file.create_dataset("rows", data=["label"], dtype=TEXT)
        file.create_dataset("columns", data=GENES, dtype=TEXT)
        file["folds"], file["seeds"], file["role"], file["predicted"] = [0, 1], [1, 2], role, predicted
        file.create_dataset("status", data=[["trained"] * 2] * 2, dtype=TEXT)
        file["baselines/mean"] = np.zeros((2, 1, 4), np.float32)
        file["observed"] = np.array([[4.0, 0.0, 1.0, np.nan]], np.float32)
        file["training_mean"], file["training_sd"] = np.array([[[1.0]], [[2.0]]], np.float32), np.ones((2, 1, 1), np.float32)
    return path


def write_attributions(path, genes, seed=1, words=("CCGGAAGT", "AAAAAAAA")):
    with h5py.File(path, "w") as file:
        file.attrs.update({"family": "toy", "fold": 0, "seed": seed, "unit": "log10_rpkm", "method": "m", "completeness_error_max": 0.0})
        file.attrs.update({"bins": BASES, "bin_bp": 1, "flank_bp": 100})
        for name, ids in (("row", [""] * len(genes)), ("column", genes), ("words/word", words)):
            file.create_dataset(name, data=ids, dtype=TEXT)
        file["predicted"], file["reference"] = np.ones(len(genes)), np.zeros(len(genes))
        file["sequence"] = np.tile(np.arange(BASES) % 5, (len(genes), 1)).astype(np.uint8)
        shares = np.zeros((len(genes), BASES), np.float32)
        shares[:, 60:70] = 0.1 * seed
        file["shares/window"], file["shares/halflife"] = shares, np.full((len(genes), 2), [0.5, -0.25], np.float32)
        file["shares/halflife"].attrs["names"] = ["UTR5LEN", "CDSLEN"]
        file["words/share"], file["words/count"], file["words/evidence"] = np.array([0.5, -0.2]), np.array([12, 30]), np.array([9.0, -3.0])
    return path


@pytest.fixture
def run(tmp_path):
    predictions = read_predictions(write_predictions(tmp_path / "toy.h5"))
    shares = [read_shares(write_attributions(tmp_path / f"a{seed}.h5", GENES[:3], seed)) for seed in (1, 2)]
    return predictions, shares


def test_the_gene_that_is_told_furthest_is_drawn(run):
    predictions, shares = run
    values = read_values(predictions.path)
    assert set(values) == {"G<0>", "G1", "G2"} and values["G<0>"] == (4.0, 2.5, 1.0), "G3 was not measured"
    assert best_gene(values) == ("G<0>", 3) and best_gene({"G1": values["G1"]}) == ("", 1), "G1 is told the wrong way"
    (one,) = read_promoters(shares, [predictions], {"G<0>": "<A>"})
    assert (one.gene, one.symbol, one.candidates, one.observed, one.predicted) == ("G<0>", "<A>", 3, 4.0, 2.5)
    assert one.shares[60:70] == pytest.approx(0.15) and one.distance_bp[60] == -40 and one.features == {"UTR5LEN": 0.5, "CDSLEN": -0.25}


def test_section_shows_gene_letters_and_words(run):
    predictions, shares = run
    section = promoter_section(read_promoters(shares, [predictions], {"G<0>": "<A>"}), shares)
    text = str(section)
    for told in ("predicted 2.5", "Bases sum to 1.5, features to 0.25", "CCGGAAGT", "2 of 2", "24"):
        assert told in text, told
    (one,) = read_promoters(shares, [predictions], {"G<0>": "<A>"})
    assert logo_start(one.shares) <= 60 and logo_start(one.shares) + LOGO_BP >= 70 and logo_start(one.shares[:10]) == 0
    picture = promoter_picture(one)
    assert "<A>" not in picture.svg and "&lt;A&gt;" in picture.svg and picture.svg.count("#3a9a50") == 2, (
        "two of ten letters are A, none is N"
    )


def test_without_words_or_a_gene_told_there_is_no_promoter(run, tmp_path):
    predictions, _ = run
    wrong = [read_shares(write_attributions(tmp_path / "w.h5", ["G1"]))]
    assert read_promoters(wrong, [predictions], {}) == [] and read_promoters([], [predictions], {}) == []
    assert "CCGGAAGT" in str(promoter_section([], wrong)), "words stand all the same"
