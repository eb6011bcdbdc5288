"""Splicing factors in the report: medians and signs as computed by hand, own genes left out, planted factors first."""

import re

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import Dataset, create_dataset, write_array
from exprcast.factor_shares import FactorShares, agreeing, factor_blocks, median, read_factor_shares
from exprcast.page import Cell
from exprcast.results import read_shares
from exprcast.sections import attribution_section, feature_tables
from planted import planted_dataset
from tiny import run_script

SAMPLES, ISOFORMS, GENES = ["S1", "S2", "S3"], ["T1", "T2"], ["F1", "F2", "F3"]
SHARE = np.array([[[3, 1, 0], [1, 0, 9]], [[-1, 1, 0], [2, 0, 9]], [[-4, 1, 0], [3, -5, 9]]], np.float32)  # (samples, isoforms, factors)
LOST = np.array([[[5, 0, 0], [1, 2, 0]], [[6, 0, 0], [-1, 2, 0]], [[7, 0, 0], [1, 2, 0]]], np.float32)


def write_shares(path, samples, share, lost=None, family="deepsf"):
    """Write what attribute.py writes of a family that reads factors; `share` (samples, isoforms, factors)."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"family": family, "fold": 0, "seed": 1, "method": "m", "completeness_error_max": 0.0})
        rows = [(sample, isoform) for sample in samples for isoform in ISOFORMS]
        for name, ids in zip(("row", "column"), zip(*rows, strict=True), strict=True):
            file.create_dataset(name, data=ids, dtype=h5py.string_dtype())
        file["predicted"], file["reference"] = np.ones(len(rows)), np.zeros(len(rows))
        for key, values in (("shares/factors", share), ("knocked_down/factors", lost)):
            if values is not None:
                file[key] = values.reshape(len(rows), -1)
        file["shares/factors"].attrs["names"] = GENES[: share.shape[2]]
    return read_shares(path)


@pytest.fixture
def dataset(tmp_path):
    """Three genes, of which F3 has the isoform T2, and another that has T1."""
    with create_dataset(tmp_path / "dataset.h5", assembly="none", annotation="none", code="", sources="{}") as file:
        write_array(file, "samples/id", SAMPLES)
        write_array(file, "genes/id", [*GENES, "G4"])
        write_array(file, "genes/symbol", ["SRSF1", "", "RBFOX2", "CD44"])
        write_array(file, "chromosomes/name", ["unknown"])
        write_array(file, "chromosomes/size", [1])
        write_array(file, "transcripts/id", ["T2", "T1"])
        write_array(file, "transcripts/gene", [2, 3])
        attributes = {"hold_out": "samples", "scheme": "samples", "promised": "", "seed": 1}
        write_array(file, "folds/sample_role", [[2, 0, 1]], **attributes)
        write_array(file, "folds/gene_role", [[0, 0, 0, 0]])
    return Dataset(tmp_path / "dataset.h5")


@pytest.fixture
def read(tmp_path, dataset):
    """Return shares of two folds, S1 by two networks whose mean is in SHARE, as one family."""
    found = [
        write_shares(tmp_path / "a.h5", SAMPLES[:1], SHARE[:1] + 1, LOST[:1]),
        write_shares(tmp_path / "b.h5", SAMPLES[:1], SHARE[:1] - 1, LOST[:1]),
        write_shares(tmp_path / "c.h5", SAMPLES[1:], SHARE[1:], LOST[1:]),
    ]
    (one,) = read_factor_shares(found, dataset)
    return one


def cells(row):
    return [cell.text if isinstance(cell, Cell) else cell for cell in row]


def test_networks_of_a_sample_are_averaged_and_the_own_gene_is_known(read):
    assert read.factors == ["SRSF1", "F2", "RBFOX2"] and read.isoforms == ["CD44 T1", "RBFOX2 T2"]
    np.testing.assert_allclose(read.share, SHARE)
    np.testing.assert_allclose(read.lost, LOST)
    assert read.own.tolist() == [[False] * 3, [False, False, True]]


def test_the_table_has_each_isoforms_first_factor_its_median_and_its_signs(read):
    """Of T1 SRSF1 is largest (mean 8/3); of T2 the own gene RBFOX2 would be (9), without it SRSF1 (2), not F2 (5/3)."""
    (table,) = [block for block in factor_blocks(read) if hasattr(block, "rows")]
    assert [cells(row) for row in table.rows] == [
        ["CD44 T1", "SRSF1", "2.7", "−1", "2 of 3", "6", "3 of 3"],
        ["RBFOX2 T2", "SRSF1", "2", "2", "3 of 3", "1", "2 of 3"],
    ]


def test_medians_and_signs(read):
    np.testing.assert_array_equal(median(read, read.share), [[-1, 1, 0], [2, 0, np.nan]])
    assert agreeing(read.share).tolist() == [[2, 3, 0], [3, 1, 3]], "0 has no sign"


def test_what_was_explained_and_left_out_is_said(read):
    said = " ".join(block.text for block in factor_blocks(read) if hasattr(block, "kind") and not hasattr(block, "rows"))
    assert "deepsf: attributions tell what the network used, not what splices" in said
    assert "3 factors and the 2 isoforms that vary most, in 3 held-out samples" in said
    assert "an isoform of the factor's own gene are left out: 1 of 6." in said and "Halving a factor asks the same of every sample" in said


def test_pictures_have_a_row_an_isoform_and_the_page_has_no_table_of_all_factors(tmp_path, read, dataset):
    found = [write_shares(tmp_path / "a.h5", SAMPLES, SHARE, LOST)]
    assert feature_tables(found) == []
    section = attribution_section(found, dataset.symbols, [read])
    drawn = [picture for block in section.blocks for picture in getattr(block, "pictures", [])]
    assert [re.findall(r">((?:SRSF1|F2|RBFOX2|CD44)[^<]*)</text>", picture.svg) for picture in drawn] == [
        ["SRSF1", "F2", "RBFOX2", "CD44 T1", "RBFOX2 T2"],
        ["SRSF1", "F2", "RBFOX2", "CD44 T1", "RBFOX2 T2"],
    ]
    assert drawn[0].caption.startswith("deepsf: the share that a factor has") and "strongest colour is 2, – the factor" in drawn[0].caption
    assert all(">–</text>" in picture.svg for picture in drawn) and "strongest colour is 6" in drawn[1].caption


def test_only_the_largest_factors_are_drawn(tmp_path):
    share = np.tile(np.arange(30, dtype=np.float32), (3, 2, 1))
    one = FactorShares("deepsf", [f"SF{k}" for k in range(30)], ISOFORMS, np.zeros((2, 30), bool), True, share, None)
    (drawn,) = [picture for block in factor_blocks(one) for picture in getattr(block, "pictures", [])]
    assert re.findall(r">(SF\d+)</text>", drawn.svg) == [f"SF{k}" for k in range(29, 4, -1)]
    assert "Factors: 25 of 30, the largest mean size on the left." in drawn.caption


def test_without_a_dataset_and_without_knock_down_what_is_lacking_is_said(tmp_path):
    (one,) = read_factor_shares([write_shares(tmp_path / "a.h5", SAMPLES, SHARE)], None)
    assert one.factors == GENES and one.isoforms == ISOFORMS and one.lost is None
    blocks = factor_blocks(one)
    assert "genes are not known" in blocks[0].text and "Halving" not in blocks[1].text
    (table,) = [block for block in blocks if hasattr(block, "rows")]
    assert [cells(row) for row in table.rows] == [["T1", "F1", "2.7", "−1", "2 of 3"], ["T2", "F3", "9", "9", "3 of 3"]]


def test_families_without_factors_have_none(tmp_path):
    shares = write_shares(tmp_path / "a.h5", SAMPLES, SHARE)
    with h5py.File(shares.path, "r+") as file:
        file.move("shares/factors", "shares/landmarks")
    assert read_factor_shares([shares], None) == [] == [block for block in attribution_section([shares]).blocks if "factor" in str(block)]


@pytest.mark.parametrize("lacking", ["column", "names"])
def test_arrays_that_do_not_fit_are_named(tmp_path, lacking):
    shares = write_shares(tmp_path / "a.h5", SAMPLES, SHARE, LOST)
    with h5py.File(shares.path, "r+") as file:
        del (file["shares/factors"].attrs if lacking == "names" else file)[lacking]
    with pytest.raises(InputError, match="a.h5: its rows, columns and shares of factors are not of one size"):
        read_factor_shares([shares], None)


def test_planted_factors_are_first_in_the_table(tmp_path):
    """A network that is trained and explained by the scripts: of the isoforms that are acted on, most have their factor first."""
    truth = planted_dataset(tmp_path / "dataset.h5")
    dataset = Dataset(tmp_path / "dataset.h5")
    prepared = ["--prepared", tmp_path / "fold.prepared", "--dataset", dataset.path]
    run_script("prepare", "--family", "deepsf", "--preset", "factors", "--fold", 0, "--dataset", dataset.path, "--out", prepared[1])
    run_script("train", *prepared, "--history-out", tmp_path / "history.tsv", "--out", tmp_path / "a.pt")
    run_script("attribute", "--checkpoint", tmp_path / "a.pt", *prepared, "--out", tmp_path / "shares.h5")
    (one,) = read_factor_shares([read_shares(tmp_path / "shares.h5")], dataset)
    (table,) = [block for block in factor_blocks(one) if hasattr(block, "rows")]
    ids, symbols = dataset.text("transcripts/id"), dataset.text("genes/symbol")
    acting = {ids[transcript]: symbols[factor] for transcript, factor in zip(truth.transcript, truth.factor, strict=True)}
    first = {row[0].split()[1]: cells(row) for row in table.rows}
    known = [isoform for isoform in first if isoform in acting]
    assert len(known) >= 5 and all(first[isoform][1] == acting[isoform] for isoform in known)
    effect = {ids[transcript]: value for transcript, value in zip(truth.transcript, truth.effect, strict=True)}
    assert all((effect[isoform] < 0) == first[isoform][5].startswith("−") for isoform in known), "halving tells the direction"
