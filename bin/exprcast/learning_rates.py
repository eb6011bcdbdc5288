"""Each parameter's learning rate: the groups of an optimizer, the rate's course over steps, and the rule that lowers it when errors rise.

The rule, and a rate of its own for weights behind the first layer, are those of D-GEX (Chen, Li, Narayan, Subramanian & Xie 2016,
"Gene expression inference with deep learning", Bioinformatics 32:1832).
"""

import math

import torch
from torch import nn

FALL, LEAST_RATE = 0.9, 1e-5  # of the rule: what a rate is multiplied by, and where it ends


def make_optimizer(model: nn.Module, config: object) -> torch.optim.Optimizer:
    """Return the optimizer that the settings (training.Settings) name."""
    shared = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    groups = parameter_groups(model, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=config.momentum, **shared)
    return (torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW)(groups, **shared)


def parameter_groups(model: nn.Module, config: object) -> list[dict[str, object]]:
    """Return all parameters as one group, or the weights of layers after the first as a second one with its own rate.

    Layers are what has a weight with two or more axes, in the order in which the network defines them.
    """
    if config.later_rate == 1:
        return [{"params": list(model.parameters())}]
    weights = [layer.weight for layer in model.modules() if getattr(layer, "weight", None) is not None and layer.weight.ndim > 1]
    later = {id(weight) for weight in weights[1:]}
    parts = [[weight for weight in model.parameters() if (id(weight) in later) == is_later] for is_later in (False, True)]
    rates = config.learning_rate, config.learning_rate * config.later_rate
    return [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True) if part]


def make_schedule(optimizer: torch.optim.Optimizer, config: object, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning rate's course over all steps; constant where the rule lowers it."""
    if config.schedule == "one-cycle":
        highest = [group["lr"] for group in optimizer.param_groups]
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=steps, cycle_momentum=config.optimizer != "sgd")
    if config.schedule in ("constant", "on-rise"):
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


class FallOnRise:
    """Multiply the rate by FALL after each epoch whose error is above that of the epoch before, down to LEAST_RATE; never raise it.

    Groups keep their ratios: one with three times the rate ends at three times LEAST_RATE.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        self.optimizer, self.rate, self.last = optimizer, rate, math.inf
        self.ratios = [group["lr"] / rate for group in optimizer.param_groups]

    def note(self, error: float) -> None:
        """Take an epoch's error."""
        if error > self.last:
            self.rate = min(self.rate, max(self.rate * FALL, LEAST_RATE))
            for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
                group["lr"] = self.rate * ratio
        self.last = error
