"""Ridge regression of what the mean leaves over on a family's flat features; α is chosen on validation."""

import numpy as np

from exprcast.family import Examples
from exprcast.means import Fitted, blocks, predict_mean, residual

ALPHAS = np.logspace(-4, 3, 15)  # in units of the mean eigenvalue of the features' covariance


def fit_ridge(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray) -> Fitted:
    """Solve for every α on standardised features and keep the one best on validation; what was not measured counts as the base.

    With more features than examples the dual form is solved.
    """
    dual = examples.features(train[:1]).shape[1] > len(train)
    centre, scale, candidates = (solve_dual if dual else solve)(axes, examples, mean, train)
    losses = validation_losses(axes, examples, mean, valid, candidates, centre, scale)
    best = int(np.argmin(losses))
    return {"weights": candidates[best], "centre": centre, "scale": scale, "alpha": np.array([ALPHAS[best]]), "valid_loss": losses}


def predict_ridge(axes: str, examples: Examples, mean: Fitted, ridge: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the base plus the linear function of the features."""
    x = (examples.features(index) - ridge["centre"]) / ridge["scale"]
    return predict_mean(axes, examples, mean, index, "base") + x @ ridge["weights"]


def solve(axes: str, examples: Examples, mean: Fitted, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return centre and scale of the features and the weights for each α; examples are read in blocks."""
    moments = [feature_moments(examples, part) for part in blocks(train)]
    count, centre = len(train), sum(first for first, _ in moments) / len(train)
    scale = known_scale(np.sqrt(np.maximum(sum(second for _, second in moments) / count - centre**2, 0)))
    gram, moment = 0.0, 0.0
    for part in blocks(train):
        x = ((examples.features(part) - centre) / scale).astype(np.float32)
        y = np.nan_to_num(residual(axes, examples, mean, part))
        gram, moment = gram + (x.T @ x).astype(np.float64), moment + (x.T @ y).astype(np.float64)
    values, vectors = np.linalg.eigh(gram / count)
    rotated = vectors.T @ moment / count
    unit = max(values.mean(), 1e-12)
    return centre, scale, [vectors @ (rotated / (np.maximum(values, 0) + alpha * unit)[:, None]) for alpha in ALPHAS]


def solve_dual(axes: str, examples: Examples, mean: Fitted, train: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return the same for few examples with many features, which fit in memory."""
    x = examples.features(train).astype(np.float64)
    centre, scale = x.mean(axis=0), known_scale(x.std(axis=0))
    x = (x - centre) / scale
    values, vectors = np.linalg.eigh(x @ x.T / len(train))
    y = vectors.T @ np.nan_to_num(residual(axes, examples, mean, train))
    unit = max(values.mean(), 1e-12)
    return centre, scale, [x.T @ (vectors @ (y / (np.maximum(values, 0) + alpha * unit)[:, None])) / len(train) for alpha in ALPHAS]


def known_scale(sd: np.ndarray) -> np.ndarray:
    """Return standard deviations, infinite (the feature becomes 0) where a feature does not vary."""
    return np.where(sd > 1e-6, sd, np.inf)


def feature_moments(examples: Examples, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of features and of their squares."""
    x = examples.features(index).astype(np.float64)
    return x.sum(axis=0), (x**2).sum(axis=0)


def validation_losses(
    axes: str, examples: Examples, mean: Fitted, valid: np.ndarray, candidates: list[np.ndarray], centre: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Return each candidate's mean squared error over measured validation targets."""
    errors, counts = np.zeros(len(candidates)), 0
    for part in blocks(valid):
        x, y = (examples.features(part) - centre) / scale, residual(axes, examples, mean, part)
        errors += [np.nansum((y - x @ weights) ** 2) for weights in candidates]
        counts += int((~np.isnan(y)).sum())
    return errors / max(counts, 1)
