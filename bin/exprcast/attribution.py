"""Share a prediction out over what the network read: the shares add up to the change from the reference input.

Integrated gradients (Sundararajan 2017) by Captum, along the straight line from the reference to the input. The sum of the
shares must equal the difference of the two predictions: what is missing is kept as the completeness error.
"""

from typing import NamedTuple

import numpy as np
import torch
from captum.attr import IntegratedGradients
from lightning_fabric import Fabric
from torch import nn

from exprcast.cli import Progress
from exprcast.family import Examples

STEPS = 32
MOST_EXAMPLES, MOST_NUMBERS = 256, 2**24  # at once: examples, and numbers along all their steps


class Attribution(NamedTuple):
    """Shares of some examples, in the unit of the prediction."""

    shares: dict[str, np.ndarray]  # input name → (examples, …) float32, for the inputs that are explained
    predicted: np.ndarray  # (examples,)
    reference: np.ndarray  # (examples,) the prediction for the reference input
    completeness_error: np.ndarray  # (examples,) |sum of shares − (predicted − reference)|


def integrated_gradients(model: nn.Module, examples: Examples, index: np.ndarray, outputs: np.ndarray, fabric: Fabric) -> Attribution:
    """Return the shares of one output of each of these examples; the model's mode is put back as it was found."""
    was_training = model.training
    model.eval()
    method, parts, progress = IntegratedGradients(model), [], Progress(len(index), "examples explained")
    width = sum(x[0].numel() for x in continuous(examples, index[:1])) if len(index) else 1
    size = int(np.clip(MOST_NUMBERS // (STEPS * width), 1, MOST_EXAMPLES))
    for start in range(0, len(index), size):
        part = slice(start, start + size)
        parts.append(explain_batch(method, model, examples, index[part], outputs[part], fabric))
        progress.step(start + len(index[part]))
    model.train(was_training)
    return Attribution(
        {name: np.concatenate([part.shares[name] for part in parts]) for name in examples.explained},
        *(np.concatenate([getattr(part, field) for part in parts]) for field in Attribution._fields[1:]),
    )


def continuous(examples: Examples, index: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Return inputs that gradients flow to: of a family that reads codes, what they stand for."""
    return getattr(examples, "continuous", examples.inputs)(index)


def explain_batch(
    method: IntegratedGradients, model: nn.Module, examples: Examples, index: np.ndarray, outputs: np.ndarray, fabric: Fabric
) -> Attribution:
    """Explain one batch; the inputs that are not explained are held fixed."""
    inputs, reference = fabric.to_device(continuous(examples, index)), fabric.to_device(examples.reference(index))
    names = examples.input_names
    chosen = [names.index(name) for name in examples.explained]
    fixed = [x for i, x in enumerate(inputs) if i not in chosen]

    def forward(*values: torch.Tensor) -> torch.Tensor:
        varying, rest = iter(values[: len(chosen)]), iter(values[len(chosen) :])
        return model(*(next(varying) if i in chosen else next(rest) for i in range(len(names))))

    method.forward_func = forward
    target = fabric.to_device(torch.from_numpy(outputs))
    shares = method.attribute(
        tuple(inputs[i] for i in chosen),
        tuple(reference[i] for i in chosen),
        target=target,
        additional_forward_args=tuple(fixed),
        n_steps=STEPS,
        internal_batch_size=1024,
    )
    with torch.no_grad():
        predicted, at_reference = (model(*values).gather(1, target[:, None])[:, 0].double().cpu().numpy() for values in (inputs, reference))
    total = sum(share.double().flatten(1).sum(dim=1) for share in shares).cpu().numpy()
    error = np.abs(total - (predicted - at_reference))
    return Attribution(
        {name: share.float().cpu().numpy() for name, share in zip(examples.explained, shares, strict=True)}, predicted, at_reference, error
    )
