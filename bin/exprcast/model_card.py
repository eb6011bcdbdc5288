"""A bundle's model card: what a person should know before trusting its predictions, as Markdown that needs nothing beside it."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import numpy as np

from exprcast.calibration import CONFIDENCE, Calibration, coverage
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.metrics import Estimate
from exprcast.results import Task
from exprcast.score_tables import POOLED, Scores
from exprcast.scoring import MODEL

WATT_PER_CORE, WATT_PER_GIB = 12.0, 0.3725  # Lannelongue et al. 2021 (Green Algorithms): a usual core in full use, and memory
METRICS = {
    "r_gene_dev": "r of deviations across genes",
    "r_gene": "r across genes",
    "mse": "mean squared error",
    "r_sample": "r across samples, median over genes",
}
MOST_ROWS = 100  # of held-out samples in the table of intervals
OF_GENES = ("r_gene", "mse")  # of them, what says something where an example is a gene
ASSOCIATIONS = "Predictions are associations. They do not say what would happen if an element were changed, and not how people with other genotypes differ."
NO_DEVICE = "It is no medical device."
LIMITS = (
    "It knows the kinds of samples that it was trained on. Predictions for other tissues, diseases, species or ways of measuring may be wrong, and intervals too narrow; "
    "how far a new sample is from training is told with each prediction.",
    ASSOCIATIONS,
    "Peaks must be called as those of the training samples were; signals are compared by rank, so that depth matters less than the caller does.",
    NO_DEVICE,
)
LIMITS_OF_GENES = (
    "It knows the labels that it was trained on: levels in those tissues or cells, of genes of that species. It cannot tell how one sample differs from another.",
    ASSOCIATIONS,
    "Sequences must be cut as those of training were: the start site on the same base, read along the gene. A wrong start site gives a wrong prediction.",
    NO_DEVICE,
)


def write_card(
    facts: Mapping[str, object],
    dataset: Dataset,
    scores: Scores,
    calibration: Calibration | None,
    tasks: Iterable[Task],
    collapsed: int = 0,
) -> str:
    """Return the card's text; `collapsed` networks do not depend on their input."""
    parts = [
        f"# Model card: {facts['family']}" + (f" ({facts['preset']})" if facts["preset"] else ""),
        what_it_does(facts, dataset) + f"\n\n**{collapsed} of its networks collapsed: do not use it.**" * (collapsed > 0),
        "## Data\n\n" + data(facts, dataset),
        "## Folds\n\n" + folds(facts, dataset),
        "## Scores\n\n" + score_table(str(facts["family"]), scores, OF_GENES if facts["axes"] == "genes" else tuple(METRICS)),
        "## Intervals\n\n" + interval_text(dataset, calibration),
        "## Limits\n\n" + "\n".join(f"* {limit}" for limit in (LIMITS if facts["axes"] != "genes" else LIMITS_OF_GENES)),
        "## Time and energy\n\n" + cost(list(tasks)),
        "## Made by\n\n" + f"exprcast {facts['exprcast']}, code {facts['code']}.",
    ]
    return "\n\n".join(parts) + "\n"


def what_it_does(facts: Mapping[str, object], dataset: Dataset) -> str:
    """Say what goes in and comes out."""
    averaged = (
        f"A prediction is the mean over {counted(facts['folds'], 'fold')} and {counted(facts['seeds'], 'seed')}.\n\n{facts['methods']}"
    )
    if facts["axes"] == "genes":
        return f"It predicts a gene's level ({facts['unit']}) from {what_it_reads(dataset)}; it needs no sample. {averaged}"
    bins = (
        f"open chromatin ({facts['bin_source']}, bins of {facts['bin_bp']} bp, {facts['assembly']})"
        if facts["bin_bp"]
        else "the inputs named below"
    )
    return f"It predicts {facts['unit']} of {facts['genes']:,} genes in a sample from {bins}. {averaged}"


def what_it_reads(dataset: Dataset) -> str:
    """Return which bases and features of a gene a dataset holds."""
    if not dataset.has("promoters/sequence"):
        return "its own features"
    stored = dataset.file["promoters/sequence"].attrs
    halflife = " and the half-life features of its mRNA" * dataset.has("promoters/halflife")
    return f"the bases from at most {int(stored['upstream_bp']):,} bp before to {int(stored['downstream_bp']):,} bp behind its start site{halflife}"


def counted(members: Sequence[object], noun: str) -> str:
    """Return how many there are: "1 fold", "2 folds"."""
    return f"{len(members)} {noun}{'s' * (len(members) != 1)}"


def data(facts: Mapping[str, object], dataset: Dataset) -> str:
    """List the training samples, or labels where there is none, and digests by which another can tell whether he has the same data."""
    columns = [column for column in ("donor", "biosample", "replicate_group", "batch") if any(dataset.text(f"samples/{column}"))]
    head = ["sample", *columns, "open bins", "SHA-256 of bins", "SHA-256 of RNA"]
    texts = {column: dataset.text(f"samples/{column}") for column in columns}
    rows = []
    for number, sample in enumerate(dataset.samples):
        bins, signal = dataset.open_bins(number) if dataset.has("accessibility/bin") else (np.array([]), np.array([]))
        rna = digest(dataset.row("expression/gene", number)) if dataset.has("expression/gene") else "none"
        rows.append([sample, *(texts[column][number] for column in columns), f"{len(bins):,}", digest(bins, signal), rna])
    sources = str(dataset.file.attrs.get("sources", "{}"))
    said = "" if sources in ("", "{}") else f"\n\nSources: {sources}"
    warned = f"\n\n**Columns of the expression tables seem to be of other genes**: {dataset.misaligned}" if dataset.misaligned else ""
    reference = f"assembly {facts['assembly']}, annotation {facts['annotation'] or 'not named'}"
    if not rows:
        return f"{facts['genes']:,} genes, no samples; {reference}.\n\n{label_table(dataset)}{said}"
    return f"{facts['samples']} samples; {reference}.\n\n{table(head, rows)}{said}{warned}"


def label_table(dataset: Dataset) -> str:
    """List the labels, how many genes have each, and digests."""
    values = zip(dataset.text("labels/name"), dataset.array("labels/value"), strict=True)
    sequences = digest(dataset.array("promoters/sequence")) if dataset.has("promoters/sequence") else "none"
    rows = [[name, f"{int((~np.isnan(row)).sum()):,}", digest(row), sequences] for name, row in values]
    return table(["label", "genes that have it", "SHA-256 of values", "SHA-256 of sequences"], rows)


def digest(*arrays: np.ndarray) -> str:
    """Return the beginning of the SHA-256 of arrays."""
    found = sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def folds(facts: Mapping[str, object], dataset: Dataset) -> str:
    """Say what was held out and what was kept apart."""
    role = dataset.file["folds/sample_role"]
    promised = ", ".join(name for name in dataset.promised if name)
    kept = f"Test and training share none of: {promised}." if promised else "What test and training share is not limited by these folds."
    again = " All was then fitted again on training and validation together." if facts["refit"] else ""
    return f"{counted(facts['folds'], 'fold')} of {role.attrs['scheme']}, seed {role.attrs['seed']}. {kept}{again}"


def score_table(family: str, scores: Scores, metrics: Sequence[str]) -> str:
    """Return the pooled scores of the model and of what stands beside it, and the model's gains."""
    predictors = [MODEL, *sorted({key[1] for key in scores if key[0] == family and not key[2] and key[4] == POOLED} - {MODEL})]
    rows = []
    for predictor in predictors:
        found = [scores.get((family, predictor, "", metric, POOLED)) for metric in metrics]
        rows.append([f"**{family}**" if predictor == MODEL else predictor, *map(cell, found)])
    gains = [
        [key[2], key[3], cell(one)]
        for key, one in sorted(scores.items())
        if key[0] == family and key[1] == MODEL and key[2] and key[3] in metrics and key[4] == POOLED
    ]
    if not rows or not any(key[0] == family for key in scores):
        raise InputError(f"there are no scores of {family}; evaluate before the bundle is made")
    gained = (
        f"\n\nLead over simple rules (for errors: what is saved):\n\n{table(['over', 'metric', 'lead (95 % interval)'], gains)}"
        if gains
        else ""
    )
    return f"Of held-out values, with intervals of 95 %.\n\n{table(['predictor', *(METRICS[metric] for metric in metrics)], rows)}{gained}"


def cell(one: Estimate | None) -> str:
    """Return a number with its interval."""
    if one is None or np.isnan(one.value):
        return "NA"
    return f"{one.value:.3f}" + ("" if np.isnan(one.low) else f" ({one.low:.3f} to {one.high:.3f})")


def interval_text(dataset: Dataset, calibration: Calibration | None) -> str:
    """Say how intervals are made, and how often they held where a group had been left out."""
    if calibration is None:
        if not dataset.samples:
            return "Predictions for new sequences have no intervals; where there are several networks, the SD over them is given."
        return "No sample was held out in training, so predictions for new samples have no intervals."
    found = coverage(calibration)
    if np.isnan(found).all():
        return (
            f"Intervals of {CONFIDENCE:.0%} are made by CV+ (Barber et al. 2021). How often they hold is not known: one group was held out."
        )
    shown = np.sort(np.argsort(np.nan_to_num(found, nan=2), kind="stable")[:MOST_ROWS])
    rows = [[dataset.samples[calibration.sample[i]], "NA" if np.isnan(found[i]) else f"{found[i]:.1%}"] for i in shown]
    those = f"{len(found):,} of {len(dataset.samples):,} samples" if len(found) < len(dataset.samples) else "samples"
    those += f"; the {MOST_ROWS} lowest" * (len(found) > MOST_ROWS)
    return (
        f"Intervals of {CONFIDENCE:.0%} are made by CV+ (Barber et al. 2021) of residuals of held-out samples. With a sample's own group left out of the calibration, "
        f"{np.nanmean(found):.1%} of its values lay inside, mean over {those}:\n\n{table(['sample', 'inside'], rows)}"
    )


def cost(tasks: list[Task]) -> str:
    """Say how long training took and, roughly, what energy that is."""
    if not tasks:
        return "Not known."
    hours, core_hours = sum(task.wall_s for task in tasks) / 3600, sum(task.cpu_s for task in tasks) / 3600
    memory = sum(task.peak_mib / 1024 * task.wall_s / 3600 for task in tasks)  # GiB hours
    energy = core_hours * WATT_PER_CORE + memory * WATT_PER_GIB
    return (
        f"{len(tasks)} tasks of preparing, training and fitting: {hours:.2f} hours one after the other, {core_hours:.2f} core hours. About {energy:,.1f} Wh, "
        f"at {WATT_PER_CORE:g} W a core and {WATT_PER_GIB:g} W a GiB (Lannelongue et al. 2021); what a GPU drew is not in it."
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; a bar in a cell would end it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(one).replace("|", "\\|") for one in line) + " |" for line in lines)
