"""How well landmark genes tell all others: 233 arrays of ten GEO accessions, 943 landmarks → 9,075 targets, one accession left out; RNA-seq beside them.

make bench-accuracy        half an hour on two cores; numbers go to tests/bench/results/panel.tsv, with their floors

The scripts of bin/ run as the pipeline runs them: import, prepare, train, fit baselines, predict, combine, ensemble, evaluate.
"""

import csv
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from exprcast.dataset import TEST, TRAIN, Dataset, create_dataset, write_array
from exprcast.folds import add_external_fold, make_folds
from exprcast.metrics import interval_of_ratio
from exprcast.score_tables import OVER_FOLDS, POOLED, SET
from exprcast.scoring import LEAST_SD, MODEL
from folds_run import predict
from recorded import ROOT, Row, fingerprint, missed, record, table
from tiny import run_script

DATA = ROOT / "../shared/data/panel"
FAMILIES = ("dgex", "dgex_transductive")
SEED, ACCESSIONS, TARGETS = 1, 10, 9_075
INDUCTIVE_RIDGE, FROM_RIDGE, TRANSDUCTIVE, RNA_SEQ = 0.697, 0.01, 0.73, 0.67  # floors of mean absolute errors: at most
PUBLISHED = {"mean": 0.910, "nearest": 0.886, "rule": 0.781, "ridge": 0.695}  # of the protocol, inductive
PUBLISHED_IN_SERIES = {"mean": 0.795, "rule": 0.757, "ridge": 0.727}
PUBLISHED_RNA_SEQ, LCL = {"mean": 0.784, "rule": 0.665, "ridge": 0.692}, f"{SET} LCL"
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
        facts = {"hold_out": "samples", "scheme": "one accession left out", "promised": "samples:batch", "seed": SEED}
        write_array(file, "folds/sample_role", roles, **facts)
        write_array(file, "folds/gene_role", np.zeros((len(roles), len(panel.genes))))
    return path


def leave_one_out(arrays: Panel, groups: list[str], path: Path) -> Path:
    """Write a dataset of which each fold tests one group."""
    roles = make_folds(groups, ["unknown"] * len(arrays.genes), "samples", 0, 0, SEED)[0]
    return write_dataset(path, arrays, arrays.values, {"id": arrays.samples, "batch": groups}, roles)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Make the folder of the ten folds."""
    return tmp_path_factory.mktemp("panel")


@pytest.fixture(scope="module")
def scores(arrays, folder) -> dict[tuple[str, ...], dict[str, str]]:
    """Both families and their ensembles, one accession left out."""
    return score(leave_one_out(arrays, accessions(arrays), folder / "dataset.h5"), folder, FAMILIES)


def score(dataset: Path, folder: Path, families: tuple[str, ...], *options: object) -> dict[tuple[str, ...], dict[str, str]]:
    """Train families and average each with its rules, as the pipeline does with --refit and --ensemble; return the rows of scores.tsv."""
    predictions = [predict(dataset, folder, family, options, SEED) for family in families]
    predictions += [average(dataset, path, folder) for path in predictions]
    found = {}
    for path in predictions:
        tables = ["--samples-out", folder / "samples.tsv", "--genes-out", folder / "genes.tsv", "--out", folder / "scores.tsv"]
        run_script("evaluate", "--predictions", path, "--dataset", dataset, *tables)
        with (folder / "scores.tsv").open() as text:
            rows = csv.DictReader(text, delimiter="\t")
            found |= {(path.stem, *(row[key] for key in ("predictor", "against", "metric", "scope"))): row for row in rows}
    return found


def average(dataset: Path, predictions: Path, folder: Path) -> Path:
    """Return the ensemble of a family's network and rules."""
    out = folder / f"{predictions.stem} ensemble.h5"
    run_script("ensemble", "--predictions", predictions, "--dataset", dataset, "--table-out", folder / "cells.tsv.gz", "--out", out)
    return out


def error(scores: dict, family: str, predictor: str = MODEL, scope: str = OVER_FOLDS) -> float:
    """Return the mean absolute error, usually the mean over folds: in training standard deviations, or of the series' z-scores as they are."""
    metric = "mae" if "transductive" in family else "mae_sd"
    return float(scores[family, predictor, "", metric, scope]["value"])


def errors_of_fold(path: Path, fold: int) -> dict[str, np.ndarray]:
    """Return (tested samples, targets) absolute errors in training standard deviations, of the network and of each rule."""
    with h5py.File(path) as file:
        test, sd = (file["role"][fold] == TEST).all(axis=1), file["training_sd"][fold] + LEAST_SD
        predicted = {MODEL: file["predicted"][fold].mean(axis=0)} | {name: values[fold] for name, values in file["baselines"].items()}
        return {name: np.abs(values[test] - file["observed"][test]) / sd for name, values in predicted.items()}


def listed(scores: dict, family: str, scope: str = OVER_FOLDS, **most: float) -> list[Row]:
    """Return a row for every predictor of a family, and for its ensemble."""
    names = [
        predictor for one, predictor, against, metric, place in scores if (one, against, metric, place) == (family, "", "mae_sd", scope)
    ]
    rows = [Row(f"{family}: {name}", error(scores, family, name, scope), most=most.get(name)) for name in names]
    return [*rows, Row(f"{family}: ensemble", error(scores, f"{family} ensemble", scope=scope), most=most.get("ensemble"))]


def better_than_ridge(scores: dict, family: str) -> Row:
    """Return the share of targets with a smaller error than ridge's, with its interval over accessions."""
    row = scores[family, MODEL, "ridge", "genes_better", POOLED]
    return Row(
        f"{family}: share of targets better than ridge", *(float(row[name].replace("NA", "nan")) for name in ("value", "low", "high"))
    )


def test_the_baselines_are_those_of_the_protocol(arrays, scores, rows):
    counts = Counter(arrays.list_of.values())
    assert (len(arrays.samples), len(set(accessions(arrays))), counts["landmarks"], counts["targets"]) == (233, ACCESSIONS, 943, TARGETS)
    rows["inductive"] = listed(scores, "dgex", ridge=INDUCTIVE_RIDGE)
    rows["transductive"] = listed(scores, "dgex_transductive")
    table(rows["inductive"] + rows["transductive"])
    for family, known in (("dgex", PUBLISHED), ("dgex_transductive", PUBLISHED_IN_SERIES)):
        for name, value in known.items():
            assert error(scores, family, name) == pytest.approx(value, abs=0.01), (family, name)


def test_inductive(scores, folder, rows):
    """The network comes near to ridge, the ensemble is not worse."""
    ridge, dataset = error(scores, "dgex", "ridge"), Dataset(folder / "dataset.h5")
    batches = np.array(dataset.text("samples/batch"))
    tested = [str(batches[roles == TEST][0]) for roles in dataset.sample_role]
    rows["inductive"] = [
        *listed(scores, "dgex", model=ridge + FROM_RIDGE, ridge=INDUCTIVE_RIDGE, ensemble=ridge),
        better_than_ridge(scores, "dgex"),
        *(Row(f"dgex on {name}", float(errors_of_fold(folder / "dgex.h5", fold)[MODEL].mean())) for fold, name in enumerate(tested)),
    ]
    table(rows["inductive"])
    assert not missed(rows["inductive"])


def test_transductive(scores, rows):
    family = "dgex_transductive"
    rows["transductive"] = [*listed(scores, family), better_than_ridge(scores, family)]
    best = min(row.value for row in listed(scores, family))
    rows["transductive"].append(Row("transductive: the best", best, most=TRANSDUCTIVE))
    table(rows["transductive"])
    assert not missed(rows["transductive"])


def test_groups_by_series_label_leak(arrays, scores, tmp_path, rows):
    """14 labels are 10 accessions: with one label left out, its accession's other part is in training."""
    labels = arrays.facts["series"]
    leaking = score(leave_one_out(arrays, labels, tmp_path / "dataset.h5"), tmp_path, ("dgex",), "--preset", "quick")
    value = error(leaking, "dgex", "ridge")
    rows["leak"] = [Row("ridge, one series label left out: a leak", value)]
    table(rows["leak"])
    assert len(set(labels)) == 14 and value < error(scores, "dgex", "ridge") - 0.1
    run_script(
        "check_folds",
        "--dataset",
        tmp_path / "dataset.h5",
        "--leakage-out",
        tmp_path / "leakage.tsv",
        "--nearest-out",
        tmp_path / "nearest.tsv",
        "--out",
        tmp_path / "checked",
    )
    with (tmp_path / "leakage.tsv").open() as text:
        shared = {row["shared"]: int(row["members"]) for row in csv.DictReader(text, delimiter="\t")}
    assert shared["accession"] > 0


def test_rna_seq_of_lymphoblasts(arrays, tmp_path, rows):
    """All arrays train, 69 RNA-seq samples test: within their own z-scores, because levels after mapping by rank mean nothing."""
    lines = Panel(DATA / "lcl_rnaseq_pickrell_counts.tsv.gz", "counts", tmp_path / "lines")
    place = {gene: column for column, gene in enumerate(lines.genes)}
    expressed = lines.values.mean(axis=0) >= LEAST_CPM
    values = np.full((len(lines.samples), len(arrays.genes)), np.nan, np.float32)
    for column, gene in enumerate(arrays.genes):
        if gene in place and expressed[place[gene]]:
            values[:, column] = lines.values[:, place[gene]]
    measured = Counter(arrays.list_of[gene] for gene, known in zip(arrays.genes, ~np.isnan(values).all(axis=0), strict=True) if known)
    assert (measured["landmarks"], measured["targets"]) == (874, 7_287)
    dataset = with_external(arrays, lines, values, tmp_path / "dataset.h5")
    found = score(dataset, tmp_path, FAMILIES)
    rows["LCL RNA-seq"] = [row._replace(name=f"LCL RNA-seq, {row.name}") for family in FAMILIES for row in listed(found, family, LCL)]
    best = min(row.value for row in listed(found, "dgex_transductive", LCL))
    rows["LCL RNA-seq"].append(Row("LCL RNA-seq, transductive: the best", best, most=RNA_SEQ))
    table(rows["LCL RNA-seq"])
    for name, value in PUBLISHED_RNA_SEQ.items():
        assert error(found, "dgex_transductive", name, LCL) == pytest.approx(value, abs=0.01), name
    assert not missed(rows["LCL RNA-seq"])


def with_external(arrays: Panel, external: Panel, values: np.ndarray, path: Path) -> Path:
    """Write a dataset of one fold: accessions train, one of them validates, external samples test."""
    groups, count = accessions(arrays), len(external.samples)
    role = np.repeat([TRAIN, TEST], [len(groups), count])
    roles = add_external_fold(np.full((1, len(groups)), TRAIN), groups, role, SEED)[-1:]
    columns = {
        "id": arrays.samples + external.samples,
        "batch": groups + ["LCL"] * count,
        "set": [""] * len(groups) + ["LCL"] * count,
        "unit": [arrays.unit] * len(groups) + [external.unit] * count,
    }
    order = np.argsort(columns["id"])
    columns = {name: [texts[i] for i in order] for name, texts in columns.items()}
    return write_dataset(path, arrays, np.vstack([arrays.values, values])[order], columns, roles[:, order])


def simulate(folder: Path) -> Path:
    """Write 10,000 samples of 20 batches: landmarks follow 30 programmes; half of the targets' variance is products and thresholds of them."""
    rng, samples, landmarks, targets, programmes = np.random.default_rng(SEED), 10_000, 300, 1_000, 30
    level = rng.normal(size=(samples, programmes))
    x = level @ rng.normal(size=(programmes, landmarks)) / np.sqrt(programmes) + 0.3 * rng.normal(size=(samples, landmarks))
    bent = np.hstack([level[:, :10] * level[:, 10:20], level[:, 20:] > 0.5])
    parts = [values @ rng.normal(size=(values.shape[1], targets)) for values in (level, (bent - bent.mean(axis=0)) / bent.std(axis=0))]
    y = sum(part / part.std(axis=0) for part in parts) + 0.5 * rng.normal(size=(samples, targets))
    panel = SimpleNamespace(genes=[f"G{i:04d}" for i in range(landmarks + targets)], unit="log2_intensity")
    panel.list_of = {gene: "landmarks" if i < landmarks else "targets" for i, gene in enumerate(panel.genes)}
    groups = [f"b{i % 20:02d}" for i in range(samples)]
    roles = make_folds(groups, ["unknown"] * len(panel.genes), "samples", 5, 0, SEED)[0][:1]
    columns = {"id": [f"S{i:05d}" for i in range(samples)], "batch": groups}
    return write_dataset(folder / "dataset.h5", panel, np.hstack([x, y]) + 8, columns, roles)


def test_on_a_simulated_panel_the_network_beats_ridge(tmp_path, rows):
    dataset = simulate(tmp_path)
    path = predict(dataset, tmp_path, "dgex", (), SEED)
    found = errors_of_fold(path, 0)
    network, ridge = found[MODEL], found["ridge"]
    saved = interval_of_ratio((ridge - network).sum(axis=1), np.full(len(network), network.shape[1]), SEED)
    rows["simulated"] = [
        Row("simulated: dgex", network.mean()),
        Row("simulated: ridge", ridge.mean()),
        Row("simulated: what dgex saves of ridge's error, interval over samples", *saved),
        Row("simulated: share of targets better than ridge", float((network.mean(axis=0) < ridge.mean(axis=0)).mean())),
    ]
    table(rows["simulated"])
    assert len(network) == 2_000 and saved[1] > 0
