"""What evaluate.py and check_folds.py wrote, read for the report: scores, samples, genes, leakage; and the names of scopes."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError
from exprcast.metrics import Estimate
from exprcast.scoring import MODEL
from exprcast.tables import parse_number, read_table

POOLED, OVER_FOLDS, NO_TWINS, BY_CLASS = "pooled", "mean over folds (range)", "without twins", "nearest training gene"
SET = "set"  # and its name: samples of an external set alone
OVER_SEEDS, BEST = "mean over seeds (SD)", "best seed by validation"
CLASSES, BOUNDS = ("below 0.05", "0.05 to 0.2", "0.2 to 1"), (0.05, 0.2)  # similarity of the nearest training gene
SAMPLE_METRICS = ("r_gene_dev", "r_gene")  # of which the report draws the one that is judged
SCORE_KEY = ("family", "predictor", "against", "metric", "scope")
GENE_TEXTS, GENE_NUMBERS = ("gene", "symbol", "best"), ("n", "sd", "r_best", "low", "high", "q_value")

Scores = dict[tuple[str, str, str, str, str], Estimate]  # by SCORE_KEY
Units = dict[tuple[str, str, str], dict[str, float]]  # family, metric and predictor → sample → r


class Leak(NamedTuple):
    """What test and training parts share of one thing: a row of the leakage table."""

    axis: str
    shared: str  # replicate_group, twin …
    held_out: bool  # is this axis held out?
    promised: bool  # do the folds keep it apart on purpose?
    folds: int  # with sharing
    members: int  # of the test parts that share it
    unknown: int  # members of which it cannot be told, because they have no value
    names: list[str]  # the first ten


class Genes(NamedTuple):
    """How predictable each gene is in one family: a row of genes.tsv each."""

    gene: list[str]
    symbol: list[str]
    best: list[str]  # the predictor with the highest r_sample, NA if none has one
    n: np.ndarray  # (genes,) pairs
    sd: np.ndarray  # of the observed deviations
    r_best: np.ndarray
    low: np.ndarray  # of the 95 % interval of r_best
    high: np.ndarray
    q_value: np.ndarray  # of the model's r
    r: dict[str, np.ndarray]  # predictor → (genes,) r_sample


def read_scores(path: Path, needed: Iterable[str] = ()) -> Scores:
    """Return scores.tsv by family, predictor, against, metric and scope. Raise InputError unless it has all the families that are needed."""
    names = ("value", "low", "high", "n")
    scores = {
        tuple(row[key] for key in SCORE_KEY): Estimate(*(parse_number(row[name], path, line, name) for name in names), row["unit"])
        for line, row in read_table(path, (*SCORE_KEY, "unit", *names))
    }
    scored = {family for family, *_ in scores}
    lacking = [family for family in needed if family not in scored]
    if lacking:
        raise InputError(f"{path.name} has no scores of {', '.join(lacking)}; it has {', '.join(sorted(scored)) or 'none'}")
    return scores


def read_samples(path: Path) -> Units:
    """Return each sample's r_gene_dev and r_gene."""
    units: Units = {}
    for line, row in read_table(path, ("sample", "family", "predictor", *SAMPLE_METRICS)):
        for metric in SAMPLE_METRICS:
            value = parse_number(row[metric], path, line, metric)
            units.setdefault((row["family"], metric, row["predictor"]), {})[row["sample"]] = value
    return units


def read_genes(path: Path) -> dict[str, Genes]:
    """Return genes.tsv by family."""
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in read_table(path, (*GENE_TEXTS, "family", *GENE_NUMBERS, f"r_{MODEL}")):
        rows.setdefault(row["family"], []).append((line, row))
    return {family: gene_columns(own, path) for family, own in rows.items()}


def gene_columns(rows: list[tuple[int, dict[str, str]]], path: Path) -> Genes:
    """Return one family's rows of genes.tsv as columns."""
    column = lambda name: np.array([parse_number(row[name], path, line, name) for line, row in rows])  # noqa: E731
    named = [name for name in rows[0][1] if name.startswith("r_") and name not in GENE_NUMBERS]
    texts = ([row[name] for _, row in rows] for name in GENE_TEXTS)
    return Genes(*texts, *map(column, GENE_NUMBERS), {name.removeprefix("r_"): column(name) for name in named})


def read_leakage(path: Path) -> list[Leak]:
    """Return the leakage table."""
    return [
        Leak(
            row["axis"], row["shared"], row["held_out"] == "1", row["promised"] == "1",
            *(int(parse_number(row[name], path, line, name)) for name in ("folds", "members", "unknown")),
            [name for name in row["names"].split(",") if name],
        )
        for line, row in read_table(path, Leak._fields)
    ]  # fmt: skip
