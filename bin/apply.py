#!/usr/bin/env python3
"""Predict new samples with the networks of one fold of a bundle: bundle and dataset.h5 of new samples → matrices in HDF5.

The fold's simple rules predict, too, where their scores can be told (RNA of a new sample was measured), or where somebody asks for them:
boosted trees take as long as all the rest.
"""

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np

from exprcast.baselines import baseline_names, extend_baselines, load_baselines, predict_baseline
from exprcast.bundle import Bundle, baselines_file, faults_of, network_file
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError, Progress, add_device_options, run, whole_file, write_task
from exprcast.dataset import Dataset
from exprcast.family import Examples, check_inputs, extract_arrays, load_family, place
from exprcast.joined import JoinedDataset
from exprcast.prepared import on_disk, packed
from exprcast.training import fitting_batch, make_deterministic, make_fabric
from exprcast.training import predict as predict_examples

BLOCK_SAMPLES, BLOCK_EXAMPLES = 128, 65_536


def apply(options: argparse.Namespace) -> None:
    """Write what every network and rule of the fold predicts, one block of new samples after the other."""
    make_deterministic(options.threads)
    bundle, new = Bundle(options.bundle), Dataset(options.dataset)
    bundle.refuse_other(new)
    with faults_of(bundle, f"fold {options.fold}"):
        fold = Fold(bundle, options)
    rules = options.rules or is_measured(new)
    progress = Progress(len(new.samples), f"{bundle.family} fold {options.fold}: samples predicted")
    with whole_file(options.out) as temporary, h5py.File(temporary, "w") as out:
        out.attrs.update({"format": "exprcast-applied-fold", "family": bundle.family, "fold": options.fold, "collapsed": fold.collapsed})
        for name, ids in (("rows", new.samples), ("columns", fold.training.genes)):
            out.create_dataset(name, data=np.array(ids, dtype=object), dtype=h5py.string_dtype())
        for start in range(0, len(new.samples), options.block_samples):
            rows = np.arange(start, min(start + options.block_samples, len(new.samples)))
            with faults_of(bundle, f"fold {options.fold}"):
                predicted = fold.predict(JoinedDataset(fold.training, new, rows), options.out.parent, rules)
            for name, values in predicted.items():
                array = out.require_dataset(name, (len(new.samples), len(fold.training.genes)), "f4", chunks=(1, len(fold.training.genes)), compression="gzip")  # fmt: skip
                array[rows] = values
            progress.step(int(rows[-1]) + 1)


def is_measured(new: Dataset) -> bool:
    """Say whether any gene of any new sample has RNA."""
    return new.has("expression/gene") and any(np.isfinite(row).any() for row in new.file["expression/gene"])


class Fold:
    """What one fold learnt, ready to predict."""

    def __init__(self, bundle: Bundle, options: argparse.Namespace) -> None:
        self.bundle, self.number, self.training = bundle, options.fold, bundle.training
        if self.number not in bundle.folds:
            raise InputError(f"--fold {self.number}: bundle {bundle.path.name} has the folds {', '.join(map(str, bundle.folds))}")
        self.family: ModuleType = load_family(bundle.family, options.families_dir)
        if self.family.EXAMPLES == "genes":
            raise InputError(
                f"{bundle.family} predicts genes by what is known of genes, not of samples; there is nothing to apply to samples"
            )
        check_inputs(self.family, self.training)
        self.networks = {seed: load_checkpoint(bundle.file(network_file(self.number, seed))) for seed in bundle.seeds}
        for seed, content in self.networks.items():
            self.refuse_stranger(seed, content)
        self.config = self.family.Config(**self.networks[bundle.seeds[0]]["config"])
        self.collapsed = any(content["status"] == "collapsed" for content in self.networks.values())
        self.state = self.networks[bundle.seeds[0]]["state"]
        self.fitted = load_baselines(bundle.file(baselines_file(self.number)))[0]
        self.fabric = make_fabric(options.device, options.precision)

    def refuse_stranger(self, seed: int, content: dict) -> None:
        """Raise InputError if a network is not of this family, fold, seed and of these genes, or was prepared another way than the others."""
        first = self.networks[self.bundle.seeds[0]]
        told = {"family": self.bundle.family, "fold": self.number, "seed": seed, "unit": self.bundle.unit, "columns": self.training.genes}
        differing = [key for key, value in told.items() if content[key] != value]
        if differing or content["config"] != first["config"] or packed(content["state"]) != packed(first["state"]):
            raise InputError(
                f"bundle {self.bundle.path.name}: {network_file(self.number, seed)} is of another {', '.join(differing) or 'preparation'}; copy the whole folder again"
            )

    def predict(self, joined: JoinedDataset, folder: Path, rules: bool) -> dict[str, np.ndarray]:
        """Return {seed‹s›, with `rules` also baselines: (new samples, genes)}; large arrays lie in `folder` meanwhile."""
        with tempfile.TemporaryDirectory(prefix=".apply.", dir=folder) as scratch:
            with on_disk(Path(scratch)) as allocate:
                arrays = extract_arrays(self.family, joined, self.config, self.state, allocate)
            examples = self.family.examples(joined, self.config, self.state, arrays)
            predicted = {name: self.fill(joined, values) for name, values in self.predictors(examples, joined, rules)}
        unsound = [name for name, values in predicted.items() if not np.isfinite(values).all()]
        if unsound:
            raise InputError(
                f"bundle {self.bundle.path.name}: fold {self.number}: {', '.join(unsound)} predicts what is no number; train again"
            )
        return predicted

    def predictors(self, examples: Examples, joined: JoinedDataset, rules: bool) -> Iterator[tuple[str, object]]:
        """Yield each predictor's name and a function of example numbers."""
        for seed, content in self.networks.items():
            model = self.family.Model(self.config, content["sizes"])
            model.load_state_dict(content["weights"])
            network = partial(predict_examples, self.fabric.setup(model), examples, batch_size=fitting_batch(examples), fabric=self.fabric)
            yield f"seed{seed}", lambda index, network=network: network(index).numpy()
        if not rules:
            return
        fitted = extend_baselines(self.family, examples, self.fitted, joined.learnt(self.family, self.number, self.bundle.refit))
        for name in baseline_names(self.family.EXAMPLES, examples):
            yield name, lambda index, name=name: predict_baseline(self.family, examples, fitted, name, index)

    def fill(self, joined: JoinedDataset, values_of: object) -> np.ndarray:
        """Return (new samples, genes) float32 predictions of one predictor."""
        shape = len(joined.samples), len(joined.genes)
        width = shape[1] if self.family.EXAMPLES == "samples×genes" else 1
        matrix = np.full(shape, np.nan, dtype=np.float32)
        asked = np.arange(joined.asked[0] * width, (joined.asked[-1] + 1) * width)
        for start in range(0, len(asked), BLOCK_EXAMPLES):
            index = asked[start : start + BLOCK_EXAMPLES]
            place(self.family.EXAMPLES, matrix, index, values_of(index))
        return matrix[joined.asked]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="models/‹family› of a finished run")
    parser.add_argument("--fold", type=int, required=True, help="which of its folds")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    parser.add_argument(
        "--rules", action="store_true", help="predict with simple rules, too, though no RNA was measured (an ensemble averages them)"
    )
    parser.add_argument("--block-samples", type=int, default=BLOCK_SAMPLES, help="new samples in memory at once (default: %(default)s)")
    add_device_options(parser, "device", "precision", "threads")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5 of the new samples")
    parser.add_argument("--out", type=Path, required=True, help="HDF5: rows, columns and one matrix a network and rule")
    return parser


def main(options: argparse.Namespace) -> None:
    """Apply, then say with what."""
    apply(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
