"""combine.py and evaluate.py: only what belongs together is put together, and the numbers are those of the held-out cells."""

import csv
import gzip
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

import combine as combine_script
import evaluate as evaluate_script
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.estimates import Unit, across_samples, choose_unit, deal
from exprcast.metrics import benjamini_hochberg, deviation, fisher_interval, p_value, pearson
from exprcast.moments import add_rows, centre, draw_correlations, measure
from exprcast.scoring import Scores, open_predictions, score_predictions, spread_genes
from tiny import run_script, tiny_dataset

TOYS = Path(__file__).parent / "families"
SCORES = ("predictor", "against", "metric", "scope")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two folds and two seeds of a toy family: {name: predictions file}."""
    folder = tmp_path_factory.mktemp("fitted")
    data = ["--dataset", tiny_dataset(folder / "dataset.h5", samples=12, genes=20)]
    files = {}
    for fold in (0, 1):
        toy = ["--prepared", folder / f"{fold}.prepared", "--families-dir", TOYS, *data]
        run_script("prepare", "--family", "toy_samples", *toy[2:], "--fold", fold, "--out", toy[1])
        run_script("fit_baselines", *toy, "--out", folder / f"{fold}.baselines.h5")
        sources = {f"fold{fold}": ("--baselines", folder / f"{fold}.baselines.h5")}
        for seed in (1, 2):
            checkpoint = folder / f"{fold}.{seed}.pt"
            run_script("train", *toy, "--seed", seed, "--history-out", folder / "h.tsv", "--out", checkpoint)
            sources[f"fold{fold}seed{seed}"] = ("--checkpoint", checkpoint)
        for name, (option, source) in sources.items():
            files[name] = folder / f"{name}.predictions.h5"
            run_script("predict", option, source, *toy, "--out", files[name])
    return files


def combine(folder, files, *more):
    run_script("combine", "--predictions", *files, *more, "--out", folder / "toy.h5")
    return folder / "toy.h5"


def evaluate(folder, predictions, dataset, *more):
    """Return scores.tsv by predictor, against, metric and scope; all tables lie in the folder."""
    tables = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", folder / f"{kind}.tsv")]
    run_script("evaluate", "--predictions", predictions, "--dataset", dataset, *more, *tables, "--out", folder / "scores.tsv")
    return {tuple(row[key] for key in SCORES): row for row in rows_of(folder / "scores.tsv")}


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def value(row: dict[str, str]) -> float:
    """Return a row's value."""
    return float(row["value"])


def test_order_of_the_files_does_not_matter(fitted, tmp_path):
    for name, files in (("a", list(fitted.values())), ("b", list(fitted.values())[::-1])):
        (tmp_path / name).mkdir()
        combine(tmp_path / name, files)
    assert (tmp_path / "a/toy.h5").read_bytes() == (tmp_path / "b/toy.h5").read_bytes()


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 2, 200, 30), (1, 200, 100_000)])
def test_blocks_of_rows_can_be_read_alone(tmp_path, shape):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        chunks = combine_script.create_matrices(file, "role", shape, "u1").chunks
    assert set(chunks[:-2]) == {1} and chunks[-1] == shape[-1]
    assert chunks[-2] == max(1, min(64, shape[-2], 2**18 // shape[-1]))


def test_scores_are_those_of_the_held_out_cells(fitted, tmp_path):
    path = combine(tmp_path, fitted.values(), "--table-out", tmp_path / "cells.tsv.gz")
    with h5py.File(path) as file:
        role, observed, predicted = file["role"][:], file["observed"][:], file["predicted"][:].mean(axis=1)
        training = [observed[(fold == TRAIN).any(axis=1)].mean(axis=0) for fold in role]
        expected = []
        for k in (0, 1):
            for row in np.flatnonzero((role[k] == TEST).any(axis=1)):
                expected.append(pearson((predicted[k, row] - training[k])[None], (observed[row] - training[k])[None], axis=1)[0])
    scores = evaluate(tmp_path, path, fitted["fold0"].parent / "dataset.h5")
    assert value(scores["model", "", "r_gene_dev", "pooled"]) == pytest.approx(np.mean(expected), abs=1e-6)
    assert scores["mean", "", "r_gene_dev", "pooled"]["value"] == "NA"
    gain = value(scores["model", "mean", "r_gene_dev", "pooled"])
    assert gain == pytest.approx(np.mean(expected), abs=1e-6), "over NA the gain is the score itself"
    cells = gzip.decompress((tmp_path / "cells.tsv.gz").read_bytes()).decode().splitlines()
    assert len(cells) - 1 == (role == TEST).sum()


def test_table_is_left_out_when_too_long(fitted, tmp_path):
    combine(tmp_path, fitted.values(), "--table-out", tmp_path / "cells.tsv.gz", "--table-rows", 10)
    assert not (tmp_path / "cells.tsv.gz").exists()


def test_a_missing_seed_or_fold_is_named(fitted, tmp_path):
    with pytest.raises(InputError, match="predictions are not complete: fold 1 seed 2 missing"):
        combine(tmp_path, [path for name, path in fitted.items() if name != "fold1seed2"])
    with pytest.raises(InputError, match="predictions are not complete: a fold has no baselines"):
        combine(tmp_path, [path for name, path in fitted.items() if name != "fold1"])
    assert not (tmp_path / "toy.h5").exists()


def test_other_genes_and_other_files_are_refused(fitted, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(fitted["fold0seed1"].read_bytes())
    with h5py.File(other, "a") as file:
        file["columns"][0] = "G99"
    with pytest.raises(InputError, match="predictions do not belong together: their columns differ"):
        combine(tmp_path, [other, *(path for name, path in fitted.items() if name != "fold0seed1")])
    dataset = fitted["fold0"].parent / "dataset.h5"
    with pytest.raises(InputError, match="dataset.h5: not a file of predictions"):
        evaluate(tmp_path, dataset, dataset)


# From here on predictions are made, not trained: noise around what is true.

SD = {"mean": 0.0, "ridge": 1.0, "rule": 2.0}  # of the noise of baselines


def made(path: Path, dataset: Path, seeds: int = 1, chunk: int = 64, axes: str = "samples×genes", shuffled: bool = False) -> Path:
    """Write predictions of a dataset as combine.py does: log2(1 + expression) plus noise where a fold does not train; the mean where it is 0."""
    rng, data = np.random.default_rng(4), Dataset(dataset)
    observed = np.log2(1 + data.array("expression/gene")).astype(np.float32)
    rows, columns = observed.shape
    axis, own = (0, data.sample_role[:, :, None]) if data.hold_out == "samples" else (1, data.gene_role[:, None, :])
    role = np.broadcast_to(own, (data.n_folds, rows, columns))
    train = np.where(role == TRAIN, observed, np.nan)
    if data.hold_out == "genes" and axes != "genes":
        train = np.broadcast_to(observed, role.shape)
        axis = 0
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(train, axis=axis + 1, keepdims=True).astype(np.float32)
    noisy = lambda sd: np.where(role == TRAIN, np.nan, observed + rng.normal(0, sd, role.shape) if sd else mean)  # noqa: E731
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {"format": "exprcast-predictions", "format-version": 1, "family": "toy", "preset": "default", "axes": axes, "unit": "log2"}
        )
        file["rows"], file["columns"] = data.file["samples/id"][:], data.file["genes/id"][:]
        file["folds"], file["seeds"] = np.arange(data.n_folds), np.arange(1, seeds + 1)
        file["status"] = np.full((data.n_folds, seeds), "trained", dtype=object)
        file["training_mean"], file["training_sd"] = mean, np.abs(mean) / 4 + 0.1
        arrays = {"observed": observed, "role": role, "predicted": np.stack([noisy(0.5 * (k + 1)) for k in range(seeds)], axis=1)}
        arrays |= {f"baselines/{name}": noisy(sd) for name, sd in SD.items()}
        arrays |= {"controls/shuffled": noisy(9)} if shuffled else {}
        for name, values in arrays.items():
            dtype = "u1" if name == "role" else "f4"
            file.create_dataset(name, data=values, dtype=dtype, chunks=(*[1] * (values.ndim - 2), min(chunk, rows), columns))
    return path


def whole(path: Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (predicted, observed, training mean), each (rows, columns), of all cells at once: the mean over folds that tested them."""
    with h5py.File(path) as file:
        test = file["role"][:] == TEST
        values = file["predicted"][:].astype(float).mean(axis=1) if name == "model" else file[f"baselines/{name}"][:].astype(float)
        mean = np.broadcast_to(file["training_mean"][:], test.shape).astype(float)
        tested = np.where(test.any(axis=0), test.sum(axis=0), np.nan)
        pooled = [np.where(test, one, 0).sum(axis=0) / tested for one in (values, mean)]
        return pooled[0], file["observed"][:] + 0 * tested, pooled[1]


def by_scipy(x: np.ndarray, y: np.ndarray, correlation=stats.pearsonr) -> np.ndarray:
    """Return SciPy's correlation row by row; NaN for fewer than 3 pairs or a constant."""
    found = []
    for a, b in zip(x, y, strict=True):
        known = ~(np.isnan(a) | np.isnan(b))
        a, b = a[known], b[known]
        found.append(correlation(a, b).statistic if len(a) > 2 and np.ptp(a) > 1e-5 and np.ptp(b) > 1e-5 else np.nan)
    return np.array(found)


def spoil(path: Path) -> None:
    """Put in what real data have: gaps, a constant gene, a sample of zeros, a sample that was not measured, cells tested twice, missing predictions."""
    with h5py.File(path, "a") as file:
        observed = file["observed"][:]
        observed[2, :5], observed[:, 7], observed[4], observed[6], observed[1, 3:9] = np.nan, 2.5, 0, np.nan, observed[1, 3]
        file["observed"][:] = observed
        role = file["role"][:]
        role[0, 8, :6], role[1, 8, :9] = TEST, TEST
        file["role"][:] = role
        for name in ("predicted", *(f"baselines/{one}" for one in SD)):
            values = file[name][:]
            values[np.isnan(values)] = 0.5  # where nobody tests
            values[..., 10, 11] = np.nan
            file[name][:] = values


@pytest.mark.parametrize("hold_out, axes", [("samples", "samples×genes"), ("genes", "samples×genes"), ("genes", "genes")])
@pytest.mark.parametrize("chunk", [1, 5, 64])
@pytest.mark.filterwarnings("error")
def test_scores_in_blocks_are_scipys_of_the_whole(tmp_path, hold_out, axes, chunk):
    dataset = tiny_dataset(tmp_path / "dataset.h5", samples=14, genes=30, hold_out=hold_out)
    path = made(tmp_path / "toy.h5", dataset, chunk=chunk, axes=axes)
    spoil(path)
    with open_predictions(path) as file:
        scores, folds = score_predictions(file, np.arange(14), spread_genes(np.zeros(30), 1) if hold_out == "genes" else None)
        test, training_mean = file["role"][:] == TEST, file["training_mean"][:]
        sd = np.broadcast_to(file["training_sd"][:], test.shape) + 0.001
        pooled_sd = np.where(test, sd, 0).sum(axis=0) / np.maximum(test.sum(axis=0), 1)
    for name, one in scores.items():
        predicted, observed, mean = whole(path, name)
        dev, observed_dev = deviation(predicted, mean), observed - mean
        error = predicted - observed
        found = one.per_sample
        assert found["r_gene"] == pytest.approx(by_scipy(predicted, observed), abs=1e-6, nan_ok=True)
        assert found["rho_gene"] == pytest.approx(by_scipy(predicted, observed, stats.spearmanr), abs=1e-6, nan_ok=True)
        assert found["r_gene_dev"] == pytest.approx(by_scipy(dev, observed_dev), abs=1e-6, nan_ok=True)
        assert one.r_sample == pytest.approx(by_scipy(dev.T, observed_dev.T), abs=1e-6, nan_ok=True)
        assert one.genes.n.tolist() == (~np.isnan(error)).sum(axis=0).tolist()
        for part in (0, 9):
            left = np.arange(14) != part
            assert one.left_out[part] == pytest.approx(by_scipy(dev[left].T, observed_dev[left].T), abs=1e-6, nan_ok=True)
            assert one.left_n[part].tolist() == (~np.isnan(error[left])).sum(axis=0).tolist()
        assert one.squared.sum() / one.n.sum() == pytest.approx(np.nanmean(error**2)), name
        assert one.absolute.sum() / one.n.sum() == pytest.approx(np.nanmean(np.abs(error)))
        in_sd = np.abs(error) / np.where(pooled_sd > 0, pooled_sd, np.nan)
        assert one.absolute_sd.sum() / one.deviations.n.sum() == pytest.approx(np.nanmean(in_sd))
        assert one.gene_absolute_sd[9] == pytest.approx(np.nan_to_num(in_sd[9])) and one.gene_absolute_sd.sum() == pytest.approx(
            np.nansum(in_sd)
        )
        seen = observed[~np.isnan(error)]
        assert one.r2_cod == pytest.approx(1 - np.nansum(error**2) / ((seen - seen.mean()) ** 2).sum())
        assert one.r2_pearson == pytest.approx(stats.pearsonr(predicted[~np.isnan(error)], seen).statistic ** 2)
    with h5py.File(path) as file:
        values = file["predicted"][:].astype(float).mean(axis=1)
    for i in range(len(test)):
        truth = np.where(test[i], observed, np.nan)
        mean = np.broadcast_to(training_mean[i], truth.shape)
        r = {"r_gene": by_scipy(values[i], truth), "r_gene_dev": by_scipy(deviation(values[i], mean), truth - mean)}
        for metric, expected in r.items():
            known = expected[~np.isnan(expected)]
            assert getattr(folds["model"], metric)[i] == pytest.approx(known.mean() if len(known) else np.nan, abs=1e-6, nan_ok=True)
        assert folds["model"].mse[i] == pytest.approx(np.nanmean((values[i] - truth) ** 2))
        assert folds["model"].mae_sd[i] == pytest.approx(np.nanmean(np.abs(values[i] - truth) / sd[i]))


def test_spoiled_data_end_in_NA_and_are_named(tmp_path, caplog):
    caplog.set_level("INFO")
    dataset = tiny_dataset(tmp_path / "dataset.h5", samples=14, genes=30)
    path = made(tmp_path / "toy.h5", dataset)
    spoil(path)
    evaluate(tmp_path, path, dataset)
    samples = {row["sample"]: row for row in rows_of(tmp_path / "samples.tsv") if row["predictor"] == "model"}
    assert samples["S4"]["r_gene"] == "NA" and samples["S4"]["r_gene_dev"] != "NA", "zeros are values, and deviate from the mean"
    assert {samples["S6"][metric] for metric in ("r_gene", "rho_gene", "r_gene_dev", "mse")} == {"NA"}
    assert "1 samples have the same value in all genes, so no correlation: S4" in caplog.text
    assert "nan" not in (tmp_path / "scores.tsv").read_text().lower()


def test_folds_of_one_sample_have_r_sample_from_all_of_them(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", samples=9, groups=[f"g{i}" for i in range(9)])
    path = made(tmp_path / "toy.h5", dataset)
    scores = evaluate(tmp_path, path, dataset)
    predicted, observed, mean = whole(path, "model")
    expected = np.median(by_scipy((predicted - mean).T, (observed - mean).T))
    assert value(scores["model", "", "r_sample_median", "pooled"]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "groups, hold_out, axes, unit",
    [
        ([f"g{i // 2}" for i in range(12)], "samples", "samples×genes", "groups"),
        ([f"g{i}" for i in range(12)], "samples", "samples×genes", "samples"),
        ([f"g{i // 3}" for i in range(12)], "samples", "samples×genes", "genes"),  # four groups tell too little
        ([f"g{i}" for i in range(12)], "both", "samples×genes", "samples"),
        ([f"g{i}" for i in range(12)], "both", "genes", "genes"),
        ([f"g{i}" for i in range(12)], "genes", "samples×genes", "genes"),
    ],
)
def test_intervals_are_over_what_was_held_out(tmp_path, groups, hold_out, axes, unit):
    data = Dataset(tiny_dataset(tmp_path / "dataset.h5", samples=12, groups=groups, hold_out=hold_out))
    found = choose_unit(axes, data, data.samples, 1)
    assert found.name == unit
    assert len(set(found.of_row.tolist())) == len(set(groups))


def test_labels_are_groups_of_their_own(tmp_path):
    data = Dataset(tiny_dataset(tmp_path / "dataset.h5", hold_out="genes"))
    assert choose_unit("genes", data, ["first", "second"], 1).of_row.tolist() == [0, 1]


@pytest.mark.parametrize("hold_out, groups, n", [("samples", 6, 6), ("samples", 4, 24), ("genes", 12, 24)])
def test_unit_and_number_stand_in_the_table(tmp_path, hold_out, groups, n):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24, hold_out, groups=[f"g{i % groups}" for i in range(12)])
    scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset)
    unit = "groups" if (hold_out, groups) == ("samples", 6) else "genes"
    for metric in ("r_gene_dev", "r_gene", "rho_gene", "mse"):
        row = scores["model", "", metric, "pooled"]
        assert (row["unit"], int(row["n"])) == (unit, n) and float(row["low"]) < value(row) < float(row["high"])
    row = scores["model", "ridge", "r_gene_dev", "pooled"]
    assert (row["unit"], int(row["n"])) == (unit, n) and 0 < float(row["low"]) < value(row) < float(row["high"])
    row, gain = scores["model", "", "r_sample_median", "pooled"], scores["model", "ridge", "r_sample", "pooled"]
    for one in (row, gain):
        assert (one["unit"], int(one["n"])) == ("samples" if groups == 12 else "groups", groups)
        assert float(one["low"]) < value(one) < float(one["high"]) if groups >= 6 else one["low"] == "NA"


def test_a_model_that_copies_a_baseline_gains_exactly_nothing(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24, groups=[f"g{i}" for i in range(12)])
    path = made(tmp_path / "toy.h5", dataset)
    with h5py.File(path, "a") as file:
        file["predicted"][:, 0] = file["baselines/ridge"][:]
    scores = evaluate(tmp_path, path, dataset)
    for metric in ("r_gene_dev", "r_sample", "r_gene", "mse"):
        assert [float(scores["model", "ridge", metric, "pooled"][name]) for name in ("value", "low", "high")] == [0, 0, 0]


def test_gains_of_rounding_are_nothing(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24, groups=[f"g{i}" for i in range(12)])
    path = made(tmp_path / "toy.h5", dataset)
    with h5py.File(path, "a") as file:
        file["predicted"][:, 0] = file["baselines/ridge"][:] * np.float32(1 + 2e-7)
    scores = evaluate(tmp_path, path, dataset)
    for metric in ("r_gene_dev", "r_sample", "r_gene"):
        assert [float(scores["model", "ridge", metric, "pooled"][name]) for name in ("value", "low", "high")] == [0, 0, 0]


def test_a_predictor_without_test_cells_is_NA_where_genes_are_drawn(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24, "genes")
    path = made(tmp_path / "toy.h5", dataset)
    with h5py.File(path, "a") as file:
        file["baselines/rule"][:] = np.nan
    scores = evaluate(tmp_path, path, dataset)
    for metric in ("r_gene_dev", "r_gene", "rho_gene", "mse", "r_sample_median", "r_sample_significant"):
        assert [scores["rule", "", metric, "pooled"][name] for name in ("value", "low", "high")] == ["NA"] * 3
    assert value(scores["model", "rule", "r_gene", "pooled"]) == pytest.approx(value(scores["model", "", "r_gene", "pooled"]))


def leave_out(noise: np.ndarray, groups: np.ndarray) -> Scores:
    """Return of deviations (2, rows, genes), predicted and observed, what r_sample and its intervals are made of."""
    parts, sums = deal(groups), np.zeros((min(50, len(set(groups))), 6, noise.shape[2]))
    add_rows(sums, parts, *noise)
    by_row, by_gene = (measure(centre(*noise, axis=axis)) for axis in (1, 0))
    left_out = draw_correlations(sums.transpose(2, 0, 1), 1 - np.eye(len(sums)))
    nothing = dict.fromkeys(("rho_gene", "squared", "absolute", "absolute_sd", "gene_absolute_sd", "block_squared", "block_n"))
    return Scores(by_row, deviations=by_row, genes=by_gene, left_out=left_out, left_n=sums[:, 0].sum(0) - sums[:, 0], sums={}, **nothing)


@pytest.mark.parametrize("sizes", [[1] * 8, [1] * 12, [2] * 10, [1] * 70], ids=str)
def test_intervals_of_r_sample_hold_0_though_genes_are_expressed_together(sizes):
    """Noise of three programs that 300 genes share, and replicates within groups: r_sample of noise is 0."""
    rng, groups = np.random.default_rng(1), np.repeat(np.arange(len(sizes)), sizes)
    held, alone = {"median": 0, "positive": 0}, 0
    for _ in range(150):
        programs = rng.normal(size=(3, 300))
        noise = rng.normal(size=(2, len(sizes), 3))[:, groups] @ programs + 0.7 * rng.normal(size=(2, len(groups), 300))
        scores = leave_out(noise, groups)
        found = across_samples(scores, Unit("groups", groups, deal(groups), 1))
        held["median"] += found["r_sample_median"].low <= 0 <= found["r_sample_median"].high
        held["positive"] += found["r_sample_positive"].low <= 0.5 <= found["r_sample_positive"].high
        half = 1.96 * 1.25 * scores.r_sample.std() / np.sqrt(300)  # as if genes were independent
        alone += abs(found["r_sample_median"].value) <= half
    assert held["median"] >= 0.9 * 150 and held["positive"] >= 0.85 * 150 and alone < 0.6 * 150


def test_mse_saved_is_the_difference_of_the_errors(tmp_path):
    for hold_out in ("samples", "genes"):
        dataset = tiny_dataset(tmp_path / f"{hold_out}.h5", 12, 24, hold_out)
        scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset)
        mse = {name: value(scores[name, "", "mse", "pooled"]) for name in ("model", "rule")}
        assert value(scores["model", "rule", "mse", "pooled"]) == pytest.approx(mse["rule"] - mse["model"])


def write_nearest(path: Path, rows: Iterator[tuple] | list[tuple]) -> Path:
    """Write rows (axis, fold, id, similarity, twin) as check_folds.py does."""
    lines = [f"{axis}\t{fold}\t{name}\tX\t{similarity}\t{twin}\n" for axis, fold, name, similarity, twin in rows]
    path.write_text("axis\tfold\tid\tnearest\tsimilarity\ttwin\n" + "".join(lines))
    return path


def test_scores_without_twins_leave_them_out(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 16, 24)
    path, twins = made(tmp_path / "toy.h5", dataset), {"S2", "S5"}
    nearest = write_nearest(tmp_path / "n.tsv", [("samples", i // 2, f"S{i}", 0.8, int(f"S{i}" in twins)) for i in range(16)])
    scores = evaluate(tmp_path, path, dataset, "--nearest", nearest)
    r = {}
    for name in ("model", "rule"):
        predicted, observed, mean = whole(path, name)
        r[name] = by_scipy(predicted - mean, observed - mean)[[i for i in range(16) if f"S{i}" not in twins]].mean()
        assert value(scores[name, "", "r_gene_dev", "without twins"]) == pytest.approx(r[name], abs=1e-6)
    assert value(scores["model", "rule", "r_gene_dev", "without twins"]) == pytest.approx(r["model"] - r["rule"], abs=1e-6)
    assert scores["model", "", "r_gene_dev", "without twins"]["n"] == "8", "of both groups with a twin one sample is left"


def test_external_sets_are_scored_apart(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 16, 24)
    path, external = made(tmp_path / "toy.h5", dataset), np.arange(16) >= 12
    with h5py.File(dataset, "r+") as file:
        file.create_dataset("samples/set", data=np.where(external, "lcl", "").astype(object), dtype=h5py.string_dtype())
    scores = evaluate(tmp_path, path, dataset)
    for scope, chosen in (("pooled", ~external), ("set lcl", external)):
        predicted, observed, mean = (values[chosen] for values in whole(path, "model"))
        assert value(scores["model", "", "r_gene_dev", scope]) == pytest.approx(
            by_scipy(predicted - mean, observed - mean).mean(), abs=1e-6
        )
        assert value(scores["model", "", "mse", scope]) == pytest.approx(np.nanmean((predicted - observed) ** 2), rel=1e-5)
        assert ("model", "ridge", "genes_better", scope) in scores
    samples = rows_of(tmp_path / "samples.tsv")
    assert len(samples) == 16 * 4 and all(row["mse"] != "NA" for row in samples), "each sample has its scores"


@pytest.mark.parametrize("twin", [0, 1])
def test_without_twins_says_nothing_where_none_or_all_are(tmp_path, twin):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    nearest = write_nearest(tmp_path / "n.tsv", [("samples", i // 2, f"S{i}", 0.8, twin) for i in range(8)])
    scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset, "--nearest", nearest)
    assert not [key for key in scores if key[3] == "without twins"]


def test_nearest_of_other_samples_is_refused(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    nearest = write_nearest(tmp_path / "n.tsv", [("samples", 0, "S1", 0.5, 0), ("samples", 0, "S99", 0.5, 0)])
    with pytest.raises(InputError, match="n.tsv line 3: samples 'S99' is not in dataset.h5; give what check_folds.py made of this dataset"):
        evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset, "--nearest", nearest)


@pytest.mark.parametrize("hold_out, unit, n", [("genes", "genes", 25), ("both", "groups", 7)])
def test_scores_by_similarity_are_those_of_the_genes_of_a_class(tmp_path, monkeypatch, hold_out, unit, n):
    monkeypatch.setattr(evaluate_script, "LEAST_GENES", 20)
    dataset = tiny_dataset(tmp_path / "dataset.h5", 14, 45, hold_out, groups=[f"g{i // 2}" for i in range(14)])
    path = made(tmp_path / "toy.h5", dataset)
    similarity = np.resize([0.0, 0.1, 0.1, 0.7], 45)  # 12, 22 and 11 genes
    similarity[[0, 4, 3, 7, 8]] = 0.05, 0.05, 0.05, 0.2, 0.04  # bounds belong to the class above
    folds = range(Dataset(dataset).n_folds)
    rows = [("genes", fold, f"G{i}", similarity[i] * (fold == 1), 0) for i in range(45) for fold in folds]
    tables = {f"{name}_out": tmp_path / f"{name}.tsv" for name in ("samples", "genes")}
    options = {"predictions": [path], "dataset": dataset, "nearest": write_nearest(tmp_path / "n.tsv", rows), "seed": 1}
    evaluate_script.evaluate(Namespace(**options, **tables, out=tmp_path / "scores.tsv"))
    scores = {tuple(row[key] for key in SCORES): row for row in rows_of(tmp_path / "scores.tsv")}
    scope = "nearest training gene 0.05 to 0.2"  # the two others have fewer than 20 genes
    assert {key[3] for key in scores if "gene " in key[3]} == {scope}
    own = (similarity >= 0.05) & (similarity < 0.2)
    predicted, observed, mean = (matrix[:, own] for matrix in whole(path, "model"))
    row, dev = scores["model", "", "r_gene", scope], scores["model", "", "r_gene_dev", scope]
    assert value(row) == pytest.approx(by_scipy(predicted, observed).mean(), abs=1e-6)
    assert value(dev) == pytest.approx(np.nanmean(by_scipy(predicted - mean, observed - mean)), abs=1e-6)
    assert (row["unit"], int(row["n"])) == (unit, n) and float(row["low"]) < value(row) < float(row["high"])


def test_single_seeds_their_mean_and_the_best_by_validation(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24)
    path = made(tmp_path / "toy.h5", dataset, seeds=3)
    with h5py.File(path, "a") as file:  # in fold 0 the third seed is best on validation cells, and knows nothing of the test cells
        predicted, valid, test = file["predicted"][:], file["role"][0] == VALID, file["role"][0] == TEST
        predicted[0, 2][valid] = file["observed"][:][valid]
        predicted[0, 2][test] = 1
        file["predicted"][:] = predicted
        best = predicted[:, 0].copy()
        best[0] = predicted[0, 2]
    scores = evaluate(tmp_path, path, dataset)
    single = {}
    for name, values in {**{f"seed {k + 1}": predicted[:, k] for k in range(3)}, "best seed by validation": best}.items():
        with h5py.File(path, "a") as file:
            file["predicted"][:] = np.repeat(values[:, None], 3, axis=1)
        alone = evaluate(tmp_path, path, dataset)
        for metric in ("r_gene_dev", "r_gene", "r_sample_median", "mse"):
            row, expected = scores["model", "", metric, name], alone["model", "", metric, "pooled"]
            assert value(row) == pytest.approx(value(expected), abs=1e-6), (name, metric)
            single.setdefault(metric, []).append(value(row))
    for metric, values in single.items():
        row = scores["model", "", metric, "mean over seeds (SD)"]
        mean, sd = np.mean(values[:3]), np.std(values[:3], ddof=1)
        assert [float(row[name]) for name in ("value", "low", "high")] == pytest.approx([mean, mean - sd, mean + sd])
        assert (row["unit"], row["n"]) == ("seeds", "3")


def test_one_seed_has_no_rows_of_seeds(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset)
    assert {scope for *_, scope in scores} == {"pooled", "mean over folds (range)"}


@pytest.mark.parametrize("hold_out, axes", [("samples", "samples×genes"), ("genes", "samples×genes"), ("genes", "genes")])
def test_replicates_agree_as_they_were_measured(tmp_path, hold_out, axes):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 24, hold_out)
    path = made(tmp_path / "toy.h5", dataset, axes=axes)
    scores = evaluate(tmp_path, path, dataset)
    _, observed, mean = whole(path, "model")
    pairs = [(i, i + 1) for i in range(0, 12, 2)]
    expected = {
        "r_gene": np.mean([stats.pearsonr(observed[a], observed[b]).statistic for a, b in pairs]),
        "r_gene_dev": np.mean([stats.pearsonr(observed[a] - mean[a], observed[b] - mean[b]).statistic for a, b in pairs]),
    }
    for metric, r in expected.items():
        row, ceiling = scores["replicate", "", metric, "pooled"], scores["ceiling", "", metric, "pooled"]
        assert value(row) == pytest.approx(r, abs=1e-6) and (row["unit"], row["n"]) == ("replicate groups", "6")
        assert value(ceiling) == pytest.approx(np.sqrt(r), abs=1e-6) if r > 0 else ceiling["value"] == "NA"


def test_without_replicates_there_is_no_ceiling(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", groups=[f"g{i}" for i in range(8)])
    scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), dataset)
    assert not {"replicate", "ceiling"} & {name for name, *_ in scores}


def test_a_control_has_scores_and_is_no_baseline(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    scores = evaluate(tmp_path, made(tmp_path / "toy.h5", dataset, shuffled=True), dataset)
    assert ("shuffled", "", "r_gene_dev", "pooled") in scores and {against for _, against, *_ in scores} == {"", *SD, "shuffled"}
    assert "r_shuffled" not in rows_of(tmp_path / "genes.tsv")[0]


def test_genes_say_by_what_they_are_predictable(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", 12, 20)
    path = made(tmp_path / "toy.h5", dataset)
    with h5py.File(path, "a") as file:
        observed = file["observed"][:]
        observed[:, 4] = observed[0, 4] = 3  # constant, but not its deviations from fold to fold
        observed[2:, 5] = np.nan
        file["observed"][:] = observed
        ridge = file["baselines/ridge"][:]
        ridge[:, :, 7] = np.where(np.isnan(ridge[:, :, 7]), np.nan, observed[:, 7])
        file["baselines/ridge"][:] = ridge
    evaluate(tmp_path, path, dataset)
    rows = rows_of(tmp_path / "genes.tsv")
    assert [row["gene"] for row in rows] == [f"G{i}" for i in range(20)] and rows[3]["symbol"] == "g3"
    assert (rows[7]["best"], float(rows[7]["r_best"])) == ("ridge", pytest.approx(1)) and rows[7]["r_mean"] == "NA"
    assert rows[5]["n"] == "2" and {rows[5][name] for name in ("best", "r_best", "low", "high", "q_value", "r_model")} == {"NA"}
    predicted, seen, mean = whole(path, "model")
    r = by_scipy((predicted - mean).T, (seen - mean).T)
    q = benjamini_hochberg(p_value(r, np.where(np.arange(20) == 5, 1, 6)))  # six pairs of replicates
    assert [float(row["r_model"]) for k, row in enumerate(rows) if k != 5] == pytest.approx(np.delete(r, 5).tolist(), abs=1e-6)
    assert [float(row["q_value"]) for k, row in enumerate(rows) if k != 5] == pytest.approx(np.delete(q, 5).tolist(), rel=1e-4)
    row = next(row for row in rows if row["best"] == "model")
    k = int(row["gene"][1:])
    low, high = fisher_interval(np.array([float(row["r_best"])]), np.array([6]))
    assert (float(row["low"]), float(row["high"])) == pytest.approx((low[0], high[0]), abs=1e-6)
    assert float(row["sd"]) == pytest.approx(np.std((seen - mean)[:, k], ddof=1), abs=1e-6)
    with h5py.File(path) as file:
        sds = (file["training_sd"][:] + 1e-3) * (file["role"][:] == TEST)
    in_sd = np.abs(predicted - seen)[:, k] / sds.sum(axis=0)[:, k]
    assert float(row["mae_model"]) == pytest.approx(np.nanmean(in_sd), rel=1e-5) and float(row["mae_mean"]) > 0


def test_a_dataset_with_fewer_folds_is_refused(tmp_path):
    dataset, other = tiny_dataset(tmp_path / "dataset.h5"), tiny_dataset(tmp_path / "other.h5", samples=6)
    with pytest.raises(InputError, match="toy.h5 has a fold 3, other.h5 has 3; give the dataset of this run"):
        evaluate(tmp_path, made(tmp_path / "toy.h5", dataset), other)


def test_predictions_without_baselines_are_refused(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    path = made(tmp_path / "toy.h5", dataset)
    with h5py.File(path, "a") as file:
        del file["baselines"]
    with pytest.raises(InputError, match="toy.h5: not a file of predictions made by combine.py: baselines is missing"):
        evaluate(tmp_path, path, dataset)
    assert not (tmp_path / "scores.tsv").exists()


def test_predictions_of_several_families_share_one_table_of_genes(tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5")
    first, second = (made(tmp_path / f"{name}.h5", dataset) for name in ("a", "b"))
    with h5py.File(second, "a") as file:
        file.attrs["family"] = "other"
        file.move("baselines/rule", "baselines/trees")
    tables = ["--samples-out", tmp_path / "samples.tsv", "--genes-out", tmp_path / "genes.tsv", "--out", tmp_path / "scores.tsv"]
    run_script("evaluate", "--predictions", second, first, "--dataset", dataset, *tables)
    rows = rows_of(tmp_path / "genes.tsv")
    assert [name for name in rows[0] if name.startswith("r_")] == ["r_best", "r_model", "r_mean", "r_ridge", "r_rule", "r_trees"]
    assert rows[0]["family"] == "toy" and rows[0]["r_trees"] == "NA" and rows[-1]["family"] == "other" and rows[-1]["r_rule"] == "NA"
    assert evaluate_script.GENE_COLUMNS == tuple(list(rows[0])[:10])
