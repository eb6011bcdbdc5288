"""The report's pictures: plain arrays in, inline SVG out; the page's own colours, so that they read on light and on dark.

Colours are placeholders while matplotlib draws; afterwards each becomes a variable of the page's style sheet. Dense layers are
small images inside the SVG. The same values give the same bytes.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullFormatter

from exprcast.metrics import Estimate
from exprcast.page import Picture, number
from exprcast.results import History
from exprcast.scoring import MODEL

TEXT, LINE = "#010101", "#010102"
PREDICTORS = {
    MODEL: "#010103",
    "mean": "#010104",
    "ridge": "#010105",
    "nearest": "#010106",
    "rule": "#010107",
    "kernel": "#01010a",
    "trees": "#01010b",
}
OTHER, BAD = "#010108", "#010109"
DASHES = {"shuffled": ":"}  # tell apart what has no colour of its own
MOST_IN_LINE = 5  # names of a legend
PLACEHOLDERS = {TEXT: "currentColor", LINE: "var(--line)", OTHER: "var(--other)", BAD: "var(--worse)"} | {
    colour: f"var(--{name})" for name, colour in PREDICTORS.items()
}
DENSITY = (70, 140, 235)  # a blue that shows on white and on black
STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 10.5, "axes.labelsize": 10.5, "xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10,
    "legend.frameon": False, "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": LINE, "xtick.color": TEXT, "ytick.color": TEXT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.6, "axes.axisbelow": True,
    "xtick.major.size": 0, "ytick.major.size": 0, "ytick.minor.size": 0, "image.composite_image": False,
}  # fmt: skip
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
MOST_BARS = 60
MOST_SHADE, MOST_NARROW = 0.6, 6  # of a square, under its number; squares side by side in a picture of usual width
SIZES = {"small": (260, 190), "normal": (360, 320), "wide": (720, 290)}  # points; the page scales them


def picture(
    name: str,
    paint: Callable[..., None],
    alt: str,
    caption: str,
    size: str = "normal",
    height: float | None = None,
    panels: dict[str, object] | None = None,
) -> Picture:
    """Let `paint` draw into fresh axes (or {panel: axes}) and return the picture; `name` is unique in the page and seeds the ids inside."""
    with rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(SIZES[size][0] / 72, (height or SIZES[size][1]) / 72), layout="constrained")
        paint(figure.subplot_mosaic(**panels) if panels else figure.subplots())
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    return Picture(clean_svg(buffer.getvalue().decode()), alt, caption, size)


def clean_svg(svg: str) -> str:
    """Return the <svg> element alone, with page colours, without matplotlib's ids of groups and its style sheet."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    return re.sub(r"#0101[0-9a-f]{2}", lambda match: PLACEHOLDERS[match[0]], svg).strip()


def colour(predictor: str) -> str:
    """Return a predictor's colour, the same in every picture."""
    return PREDICTORS.get(predictor, OTHER)


def draw_intervals(
    name: str, estimates: dict[str, Estimate], label: str, alt: str, caption: str, kinds: Mapping[str, str] = MappingProxyType({})
) -> Picture:
    """One line a predictor: a dot and its interval; NA where there is none. `kinds` says whose colour a predictor takes instead of its own."""

    def paint(axes: Axes) -> None:
        for y, (name, estimate) in enumerate(reversed(estimates.items())):
            predictor = kinds.get(name, name)
            if np.isnan(estimate.value):
                axes.annotate("NA", (0, y), xytext=(4, 0), textcoords="offset points", va="center")
                continue
            axes.plot([estimate.low, estimate.high], [y, y], color=colour(predictor), linewidth=2.5)
            axes.plot(estimate.value, y, "o", color=colour(predictor), markersize=8 if predictor == MODEL else 6)
            axes.annotate(number(estimate.value, 2), (estimate.value, y), xytext=(0, 7), textcoords="offset points", ha="center")
        axes.axvline(0, color=TEXT, linewidth=0.8)
        axes.set_yticks(range(len(estimates)), [shorten(name) for name in reversed(estimates)])
        axes.set_ylim(-0.5, len(estimates) - 0.3)
        axes.margins(x=0.12)
        axes.grid(False, axis="y")
        axes.set_xlabel(label)

    return picture(name, paint, alt, caption, height=60 + 34 * len(estimates))


def draw_gains(name: str, names: Sequence[str], gains: np.ndarray, sure: np.ndarray, alt: str, caption: str) -> Picture:
    """One square a pair: what the name of its row has more than that of its column, bold where `sure`; (names, names), NaN = no number."""
    most = np.nanmax(np.abs(gains), initial=0, where=~np.isnan(gains)) or 1

    def paint(axes: Axes) -> None:
        for y, x in zip(*np.nonzero(~np.isnan(gains)), strict=True):
            shade = colour(MODEL) if gains[y, x] > 0 else BAD
            square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, alpha=MOST_SHADE * abs(gains[y, x]) / most, linewidth=0)
            axes.add_patch(square)
            axes.text(x, y, number(gains[y, x], 2), ha="center", va="center", size=9, weight="bold" if sure[y, x] else "normal")
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(False)

    size = "normal" if len(names) <= MOST_NARROW else "wide"
    return picture(name, paint, alt, caption, size, height=110 + 26 * len(names))


def draw_density(name: str, predicted: np.ndarray, observed: np.ndarray, labels: tuple[str, str], alt: str, caption: str) -> Picture:
    """Observed (x) against predicted (y), both on one scale: the stronger the colour, the more values."""
    known = ~(np.isnan(predicted) | np.isnan(observed))
    predicted, observed = predicted[known], observed[known]

    def paint(axes: Axes) -> None:
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if not len(observed):
            return say_empty(axes)
        low, high = min(observed.min(), predicted.min()), max(observed.max(), predicted.max())
        low, high = (low, high) if high > low else (low - 1, high + 1)
        counts = np.histogram2d(predicted, observed, bins=80, range=[[low, high]] * 2)[0]  # (predicted, observed)
        image = np.zeros((*counts.shape, 4), dtype=np.uint8)
        image[..., :3] = DENSITY
        image[..., 3] = np.where(counts > 0, 60 + 195 * np.log1p(counts) / np.log1p(counts.max()), 0)
        axes.imshow(image, origin="lower", extent=(low, high, low, high), interpolation="none", aspect="equal", zorder=2)
        axes.plot([low, high], [low, high], color=TEXT, linewidth=0.8, linestyle="--")

    return picture(name, paint, alt, caption)


def draw_bars(
    name: str, ids: Sequence[str], model: np.ndarray, rule: np.ndarray, rule_name: str, label: str, alt: str, caption: str
) -> Picture:
    """One bar a sample for the model, sorted, with a line across it for a baseline."""
    order = np.argsort(np.where(np.isnan(model), np.inf, -model), kind="stable")

    def paint(axes: Axes) -> None:
        x = np.arange(len(ids))
        axes.bar(x, model[order], width=0.75, color=colour(MODEL), alpha=0.75, label=MODEL)
        if not np.isnan(rule).all():
            axes.hlines(rule[order], x - 0.42, x + 0.42, color=colour(rule_name), linewidth=2.5, label=rule_name)
        axes.axhline(0, color=TEXT, linewidth=0.8)
        name_samples(axes, [ids[i] for i in order])
        axes.set_ylabel(label)
        show_legend(axes)

    return picture(name, paint, alt, caption, size="wide")


def draw_reads(
    name: str, ids: Sequence[str], mapped: np.ndarray, genes: np.ndarray, bad: np.ndarray, least: float, alt: str, caption: str
) -> Picture:
    """A bar a sample for the share of reads mapped, a dot for its genes as a part of the median; what is bad in red."""

    def paint(axes: Axes) -> None:
        x = np.arange(len(ids))
        for which, shade, word in ((~bad, TEXT, "reads mapped, share"), (bad, BAD, None)):
            axes.bar(x, np.where(which, mapped, np.nan), width=0.75, color=shade, alpha=0.35, label=word)
        for which, shade, word in ((~bad, TEXT, "genes detected, 1 = median"), (bad, BAD, None)):
            axes.plot(x, np.where(which, genes, np.nan), "o", color=shade, markersize=5, label=word)
        axes.axhline(least, color=TEXT, linewidth=0.8, linestyle="--")
        name_samples(axes, ids)
        for label, one in zip(axes.get_xticklabels(), bad, strict=True):
            label.set_color(BAD if one else TEXT)
        axes.set_ylim(bottom=0)
        show_legend(axes)

    return picture(name, paint, alt, caption, size="wide")


def name_samples(axes: Axes, ids: Sequence[str]) -> None:
    """Write each sample's id below its place, upright where there are many."""
    crowded = len(ids) > 6 or max(map(len, ids), default=0) > 12
    axes.set_xticks(range(len(ids)), [shorten(one) for one in ids], rotation=90 if crowded else 0, size=10 if len(ids) <= 40 else 8)
    axes.set_xlim(-0.6, max(len(ids), 8) - 0.4)
    axes.grid(False, axis="x")


def draw_histogram(name: str, values: dict[str, np.ndarray], labels: tuple[str, str], alt: str, caption: str) -> Picture:
    """Outlines of how the values (correlations, −1 to 1) of several predictors are spread."""
    values = {predictor: r[~np.isnan(r)] for predictor, r in values.items() if not np.isnan(r).all()}

    def paint(axes: Axes) -> None:
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.set_xlim(-1, 1)
        if not values:
            return say_empty(axes)
        edges = np.linspace(-1, 1, 41)
        for predictor, r in values.items():
            counts = np.histogram(r, edges)[0]
            axes.stairs(
                counts,
                edges,
                color=colour(predictor),
                label=predictor,
                linestyle=DASHES.get(predictor, "-"),
                linewidth=2 if predictor == MODEL else 1.3,
                zorder=3 if predictor == MODEL else 2,
            )
            if predictor == MODEL:
                axes.stairs(counts, edges, fill=True, alpha=0.25, color=colour(MODEL))
        axes.axvline(0, color=TEXT, linewidth=0.8)
        show_legend(axes)

    return picture(name, paint, alt, caption)


def draw_curves(
    name: str, histories: Sequence[History], limits: tuple[float, float], alt: str, caption: str, size: str = "small"
) -> Picture:
    """Training and validation loss by epoch; a restart after a collapse begins a new line."""

    def paint(axes: Axes) -> None:
        for history in histories:
            epoch = np.arange(1, len(history.seeds) + 1)
            for part in np.split(np.arange(len(epoch)), np.flatnonzero(np.diff(history.seeds)) + 1):
                axes.plot(epoch[part], history.train_loss[part], color=PREDICTORS["mean"], linewidth=1.1, label="training")
                axes.plot(epoch[part], history.valid_loss[part], color=PREDICTORS[MODEL], linewidth=1.6, label="validation")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if np.isfinite(limits).all() and limits[1] > limits[0]:
            axes.set_ylim(*limits)
            if 0 < limits[0] < limits[1] / 20:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter("{x:g}")
        show_legend(axes)

    return picture(name, paint, alt, caption, size=size)


def draw_distance(name: str, distance_bp: np.ndarray, share: np.ndarray, unit: str, alt: str, caption: str) -> Picture:
    """Mean |share| of a bin against its distance to the TSS."""

    def paint(axes: Axes) -> None:
        axes.fill_between(distance_bp / 1000, share, color=colour(MODEL), alpha=0.3, linewidth=0)
        axes.plot(distance_bp / 1000, share, color=colour(MODEL), linewidth=1.4)
        axes.set_xlim(distance_bp.min() / 1000, distance_bp.max() / 1000)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("distance to the TSS in kb (below 0: upstream)")
        axes.set_ylabel(f"mean |share| in {shorten(unit)}")

    return picture(name, paint, alt, caption)


def show_legend(axes: Axes) -> None:
    """Name each colour once, above the picture, the model first."""
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = sorted(named, key=lambda name: name != MODEL)
    axes.legend(
        [named[name] for name in order],
        order,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=min(len(order), MOST_IN_LINE),
        borderpad=0,
        columnspacing=1,
        handlelength=1.2,
    )


def say_empty(axes: Axes) -> None:
    """Say in an empty picture that it is empty."""
    axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center")


def shorten(identifier: str, most: int = 22) -> str:
    """Return an id, its middle left out if it is long (the ends of sample names tell them apart)."""
    return identifier if len(identifier) <= most else f"{identifier[: most // 2]}…{identifier[-(most - most // 2 - 1) :]}"
