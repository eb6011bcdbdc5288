"""What a family learns from training rows and reads from the dataset, made once a fold for all that fit and predict: a folder.

prepared.pt        family, preset, configuration, fold, ids and roles of the dataset, and each stage's state
train/             large arrays that the family's examples read (‹name›.npy), made with the state of training rows
train+valid/       the same of training and validation rows; only where all is fitted again on both (--refit)

Arrays are mapped into memory and read-only: tasks on one machine share them, and the system takes them back when it needs memory.
"""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import DTypeLike

from exprcast.checkpoint import load_content, save_content
from exprcast.cli import InputError, whole_folder
from exprcast.dataset import Dataset
from exprcast.family import Allocate, Examples, check_inputs, example_roles, extract_arrays, load_family
from exprcast.folds import train_rows

FORMAT, FORMAT_VERSION = "exprcast-prepared-fold", 1
KEYS = {"format", "format_version", "family", "preset", "config", "fold", "refit", "dataset", "code", "states"}
SUMMARY = "prepared.pt"
SOURCE = ("family", "preset", "config", "fold", "refit")  # what a fit must share with what was prepared for it
READ_BYTES = 4 << 20
STAGES = {False: "train", True: "train+valid"}  # by whether validation rows were learned from


def save_prepared(path: Path, family: ModuleType, dataset: Dataset, config: object, facts: dict[str, object]) -> None:
    """Prepare each stage and write the folder whole; facts: the names of family and preset, fold, refit, code."""
    stages = dict(list(STAGES.items())[: 1 + facts["refit"]])
    states = {}
    with whole_folder(path) as folder:
        for with_valid, stage in stages.items():
            (folder / stage).mkdir()
            states[stage] = family.prepare(dataset, train_rows(dataset, facts["fold"], with_valid), config)
            with on_disk(folder / stage) as allocate:
                extract_arrays(family, dataset, config, states[stage], allocate)
        content = {"config": asdict(config), "dataset": identity(dataset, facts["fold"]), "states": states}
        save_content(folder / SUMMARY, {"format": FORMAT, "format_version": FORMAT_VERSION, **facts, **content}, KEYS)


@contextmanager
def on_disk(folder: Path) -> Iterator[Allocate]:
    """Give a function allocate(name, shape, dtype) whose arrays are files of the folder; they are complete when the block ends."""
    made = []

    def allocate(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        made.append(np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape))
        return np.asarray(made[-1])

    yield allocate
    for array in made:
        array.flush()


def identity(dataset: Dataset, fold: int) -> dict[str, object]:
    """Return what tells one dataset's fold from another without reading values."""
    roles = {"sample_role": dataset.sample_role[fold].tolist(), "gene_role": dataset.gene_role[fold].tolist()}
    return {"samples": dataset.samples, "genes": dataset.genes, "hold_out": dataset.hold_out, **roles}


class Prepared:
    """A prepared folder, beside the dataset that it was made from."""

    def __init__(self, path: Path, dataset: Dataset, families_dir: Path | None = None) -> None:
        content = load_content(path / SUMMARY, FORMAT, FORMAT_VERSION, KEYS, "prepare it again")
        self.path, self.dataset, self.states = path, dataset, content["states"]
        self.source = {key: content[key] for key in SOURCE}
        self.preset, self.fold, self.refit = content["preset"], content["fold"], content["refit"]
        self.name, self.family = content["family"], load_family(content["family"], families_dir)
        check_inputs(self.family, dataset)
        if self.fold >= dataset.n_folds or content["dataset"] != identity(dataset, self.fold):
            raise InputError(f"{path.name} was not prepared from {dataset.path.name}: samples, genes or folds differ; prepare it again")
        self.config = self.family.Config(**content["config"])
        self.roles = example_roles(self.family, dataset, self.fold)  # (examples,)

    def state(self, with_valid: bool) -> dict:
        """Return what was learned from training rows, or from those of validation, too."""
        return self.states[STAGES[with_valid]]

    def examples(self, with_valid: bool) -> Examples:
        """Return all examples of the dataset, read with that state."""
        files = sorted((self.path / STAGES[with_valid]).glob("*.npy"))
        return self.family.examples(self.dataset, self.config, self.state(with_valid), {file.stem: map_array(file) for file in files})

    def refuse_other(self, path: Path, facts: dict[str, object]) -> None:
        """Raise InputError if what these facts say of a fit, which stands in a file, is not what was prepared here."""
        differing = [key for key in SOURCE if facts[key] != self.source[key]]
        if differing:
            raise InputError(
                f"{path.name} was not fitted with {self.path.name}: {', '.join(differing)} differ; give what was prepared for it"
            )

    def refuse_other_checkpoint(self, path: Path, content: dict) -> None:
        """Raise InputError if a checkpoint is of another family, preset, configuration or fold, or its state is not the one prepared here."""
        first = content["selection"]
        self.refuse_other(path, content | {"refit": first is not None})
        used = {STAGES[False]: first["state"], STAGES[True]: content["state"]} if first else {STAGES[False]: content["state"]}
        if any(packed(state) != packed(self.states[stage]) for stage, state in used.items()):
            raise InputError(
                f"{path.name} was trained with another state than {self.path.name} holds; train again, or give what it was trained with"
            )


def map_array(path: Path) -> np.ndarray:
    """Return an array that lies in a file, read-only.

    The file is read once from end to end, which fills the system's cache faster than examples in random order would. From then on
    single pages are read: where memory is short, what is read around each of them would push out what is needed next.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        with path.open("rb", buffering=0) as file:
            block = bytearray(READ_BYTES)
            while file.readinto(block):
                pass
    except (ValueError, OSError) as error:
        raise InputError(f"{path.parent}: {path.name} cannot be read ({error}); prepare it again") from None
    array._mmap.madvise(mmap.MADV_RANDOM)
    return np.asarray(array)


def packed(state: dict) -> bytes:
    """Return a state as bytes, which are equal for equal states (NaN included)."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
