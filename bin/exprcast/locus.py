"""One gene's surroundings: dataset, attributions and predictions → the gene that is predicted best, in its highest and its lowest sample.

Attributions lie around the start site that a fold's training chose. Two samples are compared in one picture, so genes are looked
at for which all folds chose start sites within one bin of the window.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError
from exprcast.dataset import TEST, Dataset, open_hdf5
from exprcast.page import Picture, Pictures, Section, Text, number
from exprcast.results import Locus, LocusSample, Predictions, Shares, window_array
from exprcast.tables import bin_offsets
from exprcast.tracks import draw_locus


class Place(NamedTuple):
    """Where the shares of one gene in one sample stand, and the start site that they lie around."""

    path: Path
    number: int  # of the example in the file
    tss: int


Places = list[Place]  # of all networks that held the pair out


class Tss(NamedTuple):
    """A gene's start site: the gene's number, and where it is."""

    gene: int
    chrom: str
    strand: str
    position: int


def read_loci(
    dataset: Dataset, shares: Sequence[Shares], families: Sequence[Predictions], r_samples: dict[str, dict[str, float]]
) -> list[Locus]:
    """Return one gene's locus for each family whose attributions cover a window of pairs of samples and genes; r_samples {family: {gene: r}}."""
    found = []
    for family in families:
        own = [one for one in shares if one.facts.get("family") == family.family and one.mean_share is not None]
        if own and family.axes == "samples×genes" and dataset.has("accessibility/bin"):
            explained, r_sample = read_explained([one.path for one in own]), r_samples.get(family.family, {})
            refuse_other_samples(dataset, explained, own[0].path)
            gene, candidates = best_gene(dataset, explained, r_sample, int(own[0].facts["bin_bp"]))
            found += (
                [read_locus(dataset, own[0].facts, gene, explained[gene], family.path, r_sample[gene], candidates, bool(own[0].features))]
                if gene
                else []
            )
    return found


def read_explained(paths: Sequence[Path]) -> dict[str, dict[str, Places]]:
    """Return {gene: {sample: where its shares stand}}."""
    explained: dict[str, dict[str, Places]] = {}
    for path in paths:
        with open_hdf5(path, "attributions") as file:
            rows, columns, tss = file["row"].asstr()[:], file["column"].asstr()[:], file["tss"][:].tolist()
        for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
            explained.setdefault(column, {}).setdefault(row, []).append(Place(path, i, tss[i]))
    return explained


def refuse_other_samples(dataset: Dataset, explained: dict[str, dict[str, Places]], path: Path) -> None:
    """Raise InputError naming a sample that was explained but is not in the dataset."""
    other = sorted({sample for places in explained.values() for sample in places} - set(dataset.samples))
    if other:
        raise InputError(
            f"{path.name} explains sample {other[0]}, which {dataset.path.name} lacks; give the dataset that this run was trained on"
        )


def best_gene(dataset: Dataset, explained: dict[str, dict[str, Places]], r_sample: dict[str, float], window_bp: int) -> tuple[str, int]:
    """Return the gene with the highest r_sample ("" if there is none), and how many could have been chosen.

    To choose from are genes with an r_sample that are explained, and measured, in two samples, around start sites within one bin.
    """
    known = [name for name in sorted(explained) if spread_bp(explained[name]) < window_bp and not np.isnan(r_sample.get(name, np.nan))]
    number_of = {sample: i for i, sample in enumerate(dataset.samples)}
    columns = [dataset.genes.index(name) for name in known]
    measured = ~np.isnan(dataset.array("expression/gene")[:, columns]) if known else np.empty((0, 0))
    fit = [name for k, name in enumerate(known) if sum(measured[number_of[sample], k] for sample in explained[name]) > 1]
    return max(fit, key=lambda name: r_sample[name], default=""), len(fit)


def spread_bp(places: dict[str, Places]) -> int:
    """Return how far apart the start sites lie that the folds chose for one gene."""
    chosen = {place.tss for found in places.values() for place in found}
    return max(chosen) - min(chosen)


def read_locus(
    dataset: Dataset,
    facts: dict[str, object],
    gene: str,
    places: dict[str, Places],
    predictions: Path,
    r_sample: float,
    candidates: int,
    knocked_out: bool,
) -> Locus:
    """Return one gene's locus in the two explained samples where it was observed highest and lowest."""
    n, flank_bp = dataset.genes.index(gene), int(facts["flank_bp"])
    values = read_values(predictions, gene)
    order = sorted((sample for sample in places if sample in values), key=lambda sample: (-values[sample][0], sample))
    tss = Tss(
        n,
        dataset.text("genes/chrom")[n],
        dataset.text("genes/strand")[n],
        places[order[0]][0].tss,
    )
    samples = [
        LocusSample(
            sample,
            *bins_around(dataset, sample, tss._replace(position=places[sample][0].tss), flank_bp),
            read_shares_of(places[sample]),
            *values[sample],
        )
        for sample in (order[0], order[-1])
    ]
    return Locus(
        family=str(facts["family"]),
        gene=gene,
        symbol=dataset.text("genes/symbol")[n] or gene,
        place=f"{tss.chrom}:{tss.position + 1:,} ({tss.strand})",  # browsers count from 1
        unit=str(facts["unit"]),
        r_sample=r_sample,
        candidates=candidates,
        bin_bp=dataset.bin_bp,
        window_bp=int(facts["bin_bp"]),
        others_bp=others_around(dataset, tss, flank_bp),
        samples=samples,
        knocked_out=knocked_out,
    )


def read_values(path: Path, gene: str) -> dict[str, tuple[float, float, float]]:
    """Return {sample: observed, predicted, training mean} of one gene where it was tested and measured; means over seeds and folds."""
    with open_hdf5(path, "predictions") as file:
        column = list(file["columns"].asstr()[:]).index(gene)
        test = file["role"][:, :, column] == TEST  # (folds, rows)
        observed = file["observed"][:, column]
        predicted = file["predicted"][:, :, :, column].mean(axis=1)
        mean = np.broadcast_to(file["training_mean"][:], file["role"].shape)[:, :, column]
        rows = list(file["rows"].asstr()[:])
    known = test.any(axis=0) & ~np.isnan(observed)
    return {
        rows[i]: (float(observed[i]), float(predicted[test[:, i], i].mean()), float(mean[test[:, i], i].mean()))
        for i in np.flatnonzero(known)
    }


def read_shares_of(places: Places) -> np.ndarray:
    """Return (bins,) shares of one gene in one sample, the mean over the networks that held it out."""
    found = []
    for place in places:
        with open_hdf5(place.path, "attributions") as file:
            found.append(window_array(file)[place.number])
    return np.mean(found, axis=0)


def bins_around(dataset: Dataset, sample: str, tss: Tss, flank_bp: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a sample's open bins within ± flank_bp of a start site: where they begin, in bp on the gene's strand, and their signal.

    As in accessibility.read_windows, the bin of the start site begins at 0 on both strands.
    """
    offsets, chrom = bin_offsets(dataset.chrom_sizes, dataset.bin_bp), list(dataset.chrom_sizes).index(tss.chrom)
    bins, signal = dataset.open_bins(dataset.samples.index(sample))
    start_bp = (bins.astype(np.int64) - offsets[chrom] - tss.position // dataset.bin_bp) * dataset.bin_bp * sign(tss.strand)
    inside = (bins >= offsets[chrom]) & (bins < offsets[chrom + 1]) & (start_bp >= -flank_bp) & (start_bp < flank_bp)
    return start_bp[inside], signal[inside]


def others_around(dataset: Dataset, tss: Tss, flank_bp: int) -> np.ndarray:
    """Return distances in bp, on the gene's strand, of other genes' start sites within ± flank_bp."""
    gene = dataset.array("tss/gene")
    on_chrom = np.array([name == tss.chrom for name in dataset.text("genes/chrom")])[gene]
    distance = (dataset.array("tss/position") - tss.position) * sign(tss.strand)
    return np.sort(distance[on_chrom & (gene != tss.gene) & (np.abs(distance) < flank_bp)])


def sign(strand: str) -> int:
    """Return −1 for the minus strand."""
    return -1 if strand == "-" else 1


def locus_section(loci: Sequence[Locus]) -> Section:
    """One gene a family: its open bins, what they add to the prediction, and how the prediction ended."""
    blocks: list = (
        [] if loci else [Text("No gene is drawn: none is explained in two samples around start sites within one bin of the window.")]
    )
    for locus in loci:
        blocks += [Text(chosen_because(locus)), Pictures([locus_picture(locus)])]
    return Section("locus", "One gene's locus", blocks)


def chosen_because(locus: Locus) -> str:
    """Say which gene it is and why this one."""
    name = locus.symbol if locus.symbol == locus.gene else f"{locus.symbol} ({locus.gene})"
    return (
        f"{locus.family}: {name} at {locus.place}, the best and not a typical example: of {locus.candidates:,} genes whose predictions are explained "
        f"around start sites within {locus.window_bp:,} bp it has the highest r_sample ({number(locus.r_sample, 2)})."
    )


def locus_picture(locus: Locus) -> Picture:
    """Draw the locus; the caption holds the numbers."""
    told = "; ".join(f"{one.sample}: {values_text(one, locus.knocked_out)}" for one in locus.samples)
    below = f"what each bin of {locus.window_bp:,} bp adds to the prediction (up, blue) or takes away (down, magenta), compared with the reference input"
    if locus.knocked_out:
        below = f"what the prediction loses (up, blue) or gains (down, magenta) when a bin of {locus.window_bp:,} bp is closed, all others as they are"
    caption = (
        f"{told} ({locus.unit}). Above: open bins and their signal as measured; below them {below}. "
        f"{'Triangles: start sites of other genes. ' * (len(locus.others_bp) > 0)}"
        "Grey line: the gene's mean over the samples that its fold trained on."
    )
    alt = f"Open chromatin, shares and values of {locus.symbol} in two held-out samples. {told}"
    return draw_locus(f"{locus.family} locus", locus, alt, caption)


def values_text(one: LocusSample, knocked_out: bool) -> str:
    """Return a sample's numbers in words; knock-outs need not add up."""
    values = f"observed {number(one.observed)}, predicted {number(one.predicted)}, training mean {number(one.training_mean)}"
    return values if knocked_out else f"{values}, shares sum to {number(float(one.shares.sum()), 2)}"
