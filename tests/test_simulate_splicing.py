"""simulate_cohort.py: factors shift shares of transcripts as the stated rule says, nothing else moves, and kallisto finds it in the reads."""

import csv
import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from exprcast.kallisto import read_abundance
from exprcast.simulation.sizes import Sizes
from tiny import load_script

SCRIPT = Path(__file__).parents[1] / "bin" / "simulate_cohort.py"
needs_kallisto = pytest.mark.skipif(shutil.which("kallisto") is None, reason="kallisto is not on the PATH")


class Spliced(NamedTuple):
    """A cohort's transcripts, genes and samples, and what the truth says of them, by index."""

    genes: list[str]
    gene: np.ndarray  # (transcripts,)
    biosample: np.ndarray  # (samples,)
    levels: np.ndarray  # (transcripts, samples) true TPM
    listed: list[int]
    factor: np.ndarray  # (effects,)
    transcript: np.ndarray  # (effects,)
    effect: np.ndarray  # (effects,)


def made(out: Path, *options: str) -> Path:
    result = subprocess.run([sys.executable, SCRIPT, *options, "--out", out], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("cohort") / "default", "--reads", "0")


@pytest.fixture(scope="module")
def spliced(folder) -> Spliced:
    return read(folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def read(folder: Path) -> Spliced:
    header, *rows = [line.split("\t") for line in gzip.decompress((folder / "true_transcripts.tsv.gz").read_bytes()).decode().splitlines()]
    transcripts = [row[0] for row in rows]
    cdna = gzip.decompress((folder / "cdna.fa.gz").read_bytes()).decode()
    gene_of = dict(re.findall(r"^>(\w+)\.\d+ .*?gene:(\w+)", cdna, re.MULTILINE))
    genes = [row["id"].partition(".")[0] for row in rows_of(folder / "genes.tsv")]
    truth = rows_of(folder / "splicing.tsv")
    assert [gene_of[row["transcript"]] for row in truth] == [row["gene"] for row in truth]
    return Spliced(
        genes,
        np.array([genes.index(gene_of[name]) for name in transcripts]),
        np.array([sample[:4] for sample in header[1:]]),
        np.array([row[1:] for row in rows], float),
        [genes.index(row["gene_id"]) for row in rows_of(folder / "factors.tsv")],
        np.array([genes.index(row["factor"]) for row in truth]),
        np.array([transcripts.index(row["transcript"]) for row in truth]),
        np.array([float(row["effect"]) for row in truth]),
    )


def totals(spliced: Spliced, levels: np.ndarray) -> np.ndarray:
    """Return genes' TPM (genes, samples) of transcripts' (transcripts, samples)."""
    total = np.zeros((len(spliced.genes), levels.shape[1]))
    np.add.at(total, spliced.gene, levels)
    return total


def scaled(values: np.ndarray) -> np.ndarray:
    """Return rows with mean 0 and sd 1."""
    return (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)


def logit(share: np.ndarray) -> np.ndarray:
    return np.log(share / (1 - share))


def spread(spliced: Spliced, values: np.ndarray) -> np.ndarray:
    """Return the largest distance of each row from its mean over a biosample, (rows,)."""
    groups = [values[:, spliced.biosample == name] for name in np.unique(spliced.biosample)]
    return np.max([np.abs(group - group.mean(axis=1, keepdims=True)).max(axis=1) for group in groups], axis=0)


def test_six_factors_are_listed_among_decoys_and_act_on_others(folder, spliced):
    listed = rows_of(folder / "factors.tsv")
    assert list(listed[0]) == ["gene_id", "symbol"] and len(listed) == 18
    assert spliced.listed == sorted(spliced.listed), "the order tells factors from decoys"
    symbols = {row["id"].partition(".")[0]: row["symbol"] for row in rows_of(folder / "genes.tsv")}
    assert all(symbols[row["gene_id"]] == row["symbol"] for row in listed)
    assert len(set(spliced.factor)) == 6 and set(spliced.factor) < set(spliced.listed)
    acted_on = spliced.gene[spliced.transcript]
    assert len(set(acted_on)) == len(acted_on) > 100 and not set(acted_on) & set(spliced.factor)
    assert np.bincount(spliced.gene)[acted_on].min() >= 2
    assert np.bincount(spliced.factor)[list(set(spliced.factor))].min() > 20


def test_factors_and_decoys_are_expressed_and_vary_alike_also_within_biosamples(spliced):
    level = np.log2(totals(spliced, spliced.levels) + 1)
    within = level.copy()
    for name in np.unique(spliced.biosample):
        within[:, spliced.biosample == name] -= within[:, spliced.biosample == name].mean(axis=1, keepdims=True)
    factors = sorted(set(spliced.factor))
    decoys = sorted(set(spliced.listed) - set(factors))
    for genes in (factors, decoys):
        assert np.median(level[genes], axis=1).min() > np.median(level)
        assert level[genes].std(axis=1).min() > 0.2 and (within[genes].var(axis=1) / level[genes].var(axis=1)).min() > 0.25
    assert level[factors].std(axis=1).mean() == pytest.approx(level[decoys].std(axis=1).mean(), rel=0.3)


def test_shares_follow_the_stated_rule(spliced):
    """Without the factor's part, a transcript's logit is the same in all samples of a biosample, as are ratios of what stands beside it."""
    total = totals(spliced, spliced.levels)
    share = spliced.levels / total[spliced.gene]
    followed = logit(share[spliced.transcript])
    shift = spliced.effect[:, None] * scaled(np.log2(total + 1)[spliced.factor])
    assert spread(spliced, followed).min() > 0.2
    assert spread(spliced, followed - shift).max() < 1e-6
    assert (1 <= np.abs(spliced.effect)).all() and (np.abs(spliced.effect) <= 1.6).all() and 0.35 < (spliced.effect > 0).mean() < 0.65
    beside = np.isin(spliced.gene, spliced.gene[spliced.transcript])
    beside[spliced.transcript] = False
    ratio = spliced.levels[beside] / totals(spliced, spliced.levels * beside[:, None])[spliced.gene[beside]]
    assert (ratio < 0.99).any() and spread(spliced, ratio).max() < 1e-7
    free = ~np.isin(spliced.gene, spliced.gene[spliced.transcript])
    assert spread(spliced, share[free]).max() < 1e-7


def test_the_truth_says_what_the_mean_share_is_without_the_factor(folder, spliced):
    """Planted shares are large enough to be seen; the logit of what the rule leaves has the same mean, but for the curve of the logit."""
    share = np.array([float(row["share"]) for row in rows_of(folder / "splicing.tsv")])
    total = totals(spliced, spliced.levels)
    shift = spliced.effect[:, None] * scaled(np.log2(total + 1)[spliced.factor])
    left = logit((spliced.levels / total[spliced.gene])[spliced.transcript]) - shift
    assert share.min() >= 0.1
    np.testing.assert_allclose((1 / (1 + np.exp(-left))).mean(axis=1), share, rtol=1e-6)


def test_splicing_moves_nothing_but_levels_of_transcripts(tmp_path, monkeypatch):
    """Other random numbers for it, and shares left as they are: every other file has the same bytes, totals of genes too."""
    sizes = Sizes(8, 40, 4, 2, 2, 0.5, 0)
    script = load_script("simulate_cohort")
    script.simulate_cohort(tmp_path / "usual", sizes, 1.0, 1, 1)
    plant = script.plant_splicing

    def plant_otherwise(oracle, transcripts, shares, rng):
        rng.random(1000)
        return plant(oracle, transcripts, shares, rng)

    monkeypatch.setattr(script, "plant_splicing", plant_otherwise)
    monkeypatch.setattr(script, "shift_shares", lambda shares, *_: shares)
    script.simulate_cohort(tmp_path / "without", sizes, 1.0, 1, 1)
    usual, without = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("usual", "without")
    )
    assert usual.keys() == without.keys()
    assert {str(name) for name in usual if usual[name] != without[name]} == {"splicing.tsv", "true_transcripts.tsv.gz"}


@pytest.mark.parametrize(("genes", "listed"), [("1", 1), ("4", 1), ("20", 6), ("40", 13)])
def test_few_genes_have_fewer_decoys_then_fewer_factors(genes, listed, tmp_path):
    folder = made(tmp_path / "cohort", "--samples", "6", "--genes", genes, "--chromosomes", "1", "--reads", "0")
    assert len(rows_of(folder / "factors.tsv")) == listed
    truth = rows_of(folder / "splicing.tsv")
    assert {row["factor"] for row in truth} <= {row["gene_id"] for row in rows_of(folder / "factors.tsv")}
    assert genes != "40" or len({row["factor"] for row in truth}) == 6


@needs_kallisto
def test_kallisto_finds_the_factor_of_a_transcript_ahead_of_all_decoys(tmp_path):
    """As many reads a gene as by default. Most transcripts follow their own factor best, few a decoy: chance would give it a 13th."""
    folder = made(tmp_path / "cohort", "--samples", "24", "--genes", "60", "--reads", "30000")
    spliced = read(folder)
    measured = quantify(folder, tmp_path, len(spliced.gene))
    total = totals(spliced, measured)
    share = (measured + 1) / (total[spliced.gene] + 2)
    r = scaled(np.log2(total[spliced.listed] + 1)) @ scaled(logit(share[spliced.transcript])).T / 24  # (listed, effects)
    own = np.array([spliced.listed.index(factor) for factor in spliced.factor])
    found = r[own, np.arange(len(own))]
    assert (np.sign(found) == np.sign(spliced.effect)).mean() > 0.9 and np.median(np.abs(found)) > 0.6
    decoys = sorted(set(range(len(spliced.listed))) - set(own))
    assert np.median(np.abs(r[decoys])) < 0.25
    assert (np.abs(r[decoys]).max(axis=0) < np.abs(found)).mean() > 0.75


def quantify(folder: Path, work: Path, transcripts: int) -> np.ndarray:
    """Return TPM (transcripts, samples) as kallisto sees a cohort, in the order of its FASTA."""
    subprocess.run(["kallisto", "index", "-i", work / "index", folder / "cdna.fa.gz"], check=True, capture_output=True, timeout=60)
    reads: dict[str, list[Path]] = {}
    with (folder / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            reads.setdefault(row["sample"], []).extend(folder / row[mate] for mate in ("reads_1", "reads_2"))
    measured = np.empty((transcripts, len(reads)))
    for number, (sample, files) in enumerate(reads.items()):
        command = ["kallisto", "quant", "-i", work / "index", "-o", work / sample, "--rf-stranded", *files]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        measured[:, number] = read_abundance(work / sample / "abundance.tsv", sample).tpm
    return measured
