"""The report's sections on the run, its quality and its networks, one function a section: what was read in → text, tables and pictures."""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

import numpy as np

from exprcast.factor_shares import FactorShares, factor_blocks
from exprcast.figures import MOST_BARS, draw_curves, draw_distance, draw_reads
from exprcast.page import Cell, Picture, Pictures, Section, Table, Terms, Text, number
from exprcast.results import History, Predictions, Reads, Shares
from exprcast.score_tables import Leak
from exprcast.tables import name_some
from exprcast.verdict import (
    LEAST_GENES,
    LEAST_MAPPED,
    SHARED,
    median_genes,
    outliers,
)

EXAMPLES = {"samples": "a sample", "genes": "a gene", "samples×genes": "a gene in a sample"}
READ_TERMS = [
    ("mapped", "Reads (pairs count once) that kallisto pseudoaligned to a transcript."),
    ("unique", "Reads that fit one transcript only; the others are shared out between the transcripts that they fit."),
    (
        "library",
        "How the reads were quantified. In small print: of the reads that tell a strand, those that lie forward; about half: unstranded.",
    ),
    ("fragment", "Mean length of the pieces of cDNA in bp: estimated from pairs, given for single reads (with its SD in small print)."),
    ("detected", "Transcripts and genes with an abundance above 0."),
]
READ_HEAD = ("sample", "reads", "mapped", "unique", "library", "fragment (bp)", "transcripts detected", "genes detected", "remark")
PEAK_COLUMNS = {
    "sample": "sample", "rows": "rows in the file", "intervals": "intervals", "kept": "intervals kept", "excluded": "in excluded regions",
    "off_genome": "off the genome", "open_bins": "open bins", "open_share": "genome open", "median_width": "median width (bp)",
}  # fmt: skip
EXPRESSION_COLUMNS = {
    "sample": "sample",
    "total": "total",
    "detected": "genes detected",
    "detected_share": "share detected",
    "unit": "unit",
}
BARS = ("kept", "open_share", "detected")
MOST_SMALL_CURVES, MOST_CURVES = 12, 60
KNOCKED_OUT = (
    "{} reads features, not bins. What a bin adds is what the prediction loses when that bin is closed and everything around the gene is read "
    "again: an exact knock-out, with what the whole genome tells held as it is. These need not add up; the shares of features do."
)
MOST_CARRIERS = 5  # landmarks that are named of a target
ERROR_SHARE = 0.1  # shares that miss a change by more than this part of it do not add up


def run_section(families: Sequence[Predictions], leakage: Sequence[Leak]) -> Section:
    """What ran on what: one column a family."""
    held_out = [axis for axis in ("samples", "genes") if any(leak.axis == axis and leak.held_out for leak in leakage)]
    row = "label" if all(p.axes == "genes" for p in families) else "sample"
    facts = {
        "family and preset": lambda p: p.title,
        "one example is": lambda p: EXAMPLES.get(p.axes, p.axes),
        "unit": lambda p: p.unit,
        " or ".join(sorted({f"{p.row}s" for p in families}, reverse=True)): lambda p: f"{len(p.rows):,}",
        " or ".join(sorted({f"{p.column}s" for p in families})): lambda p: f"{len(p.columns):,}",
        "held out": lambda _p: " and ".join(held_out) or "nothing",
        "folds": lambda p: str(len(p.folds)),
        "tested in each fold": lambda p: f"{span([rows for rows, _ in p.tested])} × {span([columns for _, columns in p.tested])}",
        "test values": lambda p: f"{int((~np.isnan(p.observed)).sum()):,}",
        "seeds": lambda p: "its members'" if p.weights else ", ".join(map(str, p.seeds)),
    }
    rows = [[name, *(fact(family) for family in families)] for name, fact in facts.items()]
    table = Table("One column a model family", ["", *(family.family for family in families)], rows, words=range(1, len(families) + 1))
    ids = sorted({row for family in families for row in family.rows})
    listed = name_some(ids, MOST_BARS)
    return Section("run", "What ran on what", [table, Terms(f"Names of the {row}s", [(f"{len(ids):,} in all", listed)])])


def span(numbers: Sequence[int]) -> str:
    """Return "4" or "4 to 5"."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def curves_section(histories: Sequence[History]) -> Section:
    """Learning curves: one small picture a fold, all seeds in it; beyond a dozen folds one picture for all."""
    level = (
        "Validation is about a tenth of what is not tested, or what your fold table says; where that is a sample or two, or few genes, its loss may lie far "
        "from that of training. "
        "Training is measured with dropout, validation without. Which epoch's weights were kept, the methods say."
    )
    blocks: list = [Text(level if histories else "No learning curves were given.")]
    for family, group in groupby(sorted(histories, key=lambda h: (h.family, h.fold, h.seed)), key=lambda h: h.family):
        own = list(group)
        limits = loss_limits(own)
        folds = {fold: list(members) for fold, members in groupby(own, key=lambda h: h.fold)}
        if len(folds) > MOST_SMALL_CURVES:
            shown = own[:: -(-len(own) // MOST_CURVES)]
            caption = f"{family}: {len(shown):,} of {len(own):,} trainings ({len(folds):,} folds, all seeds)."
            blocks.append(Pictures([draw_curves(f"{family} curves", shown, limits, f"Learning curves of {family}", caption, "normal")]))
        else:
            blocks.append(Pictures([
                draw_curves(f"{family} curves {fold}", members, limits, f"Learning curve of {family}, fold {fold}", f"{family}, fold {fold}: {ended(members)}")
                for fold, members in folds.items()
            ]))  # fmt: skip
    return Section("curves", "Learning curves", blocks)


def loss_limits(histories: Sequence[History]) -> tuple[float, float]:
    """Return one scale for the pictures of a family."""
    losses = np.concatenate([loss for h in histories for loss in (h.train_loss, h.valid_loss)])
    losses = losses[np.isfinite(losses)]
    return (0.95 * float(losses.min()), 1.05 * float(losses.max())) if len(losses) else (np.nan, np.nan)


def ended(histories: Sequence[History]) -> str:
    """Say for each seed where the validation loss was lowest (which weights were kept, the methods say)."""
    said = []
    for h in histories:
        known = np.isfinite(h.valid_loss)
        best = (
            f"lowest validation loss in epoch {int(np.nanargmin(h.valid_loss)) + 1} of {len(h.seeds)}"
            if known.any()
            else "no validation loss"
        )
        said.append(f"seed {h.seed} {best}" + (", started again after a collapse" if len(set(h.seeds.tolist())) > 1 else ""))
    return "; ".join(said) + "."


def leakage_section(leakage: Sequence[Leak], folds: int) -> Section:
    """What test and training parts share, in every fold."""
    rows = []
    for leak in leakage:
        unknown = f"not known of {leak.unknown:,} {leak.axis}" if leak.unknown else ""
        nothing = Cell("nothing seen", unknown, "warn") if unknown else Cell("nothing")
        shares = nothing if leak.held_out else Cell("not held out")
        if leak.held_out and leak.folds:
            shares = Cell(f"{leak.members:,} {leak.axis}, in {leak.folds} of {folds} folds", unknown, "bad")
        promised = "kept apart by the folds" if leak.promised else "only looked for" if leak.held_out else "–"
        rows.append([f"{leak.axis}: {SHARED.get(leak.shared, leak.shared)}", promised, shares, ", ".join(leak.names) or "–"])
    names = "the same donor, the same replicate group, a near-duplicate, a gene of the same family"
    if {leak.axis for leak in leakage} == {"genes"}:
        names = "a gene of the same family, or one with the same promoter"
    text = (
        f"A score is honest only if what is tested was not seen in training under another name: {names}. What the folds keep apart is checked "
        "before training; the rest is counted here, and a count asks for a second look at the scores."
    )
    head = ["", "promised", "shared by test and training", "which (the first ten)"]
    return Section(
        "leakage", "What test and training share", [Text(text), Table("Found on both sides, over all folds", head, rows, words=(1, 2, 3))]
    )


def quality_section(reads: list[Reads], peaks: list[list[str]], expression: list[list[str]]) -> Section:
    """Per-sample quality of RNA reads, of peaks and of expression."""
    tables = (("Peaks", PEAK_COLUMNS, peaks), ("Expression", EXPRESSION_COLUMNS, expression))
    blocks = reads_blocks(reads) if reads else []
    blocks += [quality_table(title, columns, sorted(rows)) for title, columns, rows in tables if rows]
    return Section(
        "quality",
        "Quality of each sample",
        blocks
        or [
            Text(
                "No counts of reads, of peaks or of expression were given: the run began from a finished dataset, from matrices or from transcripts."
            )
        ],
    )


def reads_blocks(reads: list[Reads]) -> list[Text | Pictures | Terms | Table]:
    """Return which samples stand out by their RNA reads, a picture of all, and a table with one row a sample."""
    odd = outliers(reads)
    return [
        standing_out(reads, odd),
        Pictures([reads_picture(reads, odd)]),
        Terms("What the columns of the reads mean", READ_TERMS),
        reads_table(reads),
    ]


def standing_out(reads: list[Reads], odd: dict[str, list[str]]) -> Text:
    """Name the samples whose reads stand out, and say why; or say that nothing does."""
    if not odd:
        most = f"at least {100 * LEAST_MAPPED:.0f} % of the reads map and {LEAST_GENES * median_genes(reads):,.0f} genes (half of the median) are detected"
        return Text(f"RNA reads: nothing stands out; in every sample {most}.")
    named = name_some([f"{sample} ({'; '.join(why)})" for sample, why in odd.items()])
    stand = "stands" if len(odd) == 1 else "stand"
    return Text(f"RNA reads: {len(odd):,} of {len(reads):,} samples {stand} out: {named}.", "warn")


def reads_picture(reads: list[Reads], odd: dict[str, list[str]]) -> Picture:
    """Draw reads mapped and genes detected sample by sample, what stands out first, then by the lower of the two."""
    mapped = np.array([one.mapped_share for one in reads])
    genes = np.array([one.genes for one in reads]) / max(median_genes(reads), 1)
    bad = np.array([one.sample in odd for one in reads])
    order = np.lexsort((np.minimum(mapped, genes), ~bad))[:MOST_BARS]
    shown = f"the {MOST_BARS} lowest of {len(reads):,} samples" if len(reads) > MOST_BARS else f"{len(reads):,} samples"
    caption = f"RNA reads of {shown}, the lowest on the left. Below the dashed line is too little; red: stands out."
    alt = f"Share of reads mapped and genes detected of {shown}; {len(odd):,} stand out"
    return draw_reads("reads", [reads[i].sample for i in order], mapped[order], genes[order], bad[order], LEAST_MAPPED, alt, caption)


def reads_table(reads: list[Reads]) -> Table:
    """Return one row a sample; few mapped reads and few genes in red."""
    most, median = max(one.genes for one in reads), median_genes(reads)
    rows = [
        [
            one.sample,
            Cell(number(one.reads), f"{one.lanes:.0f} lanes" if one.lanes > 1 else ""),
            Cell(percent(one.mapped_share), kind="bad" if one.mapped_share < LEAST_MAPPED else "", bar=one.mapped_share),
            percent(one.unique_share),
            Cell(
                f"{one.layout}, {one.strandedness}",
                "" if np.isnan(one.forward_share) else f"{percent(one.forward_share)} forward",
                kind="whole",
            ),
            Cell(number(one.fragment_mean), "" if np.isnan(one.fragment_sd) else f"SD {number(one.fragment_sd)}, given"),
            number(one.transcripts),
            Cell(number(one.genes), kind="bad" if one.genes < LEAST_GENES * median else "", bar=one.genes / most if most else None),
            one.remark,
        ]
        for one in reads
    ]
    return Table(f"RNA reads of {len(reads):,} samples; bars compare samples", READ_HEAD, rows, words=(4, 8))


def percent(share: float) -> str:
    """Return a share in percent, NA where there is none."""
    return "NA" if np.isnan(share) else f"{100 * share:.1f} %"


def quality_table(title: str, columns: dict[str, str], rows: list[list[str]]) -> Table:
    """Return one row a sample, with a bar behind the columns that matter most."""
    tops = [max(map(as_number, column)) if name in BARS else 0 for name, column in zip(columns, zip(*rows, strict=True), strict=True)]
    cells = [[row[0], *(quality_cell(*one) for one in list(zip(columns, row, tops, strict=True))[1:])] for row in rows]
    return Table(f"{title} of {len(rows):,} samples; bars compare samples", list(columns.values()), cells)


def quality_cell(name: str, text: str, top: float) -> Cell:
    """Return one count as the page writes numbers, shares in percent; other text as it is."""
    value = as_number(text)
    shown = text if not value else f"{100 * value:.2f} %" if name.endswith("_share") else number(value, 4)
    return Cell(shown, bar=value / top if top else None)


def as_number(text: str) -> float:
    """Return a cell's number; 0 for what is none or missing."""
    return float(text) if re.fullmatch(r"\d+(\.\d+)?([eE][-+]?\d+)?", text) else 0.0


def attribution_section(
    shares: Sequence[Shares], symbols: Mapping[str, str] = MappingProxyType({}), factors: Sequence[FactorShares] = ()
) -> Section:
    """How far from the TSS a prediction's shares lie, which features, landmarks and factors they are of, and whether they add up; symbols of genes by id."""
    if not shares:
        return Section("attribution", "What predictions rest on", [Text("No attributions were given.")])
    names = ("family", "fold", "seed", "method")
    order = sorted(shares, key=lambda s: [str(s.facts.get(name, "")).zfill(6) for name in names])
    rows = [
        [*(str(s.facts.get(name, "")) for name in names), f"{s.examples:,}", number(s.change), number(s.completeness_error, 2)]
        for s in order
    ]
    pictures = [
        distance_picture(family, list(group))
        for family, group in groupby([s for s in order if s.mean_share is not None], key=lambda s: str(s.facts.get("family", "")))
    ]
    head = [*names, "examples explained", "mean change of the prediction", "largest error of the sum"]
    return Section("attribution", "What predictions rest on", [
        Text("A share is what one piece of the input adds to a prediction, compared with a reference input. The shares must add up to the change from the reference."),
        adding_up(shares),
        *explained_label(shares),
        Pictures(pictures),
        *feature_tables(order),
        *carrier_tables(order, symbols),
        *(block for one in factors for block in factor_blocks(one)),
        Table("One row a trained model", head, rows, words=(3,)),
    ])  # fmt: skip


def explained_label(shares: Sequence[Shares]) -> list[Text]:
    """Say which of several labels is explained; nothing where there is one."""
    labels = sorted({str(s.facts["label"]) for s in shares if s.facts.get("label")})
    return [Text(f"Of several labels the first is explained: {', '.join(labels)}.")] if labels else []


def feature_tables(shares: Sequence[Shares]) -> list[Text | Table]:
    """Return for each family that reads named features what they are worth, the strongest first."""
    tables: list[Text | Table] = []
    for family, group in groupby([s for s in shares if s.features and not s.carriers], key=lambda s: str(s.facts.get("family", ""))):
        files = list(group)
        worth = {
            name: np.average([s.features.get(name, 0) for s in files], weights=[s.examples for s in files]) for name in files[0].features
        }
        total = sum(worth.values()) or 1
        most = max(worth.values()) or 1
        rows = [
            [name, Cell(number(value), bar=value / most), f"{value / total:.1%}"]
            for name, value in sorted(worth.items(), key=lambda item: -item[1])
        ]
        tables += [
            *([Text(KNOCKED_OUT.format(family))] if any(s.knocked_out for s in files) else []),
            Table(f"{family}: mean |share| of a feature", ["feature", "mean |share|", "of all"], rows),
        ]  # fmt: skip
    return tables


def carrier_tables(shares: Sequence[Shares], symbols: Mapping[str, str]) -> list[Table]:
    """Return for each family that reads landmark genes which of them carry each explained target, the mean over its networks."""
    tables = []
    for family, group in groupby([s for s in shares if s.carriers], key=lambda s: str(s.facts.get("family", ""))):
        files, rows = list(group), []
        for target in sorted({target for s in files for target in s.carriers}, key=lambda gene: symbols.get(gene, gene)):
            found = [s.carriers[target] for s in files if target in s.carriers]
            worth = {name: float(np.mean([one.get(name, 0) for one in found])) for name in found[0]}
            first = sorted(worth, key=lambda name: -worth[name])[:MOST_CARRIERS]
            total = sum(worth.values()) or 1
            told = ", ".join(f"{symbols.get(name, name)} {worth[name] / total:.0%}" for name in first)
            rows.append([symbols.get(target, target), told, f"{sum(worth[name] for name in first) / total:.0%}", f"{len(found)}"])
        caption = f"{family}: the landmarks with the largest mean |share| in the prediction of a target, of the sum over all landmarks"
        tables.append(Table(caption, ["target", "landmarks", "together", "networks"], rows, words=(1,)))
    return tables


def adding_up(shares: Sequence[Shares]) -> Text:
    """Say whether shares add up to the change that they explain."""
    worst = max((s for s in shares if not np.isnan(s.completeness_error)), key=lambda s: s.completeness_error, default=None)
    if worst is None:
        return Text("Whether they do was not recorded.")
    said = f"they miss it by at most {number(worst.completeness_error, 2)}, where that network's predictions change by {number(worst.change, 2)} on average."
    fine = worst.completeness_error <= ERROR_SHARE * worst.change
    return Text(f"They do: {said}" if fine else f"They do not: {said} Read the picture with care.", "" if fine else "warn")


def distance_picture(family: str, shares: list[Shares]) -> Picture:
    """Draw one family's mean |share| by distance, over all files with the first one's window."""
    distance_bp = shares[0].distance_bp
    alike = [s for s in shares if np.array_equal(s.distance_bp, distance_bp)]
    mean = np.average([s.mean_share for s in alike], axis=0, weights=[s.examples for s in alike])
    what, near_bp, near_by = ("base", 500, "500 bp") if shares[0].facts.get("bin_bp") == 1 else ("bin", 10_000, "10 kb")
    near = mean[np.abs(distance_bp) <= near_bp].sum() / mean.sum() if mean.sum() > 0 else np.nan
    caption = f"{family}: mean |share| of a {what} over {sum(s.examples for s in alike):,} examples; {number(100 * near, 2)} % of all lies within {near_by} of the TSS."
    unit = str(shares[0].facts.get("unit", "the unit predicted"))
    return draw_distance(
        f"{family} distance", distance_bp, mean, unit, f"Mean absolute share against distance to the TSS, {family}", caption
    )
