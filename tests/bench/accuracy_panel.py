"""How well landmark genes tell all others: 233 arrays of ten GEO accessions, 943 landmarks → 9,075 targets, one accession left out; RNA-seq beside them.

make bench-accuracy        half an hour on two cores; numbers go to tests/bench/results/panel.tsv, with their floors

The scripts of bin/ run as the pipeline runs them: import, prepare, train, fit baselines, predict, combine, ensemble, evaluate.
"""

import csv
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset, create_dataset, write_array
from exprcast.folds import make_folds
from exprcast.landmarks import series_of
from exprcast.scoring import MODEL
from recorded import ROOT, Row, fingerprint, missed, record, table
from tiny import run_script

DATA = ROOT / "../shared/data/panel"
FAMILIES = ("dgex", "dgex_transductive")
SEED, ACCESSIONS, TARGETS = 1, 10, 9_075
INDUCTIVE_RIDGE, FROM_RIDGE, TRANSDUCTIVE, RNA_SEQ = 0.697, 0.01, 0.73, 0.67  # floors of mean absolute errors: at most
PUBLISHED = {"mean": 0.910, "nearest": 0.886, "rule": 0.781, "ridge": 0.695}  # of the protocol, inductive
PUBLISHED_IN_SERIES = {"mean": 0.795, "rule": 0.757, "ridge": 0.730}
LEAST_CPM = 1.0  # mean of a gene that counts as expressed in RNA-seq

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")


@pytest.fixture(scope="module")
def rows():
    """Gather all rows by part; they are written whatever floor was missed."""
    gathered: dict[str, list[Row]] = {}
    yield gathered
    record("panel", gathered, SEED, fingerprint(*FAMILIES), "make bench-accuracy")


class Panel:
    """What import_matrix.py makes of a matrix: ids, values and facts of samples."""

    def __init__(self, matrix: Path, unit: str, folder: Path) -> None:
        lists = ["--landmarks", DATA / "landmarks_943.tsv", "--targets", DATA / "targets_9520.tsv"]
        run_script("import_matrix", "--matrix", matrix, "--unit", unit, *lists, "--out", folder)
        with h5py.File(folder / "matrix.h5") as file:
            self.samples, self.genes = (list(file[f"{axis}/id"].asstr()[:]) for axis in ("samples", "genes"))
            self.values, self.unit = file["value"][:], str(file["value"].attrs["unit"])
            self.facts = dict(zip(file["metadata/name"].asstr()[:], file["metadata/value"].asstr()[:].tolist(), strict=True))
        with (folder / "lists.tsv").open() as text:
            self.list_of = {row["gene"]: row["list"] for row in csv.DictReader(text, delimiter="\t")}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> Panel:
    """The ten accessions."""
    return Panel(DATA / "geo_u133a_probes.gctx", "log2_intensity", tmp_path_factory.mktemp("arrays") / "matrix")


def accessions(arrays: Panel) -> list[str]:
    """Return one accession a sample: a series label without what tells its parts apart."""
    return [re.match(r"GSE\d+", label).group() for label in arrays.facts["series"]]


def write_dataset(path: Path, panel: Panel, values: np.ndarray, columns: dict[str, list[str]], roles: np.ndarray) -> Path:
    """Write a dataset of these samples and the panel's genes, `columns` of samples by name."""
    with create_dataset(path, assembly="none", annotation="none", code="", sources="{}") as file:
        for name in ("id", "donor", "biosample", "replicate_group", "batch", "set", "unit"):
            if name in columns:
                write_array(file, f"samples/{name}", columns[name])
        write_array(file, "genes/id", panel.genes)
        write_array(file, "genes/symbol", panel.genes)
        write_array(file, "chromosomes/name", ["unknown"])
        write_array(file, "chromosomes/size", np.array([1]))
        write_array(file, "expression/gene", values, unit=panel.unit)
        for name in ("landmark", "target"):
            write_array(file, f"lists/{name}", np.array([panel.list_of[gene] == f"{name}s" for gene in panel.genes]))
        facts = {"hold_out": "samples", "scheme": "one accession left out", "promised": "samples:replicate_group", "seed": SEED}
        write_array(file, "folds/sample_role", roles, **facts)
        write_array(file, "folds/gene_role", np.zeros((len(roles), len(panel.genes))))
    return path


@pytest.fixture(scope="module")
def inductive(arrays, tmp_path_factory) -> Path:
    """The dataset of ten folds."""
    groups = accessions(arrays)
    roles = make_folds(groups, ["unknown"] * len(arrays.genes), "samples", 0, 0, SEED)[0]
    columns = {"id": arrays.samples, "replicate_group": groups, "batch": groups}
    return write_dataset(tmp_path_factory.mktemp("panel") / "dataset.h5", arrays, arrays.values, columns, roles)


def score(dataset: Path, folder: Path, families: tuple[str, ...], options: tuple = (), together: bool = True) -> dict[tuple[str, ...], float]:
    """Train and score families as the pipeline does with --refit (and --ensemble), and return scores.tsv: (family, predictor, against, metric, scope) → row."""
    predictions = []
    for family in families:
        predictions.append(predict(dataset, folder, family, options))
    if together:
        predictions += [average(dataset, folder, [path]) for path in list(predictions)]
    found = {}
    for path in predictions:
        out = folder / f"{path.stem}.scores.tsv"
        tables = ["--samples-out", folder / "samples.tsv", "--genes-out", folder / "genes.tsv"]
        run_script("evaluate", "--predictions", path, "--dataset", dataset, *tables, "--out", out)
        with out.open() as text:
            for row in csv.DictReader(text, delimiter="\t"):
                found[path.stem, row["predictor"], row["against"], row["metric"], row["scope"]] = row
    return found


def predict(dataset: Path, folder: Path, family: str, options: tuple) -> Path:
    """Return the combined predictions of one family, all folds."""
    parts = []
    for fold in range(Dataset(dataset).n_folds):
        stem = folder / f"{family}.fold{fold}"
        prepared = ["--prepared", f"{stem}.prepared", "--dataset", dataset]
        run_script("prepare", "--family", family, *options, "--fold", fold, "--refit", "--dataset", dataset, "--out", prepared[1])
        run_script("train", *prepared, "--seed", SEED, "--history-out", f"{stem}.history.tsv", "--out", f"{stem}.pt")
        run_script("fit_baselines", *prepared, "--out", f"{stem}.baselines.h5")
        for option, made in (("--checkpoint", "pt"), ("--baselines", "baselines.h5")):
            parts.append(folder / f"{family}.{fold}.{made}.predictions.h5")
            run_script("predict", option, f"{stem}.{made}", *prepared, "--out", parts[-1])
    out = folder / f"{family}.h5"
    run_script("combine", "--predictions", *parts, "--out", out)
    return out


def average(dataset: Path, folder: Path, predictions: list[Path]) -> Path:
    """Return the ensemble of a family's network and rules."""
    out = folder / f"ensemble of {predictions[0].stem}.h5"
    run_script("ensemble", "--predictions", *predictions, "--dataset", dataset, "--table-out", folder / "cells.tsv.gz", "--out", out)
    return out
