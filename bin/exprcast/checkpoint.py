"""Save and load what training made: weights, configuration, state, ids, fold, seed and code; loading never runs anything.

`sizes`, `state` and `weights` are what test examples are predicted with. `selection` is None, or, where the network was trained again on
training and validation together, the first training's sizes, state and weights: validation examples are predicted with these.
"""

import io
import pickle
from dataclasses import asdict
from pathlib import Path

import torch

from exprcast.cli import InputError, whole_file
from exprcast.tables import check_file_id

FORMAT, FORMAT_VERSION = "exprcast-checkpoint", 3
KEYS = {
    "format", "format_version", "family", "preset", "config", "sizes", "state", "weights", "rows", "columns", "unit", "fold", "seed", "trained_seed", "status", "control",
    "code", "selection",
}  # fmt: skip
FITTED = ("sizes", "state", "weights")  # what one training makes


def save_checkpoint(path: Path, config: object, **content: object) -> None:
    """Write a checkpoint whole."""
    save_content(path, {"format": FORMAT, "format_version": FORMAT_VERSION, "config": asdict(config), **content}, KEYS)


def load_checkpoint(path: Path) -> dict:
    """Return a checkpoint's content on the CPU."""
    content = load_content(path, FORMAT, FORMAT_VERSION, KEYS, "train again")
    check_file_id(str(content["family"]), f"{path.name}: family")
    return content


def save_content(path: Path, content: dict, keys: set[str]) -> None:
    """Write a dictionary that has these keys, whole; serialised in memory first, because torch.save stores the name of the file it writes to."""
    if set(content) != keys:
        raise TypeError(f"{content['format']} holds {sorted(keys)}; differing: {sorted(keys ^ set(content))}")
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_content(path: Path, kind: str, version: int, keys: set[str], remedy: str) -> dict:
    """Return what save_content wrote as this format, on the CPU; anything but tensors, numbers, text and their containers is refused."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    what = kind.removeprefix("exprcast-").replace("-", " ")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{path.name}: not a {what} that can be read safely ({type(error).__name__}); it is damaged or from elsewhere"
        ) from None
    if not isinstance(content, dict) or content.get("format") != kind:
        raise InputError(f"{path.name}: not an exprcast {what}")
    if content.get("format_version") != version or set(content) != keys:
        raise InputError(f"{path.name}: {what} version {content.get('format_version')}, this code reads {version}; {remedy}")
    return content
