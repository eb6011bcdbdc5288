#!/usr/bin/env python3
"""Put one family's predictions of all folds and seeds side by side: fold files → <family>.h5 and a table of its test cells."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.dataset import TEST, open_hdf5
from exprcast.tables import write_table

FORMAT, FORMAT_VERSION = "exprcast-predictions", 1
NOT_A_BASELINE = {"rows", "columns", "observed", "role", "training_mean"}


def combine(options: argparse.Namespace) -> None:
    """Check that the files belong together, then write (folds, seeds, rows, columns) predictions, one fold at a time."""
    with ExitStack() as stack:
        files = [stack.enter_context(open_hdf5(path, "predictions")) for path in options.predictions]
        models = {(int(file.attrs["fold"]), int(file.attrs["seed"])): file for file in files if file.attrs["of"] == "model"}
        baselines = {int(file.attrs["fold"]): file for file in files if file.attrs["of"] == "baselines"}
        folds, seeds = sorted(baselines), sorted({seed for _, seed in models})
        check_complete(models, baselines, folds, seeds)
        with whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
            write_combined(out, models, baselines, folds, seeds)
            cells = int(sum((out["role"][i] == TEST).sum() for i in range(len(folds))))
        with h5py.File(options.out) as out:
            log.info(f"{len(folds)} folds, {len(seeds)} seeds, {cells:,} test cells")
            table = options.table_out if cells <= options.table_rows else None
            if options.table_out and not table:
                log.info(f"no table of more than {options.table_rows:,} rows is written; {options.out.name} holds all")
            if table:
                write_table(table, ["row", "column", "fold", "observed", "model", *out["baselines"]], test_cells(out))


def check_complete(models: dict, baselines: dict, folds: list[int], seeds: list[int]) -> None:
    """Raise InputError unless every fold has every seed, and all files have the same family, code, rows and columns."""
    lacking = [f"fold {fold} seed {seed}" for fold in folds for seed in seeds if (fold, seed) not in models]
    if lacking or not models or set(folds) != {fold for fold, _ in models}:
        raise InputError(f"predictions are not complete: {', '.join(lacking) + ' missing' if lacking else 'a fold has no baselines'}")
    files = [*models.values(), *baselines.values()]
    for name in ("rows", "columns"):
        if any(not np.array_equal(file[name][:], files[0][name][:]) for file in files):
            raise InputError(f"predictions do not belong together: their {name} differ")
    if len({file.attrs["family"] for file in files}) > 1:
        raise InputError(f"predictions of several families: {', '.join(sorted({str(file.attrs['family']) for file in files}))}")


def write_combined(out: h5py.File, models: dict, baselines: dict, folds: list[int], seeds: list[int]) -> None:
    """Write ids, observed values, roles, training means, predictions and baselines."""
    first = baselines[folds[0]]
    shape = first["observed"].shape
    one = {"chunks": (1, 1, *shape), "compression": "gzip"}
    out.attrs.update({"format": FORMAT, "format-version": FORMAT_VERSION, **{key: first.attrs[key] for key in ("family", "axes", "unit")}})
    out.attrs["preset"] = models[folds[0], seeds[0]].attrs["preset"]
    for name in ("rows", "columns"):
        out.create_dataset(name, data=first[name][:], dtype=h5py.string_dtype())
    out["folds"], out["seeds"] = folds, seeds
    out.create_dataset("status", data=[[models[fold, seed].attrs["status"] for seed in seeds] for fold in folds], dtype=h5py.string_dtype())
    out.create_dataset("observed", data=first["observed"][:], chunks=shape, compression="gzip")
    role = out.create_dataset("role", shape=(len(folds), *shape), dtype="u1", chunks=(1, *shape), compression="gzip")
    predicted = out.create_dataset("predicted", shape=(len(folds), len(seeds), *shape), dtype="f4", **one)
    arrays = {
        name: out.create_dataset(f"baselines/{name}", shape=(len(folds), *shape), dtype="f4", chunks=(1, *shape), compression="gzip")
        for name in sorted(set(first) - NOT_A_BASELINE)
    }
    means = []
    for i, fold in enumerate(folds):
        role[i] = baselines[fold]["role"][:]
        means.append(baselines[fold]["training_mean"][:])
        for name, array in arrays.items():
            array[i] = baselines[fold][name][:]
        for j, seed in enumerate(seeds):
            predicted[i, j] = models[fold, seed]["model"][:]
    out.create_dataset("training_mean", data=np.stack(means))


def test_cells(out: h5py.File) -> Iterator[list[object]]:
    """Yield one row a test cell: ids, fold, observed, the mean prediction over seeds, and each baseline's."""
    rows, columns, observed = (out[name].asstr()[:] if name != "observed" else out[name][:] for name in ("rows", "columns", "observed"))
    for i, fold in enumerate(out["folds"][:]):
        model = out["predicted"][i].mean(axis=0)
        others = [out[f"baselines/{name}"][i] for name in out["baselines"]]
        for row, column in zip(*np.nonzero(out["role"][i] == TEST), strict=True):
            yield [rows[row], columns[column], fold, observed[row, column], model[row, column], *(matrix[row, column] for matrix in others)]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        required=True,
        help="what predict.py wrote: every fold with every seed, and every fold's baselines",
    )
    parser.add_argument("--table-rows", type=int, default=2_000_000, help="no table with more rows than this")
    parser.add_argument("--table-out", type=Path, help="TSV, one row a test cell")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of all predictions")
    return parser


def main(options: argparse.Namespace) -> None:
    """Combine, then say with what."""
    combine(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
