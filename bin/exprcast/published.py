"""The published weights of Xpresso (HDF5, as Keras 2 wrote them) → configuration, sizes and weights of our network.

Keras holds a convolution's kernel as (width, in, out) and a dense layer's as (in, out), PyTorch both the other way round. What follows the
convolutions is flattened position by position in both. Nothing of the file is run: arrays of known shapes are read, all else is ignored.
The weights that their authors published read six half-life features (which ones is not stated), the article's network eight.
"""

from pathlib import Path

import h5py
import numpy as np
import torch

from exprcast.bundle import NOT_OURS, refuse_links
from exprcast.cli import InputError
from exprcast.dataset import open_hdf5
from exprcast.families.xpresso import PRESETS, Config, Model

WIDTH_BP, TSS = 10_500, 7_000
FEATURES = (6, 8)
LABEL, UNIT = "expression", "zscore"
MOST_LAYERS = 100


def read_published(path: Path) -> tuple[Config, dict[str, int], dict[str, torch.Tensor]]:
    """Return configuration, sizes and weights of the family's Model; weights of any other network are an InputError."""
    config = Config(**PRESETS["paper"])
    refuse_links(path)
    with open_hdf5(path, "weights of Keras") as file:
        try:
            arrays = find_arrays(file)
            features = arrays[4].shape[0] - flattened(config) if len(arrays) > 4 and arrays[4].ndim else -1
        except (*NOT_OURS, OSError):
            raise InputError(f"{path.name}: no weights as Keras writes them; give a file of the published Xpresso networks") from None
        sizes = {"width": WIDTH_BP, "halflife": features if features in FEATURES else FEATURES[0], "labels": 1}
        wanted = dict(Model(config, sizes).named_parameters())
        refuse_other_shapes(path, arrays, [keras_shape(tuple(value.shape)) for value in wanted.values()])
        weights = {name: torch.from_numpy(read_array(path, array)) for name, array in zip(wanted, arrays, strict=True)}
    return config, sizes, weights | {"mean": torch.zeros(1), "scale": torch.ones(1)}


def find_arrays(file: h5py.File) -> list[h5py.Dataset]:
    """Return each layer's kernel and offsets, layers in the network's order; whatever is no such file raises one of NOT_OURS."""
    group = file["model_weights"] if "model_weights" in file else file
    layers = [group[text(name)] for name in group.attrs["layer_names"][:MOST_LAYERS]]
    arrays = [layer[text(name)] for layer in layers for name in layer.attrs["weight_names"][:MOST_LAYERS]]
    if not all(isinstance(array, h5py.Dataset) for array in arrays):
        raise TypeError("no arrays")
    return arrays


def text(name: bytes | str) -> str:
    """Return a name as text."""
    return name.decode() if isinstance(name, bytes) else str(name)


def flattened(config: Config) -> int:
    """Return how many numbers the convolutions hand on."""
    positions = WIDTH_BP
    for pool in config.pools:
        positions //= pool
    return positions * config.filters[-1]


def keras_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in which Keras holds an array."""
    return shape[::-1]


def refuse_other_shapes(path: Path, arrays: list[h5py.Dataset], shapes: list[tuple[int, ...]]) -> None:
    """Raise InputError, with both sides, unless the arrays are float32 and of the published network's shapes."""
    found = [array.shape for array in arrays]
    if found != shapes:
        differing = next((pair for pair in zip(found, shapes, strict=False) if pair[0] != pair[1]), (f"{len(found)} arrays", len(shapes)))
        widths = " or ".join(map(str, FEATURES))
        raise InputError(
            f"{path.name}: weights of another network: {differing[0]} where Xpresso's has {differing[1]} ({WIDTH_BP:,} bases, {widths} half-life features)"
        )
    odd = next((array for array in arrays if array.dtype != np.float32), None)
    if odd is not None:
        raise InputError(f"{path.name}: {odd.name} holds {odd.dtype}; the published weights are float32")


def read_array(path: Path, array: h5py.Dataset) -> np.ndarray:
    """Return an array as PyTorch holds it; damage, and what is no number, is an InputError."""
    try:
        values = array[:]
    except OSError:
        raise InputError(f"{path.name}: {array.name} is damaged; copy the file again") from None
    if not np.isfinite(values).all():
        raise InputError(f"{path.name}: {array.name} holds values that are no numbers; copy the file again")
    return np.ascontiguousarray(values.T)
