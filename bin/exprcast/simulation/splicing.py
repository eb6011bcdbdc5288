"""Splicing factors: a few genes whose levels shift how other genes' levels are shared among their transcripts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.simulation.genome import Genes
from exprcast.simulation.transcripts import Transcript
from exprcast.tables import write_table

FACTORS, DECOYS = 6, 12  # decoys are listed beside the factors, as expressed and as variable, and act on nothing; fewer where genes are few
ACTED_ON_SHARE = 0.5  # of the genes that can be acted on
LEAST_SHARE = 0.1  # of a transcript that a factor acts on, in the mean over samples, so that reads can tell
EFFECT = (1.0, 1.6)  # logit of the share a standard deviation of the factor's log2(TPM + 1), either sign


class Splicing(NamedTuple):
    """Which genes act, and on what; a transcript's gene has one factor at most, a factor none."""

    factors: np.ndarray  # (factors,) genes, ascending
    decoys: np.ndarray  # (decoys,) genes, ascending
    factor: np.ndarray  # (effects,) the gene that acts
    transcript: np.ndarray  # (effects,) whose share follows it, ascending
    effect: np.ndarray  # (effects,) logit a standard deviation


def plant_splicing(oracle: np.ndarray, transcripts: list[Transcript], shares: np.ndarray, rng: np.random.Generator) -> Splicing:
    """Choose the factors by the oracle's TPM (samples, genes), so that noise moves none, and what they act on by shares (samples, transcripts)."""
    factors, decoys = choose_factors(oracle, rng)
    acted_on = choose_transcripts(transcripts, shares.mean(axis=0), factors, rng)
    effect = rng.uniform(*EFFECT, len(acted_on)) * rng.choice([-1, 1], len(acted_on))
    order = np.argsort(acted_on)
    return Splicing(factors, decoys, np.resize(factors, len(acted_on))[order], acted_on[order], effect[order])


def choose_factors(oracle: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return factors and decoys, ascending: the most even of the expressed genes, as real factors are, dealt at random.

    What differs little between biosamples owes much of its variance to donors and samples, so that no cell type gives a factor away.
    """
    genes = oracle.shape[1]
    level = np.log2(oracle + 1)
    expressed = np.argsort(np.median(level, axis=0))[genes // 2 :]
    even = expressed[np.argsort(level.std(axis=0)[expressed])]
    listed = rng.permutation(even[: min(FACTORS + DECOYS, max(1, genes // 3))])
    return np.sort(listed[:FACTORS]), np.sort(listed[FACTORS:])


def choose_transcripts(transcripts: list[Transcript], share: np.ndarray, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the transcripts to act on, in random order: of each gene its largest but the canonical one, by mean share (transcripts,)."""
    largest: dict[int, int] = {}
    for number, transcript in enumerate(transcripts):
        if not transcript.canonical and share[number] >= max(LEAST_SHARE, share[largest.get(transcript.gene, number)]):
            largest[transcript.gene] = number
    can_be = np.array([number for gene, number in largest.items() if gene not in factors], np.int64)
    return rng.permutation(can_be)[: max(FACTORS, int(ACTED_ON_SHARE * len(can_be)))]


def shift_shares(shares: np.ndarray, measured: np.ndarray, gene: np.ndarray, splicing: Splicing) -> np.ndarray:
    """Return shares (samples, transcripts) as the factors' measured TPM (samples, genes) shifts them; `gene` (transcripts,).

    The others of a gene keep their ratios; genes that nothing acts on keep their shares to the last bit.
    """
    level = np.log2(measured + 1)[:, splicing.factor]
    shift = splicing.effect * (level - level.mean(axis=0)) / level.std(axis=0)
    shifted = shares.copy()
    for number, odds in zip(splicing.transcript, np.exp(shift).T, strict=True):
        same = np.flatnonzero(gene == gene[number])
        shifted[:, number] *= odds
        shifted[:, same] /= shifted[:, same].sum(axis=1, keepdims=True)
    return shifted


def write_factors(path: Path, genes: Genes, splicing: Splicing) -> None:
    """Write the list that a user would bring: factors and decoys, by gene."""
    listed = sorted([*splicing.factors.tolist(), *splicing.decoys.tolist()])
    write_table(path, ["gene_id", "symbol"], ((genes.ids[gene], genes.symbol(gene)) for gene in listed))


def write_splicing_truth(path: Path, genes: Genes, transcripts: list[Transcript], shares: np.ndarray, splicing: Splicing) -> None:
    """Write which factor shifts which transcript's share, and the mean of that share (samples, transcripts) without it."""
    rows = (
        (genes.ids[factor], genes.ids[transcripts[number].gene], transcripts[number].id, effect, share)
        for factor, number, effect, share in zip(
            splicing.factor, splicing.transcript, splicing.effect, shares.mean(axis=0)[splicing.transcript], strict=True
        )
    )
    write_table(path, ["factor", "gene", "transcript", "effect", "share"], rows)
