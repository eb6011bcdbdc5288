"""What ran, in words for a paper: versions, parameters and what was read → text with the sources of the tools that this run used."""

import re
from collections.abc import Mapping, Sequence

from exprcast.dataset import Dataset
from exprcast.metrics import DRAWS
from exprcast.page import Section, Sources, Text
from exprcast.results import Predictions, Shares, reword
from exprcast.tables import name_some

CITED = {
    "Bray et al. 2016": (
        "Bray NL, Pimentel H, Melsted P, Pachter L (2016). Near-optimal probabilistic RNA-seq quantification. Nature Biotechnology 34, 525–527.",
        "https://doi.org/10.1038/nbt.3519",
    ),
    "Quinlan & Hall 2010": (
        "Quinlan AR, Hall IM (2010). BEDTools: a flexible suite of utilities for comparing genomic features. Bioinformatics 26, 841–842.",
        "https://doi.org/10.1093/bioinformatics/btq033",
    ),
    "Ke et al. 2017": (
        "Ke G, Meng Q, Finley T, et al. (2017). LightGBM: a highly efficient gradient boosting decision tree. Advances in Neural Information Processing Systems 30.",
        "https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree",
    ),
    "Paszke et al. 2019": (
        "Paszke A, Gross S, Massa F, et al. (2019). PyTorch: an imperative style, high-performance deep learning library. Advances in Neural Information Processing Systems 32.",
        "https://doi.org/10.48550/arXiv.1912.01703",
    ),
    "Shrikumar et al. 2017": (
        "Shrikumar A, Greenside P, Kundaje A (2017). Learning important features through propagating activation differences. Proc Mach Learn Res 70, 3145–3153.",
        "https://doi.org/10.48550/arXiv.1704.02685",
    ),
    "Sundararajan et al. 2017": (
        "Sundararajan M, Taly A, Yan Q (2017). Axiomatic attribution for deep networks. Proc Mach Learn Res 70, 3319–3328.",
        "https://doi.org/10.48550/arXiv.1703.01365",
    ),
    "Di Tommaso et al. 2017": (
        "Di Tommaso P, Chatzou M, Floden EW, et al. (2017). Nextflow enables reproducible computational workflows. Nature Biotechnology 35, 316–319.",
        "https://doi.org/10.1038/nbt.3820",
    ),
}
SHARED_BY = {"integrated gradients": "Sundararajan et al. 2017", "DeepLIFT": "Shrikumar et al. 2017"}  # method of attributions → source
KEPT_TOGETHER = {
    "genes by chromosome": "genes of one chromosome",
    "genes by paralogs": "genes that are paralogs or have similar promoters",
    "genes by chromosome+paralogs": "genes of one chromosome (genes with a paralog in training were not tested)",
}
RULES = {
    "mean": "the training mean",
    "ridge": "ridge regression on the same inputs",
    "nearest": "the nearest training example",
    "kernel": "kernel ridge regression",
    "trees": "boosted trees (Ke et al. 2017)",
    "elastic_net": "elastic net on the same inputs, each gene by itself",
    "rule": "the family's own simple rule",
}
GIVEN = "The dataset was assembled before this run; how its expression and its bins were made is not known here."
SCORES_TEXT = (
    "Scores compare deviations from the training mean: r_gene_dev is the mean over samples of the correlation across genes, r_sample the correlation of one gene "
    f"across samples (median over genes). Intervals of 95 % come from {DRAWS:,} bootstrap draws (bootstrap-t) of the groups of samples that "
    "were held out together; where genes were held out, or for fewer than six groups, "
    "from draws of genes within samples; for r_sample, from a delete-one-part jackknife over up to 50 parts of those groups. Intervals over groups "
    "of unequal size are widened to their effective number; a gene's p-value counts the samples of one group as one. Gains over rules are paired. "
    "Where whole genes are held out, models are judged by r_gene, the correlation across genes with nothing taken away."
)
GENES_SCORES_TEXT = (
    "Models are judged by r_gene, the correlation of predicted with observed values over the genes that were held out (mean over labels). Intervals of 95 % "
    f"come from {DRAWS:,} bootstrap draws of genes. Gains over rules are paired."
)


def methods_section(
    versions: dict[str, list[str]],
    parameters: Mapping[str, object],
    dataset: Dataset | None,
    families: Sequence[Predictions],
    shares: Sequence[Shares],
    samples_with_reads: int,
) -> Section:
    """What ran in this run and with which numbers, then the sources that the text names."""
    of_genes = (
        not dataset.samples if dataset else not parameters.get("samples") and bool(parameters.get("promoters") or parameters.get("labels"))
    )
    if parameters.get("matrix"):
        source = matrix_text(parameters, dataset)
    elif of_genes:
        source = genes_text(parameters, dataset)
    elif parameters.get("transcripts") and not parameters.get("samples"):
        source = transcripts_text(parameters)
    else:
        source = [*expression_text(versions, parameters, samples_with_reads), *bins_text(versions, parameters, dataset)]
    paragraphs = [
        " ".join([*source_text(parameters, of_genes), *source, *isoforms_text(dataset)]),
        " ".join([*dataset_text(dataset), *models_text(versions, families), *shares_text(versions, shares)]),
        f"All steps ran as tasks of exprcast under Nextflow (Di Tommaso et al. 2017) with {named('Python', 'python', versions)}"
        + (f" and {named('NumPy', 'numpy', versions)}." if "numpy" in versions else "."),
    ]
    text = "\n".join(paragraphs)
    cited = [entry for name, entry in CITED.items() if name in text]
    intro = Text(
        "What ran in this run, to be copied into a paper. The source of a model family's idea stands in the family's own file; the data are yours to cite."
    )
    return Section("methods", "Methods and what to cite", [intro, *(Text(one) for one in paragraphs if one), Sources(cited)])


def named(name: str, tool: str, versions: dict[str, list[str]]) -> str:
    """Return a tool with its version, or with all of them where tasks differed."""
    return " ".join([name, *([" and ".join(versions[tool])] if tool in versions else [])])


def source_text(parameters: Mapping[str, object], of_genes: bool) -> list[str]:
    """Say where the data came from, if not from the user's files."""
    if parameters.get("simulate"):
        return [
            f"The cohort is simulated: {parameters.get('simulate_samples')} samples and {parameters.get('simulate_genes')} genes with a known rule "
            f"from open chromatin to expression (noise {parameters.get('simulate_noise')}, seed {parameters.get('seed')})."
        ]
    return [] if of_genes or not parameters.get("dataset") else [GIVEN]


def genes_text(parameters: Mapping[str, object], dataset: Dataset | None) -> list[str]:
    """Say where promoters, half-life features and labels of genes alone came from."""
    if parameters.get("dataset"):
        return ["The dataset was assembled before this run; where its promoters and labels come from is not known here."]
    window = f"{parameters.get('upstream_bp'):,} bp upstream to {parameters.get('downstream_bp'):,} bp downstream of each gene's start site"
    sites = "that of its strongest CAGE peak, else the annotation's" if parameters.get("cage") else "the annotation's"
    ready = parameters.get("promoters")
    promoters = (
        f"Promoters were read from {named_files(ready)}."
        if ready
        else f"Promoters were cut out of {named_files(parameters.get('fasta'))}, {window} ({sites})."
    )
    features = parameters.get("halflife")
    halflife = f"Half-life features (lengths and G+C of UTRs, coding sequence and introns) were read from {named_files(features)}."
    computed = f"Half-life features (lengths and G+C of UTRs, coding sequence and introns) were computed from {named_files(parameters.get('gtf'))}."
    labels = parameters.get("labels")
    return [
        promoters,
        *([halflife] if features else [computed] if parameters.get("gtf") and dataset and dataset.has("promoters/halflife") else []),
        *([f"Levels of genes (labels) came from {named_files(labels)}, in {parameters.get('label_unit')}."] if labels else []),
    ]


def matrix_text(parameters: Mapping[str, object], dataset: Dataset | None) -> list[str]:
    """Say what matrices expression came from, which genes were kept, and what external sets are for."""
    unit, distance = parameters.get("matrix_unit"), str(parameters.get("duplicates") or "").partition(":")
    said = [
        f"Expression was read from {named_files(parameters.get('matrix'))}{', counts made counts per million' if unit == 'counts' else f' ({unit})'}; a gene's value "
        "is the mean of its probe sets."
    ]
    if dataset:
        landmarks, targets = (int(dataset.array(f"lists/{name}").sum()) for name in ("landmark", "target"))
        said.append(
            f"{landmarks:,} landmark genes are measured and {targets:,} target genes are predicted; a target that is a landmark was left out."
        )
    if distance[0] and distance[2] != "report":
        said.append(f"Of two samples nearer than {distance[0]} (Euclidean distance over all features) the later one was dropped.")
    last = str(dataset.file["folds/sample_role"].attrs["scheme"]).partition("last fold: ")[2] if dataset else ""
    if last:
        said.append(
            f"Other data sets took no part in training: in a fold of their own they were scored (test) or chose when it ends (choose): {last}."
        )
    return said


def transcripts_text(parameters: Mapping[str, object]) -> list[str]:
    """Say what files transcripts came from, and what the level of a gene is."""
    unit, levels = parameters.get("matrix_unit"), parameters.get("expression")
    made = ", counts made counts per million" if unit == "counts" else f" ({unit})"
    sums = f"the levels of genes from {named_files(levels)}" if levels else "a gene's level is the sum of its transcripts"
    return [f"Transcripts of each sample were read from {named_files(parameters.get('transcripts'))}{made}; {sums}."]


def isoforms_text(dataset: Dataset | None) -> list[str]:
    """Say which transcripts are predicted, and how many factors they are predicted from, where there are any."""
    if dataset is None or not dataset.has("lists/isoform"):
        return []
    isoforms, factors = (int(dataset.array(f"lists/{name}").sum()) for name in ("isoform", "splicing_factor"))
    unit = dataset.unit("expression/transcript").upper()
    return [
        f"{isoforms:,} transcripts are isoforms to be predicted (of a gene with several, with a median above 1 {unit}); {factors:,} genes are listed as splicing factors."
    ]


def named_files(value: object) -> str:
    """Return the names, without folders, of files that stand in a parameter, separated by commas."""
    return " and ".join(part.strip().rstrip("/").rpartition("/")[2] for part in str(value).split(","))


def expression_text(versions: dict[str, list[str]], parameters: Mapping[str, object], samples_with_reads: int) -> list[str]:
    """Say how expression came about: kallisto, or a table."""
    if "kallisto" in versions:
        bootstraps = parameters.get("bootstraps")
        return [
            f"RNA reads of {samples_with_reads:,} samples were pseudoaligned to the transcripts and quantified by {named('kallisto', 'kallisto', versions)} (Bray et al. 2016)"
            + (f" with {bootstraps} bootstraps" if bootstraps else "")
            + "; a gene's abundance (TPM) is the sum over its transcripts."
        ]
    if parameters.get("dataset"):
        return []
    if parameters.get("transcripts"):
        return transcripts_text(parameters)
    unit = parameters.get("expression_unit")
    return ["Expression came as a table" + (f" in {unit}" if unit else "") + (", made counts per million." if unit == "counts" else ".")]


def bins_text(versions: dict[str, list[str]], parameters: Mapping[str, object], dataset: Dataset | None) -> list[str]:
    """Say how peaks became bins."""
    if parameters.get("dataset"):
        return []
    read = dataset.bin_source.startswith("coverage") if dataset and dataset.has("accessibility/bin") else "pyBigWig" in versions
    signal = f"the mean coverage of a bigWig ({named('pyBigWig', 'pyBigWig', versions)})" if read else "the largest of its peaks'"
    said = f"ATAC-seq peaks were laid on genomic bins of {parameters.get('bin_bp')} bp; a bin is open if a base of a peak lies in it, and its signal is {signal}."
    excluded = "Peaks in excluded regions were dropped with BEDTools (Quinlan & Hall 2010)"
    return [said, *([f"{excluded} through {named('pybedtools', 'pybedtools', versions)}."] if "pybedtools" in versions else [])]


def dataset_text(dataset: Dataset | None) -> list[str]:
    """Say what was joined and what was held out together."""
    if dataset is None:
        return []
    scheme = str(dataset.file["folds/sample_role"].attrs["scheme"])
    held_out = {"samples": "samples", "genes": "genes", "both": "samples and genes"}[dataset.hold_out]
    parts = scheme.split("; ")[1:]
    together = [words for words in (KEPT_TOGETHER.get(part) or shared_columns(part) for part in parts) if words]
    otherwise = [
        part.replace(" at random", " were split at random").replace(" by the table ", " were split by the table ") for part in parts
    ]
    validation = "" if "by the table" in scheme else " and about a tenth of the rest for validation"
    return [
        f"The dataset holds {contents_text(dataset)}.",
        f"In each of {dataset.n_folds} folds other {held_out} were held out for testing{validation}"
        + (f"; {' and '.join(together)} stayed together." if together else "."),
        *(f"The {words}." for words in otherwise if "were split" in words),
    ]


def contents_text(dataset: Dataset) -> str:
    """Return how many genes a dataset holds, and how many samples, or labels where there is no sample."""
    name, genes = dataset.file.attrs.get("assembly", ""), f"{len(dataset.genes):,} genes"
    assembly = f" (assembly {name})" if name not in ("", "unknown") else ""
    if dataset.samples:
        expression = f", expression in {dataset.unit('expression/gene')}" if dataset.has("expression/gene") else ""
        return f"{len(dataset.samples):,} samples and {genes}{assembly}{expression}"
    labels = dataset.text("labels/name") if dataset.has("labels/name") else []
    named = f", {len(labels):,} label{'s' * (len(labels) != 1)} ({name_some(labels)}) in {dataset.unit('labels/value')}" if labels else ""
    return f"{genes}{assembly}{named}"


def shared_columns(part: str) -> str:
    """Return "samples that share a donor or biosample" for a part of a scheme, "" for another part."""
    by = re.fullmatch(r"samples by ([\w+]+)", part)
    return f"samples that share a {by[1].replace('_', ' ').replace('+', ' or ')}" if by else ""


def models_text(versions: dict[str, list[str]], families: Sequence[Predictions]) -> list[str]:
    """Say what was trained, what it was compared with, and by which numbers."""
    said = []
    for p in families:
        if p.weights:
            said.append(f"The {p.family} predicts {p.unit}, too. {p.methods}")
            continue
        seeds = (
            f"seed {p.seeds[0]}"
            if len(p.seeds) == 1
            else f"{len(p.seeds)} networks a fold (seeds {', '.join(map(str, p.seeds))}), whose predictions were averaged"
        )
        said.append(
            f"Family {p.family} (preset {p.preset}) was trained with {named('PyTorch', 'torch', versions)} (Paszke et al. 2019) to predict {p.unit}: "
            f"{len(p.folds)} fold{'s' * (len(p.folds) > 1)}, {seeds}. {p.methods}"
        )
    if not families:
        return []
    scores = GENES_SCORES_TEXT if all(p.axes == "genes" for p in families) else reword(families, SCORES_TEXT)
    rules = [reword(families, text) for name, text in RULES.items() if any(name in p.predictors for p in families)]
    return [*said, f"Every family was tested beside {', '.join(rules[:-1])} and {rules[-1]}, on the same held-out values.", scores]


def shares_text(versions: dict[str, list[str]], shares: Sequence[Shares]) -> list[str]:
    """Say how predictions were attributed, if they were."""
    counts = {method: sum(one.examples for one in shares if one.facts.get("method") == method) for method in SHARED_BY}
    return [
        f"{count:,} held-out predictions were attributed to their inputs by {method} ({SHARED_BY[method]}; {named('Captum', 'captum', versions)})."
        for method, count in counts.items()
        if count
    ]
