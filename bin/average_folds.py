#!/usr/bin/env python3
"""Make one prediction with an interval of what all folds of a bundle predict for new samples → <family>.h5, in the form of predictions."""

import argparse
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from exprcast.bundle import ENSEMBLE, WEIGHTS, Bundle
from exprcast.calibration import CONFIDENCE, Calibration, clip, coverage, intervals, of_bundle
from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.dataset import TEST, TRAIN, VALID, Dataset, open_hdf5
from exprcast.joined import JoinedDataset
from exprcast.means import nan_mean
from exprcast.novelty import lies_outside, new_distances
from exprcast.tables import few

ROWS_AT_ONCE = 128
GENE_COLUMNS = ("symbol", "chrom", "strand")


class Members:
    """What each fold's networks and rules predicted for new samples, of one family or of all that an ensemble averages."""

    def __init__(self, files: list[h5py.File], bundle: Bundle, seen: np.ndarray) -> None:
        self.files = {(str(file.attrs["family"]), int(file.attrs["fold"])): file for file in files}
        self.bundle, self.seen = bundle, seen  # (folds, genes): whether the gene's RNA was known to the fold
        self.owners, self.weights = read_weights(bundle) if bundle.family == ENSEMBLE else ({}, {})
        families = sorted(set(self.owners.values())) or [bundle.family]
        lacking = [f"{family} fold {fold}" for family in families for fold in bundle.folds if (family, fold) not in self.files]
        if lacking:
            raise InputError(f"bundle {bundle.path.name}: no predictions of {few(lacking)}; apply every fold of {', '.join(families)}")

    def names(self) -> list[str]:
        """Return what is shown beside the mean: rules, or of an ensemble its members."""
        file = next(iter(self.files.values()))
        return sorted(self.weights or (name for name in file if name not in ("rows", "columns") and not name.startswith("seed")))

    def member(self, name: str, fold: int, rows: slice) -> np.ndarray:
        """Return (rows, genes) float64: a family's mean over its seeds, or a rule; ‹family›.‹rule› where families have different ones."""
        owner = self.owners.get(name, self.bundle.family)
        file, rule = self.files[owner, fold], name.removeprefix(f"{owner}.")
        arrays = [key for key in file if key.startswith("seed")] if rule == owner else [rule]
        return np.mean([file[key][rows] for key in arrays], axis=0, dtype=np.float64)

    def predict(self, rows: slice) -> np.ndarray:
        """Return (folds, rows, genes) float32. A fold that did not know a gene's RNA takes the mean of those that did."""
        if not self.weights:
            return self.known(np.stack([self.member(self.bundle.family, fold, rows) for fold in self.bundle.folds])).astype(np.float32)
        parts = []
        for number, fold in enumerate(self.bundle.folds):
            used = {name: weight[number] for name, weight in self.weights.items() if weight[number] > 0}
            parts.append(sum(weight * self.member(name, fold, rows) for name, weight in used.items()))
        return self.known(np.stack(parts)).astype(np.float32)

    def beside(self, name: str, rows: slice) -> np.ndarray:
        """Return (rows, genes): one rule or member, mean over folds."""
        return self.known(np.stack([self.member(name, fold, rows) for fold in self.bundle.folds])).mean(axis=0)

    def known(self, by_fold: np.ndarray) -> np.ndarray:
        """Return (folds, rows, genes) in which folds that a gene was held out of have the mean over the others, if there is one."""
        if self.seen.all():
            return by_fold
        seen = self.seen | ~self.seen.any(axis=0)
        mean = np.where(seen[:, None], by_fold, 0).sum(axis=0) / seen.sum(axis=0)
        return np.where(seen[:, None], by_fold, mean)


def read_weights(bundle: Bundle) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return {member: family} and {member: (folds,) weights} of an ensemble."""
    with bundle.hdf5(WEIGHTS) as file:
        names, owners, weights = list(file["members"].asstr()[:]), list(file["owners"].asstr()[:]), file["weights"][:]
    if weights.shape != (len(bundle.folds), len(names)) or len(owners) != len(names) or not np.isfinite(weights).all():
        raise InputError(
            f"bundle {bundle.path.name}: {WEIGHTS} has weights {weights.shape} of {len(names)} members in {len(bundle.folds)} folds"
        )
    return dict(zip(names, owners, strict=True)), dict(zip(names, weights.T, strict=True))


def average_folds(options: argparse.Namespace) -> None:
    """Average, add intervals and how far each sample is from training, and write the file."""
    bundle, new = Bundle(options.bundle), Dataset(options.dataset)
    bundle.refuse_other(new)
    training, calibration = bundle.training, of_bundle(bundle)
    with ExitStack() as stack:
        files = [stack.enter_context(open_hdf5(path, "applied predictions")) for path in options.applied]
        members = Members(files, bundle, training.gene_role[bundle.folds] <= (VALID if bundle.refit else TRAIN))
        for name, ids in (("rows", new.samples), ("columns", training.genes)):
            if any(list(file[name].asstr()[:]) != ids for file in files):
                raise InputError(f"predictions are of other {'samples' if name == 'rows' else 'genes'} than {new.path.name}; apply again")
        with whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
            write_facts(out, members, training, new)
            measured = write_predictions(out, members, training, new, calibration)
    if measured and options.measured_out:
        options.measured_out.write_text("RNA of new samples was measured\n")


def write_predictions(out: h5py.File, members: Members, training: Dataset, new: Dataset, calibration: Calibration | None) -> bool:
    """Write every matrix, a block of samples at a time, and who is near to whom; say whether any RNA was measured."""
    unit, shape, names = members.bundle.unit, (len(new.samples), len(training.genes)), members.names()
    arrays = {name: create(out, name, shape, 0) for name in ("observed", "low", "high")}
    out.create_group("baselines")  # none where no RNA is known
    arrays |= {f"baselines/{name}": create(out, f"baselines/{name}", shape, 1) for name in names}
    predicted = create(out, "predicted", shape, 2)
    nearest, distance, measured = [], [], False
    for start in range(0, shape[0], ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, shape[0]))
        joined = JoinedDataset(training, new, np.arange(rows.start, rows.stop))
        near, by_fold = new_distances(joined), members.predict(rows)
        nearest, distance = nearest + near.sample, np.append(distance, near.distance)
        low, high = intervals(calibration, by_fold, near.distance) if calibration else np.full((2, *by_fold.shape[1:]), np.nan)
        observed = to_target(joined.measured("expression/gene"), unit)
        measured |= bool(np.isfinite(observed).any())
        predicted[0, 0, rows] = clip(by_fold.mean(axis=0, dtype=np.float64), unit)
        for name, values in (("observed", observed), ("low", low), ("high", high)):
            arrays[name][rows] = values
        for name in names:
            arrays[f"baselines/{name}"][0, rows] = clip(members.beside(name, rows), unit)
    write_samples(out, nearest, distance, calibration.distance if calibration else np.array([]))
    if calibration:
        write_calibration(out, training, calibration)
    return measured


def create(out: h5py.File, name: str, shape: tuple[int, int], outer: int) -> h5py.Dataset:
    """Make a float32 array (…, samples, genes), stored by rows, NaN until it is written."""
    stored = {"compression": "gzip", "compression_opts": 1, "fillvalue": np.nan, "track_times": False}
    return out.create_dataset(name, (*[1] * outer, *shape), "f4", chunks=(*[1] * outer, 1, shape[1]), **stored)


def write_facts(out: h5py.File, members: Members, training: Dataset, new: Dataset) -> None:
    """Write ids, the gene table, training means and standard deviations, roles (all are tested) and what predicted."""
    bundle, content, text = members.bundle, members.bundle.content, h5py.string_dtype()
    copied = {key: content[key] for key in ("family", "preset", "axes", "unit", "methods")}
    out.attrs.update({"format": "exprcast-predictions", "format-version": 2, **copied})
    out.attrs.update({"confidence": CONFIDENCE, "bundle": f"{content['family']}, made of {content['samples']} samples"})
    out.create_dataset("rows", data=new.samples, dtype=text)
    out.create_dataset("columns", data=training.genes, dtype=text)
    for column in GENE_COLUMNS:
        values = training.text(f"genes/{column}") if training.has(f"genes/{column}") else [""] * len(training.genes)
        out.create_dataset(f"genes/{column}", data=values, dtype=text)
    observed = to_target(training.array("expression/gene"), bundle.unit)
    mean = nan_mean(observed, axis=0)
    for name, values in (("training_mean", mean), ("training_sd", np.sqrt(nan_mean((observed - mean) ** 2, axis=0)))):
        out[name] = values[None, None].astype(np.float32)
    out["folds"], out["seeds"] = [0], [1]
    collapsed = sorted(f"{family} fold {fold}" for (family, fold), file in members.files.items() if file.attrs["collapsed"])
    if collapsed:
        log.warning(f"warning: networks that collapsed in training are among those that predict ({few(collapsed)}); do not use the result")
    out.create_dataset("status", data=[["collapsed" if collapsed else "trained"]], dtype=text)
    if members.weights:
        out.create_dataset("members", data=list(members.weights), dtype=text)
        out["weights"] = np.array([[weight.mean() for weight in members.weights.values()]])
    shape = len(new.samples), len(training.genes)
    out.create_dataset("role", (1, *shape), "u1", chunks=(1, 1, shape[1]), compression="gzip", fillvalue=TEST, track_times=False)


def to_target(values: np.ndarray, unit: str) -> np.ndarray:
    """Return measured expression in the unit of predictions."""
    return np.log2(1 + values) if unit.startswith("log2(") else values


def write_samples(out: h5py.File, nearest: list[str], distance: np.ndarray, held_out: np.ndarray) -> None:
    """Write how far each new sample is from training, and tell who lies outside."""
    outside = lies_outside(distance, held_out)
    out.create_dataset("samples/nearest", data=nearest, dtype=h5py.string_dtype())
    out["samples/distance"], out["samples/outside"] = distance, outside
    known = held_out[~np.isnan(held_out)]
    for sample, name, far, strange in zip(out["rows"].asstr()[:], nearest, distance, outside, strict=True):
        if strange:
            seen = f"held-out training samples were {known.min():.3f} to {known.max():.3f} from theirs"
            far_off = f"{far:.3f} from its nearest training sample ({name}), {seen}"
            log.warning(f"warning: {sample} lies outside what was seen: {far_off}; intervals may be too narrow")


def write_calibration(out: h5py.File, training: Dataset, calibration: Calibration) -> None:
    """Write how often intervals held for training samples while their group was left out."""
    text = h5py.string_dtype()
    out.create_dataset("calibration/sample", data=[training.samples[i] for i in calibration.sample], dtype=text)
    out.create_dataset("calibration/group", data=[str(group) for group in calibration.group], dtype=text)
    out["calibration/distance"], out["calibration/coverage"] = calibration.distance, coverage(calibration)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="models/‹family› of a finished run")
    parser.add_argument(
        "--applied", type=Path, nargs="+", required=True, help="what apply.py wrote: every fold; for the ensemble of every family"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5 of the new samples")
    parser.add_argument("--measured-out", type=Path, help="written if RNA of a new sample was measured, so that predictions can be scored")
    parser.add_argument("--out", type=Path, required=True, help="HDF5: predictions, intervals, observed values, rules")
    return parser


def main(options: argparse.Namespace) -> None:
    """Average, then say with what."""
    average_folds(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
