#!/usr/bin/env python3
"""Draw what a bundle predicted for new samples on one self-contained page, and what speaks for believing it → report.html."""

import argparse
from pathlib import Path

from exprcast.applied import Applied, Summary, open_families, summarise
from exprcast.applied_sections import (
    MOST_DRAWN,
    applied_methods_section,
    choose_drawn,
    coverage_section,
    departures_section,
    distance_section,
    predictions_section,
    samples_section,
)
from exprcast.applied_verdict import applied_verdict
from exprcast.bundle import ENSEMBLE
from exprcast.cli import InputError, log, run, whole_file
from exprcast.page import Section, render_page
from exprcast.provenance import provenance_section, resources_section
from exprcast.results import read_rows, read_run
from exprcast.score_sections import scores_section
from exprcast.score_tables import Scores, Units, read_samples, read_scores
from exprcast.sections import PEAK_COLUMNS, quality_section


def report_applied(options: argparse.Namespace) -> None:
    """Write the page: first how far to believe the predictions, then samples, genes, intervals, and what it takes to run again."""
    applied = open_families(options.applied)
    scores, sample_scores = read_judged(options, applied)
    drawn = drawn_families(applied)
    most = max(1, MOST_DRAWN // len(drawn))
    families = [(one, summarise(one, set(choose_drawn(one, most)) if one in drawn else set())) for one in applied]
    verdicts = [applied_verdict(one, summary, scores) for one, summary in families]
    pictured = [(one, summary) for one, summary in families if one in drawn]
    sections = [
        samples_section(families, sample_scores),
        distance_section(applied),
        predictions_section(pictured),
        departures_section(pictured),
        coverage_section(applied),
        *([scores_section([one.as_predictions() for one in applied], scores, [])] if scores is not None else []),
        *run_sections(options, applied),
    ]
    with whole_file(options.out) as temporary:
        temporary.write_text(
            render_page("exprcast: predicted expression of new samples", subtitle(applied), verdicts, sections), encoding="utf-8"
        )
    tell(options.out, families)


def drawn_families(applied: list[Applied]) -> list[Applied]:
    """Return the families whose samples are drawn: the ensemble where there is one, else all."""
    return [one for one in applied if one.family == ENSEMBLE] or applied


def subtitle(applied: list[Applied]) -> str:
    """Return what was applied to how much."""
    first = applied[0]
    return f"{', '.join(one.family for one in applied)}, applied to {len(first.samples):,} samples: {len(first.genes):,} genes each, {first.unit}"


def tell(path: Path, families: list[tuple[Applied, Summary]]) -> None:
    """Log how large the page is and what it warns of."""
    outside = ", ".join(f"{one.family} {int(one.outside.sum()):,} of {len(one.samples):,}" for one, _ in families)
    log.info(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB; samples outside what training saw: {outside}")


def read_judged(options: argparse.Namespace, applied: list[Applied]) -> tuple[Scores | None, Units]:
    """Return scores of the families and of each sample; None and nothing where no RNA was given."""
    if bool(options.scores) != bool(options.samples):
        raise InputError("--scores and --samples belong together: give both, or none where no RNA is known")
    if not options.scores:
        return None, {}
    return read_scores(options.scores, [one.family for one in applied]), read_samples(options.samples)


def run_sections(options: argparse.Namespace, applied: list[Applied]) -> list[Section]:
    """Return what it takes to describe the run and to run it again; quality of peaks where their counts are given."""
    tasks, parameters, versions = read_run(options.tasks, options.parameters)
    peaks = read_rows(options.peak_stats, list(PEAK_COLUMNS))
    return [
        *([quality_section([], peaks, [])] if peaks else []),
        applied_methods_section(applied),
        resources_section(tasks),
        provenance_section(versions, parameters, options.code, []),
    ]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--applied", type=Path, nargs="+", required=True, help="predictions for new samples, applied/<family>.h5, one file a family"
    )
    parser.add_argument("--scores", type=Path, help="TSV of all scores, from evaluate.py, where RNA was given")
    parser.add_argument("--samples", type=Path, help="TSV, one row a sample and predictor, from evaluate.py")
    parser.add_argument("--peak-stats", type=Path, nargs="*", default=[], help="TSVs of counts, from bin_peaks.py")
    parser.add_argument("--tasks", type=Path, nargs="*", default=[], help="JSON: versions, time and memory of each task (--task-out)")
    parser.add_argument("--parameters", type=Path, required=True, help="JSON: {parameter: value}")
    parser.add_argument("--out", type=Path, required=True, help="the page")
    return parser


if __name__ == "__main__":
    run(report_applied, parse_args())
