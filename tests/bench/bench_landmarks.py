"""Landmarks to targets: ridge regression beside scikit-learn's, training on a CPU and on one GPU, completing 100,000 profiles.

python -m pytest tests/bench/bench_landmarks.py -s                                                     half an hour, 9 GB in the temporary folder
PROFILES=2000 UNITS=500 STEPS=2 python -m pytest tests/bench/bench_landmarks.py -s                     a quick look
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from bench_scale import measure
from exprcast.bundle import CALIBRATION, CARD, TRAINING, baselines_file, gene_list, network_file, save_bundle
from exprcast.calibration import learn, save
from exprcast.checkpoint import load_checkpoint, save_checkpoint
from exprcast.dataset import Dataset, create_dataset, write_array
from exprcast.families import dgex
from exprcast.family import extract_arrays, make_config, make_model
from exprcast.folds import train_rows
from exprcast.means import fit_mean
from exprcast.ridge import ALPHAS, fit_ridge, predict_ridge
from exprcast.training import Training, make_deterministic, make_fabric

LANDMARKS, TARGETS, COMPENDIUM = 943, 9_520, 88_807
PROFILES, UNITS, STEPS = (int(os.environ.get(name, usual)) for name, usual in (("PROFILES", 100_000), ("UNITS", 3_000), ("STEPS", 8)))
LAYERS, BATCH, CPU_BATCH = [9_000] * 3, int(os.environ.get("BATCH", 8_192)), 200
LEAST_RATIO, LEAST_SHARE, MOST_RATIO, MOST_GB = 1.0, 0.4, 2.0, 3.0
BF16_PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12}  # dense, a second, as NVIDIA states them
TRAINED, FOLDS, AT_ONCE = 200, 2, 4_096
RIDGE_TRAINED, RIDGE_VALIDATED, FASTER = 2_000, 200, 5.0


def made() -> SimpleNamespace:
    """Return samples whose targets follow their landmarks linearly, with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(RIDGE_TRAINED + RIDGE_VALIDATED, LANDMARKS)).astype(np.float32)
    y = (x @ rng.normal(size=(LANDMARKS, TARGETS)).astype(np.float32) + 30 * rng.normal(size=(len(x), TARGETS))).astype(np.float32)
    return SimpleNamespace(
        x=x,
        y=y,
        rows=range(len(x)),
        columns=range(TARGETS),
        features=lambda index: x[index],
        targets=lambda index: torch.from_numpy(y[index]),
    )


def test_ridge_of_all_targets_and_penalties_is_scikit_learns_and_five_times_faster():
    """Both fit all targets for each of 15 penalties and keep the one that is best on validation."""
    examples, train, valid = made(), np.arange(RIDGE_TRAINED), np.arange(RIDGE_TRAINED, RIDGE_TRAINED + RIDGE_VALIDATED)
    start = process_time()
    mean = fit_mean("samples", examples, train, valid)
    ridge = fit_ridge("samples", examples, mean, train, valid)
    predicted = predict_ridge("samples", examples, mean, ridge, valid)
    ours, start = process_time() - start, process_time()
    x, y = (examples.x - ridge["centre"]) / ridge["scale"], examples.y.astype(np.float64)
    level = y[train].mean(axis=0)
    fits = [Ridge(alpha * RIDGE_TRAINED, fit_intercept=False).fit(x[train], y[train] - level) for alpha in ALPHAS]
    known = [fit.predict(x[valid]) + level for fit in fits]
    best = int(np.argmin([np.square(one - y[valid]).mean() for one in known]))
    theirs = process_time() - start
    print(
        f"\nridge, {RIDGE_TRAINED:,} × {LANDMARKS} → {TARGETS:,}, {len(ALPHAS)} penalties: {ours:.1f} s of the processor; scikit-learn {theirs:.1f} s"
    )
    assert ALPHAS[best] == ridge["alpha"][0]
    np.testing.assert_allclose(predicted, known[best], rtol=1e-6, atol=1e-6 * np.abs(y).max())
    assert theirs >= FASTER * ours


class Panel:
    """Random landmarks and targets in memory."""

    sizes = {"landmarks": LANDMARKS, "targets": TARGETS, "components": 0}

    def __init__(self, samples: int) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = (rng.random((samples, width), np.float32) - np.float32(0.5) for width in (LANDMARKS, TARGETS))

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, landmarks)."""
        return (torch.from_numpy(self.x[index]),)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, targets)."""
        return torch.from_numpy(self.y[index])


def plain_network() -> nn.Module:
    """Return one hidden layer as anybody would write it."""
    return nn.Sequential(nn.Linear(LANDMARKS, UNITS), nn.Tanh(), nn.Dropout(0.1), nn.Linear(UNITS, TARGETS))


def our_step(panel: Panel) -> Callable[[np.ndarray], object]:
    """Return a step of training as train.py does it."""
    make_deterministic(1)
    settings = {"hidden": [UNITS], "optimizer": "sgd", "momentum": 0.5, "loss": "sum", "schedule": "constant", "learning_rate": 1e-6}
    config = make_config(dgex, "default", settings | {"batch_size": CPU_BATCH, "clip_norm": 0.0, "weight_decay": 0.0})
    return Training(plain_network, panel, np.arange(len(panel.x)), config, 1, make_fabric("cpu", "32-true")).step


def plain_step(panel: Panel) -> Callable[[np.ndarray], object]:
    """Return a step of the same network, optimizer and batch, as anybody would write it."""
    torch.set_num_threads(1)
    network = plain_network()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.5)

    def step(index: np.ndarray) -> None:
        x, y = torch.from_numpy(panel.x[index]), torch.from_numpy(panel.y[index])
        loss = nn.functional.mse_loss(network(x), y, reduction="sum") / CPU_BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def step_seconds(make_step: Callable[[Panel], Callable[[np.ndarray], object]]) -> float:
    """Return the seconds of the processor of a step in the middle of several."""
    panel, rng, seconds = Panel(2_000), np.random.default_rng(1), []
    step = make_step(panel)
    for _ in range(STEPS + 1):
        index, start = rng.choice(2_000, CPU_BATCH, replace=False), process_time()
        step(index)
        seconds.append(process_time() - start)
    return float(np.median(seconds[1:]))


def test_training_on_a_cpu_is_as_fast_as_a_plain_loop():
    """Each in a process of its own, side by side, because how memory is asked for is part of what training does."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        ours, plain = pool.map(step_seconds, (our_step, plain_step))
    told = f"{CPU_BATCH / ours:.0f} samples/s, plain loop {CPU_BATCH / plain:.0f}, ratio {plain / ours:.2f}"
    print(f"\n{LANDMARKS} → {UNITS:,} → {TARGETS:,} on one core, batches of {CPU_BATCH}: {told}")
    assert plain >= LEAST_RATIO * ours


def gpu_seconds(training: Training, batch: int) -> float:
    """Return the seconds of a step in the middle of many, the first ones not counted."""
    rng = np.random.default_rng(1)
    batches = [rng.choice(COMPENDIUM, batch, replace=False) for _ in range(4 * STEPS)]
    for index in batches[:3]:
        training.step(index)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for index in batches[3:]:
        training.step(index)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / len(batches[3:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_training_on_one_gpu():
    """As many arrays as were published: three layers of 9,000 units by the default in bf16, and the published setting at batches of 200."""
    make_deterministic(1)
    panel, every = Panel(COMPENDIUM), np.arange(COMPENDIUM)
    usual = {"hidden": LAYERS, "components": 0, "beside_ridge": False, "batch_size": BATCH}
    for preset, options, precisions in (("default", usual, ["bf16-mixed"]), ("paper", {}, ["32-true", "bf16-mixed"])):
        config = make_config(dgex, preset, options)
        for precision in precisions:
            training = Training(lambda c=config: dgex.Model(c, panel.sizes), panel, every, config, 1, make_fabric("cuda", precision))
            weights = [weight.numel() for weight in training.network.parameters() if weight.ndim > 1]
            seconds = gpu_seconds(training, config.batch_size)
            rate = (6 * sum(weights) - 2 * weights[0]) * config.batch_size / seconds  # nobody needs gradients of inputs
            print(
                f"\n{preset}, {precision}, batches of {config.batch_size:,}: {config.batch_size / seconds:,.0f} samples/s, {rate / 1e12:.0f} TFLOP/s"
            )
            peak = next((value for name, value in BF16_PEAK.items() if name in torch.cuda.get_device_name()), None)
            if peak and preset == "default":
                print(f"{rate / peak:.0%} of the peak of {peak / 1e12:.0f} TFLOP/s in bf16 of {torch.cuda.get_device_name()}")
                assert rate >= LEAST_SHARE * peak
            del training
            torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Return a bundle of networks that were set up and not trained, on a small panel; calibration as of its samples."""
    folder = tmp_path_factory.mktemp("landmarks")
    dataset = write_panel(folder / TRAINING)
    genes, rng, files = (
        dataset.genes,
        np.random.default_rng(2),
        {TRAINING: folder / TRAINING, CARD: folder / CARD, CALIBRATION: folder / CALIBRATION},
    )
    config, targets = make_config(dgex, "default"), genes[LANDMARKS:]
    for fold in range(FOLDS):
        rows = train_rows(dataset, fold)
        state = dgex.prepare(dataset, rows, config)
        examples = dgex.examples(dataset, config, state, extract_arrays(dgex, dataset, config, state))
        torch.manual_seed(fold)
        weights = make_model(dgex, config, examples, rows.samples).state_dict()
        files |= {name: folder / name for name in (network_file(fold, 1), baselines_file(fold))}
        h5py.File(files[baselines_file(fold)], "w").close()
        facts = {
            "family": "dgex",
            "preset": "default",
            "fold": fold,
            "seed": 1,
            "trained_seed": 1,
            "status": "trained",
            "control": "",
            "code": "",
        }
        content = {"sizes": examples.sizes, "state": state, "weights": weights, "selection": None}
        save_checkpoint(
            files[network_file(fold, 1)], config, **facts, **content, rows=dataset.samples, columns=targets, unit="log2_intensity"
        )
    every, errors = np.arange(TRAINED), np.abs(rng.standard_normal((TRAINED, TARGETS), np.float32))
    with h5py.File(files[CALIBRATION], "w") as file:
        nowhere = np.full(TRAINED, np.nan)
        save(learn("log2_intensity", every, errors, (every % FOLDS).astype(np.uint16), every, nowhere, np.zeros(TARGETS)), file)
    files[CARD].write_text("Made for a bench.\n")
    facts = {
        "family": "dgex", "preset": "default", "unit": "log2_intensity", "axes": "samples", "hold_out": "samples", "assembly": "made", "annotation": "made",
        "bin_bp": 0, "bin_source": "", "gene_list": gene_list(genes), "genes": len(genes), "samples": TRAINED, "folds": list(range(FOLDS)), "seeds": [1],
        "refit": False, "methods": "", "code": "", "exprcast": "",
    }  # fmt: skip
    save_bundle(folder / "models" / "dgex", facts, files)
    return folder / "models" / "dgex"


def write_panel(path: Path) -> Dataset:
    """Write and return a dataset of a few samples of all landmarks and targets, which follow twenty programmes."""
    rng, genes = np.random.default_rng(1), LANDMARKS + TARGETS
    values = (
        rng.normal(8, 2, genes)
        + rng.normal(size=(TRAINED, 20)) @ rng.normal(size=(20, genes)) * 0.3
        + rng.normal(size=(TRAINED, genes)) * 0.2
    )
    with create_dataset(path, assembly="made", annotation="made", code="", sources="{}") as file:
        for column in ("id", "donor", "biosample", "replicate_group", "batch"):
            write_array(file, f"samples/{column}", [f"S{i:03}" for i in range(TRAINED)])
        for column, texts in {"id": [f"G{i:05}" for i in range(genes)], "chrom": ["c"] * genes, "strand": ["."] * genes}.items():
            write_array(file, f"genes/{column}", texts)
        write_array(file, "chromosomes/name", ["c"])
        write_array(file, "chromosomes/size", np.array([1]))
        write_array(file, "expression/gene", values, unit="log2_intensity")
        for name, first in (("landmark", True), ("target", False)):
            write_array(file, f"lists/{name}", (np.arange(genes) < LANDMARKS) == first)
        role = 2 * (np.arange(TRAINED) % FOLDS == np.arange(FOLDS)[:, None])
        write_array(file, "folds/sample_role", role, hold_out="samples", scheme="samples", promised="", seed=0)
        write_array(file, "folds/gene_role", np.zeros((FOLDS, genes)))
    return Dataset(path)


def write_profiles(path: Path) -> None:
    """Write a GCTX of landmarks alone."""
    rng = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        file.attrs["version"] = "GCTX1.0"
        file["0/META/COL/id"] = np.array([f"CPC004_A375:{i}" for i in range(PROFILES)], "S")
        file["0/META/ROW/id"] = np.array([f"G{i:05}" for i in range(LANDMARKS)], "S")
        out = file.create_dataset("0/DATA/0/matrix", (PROFILES, LANDMARKS), "f4")
        for start in range(0, PROFILES, AT_ONCE):
            out[start : start + AT_ONCE] = rng.normal(8, 2, (min(AT_ONCE, PROFILES - start), LANDMARKS))


def complete_by_hand(bundle: Path, profiles: Path, out: Path) -> float:
    """Return the seconds of CPU time of computing the layers of all networks and writing the matrix, with nothing looked at."""
    contents, networks = [load_checkpoint(bundle / network_file(fold, 1)) for fold in range(FOLDS)], []
    for content in contents:
        networks.append(dgex.Model(dgex.Config(**content["config"]), content["sizes"]).eval())
        networks[-1].load_state_dict(content["weights"])
    scales = [tuple(content["state"][name].float() for name in ("mean", "sd")) for content in contents]
    start = process_time()
    with h5py.File(profiles) as given, h5py.File(out, "w") as file, torch.no_grad():
        values, whole = given["0/DATA/0/matrix"], file.create_dataset("0/DATA/0/matrix", (PROFILES, LANDMARKS + TARGETS), "f4")
        for first in range(0, PROFILES, 1_024):
            x = torch.from_numpy(values[first : first + 1_024])
            predicted = sum(network((x - mean) / sd) for network, (mean, sd) in zip(networks, scales, strict=True)) / FOLDS
            whole[first : first + 1_024] = torch.cat([x, predicted], dim=1).numpy()
    return process_time() - start


def test_completing_profiles_takes_little_more_than_the_layers_and_the_file(bundle, tmp_path):
    make_deterministic(1)
    write_profiles(tmp_path / "profiles.gctx")
    by_hand = complete_by_hand(bundle, tmp_path / "profiles.gctx", tmp_path / "hand.h5")
    print(f"\n{PROFILES:,} profiles × {LANDMARKS + TARGETS:,} genes, {FOLDS} networks; by hand {by_hand:.0f} s of CPU time")
    options = ["--bundle", bundle, "--matrix", tmp_path / "profiles.gctx", "--device", "cpu", "--out", tmp_path / "completed.gctx"]
    took = measure(tmp_path, "complete_matrix", *options, most_gb=MOST_GB)
    print(f"{took / by_hand:.2f} × that of computing the layers and writing the file by hand")
    with h5py.File(tmp_path / "hand.h5") as hand, h5py.File(tmp_path / "completed.gctx") as file:
        for key in (slice(0, 5), slice(PROFILES - 5, PROFILES)):
            assert file["0/DATA/0/matrix"][key] == pytest.approx(hand["0/DATA/0/matrix"][key], rel=1e-3, abs=1e-3)
    assert took <= MOST_RATIO * by_hand or PROFILES < 20_000, "fewer take less time than the imports"
