"""Trained networks that read the bases around a start site, ready to predict any window: published weights, or all folds and seeds of a bundle."""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from exprcast.bundle import Bundle, faults_of, network_file
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError, log
from exprcast.families.xpresso import Config, Model
from exprcast.published import LABEL, TSS, UNIT, read_published
from exprcast.sequence import N
from exprcast.training import make_deterministic, make_fabric

FAMILY = "xpresso"
BATCH = 64


class Window(NamedTuple):
    """What all networks of an ensemble have in common: the window that they read and what they predict."""

    width: int
    tss: int  # place of the start site in the window
    margin: int  # bases on either side that shifts reach into
    labels: tuple[str, ...]
    unit: str

    @property
    def upstream_bp(self) -> int:
        """Return the bases before the start site that are read, those for shifts among them."""
        return self.tss + self.margin

    @property
    def downstream_bp(self) -> int:
        """Return the bases from the start site on that are read, those for shifts among them."""
        return self.width - self.tss + self.margin


class Network(NamedTuple):
    """One network, and how it scales half-life features."""

    model: nn.Module
    window: Window
    mean: np.ndarray  # (features,) of training genes
    sd: np.ndarray


class Networks:
    """An ensemble: networks of one window, on one device."""

    def __init__(self, networks: list[Network], device: str) -> None:
        self.window, self.features = networks[0].window, len(networks[0].mean)
        self.fabric = make_fabric(device, "32-true")
        self.networks = [one._replace(model=self.fabric.setup(one.model.eval())) for one in networks]

    def __len__(self) -> int:
        return len(self.networks)

    @torch.no_grad()
    def predict(self, codes: np.ndarray, halflife: np.ndarray | None = None) -> np.ndarray:
        """Return (networks, windows, labels) float32 of (windows, bases with margins) codes and (windows, features) half-life.

        Without half-life each window's mRNA is an average one. NaN where all bases are N, and where a half-life feature is NaN.
        """
        predicted = np.full((len(self), len(codes), len(self.window.labels)), np.nan, np.float32)
        core = codes[:, self.window.margin : self.window.margin + self.window.width]
        known = (core != N).any(axis=1) & (True if halflife is None else ~np.isnan(halflife).any(axis=1))
        rows = np.flatnonzero(known)
        for part in np.split(rows, range(BATCH, len(rows), BATCH)):
            sequence = self.fabric.to_device(torch.from_numpy(codes[part]))
            for number, one in enumerate(self.networks):
                scaled = np.zeros((len(part), len(one.mean))) if halflife is None else (halflife[part] - one.mean) / one.sd
                features = self.fabric.to_device(torch.from_numpy(scaled.astype(np.float32)))
                predicted[number, part] = one.model(sequence, features).float().cpu().numpy()
        return predicted


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation over the first axis, networks; the deviation of one network is NaN."""
    wide = values.astype(np.float64)
    return wide.mean(axis=0), wide.std(axis=0, ddof=1) if len(wide) > 1 else np.full(wide.shape[1:], np.nan)


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add --weights and --bundle, of which one is needed."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--weights",
        type=Path,
        nargs="+",
        help="published weights of Xpresso (HDF5 of Keras); the mean of several, of one kind of cell, is predicted",
    )
    source.add_argument("--bundle", type=Path, help="models/xpresso of a finished run: the mean of its folds and seeds is predicted")


def load_networks(options: argparse.Namespace) -> Networks:
    """Return the networks that --weights or --bundle name."""
    make_deterministic(options.threads)
    networks = [load_published(path) for path in sorted(options.weights)] if options.weights else load_bundle(Bundle(options.bundle))
    window = networks[0].window
    log.info(f"networks: {len(networks)}; each reads {window.width:,} bases, the start site is base {window.tss:,}, counted from 0")
    return Networks(networks, options.device)


def load_published(path: Path) -> Network:
    """Return a published network; its half-life features are in standard deviations already."""
    config, sizes, weights = read_published(path)
    model = Model(config, sizes)
    model.load_state_dict(weights)
    window = Window(sizes["width"], TSS, config.shift_bp, (LABEL,), UNIT)
    return Network(model, window, np.zeros(sizes["halflife"]), np.ones(sizes["halflife"]))


def load_bundle(bundle: Bundle) -> list[Network]:
    """Return a bundle's networks, which all read the same window."""
    if bundle.family != FAMILY:
        raise InputError(f"--bundle {bundle.path.name} is of the family {bundle.family}, which reads no sequence; give models/{FAMILY}")
    networks, collapsed = [], []
    for name in (network_file(fold, seed) for fold in bundle.folds for seed in bundle.seeds):
        content = load_checkpoint(bundle.file(name))
        with faults_of(bundle, name):
            networks.append(make_network(content))
        collapsed += [name] * (content["status"] == "collapsed")
    if any(one.window != networks[0].window or len(one.mean) != len(networks[0].mean) for one in networks):
        raise InputError(f"bundle {bundle.path.name}: its networks do not all read and predict the same; copy the whole folder again")
    if collapsed:
        log.warning(
            f"warning: {len(collapsed)} of {len(networks)} networks collapsed in training ({', '.join(collapsed)[:80]}); they count all the same"
        )
    return networks


def make_network(content: dict) -> Network:
    """Return the network of a checkpoint; content that no run of ours wrote raises one of NOT_OURS."""
    config, state = Config(**content["config"]), content["state"]
    model = Model(config, content["sizes"])
    model.load_state_dict(content["weights"])
    window = Window(int(state["width"]), int(state["tss"]), config.shift_bp, tuple(map(str, content["rows"])), str(content["unit"]))
    mean, sd = state["halflife_mean"].double().numpy(), state["halflife_sd"].double().numpy()
    if (window.width, len(mean), len(window.labels)) != tuple(content["sizes"][key] for key in ("width", "halflife", "labels")):
        raise ValueError("its sizes do not fit its state")
    return Network(model, window, mean, sd)
