"""The simple predictors that every score is printed beside, on the same examples, folds and inputs as the model.

mean      the training mean of an output; of a gene whose RNA was never seen, the mean over all training genes
ridge     the mean plus a linear function of the family's features; α chosen on validation
nearest   the values of the most similar training sample (or gene); similarity is the correlation of features as deviations
          from the training mean. A gene never seen takes its most similar training gene in that sample
kernel    kernel ridge regression: the mean plus a smooth function of the similarity to training samples (or genes). A gene never
          seen takes the level that its features tell, the same in every sample
trees     boosted trees on the family's features, where examples lie on genes
elastic_net  the mean plus a linear function of few features, each output by itself; where a family asks for it
rule      the family's own (its file says what it is)

What is fitted is arrays and nothing else; they are saved as HDF5. With --refit there are two fits: the first one's α, penalties and
rounds are kept, and the second one is fitted on training and validation together.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import whole_file
from exprcast.dataset import LEARNT, TEST, TRAIN, VALID, open_hdf5
from exprcast.elastic_net import fit_elastic_net, predict_elastic_net
from exprcast.family import Examples
from exprcast.means import Fitted, fit_mean, predict_mean
from exprcast.neighbours import extend_kernel, extend_nearest, fit_kernel, fit_nearest, predict_kernel, predict_nearest
from exprcast.ridge import fit_ridge, predict_ridge
from exprcast.trees import fit_trees, predict_trees


class Baseline(NamedTuple):
    """fit(axes, examples, mean, train, valid, chosen) → arrays; predict(axes, examples, mean, arrays, index) → (index, outputs).

    `chosen` is None, or an earlier fit whose choices are kept.
    """

    fit: Callable[..., Fitted]
    predict: Callable[..., np.ndarray]


SELECTION = "selection"  # the fit that choices were made with, where everything was fitted again
FITTED_TO_MEAN = {
    "ridge": Baseline(fit_ridge, predict_ridge),
    "nearest": Baseline(fit_nearest, predict_nearest),
    "kernel": Baseline(fit_kernel, predict_kernel),
    "trees": Baseline(fit_trees, predict_trees),
    "elastic_net": Baseline(fit_elastic_net, predict_elastic_net),
}


def baseline_names(axes: str, examples: Examples | None = None) -> list[str]:
    """Return the baselines of examples on these axes: trees need more examples than there are samples, elastic net has to be asked for."""
    left_out = ["trees"] * (axes == "samples") + ["elastic_net"] * (not getattr(examples, "elastic_net", False))
    return ["mean", *(name for name in FITTED_TO_MEAN if name not in left_out), "rule"]


def fit_baselines(family: ModuleType, examples: Examples, roles: np.ndarray, chosen: dict[str, Fitted] | None = None) -> dict[str, Fitted]:
    """Fit every baseline on the training examples of one fold; validation examples choose penalties and rounds only.

    With an earlier fit, `chosen`, its choices are kept and all examples that a second fit may learn from are training examples.
    """
    train, valid, test = (np.flatnonzero(roles == role) for role in (TRAIN, VALID, TEST))
    if chosen:
        train, valid = np.flatnonzero(np.isin(roles, LEARNT)), valid[:0]
    mean = fit_mean(family.EXAMPLES, examples, train, test)
    fitted = {"mean": mean, "rule": family.fit_rule(examples, train)}
    for name in baseline_names(family.EXAMPLES, examples)[1:-1]:
        fitted[name] = FITTED_TO_MEAN[name].fit(family.EXAMPLES, examples, mean, train, valid, chosen and chosen[name])
    return fitted


def extend_baselines(family: ModuleType, examples: Examples, fitted: dict[str, Fitted], train: np.ndarray) -> dict[str, Fitted]:
    """Return baselines that also predict samples which were not in the dataset when they were fitted; `examples` are of training and these.

    Nothing is fitted again: only what looks at neighbours looks at those of the new samples, too.
    """
    extended = {"nearest": extend_nearest, "kernel": extend_kernel}
    return fitted | {name: extend(family.EXAMPLES, examples, fitted["mean"], fitted[name], train) for name, extend in extended.items()}


def predict_baseline(family: ModuleType, examples: Examples, fitted: dict[str, Fitted], name: str, index: np.ndarray) -> np.ndarray:
    """Return (index, outputs) float32 predictions of one baseline."""
    if name == "mean":
        values = predict_mean(family.EXAMPLES, examples, fitted["mean"], index)
    elif name == "rule":
        values = family.rule(examples, fitted["rule"], index)
    else:
        values = FITTED_TO_MEAN[name].predict(family.EXAMPLES, examples, fitted["mean"], fitted[name], index)
    return np.asarray(values, dtype=np.float32)


def save_baselines(path: Path, fitted: dict[str, Fitted], selection: dict[str, Fitted] | None, **attributes: object) -> None:
    """Write the fitted arrays as HDF5, one group a baseline; those of a first fit, if there was a second, in the group `selection`."""
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(attributes)
        for folder, fit in (("", fitted), (f"{SELECTION}/", selection or {})):
            for name, arrays in fit.items():
                for key, values in arrays.items():
                    file.create_dataset(f"{folder}{name}/{key}", data=values, compression="gzip" if np.ndim(values) else None)


def load_baselines(path: Path) -> tuple[dict[str, Fitted], dict[str, Fitted] | None, dict[str, object]]:
    """Return what save_baselines wrote: arrays by baseline, those of a first fit or None, and the attributes."""
    with open_hdf5(path, "fitted baselines") as file:
        selection = read_fit(file[SELECTION]) if SELECTION in file else None
        return read_fit(file), selection, dict(file.attrs)


def read_fit(folder: h5py.Group) -> dict[str, Fitted]:
    """Return the arrays of one fit by baseline."""
    return {name: {key: values[()] for key, values in group.items()} for name, group in folder.items() if name != SELECTION}
