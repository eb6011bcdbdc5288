"""Ridge regression of what the mean leaves over on a family's flat features; α is chosen on validation.

With more features than training examples it is solved in the dual form: an output has a weight for each training example, and not for
each feature; of many outputs it is also kept and evaluated so. One decomposition serves every α, and the predictions of one α are in memory at a time.
"""

from typing import NamedTuple

import numpy as np

from exprcast.family import Examples
from exprcast.means import Fitted, blocks, patterns, predict_base, residual

ALPHAS = np.logspace(-4, 3, 15)  # in units of the mean eigenvalue of the features' covariance


class Part(NamedTuple):
    """The ridge of outputs that were measured in the same examples, one step from any α."""

    columns: np.ndarray  # (columns,) which outputs
    members: np.ndarray  # (members,) what has weights: all features, or of the dual form the examples that it was fitted on
    values: np.ndarray  # (rank,) eigenvalues
    vectors: np.ndarray  # (members, rank)
    rotated: np.ndarray  # (rank, columns) targets along the eigenvectors
    unit: float  # of α

    def penalised(self, alpha: float) -> np.ndarray:
        """Return (rank, columns) coefficients of the eigenvectors."""
        return self.rotated / (np.maximum(self.values, 0) + alpha * self.unit)[:, None]


def fit_ridge(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray, chosen: Fitted | None = None) -> Fitted:
    """Return weights (features or training examples, outputs) for the α that is best on validation, or that of an earlier fit.

    Each output is fitted where it was measured.
    """
    centre, scale = standard(examples, train)
    ridge = {"centre": centre, "scale": scale} | ({"near": train} if len(centre) > len(train) else {})
    measured = np.concatenate([~np.isnan(residual(axes, examples, mean, part)) for part in blocks(train)])
    parts = (solve_dual if "near" in ridge else solve)(axes, examples, mean, train, patterns(measured), ridge)
    if chosen is None:
        ridge["valid_loss"] = validation_losses(axes, examples, mean, valid, parts, ridge)
    ridge["alpha"] = chosen["alpha"] if chosen else ALPHAS[[np.argmin(ridge["valid_loss"])]]
    ridge["weights"] = np.zeros((len(ridge.get("near", centre)), measured.shape[1]))
    for part in parts:
        ridge["weights"][np.ix_(part.members, part.columns)] = part.vectors @ part.penalised(ridge["alpha"][0])
    return primal(examples, ridge) if "near" in ridge and measured.shape[1] == 1 else ridge


def primal(examples: Examples, ridge: Fitted) -> Fitted:
    """Return a dual fit of one output with a weight for each feature: shorter than the training examples that it leans on, and needs none of them."""
    parts = zip(blocks(ridge["near"]), np.array_split(ridge["weights"], len(blocks(ridge["near"]))), strict=True)
    weights = sum(standardised(examples, block, ridge).T @ own for block, own in parts)
    return {key: value for key, value in ridge.items() if key != "near"} | {"weights": weights}


def predict_ridge(axes: str, examples: Examples, mean: Fitted, ridge: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the base plus the linear function of the features."""
    return predict_base(axes, examples, mean, index) + read(examples, index, ridge) @ ridge["weights"]


def read(examples: Examples, index: np.ndarray, ridge: Fitted) -> np.ndarray:
    """Return what has weights: (index, features) standardised, or of the dual form their inner products with training examples (index, train)."""
    x = standardised(examples, index, ridge)
    return x @ standardised(examples, ridge["near"], ridge).T if "near" in ridge else x


def standardised(examples: Examples, index: np.ndarray, ridge: Fitted) -> np.ndarray:
    """Return (index, features) float64 in training standard deviations."""
    return (examples.features(index) - ridge["centre"]) / ridge["scale"]


def standard(examples: Examples, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features' means and standard deviations, infinite (the feature becomes 0) where a feature does not vary."""
    moments = [feature_moments(examples, part) for part in blocks(train)]
    centre = sum(first for first, _ in moments) / len(train)
    sd = np.sqrt(np.maximum(sum(second for _, second in moments) / len(train) - centre**2, 0))
    return centre, np.where(sd > 1e-6, sd, np.inf)


def feature_moments(examples: Examples, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of features and of their squares."""
    x = examples.features(index).astype(np.float64)
    return x.sum(axis=0), (x**2).sum(axis=0)


def solve(
    axes: str, examples: Examples, mean: Fitted, train: np.ndarray, found: list[tuple[np.ndarray, np.ndarray]], ridge: Fitted
) -> list[Part]:
    """Decompose the features' covariance for each pattern (places in train, outputs); examples are read in blocks.

    Of samples, which are few, sums are of doubles.
    """
    dtype, parts = np.float64 if axes == "samples" else np.float32, []
    for rows, columns in found:
        gram, moment = 0.0, 0.0
        for block in blocks(train[rows]):
            x = standardised(examples, block, ridge).astype(dtype)
            y = np.nan_to_num(residual(axes, examples, mean, block)[:, columns])
            gram, moment = gram + (x.T @ x).astype(np.float64), moment + (x.T @ y).astype(np.float64)
        values, vectors = np.linalg.eigh(gram / len(rows))
        unit = max(values.sum() / min(gram.shape[0], len(rows)), 1e-12)
        parts.append(Part(columns, np.arange(len(values)), values, vectors, vectors.T @ moment / len(rows), unit))
    return parts


def solve_dual(
    axes: str, examples: Examples, mean: Fitted, train: np.ndarray, found: list[tuple[np.ndarray, np.ndarray]], ridge: Fitted
) -> list[Part]:
    """Do the same between few examples with many features, which fit in memory."""
    gram, targets = read(examples, train, ridge), residual(axes, examples, mean, train)
    parts = []
    for rows, columns in found:
        values, vectors = np.linalg.eigh(gram[np.ix_(rows, rows)] / len(rows))
        y = np.nan_to_num(targets[np.ix_(rows, columns)])
        parts.append(Part(columns, rows, values, vectors, vectors.T @ y / len(rows), max(values.mean(), 1e-12)))
    return parts


def validation_losses(axes: str, examples: Examples, mean: Fitted, valid: np.ndarray, parts: list[Part], ridge: Fitted) -> np.ndarray:
    """Return each α's mean squared error over measured validation targets, in units of the family's scale of each where it has one."""
    errors, count = np.zeros(len(ALPHAS)), 0
    for block in blocks(valid):
        x, y = read(examples, block, ridge), residual(axes, examples, mean, block)
        along = [x[:, part.members] @ part.vectors for part in parts]
        for i, alpha in enumerate(ALPHAS):
            left = y.copy()
            for part, z in zip(parts, along, strict=True):
                left[:, part.columns] -= z @ part.penalised(alpha)
            errors[i] += np.nansum((left / getattr(examples, "scale", 1.0)) ** 2)
        count += int((~np.isnan(y)).sum())
    return errors / max(count, 1)
