"""One gene's promoter: attributions and predictions → what its bases and its mRNA's features add to its prediction, with a sequence logo."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from exprcast.dataset import TEST, open_hdf5
from exprcast.figures import LINE, OTHER, PREDICTORS, TEXT, picture, shorten
from exprcast.page import Picture, Pictures, Section, Table, Text, number
from exprcast.results import Predictions, Shares
from exprcast.scoring import MODEL

LOGO_BP = 50
LETTERS = {"A": "#3a9a50", "C": "#3b7dd8", "G": "#d98a00", "T": "#d0524a"}  # as logos of the field have them; read on light and on dark
MOST_WORDS = 8
PANELS = {"mosaic": [["bases", "bases"], ["logo", "features"]], "width_ratios": [7, 3], "height_ratios": [2, 3]}


class Promoter(NamedTuple):
    """A gene in its fold's network, the mean over seeds."""

    family: str
    gene: str
    symbol: str
    label: str  # "" where there is one
    unit: str
    candidates: int
    observed: float
    predicted: float
    training_mean: float
    distance_bp: np.ndarray  # (bases,) from the start site, negative upstream
    codes: np.ndarray  # (bases,) A C G T N = 0…4
    shares: np.ndarray  # (bases,) what the base that stands there adds
    features: dict[str, float]  # half-life feature → what it adds


class Values(NamedTuple):
    """What one label's test genes had, (genes,) each."""

    observed: np.ndarray
    predicted: np.ndarray
    training_mean: np.ndarray


def read_promoters(shares: Sequence[Shares], families: Sequence[Predictions], symbols: Mapping[str, str]) -> list[Promoter]:
    """Return one gene's promoter for each family that reads bases; symbols {gene: its name}."""
    found = []
    for family in families:
        own = [one for one in shares if one.facts.get("family") == family.family and one.words]
        if own and family.axes == "genes":
            values = read_values(family.path)
            places = explained_genes(own)
            gene, candidates = best_gene({name: values[name] for name in places if name in values})
            if gene:
                found.append(read_promoter(own[0].facts, gene, symbols.get(gene) or gene, candidates, places[gene], values[gene]))
    return found


def read_values(path: Path) -> dict[str, Values]:
    """Return what was observed and predicted of each tested gene's first label, and the training mean."""
    with open_hdf5(path, "predictions") as file:
        test = file["role"][:, 0] == TEST  # (folds, genes)
        tested = np.flatnonzero(test.any(axis=0))
        fold = test[:, tested].argmax(axis=0)
        predicted = file["predicted"][:, :, 0].mean(axis=1)[fold, tested]
        mean = np.broadcast_to(file["training_mean"][:], file["role"].shape)[:, 0][fold, tested]
        names, observed = file["columns"].asstr()[:][tested], file["observed"][0, tested]
    rows = zip(names, observed.tolist(), predicted.tolist(), mean.tolist(), strict=True)
    return {name: Values(*numbers) for name, *numbers in rows if not np.isnan(numbers).any()}


def explained_genes(shares: Sequence[Shares]) -> dict[str, list[tuple[Path, int]]]:
    """Return {gene: where its shares stand}, one place a seed."""
    places: dict[str, list[tuple[Path, int]]] = {}
    for one in shares:
        with open_hdf5(one.path, "attributions") as file:
            for number_of, gene in enumerate(file["column"].asstr()[:]):
                places.setdefault(gene, []).append((one.path, number_of))
    return places


def best_gene(values: dict[str, Values]) -> tuple[str, int]:
    """Return the gene whose departure from the training mean is predicted best ("" if none is), and how many were to choose from.

    The smaller of what was observed and what was predicted counts, where both go the same way.
    """

    def told(name: str) -> float:
        observed, predicted, mean = values[name]
        return min(abs(observed - mean), abs(predicted - mean)) * np.sign((observed - mean) * (predicted - mean))

    best = max(sorted(values), key=told, default="")
    return (best if best and told(best) > 0 else ""), len(values)


def read_promoter(
    facts: dict[str, object], gene: str, symbol: str, candidates: int, places: list[tuple[Path, int]], values: Values
) -> Promoter:
    """Return one gene's bases and shares."""
    shares, features = [], []
    for path, place in places:
        with open_hdf5(path, "attributions") as file:
            codes = file["sequence"][place]
            shares.append(file["shares/window"][place])
            names = [str(name) for name in file["shares/halflife"].attrs["names"]] if "shares/halflife" in file else []
            features.append(file["shares/halflife"][place] if names else np.empty(0))
    distance = np.arange(len(codes)) - int(facts["flank_bp"])
    worth = dict(zip(names, np.mean(features, axis=0).tolist(), strict=True))
    told = str(facts["family"]), gene, symbol, str(facts.get("label", "")), str(facts["unit"])
    return Promoter(*told, candidates, *values, distance, codes, np.mean(shares, axis=0), worth)


def promoter_section(promoters: Sequence[Promoter], shares: Sequence[Shares]) -> Section:
    """One gene a family: its bases, the most telling of them as a logo, its half-life features; and the words that count most over all genes."""
    blocks: list = []
    for one in promoters:
        blocks += [Text(chosen_because(one)), Pictures([promoter_picture(one)])]
    for family in sorted({str(one.facts["family"]) for one in shares if one.words}):
        blocks += word_tables(family, [one for one in shares if one.facts["family"] == family])
    return Section("promoter", "Promoters, base by base", blocks)


def chosen_because(one: Promoter) -> str:
    """Say which gene it is and why this one."""
    name = one.symbol if one.symbol == one.gene else f"{one.symbol} ({one.gene})"
    label = f"{one.label}: " * bool(one.label)
    return (
        f"{one.family}: {name}, the best and not a typical example: of {one.candidates:,} explained test genes it departs furthest from the training mean both as "
        f"predicted and as observed. {label}observed {number(one.observed)}, predicted {number(one.predicted)}, training mean {number(one.training_mean)} ({one.unit})."
    )


def promoter_picture(one: Promoter) -> Picture:
    """Draw all bases, the most telling ones as letters, and the features."""
    start = logo_start(one.shares)
    most = max(np.abs(one.shares).max(), 1e-12)

    def paint(panels: dict[str, Axes]) -> None:
        paint_bases(panels["bases"], one, start, most)
        paint_logo(panels["logo"], one, start)
        paint_features(panels["features"], one.features)

    where = f"{one.distance_bp[start]:,} to {one.distance_bp[min(start + LOGO_BP, len(one.shares)) - 1]:,} bp from the start site"
    caption = (
        f"Above: what the base that stands at each place adds to the prediction (up, blue) or takes away (down, magenta), compared with the base "
        f"frequencies around silent genes. Below: the {LOGO_BP} bases whose shares are largest ({where}), read along the gene; what its mRNA's features add. "
        f"Bases sum to {number(float(one.shares.sum()), 2)}, features to {number(sum(one.features.values()), 2)}."
    )
    return picture(f"{one.family} promoter", paint, f"Shares of the bases and features of {one.symbol}", caption, "wide", 400, PANELS)


def logo_start(shares: np.ndarray) -> int:
    """Return where the LOGO_BP bases begin whose shares are largest in sum, whatever their sign."""
    if len(shares) <= LOGO_BP:
        return 0
    return int(np.lib.stride_tricks.sliding_window_view(np.abs(shares), LOGO_BP).sum(axis=1).argmax())


def paint_bases(axes: Axes, one: Promoter, start: int, most: float) -> None:
    """One bar a base, the start site, and where the logo is."""
    edges = np.append(one.distance_bp, one.distance_bp[-1] + 1)
    for part, shade in ((np.maximum(one.shares, 0), PREDICTORS[MODEL]), (np.minimum(one.shares, 0), OTHER)):
        axes.stairs(part, edges, fill=True, color=shade, linewidth=0.4)
    axes.axvline(0, color=TEXT, linewidth=0.8, linestyle="--")
    axes.axvspan(one.distance_bp[start], one.distance_bp[start] + min(LOGO_BP, len(one.shares)), color=LINE, alpha=0.5, zorder=0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-1.1 * most, 1.1 * most)
    axes.set_ylabel("share")
    axes.set_title(f"{shorten(one.symbol, 40)}: distance to the start site in bp (below 0: upstream)", loc="left", size=10.5, color=TEXT)


def paint_logo(axes: Axes, one: Promoter, start: int) -> None:
    """Letters as high as what they add; those that take away hang below the line."""
    part = slice(start, start + LOGO_BP)
    highest = max(np.abs(one.shares[part]).max(), 1e-12)
    for place, code, share in zip(one.distance_bp[part], one.codes[part], one.shares[part], strict=True):
        if code < len(LETTERS) and abs(share) > 0.01 * highest:
            letter = "ACGT"[code]
            outline = TextPath((0, 0), letter, size=1)
            box = outline.get_extents()
            scale = Affine2D().translate(-box.x0, -box.y0).scale(0.92 / box.width, share / box.height).translate(place, 0)
            axes.add_patch(PathPatch(scale.transform_path(outline), facecolor=LETTERS[letter], linewidth=0))
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.set_xlim(one.distance_bp[start], one.distance_bp[start] + min(LOGO_BP, len(one.shares)))
    axes.set_ylim(-1.1 * highest, 1.1 * highest)
    axes.set_ylabel("share")
    axes.grid(False)


def paint_features(axes: Axes, features: dict[str, float]) -> None:
    """One bar a half-life feature, the first on top."""
    names, values = list(features), np.array(list(features.values()))
    shades = [PREDICTORS[MODEL] if value > 0 else OTHER for value in values]
    axes.barh(np.arange(len(names)), values, color=shades, height=0.6)
    axes.set_yticks(np.arange(len(names)), [shorten(name, 16) for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color=LINE, linewidth=0.8)
    axes.grid(False, axis="y")


def word_tables(family: str, shares: Sequence[Shares]) -> list[Text | Table]:
    """Return the words that raise and that lower a family's predictions most, over the networks in whose list they stand."""
    gathered: dict[str, list[tuple[float, int]]] = {}
    for one in shares:
        for word, told in one.words.items():
            gathered.setdefault(word, []).append(told)
    rows = []
    for word, told in gathered.items():
        mean, places = np.average([share for share, _ in told], weights=[count for _, count in told]), sum(count for _, count in told)
        rows.append((mean, [word, number(mean, 2), f"{len(told)} of {len(shares)}", f"{places:,}"]))
    rows.sort(key=lambda row: -row[0] * len(gathered[row[1][0]]))
    head = ["word", "mean sum of its shares", "networks that list it", "places"]
    chosen = [row for _, row in rows[:MOST_WORDS]] + [row for _, row in rows[-MOST_WORDS:] if len(rows) > 2 * MOST_WORDS]
    told = "words of eight bases, read along the gene: those that raise predictions most, then those that lower them, wherever in the window they stand."
    return [Text(f"{family}: {told}"), Table(f"{family}: words", head, chosen)]
