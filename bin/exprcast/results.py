"""What a finished run left behind, read for the report: predictions, learning curves, quality, reads, shares, versions."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError
from exprcast.dataset import TEST, open_hdf5
from exprcast.scoring import controls, open_predictions, predictors, read_mean, row_blocks
from exprcast.tables import parse_number, read_table, refuse_duplicates

HISTORY_NAME = re.compile(r"(?P<family>.+)\.fold(?P<fold>\d+)\.seed(?P<seed>\d+)\.history\.tsv")
HISTORY_COLUMNS = ("epoch", "seed", "train_loss", "valid_loss")
READ_TEXTS = ("sample", "layout", "strandedness", "remark")
READ_MAY_LACK = ("unique_share", "forward_share", "fragment_mean", "fragment_sd")
BLOCK = 8_192
FACTORS = "shares/factors"  # of families that read splicing factors; factor_shares.py tells of them


class Predictions(NamedTuple):
    """One family's file: what was run, and its test cells laid end to end (a cell tested in two folds stands twice)."""

    path: Path
    family: str
    preset: str
    axes: str
    unit: str
    methods: str  # what the network is and how it was trained
    rows: list[str]
    columns: list[str]
    predictors: list[str]  # the model, then the baselines
    controls: list[str]  # networks trained on shuffled labels, or on other inputs
    folds: list[int]
    seeds: list[int]
    collapsed: list[tuple[int, int]]  # (fold, seed)
    tested: list[tuple[int, int]]  # (rows, columns) a fold
    predicted: np.ndarray  # (cells,) mean over seeds
    observed: np.ndarray  # (cells,)
    training_mean: np.ndarray  # (cells,)
    weights: dict[str, np.ndarray]  # of an ensemble, {member: (folds,)}; of a family {}
    column: str = "gene"  # what a column of the matrix is; the prediction file does not tell genes from isoforms

    @property
    def title(self) -> str:
        """Return the family with its preset; an ensemble has none."""
        return f"{self.family}:{self.preset}" if self.preset else self.family

    @property
    def row(self) -> str:
        """Return what a row of the matrix is."""
        return "label" if self.axes == "genes" else "sample"

    def reword(self, text: str) -> str:
        """Return words about genes as words about what the columns are: "a gene" becomes "an isoform"; names of metrics stay."""
        if self.column == "gene":
            return text
        return re.sub(r"\b(?:([Aa]) )?gene(s?)\b", lambda found: f"{found[1]}n " * bool(found[1]) + f"{self.column}{found[2]}", text)


def reword(families: Sequence[Predictions], text: str) -> str:
    """Return words about genes as words about what the columns of these families are; unchanged where they differ."""
    return families[0].reword(text) if len({p.column for p in families}) == 1 else text


class History(NamedTuple):
    """One training's learning curve; `seeds` changes where training started again after a collapse."""

    family: str
    fold: int
    seed: int
    seeds: np.ndarray  # (epochs,)
    train_loss: np.ndarray  # (epochs,)
    valid_loss: np.ndarray  # (epochs,)


class Reads(NamedTuple):
    """One sample's RNA reads as they were quantified; NaN = not known."""

    sample: str
    layout: str  # paired or single
    lanes: float
    reads: float  # pairs count once
    mapped: float
    mapped_share: float
    unique_share: float
    strandedness: str  # unstranded, forward or reverse
    forward_share: float  # of the reads that tell, those that lie forward on the transcript
    fragment_mean: float  # bp
    fragment_sd: float  # bp; given for single reads only
    transcripts: float  # detected
    genes: float  # detected
    remark: str


class Shares(NamedTuple):
    """One file of attributions: its facts, and over examples the mean |share| of each bin of the window around the TSS (None: no window).

    Where a family's shares are of features and not of bins, a bin's share is what the prediction loses when the bin is closed (knock-out).
    """

    path: Path
    facts: dict[str, object]
    examples: int
    change: float  # mean |prediction − prediction for the reference|
    completeness_error: float  # the largest
    distance_bp: np.ndarray | None  # (bins,) from the TSS, negative upstream
    mean_share: np.ndarray | None  # (bins,)
    features: dict[str, float]  # mean |share| of each named feature; nothing where the input has no names
    knocked_out: bool = False
    words: dict[str, tuple[float, int]] = {}  # of families that read bases: mean share of a word, and at how many places
    carriers: dict[str, dict[str, float]] = {}  # of families that read landmark genes: target → landmark → mean |share|


class Task(NamedTuple):
    """What one task said of itself."""

    script: str
    wall_s: float
    cpu_s: float  # of all its programs and threads
    peak_mib: float
    versions: tuple[tuple[str, str], ...]  # (tool, version)


class LocusSample(NamedTuple):
    """What one held-out sample has around a gene; bins are counted on the gene's strand, below 0 upstream."""

    sample: str
    start_bp: np.ndarray  # (open bins,) from the bin of the TSS
    signal: np.ndarray  # (open bins,) as measured
    shares: np.ndarray  # (window bins,) mean over seeds
    observed: float
    predicted: float  # mean over seeds
    training_mean: float


class Locus(NamedTuple):
    """One gene's surroundings in the sample where it is highest and in the one where it is lowest."""

    family: str
    gene: str
    symbol: str
    place: str  # chr1:1,000,000 (+)
    unit: str
    r_sample: float
    candidates: int  # genes that it was chosen from
    bin_bp: int  # of the open bins
    window_bp: int  # of the shares' bins
    others_bp: np.ndarray  # start sites of other genes, from this gene's
    samples: Sequence[LocusSample]  # the highest, the lowest
    knocked_out: bool  # the shares are what a prediction loses when a bin is closed, and need not add up


def read_rows(paths: Iterable[Path], columns: Sequence[str]) -> list[list[str]]:
    """Return the cells of some columns of all files, in the files' order."""
    return [[row[column] for column in columns] for path in paths for _, row in read_table(path, columns)]


def read_reads(paths: Iterable[Path]) -> list[Reads]:
    """Return the RNA reads of each sample, sorted by id."""
    found = [
        Reads(*(reads_cell(row[name], path, line, name) for name in Reads._fields))
        for path in paths
        for line, row in read_table(path, Reads._fields)
    ]
    refuse_duplicates((one.sample for one in found), "counts of reads: sample")
    return sorted(found)


def reads_cell(cell: str, path: Path, line: int, column: str) -> str | float:
    """Return a text, or a number: NaN only where one may lack."""
    if column in READ_TEXTS:
        return cell
    value = parse_number(cell, path, line, column)
    if not np.isfinite(value) and column not in READ_MAY_LACK:
        raise InputError(f"{path.name} line {line}, column {column}: '{cell}' is no count and no share; every sample needs one")
    return value


def read_predictions(path: Path) -> Predictions:
    """Return what combine.py wrote; folds are read one at a time."""
    with open_predictions(path) as file:
        folds, seeds = file["folds"][:].tolist(), file["seeds"][:].tolist()
        status = file["status"].asstr()[:]
        cells = [test_cells(file, i) for i in range(len(folds))]
        return Predictions(
            path,
            *(str(file.attrs[name]) for name in ("family", "preset", "axes", "unit", "methods")),
            *(list(file[name].asstr()[:]) for name in ("rows", "columns")),
            predictors=predictors(file),
            controls=controls(file),
            folds=folds,
            seeds=seeds,
            collapsed=[(fold, seed) for i, fold in enumerate(folds) for j, seed in enumerate(seeds) if status[i, j] == "collapsed"],
            tested=[tested for tested, _ in cells],
            **{
                name: np.concatenate([values[k] for _, values in cells])
                for k, name in enumerate(("predicted", "observed", "training_mean"))
            },
            weights=dict(zip(file["members"].asstr()[:], file["weights"][:].T, strict=True)) if "weights" in file else {},
        )


def test_cells(file: h5py.File, i: int) -> tuple[tuple[int, int], list[np.ndarray]]:
    """Return how many rows and columns one fold tests, and the predicted, observed and training mean values of its test cells."""
    rows, columns, found = 0, np.zeros(len(file["columns"]), dtype=bool), []
    for block in row_blocks(file):
        test = file["role"][i, block] == TEST
        if test.any():
            rows, columns = rows + int(test.any(axis=1).sum()), columns | test.any(axis=0)
            mean = np.broadcast_to(read_mean(file, i, block), test.shape)
            found.append((file["predicted"][i, :, block].mean(axis=0)[test], file["observed"][block][test], mean[test]))
    nothing = np.empty(0, dtype=np.float32)
    return (rows, int(columns.sum())), [np.concatenate(parts) for parts in zip(*found, strict=True)] or [nothing] * 3


def read_history(path: Path) -> History:
    """Return one learning curve; family, fold and seed stand in its name, as train.py's callers give it."""
    match = HISTORY_NAME.fullmatch(path.name)
    if not match:
        raise InputError(f"{path.name}: a learning curve is named <family>.fold<number>.seed<number>.history.tsv")
    rows = [[parse_number(row[name], path, line, name) for name in HISTORY_COLUMNS[1:]] for line, row in read_table(path, HISTORY_COLUMNS)]
    return History(match["family"], int(match["fold"]), int(match["seed"]), *np.array(rows, dtype=float).reshape(-1, 3).T)


def read_shares(path: Path) -> Shares:
    """Return one file of attributions, averaged over its examples block by block."""
    with open_hdf5(path, "attributions") as file:
        lacking = [key for key in ("row", "predicted", "reference") if key not in file]
        if lacking:
            raise InputError(f"{path.name}: not a file of attributions made by attribute.py: {', '.join(lacking)} is missing")
        facts = {key: value.item() if isinstance(value, np.generic) else value for key, value in file.attrs.items()}
        change = np.abs(file["predicted"][:] - file["reference"][:])
        mean_change = float(change.mean()) if len(change) else np.nan
        distance_bp, mean_share = window_shares(file, facts) if {"bins", "bin_bp", "flank_bp"} <= facts.keys() else (None, None)
        error = float(facts.get("completeness_error_max", np.nan))
        told = (feature_shares(file), "knocked_out/window" in file, word_shares(file), landmark_shares(file))
        return Shares(path, facts, len(change), mean_change, error, distance_bp, mean_share, *told)


def feature_shares(file: h5py.File) -> dict[str, float]:
    """Return the mean |share| of each feature that has a name."""
    named = [file[f"shares/{name}"] for name in file.get("shares", ()) if f"shares/{name}" != FACTORS]
    named = [shares for shares in named if "names" in shares.attrs and len(shares)]
    return {
        str(name): float(worth)
        for shares in named
        for name, worth in zip(shares.attrs["names"], np.abs(shares[:]).mean(axis=0), strict=True)
    }


def landmark_shares(file: h5py.File) -> dict[str, dict[str, float]]:
    """Return {target: {landmark: mean |share|}} where landmark genes were read."""
    if "shares/landmarks" not in file:
        return {}
    shares, column = file["shares/landmarks"], file["column"].asstr()[:]
    names, sizes = [str(name) for name in shares.attrs["names"]], np.abs(shares[:])
    return {str(target): dict(zip(names, sizes[column == target].mean(axis=0).tolist(), strict=True)) for target in np.unique(column)}


def word_shares(file: h5py.File) -> dict[str, tuple[float, int]]:
    """Return {word: (mean share, places)} of the words of bases that raise and lower predictions most."""
    if "words/word" not in file:
        return {}
    numbers = zip(file["words/share"][:].tolist(), file["words/count"][:].tolist(), strict=True)
    return dict(zip(file["words/word"].asstr()[:], numbers, strict=True))


def window_array(file: h5py.File) -> h5py.Dataset | None:
    """Return (examples, bins) what each bin of the window adds to a prediction: its share, or what is lost when it is closed."""
    return file.get("shares/window", file.get("knocked_out/window"))


def window_shares(file: h5py.File, facts: dict[str, object]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return (bins,) centres of the window's bins and the mean |share| of each; None without examples or a window."""
    shares = window_array(file)
    if shares is None or len(shares) == 0 or shares.shape[1:] != (int(facts["bins"]),):
        return None, None
    total = sum(np.abs(shares[start : start + BLOCK]).sum(axis=0, dtype=np.float64) for start in range(0, len(shares), BLOCK))
    return (np.arange(int(facts["bins"])) + 0.5) * float(facts["bin_bp"]) - float(facts["flank_bp"]), total / len(shares)


def read_json(path: Path) -> dict[str, object]:
    """Return a JSON file that holds one dictionary."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: JSON with names and values is needed, this is a {type(content).__name__}")
    return content


def read_tasks(paths: Iterable[Path]) -> list[Task]:
    """Return what each task said of itself (cli.write_task), sorted by script."""
    return sorted(read_task(path) for path in paths)


def read_task(path: Path) -> Task:
    """Return one task's facts."""
    content = read_json(path)
    versions = content.get("versions")
    numbers = [content.get(name) for name in ("wall_s", "cpu_s", "peak_mib")]
    if not (isinstance(content.get("script"), str) and isinstance(versions, dict) and all(isinstance(one, int | float) for one in numbers)):
        raise InputError(f"{path.name}: not what a script writes to --task-out (script, versions, wall_s, cpu_s, peak_mib)")
    return Task(content["script"], *map(float, numbers), tuple(sorted((str(tool), str(one)) for tool, one in versions.items())))


def merge_versions(tasks: Iterable[Task]) -> dict[str, list[str]]:
    """Return every tool's versions, more than one where tasks differed."""
    versions: dict[str, set[str]] = {}
    for task in tasks:
        for tool, version in task.versions:
            versions.setdefault(tool, set()).add(version)
    return {tool: sorted(versions[tool]) for tool in sorted(versions)}


def read_run(tasks: Iterable[Path], parameters: Path) -> tuple[list[Task], dict[str, object], dict[str, list[str]]]:
    """Return all tasks, {parameter: value}, and the versions of every tool, of the pipeline and of Nextflow."""
    read, given = read_tasks(tasks), read_json(parameters)
    pipeline = given.pop("pipeline", {})
    if not isinstance(pipeline, dict):
        raise InputError(f"{parameters.name}: pipeline: names and versions are needed, this is {pipeline!r}")
    return read, given, merge_versions(read) | {tool: [str(version)] for tool, version in pipeline.items()}
