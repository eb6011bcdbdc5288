"""Who is compared in a bake-off: networks, each family's best simple rule, the training mean, the mean of all, and means of two.

A family's best rule is the one with the least squared error on validation cells, the mean over folds. Weights of means (none negative,
of sum 1) are learned on a fold's validation cells as those of an ensemble are; where it has none all are equal.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import combinations, permutations
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.bake_off_table import ADDS, ALL, GAIN, MEAN, SCORE
from exprcast.dataset import VALID
from exprcast.ensemble import Member, add_products, family_of, learn_weights, mean_products
from exprcast.shared_cells import ENSEMBLE, Shared

SAME = 1e-8  # of the squared error: rules of one name that differ by less are one rule


class Field(NamedTuple):
    """Who is compared: members that were predicted, then the training mean and the mean of all, then means of two."""

    members: list[Member]
    names: list[str]  # of the contestants: the members, MEAN, and ALL where no ensemble is among them
    pairs: list[tuple[int, int]]  # members that are averaged two by two
    weights: np.ndarray  # (folds, contestants and pairs, members)


def choose_field(shared: Shared, group_of_row: np.ndarray) -> Field:
    """Return the networks, each family's best rule, and the weights of all means; `group_of_row` (rows,) numbers groups of samples."""
    networks = [Member(family_of(file), file, "") for file in shared.files]
    rules = [Member(f"{family_of(file)}.{name}", file, name) for file in shared.files for name in candidates(file)]
    products, missing = multiply_errors(shared, [*networks, *rules], len(networks), group_of_row)
    known = ~np.isnan(products[:, 0, 0])
    mean = products[known].mean(axis=0) if known.any() else np.zeros(products.shape[1:])
    chosen = [
        min(own, key=lambda i: (mean[i, i], i))
        for file in shared.files
        if (own := [i for i, rule in enumerate(rules, len(networks)) if rule.file == file and not missing[i]])
    ]
    single = drop_same(chosen, rules, mean, len(networks))
    members = [*networks, *(rules[i - len(networks)]._replace(name=name) for i, name in single.items())]
    kept = [*range(len(networks)), *single]
    pooled = ENSEMBLE in (network.name for network in networks) or len(shared.files) == 1
    names = [*(member.name for member in members), MEAN, *([] if pooled else [ALL])]
    pairs = [pair for pair in combinations(range(len(members)), 2) if ENSEMBLE not in (members[i].name for i in pair)]
    weights = np.stack([learn_means(one[np.ix_(kept, kept)], members, pairs, not pooled) for one in products])
    return Field(members, names, pairs, weights)


def candidates(file: h5py.File) -> list[str]:
    """Return a family's simple rules but for the training mean, its own first; an ensemble's baselines are its members."""
    return [] if family_of(file) == ENSEMBLE else sorted(set(file["baselines"]) - {MEAN}, key=lambda name: (name != "rule", name))


def multiply_errors(shared: Shared, members: Sequence[Member], needed: int, group_of_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (folds, members, members) mean products of errors over the validation cells that the first `needed` predict, and (members,) cells not predicted.

    Groups of samples count alike; NaN for a fold without such cells.
    """
    n, missing = len(members), np.zeros(len(members), dtype=int)
    found = [(defaultdict(partial(np.zeros, (n, n))), Counter()) for _ in shared.folds]
    for rows in shared.blocks():
        for fold, (products, cells) in enumerate(found):
            observed = shared.observed(fold, rows, VALID)
            valid = np.flatnonzero(~np.isnan(observed).all(axis=1))
            if len(valid):
                error = shared.predictions(members, fold, rows.start + valid) - observed[valid]  # (members, rows, columns)
                wanted = ~np.isnan(error[:needed]).any(axis=0)
                group = np.broadcast_to(group_of_row[rows.start + valid, None], wanted.shape)[wanted]
                error = error[:, wanted]  # (members, cells)
                missing += np.isnan(error).sum(axis=1)
                add_products(products, cells, error, group)
    return np.stack([mean_products(products, cells, n) for products, cells in found]), missing


def drop_same(chosen: Sequence[int], rules: Sequence[Member], mean: np.ndarray, first: int) -> dict[int, str]:
    """Return {number of a rule: its name}; one that several families have stands once, without their names."""
    kept: dict[int, str] = {}
    for i in chosen:
        name = rules[i - first].baseline
        same = [j for j in kept if rules[j - first].baseline == name and mean[i, i] + mean[j, j] - 2 * mean[i, j] < SAME * mean[i, i]]
        kept |= {same[0]: name} if same else {i: rules[i - first].name}
    return kept


def learn_means(products: np.ndarray, members: Sequence[Member], pairs: Sequence[tuple[int, int]], pooled: bool) -> np.ndarray:
    """Return (contestants and pairs, members) one fold's weights."""
    n = len(members)
    learn = learn_weights if not np.isnan(products).any() else equal_weights
    rows = [*np.eye(n), np.zeros(n)]
    if pooled:
        network = np.array([not member.baseline for member in members], dtype=float)
        rows.append(learn(products, network / network.sum()))
    for pair in pairs:
        row = np.zeros(n)
        row[list(pair)] = learn(products[np.ix_(pair, pair)])
        rows.append(row)
    return np.array(rows)


def equal_weights(products: np.ndarray, prior: np.ndarray | None = None) -> np.ndarray:
    """Return (members,) weights where nothing can be learned: `prior`, or all the same."""
    return np.full(len(products), 1 / len(products)) if prior is None else prior


def comparisons(field: Field) -> list[tuple[int, int | None, str]]:
    """Return (predictor, against, kind): each contestant alone, over each other, and each pair over both of it."""
    n = len(field.names)
    mixed = [(n + k, one, ADDS) for k, pair in enumerate(field.pairs) for one in pair]
    return [*((i, None, SCORE) for i in range(n)), *((*pair, GAIN) for pair in permutations(range(n), 2)), *mixed]
