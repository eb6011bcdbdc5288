#!/usr/bin/env python3
"""Complete the transcriptomes of samples that have only landmark genes: a bundle and matrices of any usual format → one GCTX.

Rows of the GCTX are the landmarks and targets that the bundle was trained on, by id: landmarks as given (a logarithm where the network reads one),
targets as predicted, the mean over the networks of all folds. Of each row it says the unit and, for targets, the half-width of an
interval that held 90 % of the values of held-out training samples.

A matrix may also be what --apply predicted for samples (predictions/‹family›.h5): then `half_width` (samples, genes) holds intervals into which
the uncertainty of the landmarks has gone, too.
"""

import argparse
import tempfile
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np

from exprcast.bundle import ENSEMBLE, Bundle, faults_of, network_file
from exprcast.calibration import CONFIDENCE, clip, half_widths, of_bundle
from exprcast.chained import Chained, drawn, is_predicted, open_chained, variance
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError, Progress, add_device_options, log, run, whole_file, write_task
from exprcast.family import Examples, check_inputs, extract_arrays, load_family
from exprcast.gene_lists import LANDMARKS, Gene, Listed, mean_of_features, place_genes, read_list, words_of
from exprcast.landmarks import listed, read_unit
from exprcast.matrices import UNITS, gene_of, in_unit, join, open_matrix, with_gene_ids
from exprcast.matrix_file import SampleMatrix
from exprcast.matrix_hdf5 import GCTX_MATRIX, GCTX_META
from exprcast.prepared import packed
from exprcast.profiles import Profiles
from exprcast.training import make_deterministic, make_fabric
from exprcast.training import predict as predict_examples

SAMPLES_AT_ONCE, BATCH = 2_048, 1_024  # in memory; in a network
KEPT_BYTES = 2**29  # of files of networks: where all have fewer they stay in memory
INTERVAL = f"interval_{round(100 * CONFIDENCE)}"


def complete_matrix(options: argparse.Namespace) -> None:
    """Write landmarks and predictions of all samples, a block of them at a time."""
    make_deterministic(options.threads)
    bundle = Bundle(options.bundle)
    bundle.check_all()
    networks = Networks(bundle, options)
    chained = open_predicted(options)
    unit = chained.unit if chained else options.unit or networks.unit
    networks.refuse_unit(unit)
    with whole_file(options.out) as temporary, tempfile.TemporaryDirectory(prefix=".complete.", dir=options.out.parent) as scratch:
        matrix, genes = open_landmarks(options, networks, unit, chained, Path(scratch))
        with h5py.File(temporary, "w") as file:
            write_axes(file, matrix, networks, unit)
            write_values(file, matrix, genes, networks, unit)
            if chained:
                write_half_widths(file, chained, genes, networks)
    log.info(f"{len(matrix.samples):,} samples completed: {len(genes):,} landmarks and {len(networks.targets):,} targets of each")


class Networks:
    """All networks of a bundle; where they are large, memory holds one at a time."""

    def __init__(self, bundle: Bundle, options: argparse.Namespace) -> None:
        self.bundle, self.training, told = bundle, bundle.training, f"bundle {bundle.path.name}"
        if bundle.family == ENSEMBLE:
            raise InputError(f"{told} is of an ensemble; complete a matrix by the bundle of one of its families")
        self.family: ModuleType = load_family(bundle.family, options.families_dir)
        if "lists/landmark" not in self.family.INPUTS or getattr(self.family, "REFERENCES", False):
            why = "compares samples with others" if "lists/landmark" in self.family.INPUTS else "reads no landmark genes"
            raise InputError(f"{told}: {bundle.family} {why}; a matrix is completed by a family that reads a sample's landmarks alone")
        check_inputs(self.family, self.training)
        self.unit, self.fabric = self.training.unit(self.family.TARGET), make_fabric(options.device, options.precision)
        self.landmarks, self.targets = listed(self.training)  # numbers of genes
        names = [network_file(fold, seed) for fold in bundle.folds for seed in bundle.seeds]
        small = sum(bundle.content["files"][name]["bytes"] for name in names) <= KEPT_BYTES
        self.load = cache(self.load_network) if small else self.load_network
        with faults_of(bundle, "its networks"):
            self.check_networks()

    def check_networks(self) -> None:
        """Raise InputError if a network is not of this family, fold, seed and of these targets, or was prepared another way than others of its fold."""
        columns = [self.training.genes[gene] for gene in self.targets]
        for fold in self.bundle.folds:
            states = set()
            for seed in self.bundle.seeds:
                content = self.load(fold, seed)
                told = {"family": self.bundle.family, "fold": fold, "seed": seed, "unit": self.bundle.unit, "columns": columns}
                differing = [key for key, value in told.items() if content[key] != value]
                states.add(packed([content["config"], content["state"]]))
                if differing or len(states) > 1:
                    what = f"{network_file(fold, seed)} is of another {', '.join(differing) or 'preparation'}"
                    raise InputError(f"bundle {self.bundle.path.name}: {what}; copy the whole folder again")
                if content["status"] == "collapsed":
                    log.warning(f"warning: {network_file(fold, seed)} collapsed in training; do not use the result")
        self.mapped = content["config"].get("quantile", "none") != "none"  # samples of another unit are put on training's scale by rank

    def refuse_unit(self, unit: str) -> None:
        """Raise InputError if a matrix is in another unit than the networks read, and they do not map samples by rank."""
        both = f"bundle {self.bundle.path.name} was trained on {self.unit}, --unit says {unit}"
        if unit != self.unit and not self.mapped:
            raise InputError(f"{both}; give a matrix in {self.unit}, or train with the option quantile other")
        if unit != self.unit:
            log.warning(f"warning: {both}: each sample is put on the scale of training samples by rank")

    def load_network(self, fold: int, seed: int) -> dict:
        """Return a network's checkpoint, its weights as a network."""
        content = load_checkpoint(self.bundle.file(network_file(fold, seed)))
        model = self.family.Model(self.family.Config(**content["config"]), content["sizes"])
        model.load_state_dict(content.pop("weights"))
        return content | {"network": self.fabric.setup(model), "selection": None}

    @cached_property
    def half_widths(self) -> np.ndarray | None:
        """Half-widths of the targets' intervals, (targets,); None where no sample was held out."""
        calibration = of_bundle(self.bundle)
        return half_widths(calibration) if calibration else None

    def places(self, genes: list[Gene]) -> np.ndarray:
        """Return the numbers of genes among those of the training data."""
        number = {gene: i for i, gene in enumerate(self.training.genes)}
        return np.array([number[gene.id] for gene in genes])

    def predict(self, profiles: Profiles) -> np.ndarray:
        """Return (samples, targets) float32, the mean over folds and seeds."""
        total = np.zeros((len(profiles.samples), len(self.targets)), dtype=np.float32)
        for fold in self.bundle.folds:
            examples = None
            for seed in self.bundle.seeds:
                content = self.load(fold, seed)
                examples = examples or self.read(profiles, content)
                every = np.arange(len(profiles.samples))
                total += predict_examples(content["network"], examples, every, BATCH, self.fabric).numpy()
        total /= len(self.bundle.folds) * len(self.bundle.seeds)
        if not np.isfinite(total).all():
            raise InputError(f"bundle {self.bundle.path.name} predicts what is no number; train again")
        return clip(total, self.bundle.unit)

    def read(self, profiles: Profiles, content: dict) -> Examples:
        """Return examples of all these samples, as a fold's state has them read."""
        config = self.family.Config(**content["config"])
        arrays = extract_arrays(self.family, profiles, config, content["state"])
        return self.family.examples(profiles, config, content["state"], arrays)


def open_predicted(options: argparse.Namespace) -> Chained | None:
    """Return what an earlier run predicted, if the matrix is that."""
    if not any(map(is_predicted, options.matrix)):
        return None
    chained = open_chained(options.matrix[0])
    if len(options.matrix) > 1 or options.unit not in (None, chained.unit):
        raise InputError(f"{options.matrix[0].name} holds predictions of {chained.unit}: give it alone and without --unit")
    return chained


def open_landmarks(
    options: argparse.Namespace, networks: Networks, unit: str, chained: Chained | None, scratch: Path
) -> tuple[SampleMatrix, list[Gene]]:
    """Return the matrix, and by which of its features each of the bundle's landmarks is measured; half of them at least must be."""
    rows = listed_landmarks(networks, options.landmarks)
    words = words_of([rows])
    matrices = (
        [chained.values]
        if chained
        else [
            open_matrix(path, scratch, lambda feature: feature in words or gene_of(feature) in words, options.features)
            for path in options.matrix
        ]
    )
    matrix = join([with_gene_ids(matrix) for matrix in matrices])
    genes, _ = place_genes(matrix.features, {LANDMARKS: rows}, matrix.name)
    return (in_unit(matrix, unit) if unit in UNITS else matrix), genes


def listed_landmarks(networks: Networks, path: Path | None) -> list[Listed]:
    """Return the bundle's landmarks, with the probe sets that a list names."""
    genes, symbols = networks.training.genes, networks.training.symbols
    own = [Listed(genes[i], symbols[genes[i]], ()) for i in networks.landmarks]
    given = {row.gene: row for row in read_list(path)} if path else {}
    return [given.get(row.gene, row) for row in own]


def profiles_of(matrix: SampleMatrix, genes: list[Gene]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of its first sample, (some samples, landmarks) float32), SAMPLES_AT_ONCE samples or, at the end, fewer."""
    first, waiting = 0, np.empty((0, len(genes)), dtype=np.float32)
    for block in matrix.read():
        waiting = np.concatenate([waiting, mean_of_features(block, genes)])
        while len(waiting) >= SAMPLES_AT_ONCE:
            yield first, waiting[:SAMPLES_AT_ONCE]
            first, waiting = first + SAMPLES_AT_ONCE, waiting[SAMPLES_AT_ONCE:]
    if len(waiting):
        yield first, waiting


def write_values(file: h5py.File, matrix: SampleMatrix, genes: list[Gene], networks: Networks, unit: str) -> None:
    """Write (samples, genes): landmarks as given, NaN where not measured, and targets as predicted; say how many samples have few landmarks."""
    measured, progress, poor = networks.places(genes), Progress(len(matrix.samples), "samples completed"), 0
    out = file.create_dataset(GCTX_MATRIX, (len(matrix.samples), len(networks.training.genes)), "f4")
    for first, values in profiles_of(matrix, genes):
        profiles = Profiles(networks.training, matrix.samples[first : first + len(values)], values, measured, unit)
        poor += int((2 * (~np.isnan(values)).sum(axis=1) < len(networks.landmarks)).sum())
        with faults_of(networks.bundle, "its networks"):
            predicted = networks.predict(profiles)
        whole = np.log2(profiles.values + 1) if read_unit(unit) != unit else profiles.values
        whole[:, networks.targets] = predicted
        out[first : first + len(values)] = whole
        progress.step(first + len(values))
    if poor:
        log.warning(f"warning: {poor:,} samples have fewer than half of the landmarks; the others count as their training means")


def write_half_widths(file: h5py.File, chained: Chained, genes: list[Gene], networks: Networks) -> None:
    """Write (samples, genes) half-widths of 90 % intervals: of landmarks their own, of targets with what those of their landmarks add."""
    training, measured, samples = networks.training, networks.places(genes), chained.values.samples
    own = np.full(len(networks.targets), np.nan) if networks.half_widths is None else networks.half_widths
    out = file.create_dataset("half_width", (len(samples), len(training.genes)), "f4", fillvalue=np.nan)
    progress = Progress(len(samples), "samples with intervals")
    for (first, values), (_, sd) in zip(profiles_of(chained.values, genes), profiles_of(chained.sd, genes), strict=True):
        own_ids = samples[first : first + len(values)]
        moved = (Profiles(training, own_ids, one, measured, chained.unit) for one in drawn(values, sd, own_ids))
        whole = np.full((len(values), len(training.genes)), np.nan, dtype=np.float32)
        whole[:, measured] = sd * chained.widths
        whole[:, networks.targets] = np.sqrt(own**2 + chained.widths**2 * variance(map(networks.predict, moved)))
        out[first : first + len(values)] = whole
        progress.step(first + len(values))


def write_axes(file: h5py.File, matrix: SampleMatrix, networks: Networks, unit: str) -> None:
    """Write ids and what is known of samples and genes, as GCTX 1.0 has it."""
    training, bundle = networks.training, networks.bundle
    file.attrs.update({"version": "GCTX1.0", "bundle": f"{bundle.family}, made of {bundle.content['samples']} samples"})
    is_target = np.isin(np.arange(len(training.genes)), networks.targets)
    rows = {"id": training.genes, "list": ["target" if one else "landmark" for one in is_target]}
    rows["unit"] = [bundle.unit if one else read_unit(unit) for one in is_target]
    if training.has("genes/symbol"):
        rows["symbol"] = training.text("genes/symbol")
    if networks.half_widths is not None:
        half = np.full(len(training.genes), np.nan, dtype=np.float32)
        half[networks.targets] = networks.half_widths
        rows[INTERVAL] = half
    facts = {name: texts for name, texts in matrix.sample_facts.items() if name.strip(". ") and name != "id" and "/" not in name}
    for axis, columns in (("rows", rows), ("columns", {"id": matrix.samples} | facts)):
        for name, values in sorted(columns.items()):
            array = values if isinstance(values, np.ndarray) else np.array([text.encode() for text in values], dtype="S")
            file.create_dataset(f"{GCTX_META[axis]}/{name}", data=array)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="models/‹family› of a finished run, of a family that reads landmarks")
    parser.add_argument(
        "--matrix",
        type=Path,
        nargs="+",
        required=True,
        help="GCT, GCTX, h5ad, Parquet, TSV or CSV, several are joined by feature; or predictions/‹family›.h5 of --apply",
    )
    units = [unit for unit in UNITS if unit != "counts"]  # a total over landmarks is none
    parser.add_argument("--unit", choices=units, help="what the matrices hold (default: what the bundle was trained on)")
    parser.add_argument("--features", choices=("auto", "rows", "columns"), default="auto", help="the axis of the files that holds features")
    parser.add_argument("--landmarks", type=Path, help="the list that was trained with, where the matrix has probe sets")
    parser.add_argument("--families-dir", type=Path, help="another folder of families (tests)")
    add_device_options(parser, "device", "precision", "threads")
    parser.add_argument("--out", type=Path, required=True, help="GCTX (HDF5, whatever its name): float32 (samples, genes)")
    return parser


def main(options: argparse.Namespace) -> None:
    """Complete, then say with what."""
    complete_matrix(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py", "pyarrow", "anndata")


if __name__ == "__main__":
    run(main, parse_args())
