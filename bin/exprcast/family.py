"""What a model family is: one file with the names below; load_family() finds it by its file name and says what is missing.

EXAMPLES           the axes one example lies on: "samples", "genes" or "samples×genes"
INPUTS             entries of the dataset that the family reads
TARGET, UNITS      the entry it predicts, and the units it accepts there
METHODS            what the network is, for the report's methods text; names of Config in braces become their values
Config, PRESETS    a dataclass of hyper-parameters (it extends training.Settings), and {preset name: changed values}
prepare(dataset, rows, config) → state
                   all that is learned from training examples except weights, as tensors, numbers and lists;
                   `rows` (folds.Rows) are the samples and the genes that it may look at
extract(dataset, config, state, allocate)
                   fills the large arrays that examples are read from; allocate(name, shape, dtype) returns each, on disk or in
                   memory, so write it in blocks. A family without large arrays leaves this out
examples(dataset, config, state, extracted) → Examples
                   `extracted` are these arrays by name, read-only
Model(config, sizes)
                   a torch module: called with the inputs of a batch it returns (batch, outputs) in the targets' space; `least_batch`,
                   where it has that, is how many training examples it needs at once (batch norm: 2)
fit_rule(examples, train) → {name: array};  rule(examples, fitted, index) → (index, outputs)
                   the family's own strong simple predictor, printed with the baselines
CONTROLS           names of other inputs that networks of the same kind are trained on and predict from, to be held against (default none)
REFERENCES         True where prediction needs the training samples (default False)
initialise(model, examples, train)
                   sets what is learned without gradients (scales and offsets as buffers, a linear start), once before training; it
                   leaves PyTorch's global generator alone. A family may leave this out

Every prediction is a place in a matrix, rows × columns: an example on samples is a row of it, one on genes a column, one on
samples×genes a cell (number = row · columns + column).
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import nn

from exprcast.cli import InputError
from exprcast.dataset import HOLD_OUT, Dataset
from exprcast.folds import combine_roles
from exprcast.learning_rates import FALL

NEEDED = ("EXAMPLES", "INPUTS", "TARGET", "UNITS", "METHODS", "Config", "PRESETS", "prepare", "examples", "Model", "fit_rule", "rule")
AXES = {"samples": ("samples",), "genes": ("genes",), "samples×genes": HOLD_OUT}
Allocate = Callable[[str, tuple[int, ...], DTypeLike], np.ndarray]  # (name, shape, dtype) → an array to fill


class Examples(Protocol):
    """An indexable set of all examples of a dataset, read lazily; `index` is always a 1-D array of example numbers."""

    rows: list[str]  # ids of the rows of the matrix that the targets fill: samples, or labels
    columns: list[str]  # ids of its columns: genes, or transcripts
    unit: str  # of targets and predictions, "log2(tpm + 1)"
    sizes: dict[str, int]  # what Model needs to know of the data
    input_names: list[str]
    explained: list[str]  # those of them that attributions share a prediction out over
    names: dict[str, list[str]]  # of the numbers that an explained input holds; only of inputs whose numbers have names
    place: dict[str, int]  # bins, bin_bp, flank_bp: what the explained input `window` lies along, where sizes do not say it
    tss: np.ndarray  # (columns,) position of the start site that a gene's window lies around; only of families that read windows
    neighbours: int  # training samples whose mean `nearest` predicts, at most 10, by Euclidean distance; else one, by correlation
    scale: np.ndarray  # (columns,) what ridge counts errors in when it chooses its penalty; only of families whose outputs count alike
    sample_gram: np.ndarray  # (samples, samples) inner products of whole genomes, for nearest and kernel; only of families that have it

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return what the network reads, one tensor an input, batch first."""

    def continuous(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return what inputs stand for as numbers that gradients flow to; only of families whose inputs are codes, and whose Model reads both."""

    def augmented(self, index: np.ndarray, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Return inputs of training examples as another view of them could be; a family without such views leaves this out."""

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, outputs) float32; NaN = not measured."""

    def known(self, index: np.ndarray) -> np.ndarray:
        """Return (index, outputs) what is known without reading inputs, from which baselines depart (NaN = nothing); a family may leave
        this out, then it is the training mean."""

    def forget(self) -> None:
        """Give all genes that were seen one level from now on (for a control); a family whose inputs hold levels has it."""

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, features) float32: the same inputs as one flat row, for the baselines."""

    def summary(self, index: np.ndarray) -> np.ndarray:
        """Return (index, few) float32: the inputs condensed to what boosted trees can use; a family may leave this out."""

    def without_bins(self, sample: int, genes: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[torch.Tensor, ...]]]:
        """Yield for each gene its window's open bins, and the inputs as they are (first) and with each bin closed; a family that reads bins
        by way of features has it."""

    def knocked_down(self, sample: int) -> tuple[torch.Tensor, ...]:
        """Return a sample's inputs as they are (first), and with what each number of the explained input stands for halved; only of families
        on samples."""

    def under(self, control: str, seed: int) -> "Examples":
        """Return the same examples as one of the family's own controls (`CONTROLS`) reads them."""

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return inputs with the explained ones replaced by their reference, the others as they are."""


def load_family(name: str, folder: Path | None = None) -> ModuleType:
    """Return the family's module (of exprcast.families, or of another folder in tests), checked against the contract."""
    folder = folder or Path(__file__).parent / "families"
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise InputError(f"no model family '{name[:60]}'; there are {', '.join(known)}")
    if folder == Path(__file__).parent / "families":
        family = import_module(f"exprcast.families.{name}")
    else:
        spec = spec_from_file_location(f"family_{name}", folder / f"{name}.py")
        family = module_from_spec(spec)
        sys.modules[spec.name] = family
        spec.loader.exec_module(family)
    check_contract(family, name)
    return family


def check_contract(family: ModuleType, name: str) -> None:
    """Raise TypeError (ours, not the user's) naming what a family file lacks."""
    lacking = [word for word in NEEDED if not hasattr(family, word)]
    if lacking or family.EXAMPLES not in AXES or not is_dataclass(family.Config) or "default" not in family.PRESETS:
        raise TypeError(f"family {name}: lacks {', '.join(lacking) or 'a valid EXAMPLES, a dataclass Config or the preset default'}")


def make_config(family: ModuleType, preset: str, options: dict[str, object] | None = None) -> object:
    """Return the family's Config with a preset's values, then the user's; unknown names and wrong types are InputErrors."""
    name = family.__name__.rsplit(".", 1)[-1]
    if preset not in family.PRESETS:
        raise InputError(f"{name} has no preset '{preset[:60]}'; there are {', '.join(family.PRESETS)}")
    config = replace(family.Config(), **family.PRESETS[preset])
    known = {field.name: type(getattr(config, field.name)) for field in fields(config)}
    for key, value in (options or {}).items():
        if key not in known:
            raise InputError(f"{name} has no option '{key}'; there are {', '.join(known)}")
        if not isinstance(value, known[key]) and not (known[key] is float and isinstance(value, int)):
            raise InputError(f"{name} option {key}: {value!r} is not a {known[key].__name__}")
    return replace(config, **(options or {}))


def in_memory(_name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an empty array."""
    return np.empty(shape, dtype)


def extract_arrays(
    family: ModuleType, dataset: Dataset, config: object, state: dict, allocate: Allocate = in_memory
) -> dict[str, np.ndarray]:
    """Return the large arrays that the family's examples read, by name; `allocate` says where they lie."""
    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        arrays[name] = allocate(name, shape, dtype)
        return arrays[name]

    if hasattr(family, "extract"):
        family.extract(dataset, config, state, keep)
    return arrays


def make_model(family: ModuleType, config: object, examples: Examples, train: np.ndarray) -> nn.Module:
    """Return a new network, set up with the training examples where the family does so."""
    model = family.Model(config, examples.sizes)
    if hasattr(family, "initialise"):
        family.initialise(model, examples, train)
    return model


def describe_methods(family: ModuleType, config: object, refit: bool = False) -> str:
    """Return the methods text of a network as it was trained."""
    optimizer = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}[config.optimizer]
    optimizer += f" with momentum {config.momentum:g}" if config.optimizer == "sgd" and config.momentum else ""
    error = "squared error" if config.loss == "mean" else "squared error, summed over an example's outputs and averaged over examples"
    if config.patience:
        end = f"at most {config.epochs} epochs, {config.patience} without improvement end it); the weights with the lowest loss on the validation part were kept."
    else:
        end = f"{config.epochs} epochs); the last weights were kept."
    again = " What predicts the test part was then trained again for as many epochs, on training and validation part together."
    return (
        f"{family.METHODS.format(**asdict(config))} It was trained by {optimizer} on {error} ({describe_steps(config)}, {end}"
        + again * refit
    )


def describe_steps(config: object) -> str:
    """Return learning rate, weight decay and batches as the methods text names them."""
    course = {
        "constant": ", constant",
        "on-rise": f", multiplied by {FALL:g} after each epoch in which the error on training examples rose",
    }
    later = f", times {config.later_rate:g} for weights behind the first layer" if config.later_rate != 1 else ""
    steps = f"batches of {config.batch_size * config.accumulate}" if config.batch_size else "all training examples in every step"
    return f"learning rate {config.learning_rate:g}{later}{course.get(config.schedule, '')}, weight decay {config.weight_decay:g}, {steps}"


def check_inputs(family: ModuleType, dataset: Dataset) -> None:
    """Raise InputError if the dataset lacks what the family reads, has a unit it does not accept, or holds out another axis."""
    name = family.__name__.rsplit(".", 1)[-1]
    lacking = [entry for entry in (*family.INPUTS, family.TARGET) if not dataset.has(entry)]
    if lacking:
        raise InputError(f"{name} needs {', '.join(lacking)}, which {dataset.path.name} does not have")
    unit = dataset.unit(family.TARGET)
    if unit not in family.UNITS:
        raise InputError(f"{name} predicts {family.TARGET} in {' or '.join(family.UNITS)}; {dataset.path.name} has it in {unit}")
    if dataset.hold_out not in AXES[family.EXAMPLES]:
        raise InputError(
            f"{name} has one example a {family.EXAMPLES[:-1]}: it can hold out {' or '.join(AXES[family.EXAMPLES])}, the dataset holds out {dataset.hold_out}"
        )


def example_roles(family: ModuleType, dataset: Dataset, fold: int) -> np.ndarray:
    """Return (examples,) roles in a fold."""
    samples, genes = dataset.sample_role[fold], dataset.gene_role[fold]
    if family.EXAMPLES == "samples":
        return samples
    return genes if family.EXAMPLES == "genes" else combine_roles(samples, genes, dataset.hold_out).ravel()


def place(axes: str, matrix: np.ndarray, index: np.ndarray, values: np.ndarray) -> None:
    """Write (index, outputs) values of examples into their places in a (rows, columns) matrix."""
    if axes == "samples":
        matrix[index] = values
    elif axes == "genes":
        matrix[:, index] = values.T
    else:
        matrix.ravel()[index] = values[:, 0]
