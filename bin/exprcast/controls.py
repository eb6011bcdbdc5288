"""Controls: the same examples with shuffled labels, or with inputs of which a family knows that they should tell less.

A network trained on shuffled labels should predict no better than the training mean. A family's own controls (`CONTROLS`; its examples give them
by `under(control, seed)`) are trained on and predict from other inputs; what the network has more than they have is what its inputs carry.
"""

from types import ModuleType

import numpy as np
import torch

from exprcast.dataset import LEARNT
from exprcast.family import Examples, place
from exprcast.means import target_matrix

SHUFFLED = "shuffled"


def of_family(family: ModuleType) -> tuple[str, ...]:
    """Return the names of a family's own controls."""
    return getattr(family, "CONTROLS", ())


def under(family: ModuleType, examples: Examples, control: str, seed: int) -> Examples:
    """Return examples as a control of the family reads them; as they are where it is none."""
    return examples.under(control, seed) if control in of_family(family) else examples


class ShuffledExamples:
    """Examples whose training and validation targets belong to other examples of the same role.

    Where levels of genes change places, the level that a family knows would be of another gene: all have the same one then.
    """

    def __init__(self, axes: str, examples: Examples, roles: np.ndarray, seed: int) -> None:
        self.examples, self.axes = examples, axes
        self.values = shuffle_roles(axes, examples, roles, np.random.default_rng(seed))
        if axes == "samples×genes" and genes_held_out(roles.reshape(len(examples.rows), -1)) and hasattr(examples, "forget"):
            examples.forget()

    def __getattr__(self, name: str) -> object:
        return getattr(self.examples, name)

    def __len__(self) -> int:
        return len(self.examples)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, outputs) shuffled targets; NaN for test examples and what was not measured."""
        if self.axes == "samples":
            return torch.from_numpy(self.values[index])
        return torch.from_numpy(self.values.T[index] if self.axes == "genes" else self.values.ravel()[index][:, None])


def shuffle_roles(axes: str, examples: Examples, roles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (rows, columns) targets, shuffled inside each role that is fitted on or validates.

    Of examples on samples whole rows change places, on genes whole columns. Of pairs, columns whose cells have the same roles change
    places where genes are held out, and then each gene's values among its samples of one role.
    """
    matrix = np.full((len(examples.rows), len(examples.columns)), np.nan, dtype=np.float32)
    role = np.zeros(matrix.shape, dtype=np.uint8)
    place(axes, role, np.arange(len(examples)), np.broadcast_to(roles[:, None], (len(roles), matrix.size // len(roles))))
    for part in LEARNT:
        index = np.flatnonzero(roles == part)
        values = target_matrix(axes, examples, index)
        if axes == "samples":
            matrix[index] = values[rng.permutation(index)]
        elif axes == "genes":
            matrix[:, index] = values[:, rng.permutation(index)]
        else:
            matrix = np.where(role == part, shuffle_pairs(values, role == part, rng), matrix)
    return matrix


def genes_held_out(roles: np.ndarray) -> bool:
    """Say whether genes differ in the roles (samples, genes) of their pairs."""
    return bool((roles != roles[:, :1]).any())


def shuffle_pairs(values: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (rows, columns) values whose cells `inside` changed places."""
    values = values.copy()
    _, pattern = np.unique(inside, axis=1, return_inverse=True)
    if genes_held_out(inside):  # levels change places, too
        for group in range(pattern.max() + 1):
            columns = np.flatnonzero(pattern == group)
            values[:, columns] = values[:, rng.permutation(columns)]
    for column in range(values.shape[1]):
        rows = np.flatnonzero(inside[:, column])
        values[rows, column] = values[rng.permutation(rows), column]
    return values
