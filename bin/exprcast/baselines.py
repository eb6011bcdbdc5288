"""The simple predictors that every score is printed beside, on the same examples, folds and inputs as the model.

mean      the training mean of an output; of a gene whose RNA was never seen, the mean over all training genes
ridge     the mean plus a linear function of the family's features; α chosen on validation
nearest   the values of the most similar training sample (or gene); similarity is the correlation of features as deviations
          from the training mean. A gene never seen takes its most similar training gene in that sample
rule      the family's own (its file says what it is)

What is fitted is arrays and nothing else; they are saved as HDF5.
"""

from pathlib import Path
from types import ModuleType

import h5py
import numpy as np

from exprcast.cli import whole_file
from exprcast.dataset import TRAIN, VALID, open_hdf5
from exprcast.family import Examples, place

NAMES = ("mean", "ridge", "nearest", "rule")
ALPHAS = np.logspace(-4, 3, 15)  # in units of the mean eigenvalue of the features' covariance
BLOCK = 16_384
PROFILE_GENES = 2_000  # genes whose windows make a sample's profile, drawn with seed 0 from those in training
Fitted = dict[str, np.ndarray]


def fit_baselines(family: ModuleType, examples: Examples, roles: np.ndarray) -> dict[str, Fitted]:
    """Fit every baseline on the training examples of one fold; validation examples choose α only."""
    train, valid = np.flatnonzero(roles == TRAIN), np.flatnonzero(roles == VALID)
    mean = fit_mean(family.EXAMPLES, examples, train)
    return {
        "mean": mean,
        "ridge": fit_ridge(family.EXAMPLES, examples, mean, train, valid),
        "nearest": fit_nearest(family.EXAMPLES, examples, mean, train),
        "rule": family.fit_rule(examples, train),
    }


def predict_baseline(family: ModuleType, examples: Examples, fitted: dict[str, Fitted], name: str, index: np.ndarray) -> np.ndarray:
    """Return (index, outputs) float32 predictions of one baseline."""
    if name == "mean":
        values = predict_mean(family.EXAMPLES, examples, fitted["mean"], index)
    elif name == "ridge":
        values = predict_ridge(family.EXAMPLES, examples, fitted["mean"], fitted["ridge"], index)
    elif name == "nearest":
        values = predict_nearest(family.EXAMPLES, examples, fitted["nearest"], index)
    else:
        values = family.rule(examples, fitted["rule"], index)
    return np.asarray(values, dtype=np.float32)


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


def fit_mean(axes: str, examples: Examples, train: np.ndarray) -> Fitted:
    """Return the mean over training examples of each output (samples: column; genes: row; pairs: column), and over all."""
    matrix = target_matrix(axes, examples, train)
    by_output = nan_mean(matrix, axis=1 if axes == "genes" else 0)
    overall = nan_mean(matrix)
    return {"output": np.where(np.isnan(by_output), overall, by_output), "seen": ~np.isnan(by_output)}


def predict_mean(axes: str, examples: Examples, mean: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the training means of these examples' outputs."""
    if axes == "samples×genes":
        return mean["output"][index % len(examples.columns)][:, None]
    return np.broadcast_to(mean["output"], (len(index), len(mean["output"])))


def fit_ridge(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray) -> Fitted:
    """Solve ridge regression of (target − mean) on standardised features for every α, keep the one best on validation.

    Outputs that were not measured count as their mean. With more features than examples the dual form is solved.
    """
    if examples.features(train[:1]).shape[1] > len(train):
        return fit_ridge_dual(axes, examples, mean, train, valid)
    moments = [feature_moments(examples, part) for part in blocks(train)]
    count, centre = len(train), sum(first for first, _ in moments) / len(train)
    scale = np.sqrt(np.maximum(sum(second for _, second in moments) / count - centre**2, 0))
    scale = np.where(scale > 1e-6, scale, np.inf)
    gram, moment = 0.0, 0.0
    for part in blocks(train):
        x = ((examples.features(part) - centre) / scale).astype(np.float32)
        y = residual(axes, examples, mean, part)
        gram, moment = gram + (x.T @ x).astype(np.float64), moment + (x.T @ y).astype(np.float64)
    values, vectors = np.linalg.eigh(gram / count)
    rotated = vectors.T @ moment / count
    unit = max(values.mean(), 1e-12)
    candidates = [vectors @ (rotated / (np.maximum(values, 0) + alpha * unit)[:, None]) for alpha in ALPHAS]
    losses = validation_losses(axes, examples, mean, valid, candidates, centre, scale)
    best = int(np.argmin(losses))
    return {"weights": candidates[best], "centre": centre, "scale": scale, "alpha": np.array([ALPHAS[best]]), "valid_loss": losses}


def fit_ridge_dual(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray) -> Fitted:
    """The same for few examples with many features, which fit in memory."""
    x = examples.features(train).astype(np.float64)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-6, scale, np.inf)
    x = (x - centre) / scale
    values, vectors = np.linalg.eigh(x @ x.T / len(train))
    y = vectors.T @ residual(axes, examples, mean, train)
    unit = max(values.mean(), 1e-12)
    candidates = [x.T @ (vectors @ (y / (np.maximum(values, 0) + alpha * unit)[:, None])) / len(train) for alpha in ALPHAS]
    losses = validation_losses(axes, examples, mean, valid, candidates, centre, scale)
    best = int(np.argmin(losses))
    return {"weights": candidates[best], "centre": centre, "scale": scale, "alpha": np.array([ALPHAS[best]]), "valid_loss": losses}


def feature_moments(examples: Examples, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of features and of their squares."""
    x = examples.features(index).astype(np.float64)
    return x.sum(axis=0), (x**2).sum(axis=0)


def residual(axes: str, examples: Examples, mean: Fitted, index: np.ndarray) -> np.ndarray:
    """Return (index, outputs) target − mean, 0 where not measured."""
    return np.nan_to_num(examples.targets(index).numpy() - predict_mean(axes, examples, mean, index))


def validation_losses(
    axes: str, examples: Examples, mean: Fitted, valid: np.ndarray, candidates: list[np.ndarray], centre: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return each candidate's mean squared error over measured validation targets."""
    errors, counts = np.zeros(len(candidates)), 0
    for part in blocks(valid):
        x = (examples.features(part) - centre) / scale
        y = examples.targets(part).numpy() - predict_mean(axes, examples, mean, part)
        errors += [np.nansum((y - x @ weights) ** 2) for weights in candidates]
        counts += int((~np.isnan(y)).sum())
    return errors / max(counts, 1)


def predict_ridge(axes: str, examples: Examples, mean: Fitted, ridge: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the mean plus the linear function of the features."""
    x = (examples.features(index) - ridge["centre"]) / ridge["scale"]
    return predict_mean(axes, examples, mean, index) + x @ ridge["weights"]


def fit_nearest(axes: str, examples: Examples, mean: Fitted, train: np.ndarray) -> Fitted:
    """Return the nearest training member of every row and column that may need one, and the training targets to copy.

    Similarity to a training member, of a training member to others too (never to itself), so that validation rows work alike.
    """
    matrix = target_matrix(axes, examples, train)
    if axes != "samples×genes":
        profiles = np.concatenate([examples.features(part) for part in blocks(np.arange(len(examples)))])
        return {"values": matrix, "row" if axes == "samples" else "column": most_similar(profiles, train)}
    trained_rows, trained_columns = (np.flatnonzero((~np.isnan(matrix)).any(axis=axis)) for axis in (1, 0))
    fitted = {"values": matrix, "row": most_similar(sample_profiles(examples, trained_columns), trained_rows)}
    if not mean["seen"].all():
        fitted["column"] = most_similar(gene_profiles(examples, trained_rows), trained_columns)
    return fitted


def most_similar(profiles: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return for each profile (members, features) the training member that correlates best with it, itself excluded."""
    centred = profiles - profiles[train].mean(axis=0)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = centred / np.where(norm > 0, norm, 1)
    nearest = np.empty(len(profiles), dtype=np.int64)
    for part in blocks(np.arange(len(profiles))):
        similarity = centred[part] @ centred[train].T
        similarity[part[:, None] == train[None, :]] = -np.inf
        nearest[part] = train[similarity.argmax(axis=1)]
    return nearest


def sample_profiles(examples: Examples, genes: np.ndarray) -> np.ndarray:
    """Return (samples, genes · features): a sample is described by its features around up to 2,000 training genes."""
    chosen = np.sort(np.random.default_rng(0).choice(genes, min(PROFILE_GENES, len(genes)), replace=False))
    return np.stack([examples.features(row * len(examples.columns) + chosen).ravel() for row in range(len(examples.rows))])


def gene_profiles(examples: Examples, samples: np.ndarray) -> np.ndarray:
    """Return (genes, features): a gene is described by its features averaged over up to 32 training samples."""
    chosen = samples[np.linspace(0, len(samples) - 1, min(32, len(samples))).astype(int)]
    width = len(examples.columns)
    return sum(examples.features(row * width + np.arange(width)) for row in chosen) / len(chosen)


def predict_nearest(axes: str, examples: Examples, nearest: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the training values of the nearest member."""
    if axes == "samples":
        return nearest["values"][nearest["row"][index]]
    if axes == "genes":
        return nearest["values"][:, nearest["column"][index]].T
    row, column = np.divmod(index, len(examples.columns))
    direct = nearest["values"][nearest["row"][row], column]
    if "column" in nearest:
        other = nearest["column"][column]
        same_sample = nearest["values"][row, other]
        direct = np.where(
            np.isnan(direct), np.where(np.isnan(same_sample), nearest["values"][nearest["row"][row], other], same_sample), direct
        )
    return direct[:, None]


def save_baselines(path: Path, fitted: dict[str, Fitted], **attributes: object) -> None:
    """Write the fitted arrays as HDF5, one group a baseline."""
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(attributes)
        for name, arrays in fitted.items():
            for key, values in arrays.items():
                file.create_dataset(f"{name}/{key}", data=values, compression="gzip" if np.ndim(values) else None)


def load_baselines(path: Path) -> tuple[dict[str, Fitted], dict[str, object]]:
    """Return what save_baselines wrote: arrays by baseline, and the attributes."""
    with open_hdf5(path, "fitted baselines") as file:
        return {name: {key: values[()] for key, values in group.items()} for name, group in file.items()}, dict(file.attrs)
