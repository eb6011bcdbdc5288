"""A small dataset whose splicing is known: the levels of a few genes shift how other genes' levels are divided over their transcripts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.dataset import create_dataset, write_array
from exprcast.folds import make_folds, promises

DECOYS = 2  # for each factor: as expressed and as variable, listed beside it, acting on nothing
ACTED_ON = 4  # genes of each factor, one transcript of each
LEVEL, BIOSAMPLE_SD, DONOR_SD, SAMPLE_SD = (6.0, 1.0), 0.5, 0.3, 0.4  # log2: mean and sd over genes; sds of a gene over samples
SHARE_SD, SHARE_BIOSAMPLE_SD = 0.7, 0.3  # logit: transcripts of a gene; the same transcript between biosamples
NOISE_SD = 0.2  # natural log, of each transcript's TPM in each sample
EFFECT = (0.7, 1.1)  # logit of a share a standard deviation of the factor's log2(TPM + 1), either sign


class Planted(NamedTuple):
    """Who acts on whom, as indices into the dataset's genes and transcripts; a gene is acted on by one factor at most, a factor by none."""

    factors: np.ndarray  # (factors,) ascending
    decoys: np.ndarray  # (decoys,) ascending: on the list, too
    factor: np.ndarray  # (effects,) the gene that acts
    gene: np.ndarray  # (effects,) the gene acted on, ascending
    transcript: np.ndarray  # (effects,) the transcript of it whose share follows; the others of its gene keep their ratios
    effect: np.ndarray  # (effects,) logit a standard deviation


def planted_dataset(
    path: Path,
    samples: int = 96,
    donors: int = 24,
    genes: int = 100,
    factors: int = 6,
    seed: int = 1,
    folds: int = 4,
    biosamples: int = 1,
    strength: float = 1.0,
) -> Planted:
    """Write a dataset of genes with two to four transcripts, donors held out; return its truth.

    A donor gives samples of every biosample, as with treated cells; levels and shares differ between biosamples where there are several.
    Effects are multiplied by `strength`: at 0 nothing acts, all else the same.
    """
    roster_rng, level_rng, share_rng, noise_rng = np.random.default_rng(seed).spawn(4)
    donor, number = np.divmod(np.arange(samples) * donors, samples)[0], np.arange(samples)
    biosample = (number - np.searchsorted(donor, donor)) % biosamples
    gene = np.repeat(np.arange(genes), roster_rng.integers(2, 4, genes, endpoint=True))
    truth = plant(gene, factors, strength, roster_rng)

    tpm = draw_levels(donor, biosample, genes, level_rng)
    shares = draw_shares(tpm, biosample, gene, truth, share_rng)
    measured = tpm[:, gene] * shares * np.exp(NOISE_SD * noise_rng.standard_normal(shares.shape))
    names = [f"D{d + 1:02d}" for d in donor]
    ids = [f"{name}_B{b + 1}_S{n + 1:03d}" for name, b, n in zip(names, biosample, number, strict=True)]
    order = np.argsort(ids)
    groups = {
        "id": ids,
        "donor": names,
        "biosample": [f"B{b + 1}" for b in biosample],
        "replicate_group": [f"{name}_B{b + 1}" for name, b in zip(names, biosample, strict=True)],
        "batch": [""] * samples,
    }
    write(path, {column: [texts[i] for i in order] for column, texts in groups.items()}, gene, measured[order], truth, folds, seed)
    return truth


def plant(gene: np.ndarray, factors: int, strength: float, rng: np.random.Generator) -> Planted:
    """Choose factors, decoys and what is acted on among the genes of these transcripts, `gene` (transcripts,)."""
    drawn = rng.permutation(gene[-1] + 1)
    listed, others = drawn[: factors * (1 + DECOYS)], drawn[factors * (1 + DECOYS) :]
    acted_on = np.sort(others[: factors * ACTED_ON])
    count = np.bincount(gene)
    transcript = np.searchsorted(gene, acted_on) + rng.integers(count[acted_on])
    factor = listed[:factors][rng.permutation(len(acted_on)) % factors]
    effect = strength * rng.uniform(*EFFECT, len(acted_on)) * rng.choice([-1, 1], len(acted_on))
    return Planted(np.sort(listed[:factors]), np.sort(listed[factors:]), factor, acted_on, transcript, effect)


def draw_levels(donor: np.ndarray, biosample: np.ndarray, genes: int, rng: np.random.Generator) -> np.ndarray:
    """Return true TPM (samples, genes), a million a sample; all genes vary alike over biosamples, donors and samples."""
    level = rng.normal(*LEVEL, genes) + DONOR_SD * rng.standard_normal((donor[-1] + 1, genes))[donor]
    level += SAMPLE_SD * rng.standard_normal((len(donor), genes))
    if biosample.any():
        level += BIOSAMPLE_SD * rng.standard_normal((biosample.max() + 1, genes))[biosample]
    return 1e6 * np.exp2(level) / np.exp2(level).sum(axis=1, keepdims=True)


def draw_shares(tpm: np.ndarray, biosample: np.ndarray, gene: np.ndarray, truth: Planted, rng: np.random.Generator) -> np.ndarray:
    """Return each transcript's share of its gene (samples, transcripts), as the factors' TPM (samples, genes) shift it."""
    logit = np.tile(SHARE_SD * rng.standard_normal(len(gene)), (len(tpm), 1))
    if biosample.any():
        logit += SHARE_BIOSAMPLE_SD * rng.standard_normal((biosample.max() + 1, len(gene)))[biosample]
    level = np.log2(tpm + 1)[:, truth.factor]
    logit[:, truth.transcript] += truth.effect * (level - level.mean(axis=0)) / level.std(axis=0)
    odds = np.exp(logit)
    return odds / add_up(odds, gene)[:, gene]


def add_up(values: np.ndarray, gene: np.ndarray) -> np.ndarray:
    """Return the sums over each gene's transcripts (samples, genes) of (samples, transcripts)."""
    return np.add.reduceat(values, np.flatnonzero(np.diff(gene, prepend=-1)), axis=1)


def write(path: Path, groups: dict[str, list[str]], gene: np.ndarray, measured: np.ndarray, truth: Planted, folds: int, seed: int) -> None:
    """Write TPM of transcripts (samples, transcripts), of genes their sums, and both lists; `groups` are the samples' columns."""
    count = int(gene[-1]) + 1
    roles = make_folds(groups["donor"], ["unknown"] * count, "samples", folds, 0, seed)
    with create_dataset(path, assembly="none", annotation="none", code="", sources="{}") as file:
        for column, texts in groups.items():
            write_array(file, f"samples/{column}", texts)
        write_array(file, "genes/id", [f"ENSG{number:011d}" for number in range(1, count + 1)])
        write_array(file, "genes/symbol", [f"PLANTED{number}" for number in range(1, count + 1)])
        write_array(file, "chromosomes/name", ["unknown"])
        write_array(file, "chromosomes/size", np.array([1]))
        write_array(file, "transcripts/id", [f"ENST{number:011d}" for number in range(1, len(gene) + 1)])
        write_array(file, "transcripts/gene", gene)
        write_array(file, "expression/gene", add_up(measured, gene), unit="tpm")
        write_array(file, "expression/transcript", measured, unit="tpm")
        write_array(file, "lists/splicing_factor", np.isin(np.arange(count), [*truth.factors, *truth.decoys]))
        write_array(file, "lists/isoform", np.bincount(gene)[gene] > 1)
        promised = ",".join(promises("samples", ["replicate_group", "donor"], "", ("expression/gene",)))
        attributes = {"hold_out": "samples", "scheme": f"samples; {folds} folds by donor", "promised": promised, "seed": seed}
        write_array(file, "folds/sample_role", roles[0], **attributes)
        write_array(file, "folds/gene_role", roles[1])
