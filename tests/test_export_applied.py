"""Exports of predictions for new samples: every value arrives in AnnData, Parquet and text, the same bytes each time."""

import gzip
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from exprcast import applied
from exprcast.applied import Applied
from exprcast.cli import InputError
from exprcast.dataset import TEST
from exprcast.tables import read_table
from tiny import run_script

TEXT = h5py.string_dtype()
RULES = ("mean", "nearest", "ridge", "rule")


def write_applied(
    path: Path,
    samples: int = 5,
    genes: int = 40,
    family: str = "toy",
    measured: int = 0,
    calibrated: bool = True,
    outside: int = 1,
    rows_at_once: int = 2,
    groups: int = 4,
    error: float = 0.5,
) -> Path:
    """Write what applying a bundle leaves behind: RNA of the first `measured` samples, the last `outside` ones far from training.

    Sample i lies at a distance of 0.1 to 0.3, or 0.5 and more outside; held-out training samples reach 0.4. The first gene is predicted
    4 above its training mean in the first sample, the second 4 below; `error` is the SD of what is measured around what is predicted.
    """
    rng = np.random.default_rng(samples + genes)
    mean = rng.gamma(2, 1.5, genes).astype(np.float32) + 4
    predicted = (mean + rng.normal(0, 0.3, (samples, genes))).astype(np.float32)
    predicted[0, :2] = mean[:2] + [4, -4]
    observed = np.where(np.arange(samples)[:, None] < measured, predicted + rng.normal(0, error, predicted.shape), np.nan)
    half = np.where(calibrated, 0.5 + rng.random((samples, genes)), np.nan)
    far = np.arange(samples) >= samples - outside
    shape, chunks = predicted.shape, (min(rows_at_once, samples), genes)
    with h5py.File(path, "w") as file:
        file.attrs.update({
            "format": "exprcast-predictions", "format-version": 2, "family": family, "preset": "default", "axes": "samples×genes",
            "unit": "log2(tpm + 1)", "methods": "One linear layer.", "confidence": 0.9, "bundle": f"{family}, made of 10 samples",
        })  # fmt: skip
        for key, words in {
            "rows": [f"S{i}" for i in range(samples)],
            "columns": [f"ENSG{i:011d}" for i in range(genes)],
            "genes/symbol": [f"GENE{i}" if i else "" for i in range(genes)],
            "genes/chrom": [f"chr{1 + i % 3}" for i in range(genes)],
            "genes/strand": ["+-"[i % 2] for i in range(genes)],
            "samples/nearest": [f"T{i % 3}" for i in range(samples)],
        }.items():
            file.create_dataset(key, data=words, dtype=TEXT)
        file["folds"], file["seeds"] = [0], [1]
        file.create_dataset("status", data=[["trained"]], dtype=TEXT)
        file["samples/distance"] = np.linspace(0.1, 0.3, samples) + np.where(far, 0.4, 0)
        file["samples/outside"] = far
        file["training_mean"] = mean[None, None]
        file["training_sd"] = np.ones_like(mean)[None, None]
        for key, values in {"observed": observed, "low": predicted - half, "high": predicted + half}.items():
            file.create_dataset(key, data=values.astype(np.float32), chunks=chunks, compression="gzip")
        file.create_dataset("role", data=np.full((1, *shape), TEST, dtype=np.uint8), chunks=(1, *chunks))
        file.create_dataset("predicted", data=predicted[None, None], chunks=(1, 1, *chunks), compression="gzip")
        for name in RULES:
            file.create_dataset(f"baselines/{name}", data=np.broadcast_to(mean, shape)[None], chunks=(1, *chunks))
        if calibrated:
            count = 3 * groups
            file.create_dataset("calibration/sample", data=[f"T{i}" for i in range(count)], dtype=TEXT)
            file.create_dataset("calibration/group", data=[f"donor{i // 3}" for i in range(count)], dtype=TEXT)
            file["calibration/distance"] = np.linspace(0.05, 0.4, count)
            file["calibration/coverage"] = np.linspace(0.8, 0.98, count)
    return path


def export(folder: Path, path: Path, *more: object) -> dict[str, Path]:
    """Export a file; return where each form of it is."""
    folder.mkdir(exist_ok=True)
    out = {name: folder / f"toy.{name}" for name in ("tsv.gz", "parquet", "h5ad")}
    paths = ("--table-out", out["tsv.gz"], "--parquet-out", out["parquet"], "--out", out["h5ad"])
    run_script("export_applied", "--applied", path, *paths, *more)
    return out


@pytest.fixture
def measured(tmp_path) -> tuple[h5py.File, dict[str, Path]]:
    """Return a file with RNA of two of five samples, and what was exported of it."""
    path = write_applied(tmp_path / "toy.h5", measured=2)
    with h5py.File(path) as file:
        yield file, export(tmp_path / "out", path)


@pytest.mark.parametrize("backed", [None, "r"])
def test_anndata_reads_back_every_value(measured, backed):
    file, out = measured
    found = anndata.read_h5ad(out["h5ad"], backed=backed)
    assert found.shape == (5, 40) and list(found.layers) == ["high", "low", "observed"]
    assert found.X[:].dtype == np.float32 and np.array_equal(found.X[:], file["predicted"][0, 0])
    for name in ("low", "high", "observed"):
        assert np.array_equal(found.layers[name][:], file[name][:], equal_nan=True)
    assert list(found.obs_names) == ["S0", "S1", "S2", "S3", "S4"] and list(found.var_names) == file["columns"].asstr()[:].tolist()
    assert list(found.obs["nearest"]) == ["T0", "T1", "T2", "T0", "T1"] and found.obs["outside"].tolist() == [False] * 4 + [True]
    assert np.array_equal(found.obs["distance"], file["samples/distance"][:]) and found.obs["outside"].dtype == bool
    for name in ("symbol", "chrom", "strand"):
        assert list(found.var[name]) == file[f"genes/{name}"].asstr()[:].tolist()
    assert dict(found.uns) == {"family": "toy", "unit": "log2(tpm + 1)", "confidence": 0.9, "bundle": "toy, made of 10 samples"}


def test_parquet_holds_a_row_a_sample_and_gene_and_null_where_nothing_was_measured(measured):
    file, out = measured
    table = pq.read_table(out["parquet"])
    assert table.column_names == ["sample", "gene", "symbol", "predicted", "low", "high", "observed"]
    assert table["observed"].null_count == 3 * 40 and table["predicted"].null_count == 0
    assert table["sample"].to_pylist() == [f"S{i}" for i in range(5) for _ in range(40)]
    assert table["gene"].to_pylist() == file["columns"].asstr()[:].tolist() * 5
    assert table["symbol"].to_pylist() == file["genes/symbol"].asstr()[:].tolist() * 5
    for name in ("predicted", "low", "high", "observed"):
        values = file["predicted"][0, 0] if name == "predicted" else file[name][:]
        assert np.array_equal(table[name].to_numpy(), values.ravel(), equal_nan=True)


def test_parquet_says_what_it_holds_and_has_a_group_of_rows_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(applied, "CELLS", 2 * 40)
    out = export(tmp_path / "out", write_applied(tmp_path / "toy.h5"))
    found = pq.ParquetFile(out["parquet"])
    facts = {key: found.schema_arrow.metadata[key] for key in (b"family", b"unit", b"confidence")}
    assert facts == {b"family": b"toy", b"unit": b"log2(tpm + 1)", b"confidence": b"0.9"}
    assert found.num_row_groups == 3 and found.metadata.row_group(0).num_rows == 80
    assert found.metadata.row_group(0).column(3).compression == "ZSTD"


def test_pandas_reads_parquet_as_the_table_of_text(measured):
    _, out = measured
    packed, text = pd.read_parquet(out["parquet"]), pd.read_csv(out["tsv.gz"], sep="\t", keep_default_na=False, na_values=["NA"])
    assert list(text.columns) == list(packed.columns) and len(text) == 200
    for name in ("sample", "gene", "symbol"):
        assert (text[name] == packed[name].astype(str)).all()
    for name in ("predicted", "low", "high", "observed"):
        assert np.array_equal(text[name].astype(np.float32), packed[name], equal_nan=True)


def test_without_rna_nothing_is_called_observed(tmp_path):
    out = export(tmp_path / "out", write_applied(tmp_path / "toy.h5"))
    assert "observed" not in pq.read_schema(out["parquet"]).names
    assert list(anndata.read_h5ad(out["h5ad"]).layers) == ["high", "low"]
    assert "observed" not in gzip.open(out["tsv.gz"], "rt").readline()


def test_without_calibration_intervals_are_missing_and_not_zero(tmp_path):
    out = export(tmp_path / "out", write_applied(tmp_path / "toy.h5", calibrated=False))
    assert np.isnan(anndata.read_h5ad(out["h5ad"]).layers["low"]).all()
    assert pq.read_table(out["parquet"])["high"].null_count == 200
    assert next(read_table(out["tsv.gz"], ["low"]))[1]["low"] == "NA"


def test_a_table_of_too_many_rows_is_passed_over(tmp_path, caplog):
    caplog.set_level("INFO")
    out = export(tmp_path / "out", write_applied(tmp_path / "toy.h5"), "--table-rows", 199)
    assert not out["tsv.gz"].exists() and out["parquet"].exists() and out["h5ad"].exists()
    assert "it would have 200 rows, more than 199" in caplog.text
    assert export(tmp_path / "again", tmp_path / "toy.h5", "--table-rows", 200)["tsv.gz"].exists()


def test_the_same_bytes_each_time(tmp_path):
    path = write_applied(tmp_path / "toy.h5", measured=2)
    first, second = export(tmp_path / "first", path), export(tmp_path / "second", path)
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name


@pytest.mark.parametrize("cells, first", [(1, 2), (2 * 40, 2), (5 * 40, 4), (2**18, 7)])
def test_blocks_are_as_large_as_memory_allows_and_cut_no_chunk(tmp_path, monkeypatch, cells, first):
    monkeypatch.setattr(applied, "CELLS", cells)
    parts = Applied(write_applied(tmp_path / "toy.h5", samples=7)).parts()
    assert parts[0] == slice(0, first) and [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]] and parts[-1].stop == 7


def remove_low(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["low"]


def cut_a_gene(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["genes/symbol"]
        file.create_dataset("genes/symbol", data=["a"], dtype=TEXT)


def call_it_a_dataset(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "exprcast-dataset"


def end_too_early(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2_000])


def damage_values(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["predicted"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 20] = b"\xff" * 20
    path.write_bytes(content)


def write_text(path: Path) -> None:
    path.write_text("sample\tgene\n")


@pytest.mark.parametrize(
    "harm, words",
    [
        (remove_low, "toy.h5: not what applying a bundle leaves behind (without low)"),
        (cut_a_gene, "genes/symbol is (1,), ids ask for (40,)"),
        (call_it_a_dataset, "toy.h5: not a file of predictions"),
        (end_too_early, "toy.h5: cannot be opened as predictions: it is cut short"),
        (damage_values, "toy.h5: predicted cannot be read from S2 on; apply the bundle again"),
        (write_text, "toy.h5: cannot be opened as predictions: it is no HDF5 file"),
        (Path.unlink, "toy.h5: no such file"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, harm, words):
    monkeypatch.setattr(applied, "CELLS", 2 * 40)  # so that Parquet is begun before the damage is met
    harm(write_applied(tmp_path / "toy.h5"))
    with pytest.raises(InputError) as caught:
        export(tmp_path / "out", tmp_path / "toy.h5", "--table-rows", 0)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_combined_predictions_of_a_training_run_are_refused(tmp_path):
    path = write_applied(tmp_path / "toy.h5")
    shutil.copy(path, tmp_path / "combined.h5")
    with h5py.File(tmp_path / "combined.h5", "r+") as file:
        del file.attrs["confidence"], file["samples"]
    with pytest.raises(InputError, match="not what applying a bundle leaves behind .without samples/nearest, .*confidence"):
        export(tmp_path / "out", tmp_path / "combined.h5")
