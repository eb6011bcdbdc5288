"""The report's part on splicing factors: what each adds to the shares of the isoforms that are explained, as a picture and a table.

A share is counted from the training mean of the factor, so its sign turns where a sample lies on the other side of that mean: medians over samples and
how many samples agree are shown, never a sum. What a prediction loses when a factor is halved is asked of every sample alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import h5py
import numpy as np
from matplotlib.axes import Axes

from exprcast.cli import InputError
from exprcast.dataset import Dataset, open_hdf5
from exprcast.figures import DENSITY, picture, shorten
from exprcast.page import Cell, Picture, Pictures, Table, Text, number
from exprcast.results import FACTORS, Shares

LOST = "knocked_down/factors"
LOWERS = (226, 82, 78)  # a red that shows on white and on black
SIGNS, SIGNS_LOST = "Blue: it adds, red: it takes away", "Blue: less of the isoform with half of the factor, red: more"
MOST_FACTORS = 25
ROW_POINTS, REST_POINTS = 17, 110  # of the picture's height: a row, names and scale
LONGEST = 32  # letters of an isoform's name


class FactorShares(NamedTuple):
    """What one family's networks say of splicing factors, the mean over the networks that held a sample out; NaN = not explained."""

    family: str
    factors: list[str]  # symbols
    isoforms: list[str]  # symbol and id, in this order
    own: np.ndarray  # (isoforms, factors) the factor is the isoform's own gene
    genes_known: bool
    share: np.ndarray  # (samples, isoforms, factors)
    lost: np.ndarray | None  # (samples, isoforms, factors) of the prediction when the factor is halved; None: not in the files


class Explained(NamedTuple):
    """What one file holds: a row is an isoform in a sample."""

    samples: list[str]
    isoforms: list[str]
    factors: list[str]
    share: np.ndarray  # (rows, factors)
    lost: np.ndarray | None  # (rows, factors)


def read_factor_shares(shares: Sequence[Shares], dataset: Dataset | None) -> list[FactorShares]:
    """Return one entry for each family whose predictions are shared out over splicing factors, sorted by name."""
    files: dict[str, list[Explained]] = {}
    for one in shares:
        with open_hdf5(one.path, "attributions") as file:
            if FACTORS in file and one.examples:
                files.setdefault(str(one.facts.get("family", "")), []).append(read_explained(file, one.path.name))
    symbols, gene_of = (dataset.symbols, dataset.transcript_genes) if dataset and files else ({}, {})
    return [gather(family, files[family], symbols, gene_of) for family in sorted(files)]


def read_explained(file: h5py.File, name: str) -> Explained:
    """Return one file's shares of factors. Raise InputError where its arrays do not fit each other."""
    factors = [str(factor) for factor in file[FACTORS].attrs.get("names", ())]
    arrays = [file[key][:] for key in (FACTORS, LOST) if key in file]
    ids = [file[key].asstr()[:].tolist() if key in file else [] for key in ("row", "column")]
    if {array.shape for array in arrays} != {(len(ids[0]), len(factors))} or len(ids[0]) != len(ids[1]):
        raise InputError(f"{name}: its rows, columns and shares of factors are not of one size; make it again with attribute.py")
    return Explained(*ids, factors, arrays[0], arrays[1] if len(arrays) > 1 else None)


def gather(family: str, files: list[Explained], symbols: dict[str, str], gene_of: dict[str, str]) -> FactorShares:
    """Return the mean over one family's files, isoforms sorted by their names."""
    known = all(isoform in gene_of for one in files for isoform in one.isoforms)
    named = {isoform: f"{symbols.get(gene_of.get(isoform, ''), '')} {isoform}".strip() for one in files for isoform in one.isoforms}
    isoforms = sorted(named, key=lambda isoform: named[isoform])
    samples = sorted({sample for one in files for sample in one.samples})
    factors = list(dict.fromkeys(factor for one in files for factor in one.factors))
    own = np.array([[gene_of.get(isoform) == factor for factor in factors] for isoform in isoforms])
    place = [{name: number for number, name in enumerate(names)} for names in (samples, isoforms, factors)]
    at = [
        (
            np.array([place[0][sample] for sample in one.samples])[:, None],
            np.array([place[1][isoform] for isoform in one.isoforms])[:, None],
            [place[2][factor] for factor in one.factors],
        )
        for one in files
    ]
    shape = tuple(map(len, place))
    share = mean_over_files(shape, at, [one.share for one in files])
    lost = None if any(one.lost is None for one in files) else mean_over_files(shape, at, [one.lost for one in files])
    return FactorShares(
        family, [symbols.get(factor, factor) for factor in factors], [named[one] for one in isoforms], own, known, share, lost
    )


def mean_over_files(shape: tuple[int, ...], at: list[tuple], values: list[np.ndarray]) -> np.ndarray:
    """Return the mean of what stands at each place; NaN where nothing does."""
    total, count = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint16)
    for where, own in zip(at, values, strict=True):
        total[where] += own
        count[where] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def factor_blocks(one: FactorShares) -> list[Text | Pictures | Table]:
    """Return what factors add to isoforms: how to read it, pictures factor × isoform, one row an isoform."""
    drawn = [factor_picture(one, "share", one.share, "the share that a factor has in the fraction that is predicted for an isoform", SIGNS)]
    if one.lost is not None:
        drawn.append(factor_picture(one, "loss", one.lost, "what that fraction loses when the level of a factor is halved", SIGNS_LOST))
    return [Text(what_was_explained(one)), Text(how_to_read(one)), Pictures(drawn), isoform_table(one)]


def what_was_explained(one: FactorShares) -> str:
    """Say what attributions of factors tell and what not, over how many samples, and what was left out."""
    samples, isoforms, factors = one.share.shape
    pairs = "The isoforms' genes are not known, so pairs of a factor with an isoform of its own gene are not left out."
    if one.genes_known:
        pairs = f"Pairs of a factor with an isoform of the factor's own gene are left out: {int(one.own.sum()):,} of {one.own.size:,}."
    return (
        f"{one.family}: attributions tell what the network used, not what splices; factors that rise and fall together can stand in for each other, and "
        f"whether factors carry anything at all, the controls say. {factors:,} factors and the {isoforms:,} isoforms that vary most, in "
        f"{samples:,} held-out sample{'s' * (samples != 1)}. {pairs}"
    )


def how_to_read(one: FactorShares) -> str:
    """Say why signs of shares may disagree."""
    halved = (
        "" if one.lost is None else " Halving a factor asks the same of every sample, whichever side it lies on: there signs can agree."
    )
    return (
        "A share is counted from the factor's mean in training samples, so its sign changes with the side of that mean that a sample lies on, though the "
        f"factor acts the same way in all: signs that agree in about half of the samples do not contradict a factor.{halved}"
    )


def size(values: np.ndarray) -> np.ndarray:
    """Return (isoforms, factors) mean size over samples of (samples, isoforms, factors)."""
    return np.nanmean(np.abs(values), axis=0)


def median(one: FactorShares, values: np.ndarray) -> np.ndarray:
    """Return (isoforms, factors) medians over samples; NaN where the factor is the isoform's own gene."""
    return np.where(one.own, np.nan, np.nanmedian(values, axis=0))


def agreeing(values: np.ndarray) -> np.ndarray:
    """Return (isoforms, factors) how many samples have the sign that more of them have; 0 has none."""
    return np.maximum((values > 0).sum(axis=0), (values < 0).sum(axis=0))


def factor_picture(one: FactorShares, name: str, values: np.ndarray, words: str, signs: str) -> Picture:
    """Draw one square a pair of a factor (columns) and an isoform (rows); `words` say what the values are, `signs` what the colours."""
    shown = np.argsort(-np.where(one.own, 0, size(values)).mean(axis=0), kind="stable")[:MOST_FACTORS]
    medians, own = median(one, values)[:, shown], one.own[:, shown]
    most = float(np.nanmax(np.abs(medians), initial=0))
    image = np.zeros((*medians.shape, 4), dtype=np.uint8)
    image[..., :3] = np.where(medians[..., None] > 0, DENSITY, LOWERS)
    image[..., 3] = 255 * np.abs(np.nan_to_num(medians)) / (most or 1)

    def paint(axes: Axes) -> None:
        axes.imshow(image, interpolation="none", aspect="auto", zorder=2)
        for y, x in zip(*np.nonzero(own), strict=True):
            axes.text(x, y, "–", ha="center", va="center")
        axes.set_xticks(range(len(shown)), [shorten(one.factors[factor]) for factor in shown], rotation=90)
        axes.set_yticks(range(len(medians)), [shorten(isoform, LONGEST) for isoform in one.isoforms])
        axes.grid(False)

    many = f"{len(shown)} of {len(one.factors)}" if len(shown) < len(one.factors) else f"{len(shown)}"
    caption = (
        f"{one.family}: {words}, median over samples. {signs}; the strongest colour is {number(most, 2)}"
        f"{', – the factor is the own gene' * bool(own.any())}. Factors: {many}, the largest mean size on the left."
    )
    alt = f"Factors by isoforms of {one.family}: {words}, median over samples; the largest is {number(most, 2)}. The table has the first of each isoform"
    return picture(f"{one.family} factors {name}", paint, alt, caption, "wide", REST_POINTS + ROW_POINTS * len(medians))


def isoform_table(one: FactorShares) -> Table:
    """Return one row an isoform: its first factor, and in how many samples the signs agree."""
    sizes = np.where(one.own, -1, size(one.share))
    samples = (~np.isnan(one.share)).any(axis=2).sum(axis=0)
    values = [one.share] if one.lost is None else [one.share, one.lost]
    told = [(median(one, array), agreeing(array)) for array in values]
    rows = []
    for k, isoform in enumerate(one.isoforms):
        first = int(sizes[k].argmax())
        if sizes[k, first] >= 0:  # it has another factor than its own gene
            numbers = [cell for medians, agree in told for cell in (number(medians[k, first], 2), f"{agree[k, first]} of {samples[k]}")]
            rows.append([isoform, Cell(one.factors[first], kind="whole"), number(sizes[k, first], 2), *numbers])
    head = ["isoform", "first factor", "mean |share|", "median share", "samples that agree in its sign"]
    head += ["lost when the factor is halved, median", "samples that agree in its sign"] * (one.lost is not None)
    caption = f"{one.family}: the factor with the largest mean |share| in the fraction that is predicted for each isoform"
    return Table(caption, head, rows, words=(1,))
