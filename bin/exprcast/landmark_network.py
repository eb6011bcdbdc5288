"""The network from landmarks to targets: hidden layers beside a ridge regression, or alone as published."""

from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from exprcast.cli import InputError
from exprcast.landmarks import QUANTILE, LandmarkExamples, Targets, blocks, deal_parts
from exprcast.means import patterns
from exprcast.training import Settings

ACTIVATIONS = {"gelu": nn.GELU, "tanh": nn.Tanh}
WORDS = {"activation": tuple(ACTIVATIONS), "quantile": QUANTILE}
ALPHAS = np.logspace(-4, 3, 29)  # of ridge, in units of the mean eigenvalue of the landmarks' covariance
FEW_TARGETS, FEW_SAMPLES = 1_000, 2_000  # enough to choose a penalty, and to find principal components
OUT_LIMIT = 1e-4  # of the published initial weights of the last layer


@dataclass
class NetworkSettings(Settings):
    """Hyper-parameters of both families; tried on 233 arrays and on a simulated panel."""

    hidden: list[int] = field(default_factory=lambda: [512])  # units of each hidden layer
    activation: str = "gelu"  # or tanh
    dropout_input: float = 0.1  # share of landmarks that a training step does not see
    dropout: float = 0.3  # of hidden units
    beside_ridge: bool = True  # predict what ridge regression leaves over; or the targets
    components: int = 64  # principal components of that which the network predicts; 0 = each target by itself
    outputs_counted: int = 0  # gradients of hidden layers are as of so many targets, whatever their number; 0 = of all
    epochs: int = 60
    patience: int = 15
    batch_size: int = 128
    elastic_net: bool = False  # stand elastic net of each target by itself beside the model, too: minutes for thousands of targets
    quantile: str = "other"  # which samples are mapped by rank onto the training samples: none, all, or those in another unit

    def __post_init__(self) -> None:
        """Raise InputError for a word that does not exist, or a number that cannot be."""
        super().__post_init__()
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} '{getattr(self, name)[:60]}': there are {', '.join(known)}")
        for name in ("dropout_input", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: from 0, below 1")
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"hidden {self.hidden}: one layer at least, each of one unit at least")
        for name in ("components", "outputs_counted"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)}: 0 at least is needed")


class Model(nn.Module):
    """Dense layers from z-scores of landmarks to those of targets; `initialise` sets the buffers."""

    def __init__(self, config: NetworkSettings, sizes: dict[str, int]) -> None:
        super().__init__()
        widths, self.outputs_counted, targets = [sizes["landmarks"], *config.hidden], config.outputs_counted, sizes["targets"]
        layers: list[nn.Module] = [nn.Dropout(config.dropout_input)] * (config.dropout_input > 0)
        for before, units in zip(widths, config.hidden, strict=False):
            layers += [nn.Linear(before, units), ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
            nn.init.xavier_uniform_(layers[-3].weight)
            nn.init.zeros_(layers[-3].bias)
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1], sizes["components"] or targets)
        nn.init.uniform_(self.out.weight, -OUT_LIMIT, OUT_LIMIT)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean", torch.zeros(targets))
        self.register_buffer("scale", torch.ones(targets))
        self.register_buffer("ridge", torch.zeros(sizes["landmarks"], targets) if config.beside_ridge else None)
        self.register_buffer("directions", torch.zeros(sizes["components"], targets) if sizes["components"] else None)

    def forward(self, landmarks: torch.Tensor) -> torch.Tensor:
        """Return (batch, targets) of (batch, landmarks)."""
        x = self.hidden(landmarks)  # (batch, hidden)
        if self.outputs_counted and self.training:
            share = self.outputs_counted / len(self.mean)
            x = share * x + (1 - share) * x.detach()
        x = self.out(x)  # (batch, components or targets)
        if self.directions is not None:
            x = x @ self.directions  # (batch, targets)
        if self.ridge is not None:
            x = x + landmarks @ self.ridge
        return self.mean + self.scale * x

    def only(self, targets: np.ndarray) -> "Model":
        """Return a copy that computes these targets and no others."""
        narrow, kept = deepcopy(self), torch.from_numpy(targets).to(self.mean.device)
        for name in ("mean", "scale", "ridge", "directions"):
            if (values := getattr(self, name)) is not None:
                setattr(narrow, name, values[..., kept])
        if self.directions is None:
            narrow.out = nn.Linear(self.out.in_features, len(targets), device=kept.device)
            narrow.out.load_state_dict({name: values[kept] for name, values in self.out.state_dict().items()})
        return narrow


def initialise(model: Model, examples: LandmarkExamples, train: np.ndarray) -> None:
    """Set scales of the targets, ridge regression, and principal components; beside ridge the last layer starts at 0."""
    targets = Targets(examples, train)
    learnt = {"mean": targets.mean, "scale": targets.scale}
    if model.ridge is not None:
        learnt["ridge"] = fit_ridge(targets)
        nn.init.zeros_(model.out.weight)
    if model.directions is not None:
        learnt["directions"] = principal_directions(targets, learnt.get("ridge"), len(model.directions))
    for name, values in learnt.items():
        getattr(model, name).copy_(torch.from_numpy(values))


def fit_ridge(targets: Targets) -> np.ndarray:
    """Return (landmarks, targets) weights between z-scores; each target is fitted where it was measured, the penalty is the same for all."""
    examples, train = targets.examples, targets.train
    weights = np.zeros((examples.landmarks.shape[1], len(examples.columns)))
    alpha = choose_alpha(targets)
    for rows, columns in patterns(np.concatenate([~np.isnan(examples.targets(part).numpy()) for part in blocks(train)])):
        values, directions = decompose(examples, train[rows])
        along = directions.T @ targets.products(train[rows], columns)
        weights[:, columns] = directions @ (along / (values + alpha * values.mean())[:, None])
    return weights


def decompose(examples: LandmarkExamples, samples: np.ndarray, mean: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the (rank,) positive eigenvalues of landmarks' inner products around a mean, and (landmarks, rank) directions; of samples where
    these are fewer."""
    width = examples.landmarks.shape[1]
    if len(samples) > width:
        gram = sum((examples.landmarks[part].T @ examples.landmarks[part]).astype(np.float64) for part in blocks(samples))
        values, vectors = np.linalg.eigh(gram - len(samples) * np.outer(mean, mean))
    else:
        x = examples.landmarks[samples].astype(np.float64) - mean
        values, vectors = np.linalg.eigh(x @ x.T)
        vectors = x.T @ (vectors / np.sqrt(np.maximum(values, 1e-300)))
    kept = values > 1e-9 * max(values[-1], 1e-300)
    return values[kept], vectors[:, kept]


def choose_alpha(targets: Targets) -> float:
    """Return the penalty with the least absolute error for training samples whose group is left out, over up to 1,000 targets.

    Each part is predicted around the mean of the others: scores around the mean of all would know of it, the more so the fewer groups there are.
    """
    examples, train = targets.examples, targets.train
    columns = np.unique(np.linspace(0, len(examples.columns) - 1, FEW_TARGETS).astype(int))
    part, errors = deal_parts([examples.groups[sample] for sample in train]), np.zeros(len(ALPHAS))
    for number in range(part.max() + 1):
        learnt, left = train[part != number], train[part == number][:FEW_SAMPLES]
        x_mean = sum(examples.landmarks[rows].sum(axis=0, dtype=np.float64) for rows in blocks(learnt)) / len(learnt)
        y_mean = sum(targets.read(rows, columns).sum(axis=0, dtype=np.float64) for rows in blocks(learnt)) / len(learnt)
        values, directions = decompose(examples, learnt, x_mean)
        along = directions.T @ (targets.products(learnt, columns) - len(learnt) * np.outer(x_mean, y_mean))
        x, y = (examples.landmarks[left] - x_mean) @ directions, targets.read(left, columns) - y_mean
        for i, alpha in enumerate(ALPHAS):
            errors[i] += np.abs(x @ (along / (values + alpha * values.mean())[:, None]) - y).sum()
    return float(ALPHAS[np.argmin(errors)])


def principal_directions(targets: Targets, ridge: np.ndarray | None, count: int) -> np.ndarray:
    """Return (count, targets): along each the training samples' targets, or what ridge leaves of them, have variance 1; of up to 2,000 samples."""
    samples = targets.train[np.unique(np.linspace(0, len(targets.train) - 1, FEW_SAMPLES).astype(int))]
    y = targets.read(samples).astype(np.float64)
    if ridge is not None:
        y -= targets.examples.landmarks[samples] @ ridge
    values, vectors = np.linalg.eigh(y @ y.T / len(y))
    directions = np.zeros((count, y.shape[1]))
    kept = vectors[:, ::-1][:, :count]
    directions[: kept.shape[1]] = kept.T @ y / np.sqrt(len(y))
    return directions
