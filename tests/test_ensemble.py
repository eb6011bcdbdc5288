"""The ensemble: weights that are right by hand, learned on validation cells alone; what cannot be averaged is named; scores and report take it."""

import gzip
from argparse import Namespace
from pathlib import Path
from time import sleep

import h5py
import numpy as np
import pytest

import check_trained
import report
from exprcast.cell_table import write_cells
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.ensemble import PENALTY, TRUST, Member, average, learn_weights, measure_errors
from exprcast.folds import combine_roles
from exprcast.tables import write_table
from tiny import run_script as run
from tiny import tiny_dataset

LEAKAGE = ("axis", "shared", "held_out", "promised", "folds", "members", "unknown", "names")


@pytest.fixture
def dataset(tmp_path):
    return Dataset(tiny_dataset(tmp_path / "dataset.h5", samples=16, genes=30))


def truth(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is observed, roles (folds, samples, genes) and training means (folds, 1, genes)."""
    observed = np.log2(1 + dataset.array("expression/gene"))
    role = np.stack([combine_roles(*both, dataset.hold_out) for both in zip(dataset.sample_role, dataset.gene_role, strict=True)])
    training = (role == TRAIN).any(axis=2)
    return observed, role, np.stack([observed[own].mean(axis=0, keepdims=True) for own in training])


def family_file(folder: Path, dataset: Dataset, family: str, noise: dict[str, float], seeds: int = 1, **more: object) -> Path:
    """Write what combine.py does: `noise` is the SD of the error of each baseline and of the model; `more` are attributes or arrays."""
    observed, role, mean = truth(dataset)
    arrays = {"observed": observed, "role": role, "training_mean": mean, "training_sd": np.ones_like(mean)}
    arrays |= {name: more.pop(name) for name in [*arrays] if name in more}
    rng = np.random.default_rng(ord(family[0]))
    hidden = lambda values: np.where(arrays["role"] == TRAIN, np.nan, values).astype(np.float32)  # noqa: E731
    path = folder / f"{family}.h5"
    facts = {"format": "exprcast-predictions", "format-version": 2, "family": family, "preset": "default", "methods": "A line."}
    status = more.pop("status", "trained")
    with h5py.File(path, "w") as file:
        file.attrs.update({**facts, "axes": "samples×genes", "unit": "log2(tpm + 1)", **more})
        for name, ids in (("rows", dataset.samples), ("columns", dataset.genes)):
            file.create_dataset(name, data=ids, dtype=h5py.string_dtype())
        file["folds"], file["seeds"] = np.arange(len(role)), np.arange(1, seeds + 1)
        file.create_dataset("status", data=[[status] * seeds] * len(role), dtype=h5py.string_dtype())
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=(*[1] * (values.ndim - 2), min(4, len(observed)), 30) if name == "role" else None)
        drawn = {name: observed + rng.normal(0, sd, (seeds if name == "model" else 1, *role.shape)) for name, sd in noise.items()}
        file["predicted"] = hidden(drawn["model"]).swapaxes(0, 1)
        file["baselines/mean"] = hidden(np.broadcast_to(mean, role.shape))
        for name in noise.keys() - {"model"}:
            file[f"baselines/{name}"] = hidden(drawn[name][0])
    return path


def make(folder: Path, dataset: Dataset, *files: Path) -> h5py.File:
    """Run ensemble.py and open what it wrote."""
    folder.mkdir(exist_ok=True)
    out = ["--table-out", folder / "ensemble.tsv.gz", "--out", folder / "ensemble.h5"]
    run("ensemble.py", "--predictions", *files, "--dataset", dataset.path, *out)
    return h5py.File(folder / "ensemble.h5")


def weights_of(file: h5py.File) -> dict[str, np.ndarray]:
    """Return {member: (folds,) weights}."""
    return dict(zip(file["members"].asstr()[:], file["weights"][:].T, strict=True))


def change(path: Path, name: str, where: tuple | np.ndarray, values: object) -> None:
    """Change part of an array of a file."""
    with h5py.File(path, "a") as file:
        array = file[name][:]
        array[where] = values
        file[name][...] = array


def test_weights_of_two_members_by_hand():
    """Independent errors of 1 and 2: w² (1 + penalty) + (1 − w)² (2 + penalty) is least where its slope is 0."""
    assert learn_weights(np.diag([1.0, 2.0])) == pytest.approx([(2 + PENALTY) / (3 + 2 * PENALTY), (1 + PENALTY) / (3 + 2 * PENALTY)])


def test_no_other_weights_are_better():
    rng = np.random.default_rng(0)
    grid = np.array([(i, j, 20 - i - j) for i in range(21) for j in range(21 - i)]) / 20
    for _ in range(20):
        error = rng.normal(size=(3, 5)) * rng.uniform(0.2, 3, (3, 1)) + rng.normal(size=5)
        products = error @ error.T / 5
        lost = lambda w, products=products: ((w @ products) * w).sum(-1) + PENALTY * products.diagonal().min() * (w * w).sum(-1)  # noqa: E731
        weights = learn_weights(products)
        assert (weights >= 0).all() and weights.sum() == pytest.approx(1)
        assert lost(weights) <= lost(grid).min() + 1e-12 and lost(grid).min() < lost(weights) * 1.1


def test_weights_do_not_depend_on_the_scale_or_the_order():
    error = np.random.default_rng(0).normal(size=(4, 9)) * [[1], [2], [3], [1.5]]
    products, order = error @ error.T, [2, 0, 3, 1]
    weights = learn_weights(products)
    assert learn_weights(1e6 * products) == pytest.approx(weights)
    assert learn_weights(products[order][:, order]) == pytest.approx(weights[order])


@pytest.mark.parametrize(
    "products, weights",
    [
        ([[1, 2], [2, 100]], [1, 0]),  # bad, and wrong where the good one is
        ([[0, 0], [0, 1]], [1, 0]),  # perfect
        ([[0, 0], [0, 0]], [0.5, 0.5]),
        ([[3, 3], [3, 3]], [0.5, 0.5]),  # the same prediction twice
    ],
)
def test_weights_at_the_edges(products, weights):
    assert learn_weights(np.array(products, dtype=float)) == pytest.approx(weights, abs=1e-6)


def test_groups_of_samples_count_alike_and_only_measured_validation_cells(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 1.0})
    observed, role, _ = truth(dataset)
    rows, genes = np.nonzero((role[0] == VALID).any(axis=1))[0], slice(None)
    assert len(rows) == 2
    change(path, "observed", (rows[0], slice(5)), np.nan)
    with h5py.File(path) as file:
        members = [Member("a", file, ""), Member("mean", file, "mean")]
        error = np.stack([file["predicted"][0, 0], file["baselines/mean"][0]]) - file["observed"][:]
        by_row = [np.nanmean(error[:, None, row, genes] * error[None, :, row, genes], axis=2) for row in rows]
        apart = measure_errors(members, np.arange(len(observed)))[0][0]
        assert apart == pytest.approx((by_row[0] + by_row[1]) / 2)
        together = measure_errors(members, np.zeros(len(observed), dtype=int))[0][0]
        assert together == pytest.approx((25 * by_row[0] + 30 * by_row[1]) / 55)


def test_the_prediction_is_the_weighted_mean_of_the_members(dataset, tmp_path):
    files = [
        family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 1.0}, seeds=2),
        family_file(tmp_path, dataset, "b", {"model": 0.7, "ridge": 9.0}),
    ]
    observed, role, mean = truth(dataset)
    with make(tmp_path / "out", dataset, *files) as made, h5py.File(files[0]) as a, h5py.File(files[1]) as b:
        weights = weights_of(made)
        assert list(weights) == ["a", "a.ridge", "b", "b.ridge", "mean"] == list(made["baselines"]), "the mean is the same: once"
        assert made["weights"][:].sum(axis=1) == pytest.approx(1)
        assert (weights["a"] > weights["b"]).all() and (weights["b.ridge"] < 0.02).all() and (weights["b"] > 0.05).all()
        parts = {"a": a["predicted"][:].mean(axis=1), "b": b["predicted"][:, 0], "a.ridge": a["baselines/ridge"][:]}
        for name, values in parts.items():
            assert made[f"baselines/{name}"][:] == pytest.approx(values, nan_ok=True), name
        expected = sum(weights[name][:, None, None] * made[f"baselines/{name}"][:] for name in weights)
        held_out = role != TRAIN
        assert made["predicted"].shape == (len(role), 1, *observed.shape)
        assert made["predicted"][:, 0][held_out] == pytest.approx(expected[held_out], abs=1e-5)
        assert np.isnan(made["predicted"][:, 0][~held_out]).all()
        error = lambda values: ((values - observed)[role == TEST] ** 2).mean()  # noqa: E731
        assert error(made["predicted"][:, 0]) < 0.9 * min(error(values) for values in parts.values())
        assert made["training_mean"][:] == pytest.approx(mean) and made["seeds"][:].tolist() == [1]
    head, first = gzip.open(tmp_path / "out/ensemble.tsv.gz", "rt").read().splitlines()[:2]
    assert head.split("\t") == ["row", "column", "fold", "observed", "model", *weights] and len(first.split("\t")) == 10


def test_names_of_members_of_one_family_are_bare(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 1.0})
    with make(tmp_path / "out", dataset, path) as made:
        assert list(weights_of(made)) == ["a", "mean", "ridge"]


def test_what_is_tested_changes_no_weight(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "ridge": 1.0}) for name in "ab"]
    role = truth(dataset)[1]
    with make(tmp_path / "before", dataset, *paths) as made:
        before, predicted = made["weights"][:], made["predicted"][:]
    for path in paths:
        change(path, "predicted", (role == TEST)[:, None], 100)
        change(path, "baselines/ridge", role == TEST, -3)
    with make(tmp_path / "after", dataset, *paths) as made:
        assert (made["weights"][:] == before).all() and not np.array_equal(made["predicted"][:], predicted, equal_nan=True)
    change(paths[0], "predicted", (role == VALID)[:, None], 100)
    with make(tmp_path / "valid", dataset, *paths) as made:
        assert (weights_of(made)["a"] < 0.01).all(), "validation does"


def test_observed_test_values_change_no_weight(dataset, tmp_path):
    """In the fold that tests them; in another fold they are training or validation values."""
    role = truth(dataset)[1]
    tested = (role[0] == TEST).any(axis=1)
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "ridge": 1.0}) for name in "ab"]
    with make(tmp_path / "before", dataset, *paths) as made:
        before = made["weights"][:]
    for path in paths:
        change(path, "observed", tested, 55)
    with make(tmp_path / "after", dataset, *paths) as made:
        assert (made["weights"][0] == before[0]).all() and (made["weights"][1:] != before[1:]).any()


def test_the_order_of_files_changes_no_byte(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "ridge": 1.0}) for name in "abc"]
    for name, order in (("one", paths), ("two", paths[::-1])):
        make(tmp_path / name, dataset, *order).close()
        sleep(1.1)  # nor does the time
    for name in ("ensemble.h5", "ensemble.tsv.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_member_without_a_prediction_is_left_out_and_named(dataset, tmp_path, caplog):
    caplog.set_level("INFO")
    path = family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 0.1, "rule": 1.0})
    row = np.flatnonzero((truth(dataset)[1][0] == TEST).any(axis=1))[0]
    change(path, "baselines/ridge", (0, row, slice(3)), np.nan)
    with make(tmp_path / "out", dataset, path) as made:
        assert list(weights_of(made)) == ["a", "mean", "rule"] == list(made["baselines"])
        assert "Left out: ridge (no prediction of 3 measured values)." in made.attrs["methods"]
        assert np.isfinite(made["predicted"][0, 0, row]).all()
    assert [line for line in caplog.messages if "left out" in line] == ["ridge is left out: no prediction of 3 measured values"]


def test_missing_values_leave_nobody_out(dataset, tmp_path):
    """Not what was not measured, and not what no member predicts."""
    path = family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 1.0})
    row = np.flatnonzero((truth(dataset)[1][0] == TEST).any(axis=1))[0]
    change(path, "observed", (row, 0), np.nan)
    change(path, "baselines/ridge", (0, row, 0), np.nan)
    for name in ("baselines/ridge", "baselines/mean"):
        change(path, name, (0, row, 1), np.nan)
    change(path, "predicted", (0, 0, row, 1), np.nan)
    with make(tmp_path / "out", dataset, path) as made:
        assert list(weights_of(made)) == ["a", "mean", "ridge"]
        assert np.isnan(made["predicted"][0, 0, row, :2]).all() and np.isfinite(made["predicted"][0, 0, row, 2:]).all()


def test_a_member_of_weight_0_takes_nothing_away(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 0.5})
    change(path, "baselines/mean", slice(None), np.nan)
    with h5py.File(path) as file:
        members, rows = [Member("a", file, ""), Member("mean", file, "mean")], slice(0, 16)
        values = average(members, np.array([1.0, 0.0]), 0, rows)
        assert np.array_equal(values, members[0].read(0, rows), equal_nan=True) and np.isfinite(values).any()


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"unit": "tpm"}, "other unit than a"),
        ({"role": None}, "other roles than a"),
        ({"observed": None}, "other observed values than a"),
        ({"rows": None}, "other rows than a"),
    ],
)
def test_families_that_predict_something_else_are_left_out_and_named(dataset, tmp_path, caplog, more, reason):
    observed, role, _ = truth(dataset)
    caplog.set_level("INFO")
    more = more | {name: {"role": role[::-1], "observed": observed + 1}[name] for name in more.keys() & {"role", "observed"}}
    renamed = more.pop("rows", 0) is None
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5}) for name in "ab"] + [
        family_file(tmp_path, dataset, "c", {"model": 0.1}, **more)
    ]
    if renamed:
        change(paths[2], "rows", 0, "another")
    with make(tmp_path / "out", dataset, *paths) as made:
        assert list(weights_of(made)) == ["a", "b", "mean"]
        assert f"Left out: c ({reason})." in made.attrs["methods"]
    assert f"c is left out: {reason}" in caplog.messages


def test_fewer_than_two_members_are_no_ensemble(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 0.5})
    change(path, "baselines/mean", slice(None), np.nan)
    with pytest.raises(InputError, match="an ensemble takes two members that predict every cell, here is one of 2: add --families, or"):
        make(tmp_path / "out", dataset, path)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_validation_there_are_no_weights(dataset, tmp_path):
    role = truth(dataset)[1]
    role[1][role[1] == VALID] = TRAIN
    with pytest.raises(InputError, match="fold 1 has no measured validation value, which the ensemble's weights are learned on"):
        make(tmp_path / "out", dataset, family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 1.0}, role=role))


def test_no_table_of_too_many_rows(dataset, tmp_path, caplog):
    caplog.set_level("INFO")
    with h5py.File(family_file(tmp_path, dataset, "a", {"model": 0.5})) as file:
        cells = int((file["role"][:] == TEST).sum())
        write_cells(tmp_path / "cells.tsv", file, cells - 1)
        assert not (tmp_path / "cells.tsv").exists() and "no table of more than" in caplog.text
        write_cells(tmp_path / "cells.tsv", file, cells)
    assert len((tmp_path / "cells.tsv").read_text().splitlines()) == cells + 1


@pytest.mark.parametrize("hold_out", ["samples", "genes", "both"])
def test_scores_and_report_take_it_like_a_family(hold_out, tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5", samples=16, genes=30, hold_out=hold_out))
    paths = [
        family_file(tmp_path, dataset, "a", {"model": 0.6, "ridge": 1.0}, status="collapsed"),
        family_file(tmp_path, dataset, "b", {"model": 0.6, "ridge": 2.0}),
    ]
    make(tmp_path, dataset, *paths).close()
    paths.append(tmp_path / "ensemble.h5")
    data = ["--dataset", dataset.path]
    tables = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", tmp_path / f"{kind}.tsv")]
    run("evaluate.py", "--predictions", *paths, *data, *tables, "--out", tmp_path / "scores.tsv")
    gains = [line.split("\t") for line in (tmp_path / "scores.tsv").read_text().splitlines() if line.startswith("ensemble\tmodel\t")]
    gains = {row[2]: float(row[6]) for row in gains if row[3:5] == ["mse", "pooled"] and row[2]}
    assert gains.keys() == {"a", "a.ridge", "b", "b.ridge", "mean"} and min(gains.values()) > 0
    axes = {"samples", "genes"} if hold_out == "both" else {hold_out}
    write_table(tmp_path / "leakage.tsv", LEAKAGE, [(axis, "chrom", int(axis in axes), 1, 0, 0, 0, "") for axis in ("samples", "genes")])
    (tmp_path / "parameters.json").write_text("{}")
    given = [word for name in ("scores", "samples", "genes", "leakage") for word in (f"--{name}", tmp_path / f"{name}.tsv")]
    options = [*given, "--predictions", *paths, *data, "--parameters", tmp_path / "parameters.json", "--out", tmp_path / "report.html"]
    parsed = report.parse_args().parse_args(list(map(str, options)))
    parsed.code = ""
    report.report(parsed)
    page = (tmp_path / "report.html").read_text()
    for said in (
        "What the ensemble is made of",
        '<h2 id="ensemble"',
        "Networks of a collapsed; their predictions were weighted like any other.",
        "The ensemble predicts log2(tpm + 1), too. It is the weighted mean of 5 predictions: a, a.ridge, b, b.ridge, mean.",
        "best member",
        "a:default, b:default, ensemble on 16",
    ):
        assert said in page, said
    assert "every simple rule" in page and page.count("COLLAPSED") == 1
    with pytest.raises(InputError, match="COLLAPSED: .* of .* networks .*a fold 0 seed 1"):
        check_trained.check_trained(Namespace(predictions=paths, out=tmp_path / "trained.txt"))


def test_a_prior_is_where_weights_start_from():
    """With errors of 1 that do not go together, |w|² + TRUST |w − prior|² of sum 1 has its least by pencil."""
    products, prior = np.eye(3), np.array([1.0, 0.0, 0.0])
    expected = (np.full(3, 1 / 3) * 1 + TRUST * prior) / (1 + TRUST)
    assert learn_weights(products, prior) == pytest.approx(expected, abs=1e-6)
    assert learn_weights(np.diag([50.0, 1.0, 1.0]), prior)[0] < expected[0]
