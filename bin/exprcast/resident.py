"""Training examples that lie in a GPU's memory whole: a step takes its batch there, and does not wait until a CPU has gathered and sent it."""

import numpy as np
import torch

from exprcast.family import Examples

ROOM = 0.4  # share of a GPU's free memory that examples may take
ROWS_AT_ONCE = 4_096


class Resident:
    """Inputs and targets of some examples on a device, read as Examples are."""

    def __init__(self, examples: Examples, index: np.ndarray, device: torch.device) -> None:
        self.index = np.sort(index)
        self.arrays = [torch.empty((len(index), *one.shape[1:]), dtype=one.dtype, device=device) for one in read(examples, self.index[:1])]
        for start in range(0, len(index), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            for array, values in zip(self.arrays, read(examples, self.index[part]), strict=True):
                array[part] = values

    def take(self, array: torch.Tensor, index: np.ndarray) -> torch.Tensor:
        """Return rows of an array by example numbers."""
        return array.index_select(0, torch.from_numpy(np.searchsorted(self.index, index)).to(array.device))

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return what the network reads."""
        return tuple(self.take(array, index) for array in self.arrays[:-1])

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, outputs)."""
        return self.take(self.arrays[-1], index)


def read(examples: Examples, index: np.ndarray) -> list[torch.Tensor]:
    """Return inputs and targets."""
    return [*examples.inputs(index), examples.targets(index)]


def resident(examples: Examples, index: np.ndarray, device: torch.device) -> Resident | None:
    """Return examples on a GPU where they fit; None on a CPU, and where inputs are drawn anew in each step."""
    if device.type != "cuda" or hasattr(examples, "augmented") or not fits(examples, index, torch.cuda.mem_get_info(device)[0]):
        return None
    return Resident(examples, index, device)


def fits(examples: Examples, index: np.ndarray, free_bytes: int) -> bool:
    """Say whether examples leave enough of the free memory to what is calculated."""
    return sum(one.nbytes for one in read(examples, index[:1])) * len(index) <= ROOM * free_bytes
