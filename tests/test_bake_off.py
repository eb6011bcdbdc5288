"""The bake-off: a copy adds nothing, a better family wins, only cells that all test count, and the numbers are those of the scores."""

from pathlib import Path
from time import sleep

import h5py
import numpy as np
import pytest

import report
from exprcast.bake_off_section import bake_off_section, called, ranked
from exprcast.bake_off_table import COMMON, Compared, read_bake_off
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.ensemble import learn_weights
from exprcast.metrics import Estimate, pearson
from exprcast.page import number
from exprcast.results import read_predictions
from exprcast.score_tables import Leak, read_scores
from exprcast.tables import write_table
from test_ensemble import LEAKAGE, change, family_file, make, truth
from test_report import Reader
from tiny import run_script as run
from tiny import tiny_dataset

SCORED = {"r_gene_dev", "r_gene", "r_sample_median", "mse", "mae"}


@pytest.fixture
def dataset(tmp_path):
    return Dataset(tiny_dataset(tmp_path / "dataset.h5", samples=24, genes=30))


def compare(folder: Path, dataset: Dataset, *files: Path) -> tuple[Compared | None, dict[str, Compared]]:
    """Run bake_off.py and read what it wrote."""
    folder.mkdir(exist_ok=True)
    run("bake_off.py", "--predictions", *files, "--dataset", dataset.path, "--out", folder / "bake_off.tsv")
    return read_bake_off(folder / "bake_off.tsv")


def copy_as(path: Path, family: str, change_file: object = None) -> Path:
    """Copy predictions under another family's name; `change_file` may edit them."""
    other = path.with_name(f"{family}.h5")
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "a") as file:
        file.attrs["family"] = family
        if change_file:
            change_file(file)
    return other


def replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Replace an array by one of another shape."""
    del file[name]
    if values.dtype.kind == "U":
        file.create_dataset(name, data=values.tolist(), dtype=h5py.string_dtype())
    else:
        file[name] = values


def test_a_copy_gains_and_adds_nothing(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 0.5, "ridge": 1.0})
    common, left_out = compare(tmp_path / "out", dataset, path, copy_as(path, "b"))
    assert not left_out and common.predictors == ["a", "b", "ridge", "mean", "all"], "the same rule stands once"
    for kind, metrics in (("gain", ("r_gene_dev", "r_gene", "r_sample", "mse", "mae")), ("adds", ("r_gene_dev", "r_gene", "mse"))):
        for metric in metrics:
            assert tuple(common.number("a", metric, "b", kind))[:3] == (0, 0, 0), (kind, metric)
    assert common.number("a", "mse") == common.number("b", "mse")
    assert common.number("a", "mse", "ridge", "gain").low > 0


def test_a_better_family_gains_and_adds_more(dataset, tmp_path):
    good, bad = (family_file(tmp_path, dataset, name, {"model": noise, "ridge": 3.0}) for name, noise in (("a", 0.3), ("b", 1.2)))
    common, _ = compare(tmp_path / "out", dataset, good, bad)
    assert common.predictors == ["a", "b", "a.ridge", "b.ridge", "mean", "all"]
    for metric in ("r_gene_dev", "r_sample", "mse"):
        gain, loss = (common.number(*pair, "gain") for pair in (("a", metric, "b"), ("b", metric, "a")))
        assert 0 < gain.low < gain.value < gain.high, metric
        assert loss.value == pytest.approx(-gain.value) and loss.high < 0
    for metric in ("r_gene_dev", "mse"):
        assert common.number("a", metric, "b", "adds").low > 0
        assert common.number("b", metric, "a", "adds").value < common.number("a", metric, "b", "adds").value / 4
    assert common.number("mean", "r_gene_dev").value != common.number("mean", "r_gene_dev").value, "NA"
    assert common.number("a", "r_gene_dev", "mean", "gain").value == common.number("a", "r_gene_dev").value, "NA counts 0"


def test_two_that_err_apart_add_to_each_other(dataset, tmp_path):
    one, other = (family_file(tmp_path, dataset, name, {"model": 0.8}) for name in "ab")
    common, _ = compare(tmp_path / "out", dataset, one, other)
    for pair in (("a", "b"), ("b", "a")):
        assert common.number(pair[0], "mse", pair[1], "adds").low > 0 and common.number(pair[0], "r_gene_dev", pair[1], "adds").low > 0
    assert common.number("all", "mse", "a", "gain").low > 0 and common.number("all", "mse", "b", "gain").low > 0


@pytest.mark.parametrize("hold_out", ["samples", "both"])
def test_numbers_are_those_of_the_scores(hold_out, tmp_path):
    """Where families share all cells; intervals too, over groups of samples or over genes."""
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5", samples=24, genes=30, hold_out=hold_out))
    paths = [family_file(tmp_path, dataset, name, {"model": noise, "rule": 1.0}, seeds=2) for name, noise in (("a", 0.5), ("b", 0.7))]
    change(paths[0], "observed", (slice(3), slice(4)), np.nan)
    change(paths[1], "observed", (slice(3), slice(4)), np.nan)
    common, _ = compare(tmp_path / "out", dataset, *paths)
    tables = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", tmp_path / f"{kind}.tsv")]
    run("evaluate.py", "--predictions", *paths, "--dataset", dataset.path, *tables, "--out", tmp_path / "scores.tsv")
    scores = read_scores(tmp_path / "scores.tsv")
    assert common.counts["values"] == (~np.isnan(truth(dataset)[0])).sum() - 12
    for family in "ab":
        for metric in SCORED:
            for predictor, name in (("model", family), ("rule", f"{family}.rule")):
                ours, theirs = common.number(name, metric), scores[family, predictor, "", metric, "pooled"]
                assert ours.value == pytest.approx(theirs.value, rel=1e-5), (name, metric)
                if metric != "mae":
                    assert ours[1:3] == pytest.approx(theirs[1:3], rel=1e-4, nan_ok=True) and ours[3:] == theirs[3:], (name, metric)
        for metric in ("r_gene_dev", "r_gene", "r_sample", "mse"):
            for rule, against in ((f"{family}.rule", "rule"), ("mean", "mean")):
                ours, theirs = common.number(family, metric, rule, "gain"), scores[family, "model", against, metric, "pooled"]
                assert ours[:3] == pytest.approx(theirs[:3], rel=1e-3, abs=1e-5, nan_ok=True) and ours[3:] == theirs[3:], (rule, metric)


def test_what_a_pair_adds_is_the_gain_of_their_mean_by_validation(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": noise}) for name, noise in (("a", 0.6), ("b", 0.9))]
    common, _ = compare(tmp_path / "out", dataset, *paths)
    observed, role, mean = truth(dataset)
    files = [h5py.File(path) for path in paths]
    predicted = np.stack([file["predicted"][:, 0] for file in files])  # (members, folds, samples, genes)
    deviations, measured = np.zeros((2, *observed.shape)), np.zeros(observed.shape)
    for fold, own in enumerate(role):
        error = (predicted[:, fold] - observed)[:, own == VALID]
        weights = learn_weights(error @ error.T / error.shape[1])
        mixed = np.tensordot(weights, predicted[:, fold], axes=1)
        for k, values in enumerate((mixed, predicted[1, fold])):
            deviations[k][own == TEST] = (values - mean[fold])[own == TEST]
        measured[own == TEST] = (observed - mean[fold])[own == TEST]
    r = [pearson(one, measured, axis=1).mean() for one in deviations]
    assert common.number("a", "r_gene_dev", "b", "adds").value == pytest.approx(r[0] - r[1], abs=1e-6)
    errors = [((one - measured) ** 2).mean() for one in deviations]
    assert common.number("a", "mse", "b", "adds").value == pytest.approx(errors[1] - errors[0], rel=1e-5)


def test_what_is_tested_chooses_no_weight_and_no_rule(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "ridge": 0.4, "trees": 0.8}) for name in "ab"]
    role = truth(dataset)[1]
    for path in paths:
        change(path, "baselines/ridge", role == TEST, 99)
    common, _ = compare(tmp_path / "out", dataset, *paths)
    assert common.predictors == ["a", "b", "a.ridge", "b.ridge", "mean", "all"], "the better rule on validation cells"
    change(paths[0], "baselines/ridge", role == VALID, 99)
    assert "a.trees" in compare(tmp_path / "out", dataset, *paths)[0].predictors


def test_missing_cells_are_left_out_for_all(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "rule": 1.0}) for name in "ab"]
    observed, role, _ = truth(dataset)
    before, _ = compare(tmp_path / "before", dataset, *paths)
    change(paths[0], "predicted", np.broadcast_to(role[:, None] == TEST, (len(role), 1, *observed.shape)) & (np.arange(30) < 4), np.nan)
    change(paths[1], "predicted", np.broadcast_to(role[:, None] == TEST, (len(role), 1, *observed.shape)) & (np.arange(30) < 4), 1e6)
    after, _ = compare(tmp_path / "after", dataset, *paths)
    assert (before.counts["values"], after.counts["values"]) == (24 * 30, 24 * 26) and after.counts["genes"] == 26
    assert after.number("b", "mse").value < 2 * before.number("b", "mse").value
    tested = role == TEST
    with h5py.File(paths[1]) as file:
        error = np.where(tested, file["predicted"][:, 0] - observed, np.nan)[:, :, 4:]
    assert after.number("b", "mse").value == pytest.approx(np.nanmean(error**2), rel=1e-5)


def test_other_genes_in_another_order_meet_by_id(dataset, tmp_path):
    """A family with every other gene, backwards, and its samples backwards: the common table is of these genes."""
    path = family_file(tmp_path, dataset, "a", {"model": 0.5, "rule": 1.0})

    def turn(file):
        genes, samples = np.arange(29, 0, -2), np.arange(23, -1, -1)
        for name in ("rows", "columns"):
            replace(file, name, file[name].asstr()[:][samples if name == "rows" else genes].astype(str))
        for name in ("observed", "role", "predicted", "baselines/mean", "baselines/rule"):
            replace(file, name, file[name][:][..., samples, :][..., genes])
        for name in ("training_mean", "training_sd"):
            replace(file, name, file[name][:][..., genes])

    common, left_out = compare(tmp_path / "out", dataset, path, copy_as(path, "b", turn))
    assert common.counts == {"samples": 24, "genes": 15, "folds": dataset.n_folds, "values": 24 * 15} and not left_out
    assert tuple(common.number("a", "r_gene_dev", "b", "gain"))[:3] == (0, 0, 0) and common.number("a", "r_gene_dev").value > 0.5


@pytest.mark.parametrize(
    "edit, why",
    [
        (lambda file: file.attrs.__setitem__("unit", "fraction"), "another unit, fraction, than a"),
        (lambda file: file["observed"].write_direct(file["observed"][:] + 1), "other observed values than a"),
        (lambda file: file["training_mean"].write_direct(file["training_mean"][:] * 2), "other training means than a"),
        (lambda file: file.attrs.__setitem__("axes", "genes"), "its rows are labels, those of a samples"),
        (lambda file: replace(file, "rows", np.array([f"T{i}" for i in range(24)])), "no cell that a tests"),
        (lambda file: file["role"].write_direct(np.full_like(file["role"][:], TRAIN)), "it tests nothing"),
    ],
)
def test_who_shares_nothing_is_left_out_and_keeps_its_own_row(dataset, tmp_path, caplog, edit, why):
    caplog.set_level("INFO")
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "rule": 1.0}) for name in "ab"]
    compare(tmp_path / "alone", dataset, *paths)
    _, left_out = compare(tmp_path / "out", dataset, *paths, copy_as(paths[0], "c", edit))
    tables = [(tmp_path / name / "bake_off.tsv").read_text() for name in ("alone", "out")]
    assert tables[1].startswith(tables[0]), "it changes nothing of the others"
    assert f"c is left out: {why}" in caplog.messages
    if why == "it tests nothing":
        assert not left_out
    else:
        assert {name: one.why for name, one in left_out.items()} == {"c": why}
        assert left_out["c"].predictors == ["c", "c.rule", "mean"] and left_out["c"].number("c", "mse").value > 0


def test_without_a_cell_in_common_nobody_is_compared(dataset, tmp_path):
    one, other = (family_file(tmp_path, dataset, name, {"model": 0.5}, unit=unit) for name, unit in (("a", "tpm"), ("b", "fraction")))
    common, left_out = compare(tmp_path / "out", dataset, one, other)
    assert common is None and {one.why for one in left_out.values()} == {"no other family tests the same values"}
    assert [one.predictors for one in left_out.values()] == [["a", "mean"], ["b", "mean"]]


def test_an_ensemble_stands_in_the_place_of_the_mean_of_all(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.8, "rule": 2.0}) for name in "ab"]
    make(tmp_path / "made", dataset, *paths).close()
    ensemble = tmp_path / "made/ensemble.h5"
    common, _ = compare(tmp_path / "out", dataset, *paths, ensemble)
    assert common.predictors == ["a", "b", "ensemble", "a.rule", "b.rule", "mean"]
    assert common.number("ensemble", "mse", "a", "gain").low > 0
    assert not [key for key in common.numbers if key[2] == "adds" and "ensemble" in key[:2]]
    common, left_out = compare(tmp_path / "out", dataset, paths[0], ensemble)
    assert common is None and left_out.keys() == {"a", "ensemble"}, "an ensemble alone is nothing to compare with"


def test_without_validation_cells_weights_are_equal(dataset, tmp_path):
    role = truth(dataset)[1]
    role[role == VALID] = TRAIN
    paths = [family_file(tmp_path, dataset, name, {"model": 0.8, "kernel": 0.1, "rule": 1.0}, role=role) for name in "ab"]
    common, _ = compare(tmp_path / "out", dataset, *paths)
    assert common.predictors == ["a", "b", "a.rule", "b.rule", "mean", "all"] and common.number("a", "mse", "b", "adds").low > 0


def test_a_constant_family_is_not_available_and_gains_what_the_other_has_not(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5}) for name in "ab"]
    with h5py.File(paths[1]) as file:
        mean = np.broadcast_to(file["training_mean"][:][:, None], file["predicted"].shape)
    change(paths[1], "predicted", slice(None), mean)
    common, _ = compare(tmp_path / "out", dataset, *paths)
    assert np.isnan(common.number("b", "r_gene_dev").value) and np.isnan(common.number("b", "r_gene_dev", "a", "gain").value)
    assert common.number("a", "r_gene_dev", "b", "gain").value == common.number("a", "r_gene_dev").value


def test_the_order_of_files_changes_no_byte(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5, "rule": 1.0}) for name in "abc"]
    compare(tmp_path / "one", dataset, *paths)
    sleep(1.1)  # nor does the time
    compare(tmp_path / "two", dataset, *paths[::-1])
    assert (tmp_path / "one/bake_off.tsv").read_bytes() == (tmp_path / "two/bake_off.tsv").read_bytes()


def test_what_cannot_be_compared_is_refused(dataset, tmp_path):
    path = family_file(tmp_path, dataset, "a", {"model": 0.5})
    with pytest.raises(InputError, match="a bake-off takes predictions of two families"):
        compare(tmp_path / "out", dataset, path)
    with pytest.raises(InputError, match="predictions: family 'a' occurs twice"):
        compare(tmp_path / "out", dataset, path, path)
    with pytest.raises(InputError, match="not a file of predictions"):
        compare(tmp_path / "out", dataset, path, dataset.path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_table_that_lacks_its_counts_is_refused(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5}) for name in "ab"]
    compare(tmp_path, dataset, *paths)
    table = tmp_path / "bake_off.tsv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if "\tfolds\t" not in line))
    with pytest.raises(InputError, match=rf"bake_off.tsv: no count of folds \({COMMON}\)"):
        read_bake_off(table)


def make_report(folder: Path, dataset: Dataset, *paths: Path, hold_out: str = "samples") -> Reader:
    """Score, compare and report these families; return the page."""
    compare(folder, dataset, *paths)
    tables = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", folder / f"{kind}.tsv")]
    run("evaluate.py", "--predictions", *paths, "--dataset", dataset.path, *tables, "--out", folder / "scores.tsv")
    write_table(folder / "leakage.tsv", LEAKAGE, [(axis, "chrom", int(axis == hold_out), 1, 0, 0, 0, "") for axis in ("samples", "genes")])
    (folder / "parameters.json").write_text("{}")
    given = [word for name in ("scores", "samples", "genes", "leakage") for word in (f"--{name}", folder / f"{name}.tsv")]
    options = [*given, "--bake-off", folder / "bake_off.tsv", "--predictions", *paths, "--dataset", dataset.path]
    options += ["--parameters", folder / "parameters.json", "--out", folder / "report.html"]
    parsed = report.parse_args().parse_args(list(map(str, options)))
    parsed.code = ""
    report.report(parsed)
    return Reader((folder / "report.html").read_text())


def test_the_report_says_who_wins_and_names_who_is_left_out(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": noise, "rule": 1.0}) for name, noise in (("a", 0.3), ("b", 1.5))]
    paths.append(copy_as(paths[0], "c", lambda file: file.attrs.__setitem__("unit", "fraction")))
    page = make_report(tmp_path / "out", dataset, *paths)
    common, left_out = read_bake_off(tmp_path / "out/bake_off.tsv")
    order = ranked(common, "r_gene_dev")
    gain = common.number(order[0], "r_gene_dev", order[1], "gain")
    assert page.says("On the 24 samples × 30 genes in 12 folds (720 measured values) that a and b predict")
    assert page.says(f"its gain over the next, {called(order[1])}, is {number(gain.value, 2)}, 95 % interval {number(gain.low, 2)} to")
    assert page.says(f"over 12 groups of samples, which {'excludes 0' if gain.low > 0 else 'holds 0'}")
    assert page.says("Of single networks a is best") and page.says("its gain over the best rule, ")
    assert page.says("Not compared: c (another unit, fraction, than a).")
    assert page.says("own, 720 values: another unit, fraction, than a")
    assert sum("over each other" in alt for alt in page.alts) == 2 and any(
        alt.startswith("r_gene_dev on common cells") for alt in page.alts
    )
    assert make_report(tmp_path / "out", dataset, *paths[::-1]).text == page.text


def test_a_report_of_families_that_share_nothing_says_so(dataset, tmp_path):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5}, unit=unit) for name, unit in (("a", "tpm"), ("b", "fraction"))]
    page = make_report(tmp_path / "out", dataset, *paths)
    assert page.says("No two families predict the same values, so none is compared with another")
    assert page.says("own, 720 values: no other family tests the same values") and not page.says("is best")


@pytest.mark.parametrize(
    "gain, unit, said",
    [
        ((0.1, 0.05, 0.2), "groups", ", which excludes 0."),
        ((0.1, -0.05, 0.2), "groups", ", which holds 0: who is best is undecided."),
        ((0.1, np.nan, np.nan), "groups", "no interval, so that nothing is decided."),
        ((0.1, 0.05, 0.2), "genes", "which tells of other genes, not of other samples: fewer than 6 groups of samples were held out."),
    ],
)
def test_the_first_sentence_follows_the_interval(dataset, tmp_path, gain, unit, said):
    paths = [family_file(tmp_path, dataset, name, {"model": 0.5}) for name in "ab"]
    families = [read_predictions(path) for path in paths]
    numbers = {(name, "", "score", "r_gene_dev"): Estimate(value, 0, 1, 8, unit) for name, value in (("a", 0.6), ("b", 0.7))}
    numbers["b", "a", "gain", "r_gene_dev"] = Estimate(*gain, 8, unit)
    common = Compared("", {"samples": 8, "genes": 5, "folds": 2, "values": 40}, ["a", "b"], numbers)
    leakage = [Leak("samples", "donor", True, True, 0, 0, 0, [])]
    sentence = bake_off_section(common, {}, families, leakage).blocks[0].text
    assert sentence.startswith(
        "On the 8 samples × 5 genes in 2 folds (40 measured values) that a and b predict, b is best (r_gene_dev 0.70)"
    )
    assert said in sentence, sentence
