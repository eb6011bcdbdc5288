"""What a bundle predicted for new samples (applied/<family>.h5): ids and small tables at once, matrices in blocks of samples.

The file has the form of combined predictions (one fold, one seed, all cells tested), and beside them intervals, the nearest training
sample of each sample, and how held-out training samples did.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.bundle import ENSEMBLE
from exprcast.cli import InputError
from exprcast.results import Predictions
from exprcast.scoring import open_predictions, predictors, row_blocks
from exprcast.tables import refuse_duplicates

TEXTS = ("family", "preset", "axes", "unit", "methods", "bundle")
ATTRIBUTES = (*TEXTS, "confidence")
AXES = {
    "predicted": ("one", "one", "samples", "genes"), "training_mean": ("one", "one", "genes"),
    "observed": ("samples", "genes"), "low": ("samples", "genes"), "high": ("samples", "genes"),
    "genes/symbol": ("genes",), "genes/chrom": ("genes",), "genes/strand": ("genes",),
    "samples/nearest": ("samples",), "samples/distance": ("samples",), "samples/outside": ("samples",),
}  # fmt: skip
CALIBRATION = ("sample", "group", "distance", "coverage")
CELLS = 2**18  # read at once of each matrix: a megabyte
EXPRESSED = 1.0  # in the unit that is predicted; log2(TPM + 1) of 1 TPM


class Block(NamedTuple):
    """Some samples' values, (samples of the block, genes) float32 each; NaN = no interval, not measured."""

    rows: slice
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    observed: np.ndarray


class Calibration(NamedTuple):
    """How training samples did when they were held out, in intervals calibrated without their groups; (training samples,) each."""

    sample: list[str]
    group: np.ndarray
    distance: np.ndarray  # to the nearest sample that its networks learned from; NaN = not known
    coverage: np.ndarray  # share of its genes inside their intervals; NaN = not known

    @property
    def judged(self) -> np.ndarray:
        """Return the numbers of the samples whose coverage is known."""
        return np.flatnonzero(~np.isnan(self.coverage))


class Applied:
    """One family's file, opened and checked."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, open_predictions(path)
        try:
            self.read_small()
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise InputError(
                f"{path.name}: not what applying a bundle leaves behind ({' '.join(str(error).split())}); apply it again"
            ) from None

    def read_small(self) -> None:
        """Read and check all but the matrices."""
        lacking = [*(key for key in AXES if key not in self.file), *(name for name in ATTRIBUTES if name not in self.file.attrs)]
        if lacking:
            raise ValueError(f"without {', '.join(lacking)}")
        self.family, self.preset, self.axes, self.unit, self.methods, self.bundle = (str(self.file.attrs[name]) for name in TEXTS)
        self.confidence = float(self.file.attrs["confidence"])
        self.samples, self.genes = self.text("rows"), self.text("columns")
        sizes = {"one": 1, "samples": len(self.samples), "genes": len(self.genes)}
        for key, axes in AXES.items():
            needed = tuple(sizes[axis] for axis in axes)
            if self.file[key].shape != needed:
                raise ValueError(f"{key} is {self.file[key].shape}, ids ask for {needed}")
        self.symbol, self.chrom, self.strand = (self.text(f"genes/{name}") for name in ("symbol", "chrom", "strand"))
        self.nearest = self.text("samples/nearest")
        self.distance = self.file["samples/distance"][:].astype(np.float64)  # (samples,) 1 − cosine
        self.outside = self.file["samples/outside"][:].astype(bool)  # (samples,)
        self.training_mean = self.file["training_mean"][0, 0]  # (genes,)
        self.calibration = self.read_calibration()

    def text(self, key: str) -> list[str]:
        """Return an array of words."""
        return self.file[key].asstr()[:].tolist()

    def read_calibration(self) -> Calibration | None:
        """Return how held-out training samples did; None where none were held out."""
        group = self.file.get("calibration")
        if group is None or not len(group):
            return None
        sample, names = self.text("calibration/sample"), np.array(self.text("calibration/group"), dtype=object)
        found = Calibration(sample, names, *(group[name][:].astype(np.float64) for name in CALIBRATION[2:]))
        if len({len(values) for values in found}) > 1:
            raise ValueError("arrays of calibration differ in length")
        return found if sample else None

    @property
    def measured(self) -> bool:
        """Say whether RNA of any sample is known."""
        return any(not np.isnan(self.read("observed", rows)).all() for rows in self.parts())

    def parts(self) -> list[slice]:
        """Return slices of samples to be read at once; none cuts a chunk of the file."""
        chunks = row_blocks(self.file)
        together = max(1, CELLS // (chunks[0].stop * len(self.genes)))
        return [slice(own[0].start, own[-1].stop) for own in (chunks[k : k + together] for k in range(0, len(chunks), together))]

    def blocks(self) -> Iterator[Block]:
        """Yield all values, some samples at a time."""
        for rows in self.parts():
            yield Block(rows, *(self.read(key, rows) for key in Block._fields[1:]))

    def read(self, key: str, rows: slice) -> np.ndarray:
        """Return some samples' values of a matrix, (samples, genes)."""
        matrix = self.file[key]
        try:
            return matrix[(0,) * (matrix.ndim - 2) + (rows,)]  # of the one fold and seed
        except OSError:
            raise InputError(f"{self.path.name}: {key} cannot be read from {self.samples[rows.start]} on; apply the bundle again") from None

    def as_predictions(self) -> Predictions:
        """Return what scores are told with: names, without the values."""
        nothing, weights = np.empty(0, dtype=np.float32), {}
        if "weights" in self.file:  # of an ensemble
            weights = dict(zip(self.text("members"), self.file["weights"][:].T, strict=True))
        return Predictions(
            self.path, self.family, self.preset, self.axes, self.unit, self.methods, self.samples, self.genes, predictors(self.file),
            controls=[], folds=[0], seeds=[0], collapsed=[], tested=[(len(self.samples), len(self.genes))],
            predicted=nothing, observed=nothing, training_mean=nothing, weights=weights,
        )  # fmt: skip


class Summary(NamedTuple):
    """What a family predicts for each sample, (samples,) each, and all values of the samples that are drawn."""

    median_width: np.ndarray  # of the intervals of a sample's genes; NaN where it has none
    mean_width: np.ndarray
    expressed: np.ndarray  # genes predicted at 1 and more
    higher: np.ndarray  # genes whose interval lies above the training mean
    lower: np.ndarray
    measured: np.ndarray  # genes whose RNA is known
    mse: np.ndarray  # over those
    coverage: np.ndarray  # share of those inside their intervals
    drawn: dict[int, Block]  # sample's number → its values, (1, genes)


def open_families(paths: list[Path]) -> list[Applied]:
    """Return the families' files, the ensemble first, the others by name."""
    families = sorted((Applied(path) for path in paths), key=lambda one: (one.family != ENSEMBLE, one.family))
    refuse_duplicates((one.family for one in families), "applied predictions: family")
    return families


def summarise(applied: Applied, drawn: set[int]) -> Summary:
    """Read a family's file once, block by block; keep all values of the samples with these numbers."""
    kept, columns = {}, []
    for block in applied.blocks():
        columns.append(summarise_block(block, applied.training_mean))
        for i in sorted(drawn & set(range(block.rows.start, block.rows.stop))):
            k = i - block.rows.start
            kept[i] = Block(slice(i, i + 1), *(matrix[k : k + 1] for matrix in block[1:]))
    return Summary(*np.concatenate(columns, axis=1), kept)


def summarise_block(block: Block, mean: np.ndarray) -> np.ndarray:
    """Return (8, samples of the block) numbers in the order of Summary."""
    width, error = block.high - block.low, (block.predicted - block.observed).astype(np.float64)
    judged = ~np.isnan(error) & ~np.isnan(width)
    inside = judged & (block.low <= block.observed) & (block.observed <= block.high)
    known = ~np.isnan(error)
    return np.stack([
        [middle(row) for row in width],
        share(np.nan_to_num(width.astype(np.float64)).sum(axis=1), (~np.isnan(width)).sum(axis=1)),
        (block.predicted >= EXPRESSED).sum(axis=1),
        (block.low > mean).sum(axis=1),
        (block.high < mean).sum(axis=1),
        known.sum(axis=1),
        share((np.nan_to_num(error) ** 2).sum(axis=1), known.sum(axis=1)),
        share(inside.sum(axis=1), judged.sum(axis=1)),
    ])  # fmt: skip


def middle(values: np.ndarray) -> float:
    """Return the median of what is known, NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN of nothing."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
