"""A gene's locus as a picture: open bins and their shares around the start site, one sample above the other, values beside."""

import numpy as np
from matplotlib.axes import Axes

from exprcast.figures import LINE, OTHER, PREDICTORS, TEXT, picture, shorten
from exprcast.page import Picture, number
from exprcast.results import Locus, LocusSample
from exprcast.scoring import MODEL

PANELS = {
    "mosaic": [["signal0", "value0"], ["share0", "value0"], ["signal1", "value1"], ["share1", "value1"]],
    "width_ratios": [7, 2], "height_ratios": [3, 2, 3, 2],
}  # fmt: skip


def draw_locus(name: str, locus: Locus, alt: str, caption: str) -> Picture:
    """Two samples one above the other: open bins, each bin's share below, what was observed and predicted beside."""
    signal = max(one.signal.max(initial=0) for one in locus.samples) or 1
    share = max(np.abs(one.shares).max() for one in locus.samples) or 1
    values = [value for one in locus.samples for value in (one.observed, one.predicted, one.training_mean)]
    margin = 0.15 * (max(values) - min(values)) or 1

    def paint(panels: dict[str, Axes]) -> None:
        for i, (one, word) in enumerate(zip(locus.samples, ("highest", "lowest"), strict=True)):
            paint_signal(panels[f"signal{i}"], one, locus, f"{shorten(one.sample, 40)}, where {shorten(locus.symbol)} is {word}", signal)
            paint_shares(panels[f"share{i}"], one, locus, share)
            paint_values(panels[f"value{i}"], one, (min(values) - margin, max(values) + 2 * margin), locus.unit)
        panels["share1"].set_xlabel(f"distance to the TSS of {shorten(locus.symbol)}, {locus.place}, in kb (below 0: upstream)")

    return picture(name, paint, alt, caption, "wide", 470, PANELS)


def paint_signal(axes: Axes, one: LocusSample, locus: Locus, title: str, most: float) -> None:
    """One stroke an open bin, the TSS, and the start sites of other genes on the ground line."""
    x = (one.start_bp + locus.bin_bp / 2) / 1000
    strokes = np.stack([x, x, np.full(len(x), np.nan)], axis=1), np.stack([np.zeros(len(x)), one.signal, np.zeros(len(x))], axis=1)
    axes.plot(*map(np.ravel, strokes), color=TEXT, linewidth=1.1, solid_capstyle="butt")
    if len(locus.others_bp):  # an empty line outside the frame has no place, and matplotlib loses the layout
        axes.plot(
            locus.others_bp / 1000, np.zeros(len(locus.others_bp)), "^", color=PREDICTORS["ridge"], markersize=4, clip_on=False, zorder=3
        )
    axes.set_title(title, loc="left", size=10.5, color=TEXT)
    axes.set_ylim(0, 1.1 * most)
    axes.set_ylabel("signal")
    axes.annotate("TSS →", (0, 1.08 * most), xytext=(3, 0), textcoords="offset points", va="top", size=10)
    mark_tss(axes, locus, one)
    axes.tick_params(labelbottom=False)


def paint_shares(axes: Axes, one: LocusSample, locus: Locus, most: float) -> None:
    """What each bin of the window adds (up) or takes away (down)."""
    edges = np.arange(len(one.shares) + 1) * locus.window_bp / 1000 - len(one.shares) * locus.window_bp / 2000
    for part, shade in ((np.maximum(one.shares, 0), PREDICTORS[MODEL]), (np.minimum(one.shares, 0), OTHER)):
        axes.stairs(part, edges, fill=True, color=shade, linewidth=0.8)
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.set_ylim(-1.1 * most, 1.1 * most)
    axes.set_ylabel("share")
    mark_tss(axes, locus, one)


def mark_tss(axes: Axes, locus: Locus, one: LocusSample) -> None:
    """Draw the start site over the whole window, and the window's ends."""
    flank = len(one.shares) * locus.window_bp / 2000
    axes.axvline(0, color=TEXT, linewidth=0.8, linestyle="--")
    axes.set_xlim(-flank, flank)


def paint_values(axes: Axes, one: LocusSample, limits: tuple[float, float], unit: str) -> None:
    """Observed and predicted, with a line at the training mean."""
    axes.axhline(one.training_mean, color=PREDICTORS["mean"], linewidth=1.6)
    for x, (value, shade) in enumerate(((one.observed, TEXT), (one.predicted, PREDICTORS[MODEL]))):
        axes.plot(x, value, "o", color=shade, markersize=8)
        axes.annotate(number(value), (x, value), xytext=(0, 7), textcoords="offset points", ha="center", size=10)
    axes.set_xticks((0, 1), ("observed", "predicted"))
    axes.set_xlim(-0.7, 1.7)
    axes.set_ylim(*limits)
    axes.set_ylabel(shorten(unit))
    axes.grid(False, axis="x")
