#!/usr/bin/env python3
"""Draw a finished run on one self-contained page: scores, predictions, cohort, quality, shares, methods, versions → report.html.

A run without models gives a page of the cohort, its quality, methods and versions.
"""

import argparse
from pathlib import Path

from exprcast.bake_off_section import bake_off_section
from exprcast.bake_off_table import read_bake_off
from exprcast.cli import InputError, log, run, whole_file
from exprcast.cohort import cohort_of_dataset, cohort_of_table, cohort_section
from exprcast.dataset import Dataset
from exprcast.factor_shares import read_factor_shares
from exprcast.locus import locus_section, read_loci
from exprcast.methods import methods_section
from exprcast.page import Section, Verdict, render_page
from exprcast.promoter import promoter_section, read_promoters
from exprcast.provenance import provenance_section, resources_section
from exprcast.results import (
    Predictions,
    Shares,
    read_history,
    read_predictions,
    read_reads,
    read_rows,
    read_run,
    read_shares,
)
from exprcast.score_sections import ensemble_section, genes_section, observed_section, scores_section
from exprcast.score_tables import read_genes, read_leakage, read_samples, read_scores
from exprcast.scoring import MODEL
from exprcast.sections import (
    EXPRESSION_COLUMNS,
    PEAK_COLUMNS,
    attribution_section,
    curves_section,
    leakage_section,
    quality_section,
    run_section,
)
from exprcast.tables import refuse_duplicates
from exprcast.verdict import admission_warning, make_verdict, over_rows

OF_MODELS = ("scores", "samples", "genes", "leakage", "predictions")


def report(options: argparse.Namespace) -> None:
    """Write the page: first what models did, if there are any, then the data and what it takes to run again."""
    with_models = given_models(options)
    dataset = Dataset(options.dataset) if options.dataset else None
    families, shares = read_families(options.predictions, dataset), [read_shares(path) for path in options.attributions]
    data = data_sections(options, dataset)
    sections = [*data, *run_sections(options, dataset, families, shares)]
    if with_models:
        title = "exprcast: does the model beat simple rules?"
        subtitle, verdicts, of_models = judge_models(options, dataset, families, shares)
        sections = of_models + sections
    else:
        title, verdicts = "exprcast: the data; no model was trained", []
        subtitle = f"{'Cohort, quality of each sample, methods' if data else 'Methods'}, versions and parameters"
    with whole_file(options.out) as temporary:
        temporary.write_text(render_page(title, subtitle, verdicts, sections), encoding="utf-8")
    log.info(f"{options.out.name}: {options.out.stat().st_size / 1e6:.1f} MB" + ("" if with_models else "; no model was trained"))


def given_models(options: argparse.Namespace) -> bool:
    """Say whether the run had models: the files that tell of them are given all or none."""
    files = {f"--{name}": getattr(options, name) for name in (*OF_MODELS, "histories", "attributions")}
    given = [name for name, value in files.items() if value]
    lacking = [f"--{name}" for name in OF_MODELS if not files[f"--{name}"]]
    if given and lacking:
        raise InputError(f"{', '.join(given)} without {', '.join(lacking)}: give all of them, or none for a run without models")
    return not lacking


def read_families(paths: list[Path], dataset: Dataset | None) -> list[Predictions]:
    """Return what each family predicted, sorted by name; columns that are transcripts of the dataset are isoforms."""
    families = sorted((read_predictions(path) for path in paths), key=lambda predictions: predictions.family)
    refuse_duplicates((predictions.family for predictions in families), "predictions: family")
    transcripts = set(dataset.transcript_genes) if dataset else set()
    return [one._replace(column="isoform") if transcripts.issuperset(one.columns) else one for one in families]


def data_sections(options: argparse.Namespace, dataset: Dataset | None) -> list[Section]:
    """Return what the page says of the data: the cohort, where it is known, and the quality of each sample."""
    reads, peaks = read_reads(options.read_stats), read_rows(options.peak_stats, list(PEAK_COLUMNS))
    expression = read_rows(options.expression_stats, list(EXPRESSION_COLUMNS))
    quality = quality_section(reads, peaks, expression)
    if dataset and not dataset.samples:
        return []  # models of genes alone
    if dataset:
        return [cohort_section(cohort_of_dataset(dataset)), quality]
    if options.cohort:
        rna = {one.sample for one in reads} | {row[0] for row in expression}
        return [cohort_section(cohort_of_table(options.cohort, rna, atac={row[0] for row in peaks})), quality]
    return [quality] if reads or peaks or expression or options.scores else []  # nothing: genes alone, and no model


def run_sections(options: argparse.Namespace, dataset: Dataset | None, families: list[Predictions], shares: list[Shares]) -> list[Section]:
    """Return what it takes to describe the run and to run it again."""
    tasks, parameters, versions = read_run(options.tasks, options.parameters)
    return [
        methods_section(versions, parameters, dataset, families, shares, len(options.read_stats)),
        resources_section(tasks),
        provenance_section(versions, parameters, options.code, shares),
    ]


def judge_models(
    options: argparse.Namespace, dataset: Dataset | None, families: list[Predictions], shares: list[Shares]
) -> tuple[str, list[Verdict], list[Section]]:
    """Return what the page says of the models: its second line, a verdict a family, the sections from the run to attributions."""
    scores, leakage = read_scores(options.scores, [one.family for one in families]), read_leakage(options.leakage)
    genes = read_genes(options.genes)
    several = [p for p in families if over_rows(p)]
    r_samples = {family: dict(zip(one.gene, one.r[MODEL].tolist(), strict=True)) for family, one in genes.items()}
    sections = [
        *([bake_off_section(*read_bake_off(options.bake_off), families, leakage)] if options.bake_off else []),
        scores_section(families, scores, leakage),
        *(ensemble_section(p, scores, leakage) for p in families if p.weights),
        observed_section(families, scores, read_samples(options.samples), leakage),
        *([genes_section(several, genes)] if several else []),
        *place_sections(dataset, shares, families, r_samples),
        attribution_section(shares, dataset.symbols if dataset else {}, read_factor_shares(shares, dataset)),
        run_section(families, leakage),
        curves_section([read_history(path) for path in options.histories]),
        leakage_section(leakage, max(len(predictions.folds) for predictions in families)),
    ]
    first = families[0]
    values = f"{len(first.rows):,} {first.row}{'s' * (len(first.rows) != 1)} × {len(first.columns):,} {first.column}s ({first.unit})"
    subtitle = f"{', '.join(p.title for p in families)} on {values}, {len(first.folds)} fold{'s' * (len(first.folds) != 1)}"
    verdicts = [make_verdict(scores, predictions, leakage) for predictions in families]
    admitted = admission_warning(dataset.misaligned if dataset else "")
    verdicts = [verdict._replace(warnings=[*admitted, *verdict.warnings]) for verdict in verdicts]
    log.info("; ".join(f"{p.family} {verdict.kind}" for p, verdict in zip(families, verdicts, strict=True)))
    return subtitle, verdicts, sections


def place_sections(
    dataset: Dataset | None, shares: list[Shares], families: list[Predictions], r_samples: dict[str, dict[str, float]]
) -> list[Section]:
    """Return one gene's locus where pairs of samples and genes were explained, one gene's promoter where genes were."""
    sections = []
    if dataset and any(one.mean_share is not None for one in shares) and any(family.axes != "genes" for family in families):
        sections.append(locus_section(read_loci(dataset, shares, families, r_samples)))
    if any(one.words for one in shares):
        sections.append(promoter_section(read_promoters(shares, families, dataset.symbols if dataset else {}), shares))
    return sections


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, help="TSV of all scores, from evaluate.py")
    parser.add_argument("--samples", type=Path, help="TSV, one row a sample and predictor, from evaluate.py")
    parser.add_argument("--genes", type=Path, help="TSV, one row a gene and family, from evaluate.py")
    parser.add_argument("--leakage", type=Path, help="TSV of what test and training parts share, from check_folds.py")
    parser.add_argument("--bake-off", type=Path, help="TSV of all families on common cells, from bake_off.py")
    parser.add_argument("--predictions", type=Path, nargs="*", default=[], help="what combine.py wrote, one file a family")
    parser.add_argument(
        "--histories", type=Path, nargs="*", default=[], help="learning curves, <family>.fold<number>.seed<number>.history.tsv"
    )
    parser.add_argument("--read-stats", type=Path, nargs="*", default=[], help="TSVs of RNA reads, one row a sample")
    parser.add_argument("--peak-stats", type=Path, nargs="*", default=[], help="TSVs of counts, from bin_peaks.py")
    parser.add_argument("--expression-stats", type=Path, nargs="*", default=[], help="TSVs of counts, from collect_expression.py")
    parser.add_argument("--attributions", type=Path, nargs="*", default=[], help="what attribute.py wrote")
    parser.add_argument("--dataset", type=Path, help="dataset.h5: the cohort, and one gene's locus")
    parser.add_argument("--cohort", type=Path, help="TSV of samples and their groups, for a run without a dataset")
    parser.add_argument("--tasks", type=Path, nargs="*", default=[], help="JSON: versions, time and memory of each task (--task-out)")
    parser.add_argument("--parameters", type=Path, required=True, help="JSON: {parameter: value}")
    parser.add_argument("--out", type=Path, required=True, help="the page")
    return parser


if __name__ == "__main__":
    run(report, parse_args())
