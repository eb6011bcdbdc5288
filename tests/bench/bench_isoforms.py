"""Training on 20,000 isoforms × 1,000 samples beside a plain PyTorch loop over the same network.

python -m pytest tests/bench/bench_isoforms.py -s                    a minute
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import process_time

import numpy as np
import torch

from exprcast.families import deepsf
from exprcast.family import make_config
from exprcast.training import Training, keep_memory, make_deterministic, make_fabric

SAMPLES, FACTORS, STATE, ISOFORMS, OF_A_GENE = 1_000, 160, 64, 20_000, 4
EPOCHS, LEAST_RATIO = 4, 1.0
SIZES = {"landmarks": FACTORS + STATE, "targets": ISOFORMS, "components": 64, "genes": ISOFORMS // OF_A_GENE}


class Cohort:
    """Random factors, state and shares in memory; a fiftieth of the genes is not expressed in a sample."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.factors, self.state = (rng.standard_normal((SAMPLES, width), np.float32) for width in (FACTORS, STATE))
        odds = rng.random((SAMPLES, ISOFORMS // OF_A_GENE, OF_A_GENE + 1), np.float32) + np.float32(0.1)
        shares = (odds / odds.sum(axis=2, keepdims=True))[:, :, :OF_A_GENE]
        shares[rng.random(shares.shape[:2]) < 0.02] = np.nan
        self.shares = np.ascontiguousarray(shares.reshape(SAMPLES, ISOFORMS))

    def __len__(self) -> int:
        return SAMPLES

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, factors) and (index, components)."""
        return torch.from_numpy(self.factors[index]), torch.from_numpy(self.state[index])

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, isoforms)."""
        return torch.from_numpy(self.shares[index])


def network(config: deepsf.Config) -> deepsf.Model:
    """Return the family's network with buffers of the size that a cohort gives them."""
    model = deepsf.Model(config, SIZES)
    model.group.copy_(torch.arange(ISOFORMS) // OF_A_GENE)
    model.mean.fill_(1 / (OF_A_GENE + 1))
    model.rest.fill_(1 / (OF_A_GENE + 1))
    model.directions.normal_(0, 0.1)
    return model


def our_epoch(cohort: Cohort) -> Callable[[], object]:
    """Return an epoch of training as train.py does it."""
    make_deterministic(1)
    config = make_config(deepsf, "default")
    return Training(partial(network, config), cohort, np.arange(SAMPLES), config, 1, make_fabric("cpu", "32-true")).epoch


def plain_epoch(cohort: Cohort) -> Callable[[], object]:
    """Return an epoch of the same network, optimizer, batches and loss, as anybody would write it."""
    torch.set_num_threads(1)
    keep_memory()
    config = make_config(deepsf, "default")
    model = network(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def epoch() -> None:
        model.train()
        for index in torch.randperm(SAMPLES).split(config.batch_size):
            factors, state = cohort.inputs(index.numpy())
            target = cohort.targets(index.numpy())
            known = ~torch.isnan(target)
            error = ((model(factors, state) - target) / model.scale)[known]
            optimizer.zero_grad()
            (error**2).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()

    return epoch


def epoch_seconds(make_epoch: Callable[[Cohort], Callable[[], object]]) -> float:
    """Return the seconds of the processor of the fastest epoch of several, the first not counted."""
    epoch, seconds = make_epoch(Cohort()), []
    for _ in range(EPOCHS + 1):
        start = process_time()
        epoch()
        seconds.append(process_time() - start)
    return min(seconds[1:])


def test_an_epoch_is_as_fast_as_a_plain_loop():
    """Each in a process of its own, side by side, because how memory is asked for is part of what training does."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        ours, plain = pool.map(epoch_seconds, (our_epoch, plain_epoch))
    print(
        f"\n{ISOFORMS:,} isoforms × {SAMPLES:,} samples on one core: an epoch {ours:.2f} s, plain loop {plain:.2f} s, ratio {plain / ours:.2f}"
    )
    assert plain >= LEAST_RATIO * ours
