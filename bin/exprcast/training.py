"""The one training loop: seeds, early stopping on validation or a fixed number of epochs, a guard against collapse, a history.

COLLAPSED means that predictions do not depend on the input: on validation their standard deviation, or that of what they
add to a known offset (a gene's mean), is below 1e-3 of the targets', or a layer of rectifiers is off for every example, or
the loss is no number any more. The weights that would be kept are judged. Such a run starts again with the next seed, at most
three times. Device and precision are Lightning Fabric's.

Where a fit is repeated on training and validation together, nothing is judged any more: it has the seed and the number of epochs
that the first one chose, and the same schedule, broken off there (on-rise follows the errors of its own training examples).

Several processes (one a GPU) take their shares of every batch and average their gradients, so that each step is that of one process;
only dropout and augmented views are drawn anew in each, and layers that normalise by their batch see their own share.
"""

import ctypes
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from exprcast.cli import InputError, log
from exprcast.family import Examples
from exprcast.learning_rates import FallOnRise, make_optimizer, make_schedule
from exprcast.resident import resident

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLLAPSE_RATIO = 1e-3
RESTARTS = 3
WORDS = {"optimizer": ("adamw", "adam", "sgd"), "schedule": ("cosine", "one-cycle", "constant", "on-rise"), "loss": ("mean", "sum")}
OWN_DROPOUT = 1_000_003  # times the number of a process: what its own seed for dropout is away from that of the weights
MOST_AT_ONCE, INPUTS_AT_ONCE = 4_096, 2**21  # examples predicted in one batch, and numbers (bases, bins, genes) that they read
RATE_ROWS = 5_000  # training examples at most, whose error the schedule on-rise follows
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h


@dataclass
class Settings:
    """How to train; a family's Config extends it with what its network needs."""

    epochs: int = 40
    patience: int = 6  # epochs without a better validation loss before the end; 0 = never stop early, keep the last epoch's weights
    batch_size: int = 256  # in memory at once; 0 = all in one step, in ascending order
    accumulate: int = 1  # batches a step: the update is that of one batch so many times as large
    examples_per_epoch: int = 0  # drawn anew each epoch; 0 = all
    valid_examples: int = 50_000  # at most so many judge an epoch, drawn once
    loss: str = "mean"  # of squared errors over all measured targets; or sum: over an example's outputs, averaged over examples
    optimizer: str = "adamw"  # or adam, sgd
    momentum: float = 0.0  # of sgd
    schedule: str = "cosine"  # falls to 0 over all epochs; one-cycle: rises first; constant; or on-rise: see learning_rates.FallOnRise
    learning_rate: float = 1e-3
    later_rate: float = 1.0  # what it is multiplied by for weights, not biases, of every layer after the first
    weight_decay: float = 1e-2
    clip_norm: float = 1.0  # 0 = gradients are not clipped
    average: float = 0.0  # of weights over steps, what the old mean counts in the new one; 0 = weights as they are
    collapse_patience: int = 5  # epochs before collapse is judged
    compile: bool = False  # let torch.compile fuse what a step does: faster on GPUs, other last digits, needs a C++ compiler

    def __post_init__(self) -> None:
        """Raise InputError for a word that does not exist, or a number that cannot be."""
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} '{getattr(self, name)[:60]}': there are {', '.join(known)}")
        if not 0 <= self.average < 1:
            raise InputError(f"average {self.average}: from 0, below 1")
        if not 0 < self.later_rate < math.inf:
            raise InputError(f"later_rate {self.later_rate}: a factor above 0 is needed")
        if self.accumulate > 1 and not self.batch_size:
            raise InputError(f"accumulate {self.accumulate}: batch_size 0 takes all examples at once; give a batch_size")
        least = {"epochs": 1, "patience": 0, "batch_size": 0, "accumulate": 1, "examples_per_epoch": 0, "valid_examples": 1, "clip_norm": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(f"{name} {getattr(self, name)}: {value} at least is needed")


class Fit(NamedTuple):
    """What training made: the weights that are kept, one history row an epoch, and how it ended."""

    weights: dict[str, torch.Tensor]
    history: list[dict[str, float]]
    status: str  # "trained" or "collapsed"
    seed: int  # the seed that these weights come from (another than asked for after a restart)
    epochs: int  # that these weights were trained for


def make_fabric(device: str, precision: str, devices: int = 1) -> "Fabric":
    """Return a Fabric on some devices of one kind; `cuda` without a GPU is an error, `auto` takes GPUs if there are any.

    Lightning is imported here because that takes as long as PyTorch itself, and baselines do not need it. Its processes are started by
    `fabric.launch()`, which runs the script's command once more for each further device; whatever scheduler runs this task has no say in it.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine shows no GPU to PyTorch; ask for one (profile gpu) or use --device cpu")
    accelerator = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if devices == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: this machine shows {torch.cuda.device_count()} GPUs to PyTorch; ask for as many")
    return Fabric(accelerator=accelerator, strategy="ddp", devices=devices, precision=precision, plugins=[LightningEnvironment()])


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


def masked_mse(prediction: torch.Tensor, target: torch.Tensor, scale: torch.Tensor | float = 1.0, loss: str = "mean") -> torch.Tensor:
    """Return the mean squared error over measured targets, or (sum) that summed over outputs and averaged over examples.

    Errors are in units of `scale`, one for all outputs or one each. Without any measured target it is 0.
    """
    measured = ~torch.isnan(target)
    if target.is_cuda or not measured.all():  # to ask a GPU would be to wait for it
        prediction, target = (torch.where(measured, values, 0) for values in (prediction, target))
    if isinstance(scale, torch.Tensor):
        prediction, target = prediction / scale, target / scale
    total = nn.functional.mse_loss(prediction, target, reduction="sum")
    return total / (measured.sum().clamp(min=1) if loss == "mean" else len(target))


def cut(index: np.ndarray, size: int, least: int) -> list[np.ndarray]:
    """Cut examples into batches; a last one with fewer than `least` joins the one before: layers may normalise by their batch."""
    starts = [start for start in range(0, len(index), size) if start == 0 or len(index) - start >= least]
    return [index[start:end] for start, end in zip(starts, [*starts[1:], len(index)], strict=False)]


def scale_of(model: nn.Module) -> torch.Tensor | float:
    """Return what errors are counted in: where a network has a buffer `scale`, each output's own, so that all count the same."""
    return getattr(model, "scale", 1.0)


class Training:
    """A network and what moves it, one epoch after the other."""

    def __init__(
        self, make_model: Callable[[], nn.Module], examples: Examples, train: np.ndarray, config: Settings, seed: int, fabric: "Fabric"
    ) -> None:
        self.examples, self.train, self.config, self.seed, self.fabric = examples, train, config, seed, fabric
        self.rng = np.random.default_rng(seed)
        self.rank, self.world = fabric.global_rank, fabric.world_size
        views = np.random.default_rng([seed, self.rank]) if self.world > 1 else self.rng
        source = resident(examples, train, fabric.device) or examples
        self.inputs = partial(examples.augmented, rng=views) if hasattr(examples, "augmented") else source.inputs
        self.targets = source.targets
        torch.manual_seed(seed)
        self.network = make_model()
        self.per_epoch = min(config.examples_per_epoch or len(train), len(train))
        self.at_once = (config.batch_size or len(train)) * config.accumulate  # examples a step
        least = getattr(self.network, "least_batch", 1)  # examples that each process needs at once
        self.least = least * self.world if least > 1 else 1
        optimizer = make_optimizer(self.network, config)
        self.schedule = make_schedule(optimizer, config, max(1, math.ceil(self.per_epoch / self.at_once)) * config.epochs)
        self.falling = FallOnRise(optimizer, config.learning_rate) if config.schedule == "on-rise" else None
        self.model, self.optimizer = fabric.setup(compiled(self.network, fabric) if config.compile else self.network, optimizer)
        self.averaged = AveragedModel(self.network, avg_fn=partial(follow, config.average), use_buffers=True) if config.average else None
        if self.rank:
            torch.manual_seed(seed + OWN_DROPOUT * self.rank)
        self.rated = np.sort(self.rng.choice(train, min(RATE_ROWS, len(train)), replace=False)) if self.falling else train[:0]

    def epoch(self) -> float:
        """Take all steps of an epoch; return the mean training loss."""
        self.model.train()
        order = self.rng.permutation(self.train)[: self.per_epoch]
        order = order if self.config.batch_size else np.sort(order)
        losses = [self.step(index) for index in cut(order, self.at_once, self.least)]
        if self.falling:
            error = mean_absolute_error(self.judged, self.examples, self.rated, self.config.batch_size, self.fabric)
            self.falling.note(self.fabric.broadcast(error))
        return float(self.fabric.all_reduce(torch.stack(losses).mean())) if losses else math.nan

    def step(self, index: np.ndarray) -> torch.Tensor:
        """Learn from these examples, a batch in memory at a time, of which each process takes its share; return the loss."""
        batches = cut(index, self.config.batch_size or len(index), self.least)
        own = [batch[self.rank :: self.world] for batch in batches]
        targets = [self.targets(part) for part in own]
        losses = []
        self.optimizer.zero_grad()
        for number, (batch, part, target, share) in enumerate(zip(batches, own, targets, self.shares(targets), strict=True), 1):
            if not len(part):  # fewer examples than processes: it reads one, which counts nothing, because all processes must take part
                part, target = batch[:1], self.targets(batch[:1])
            inputs, target = self.fabric.to_device((self.inputs(part), target))
            with self.fabric.no_backward_sync(self.model, enabled=number < len(batches)):
                losses.append(share * masked_mse(self.model(*inputs), target, scale_of(self.network), self.config.loss))
                self.fabric.backward(losses[-1])
        if self.config.clip_norm:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.config.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.schedule.step()
        if self.averaged:
            self.averaged.update_parameters(self.network)
        return torch.stack(losses).detach().sum()

    def shares(self, targets: list[torch.Tensor]) -> list[float]:
        """Return what each batch's loss counts in that of the step: its share of the measured targets, or of the examples.

        Of several processes each one's gradients count 1 / processes in the mean that moves the weights, which is made up for here.
        """
        if len(targets) == self.world == 1:
            return [1.0]
        sizes = [len(target) if self.config.loss == "sum" else int((~target.isnan()).sum()) for target in targets]
        total = self.fabric.all_reduce(torch.tensor(sizes, dtype=torch.float64).sum(), reduce_op="sum")
        return [self.world * size / max(float(total), 1) for size in sizes]

    @property
    def judged(self) -> nn.Module:
        """Return the network that predicts: the one with averaged weights, if there is one; never compiled, so that its layers can be watched."""
        return self.averaged.module if self.averaged else self.network

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the weights on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.judged.state_dict().items()}


def follow(average: float, mean: torch.Tensor, value: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Return the moving mean after one more step; of the first steps it is the plain mean of few, or a short training would stay where it began."""
    return mean + (value - mean) * max(1 - average, 9 / (10 + int(steps)))


def compiled(network: nn.Module, fabric: "Fabric") -> nn.Module:
    """Return a network whose steps PyTorch compiles, after trying whether it can on this device."""
    try:
        torch.compile(torch.square)(torch.ones(2, device=fabric.device))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"compile: PyTorch cannot compile on this machine ({reason}); install g++, or leave it out") from None
    return torch.compile(network)


def fit(
    make_model: Callable[[], nn.Module],
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

    `make_model` is called once a seed, right after PyTorch got it. `offset` (valid, outputs) is what is known of the validation
    targets without the network: the training means.
    """
    offset = np.broadcast_to(offset, (len(valid), 1) if np.ndim(offset) == 0 else np.shape(offset))
    history: list[dict[str, float]] = []
    for attempt in range(restarts + 1):
        result = fit_once(Training(make_model, examples, train, config, seed + 1000 * attempt, fabric), valid, offset)
        history += result.history
        if result.status == "trained":
            break
        last = result.history[-1]
        why = f"{last['silent']} layer(s) of rectifiers are off for every example; " * (last["silent"] > 0)
        again = "; starting again" if attempt < restarts else ""
        log.warning(f"seed {result.seed}: COLLAPSED, {why}the predictions do not depend on the input (spread {last['spread']:.2g}){again}")
    return result._replace(history=history)


def fit_once(training: Training, valid: np.ndarray, offset: np.ndarray) -> Fit:
    """Train with one seed and keep the weights of the best epoch, or of the last one where nothing is to stop early."""
    config, seed = training.config, training.seed
    chosen = np.sort(training.rng.choice(len(valid), min(config.valid_examples, len(valid)), replace=False))
    judged, known = valid[chosen], torch.from_numpy(np.ascontiguousarray(offset[chosen], dtype=np.float32))
    history: list[dict[str, float]] = []
    weights, kept = training.weights(), None  # kept: the history's row of these weights
    for epoch in range(1, config.epochs + 1):
        loss = training.epoch()
        found = validate(training.judged, training.examples, judged, config.batch_size, training.fabric, known, config.loss)
        valid_loss, spread, silent = training.fabric.broadcast(found)  # all processes decide by the first one's numbers
        history.append({"epoch": epoch, "seed": seed, "train_loss": loss, "valid_loss": valid_loss, "spread": spread, "silent": silent})
        better = valid_loss < (kept["valid_loss"] if kept else math.inf)
        if better if config.patience else epoch == config.epochs:
            weights, kept = training.weights(), history[-1]
        if config.patience and is_over(history[-1], kept, config):
            break
    status = "collapsed" if collapsed(kept or history[-1]) else "trained"
    loss, epochs = (kept["valid_loss"], kept["epoch"]) if kept else (math.inf, 0)
    log.info(f"seed {seed}: {len(history)} epochs, validation loss {loss:.4f} after {epochs}, spread {history[-1]['spread']:.3f}")
    return Fit(weights, history, status, seed, epochs)


def refit(training: Training, epochs: int) -> dict[str, torch.Tensor]:
    """Return the weights after so many epochs, whatever validation would say."""
    for _ in range(epochs):
        training.epoch()
    return training.weights()


def is_over(last: dict[str, float], kept: dict[str, float] | None, config: Settings) -> bool:
    """Say whether nothing better is to come: the network is lost, or did not improve for too long."""
    lost = collapsed(kept or last) and collapsed(last)
    return (lost and last["epoch"] >= config.collapse_patience) or (kept is not None and last["epoch"] - kept["epoch"] >= config.patience)


def collapsed(epoch: dict[str, float]) -> bool:
    """Say whether the predictions did not depend on the input, by an epoch's row of the history."""
    return epoch["spread"] < COLLAPSE_RATIO or epoch["silent"] > 0 or math.isnan(epoch["valid_loss"])


def validate(
    model: nn.Module, examples: Examples, index: np.ndarray, batch_size: int, fabric: "Fabric", offset: torch.Tensor, loss: str = "mean"
) -> tuple[float, float, int]:
    """Return the validation loss, the ratio sd(prediction) / sd(target) inside each output, and how many layers of rectifiers are off.

    The prediction counts as it is or without its offset, whichever varies less.
    """
    with watch_rectifiers(model) as active:
        predicted, target = predict(model, examples, index, batch_size, fabric), examples.targets(index)
    measured, scale = ~torch.isnan(target), scale_of(model)
    scale = scale.cpu() if isinstance(scale, torch.Tensor) else scale
    error = float(masked_mse(predicted, target, scale, loss)) if measured.any() else math.nan
    whole, change, targets = (
        float(values.std(dim=0).nan_to_num(0).mean())
        for values in (predicted, predicted - offset, torch.where(measured, target, predicted))
    )
    spread = min(whole, change) / targets if targets > 0 else math.nan
    return error, spread, sum(not on for on in active.values())


def mean_absolute_error(model: nn.Module, examples: Examples, index: np.ndarray, batch_size: int, fabric: "Fabric") -> float:
    """Return the mean absolute error over measured targets, without dropout."""
    return float((predict(model, examples, index, batch_size, fabric) - examples.targets(index)).abs().nanmean())


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


def fitting_batch(examples: Examples) -> int:
    """Return how many examples can be predicted at once: MOST_AT_ONCE, fewer where each has many inputs, as long sequences have."""
    inputs = sum(values.numel() for values in examples.inputs(np.arange(min(1, len(examples)))))
    return int(np.clip(INPUTS_AT_ONCE // max(inputs, 1), 1, MOST_AT_ONCE))


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, index: np.ndarray, batch_size: int, fabric: "Fabric") -> torch.Tensor:
    """Return (index, outputs) float32 predictions on the CPU, all at once for batches of 0; the model is left in evaluation mode."""
    model.eval()
    batch_size = batch_size or max(len(index), 1)
    with fabric.autocast():
        parts = [
            model(*fabric.to_device(examples.inputs(index[start : start + batch_size]))).float().cpu()
            for start in range(0, len(index), batch_size)
        ]
    return torch.cat(parts) if parts else torch.empty(0, 1)
