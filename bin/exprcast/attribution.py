"""Share a prediction out over what the network read: the shares add up to the change from the reference input.

Integrated gradients (Sundararajan 2017), along the straight line from the reference to the input, or DeepLIFT (Shrikumar 2017, rescale rule),
both by Captum. The sum of the shares must equal the difference of the two predictions: what is missing is kept as the completeness error.
Of inputs that are codes (bases) the shares of all kinds at a place are added up: what the base that stands there adds.
"""

from typing import NamedTuple

import numpy as np
import torch
from captum.attr import DeepLift, IntegratedGradients
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR, maxpool, nonlinear
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional

from exprcast.cli import Progress
from exprcast.family import Examples

STEPS, STEPS_AT_ONCE = 32, 4  # along the line; those whose gradients are in memory together
INTEGRATED, DEEPLIFT = "integrated gradients", "DeepLIFT"
METHODS = {"integrated_gradients": INTEGRATED, "deeplift": DEEPLIFT}  # as they are asked for
MOST_EXAMPLES, MOST_NUMBERS = 256, 2**24  # at once: examples, and numbers along all their steps


def unpool(values: torch.Tensor, places: torch.Tensor, width: int, stride: int, padding: int, shape: list[int]) -> torch.Tensor:
    """Return what was pooled, put back: as PyTorch's own does, which has no deterministic form; pools here do not overlap."""
    return values.new_zeros(shape).scatter(-1, places, values)


def pooled(module: nn.Module, *values: torch.Tensor, eps: float) -> torch.Tensor:
    """Return the gradients by the rescale rule of what a pool reads."""
    return maxpool(module, functional.max_pool1d, unpool, *values, eps=eps)


SUPPORTED_NON_LINEAR[nn.GELU] = nonlinear  # the rescale rule holds for any function of one number; Captum lists some
SUPPORTED_NON_LINEAR[nn.MaxPool1d] = pooled


class Attribution(NamedTuple):
    """Shares of some examples, in the unit of the prediction."""

    shares: dict[str, np.ndarray]  # input name → (examples, …) float32, for the inputs that are explained
    predicted: np.ndarray  # (examples,)
    reference: np.ndarray  # (examples,) the prediction for the reference input
    completeness_error: np.ndarray  # (examples,) |sum of shares − (predicted − reference)|


class View(nn.Module):
    """One of the parts whose mean a network predicts, reading the explained inputs first and the others behind them."""

    def __init__(self, model: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.model, self.order = model, order

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Return (batch, outputs)."""
        return self.model(*(values[place] for place in self.order))


def share_out(
    model: nn.Module, examples: Examples, index: np.ndarray, outputs: np.ndarray, fabric: Fabric, method: str = INTEGRATED
) -> Attribution:
    """Return the shares of one output of each of these examples; the model's mode is put back as it was found."""
    was_training, whole = model.training, model
    model.eval()
    if hasattr(model, "only"):  # of thousands of outputs few are explained
        kept, outputs = np.unique(outputs, return_inverse=True)
        model = model.only(kept)
    names = [*examples.explained, *(name for name in examples.input_names if name not in examples.explained)]
    order = [names.index(name) for name in examples.input_names]
    views = [View(one, order) for one in getattr(model, "views", lambda: [model])()]
    width = sum(x[0].numel() for x in continuous(examples, index[:1])) if len(index) else 1
    size = int(np.clip(MOST_NUMBERS // (STEPS * width), 1, MOST_EXAMPLES))
    parts, progress = [], Progress(len(index), "examples explained")
    for start in range(0, len(index), size):
        part = slice(start, start + size)
        parts.append(explain_batch(views, names, examples, index[part], outputs[part], fabric, method))
        progress.step(start + len(index[part]))
    whole.train(was_training)
    return Attribution(
        {name: np.concatenate([part.shares[name] for part in parts]) for name in examples.explained},
        *(np.concatenate([getattr(part, field) for part in parts]) for field in Attribution._fields[1:]),
    )


def continuous(examples: Examples, index: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Return inputs that gradients flow to: of a family that reads codes, what they stand for."""
    return getattr(examples, "continuous", examples.inputs)(index)


def explain_batch(
    views: list[View], names: list[str], examples: Examples, index: np.ndarray, outputs: np.ndarray, fabric: Fabric, method: str
) -> Attribution:
    """Explain one batch: the mean over views, each in its own right; inputs that are not explained are held fixed."""
    places, count = [examples.input_names.index(name) for name in names], len(examples.explained)
    inputs, reference = (
        [fabric.to_device(values)[place] for place in places] for values in (continuous(examples, index), examples.reference(index))
    )
    target = fabric.to_device(torch.from_numpy(outputs))
    given = {"target": target, "additional_forward_args": tuple(inputs[count:])}
    gathered = []
    for view in views:
        if method == INTEGRATED:
            shares = IntegratedGradients(view).attribute(
                tuple(inputs[:count]), tuple(reference[:count]), n_steps=STEPS, internal_batch_size=STEPS_AT_ONCE * len(index), **given
            )
        else:
            shares = DeepLift(view).attribute(tuple(inputs[:count]), tuple(reference[:count]), **given)
        gathered.append([share.detach() for share in shares])
    shares = [torch.stack(parts).mean(dim=0) for parts in zip(*gathered, strict=True)]
    with torch.no_grad():
        predicted, at_reference = (
            torch.stack([view(*values).gather(1, target[:, None])[:, 0].double() for view in views]).mean(dim=0).cpu().numpy()
            for values in (inputs, [*reference[:count], *inputs[count:]])
        )
    total = sum(share.double().flatten(1).sum(dim=1) for share in shares).cpu().numpy()
    codes = dict(zip(examples.input_names, examples.inputs(index), strict=True))
    kept = {
        name: (share.sum(dim=-1) if share.ndim > codes[name].ndim else share).float().cpu().numpy()
        for name, share in zip(examples.explained, shares, strict=True)
    }
    return Attribution(kept, predicted, at_reference, np.abs(total - (predicted - at_reference)))
