"""How fast the published sequence network trains on a CPU, against the same network in a plain loop; memory of 20,000 promoters of 20 kb.

python -m pytest tests/bench/bench_sequence.py -s                                 ten minutes; on one GPU, where there is one, 30 epochs, too
GENES=500 STEPS=2 python -m pytest tests/bench/bench_sequence.py -s               a quick look
"""

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from bench_scale import measure
from exprcast.dataset import create_dataset, write_array
from exprcast.families import xpresso
from exprcast.family import make_config, make_model
from exprcast.training import Training, make_deterministic, make_fabric

GENES, STEPS = int(os.environ.get("GENES", 20_000)), int(os.environ.get("STEPS", 6))
WIDTH, BATCH, LONG = 10_500, 128, 20_000
LEAST_RATIO, MOST_GB = 2.0, 2.0
PUBLISHED_GENES, EPOCHS, MOST_GPU_S = 18_377, 30, 60


class Plain(nn.Module):
    """The published network as its description says it, reading float one-hot bases."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv1d(4, 128, 6, padding="same"), nn.ReLU(), nn.MaxPool1d(30),
            nn.Conv1d(128, 32, 9, padding="same"), nn.ReLU(), nn.MaxPool1d(10), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Linear(1_128, 64), nn.ReLU(), nn.Dropout(0.00099), nn.Linear(64, 2), nn.ReLU(), nn.Dropout(0.01546), nn.Linear(2, 1))  # fmt: skip

    def forward(self, bases: torch.Tensor, halflife: torch.Tensor) -> torch.Tensor:
        """Read (batch, bases, 4) and (batch, 8)."""
        return self.head(torch.cat([self.trunk(bases.transpose(1, 2)), halflife], dim=1))


class Promoters:
    """Examples in memory as codes, as xpresso's are."""

    def __init__(self, codes: np.ndarray, halflife: np.ndarray, labels: np.ndarray) -> None:
        self.codes, self.halflife, self.labels = codes, torch.from_numpy(halflife), torch.from_numpy(labels)
        self.sizes = {"width": codes.shape[1], "halflife": halflife.shape[1], "labels": 1}

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return codes and half-life."""
        return torch.from_numpy(self.codes[index]), self.halflife[index]

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, 1)."""
        return self.labels[index]


def draw(genes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random promoters, features and labels."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (genes, WIDTH)).astype(np.uint8)
    return codes, rng.normal(size=(genes, 8)).astype(np.float32), rng.normal(size=(genes, 1)).astype(np.float32)


def test_twice_as_fast_as_a_plain_loop(tmp_path):
    """Steps of both take turns, so that other work on the machine slows both down."""
    make_deterministic(1)
    genes = BATCH * 4
    codes, halflife, labels = draw(genes)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file.create_dataset("promoter", data=np.eye(4, dtype=np.float32)[codes], chunks=(1, WIDTH, 4))
    config = make_config(xpresso, "paper")
    examples = Promoters(codes, halflife, labels)
    ours = Training(
        lambda: make_model(xpresso, config, examples, np.arange(genes)),
        examples,
        np.arange(genes),
        config,
        1,
        make_fabric("cpu", "32-true"),
    )
    plain, rng = Plain(), np.random.default_rng(1)
    optimizer = torch.optim.Adam(plain.parameters())
    seconds = {"ours": [], "plain": []}
    with h5py.File(tmp_path / "train.h5") as file:
        for _ in range(STEPS + 1):
            index = np.sort(rng.choice(genes, BATCH, replace=False))
            start = time.perf_counter()
            ours.step(index)
            seconds["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            loss = nn.functional.mse_loss(
                plain(torch.from_numpy(file["promoter"][index]), examples.halflife[index]), examples.labels[index]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds["plain"].append(time.perf_counter() - start)
    middle = {name: float(np.median(values[1:])) for name, values in seconds.items()}
    ratio = middle["plain"] / middle["ours"]
    print(
        f"\na step of {BATCH} promoters of {WIDTH:,} bases: {middle['ours']:.2f} s, plain loop {middle['plain']:.2f} s, ratio {ratio:.1f}"
    )
    assert ratio >= LEAST_RATIO


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_thirty_epochs_on_one_gpu():
    """As many promoters as were published with Xpresso, its network, batch and optimiser."""
    codes, halflife, labels = draw(PUBLISHED_GENES)
    config, index = make_config(xpresso, "paper"), np.arange(PUBLISHED_GENES)
    examples = Promoters(codes, halflife, labels)
    training = Training(lambda: make_model(xpresso, config, examples, index), examples, index, config, 1, make_fabric("cuda", "32-true"))
    training.step(index[:BATCH])
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        training.epoch()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    print(f"\n{PUBLISHED_GENES:,} promoters of {WIDTH:,} bases, {EPOCHS} epochs on {torch.cuda.get_device_name()}: {seconds:.0f} s")
    assert seconds <= MOST_GPU_S


@pytest.fixture
def long_promoters(tmp_path) -> Path:
    """Write a dataset of promoters of 20 kb, a thousand in memory at once."""
    rng, path = np.random.default_rng(2), tmp_path / "dataset.h5"
    with create_dataset(path, assembly="made", annotation="made", code="", sources="{}") as file:
        for column in ("id", "donor", "biosample", "replicate_group", "batch"):
            write_array(file, f"samples/{column}", [])
        for column, values in {"id": [f"G{i:05}" for i in range(GENES)], "chrom": ["c"] * GENES, "strand": ["+"] * GENES}.items():
            write_array(file, f"genes/{column}", values)
        write_array(file, "chromosomes/name", ["c"])
        write_array(file, "chromosomes/size", np.array([10**9]))
        stored = file.create_dataset("promoters/sequence", (GENES, LONG), "u1", chunks=(1, LONG), compression="gzip", compression_opts=1)
        stored.attrs.update(upstream_bp=LONG // 2, downstream_bp=LONG // 2)
        for start in range(0, GENES, 1_000):
            stored[start : start + 1_000] = rng.integers(0, 4, (min(1_000, GENES - start), LONG)).astype(np.uint8)
        write_array(file, "promoters/halflife", rng.normal(size=(GENES, 8)), name=list("abcdefgh"), scale="transformed")
        write_array(file, "labels/value", rng.normal(size=(1, GENES)), unit="zscore")
        write_array(file, "labels/name", ["made"])
        write_array(file, "folds/sample_role", np.zeros((1, 0)), hold_out="genes", scheme="genes", promised="", seed=0)
        write_array(file, "folds/gene_role", np.array([[0] * 18 + [1, 2]]).repeat(GENES // 20 + 1, axis=0).reshape(1, -1)[:, :GENES])
    return path


def test_long_promoters_stay_small(long_promoters, tmp_path):
    print(f"\n{GENES:,} promoters of {LONG:,} bases")
    options = ["--config", '{"epochs": 1, "examples_per_epoch": 512, "valid_examples": 64}']
    given, limit = ["--dataset", long_promoters, "--prepared", tmp_path / "prepared"], {"most_gb": MOST_GB}
    measure(tmp_path, "prepare", "--family", "xpresso", *options, "--fold", 0, *given[:2], "--out", given[3], **limit)
    measure(tmp_path, "train", *given, "--device", "cpu", "--history-out", tmp_path / "history.tsv", "--out", tmp_path / "x.pt", **limit)
    measure(tmp_path, "predict", *given, "--checkpoint", tmp_path / "x.pt", "--device", "cpu", "--out", tmp_path / "x.h5", **limit)
