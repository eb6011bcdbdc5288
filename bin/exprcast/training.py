"""The one training loop: seeds, early stopping on validation, a guard against collapse, a history of every epoch.

COLLAPSED means that predictions do not depend on the input: on validation their standard deviation, or that of what they
add to a known offset (a gene's mean), is below 1e-3 of the targets', or a layer of rectifiers is off for every example, or
the loss is no number any more. The weights that would be kept are judged. Such a run starts again with the next seed, at most
three times. Device and precision are Lightning Fabric's.
"""

import copy
import ctypes
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn

from exprcast.cli import InputError, log
from exprcast.family import Examples

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLLAPSE_RATIO = 1e-3
RESTARTS = 3
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


@dataclass
class Settings:
    """How to train; a family's Config extends it with what its network needs."""

    epochs: int = 40
    patience: int = 6  # epochs without a better validation loss before the end
    batch_size: int = 256
    examples_per_epoch: int = 0  # drawn anew each epoch; 0 = all
    valid_examples: int = 50_000  # at most so many judge an epoch, drawn once
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    collapse_patience: int = 5  # epochs before collapse is judged


class Fit(NamedTuple):
    """What training made: the weights of the best epoch, one history row an epoch, and how it ended."""

    weights: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    status: str  # "trained" or "collapsed"
    seed: int  # the seed that these weights come from (another than asked for after a restart)


def make_fabric(device: str, precision: str) -> "Fabric":
    """Return a Fabric on one device; `cuda` without a GPU is an error, `auto` takes one if there is one.

    Lightning is imported here because that takes as long as PyTorch itself, and baselines do not need it.
    """
    from lightning_fabric import Fabric

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine shows no GPU to PyTorch; ask for one (profile gpu) or use --device cpu")
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


def make_deterministic(threads: int) -> None:
    """Ask PyTorch for the same bytes each time; the number of threads is part of that."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    keep_memory()


def keep_memory() -> None:
    """Ask glibc to keep freed memory: activations of a step are given back and fetched anew otherwise, 2.7 × slower on a CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 64 << 20)):
            libc.mallopt(option, value)


def masked_mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over measured targets."""
    measured = ~torch.isnan(target)
    return nn.functional.mse_loss(prediction[measured], target[measured])


def fit(
    make_model: type,
    examples: Examples,
    train: np.ndarray,
    valid: np.ndarray,
    config: Settings,
    seed: int,
    fabric: "Fabric",
    restarts: int = RESTARTS,
    offset: np.ndarray | float = 0.0,
) -> Fit:
    """Train until validation stops improving; after a collapse start again with the next seed, at most `restarts` times.

    `offset` (valid, outputs) is what is known of the validation targets without the network: the training means.
    """
    offset = np.broadcast_to(offset, (len(valid), 1) if np.ndim(offset) == 0 else np.shape(offset))
    history: list[dict[str, float]] = []
    for attempt in range(restarts + 1):
        result = fit_once(make_model, examples, train, valid, config, seed + 1000 * attempt, fabric, offset)
        history += result.history
        if result.status == "trained":
            break
        last = result.history[-1]
        why = f"{last['silent']} layer(s) of rectifiers are off for every example; " * (last["silent"] > 0)
        again = "; starting again" if attempt < restarts else ""
        log.warning(f"seed {result.seed}: COLLAPSED, {why}the predictions do not depend on the input (spread {last['spread']:.2g}){again}")
    return result._replace(history=history)


def fit_once(
    make_model: type,
    examples: Examples,
    train: np.ndarray,
    valid: np.ndarray,
    config: Settings,
    seed: int,
    fabric: "Fabric",
    offset: np.ndarray,
) -> Fit:
    """Train with one seed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(valid), min(config.valid_examples, len(valid)), replace=False))
    judged, known = valid[chosen], torch.from_numpy(np.ascontiguousarray(offset[chosen], dtype=np.float32))
    model = make_model(config, examples.sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    per_epoch = min(config.examples_per_epoch or len(train), len(train))
    steps = max(1, math.ceil(per_epoch / config.batch_size)) * config.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model, optimizer = fabric.setup(model, optimizer)
    history: list[dict[str, float]] = []
    best, best_loss, kept = copy.deepcopy(model.state_dict()), math.inf, None  # kept: the history's row of the best weights
    for epoch in range(1, config.epochs + 1):
        loss = train_epoch(model, examples, rng.permutation(train)[:per_epoch], config, optimizer, schedule, fabric)
        valid_loss, spread, silent = validate(model, examples, judged, config.batch_size, fabric, known)
        history.append({"epoch": epoch, "seed": seed, "train_loss": loss, "valid_loss": valid_loss, "spread": spread, "silent": silent})
        if valid_loss < best_loss:
            best, best_loss, kept = copy.deepcopy(model.state_dict()), valid_loss, history[-1]
        lost = collapsed(kept or history[-1]) and collapsed(history[-1])
        if (lost and epoch >= config.collapse_patience) or (kept and epoch - kept["epoch"] >= config.patience):
            break
    status = "collapsed" if collapsed(kept or history[-1]) else "trained"
    log.info(f"seed {seed}: {len(history)} epochs, best validation loss {best_loss:.4f}, spread {history[-1]['spread']:.3f}")
    return Fit({name: value.cpu() for name, value in best.items()}, history, status, seed)


def collapsed(epoch: dict[str, float]) -> bool:
    """Say whether the predictions did not depend on the input, by an epoch's row of the history."""
    return epoch["spread"] < COLLAPSE_RATIO or epoch["silent"] > 0 or math.isnan(epoch["valid_loss"])


def train_epoch(
    model: nn.Module,
    examples: Examples,
    order: np.ndarray,
    config: Settings,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    fabric: "Fabric",
) -> float:
    """Take one step a batch in the given order; return the mean training loss."""
    model.train()
    losses = []
    for start in range(0, len(order), config.batch_size):
        index = order[start : start + config.batch_size]
        inputs, target = batch(examples, index, fabric)
        if torch.isnan(target).all():
            continue
        loss = masked_mse(model(*inputs), target)
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean()) if losses else math.nan


def batch(examples: Examples, index: np.ndarray, fabric: "Fabric") -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Return the inputs and targets of some examples on the training device."""
    return fabric.to_device(examples.inputs(index)), fabric.to_device(examples.targets(index))


def validate(
    model: nn.Module, examples: Examples, index: np.ndarray, batch_size: int, fabric: "Fabric", offset: torch.Tensor
) -> tuple[float, float, int]:
    """Return the validation loss, the ratio sd(prediction) / sd(target) inside each output, and how many layers of rectifiers are off.

    The prediction counts as it is or without its offset, whichever varies less.
    """
    with watch_rectifiers(model) as active:
        predicted, target = predict(model, examples, index, batch_size, fabric), examples.targets(index)
    measured = ~torch.isnan(target)
    loss = float(masked_mse(predicted, target)) if measured.any() else math.nan
    whole, change, targets = (
        float(values.std(dim=0).nan_to_num(0).mean())
        for values in (predicted, predicted - offset, torch.where(measured, target, predicted))
    )
    spread = min(whole, change) / targets if targets > 0 else math.nan
    return loss, spread, sum(not on for on in active.values())


@contextmanager
def watch_rectifiers(model: nn.Module) -> Iterator[dict[str, bool]]:
    """Give {layer of rectifiers that ran: whether any of its units was on for any example} while the block runs."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.ReLU | nn.ReLU6)}
    active: dict[str, bool] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda _layer, _inputs, output: active.update({name: active.get(name, False) or bool((output > 0).any())})

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        yield active
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, index: np.ndarray, batch_size: int, fabric: "Fabric") -> torch.Tensor:
    """Return (index, outputs) float32 predictions on the CPU; the model is left in evaluation mode."""
    model.eval()
    parts = [
        model(*fabric.to_device(examples.inputs(index[start : start + batch_size]))).float().cpu()
        for start in range(0, len(index), batch_size)
    ]
    return torch.cat(parts) if parts else torch.empty(0, 1)
