"""The training mean, the simplest predictor there is; the other baselines are fitted to what it leaves over.

A gene whose RNA was never seen has no mean of its own: it takes the mean over all training genes. Where such genes are most of
what a fold tests, `base` is that one number for every gene, so that the other baselines learn how high genes are, and not only
how samples differ. What was not measured is left out of every fit.
"""

import numpy as np

from exprcast.family import Examples, place

BLOCK = 16_384
MOST_PATTERNS = 20  # of outputs that are measured in the same members; the rest is fitted together
Fitted = dict[str, np.ndarray]


def blocks(index: np.ndarray) -> list[np.ndarray]:
    """Cut an index into blocks of at most 16,384."""
    return np.array_split(index, max(1, -(-len(index) // BLOCK)))


def target_matrix(axes: str, examples: Examples, index: np.ndarray) -> np.ndarray:
    """Return (rows, columns) float32 of the targets of these examples, NaN elsewhere."""
    matrix = np.full((len(examples.rows), len(examples.columns)), np.nan, dtype=np.float32)
    for part in blocks(index):
        place(axes, matrix, part, examples.targets(part).numpy())
    return matrix


def nan_mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the mean of what was measured, NaN where nothing was (without NumPy's warning)."""
    measured = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=axis, dtype=np.float64) / measured.sum(axis=axis)


def same_levels(levels: np.ndarray) -> np.ndarray:
    """Return the mean of all levels in the place of each; NaN stay."""
    return np.where(np.isnan(levels), levels, nan_mean(levels)).astype(levels.dtype)


def fit_mean(axes: str, examples: Examples, train: np.ndarray, test: np.ndarray) -> Fitted:
    """Return the mean over training examples of each output (samples: column; genes: row; pairs: column), and the base for other fits."""
    matrix = target_matrix(axes, examples, train)
    by_output = nan_mean(matrix, axis=1 if axes == "genes" else 0)
    overall = nan_mean(matrix)
    output = np.where(np.isnan(by_output), overall, by_output)
    seen = ~np.isnan(by_output)
    new = axes == "samples×genes" and len(test) > 0 and seen[test % len(examples.columns)].mean() < 0.5
    return {"output": output, "seen": seen, "base": np.full_like(output, overall) if new else output, "new": np.array(new)}


def patterns(measured: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (members, outputs) parts that are measured throughout, of a (members, outputs) mask: one for each common pattern of outputs.

    Outputs of rare patterns stand together with all members; what they lack must be filled.
    """
    packed = np.ascontiguousarray(np.packbits(measured, axis=0).T)  # (outputs, bytes): millions of members take no time
    _, number, count = np.unique(packed.view(f"V{packed.shape[1]}")[:, 0], return_inverse=True, return_counts=True)
    common = np.argsort(-count, kind="stable")[:MOST_PATTERNS]
    parts = []
    for pattern in common:
        columns = np.flatnonzero(number == pattern)
        rows = np.flatnonzero(measured[:, columns[0]])
        parts += [(rows, columns)] if len(rows) else []
    rest = np.flatnonzero(~np.isin(number, common))
    return parts + ([(np.arange(len(measured)), rest)] if len(rest) else [])


def predict_mean(axes: str, examples: Examples, mean: Fitted, index: np.ndarray, key: str = "output") -> np.ndarray:
    """Return (index, outputs) training means of these examples' outputs, or their base."""
    if axes == "samples×genes":
        return mean[key][index % len(examples.columns)][:, None]
    return np.broadcast_to(mean[key], (len(index), len(mean[key])))


def residual(axes: str, examples: Examples, mean: Fitted, index: np.ndarray) -> np.ndarray:
    """Return (index, outputs) target − base, NaN where not measured."""
    return examples.targets(index).numpy() - predict_base(axes, examples, mean, index)


def predict_base(axes: str, examples: Examples, mean: Fitted, index: np.ndarray) -> np.ndarray:
    """Return (index, outputs) what ridge and trees depart from: what the family knows of an example, else the base."""
    base = predict_mean(axes, examples, mean, index, "base")
    if mean["new"] or not hasattr(examples, "known"):
        return base
    known = examples.known(index)
    return np.where(np.isnan(known), base, known)
