#!/usr/bin/env python3
"""Levels of isoforms: predicted shares of their genes × the genes' levels, measured or predicted by another family → predictions like any family's."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.dataset import LEARNT, TEST, Dataset
from exprcast.isoforms import TARGET, Isoforms, Line, fit_line
from exprcast.means import nan_mean
from exprcast.prediction_file import create_matrices
from exprcast.scoring import open_predictions, row_blocks
from exprcast.tables import few

UNIT = "fraction"
OWN_GENE = "own_gene"
COPIED = ("format", "format-version", "axes", "preset")


class Fold(NamedTuple):
    """What training samples of a fold tell of each isoform, arrays (isoforms,) float64."""

    bias: np.ndarray  # what log2(mean share × gene + 1) misses on average
    line: Line  # of the level on that of the own gene
    mean: np.ndarray  # of the level
    sd: np.ndarray


def isoform_levels(options: argparse.Namespace) -> None:
    """Write levels log2(unit + 1) of every predictor of shares, and of a line on the own gene's level."""
    dataset = Dataset(options.dataset)
    with open_predictions(options.predictions) as shares, whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
        isoforms = Isoforms(dataset)
        check(shares, dataset, isoforms)
        levels = partial(predicted_levels, options.genes, dataset, isoforms) if options.genes else measured_levels
        folds = [learn_fold(isoforms, shares["role"][i, :, 0]) for i in range(len(shares["folds"]))]
        write_levels(out, shares, isoforms, folds, levels)
        of_genes = f"predicted by {options.genes.stem}" if options.genes else "as measured"
        out.attrs["methods"] = (
            f"{shares.attrs['methods']} Levels of isoforms are these shares times the level of the gene, {of_genes}, plus what the logarithm of the mean share "
            "times the gene misses on average in training samples."
        )
        log.info(f"{out.attrs['family']}: {len(isoforms.ids):,} isoforms; levels of genes {of_genes}")


def check(shares: h5py.File, dataset: Dataset, isoforms: Isoforms) -> None:
    """Raise InputError unless predictions are shares of this dataset's isoforms."""
    name = Path(shares.filename).name
    if shares.attrs["unit"] != UNIT:
        raise InputError(f"{name}: predictions in {shares.attrs['unit']}; shares of isoforms are needed, which deepsf predicts")
    if list(shares["rows"].asstr()[:]) != dataset.samples or list(shares["columns"].asstr()[:]) != isoforms.ids:
        raise InputError(f"{name}: its samples or isoforms are not those of {dataset.path.name}; give the dataset of this run")


def learn_fold(isoforms: Isoforms, roles: np.ndarray) -> Fold:
    """Return what the training and validation samples of a fold tell; `roles` (samples,)."""
    samples = np.flatnonzero(np.isin(roles, LEARNT))
    own, gene = isoforms.values(samples)
    gene = gene[:, isoforms.group]
    level, of_gene = np.log2(own + 1), np.log2(gene + 1)
    share = np.nan_to_num(nan_mean(isoforms.shares(samples), axis=0))
    mean = nan_mean(level, axis=0)
    sd = np.sqrt(nan_mean((level - mean) ** 2, axis=0))
    return Fold(nan_mean(level - np.log2(share * gene + 1), axis=0), fit_line(level, of_gene), mean, sd)


def measured_levels(isoforms: Isoforms, rows: slice, _fold: int) -> np.ndarray:
    """Return (rows, genes) levels as measured: the sum of each gene's transcripts."""
    return isoforms.values(np.arange(rows.start, rows.stop))[1]


def predicted_levels(path: Path, dataset: Dataset, isoforms: Isoforms, _same: Isoforms, rows: slice, fold: int) -> np.ndarray:
    """Return (rows, genes) levels in the dataset's unit as another family predicts them in the fold that tests the sample; NaN elsewhere."""
    unit = dataset.unit(TARGET)
    with open_predictions(path) as file:
        if file.attrs["unit"] != f"log2({unit} + 1)" or list(file["rows"].asstr()[:]) != dataset.samples:
            raise InputError(f"{path.name}: log2({unit} + 1) of the same samples is needed; it has {file.attrs['unit']}")
        place = {gene: number for number, gene in enumerate(file["columns"].asstr()[:])}
        wanted = [dataset.genes[gene] for gene in isoforms.genes]
        known = np.array([place.get(gene, -1) for gene in wanted])
        if (known < 0).all():
            raise InputError(f"{path.name}: none of the isoforms' genes is predicted there; it has {few(list(place))}")
        values = file["predicted"][fold, :, rows].mean(axis=0)
        tested = file["role"][fold, rows] == TEST
    values = np.where(tested, np.exp2(values.astype(np.float64)) - 1, np.nan)
    return np.where(known >= 0, values[:, known], np.nan)


def write_levels(out: h5py.File, shares: h5py.File, isoforms: Isoforms, folds: list[Fold], levels: object) -> None:
    """Write all predictors' levels in the form that combine.py has, a block of rows at a time."""
    unit = f"log2({isoforms.dataset.unit(TARGET)} + 1)"
    out.attrs.update({key: shares.attrs[key] for key in COPIED} | {"family": f"{shares.attrs['family']}_levels", "unit": unit})
    for name in ("rows", "columns", "folds", "seeds", "status", "role"):
        shares.copy(name, out)
    for name in ("mean", "sd"):
        out[f"training_{name}"] = np.stack([getattr(fold, name) for fold in folds])[:, None].astype(np.float32)
    observed = create_matrices(out, "observed", shares["observed"].shape, "f4")
    pairs = {key: create_matrices(out, key, shares[key].shape, "f4") for key in predictors(shares)}
    own_gene = create_matrices(out, f"baselines/{OWN_GENE}", (len(folds), *observed.shape), "f4")
    for rows in row_blocks(shares):
        observed[rows] = np.log2(isoforms.values(np.arange(rows.start, rows.stop))[0] + 1)
        for i, fold in enumerate(folds):
            gene = levels(isoforms, rows, i)[:, isoforms.group]
            held_out = ~np.isin(shares["role"][i, rows], LEARNT)
            own_gene[i, rows] = np.where(held_out, fold.line.level(np.log2(gene + 1)), np.nan)
            for key, array in pairs.items():
                for place in np.ndindex(array.shape[1:-2]):
                    at = (i, *place, rows)
                    array[at] = np.maximum(np.log2(np.maximum(shares[key][at], 0) * gene + 1) + fold.bias, 0)


def predictors(shares: h5py.File) -> Iterator[str]:
    """Yield the keys of the network's predictions, of baselines and controls."""
    yield "predicted"
    for kind in ("baselines", "controls"):
        yield from (f"{kind}/{name}" for name in shares.get(kind, ()))


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, required=True, help="shares of isoforms, as combine.py wrote them")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--genes", type=Path, help="predictions of another family for the genes' levels (default: as measured)")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of levels, in the form of combine.py")
    return parser


def main(options: argparse.Namespace) -> None:
    """Multiply, then say with what."""
    isoform_levels(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
