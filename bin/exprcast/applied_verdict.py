"""How far to believe what was predicted for new samples: the first lines of their page, one box a family.

Where RNA was given, the box is that of held-out samples (verdict). Where it was not, nothing can be judged; then it says how held-out
training samples did, and which of the new ones are unlike them.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from exprcast.applied import Applied, Calibration, Summary
from exprcast.page import Verdict, number
from exprcast.score_tables import Scores
from exprcast.tables import name_some
from exprcast.verdict import make_verdict

SAME = 1e-4  # 1 − cosine below which two samples are one, but for rounding
TOO_NARROW = 0.1  # a share of genes inside intervals this far below what was promised
NO_INTERVALS = "There are no intervals: no training samples were held out when this bundle was made, so how far its predictions are off was not measured."


def applied_verdict(applied: Applied, summary: Summary, scores: Scores | None) -> Verdict:
    """Return what was predicted and how far it may be believed: judged where RNA was given, else told from held-out training samples."""
    tiles, remarks = expected_tiles(applied, summary), [*width_remark(applied, summary), *held_out_remark(applied)]
    warnings = [
        *outside_warning(applied),
        *seen_warning(applied),
        *([] if applied.calibration else [NO_INTERVALS]),
        *narrow_warning(applied, summary),
    ]
    if scores is not None:
        judged = make_verdict(scores, applied.as_predictions(), [])
        known = int((summary.measured > 0).sum())
        told = [f"Judged on {known:,} of {len(applied.samples):,} samples, whose RNA was given.", judged.remarks, *remarks]
        return judged._replace(
            numbers=[*judged.numbers, *tiles], warnings=[*judged.warnings, *warnings], remarks=" ".join(filter(None, told))
        )
    lacking = "scored" if summary.measured.any() else "given"
    sentence = (
        f"{applied.family} predicted {len(applied.genes):,} genes in {len(applied.samples):,} {plural('sample', len(applied.samples))}. How right it is "
        f"in them is not known, because no RNA of theirs was {lacking}; the numbers below come from training samples that were held out."
    )
    return Verdict("unknown", sentence, tiles, warnings, " ".join(remarks))


def expected_tiles(applied: Applied, summary: Summary) -> list[tuple[str, str]]:
    """Return the numbers of a family's box: size, width of intervals, samples like those of training, genes inside intervals."""
    count, sure = len(applied.samples), f"{percent(applied.confidence)} interval"
    tiles = [(f"{count:,} × {len(applied.genes):,}", "samples × genes predicted")]
    if not np.isnan(summary.mean_width).all():
        tiles.append((number(float(np.nanmean(summary.mean_width)), 2), f"mean width of the {sure}, {applied.unit}"))
    tiles.append((f"{count - int(applied.outside.sum()):,} of {count:,}", "samples lie inside what training saw"))
    if applied.calibration and len(applied.calibration.judged):
        tiles.append((percent(float(np.nanmean(applied.calibration.coverage))), f"of genes in their {sure}, training samples held out"))
    if not np.isnan(summary.coverage).all():
        tiles.append((percent(float(np.nanmean(summary.coverage))), f"of genes in their {sure}, these samples"))
    return tiles


def width_remark(applied: Applied, summary: Summary) -> list[str]:
    """Say what a width on the logarithmic scale means for an expressed gene."""
    if np.isnan(summary.mean_width).all() or not applied.unit.startswith("log2("):
        return []
    times = 2 ** (float(np.nanmean(summary.mean_width)) / 2)
    return [
        f"An interval of this width reaches about {number(times, 2)}-fold up and down from its middle for a gene that is well expressed."
    ]


def held_out_remark(applied: Applied) -> list[str]:
    """Say how many genes of held-out training samples lay inside intervals, by group."""
    if applied.calibration is None or not len(applied.calibration.judged):
        return []
    means = [mean for _, mean, *_ in coverage_by_group(applied.calibration)]
    return [
        f"Of {len(applied.calibration.judged):,} training samples in {len(means):,} {plural('group', len(means))}, each held out with its group, "
        f"{middle_range(means)} of the genes (mean of a group) lay inside intervals made without that group; {percent(applied.confidence)} are promised."
    ]


def middle_range(shares: Sequence[float]) -> str:
    """Return "89.7 %" or "82.0 to 95.1 %"."""
    low, high = percent(float(min(shares))), percent(float(max(shares)))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def percent(share: float) -> str:
    """Return a share in percent, NA where there is none, whole numbers without a decimal."""
    return "NA" if np.isnan(share) else f"{100 * share:.1f}".removesuffix(".0") + " %"


def plural(noun: str, count: int) -> str:
    """Return "sample" for one, "samples" for any other number."""
    return noun if count == 1 else f"{noun}s"


def outside_warning(applied: Applied) -> list[str]:
    """Name the samples that are farther from training than any held-out sample was."""
    outside = [applied.samples[i] for i in np.argsort(-applied.distance, kind="stable") if applied.outside[i]]
    if not outside:
        return []
    lie = "lies" if len(outside) == 1 else "lie"
    return [
        f"{len(outside):,} of {len(applied.samples):,} samples {lie} outside what training saw: {name_some(outside)}. Intervals were "
        "measured on samples nearer to training; here they may be too narrow."
    ]


def seen_warning(applied: Applied) -> list[str]:
    """Name the samples whose open chromatin is that of a training sample: they are not new."""
    pairs = [f"{applied.samples[i]} ({applied.nearest[i]})" for i in np.flatnonzero(applied.distance < SAME)]
    if not pairs:
        return []
    return [
        f"{len(pairs):,} of {len(applied.samples):,} samples have the open chromatin of a training sample: {name_some(pairs)}. What "
        "is predicted for them was learned from their own RNA, and looks better than it would for a new sample."
    ]


def narrow_warning(applied: Applied, summary: Summary) -> list[str]:
    """Say that intervals hold fewer of the measured genes than they promise, if so."""
    if np.isnan(summary.coverage).all() or np.nanmean(summary.coverage) >= applied.confidence - TOO_NARROW:
        return []
    found = percent(float(np.nanmean(summary.coverage)))
    return [
        f"The intervals are too narrow for these samples: {found} of the measured genes lie in them, {percent(applied.confidence)} were promised."
    ]


def coverage_by_group(calibration: Calibration) -> list[tuple[str, float, float, float, int]]:
    """Return group, mean, lowest and highest coverage and number of its samples, the lowest mean first; a numbered group by its first sample."""
    order = sorted(calibration.judged, key=lambda k: (calibration.group[k], calibration.sample[k]))
    found = []
    for group, members in groupby(order, key=lambda k: calibration.group[k]):
        numbers = list(members)
        own = calibration.coverage[numbers]
        name = f"{calibration.sample[numbers[0]]}{f' +{len(own) - 1}' * (len(own) > 1)}" if group.isdigit() else group
        found.append((name, float(own.mean()), float(own.min()), float(own.max()), len(own)))
    return sorted(found, key=lambda one: (one[1], one[0]))
