#!/usr/bin/env python3
"""Put one family's predictions of all folds and seeds side by side: fold files → <family>.h5 and a table of its test cells."""

import argparse
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from exprcast.cell_table import MOST_ROWS, write_cells
from exprcast.cli import InputError, run, whole_file, write_task
from exprcast.dataset import TEST, open_hdf5
from exprcast.prediction_file import create_matrices
from exprcast.scoring import row_blocks

FORMAT, FORMAT_VERSION = "exprcast-predictions", 2
MOMENTS = ("training_mean", "training_sd")
NOT_A_BASELINE = {"rows", "columns", "observed", "role", *MOMENTS}


def combine(options: argparse.Namespace) -> None:
    """Check that the files belong together, then write (folds, seeds, rows, columns) predictions."""
    with ExitStack() as stack:
        files = [stack.enter_context(open_hdf5(path, "predictions")) for path in options.predictions]
        models = {(int(file.attrs["fold"]), int(file.attrs["seed"])): file for file in files if file.attrs["of"] == "model"}
        others = {kind: {int(file.attrs["fold"]): file for file in files if file.attrs["of"] == kind} for kind in kinds(files)}
        baselines, controls = others.pop("baselines", {}), others
        folds, seeds = sorted(baselines), sorted({seed for _, seed in models})
        check_complete(models, baselines, controls, folds, seeds)
        with whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
            write_combined(out, models, baselines, controls, folds, seeds)
        if options.table_out:
            with h5py.File(options.out) as out:
                write_cells(options.table_out, out, options.table_rows)


def kinds(files: list[h5py.File]) -> list[str]:
    """Return what predicted beside the model: "baselines", and the names of controls."""
    return sorted({str(file.attrs["of"]) for file in files} - {"model"})


def check_complete(models: dict, baselines: dict, controls: dict, folds: list[int], seeds: list[int]) -> None:
    """Raise InputError unless every fold has every seed, and all files have the same family, preset, rows and columns, and models (and baselines) the same code."""
    lacking = [f"fold {fold} seed {seed}" for fold in folds for seed in seeds if (fold, seed) not in models]
    lacking += [f"fold {fold} {name}" for name, by_fold in controls.items() for fold in folds if fold not in by_fold]
    if lacking or not models or set(folds) != {fold for fold, _ in models}:
        raise InputError(f"predictions are not complete: {', '.join(lacking) + ' missing' if lacking else 'a fold has no baselines'}")
    files = [*models.values(), *baselines.values(), *(file for by_fold in controls.values() for file in by_fold.values())]
    for name in ("rows", "columns"):
        if any(not np.array_equal(file[name][:], files[0][name][:]) for file in files):
            raise InputError(f"predictions do not belong together: their {name} differ")
    for name, alike in (("preset", files), ("code", [*models.values()]), ("code", [*baselines.values()])):
        if len({str(file.attrs[name]) for file in alike}) > 1:
            raise InputError(f"predictions do not belong together: their {name} differs; predict again with one version of the code")
    if len({bool(file.attrs["refit"]) for file in files}) > 1:
        raise InputError("predictions do not belong together: some were fitted again with --refit and some were not; train all alike")
    if len({file.attrs["family"] for file in files}) > 1:
        raise InputError(f"predictions of several families: {', '.join(sorted({str(file.attrs['family']) for file in files}))}")


def write_combined(out: h5py.File, models: dict, baselines: dict, controls: dict, folds: list[int], seeds: list[int]) -> None:
    """Write ids, observed values, roles, training means and standard deviations, predictions and baselines, one block of rows at a time."""
    first = baselines[folds[0]]
    shape = first["observed"].shape
    out.attrs.update({"format": FORMAT, "format-version": FORMAT_VERSION, **{key: first.attrs[key] for key in ("family", "axes", "unit")}})
    out.attrs.update({key: models[folds[0], seeds[0]].attrs[key] for key in ("preset", "methods")})
    for name in ("rows", "columns"):
        out.create_dataset(name, data=first[name][:], dtype=h5py.string_dtype())
    out["folds"], out["seeds"] = folds, seeds
    out.create_dataset("status", data=[[models[fold, seed].attrs["status"] for seed in seeds] for fold in folds], dtype=h5py.string_dtype())
    for name in MOMENTS:
        out[name] = np.stack([baselines[fold][name][:] for fold in folds])
    observed = create_matrices(out, "observed", shape, "f4")
    role = create_matrices(out, "role", (len(folds), *shape), "u1")
    predicted = create_matrices(out, "predicted", (len(folds), len(seeds), *shape), "f4")
    names = sorted(set(first) - NOT_A_BASELINE)
    arrays = {name: create_matrices(out, f"baselines/{name}", (len(folds), *shape), "f4") for name in names}
    control = {name: create_matrices(out, f"controls/{name}", (len(folds), *shape), "f4") for name in controls}
    for rows in row_blocks(out):
        values = first["observed"][rows]
        for i, fold in enumerate(folds):
            role[i, rows] = own_role = baselines[fold]["role"][rows]
            values = np.where(own_role == TEST, baselines[fold]["observed"][rows], values)
            for name, array in arrays.items():
                array[i, rows] = baselines[fold][name][rows]
            for name, array in control.items():
                array[i, rows] = controls[name][fold]["model"][rows]
            for j, seed in enumerate(seeds):
                predicted[i, j, rows] = models[fold, seed]["model"][rows]
        observed[rows] = values  # as the fold sees it that tests it: a scale may be learned from training samples


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
    parser.add_argument("--table-rows", type=int, default=MOST_ROWS, help="no table with more rows than this")
    parser.add_argument("--table-out", type=Path, help="TSV, one row a test cell")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of all predictions")
    return parser


def main(options: argparse.Namespace) -> None:
    """Combine, then say with what."""
    combine(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
