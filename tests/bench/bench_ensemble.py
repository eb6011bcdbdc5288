"""Which way to learn an ensemble's weights loses least when the groups of samples that validate are not those that are tested.

Members are simulated: each catches six parts of the truth with gains of its own, which differ from group to group by `drift`, and adds
noise, part of it shared with others. Loss: the squared error on six test groups, over that of the best weights for them.

python -m pytest tests/bench/bench_ensemble.py -s
"""

from itertools import product

import numpy as np

from exprcast import ensemble

GENES, PARTS, TESTED, WORLDS = 2_000, 6, 6, 60
SETTINGS = list(product((7, 19), (1, 4), (0.0, 0.15, 0.3, 0.45)))  # members, groups that validate, drift


def simulate(members: int, validating: int, drift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (members, members) mean products of errors over the groups that validate, and over those that are tested."""
    rng = np.random.default_rng(seed)
    gain = rng.beta(1.2, 1.5, (members, PARTS)) * rng.uniform(0.2, 1, (members, 1))
    noise, shared = rng.uniform(0.05, 0.5, (members, 1)), rng.normal(size=(members, 2))
    gain[0], noise[0] = 0, 0  # the training mean
    gain[1], noise[1] = rng.uniform(0, 0.3, PARTS), 1.2  # the nearest sample
    size = rng.dirichlet(np.ones(PARTS))
    groups = []
    for _ in range(validating + TESTED):
        own = gain * np.exp(drift * (rng.normal(size=gain.shape) + rng.normal(size=PARTS)))
        parts = rng.normal(size=(PARTS, GENES)) * np.sqrt(size * np.exp(2 * drift * rng.normal(size=PARTS)))[:, None]
        truth = parts.sum(axis=0) + 0.6 * rng.normal(size=GENES)
        error = own @ parts + noise * (0.7 * rng.normal(size=(members, GENES)) + 0.5 * shared @ rng.normal(size=(2, GENES))) - truth
        groups.append(error @ error.T / GENES)
    return np.mean(groups[:validating], axis=0), np.mean(groups[validating:], axis=0)


def least_squares(products: np.ndarray, penalty: float) -> np.ndarray:
    """Return the weights with another penalty."""
    usual, ensemble.PENALTY = ensemble.PENALTY, penalty
    try:
        return ensemble.learn_weights(products)
    finally:
        ensemble.PENALTY = usual


def select_greedily(products: np.ndarray, rounds: int = 20) -> np.ndarray:
    """Add the member that helps most, again and again, the same one as often as it helps (Caruana et al. 2004)."""
    count, best = np.zeros(len(products)), (np.inf, None)
    for n in range(1, rounds + 1):
        error = (count @ products @ count + 2 * products @ count + products.diagonal()) / n**2
        count[error.argmin()] += 1
        best = min(best, (error.min(), tuple(count / n)))
    return np.array(best[1])


WAYS = {
    f"penalty {penalty}": lambda products, penalty=penalty: least_squares(products, penalty) for penalty in (0.0001, 0.02, 0.05, 0.1, 0.3)
}
WAYS |= {
    "greedy": select_greedily,
    "equal": lambda products: np.full(len(products), 1 / len(products)),
    "best member": lambda products: np.eye(len(products))[products.diagonal().argmin()],
}


def test_our_penalty_loses_least():
    lost = {name: [] for name in WAYS}
    for setting, seed in product(SETTINGS, range(WORLDS)):
        valid, test = simulate(*setting, seed)
        error = lambda weights, test=test: weights @ test @ weights  # noqa: E731
        least = error(least_squares(test, 1e-6))
        for name, way in WAYS.items():
            lost[name].append(100 * (error(way(valid)) / least - 1))
    print(f"\n{'':14}mean loss    in nine of ten at most, %")
    for name, values in lost.items():
        print(f"{name:14}{np.mean(values):9.1f}    {np.quantile(values, 0.9):9.1f}")
    ours = np.mean(lost[f"penalty {ensemble.PENALTY}"])
    assert ours < min(np.mean(lost[name]) for name in ("greedy", "equal", "best member", "penalty 0.0001", "penalty 0.3"))
