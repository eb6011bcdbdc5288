"""The gate before the models: what test and training share is written down, and a broken promise stops the run with one line."""

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, VALID
from exprcast.tables import read_table
from test_leakage import put
from tiny import run_script, tiny_dataset

OUTPUTS = ("folds.txt", "leakage.tsv", "nearest.tsv")


def check(folder):
    """Run the script beside the dataset and return its three outputs: texts and rows."""
    tables = ("--leakage-out", folder / "leakage.tsv", "--nearest-out", folder / "nearest.tsv")
    run_script("check_folds", "--dataset", folder / "dataset.h5", *tables, "--out", folder / "folds.txt")
    leakage, nearest = ([row for _, row in read_table(folder / name, [])] for name in OUTPUTS[1:])
    return (folder / "folds.txt").read_text(), leakage, nearest


def made(folder, *edits, **options):
    with h5py.File(tiny_dataset(folder / "dataset.h5", **options), "a") as file:
        for edit in edits:
            edit(file)
    return folder


def promise(*things):
    return lambda file: file["folds/sample_role"].attrs.update(promised=",".join(things))


def test_folds_and_both_tables_are_written(tmp_path):
    folds, leakage, nearest = check(made(tmp_path))
    assert folds == "0\n1\n2\n3\n"
    assert list(leakage[0]) == ["axis", "shared", "held_out", "promised", "folds", "members", "unknown", "names"]
    by_thing = {(row["axis"], row["shared"]): list(row.values())[2:] for row in leakage}
    assert by_thing["samples", "donor"] == by_thing["samples", "peaks"] == ["1", "1", "0", "0", "0", ""]
    assert by_thing["samples", "biosample"] == ["1", "0", "0", "0", "8", ""]
    assert by_thing["genes", "chrom"] == ["0", "0", "0", "0", "0", ""]
    assert list(nearest[0]) == ["axis", "fold", "id", "nearest", "similarity", "twin"]
    assert sorted(row["id"] for row in nearest) == [f"S{i}" for i in range(8)] and {row["axis"] for row in nearest} == {"samples"}


def test_what_is_not_promised_is_warned_of_and_written(tmp_path, caplog):
    _, leakage, _ = check(made(tmp_path, put("samples/biosample", ["liver"] * 8)))
    (row,) = [row for row in leakage if row["shared"] == "biosample"]
    assert (row["folds"], row["members"], row["names"]) == ("4", "8", "liver")
    assert "warning: test and training samples share a biosample in 4 of 4 folds: liver" in caplog.text


def same_peaks(file):
    signal = file["accessibility/signal"][:].reshape(8, -1)
    signal[5] = signal[0]
    file["accessibility/signal"][...] = signal.ravel()


def same_promoters(file):
    codes = np.random.default_rng(0).integers(0, 4, (12, 30)).astype(np.uint8)
    codes[1] = codes[0]  # chr2 and chr1
    del file["promoters/sequence"]
    file["promoters/sequence"] = codes
    file["promoters/sequence"].attrs.update(upstream_bp=10, downstream_bp=20)


@pytest.mark.parametrize(
    "hold_out, edits, message",
    [
        (
            "samples",
            [put("samples/donor", ["a", "a", "b", "b", "c", "c", "d", "a"])],
            "share a donor in 2 of 4 folds: a; keep each donor together in the fold table, or promise less with --group_by",
        ),
        (
            "samples",
            [put("samples/donor", ["a"] * 8), same_peaks, put("samples/biosample", ["b"] * 8)],
            r"samples share a donor in 4 of 4 folds: a \(and 1 more: peaks\); keep",
        ),
        ("samples", [same_peaks], "share exactly the same peaks in 2 of 4 folds: S0=S5; hold them out together .one replicate_group"),
        (
            "genes",
            [put("genes/chrom", ["chr1", "chr2", "chr3"] * 3 + ["chr1"] * 3)],
            "genes share a chromosome in . of 3 folds: chr1; keep each chrom",
        ),
        (
            "genes",
            [put("genes/paralog_group", ["P", "P", *[""] * 10]), promise("genes:paralog_group")],
            "share a paralog group in 2 of 3 folds: P; keep each group together in the fold table, or promise less with --gene_groups",
        ),
        (
            "genes",
            [same_promoters, promise("genes:promoter")],
            "share exactly the same promoter in 2 of 3 folds: G0=G1; keep them together",
        ),
    ],
)
def test_a_broken_promise_stops_the_run_by_name_and_leaves_nothing(tmp_path, hold_out, edits, message):
    made(tmp_path, *edits, hold_out=hold_out)
    with pytest.raises(InputError, match=f"^dataset.h5: test and training .*{message}") as error:
        check(tmp_path)
    assert "\n" not in str(error.value) and not any((tmp_path / name).exists() for name in OUTPUTS)


def test_a_twin_of_a_validation_sample_is_told_and_stops_nothing(tmp_path, caplog):
    def twin(file):
        values = np.log2(file["expression/gene"][:].astype(float) + 1)
        values[7] = values[0] + np.random.default_rng(0).normal(0, 0.1, 12)
        file["expression/gene"][...] = 2**values - 1
        file["folds/sample_role"][...] = np.array([[TEST, *[TRAIN] * 6, VALID]] * 4, np.uint8)

    _, leakage, nearest = check(made(tmp_path, twin, promise()))
    (row,) = [row for row in leakage if row["shared"] == "twin"]
    assert row["folds"] == "4" and row["members"] == "1" and row["names"].startswith("S0~S7 (r ")
    assert {(near["id"], near["nearest"], near["twin"]) for near in nearest} == {("S0", "S7", "1")}
    assert "samples share near-duplicates in 4 of 4 folds: S0~S7" in caplog.text
