#!/usr/bin/env python3
"""Put all that one family needs to predict new samples into one folder: checkpoints, rules, dataset, residuals → models/<family>/."""

import argparse
import tempfile
from pathlib import Path

import h5py

from exprcast.bundle import CALIBRATION, CARD, FACTS, TRAINING, WEIGHTS, baselines_file, gene_list, network_file, save_bundle
from exprcast.calibration import Calibration, calibrate, save
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import Dataset, open_hdf5
from exprcast.estimates import number_groups
from exprcast.model_card import write_card
from exprcast.novelty import held_out_distances
from exprcast.results import read_tasks
from exprcast.score_tables import read_scores
from exprcast.scoring import open_predictions


def bundle(options: argparse.Namespace) -> None:
    """Calibrate on held-out samples, write the card, and copy what was trained."""
    dataset = Dataset(options.dataset)
    with open_predictions(options.predictions) as predictions, tempfile.TemporaryDirectory() as scratch:
        facts = gather_facts(options, dataset, predictions)
        files = {TRAINING: options.dataset} | trained_files(options, facts)
        calibration = calibrate_samples(dataset, predictions)
        if calibration:
            files[CALIBRATION] = Path(scratch) / CALIBRATION
            with h5py.File(files[CALIBRATION], "w") as file:
                save(calibration, file)
        if "members" in predictions:
            files[WEIGHTS] = write_weights(Path(scratch) / WEIGHTS, predictions)
        files[CARD] = Path(scratch) / CARD
        collapsed = int((predictions["status"].asstr()[:] == "collapsed").sum())
        card = write_card(facts, dataset, read_scores(options.scores), calibration, read_tasks(options.tasks), collapsed)
        files[CARD].write_text(card, encoding="utf-8")
        save_bundle(options.out, facts, files)
    size = sum(path.stat().st_size for path in options.out.iterdir()) / 1e6
    log.info(f"{options.out.name}: {len(facts['folds'])} folds × {len(facts['seeds'])} seeds, {size:.1f} MB")


def gather_facts(options: argparse.Namespace, dataset: Dataset, predictions: h5py.File) -> dict[str, object]:
    """Return what a bundle says of itself."""
    attributes, bins = dict(predictions.attrs), dataset.has("accessibility/bin")
    facts = {
        "family": attributes["family"], "preset": attributes["preset"], "unit": attributes["unit"], "axes": attributes["axes"], "methods": attributes["methods"],
        "hold_out": dataset.hold_out, "assembly": dataset.file.attrs["assembly"], "annotation": dataset.file.attrs["annotation"],
        "bin_bp": dataset.bin_bp if bins else 0, "bin_source": dataset.bin_source if bins else "", "genes": len(dataset.genes), "samples": len(dataset.samples),
        "folds": predictions["folds"][:].tolist(), "seeds": predictions["seeds"][:].tolist(), "refit": False, "gene_list": gene_list(dataset.genes),
        "code": options.code, "exprcast": options.version,
    }  # fmt: skip
    facts |= {"refit": any(load_checkpoint(path)["selection"] is not None for path in options.checkpoints[:1])}
    return {name: kind(facts[name]) for name, kind in FACTS.items()}


def trained_files(options: argparse.Namespace, facts: dict[str, object]) -> dict[str, Path]:
    """Return {name in the bundle: file} of networks and rules, every fold with every seed; an ensemble has none of its own."""
    if not options.checkpoints:
        return {}
    files = {}
    for path in options.checkpoints:
        content = load_checkpoint(path)
        files[network_file(content["fold"], content["seed"])] = path
    for path in options.baselines:
        with open_hdf5(path, "fitted baselines") as file:
            files[baselines_file(int(file.attrs["fold"]))] = path
    needed = {name for fold in facts["folds"] for name in (baselines_file(fold), *(network_file(fold, seed) for seed in facts["seeds"]))}
    if needed != files.keys():
        raise InputError(
            f"{facts['family']}: checkpoints and baselines do not fit the predictions: {', '.join(sorted(needed ^ files.keys()))}"
        )
    return files


def calibrate_samples(dataset: Dataset, predictions: h5py.File) -> Calibration | None:
    """Return the residuals of held-out samples; None where none was held out."""
    if dataset.hold_out == "genes":
        return None
    return calibrate(predictions, number_groups(dataset, dataset.samples), held_out_distances(dataset).distance)


def write_weights(path: Path, predictions: h5py.File) -> Path:
    """Write an ensemble's members, the families that they are of, and (folds, members) weights."""
    with h5py.File(path, "w") as file:
        for name in ("members", "owners", "weights"):
            predictions.copy(name, file)
    return path


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5 that was trained on")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="what combine.py or ensemble.py wrote: held-out predictions of all folds"
    )
    parser.add_argument(
        "--checkpoints", type=Path, nargs="*", default=[], help="what train.py wrote, every fold and seed; none of an ensemble"
    )
    parser.add_argument(
        "--baselines", type=Path, nargs="*", default=[], help="what fit_baselines.py wrote, every fold; none of an ensemble"
    )
    parser.add_argument("--scores", type=Path, required=True, help="scores.tsv")
    parser.add_argument("--tasks", type=Path, nargs="*", default=[], help="JSON: time and memory of the tasks that trained it")
    parser.add_argument("--version", default="", help="of exprcast")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    return parser


def main(options: argparse.Namespace) -> None:
    """Bundle, then say with what."""
    bundle(options)
    write_task(options.task_out, "torch", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
