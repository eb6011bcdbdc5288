"""The sections of the page on new samples: what was predicted for them, and what speaks for believing it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from exprcast.applied import Applied, Block, Calibration, Summary
from exprcast.applied_verdict import NO_INTERVALS, coverage_by_group, middle_range, percent, plural
from exprcast.bundle import ENSEMBLE
from exprcast.figures import BAD, DENSITY, MOST_BARS, PREDICTORS, TEXT, draw_density, name_samples, picture, shorten
from exprcast.methods import CITED
from exprcast.page import Cell, Picture, Pictures, Section, Sources, Table, Terms, Text, decimal, number
from exprcast.score_tables import SAMPLE_METRICS, Units
from exprcast.scoring import MODEL

MOST_DRAWN = 12  # samples in pictures, over all families
MOST_ROWS = 30  # samples with a row of their own in the picture of distances
MOST_TICKS = 40  # samples in one row of it, each a tick
MOST_GENES = 10  # that depart up, and down
GRID = (60, 80)  # cells of a picture of genes, (departure, mean)
UNCALLED, LOWER = (128, 138, 150), (205, 70, 140)  # a grey and a magenta that show on white and on black
COLUMN_TERMS = [
    ("nearest training sample", "The sample that the networks learned from whose open chromatin, over the whole genome, is most similar."),
    ("distance", "1 − cosine of the two; 0 is the same open chromatin."),
    (
        "place",
        "outside: farther from its nearest training sample than any training sample was when it was held out. What is said of errors was "
        "measured on samples that lay nearer.",
    ),
    (
        "interval width",
        "Median over genes of the width of the interval: how wide a range the level of a typical gene is thought to lie in.",
    ),
    ("expressed", "Genes predicted at 1 and more in the unit that is predicted; of log2(tpm + 1) that is 1 TPM and more."),
    ("higher, lower", "Genes whose whole interval lies above, or below, the gene's mean over the training samples."),
    (
        "r_gene_dev",
        "Correlation over genes of predicted and measured level, each minus the gene's training mean; r_gene: nothing taken away.",
    ),
    ("in interval", "Share of measured genes that lie in their interval."),
]
PICTURES = (
    "Every gene by its mean over the training samples (to the right: high) and by how far its predicted level departs from that mean (up: more here "
    "than usual), all samples on one scale. Blue is higher and magenta lower: there the gene's whole interval lies on one side of the mean. The "
    "stronger the colour, the more genes."
)
DEPARTURES = (
    "A gene is called higher or lower only if its interval excludes the gene's mean over the training samples. An interval misses now and then: "
    "of genes that are at their mean up to {miss} may be called all the same. Read the list as candidates."
)
NOT_JUDGED = "There are intervals, but whether they hold was not measured: it takes held-out training samples of more than one group."


def choose_drawn(applied: Applied, most: int) -> list[int]:
    """Return the numbers of up to so many samples, evenly from the nearest to the farthest; all of them in their order if they are few."""
    count = len(applied.samples)
    if count <= most:
        return list(range(count))
    order = np.argsort(applied.distance, kind="stable")  # NaN last
    return order[np.linspace(0, count - 1, most).round().astype(int)].tolist()


def samples_section(families: Sequence[tuple[Applied, Summary]], scores: Units) -> Section:
    """One row a sample: how near to training it lies, what was predicted, and how right it was where RNA is known."""
    tables = [samples_table(applied, summary, scores) for applied, summary in families]
    return Section("samples", "Sample by sample", [Terms("What the columns mean", COLUMN_TERMS), *tables])


def samples_table(applied: Applied, summary: Summary, scores: Units) -> Table:
    """Return one family's table of samples."""
    head = ["sample", "nearest training sample", "distance", "place", "interval width", "expressed", "higher", "lower"]
    metrics = [metric for metric in SAMPLE_METRICS if (applied.family, metric, MODEL) in scores]
    measured = bool(summary.measured.any())
    head += [*metrics, *(("mse", "in interval") if measured else ())]
    rows = []
    for i, sample in enumerate(applied.samples):
        row = [sample, applied.nearest[i], decimal(applied.distance[i]), Cell("outside", kind="bad") if applied.outside[i] else "inside"]
        row += [decimal(summary.median_width[i]), *(f"{int(n[i]):,}" for n in (summary.expressed, summary.higher, summary.lower))]
        row += [decimal(scores[applied.family, metric, MODEL].get(sample, np.nan)) for metric in metrics]
        rows.append([*row, *((decimal(summary.mse[i]), percent(summary.coverage[i])) if measured else ())])
    caption = f"{applied.family}: {len(rows):,} samples, {len(applied.genes):,} genes each; widths and errors in {applied.unit}"
    return Table(caption, head, rows, words=(1, 3))


def distance_section(families: Sequence[Applied]) -> Section:
    """How near the new samples lie to training, beside how near held-out training samples lay; one picture where families agree."""
    text = Text(
        "How unlike each sample's open chromatin is to that of the most similar training sample. The errors behind the intervals were measured on "
        "training samples that were held out, at the distances in the first row."
    )
    drawn = [one for k, one in enumerate(families) if not any(same_distances(one, other) for other in families[:k])]
    return Section("distance", "How near to training", [text, Pictures([distance_picture(one) for one in drawn])])


def same_distances(one: Applied, other: Applied) -> bool:
    """Say whether two families would give the same picture of distances."""
    held_out = [[] if family.calibration is None else family.calibration.distance for family in (one, other)]
    return (
        one.samples == other.samples
        and np.array_equal(one.distance, other.distance, equal_nan=True)
        and np.array_equal(*held_out, equal_nan=True)
    )


def distance_picture(applied: Applied) -> Picture:
    """Draw a tick for each held-out training sample, and below them the new samples, named where they are few."""
    held_out = applied.calibration.distance[~np.isnan(applied.calibration.distance)] if applied.calibration else np.empty(0)
    order = np.argsort(applied.distance, kind="stable")
    single = len(order) <= MOST_ROWS
    rows = np.arange(1, len(order) + 1) if single else np.ones(len(order))
    names = [shorten(applied.samples[i]) for i in order] if single else [f"{len(order):,} new samples"]

    def paint(axes: Axes) -> None:
        paint_spread(axes, held_out, 0, PREDICTORS["mean"])
        for far, shade in ((False, PREDICTORS[MODEL]), (True, BAD)):
            which = applied.outside[order] == far
            if single:
                axes.plot(applied.distance[order][which], rows[which], "o", color=shade, markersize=6, clip_on=False, zorder=3)
            else:
                paint_spread(axes, applied.distance[order][which], 1, shade)
        if len(held_out):
            axes.axvline(held_out.max(), color=TEXT, linewidth=0.8, linestyle="--")
        axes.set_yticks(range(len(names) + 1), ["training, held out" if len(held_out) else "", *names])
        axes.set_ylim(len(names) + 0.6, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("distance to the nearest training sample (1 − cosine)")

    outside = int(applied.outside.sum())
    told = f"red: {outside:,} of {len(order):,} new samples, outside" if outside else f"none of {len(order):,} new samples lies outside"
    what = f"{len(held_out):,} training samples, each when it was held out; dashed: the farthest of them; " * bool(len(held_out))
    height = 70 + (22 * (len(names) + 1) if single else 100)
    return picture(
        f"{applied.family} distances", paint, f"Distances to training; {told}", f"{applied.family}: {what}{told}.", "wide", height
    )


def paint_spread(axes: Axes, values: np.ndarray, row: float, shade: str) -> None:
    """Draw a tick for each value in a row of its own, or a histogram in that row where they are many."""
    if len(values) <= MOST_TICKS:
        axes.vlines(values, row - 0.3, row + 0.3, color=shade, linewidth=1.5)
    else:
        counts, edges = np.histogram(values[~np.isnan(values)], bins=40)
        axes.stairs(row + 0.4 - 0.8 * counts / counts.max(), edges, baseline=row + 0.4, fill=True, color=shade)


def predictions_section(families: Sequence[tuple[Applied, Summary]]) -> Section:
    """Sample by sample, how predicted levels depart from the training mean, and beside the measured level where that is known."""
    blocks: list = [Text(PICTURES)]
    for applied, summary in families:
        blocks += [Pictures(departure_pictures(applied, summary)), *not_drawn(applied, summary)]
        observed = [observed_picture(applied, summary, i, block) for i, block in summary.drawn.items() if summary.measured[i]]
        blocks += [Pictures(observed)] if observed else []
    return Section("predictions", "What was predicted", blocks)


def departure_pictures(applied: Applied, summary: Summary) -> list[Picture]:
    """Draw each sample that is to be drawn, all on one scale: (predicted − training mean) over the training mean."""
    mean, known = applied.training_mean, ~np.isnan(applied.training_mean)
    departures = {i: block.predicted[0] - mean for i, block in summary.drawn.items()}
    most = max((float(np.nanmax(np.abs(one), initial=0)) for one in departures.values()), default=0) or 1.0
    limits = (float(mean[known].min(initial=0)), float(mean[known].max(initial=1))), (-most, most)
    pictures = []
    for i, block in summary.drawn.items():
        called = (block.low[0] > mean).astype(int) - (block.high[0] < mean)  # (genes,) 1 higher, −1 lower
        sample, sure = applied.samples[i], not np.isnan(summary.median_width[i])
        told = f"{int(summary.higher[i]):,} genes higher, {int(summary.lower[i]):,} lower" if sure else "no intervals"
        name, alt = f"{applied.family} {sample} departures", f"Predicted levels of {sample} against the training mean: {told}"
        pictures.append(draw_departures(name, mean, departures[i], called, limits, alt, f"{applied.family}, {sample}: {told}."))
    return pictures


def draw_departures(
    name: str, mean: np.ndarray, departure: np.ndarray, called: np.ndarray, limits: tuple[tuple[float, float], ...], alt: str, caption: str
) -> Picture:
    """Genes by training mean (x) and departure from it (y): the stronger the colour, the more; in colour what is called higher or lower."""

    def paint(axes: Axes) -> None:
        known = ~np.isnan(departure)
        image = np.zeros((*GRID, 4), dtype=np.uint8)
        for which, shade in ((0, UNCALLED), (1, DENSITY), (-1, LOWER)):
            own = known & (called == which)
            counts = np.histogram2d(departure[own], mean[own], bins=GRID, range=limits[::-1])[0]  # (departure, mean)
            strength = (80 + 175 * np.log1p(counts) / np.log1p(max(counts.max(), 1))).astype(np.uint8)
            image[counts > 0] = np.concatenate([np.broadcast_to(shade, (*GRID, 3)), strength[..., None]], axis=2)[counts > 0]
        axes.imshow(image, origin="lower", extent=(*limits[0], *limits[1]), interpolation="none", aspect="auto", zorder=2)
        axes.axhline(0, color=TEXT, linewidth=0.8, linestyle="--")
        axes.set_xlabel("training mean")
        axes.set_ylabel("predicted − mean")

    return picture(name, paint, alt, caption, "small")


def observed_picture(applied: Applied, summary: Summary, i: int, block: Block) -> Picture:
    """Draw one sample's predicted against its measured levels."""
    sample, labels = applied.samples[i], (f"observed, {applied.unit}", f"predicted, {applied.unit}")
    alt = f"Predicted against observed levels of {sample}"
    caption = f"{applied.family}, {sample}: predicted against measured, mean squared error {number(summary.mse[i], 2)}. Dashed: both alike."
    return draw_density(f"{applied.family} {sample} observed", block.predicted[0], block.observed[0], labels, alt, caption)


def not_drawn(applied: Applied, summary: Summary) -> list[Terms]:
    """Name the samples that have no picture."""
    names = [sample for i, sample in enumerate(applied.samples) if i not in summary.drawn]
    said = f"{applied.family}: {len(summary.drawn):,} of {len(applied.samples):,} samples are drawn, evenly from the nearest to training to the farthest"
    return [Terms(said, [("not drawn", ", ".join(names))])] if names else []


def departures_section(families: Sequence[tuple[Applied, Summary]]) -> Section:
    """The genes that depart most from their training mean in each sample that is drawn."""
    first = families[0][0]
    blocks: list = [Text(DEPARTURES.format(miss=percent(1 - first.confidence)))]
    for applied, summary in families:
        rows = [row for i, block in summary.drawn.items() for row in departing_rows(applied, i, block, bool(summary.measured.any()))]
        head = ["sample", "gene", "id", "called", "predicted − training mean", "predicted", "interval", "training mean"]
        head += ["observed"] if summary.measured.any() else []
        caption = (
            f"{applied.family}: up to {MOST_GENES} genes up and {MOST_GENES} down in each of {len(summary.drawn):,} samples, {applied.unit}"
        )
        blocks.append(
            Table(caption, head, rows, words=(1, 2, 3)) if rows else Text(f"{applied.family}: no gene is called in any sample drawn.")
        )
    return Section("departures", "Genes that depart most from the training mean", blocks)


def departing_rows(applied: Applied, i: int, block: Block, measured: bool) -> list[list[Cell | str]]:
    """Return one sample's genes that depart most up, then down; without intervals the farthest, not called so."""
    low, high, predicted, observed = (matrix[0] for matrix in (block.low, block.high, block.predicted, block.observed))
    departure, sure = predicted - applied.training_mean, ~np.isnan(low).all()
    up, down = (low > applied.training_mean, high < applied.training_mean) if sure else (departure > 0, departure < 0)
    rows = []
    for which, sign, word in ((up, -1, "higher"), (down, 1, "lower")):
        genes = np.flatnonzero(which)
        for k in genes[np.argsort(sign * departure[genes], kind="stable")][:MOST_GENES]:
            interval = f"{decimal(low[k])} to {decimal(high[k])}" if sure else "NA"
            row = [applied.samples[i], applied.symbol[k] or applied.genes[k], applied.genes[k], word if sure else "–"]
            row += [decimal(departure[k]), decimal(predicted[k]), interval, decimal(applied.training_mean[k])]
            rows.append([*row, *([decimal(observed[k])] if measured else [])])
    return rows


def coverage_section(families: Sequence[Applied]) -> Section:
    """How many genes of held-out training samples lay inside their intervals, group by group."""
    text = Text(
        "Each training sample was held out together with its group, and its intervals were made from the errors in the other groups: as it is for a "
        "new sample. Bars show the mean share of genes inside, lines the lowest and highest sample; dashed is what is promised."
    )
    calibrated = [(applied, applied.calibration) for applied in families if applied.calibration]
    pictures = [coverage_picture(applied, one) for applied, one in calibrated if len(one.judged)]
    nothing = Text(NOT_JUDGED if calibrated else NO_INTERVALS, "warn")
    return Section("coverage", "Do the intervals hold?", [text, Pictures(pictures)] if pictures else [nothing])


def coverage_picture(applied: Applied, calibration: Calibration) -> Picture:
    """Draw a bar a group, the lowest first; beyond 60 groups the lowest 60."""
    groups = coverage_by_group(calibration)
    names, mean, low, high, _ = zip(*groups[:MOST_BARS], strict=True)

    def paint(axes: Axes) -> None:
        x = np.arange(len(names))
        axes.bar(x, 100 * np.array(mean), width=0.7, color=PREDICTORS[MODEL], alpha=0.6)
        axes.vlines(x, 100 * np.array(low), 100 * np.array(high), color=TEXT, linewidth=1.2)
        axes.axhline(100 * applied.confidence, color=TEXT, linewidth=0.8, linestyle="--")
        name_samples(axes, names)
        axes.set_ylim(0, 100)
        axes.set_ylabel("genes in their interval, %")

    shown = (
        f"the lowest {MOST_BARS} of {len(groups):,} groups"
        if len(groups) > MOST_BARS
        else f"{len(groups):,} {plural('group', len(groups))}"
    )
    caption = f"{applied.family}: {shown}, {sum(one[4] for one in groups):,} held-out training samples; mean {percent(float(np.nanmean(calibration.coverage)))}."
    alt = f"Share of genes inside their intervals, {shown}: {middle_range([one[1] for one in groups])}"
    return picture(f"{applied.family} coverage", paint, alt, caption, "wide")


def applied_methods_section(families: Sequence[Applied]) -> Section:
    """How the predictions came about, to be copied into a paper, and its sources."""
    first = families[0]
    paragraphs = [f"{one.family} ({one.bundle}) predicts {one.unit}. {one.methods}" for one in families]
    paragraphs.append(
        "What was predicted is the mean over the networks of all folds and seeds of a bundle"
        + (f"; the {ENSEMBLE} is the weighted mean of its members" if first.family == ENSEMBLE else "")
        + f". An interval of {percent(first.confidence)} is made of the errors that were seen in training samples when they were held out with their "
        "group. The training mean is that of the samples that the networks learned from. All steps ran as tasks of exprcast under Nextflow (Di Tommaso et al. 2017)."
    )
    cited = [entry for name, entry in CITED.items() if any(name in one for one in paragraphs)]
    return Section("methods", "Methods and what to cite", [*map(Text, paragraphs), Sources(cited)])
