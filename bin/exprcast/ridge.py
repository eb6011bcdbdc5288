"""Ridge regression of what the mean leaves over on a family's flat features; α is chosen on validation."""

import numpy as np

from exprcast.family import Examples
from exprcast.means import Fitted, blocks, patterns, predict_mean, residual

ALPHAS = np.logspace(-4, 3, 15)  # in units of the mean eigenvalue of the features' covariance


def fit_ridge(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray) -> Fitted:
    """Solve for every α on standardised features and keep the one best on validation; each output is fitted where it was measured."""
    centre, scale = standard(examples, train)
    measured = np.concatenate([~np.isnan(residual(axes, examples, mean, part)) for part in blocks(train)])
    candidates = np.zeros((len(ALPHAS), len(centre), measured.shape[1]))
    for rows, columns in patterns(measured):
        fit = solve_dual if len(centre) > len(rows) else solve
        candidates[:, :, columns] = fit(axes, examples, mean, train[rows], columns, centre, scale)
    losses = validation_losses(axes, examples, mean, valid, candidates, centre, scale)
    best = int(np.argmin(losses))
    return {"weights": candidates[best], "centre": centre, "scale": scale, "alpha": np.array([ALPHAS[best]]), "valid_loss": losses}


def predict_ridge(axes: str, examples: Examples, mean: Fitted, ridge: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the base plus the linear function of the features."""
    x = (examples.features(index) - ridge["centre"]) / ridge["scale"]
    return predict_mean(axes, examples, mean, index, "base") + x @ ridge["weights"]


def standard(examples: Examples, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features' means and standard deviations, infinite (the feature becomes 0) where a feature does not vary."""
    moments = [feature_moments(examples, part) for part in blocks(train)]
    centre = sum(first for first, _ in moments) / len(train)
    sd = np.sqrt(np.maximum(sum(second for _, second in moments) / len(train) - centre**2, 0))
    return centre, np.where(sd > 1e-6, sd, np.inf)


def solve(
    axes: str, examples: Examples, mean: Fitted, train: np.ndarray, columns: np.ndarray, centre: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return (α, features, columns) weights of some outputs; examples are read in blocks."""
    gram, moment = 0.0, 0.0
    for part in blocks(train):
        x = ((examples.features(part) - centre) / scale).astype(np.float32)
        y = np.nan_to_num(residual(axes, examples, mean, part)[:, columns])
        gram, moment = gram + (x.T @ x).astype(np.float64), moment + (x.T @ y).astype(np.float64)
    values, vectors = np.linalg.eigh(gram / len(train))
    rotated = vectors.T @ moment / len(train)
    unit = max(values.mean(), 1e-12)
    return np.stack([vectors @ (rotated / (np.maximum(values, 0) + alpha * unit)[:, None]) for alpha in ALPHAS])


def solve_dual(
    axes: str, examples: Examples, mean: Fitted, train: np.ndarray, columns: np.ndarray, centre: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return the same for few examples with many features, which fit in memory."""
    x = (examples.features(train).astype(np.float64) - centre) / scale
    values, vectors = np.linalg.eigh(x @ x.T / len(train))
    y = vectors.T @ np.nan_to_num(residual(axes, examples, mean, train)[:, columns])
    unit = max(values.mean(), 1e-12)
    return np.stack([x.T @ (vectors @ (y / (np.maximum(values, 0) + alpha * unit)[:, None])) / len(train) for alpha in ALPHAS])


def feature_moments(examples: Examples, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of features and of their squares."""
    x = examples.features(index).astype(np.float64)
    return x.sum(axis=0), (x**2).sum(axis=0)


def validation_losses(
    axes: str, examples: Examples, mean: Fitted, valid: np.ndarray, candidates: np.ndarray, centre: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return each candidate's mean squared error over measured validation targets."""
    errors, counts = np.zeros(len(candidates)), 0
    for part in blocks(valid):
        x, y = (examples.features(part) - centre) / scale, residual(axes, examples, mean, part)
        errors += [np.nansum((y - x @ weights) ** 2) for weights in candidates]
        counts += int((~np.isnan(y)).sum())
    return errors / max(counts, 1)
