"""What state a sample's cells are in: principal components of the genes that are expressed, learned from training samples.

They are the code of the best linear autoencoder of their size (Baldi & Hornik 1989, Neural Networks 2:53).
"""

import numpy as np
import torch

from exprcast.dataset import Dataset
from exprcast.landmarks import Reader, blocks

MOST_GENES = 5_000  # the most variable
EXPRESSED = 1.0  # least mean of log2(unit + 1)


def expressed_genes(dataset: Dataset, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of the genes with a mean of log2(unit + 1) above 1 that vary in these samples, their means and standard deviations."""
    reader = Reader(dataset, np.arange(len(dataset.genes)), "none")
    mean, sd, count = reader.learn_scale(samples)
    kept = np.flatnonzero((count > 0) & (mean > EXPRESSED) & (sd > 2e-3))
    return kept, mean[kept], sd[kept]


def learn_state(dataset: Dataset, samples: np.ndarray, count: int) -> dict[str, torch.Tensor]:
    """Return genes, means and (genes, ≤ count) weights; a code's components have the variances that they have among genes' z-scores, of sum 1."""
    genes, mean, sd = expressed_genes(dataset, samples)
    most = np.sort(np.argsort(-sd, kind="stable")[:MOST_GENES])
    genes, mean, sd = genes[most], mean[most], sd[most]
    reader = Reader(dataset, genes, "none")
    z = np.concatenate([np.nan_to_num((reader.read(part) - mean) / sd) for part in blocks(samples)])
    values, vectors = np.linalg.eigh(z @ z.T)
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[::-1][: min(count, max(len(samples) - 1, 0))]
    directions = z.T @ (vectors[:, kept] / np.sqrt(values[kept]))  # (genes, components), each of length 1
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(len(kept))]) if len(kept) else 1
    weights = directions / sd[:, None] / np.sqrt(max(len(genes), 1))
    return {"state_genes": torch.from_numpy(genes), "state_mean": torch.from_numpy(mean), "state_weights": torch.from_numpy(weights)}


def read_state(dataset: Dataset, samples: np.ndarray, state: dict[str, torch.Tensor]) -> np.ndarray:
    """Return (samples, components) codes; a gene that was not measured counts as its training mean."""
    reader = Reader(dataset, state["state_genes"].numpy(), "none")
    centred = np.nan_to_num(reader.read(samples) - state["state_mean"].numpy())
    return centred @ state["state_weights"].numpy()


def matched_genes(dataset: Dataset, samples: np.ndarray, factors: np.ndarray, seed: int) -> np.ndarray:
    """Return for each factor another gene with nearly its mean and standard deviation in these samples: one of the ten nearest, by chance.

    No gene is taken twice as long as there are others; a gene on the list of factors never. Distances are in units of the spread of means, and of
    standard deviations, among the expressed genes.
    """
    reader = Reader(dataset, np.arange(len(dataset.genes)), "none")
    mean, sd, _ = reader.learn_scale(samples)
    pool = np.setdiff1d(expressed_genes(dataset, samples)[0], factors)
    pool = pool if len(pool) else np.setdiff1d(np.arange(len(dataset.genes)), factors)
    place = np.stack([mean, sd], axis=1) / np.maximum(np.stack([mean, sd], axis=1)[pool].std(axis=0), 1e-6)
    rng, free, chosen = np.random.default_rng(seed), np.ones(len(pool), dtype=bool), []
    for factor in factors:
        if not free.any():
            free[:] = True
        distance = np.where(free, np.linalg.norm(place[pool] - place[factor], axis=1), np.inf)
        near = np.argsort(distance, kind="stable")[: min(10, int(free.sum()))]
        chosen.append(rng.choice(near))
        free[chosen[-1]] = False
    return pool[np.array(chosen, dtype=int)]
