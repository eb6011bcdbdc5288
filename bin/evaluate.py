#!/usr/bin/env python3
"""Score every family beside its baselines: predictions → scores.tsv, genes.tsv and a table of samples."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import Dataset
from exprcast.estimates import (
    GENES,
    PerSample,
    Unit,
    across_samples,
    choose_unit,
    gains,
    independent,
    mean_over_samples,
    mse,
    per_sample,
    q_values,
    sets_of,
    summarise,
    within_class,
)
from exprcast.metrics import Estimate, fisher_interval
from exprcast.replicates import replicate_estimates
from exprcast.score_tables import BEST, BOUNDS, BY_CLASS, CLASSES, NO_TWINS, OVER_FOLDS, OVER_SEEDS, POOLED, SET
from exprcast.scoring import (
    BEST_SEED,
    MODEL,
    FoldScores,
    Scores,
    Spread,
    controls,
    open_predictions,
    predictors,
    score_predictions,
    select,
    spread_genes,
)
from exprcast.tables import few, parse_number, read_table, write_table

SCORE_COLUMNS = ("family", "predictor", "against", "metric", "scope", "unit", "value", "low", "high", "n")
SAMPLE_COLUMNS = ("sample", "family", "predictor", "r_gene", "rho_gene", "r_gene_dev", "mse")
GENE_COLUMNS = ("gene", "symbol", "family", "n", "sd", "best", "r_best", "low", "high", "q_value")
NEAREST_COLUMNS = ("axis", "fold", "id", "nearest", "similarity", "twin")
LEAST_GENES = 50  # of a class of similarity, for a score of its own
Entry = tuple[str, str, str, str, Estimate]  # predictor, against, metric, scope


class Nearest(NamedTuple):
    """What of the training parts is most similar to what is held out."""

    twins: set[str]  # held-out samples with a near-duplicate in training
    genes: dict[str, float]  # held-out gene → similarity of its nearest training gene, the largest over folds


class Family(NamedTuple):
    """One family's scores and what they are drawn over."""

    name: str
    rows: list[str]
    columns: list[str]
    baselines: list[str]
    controls: list[str]
    unit: Unit
    scores: dict[str, Scores]  # model, baselines, controls, single seeds
    folds: dict[str, FoldScores]
    samples: dict[str, dict[str, PerSample]]  # by predictor and metric


def evaluate(options: argparse.Namespace) -> None:
    """Write scores of all families, and one table each of samples and of genes."""
    dataset = Dataset(options.dataset)
    nearest = read_nearest(options.nearest, dataset) if options.nearest else Nearest(set(), {})
    scores, samples, families = [], [], []
    for path in sorted(options.predictions):
        with open_predictions(path) as file:
            own, external = sets_of(list(file["rows"].asstr()[:]), dataset)
            family, spread = score_family(file, dataset, nearest, options.seed, own)
            others = {name: score_family(file, dataset, nearest, options.seed, chosen)[0] for name, chosen in external.items()}
            replicates = replicate_estimates(file, dataset, options.seed)
        entries = [
            *pooled_entries(family, POOLED),
            *(entry for name, other in others.items() for entry in pooled_entries(other, f"{SET} {name}")),
            *fold_entries(family),
            *twin_entries(family, nearest.twins),
            *seed_entries(family),
            *class_entries(family, spread),
            *((name, "", metric, POOLED, one) for name, found in replicates.items() for metric, one in found.items()),
        ]
        scores += [(family.name, *key, one.unit, one.value, one.low, one.high, one.n) for *key, one in entries]
        samples += sample_rows(family, others)
        tell(family)
        light = {
            name: one._replace(sums={}, left_out=None, left_n=None, gene_absolute_sd=one.gene_absolute_sd.sum(axis=0, keepdims=True))
            for name, one in family.scores.items()
        }  # what is drawn from is large
        families.append(family._replace(scores=light, samples={}))
    write_table(options.samples_out, SAMPLE_COLUMNS, samples)
    write_genes(options.genes_out, families, dataset)
    write_table(options.out, SCORE_COLUMNS, scores)


def score_family(file: h5py.File, dataset: Dataset, nearest: Nearest, seed: int, chosen: np.ndarray) -> tuple[Family, Spread | None]:
    """Return one family's scores over the chosen rows, and the blocks of genes that are drawn or told apart by class."""
    rows, columns = list(file["rows"].asstr()[:]), list(file["columns"].asstr()[:])
    if max(file["folds"]) >= dataset.n_folds:
        raise InputError(
            f"{Path(file.filename).name} has a fold {max(file['folds'])}, {dataset.path.name} has {dataset.n_folds}; give the dataset of this run"
        )
    unit = choose_unit(str(file.attrs["axes"]), dataset, rows, seed, chosen)
    classes = similarity_classes(np.array([nearest.genes.get(gene, np.nan) for gene in columns]))
    spread = spread_genes(classes, seed) if unit.name == GENES or (classes >= 0).any() else None
    scores, folds = score_predictions(file, unit.parts, spread, chosen)
    samples = {name: per_sample(one, unit) for name, one in scores.items()}
    return Family(str(file.attrs["family"]), rows, columns, predictors(file)[1:], controls(file), unit, scores, folds, samples), spread


def similarity_classes(similarity: np.ndarray) -> np.ndarray:
    """Return the number of each gene's class in CLASSES, −1 where the similarity is not known."""
    return np.where(np.isnan(similarity), -1, np.searchsorted(BOUNDS, similarity, side="right"))


def read_nearest(path: Path, dataset: Dataset) -> Nearest:
    """Return which held-out samples are twins of a training sample, and how similar each held-out gene's nearest training gene is."""
    known, found = {"samples": set(dataset.samples), "genes": set(dataset.genes)}, Nearest(set(), {})
    for line, row in read_table(path, NEAREST_COLUMNS):
        axis, identifier = row["axis"], row["id"]
        if identifier not in known.get(axis, ()):
            raise InputError(
                f"{path.name} line {line}: {axis} '{identifier}' is not in {dataset.path.name}; give what check_folds.py made of this dataset"
            )
        if axis == "genes":
            found.genes[identifier] = max(parse_number(row["similarity"], path, line, "similarity"), found.genes.get(identifier, 0))
        elif row["twin"] == "1":
            found.twins.add(identifier)
    return found


def pooled_entries(family: Family, scope: str) -> Iterator[Entry]:
    """Yield the pooled scores of all predictors, and the model's paired gains over each of the others."""
    for name in [MODEL, *family.baselines, *family.controls]:
        for metric, one in summarise(family.scores[name], family.samples[name], family.unit).items():
            yield name, "", metric, scope, one
    yield from gain_entries(family, scope, ("r_gene_dev", "r_sample", "r_gene", "mse", "genes_better"))


def gain_entries(family: Family, scope: str, metrics: Iterable[str]) -> Iterator[Entry]:
    """Yield the model's paired gains over each baseline and each control."""
    for name in [*family.baselines, *family.controls]:
        found = gains(name, family.scores, family.samples, family.unit, MODEL)
        yield from ((MODEL, name, metric, scope, found[metric]) for metric in metrics)


def fold_entries(family: Family) -> Iterator[Entry]:
    """Yield the mean over folds of each fold's own scores (another number than the pooled one), with the folds' range."""
    for name, found in family.folds.items():
        for metric, values in found._asdict().items():
            known = values[~np.isnan(values)]
            numbers = (float(known.mean()), float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan, np.nan)
            yield name, "", metric, OVER_FOLDS, Estimate(*numbers, len(known), "folds")


def twin_entries(family: Family, twins: set[str]) -> Iterator[Entry]:
    """Yield what is left of the scores without samples that have a near-duplicate in training; nothing if none has, or all have."""
    tested = family.scores[MODEL].n > 0
    left = np.array([row not in twins for row in family.rows]) & tested
    if left.any() and left.sum() < tested.sum():
        scores = {name: select(one, left) for name, one in family.scores.items()}
        unit = family.unit._replace(of_row=family.unit.of_row[left], parts=family.unit.parts[left])
        rest = family._replace(scores=scores, unit=unit, samples={name: per_sample(one, unit) for name, one in scores.items()})
        for name in [MODEL, *family.baselines]:
            for metric in ("r_gene_dev", "r_gene"):
                yield name, "", metric, NO_TWINS, mean_over_samples(rest.samples[name][metric], unit)
        yield from gain_entries(rest, NO_TWINS, ("r_gene_dev", "r_gene"))


def seed_entries(family: Family) -> Iterator[Entry]:
    """Yield each seed's own scores, their mean and SD, and the scores of the seeds that were best on validation; nothing for one seed."""
    others = {MODEL, *family.baselines, *family.controls}
    found = {name: seed_scores(family, name) for name in family.scores if name not in others}
    for name, metrics in found.items():
        yield from ((MODEL, "", metric, BEST if name == BEST_SEED else name, one) for metric, one in metrics.items())
    for metric in found.get(BEST_SEED, ()):
        values = np.array([metrics[metric].value for name, metrics in found.items() if name != BEST_SEED])
        known = values[~np.isnan(values)]
        mean, sd = float(known.mean()) if len(known) else np.nan, float(known.std(ddof=1)) if len(known) > 1 else np.nan
        yield MODEL, "", metric, OVER_SEEDS, Estimate(mean, mean - sd, mean + sd, len(known), "seeds")


def seed_scores(family: Family, name: str) -> dict[str, Estimate]:
    """Return the pooled scores of one seed's networks."""
    samples, scores = family.samples[name], family.scores[name]
    return {
        **{metric: mean_over_samples(samples[metric], family.unit) for metric in ("r_gene_dev", "r_gene")},
        "r_sample_median": across_samples(scores, family.unit)["r_sample_median"],
        "mse": mse(scores, family.unit),
    }


def class_entries(family: Family, spread: Spread | None) -> Iterator[Entry]:
    """Yield r_gene and r_gene_dev over genes whose nearest training gene is this similar, for classes of 50 genes and more."""
    for number in range(len(CLASSES)) if spread is not None else ():
        tested = int(((family.scores[MODEL].genes.n > 0) & (spread.kind_of_gene == number)).sum())
        for name in [MODEL, *family.baselines] if tested >= LEAST_GENES else ():
            for metric, one in within_class(family.scores[name], family.unit, spread.kinds == number, tested).items():
                yield name, "", metric, f"{BY_CLASS} {CLASSES[number]}", mean_over_samples(one, family.unit)


def sample_rows(family: Family, others: dict[str, Family]) -> list[list[object]]:
    """Return one row a sample and predictor; a sample of an external set has the scores of its set."""
    rows = []
    for name in [MODEL, *family.baselines, *family.controls]:
        columns = sample_columns(family.scores[name])
        for other in others.values():
            own = other.scores[name].n > 0
            columns = [np.where(own, there, here) for here, there in zip(columns, sample_columns(other.scores[name]), strict=True)]
        rows += [[row, family.name, name, *numbers] for row, *numbers in zip(family.rows, *columns, strict=True)]
    return rows


def sample_columns(scores: Scores) -> list[np.ndarray]:
    """Return (rows,) of each metric of SAMPLE_COLUMNS."""
    with np.errstate(invalid="ignore"):
        return [*scores.per_sample.values(), scores.squared / scores.n]


def write_genes(path: Path, families: list[Family], dataset: Dataset) -> None:
    """Write how predictable each gene is and by what: one row a gene and family, in the order of the predictions.

    `sd` is of the observed deviations from the training mean; low and high are the 95 % interval of r_best (Fisher's z, as if it had
    not been chosen as the best); q_value is the model's. For both, samples of one group count as one of the n pairs. `mae_…` are mean
    absolute errors in training standard deviations.
    """
    names = [MODEL, *sorted({name for family in families for name in family.baselines})]
    symbols = dataset.symbols
    symbols = symbols | {transcript: symbols[gene] for transcript, gene in dataset.transcript_genes.items()}
    rows = [row for family in families for row in gene_rows(family, names, symbols)]
    write_table(path, [*GENE_COLUMNS, *(f"{what}_{name}" for what in ("r", "mae") for name in names)], rows)


def gene_rows(family: Family, names: list[str], symbols: dict[str, str]) -> Iterator[list[object]]:
    """Yield one family's rows of genes.tsv; a predictor that it does not have is NA."""
    nothing = np.full(len(family.columns), np.nan)
    r = np.array([family.scores[name].r_sample if name in family.scores else nothing for name in names])  # (predictors, genes)
    n = np.array([family.scores[name].genes.n if name in family.scores else nothing for name in names])
    best, gene = np.where(np.isnan(r), -np.inf, r).argmax(axis=0), np.arange(len(family.columns))
    errors = [family.scores[name].gene_absolute_sd[0] if name in family.scores else nothing for name in names]
    mae = np.array(errors) / np.where(n > 0, n, np.nan)
    part = np.array([independent(family.scores[name], family.unit) if name in family.scores else np.nan for name in names])
    low, high = fisher_interval(r[best, gene], n[best, gene] * part[best])
    observed = family.scores[MODEL].genes
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt(observed.yy / np.where(observed.n > 1, observed.n - 1, np.nan))
    q = q_values(family.scores[MODEL], family.unit)
    for k, name in enumerate(family.columns):
        chosen = names[best[k]] if not np.isnan(r[:, k]).all() else None
        facts = [name, symbols.get(name, ""), family.name, observed.n[k], sd[k], chosen, r[best[k], k], low[k], high[k], q[k]]
        yield [*facts, *r[:, k], *mae[:, k]]


def tell(family: Family) -> None:
    """Log what was found, over what intervals are, and which samples have no correlation."""
    values = {name: mean_over_samples(family.samples[name]["r_gene_dev"], family.unit).value for name in [MODEL, *family.baselines]}
    told = ", ".join(f"{name} {'NA' if np.isnan(value) else f'{value:.3f}'}" for name, value in values.items())
    log.info(f"{family.name}: r_gene_dev {told}; intervals over {family.unit.name}")
    model = family.scores[MODEL]
    constant = [row for row, n, size in zip(family.rows, model.n, model.samples.yy, strict=True) if n > 0 and not size > 0]
    if constant:
        log.info(f"{family.name}: {len(constant)} samples have the same value in all genes, so no correlation: {few(constant)}")


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="what combine.py wrote, one file a family")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5")
    parser.add_argument("--nearest", type=Path, help="TSV of what in training is most similar to what is held out, from check_folds.py")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draws")
    parser.add_argument("--samples-out", type=Path, required=True, help="TSV, one row a sample and predictor")
    parser.add_argument("--genes-out", type=Path, required=True, help="TSV, one row a gene and family")
    parser.add_argument("--out", type=Path, required=True, help="TSV of all scores")
    return parser


def main(options: argparse.Namespace) -> None:
    """Score, then say with what."""
    evaluate(options)
    write_task(options.task_out, "numpy", "scipy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
