#!/usr/bin/env python3
"""Average what all families and their simple rules predict, with weights learned on validation cells: <family>.h5 files → ensemble.h5."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from exprcast.cell_table import write_cells
from exprcast.cli import log, run, whole_file, write_task
from exprcast.dataset import Dataset
from exprcast.ensemble import TRUST, Member, average, choose_alike, family_of, learn_all, list_members
from exprcast.estimates import number_groups
from exprcast.scoring import open_predictions, row_blocks
from exprcast.tables import refuse_duplicates

COPIED = ("rows", "columns", "folds", "observed", "role", "training_mean", "training_sd")
METHODS = (
    "It is the weighted mean of {count} predictions: {names}. In each fold the weights (none negative, their sum 1) minimise the squared error over "
    "measured validation values, all groups of samples counting alike, plus {trust} times the best member's error times the squared distance from the "
    "plain mean of the networks, so that few validation groups do not decide alone. They were learned on predictions by fits whose epochs and penalties "
    "these values had chosen, but that were not fitted on them; test values took no part."
)


def ensemble(options: argparse.Namespace) -> None:
    """Choose the members, learn their weights fold by fold, and write the ensemble as if it were a family."""
    with ExitStack() as stack:
        files = sorted((stack.enter_context(open_predictions(path)) for path in options.predictions), key=family_of)
        refuse_duplicates(map(family_of, files), "predictions: family")
        alike, others = choose_alike(files)
        groups = number_groups(Dataset(options.dataset), list(alike[0]["rows"].asstr()[:]))
        members, weights, lacking = learn_all(list_members(alike), groups)
        left_out = others | lacking
        for name, why in left_out.items():
            log.info(f"{name} is left out: {why}")
        for member, own in zip(members, weights.T, strict=True):
            log.info(f"{member.name}: weight {own.mean():.3f} ({own.min():.3f} to {own.max():.3f} over folds)")
        with whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
            write_ensemble(out, members, weights, describe_methods(alike, members, left_out))
    with h5py.File(options.out) as out:
        write_cells(options.table_out, out)


def describe_methods(files: Sequence[h5py.File], members: Sequence[Member], left_out: dict[str, str]) -> str:
    """Return the methods text: what is averaged, how the weights were learned, what was left out, which networks collapsed."""
    said = [METHODS.format(count=len(members), names=", ".join(member.name for member in members), trust=TRUST)]
    if left_out:
        said.append(f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}.")
    collapsed = [family_of(file) for file in files if (file["status"].asstr()[:] == "collapsed").any()]
    if collapsed:
        said.append(f"Networks of {', '.join(collapsed)} collapsed; their predictions were weighted like any other.")
    return " ".join(said)


def write_ensemble(out: h5py.File, members: Sequence[Member], weights: np.ndarray, methods: str) -> None:
    """Write what combine.py writes of a family, with the members as baselines, and (folds, members) weights."""
    first = members[0].file
    axes = max((str(member.file.attrs["axes"]) for member in members), key=len)  # of samples and samples×genes the latter
    out.attrs.update({name: first.attrs[name] for name in ("format", "format-version", "unit")})
    out.attrs.update({"family": "ensemble", "preset": "", "axes": axes, "methods": methods})
    for name in COPIED:
        first.copy(name, out)
    out["seeds"] = first["seeds"][:1]
    out.create_dataset("status", data=[["trained"]] * len(weights), dtype=h5py.string_dtype())
    out.create_dataset("members", data=[member.name for member in members], dtype=h5py.string_dtype())
    out.create_dataset("owners", data=[family_of(member.file) for member in members], dtype=h5py.string_dtype())
    out["weights"] = weights
    write_predictions(out, members, weights)


def write_predictions(out: h5py.File, members: Sequence[Member], weights: np.ndarray) -> None:
    """Write the weighted mean, and each member's predictions as those of a baseline, stored like the roles."""
    role, stored = out["role"], {"dtype": "f4", "track_times": False}  # a time of writing would change the bytes
    folds, *shape = role.shape
    chunks = (1, 1, *role.chunks[1:]) if role.chunks else None
    predicted = out.create_dataset_like("predicted", role, shape=(folds, 1, *shape), chunks=chunks, maxshape=None, **stored)
    for member in members:
        if member.baseline:
            member.file.copy(f"baselines/{member.baseline}", out, f"baselines/{member.name}")
        else:
            out.create_dataset_like(f"baselines/{member.name}", role, **stored)
    for fold in range(folds):
        for rows in row_blocks(out):
            predicted[fold, 0, rows] = average(members, weights[fold], fold, rows)
            for member in members:
                if not member.baseline:
                    out[f"baselines/{member.name}"][fold, rows] = member.read(fold, rows)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="what combine.py wrote, one file a family")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5: which samples belong together")
    parser.add_argument("--table-out", type=Path, required=True, help="TSV, one row a test cell; none of more than 2 million rows")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 of the ensemble's predictions, its members' and its weights")
    return parser


def main(options: argparse.Namespace) -> None:
    """Average, then say with what."""
    ensemble(options)
    write_task(options.task_out, "numpy", "scipy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
