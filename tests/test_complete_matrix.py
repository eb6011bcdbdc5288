"""Landmark profiles are completed by the mean of a bundle's networks, in blocks, into a GCTX that is read again; what does not fit is one line."""

import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

import test_apply
from exprcast.bundle import Bundle
from exprcast.calibration import half_widths, of_bundle
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import extract_arrays, load_family
from exprcast.matrices import open_matrix
from exprcast.tables import write_table
from exprcast.training import make_fabric, predict
from test_apply import make_bundle
from test_export_applied import write_applied
from tiny import load_script, run_script, tiny_dataset

LANDMARK = np.arange(30) % 2 == 0  # of tiny_dataset's genes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Train dgex on a tiny dataset: four folds, two seeds, fitted again."""
    folder = tmp_path_factory.mktemp("dgex")
    (folder / "models").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_apply, "SMALL", {"epochs": 2, "hidden": [8], "components": 0})
        patch.setattr(test_apply, "tiny_dataset", partial(tiny_dataset, change=vary_together))
        return make_bundle(folder, "dgex", "samples", "--refit", seeds=2)


def vary_together(values: np.ndarray, _signal: np.ndarray, _halflife: np.ndarray) -> None:
    """Let all genes of a sample be high or low together, so that landmarks tell something of the others."""
    values *= np.exp2(np.random.default_rng(2).normal(size=len(values)))[:, None]


def profiles(bundle: Path, path: Path, change: object = None, columns: np.ndarray | None = None) -> np.ndarray:
    """Write the landmarks of all training samples as a GCTX whose rows are in another order, under names as L1000's; return them."""
    training = Dataset(bundle / "training.h5")
    columns = np.flatnonzero(LANDMARK)[::-1] if columns is None else columns
    values = training.array("expression/gene")[:, columns]
    values = change(values) if change else values
    with h5py.File(path, "w") as file:
        file.attrs["version"] = "GCTX1.0"
        file["0/META/COL/id"] = np.array([f"CPC004_A375:{name}" for name in training.samples], "S")
        file["0/META/COL/cell_id"] = np.array(["A375"] * len(training.samples), "S")
        file["0/META/ROW/id"] = np.array([training.genes[gene] for gene in columns], "S")
        file["0/DATA/0/matrix"] = values
    return values


def complete(bundle: Path, matrix: Path, out: Path, *more: object) -> Path:
    """Run the script."""
    run_script("complete_matrix", "--bundle", bundle, "--matrix", matrix, "--features", "rows", *more, "--out", out)
    return out


def by_hand(bundle: Path) -> np.ndarray:
    """Return (samples, targets): the mean over folds and seeds of what the networks that predict tests make of the training dataset."""
    family, training, found = load_family("dgex"), Dataset(bundle / "training.h5"), []
    for path in sorted(bundle.glob("*.pt")):
        content = load_checkpoint(path)
        config, state = family.Config(**content["config"]), content["state"]
        examples = family.examples(training, config, state, extract_arrays(family, training, config, state))
        model = family.Model(config, content["sizes"])
        model.load_state_dict(content["weights"])
        found.append(predict(model, examples, np.arange(len(training.samples)), 0, make_fabric("cpu", "32-true")).numpy())
    assert len(found) == 8
    return np.maximum(np.mean(found, axis=0), 0)


def test_a_completed_matrix_holds_landmarks_as_given_and_targets_as_the_networks_predict(bundle, tmp_path):
    given = profiles(bundle, tmp_path / "landmarks.gctx")
    out = complete(bundle, tmp_path / "landmarks.gctx", tmp_path / "completed.gctx")
    training = Dataset(bundle / "training.h5")
    with h5py.File(out) as file:
        assert file.attrs["version"] == "GCTX1.0" and file["0/DATA/0/matrix"].dtype == np.float32
        rows = {name: array[:] for name, array in file["0/META/ROW"].items()}
        values = file["0/DATA/0/matrix"][:]
    assert [name.decode() for name in rows["id"]] == training.genes
    assert rows["list"].tolist() == [b"landmark" if one else b"target" for one in LANDMARK]
    assert set(rows["unit"]) == {b"log2(tpm + 1)"} and rows["symbol"][0] == b"g0"
    assert values[:, LANDMARK] == pytest.approx(np.log2(given[:, ::-1] + 1), rel=1e-6)
    assert values[:, ~LANDMARK] == pytest.approx(by_hand(bundle), rel=1e-4, abs=1e-5)
    assert rows["interval_90"][~LANDMARK] == pytest.approx(half_widths(of_bundle(Bundle(bundle))))
    assert (rows["interval_90"][~LANDMARK] > 0).all() and np.isnan(rows["interval_90"][LANDMARK]).all()
    again = open_matrix(out, tmp_path, features="rows")
    assert again.samples[0] == "CPC004_A375:S0" and again.sample_facts == {"cell_id": ["A375"] * len(training.samples)}
    assert np.array_equal(np.concatenate(list(again.read())), values)


def test_blocks_and_company_change_nothing_and_bytes_repeat(bundle, tmp_path, monkeypatch):
    profiles(bundle, tmp_path / "all.gctx")
    whole = complete(bundle, tmp_path / "all.gctx", tmp_path / "whole.gctx")
    assert complete(bundle, tmp_path / "all.gctx", tmp_path / "again.gctx").read_bytes() == whole.read_bytes()
    load = load_script
    monkeypatch.setattr("tiny.load_script", lambda name: (script := load(name), setattr(script, "SAMPLES_AT_ONCE", 5))[0])
    blocks = complete(bundle, tmp_path / "all.gctx", tmp_path / "blocks.gctx")
    with h5py.File(whole) as one, h5py.File(blocks) as other:
        assert one["0/DATA/0/matrix"][:] == pytest.approx(other["0/DATA/0/matrix"][:], rel=1e-6)


def predicted(bundle: Path, path: Path, half: float) -> Path:
    """Write what --apply of another family leaves behind: the bundle's genes for six samples, all intervals of one half-width."""
    write_applied(path, samples=6, genes=30)
    with h5py.File(path, "r+") as file:
        file["columns"][...] = Dataset(bundle / "training.h5").genes
        for name, sign in (("low", -1), ("high", 1)):
            file[name][...] = file["predicted"][0, 0] + sign * half
    return path


def test_the_uncertainty_of_predicted_landmarks_goes_into_the_intervals(bundle, tmp_path):
    found = {}
    for half in (0.0, 0.2, 0.4):
        out = complete(bundle, predicted(bundle, tmp_path / "atac.h5", half), tmp_path / f"{half}.gctx")
        with h5py.File(out) as file:
            values, own, found[half] = file["0/DATA/0/matrix"][:], file["0/META/ROW/interval_90"][:], file["half_width"][:]
    with h5py.File(tmp_path / "atac.h5") as file:
        assert values[:, LANDMARK] == pytest.approx(file["predicted"][0, 0][:, LANDMARK], abs=1e-5)
    assert found[0.0][:, ~LANDMARK] == pytest.approx(np.tile(own[~LANDMARK], (6, 1)), rel=1e-6), "certain landmarks add nothing"
    assert found[0.4][:, LANDMARK] == pytest.approx(0.4, abs=1e-3)
    added = {half: np.sqrt(np.mean(widths[:, ~LANDMARK] ** 2 - own[~LANDMARK] ** 2)) for half, widths in found.items()}
    assert added[0.2] > 0.01 and added[0.4] == pytest.approx(2 * added[0.2], rel=0.2), "as the network is nearly linear in them"


def test_predictions_that_cannot_be_landmarks_are_refused(bundle, tmp_path):
    path, out = predicted(bundle, tmp_path / "atac.h5", 0.1), tmp_path / "out.gctx"
    with pytest.raises(InputError, match="atac.h5 holds predictions of tpm: give it alone and without --unit"):
        complete(bundle, path, out, "--unit", "rpkm")
    with h5py.File(path, "r+") as file:
        file.attrs["unit"] = "log10_rpkm"
    with pytest.raises(InputError, match=r"atac.h5 holds log10_rpkm; landmarks can be predictions of log2\(unit \+ 1\)"):
        complete(bundle, path, out)
    assert not out.exists()


def test_missing_landmarks_count_as_the_training_mean_and_stay_missing(bundle, tmp_path, caplog):
    def poor(values):
        values[3, :10] = np.nan
        return values

    few = np.flatnonzero(LANDMARK)[:8]  # of 15
    given = profiles(bundle, tmp_path / "few.gctx", columns=few)
    profiles(bundle, tmp_path / "gaps.gctx", poor)
    with caplog.at_level("INFO"):
        out = complete(bundle, tmp_path / "few.gctx", tmp_path / "completed.gctx")
        complete(bundle, tmp_path / "gaps.gctx", tmp_path / "gaps.out.gctx")
    assert "kept 8 of 15 landmarks (found by gene id)" in caplog.text
    assert "7 landmarks not in few.gctx; left out: g16, g18, g20, g22, g24, g26 and 1 more" in caplog.text
    assert "1 samples have fewer than half of the landmarks" in caplog.text
    with h5py.File(out) as file:
        values = file["0/DATA/0/matrix"][:]
    assert values[:, few] == pytest.approx(np.log2(given + 1), rel=1e-6)
    assert np.isnan(values[:, np.flatnonzero(LANDMARK)[8:]]).all() and np.isfinite(values[:, ~LANDMARK]).all()


def test_probe_sets_are_found_by_the_list_that_was_trained_with(bundle, tmp_path):
    profiles(bundle, tmp_path / "genes.gctx")
    training = Dataset(bundle / "training.h5")
    genes = [training.genes[gene] for gene in np.flatnonzero(LANDMARK)]
    write_table(tmp_path / "list.tsv", ["gene_id", "probes"], [(gene, f"{gene}_at,{gene}_s_at") for gene in genes])
    with h5py.File(tmp_path / "genes.gctx", "r+") as file:
        values, ids = file["0/DATA/0/matrix"][:], file["0/META/ROW/id"][:]
        del file["0/DATA/0/matrix"], file["0/META/ROW/id"]
        file["0/DATA/0/matrix"] = np.concatenate([values * 0.5, values * 1.5], axis=1)
        file["0/META/ROW/id"] = [name + end for end in (b"_at", b"_s_at") for name in ids]
    out = complete(bundle, tmp_path / "genes.gctx", tmp_path / "completed.gctx", "--landmarks", tmp_path / "list.tsv")
    with h5py.File(out) as file:
        assert file["0/DATA/0/matrix"][:, 0] == pytest.approx(np.log2(values[:, -1] + 1), rel=1e-5)
    with pytest.raises(
        InputError, match=r"genes.gctx: 0 of 15 landmarks are in it: the list has G0.*, the file G.*_at.*; are these the same kind"
    ):
        complete(bundle, tmp_path / "genes.gctx", tmp_path / "none.gctx")
    assert not (tmp_path / "none.gctx").exists() and not list(tmp_path.glob(".*"))


def infinite(values):
    values[2, 3] = np.inf
    return values


def negative(values):
    values[2, 3] = -1
    return values


@pytest.mark.parametrize(
    "change, columns, more, message",
    [
        (None, np.arange(0, 14, 2), (), r"x.gctx: 7 of 15 landmarks are in it"),
        (infinite, None, (), r"x.gctx: sample CPC004_A375:S2, feature G22: inf is infinite"),
        (negative, None, (), r"x.gctx: sample CPC004_A375:S2, feature G22: -1 cannot be a value"),
        (lambda values: values[:, :-1].T, None, (), r"x.gctx: the matrix is 14 × 12, its ids are those of 12 columns and 15 rows"),
    ],
)
def test_matrices_that_cannot_be_completed_are_one_line(bundle, tmp_path, change, columns, more, message):
    profiles(bundle, tmp_path / "x.gctx", change, columns)
    with pytest.raises(InputError, match=message):
        complete(bundle, tmp_path / "x.gctx", tmp_path / "out.gctx", *more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.gctx"]


def test_another_unit_is_mapped_by_rank_or_refused_with_both_sides(bundle, tmp_path, monkeypatch, caplog):
    profiles(bundle, tmp_path / "x.gctx", lambda values: values * 2)
    out = complete(bundle, tmp_path / "x.gctx", tmp_path / "out.gctx", "--unit", "rpkm")
    assert "was trained on tpm, --unit says rpkm: each sample is put on the scale of training samples by rank" in caplog.text
    with h5py.File(out) as file:
        assert dict(zip(file["0/META/ROW/list"][:], file["0/META/ROW/unit"][:], strict=True)) == {
            b"landmark": b"log2(rpkm + 1)", b"target": b"log2(tpm + 1)",
        }  # fmt: skip
    monkeypatch.setattr(test_apply, "SMALL", {"epochs": 1, "hidden": [4], "components": 0, "quantile": "none"})
    (tmp_path / "models").mkdir()
    plain = make_bundle(tmp_path, "dgex", "samples")
    with pytest.raises(InputError, match="bundle dgex was trained on tpm, --unit says rpkm; give a matrix in tpm, or train with"):
        complete(plain, tmp_path / "x.gctx", tmp_path / "none.gctx", "--unit", "rpkm")


def test_bundles_that_cannot_complete_are_one_line(bundle, tmp_path, monkeypatch):
    profiles(bundle, tmp_path / "x.gctx")
    monkeypatch.setattr(test_apply, "SMALL", {"epochs": 1})
    (tmp_path / "models").mkdir()
    other = make_bundle(tmp_path, "atac_bins", "samples")
    with pytest.raises(InputError, match="bundle atac_bins: atac_bins reads no landmark genes; a matrix is completed by a family"):
        complete(other, tmp_path / "x.gctx", tmp_path / "out.gctx")
    with monkeypatch.context() as patch:
        patch.setattr(load_family("dgex"), "REFERENCES", True, raising=False)
        with pytest.raises(InputError, match="bundle dgex: dgex compares samples with others; a matrix is completed by a family"):
            complete(bundle, tmp_path / "x.gctx", tmp_path / "out.gctx")
    summary = other / "bundle.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"genes": 1}))
    with pytest.raises(InputError, match="bundle.json is damaged"):
        complete(other, tmp_path / "x.gctx", tmp_path / "out.gctx")
