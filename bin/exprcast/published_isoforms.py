"""The published DeepSF networks: splicing factors s of a sample and the level g of each isoform's own gene → levels of isoforms.

linear         W s + b + w_g · g
two_hidden     h: layers of 183 and 82 units, each with batch norm and a rectifier; rectifier(W h + b + w_g · g)
ensemble       the same with a code of all genes beside h, which the encoder of an autoencoder makes: rectifier(W (h, code) + b + w_g · g)

With 1,279 factors, 10,095 isoforms and 19,594 genes they have 12,931,695, 1,097,838 and 6,266,478 parameters, the autoencoder 20,611,722.
Departures: rectifiers and sigmoids are modules, one a use, so that attributions and the guard against collapse see them; the code comes in
as a number, made in evaluation mode.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn

NETWORKS = ("linear", "two_hidden", "ensemble")
HIDDEN, CODE = (183, 82), 512


class Model(nn.Module):
    """One of the three networks; `gene` has to be set."""

    def __init__(self, config: object, sizes: dict[str, int]) -> None:
        super().__init__()
        self.hidden, width = nn.Sequential(), sizes["factors"]
        for units in HIDDEN if config.network != "linear" else ():
            self.hidden.extend([nn.Linear(width, units), nn.BatchNorm1d(units), nn.ReLU()])
            width = units
        self.out = nn.Linear(width + sizes["code"], sizes["isoforms"])
        self.of_gene = nn.Parameter(torch.randn(sizes["isoforms"]))  # w_g
        self.rectifier = nn.Identity() if config.network == "linear" else nn.ReLU()
        self.least_batch = 1 if config.network == "linear" else 2  # what batch norm can normalise
        self.register_buffer("gene", torch.zeros(sizes["isoforms"], dtype=torch.int64))  # of each isoform, among those that are read

    def forward(self, factors: torch.Tensor, genes: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        """Return (batch, isoforms) of (batch, factors), (batch, genes) and (batch, 512 or 0)."""
        x = torch.cat([self.hidden(factors), code], dim=1)  # (batch, 82 + 512)
        return self.rectifier(self.out(x) + self.of_gene * genes[:, self.gene])

    def only(self, isoforms: np.ndarray) -> "Model":
        """Return a copy that computes these isoforms and no others."""
        narrow, kept = deepcopy(self), torch.from_numpy(isoforms).to(self.gene.device)
        narrow.gene, narrow.of_gene = self.gene[kept], nn.Parameter(self.of_gene[kept])
        narrow.out = nn.Linear(self.out.in_features, len(isoforms), device=kept.device)
        narrow.out.load_state_dict({name: values[kept] for name, values in self.out.state_dict().items()})
        return narrow


class Autoencoder(nn.Module):
    """Levels of genes, from 0 to 1 → the same; the encoder is all but the last layer, its sigmoids among it."""

    least_batch = 2

    def __init__(self, genes: int) -> None:
        super().__init__()
        self.encoder = make_encoder(genes)
        self.decoder = nn.Sequential(nn.Linear(CODE, genes), nn.Sigmoid())

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        """Return (batch, genes) of (batch, genes)."""
        return self.decoder(self.encoder(levels))


def make_encoder(genes: int) -> nn.Sequential:
    """Return (batch, genes) → (batch, 512): three layers that end in sigmoids, batch norm in the first two."""
    return nn.Sequential(
        nn.Linear(genes, CODE), nn.BatchNorm1d(CODE), nn.Sigmoid(),
        nn.Linear(CODE, CODE), nn.BatchNorm1d(CODE), nn.Sigmoid(),
        nn.Linear(CODE, CODE), nn.Sigmoid(),
    )  # fmt: skip
