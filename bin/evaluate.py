#!/usr/bin/env python3
"""Score every family beside its baselines: predictions → scores.tsv, and one table each of samples and of genes."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import TEST, Dataset, open_hdf5
from exprcast.folds import leakage
from exprcast.metrics import Estimate, Scores, benjamini_hochberg, difference, p_value, score, summarise
from exprcast.tables import write_table

GAINS = ("r_gene_dev", "r_sample", "r_gene", "mse")
SCORE_COLUMNS = ("family", "predictor", "against", "metric", "scope", "value", "low", "high", "n")


def evaluate(options: argparse.Namespace) -> None:
    """Write scores, per-sample and per-gene tables over all families, and the leakage table of the dataset."""
    scores, samples, genes = [], [], []
    for path in sorted(options.predictions):
        with open_hdf5(path, "predictions") as file:
            if file.attrs.get("format") != "exprcast-predictions":
                raise InputError(f"{path.name}: not a file of predictions")
            family = str(file.attrs["family"])
            pooled = {name: score(*pooled_matrices(file, name)) for name in predictors(file)}
            scores += score_rows(family, pooled, options.seed) + fold_rows(family, file)
            samples += sample_rows(family, file["rows"].asstr()[:], pooled)
            genes += gene_rows(family, file["columns"].asstr()[:], pooled)
        log.info(f"{family}: " + ", ".join(f"{name} r_gene_dev {known_mean(values.r_gene_dev):.3f}" for name, values in pooled.items()))
    write_table(options.samples_out, ["sample", "family", "predictor", "r_gene", "rho_gene", "r_gene_dev", "mse"], samples)
    write_table(options.genes_out, ["gene", "family", "predictor", "r_sample", "q_value", "n"], genes)
    write_table(options.leakage_out, ["axis", "shared", "promised", "folds_with_sharing", "names"], leakage(Dataset(options.dataset)))
    write_table(options.out, SCORE_COLUMNS, scores)


def predictors(file: h5py.File) -> list[str]:
    """Return the names of all that predicted: the model first."""
    return ["model", *file["baselines"]]


def fold_prediction(file: h5py.File, name: str, i: int) -> np.ndarray:
    """Return (rows, columns) of one predictor in one fold; the model's is the mean over seeds."""
    return file["predicted"][i].mean(axis=0) if name == "model" else file[f"baselines/{name}"][i]


def known_mean(values: np.ndarray | float) -> float:
    """Return the mean of what is not NaN, NaN where nothing is."""
    known = np.atleast_1d(values)[~np.isnan(np.atleast_1d(values))]
    return float(np.mean(known)) if len(known) else np.nan


def pooled_matrices(file: h5py.File, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (predicted, observed, training mean), each (rows, columns): every cell from the fold(s) that tested it, NaN if none.

    The model's prediction is the mean over seeds; cells tested in several folds take the mean over them.
    """
    shape = file["observed"].shape
    total, means, count = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=int)
    for i in range(len(file["folds"])):
        test = file["role"][i] == TEST
        values = fold_prediction(file, name, i)
        total[test] += values[test]
        means[test] += np.broadcast_to(file["training_mean"][i], shape)[test]
        count += test
    with np.errstate(invalid="ignore", divide="ignore"):
        tested = np.where(count > 0, count, np.nan)
        return total / tested, np.where(count > 0, file["observed"][:], np.nan), means / tested


def score_rows(family: str, pooled: dict[str, Scores], seed: int) -> list[tuple]:
    """Return rows of pooled scores, and of the model's paired gains over each baseline."""
    rows = [
        row(family, name, "", metric, "pooled", estimate)
        for name, values in pooled.items()
        for metric, estimate in summarise(values, seed).items()
    ]
    return rows + [
        row(family, "model", name, metric, "pooled", difference(pooled["model"], pooled[name], metric, seed))
        for name in pooled
        if name != "model"
        for metric in GAINS
    ]


def row(family: str, predictor: str, against: str, metric: str, scope: str, estimate: Estimate) -> tuple:
    """Return one row of scores.tsv."""
    return family, predictor, against, metric, scope, estimate.value, estimate.low, estimate.high, estimate.n


def fold_rows(family: str, file: h5py.File) -> Iterator[tuple]:
    """Return the mean over folds of each fold's own scores (another number than the pooled one), with the folds' range."""
    rows = []
    for name in predictors(file):
        by_fold = [fold_scores(file, name, i) for i in range(len(file["folds"]))]
        for metric in ("r_gene", "r_gene_dev", "mse", "mae"):
            values = np.array([known_mean(getattr(scores, metric)) for scores in by_fold])
            known = values[~np.isnan(values)]
            estimate = Estimate(float(known.mean()), float(known.min()), float(known.max()), len(known)) if len(known) else Estimate(np.nan)
            rows.append(row(family, name, "", metric, "mean over folds (range)", estimate))
    return rows


def fold_scores(file: h5py.File, name: str, i: int) -> Scores:
    """Return one predictor's scores on the test cells of one fold."""
    test = file["role"][i] == TEST
    values = fold_prediction(file, name, i)
    predicted, observed = (np.where(test, matrix, np.nan) for matrix in (values, file["observed"][:]))
    return score(predicted, observed, np.broadcast_to(file["training_mean"][i], observed.shape))


def sample_rows(family: str, ids: np.ndarray, pooled: dict[str, Scores]) -> list[tuple]:
    """Return one row a sample and predictor."""
    return [
        (ids[i], family, name, s.r_gene[i], s.rho_gene[i], s.r_gene_dev[i], s.mse_sample[i])
        for name, s in pooled.items()
        for i in range(len(ids))
    ]


def gene_rows(family: str, ids: np.ndarray, pooled: dict[str, Scores]) -> list[tuple]:
    """Return one row a gene and predictor; q is the Benjamini-Hochberg adjusted p of r > 0."""
    rows = []
    for name, scores in pooled.items():
        q = benjamini_hochberg(p_value(scores.r_sample, scores.n_sample))
        if not np.isnan(scores.r_sample).all():
            rows += [(ids[i], family, name, scores.r_sample[i], q[i], scores.n_sample[i]) for i in range(len(ids))]
    return rows


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="what combine.py wrote, one file a family")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--seed", type=int, default=1, help="seed of the bootstrap")
    parser.add_argument("--samples-out", type=Path, required=True, help="TSV, one row a sample and predictor")
    parser.add_argument("--genes-out", type=Path, required=True, help="TSV, one row a gene and predictor")
    parser.add_argument("--leakage-out", type=Path, required=True, help="TSV of what test and training parts share")
    parser.add_argument("--out", type=Path, required=True, help="TSV of all scores")
    return parser


def main(options: argparse.Namespace) -> None:
    """Score, then say with what."""
    evaluate(options)
    write_task(options.task_out, "numpy", "scipy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
