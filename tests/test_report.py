"""The report: right words for planted scores, nothing lost, nothing from outside unescaped, no request, same bytes."""

import json
import re
import subprocess
import sys
from argparse import Namespace
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest

import combine
import evaluate
import report
from exprcast import figures
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, Dataset
from exprcast.folds import combine_roles
from exprcast.metrics import Estimate
from exprcast.page import Picture, decimal, number
from exprcast.results import read_predictions
from exprcast.score_tables import POOLED
from exprcast.scoring import MODEL
from exprcast.tables import write_table
from exprcast.verdict import admission_warning, control_remarks
from tiny import tiny_dataset

RULES = {"mean": "NA", "nearest": 0.1, "ridge": 0.55, "rule": 0.5}
BETTER, WORSE, UNDECIDED = (0.16, 0.14, 0.18), (-0.16, -0.18, -0.14), (0.01, -0.02, 0.04)
PEAKS = "sample\trows\tintervals\tkept\texcluded\toff_genome\topen_bins\topen_share\tmedian_width\n"
READS = {
    "layout": "paired", "lanes": 1, "reads": 10_000, "mapped": 8_894, "mapped_share": 0.8894, "unique_share": 0.4, "strandedness": "reverse", "forward_share": 0.031,
    "fragment_mean": 210.4, "fragment_sd": "NA", "transcripts": 4_000, "genes": 1_000, "remark": "",
}  # fmt: skip
VOID = {"meta", "br", "wbr", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """Follow a page: unclosed tags, the text of each kind of tag, and every address that a browser would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.addresses, self.links, self.alts, self.tags, self.text = [], [], [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        found = [values[name] for name in ("src", "href", "xlink:href", "data", "srcset", "action") if name in values]
        (self.links if tag == "a" else self.addresses).extend(found)  # what is fetched only when a reader asks for it, and the rest
        self.addresses += [address for value in values.values() if value for address in re.findall(r"url\(([^)]*)\)", value)]
        if values.get("role") == "img":
            self.alts.append(values["aria-label"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text.append(text)

    def says(self, words: str) -> bool:
        """Say whether the words stand on the page, whatever the white space."""
        return words in " ".join(" ".join(self.text).split())


LEAKAGE_COLUMNS = ("axis", "shared", "held_out", "promised", "folds", "members", "unknown", "names")


def write_predictions(
    path: Path, ids: list[str], family: str = "toy", status: str = "trained", predicted: np.ndarray | None = None
) -> Path:
    """Write a file as combine.py does: one fold that tests all samples × 6 genes, two seeds."""
    rng = np.random.default_rng(1)
    shape = (len(ids), 6)
    observed = rng.normal(size=shape).astype(np.float32)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "format": "exprcast-predictions",
                "format-version": 1,
                "family": family,
                "preset": "default",
                "methods": "One linear layer of {nothing}.",
                "axes": "samples×genes",
                "unit": "log2(tpm + 1)",
            }
        )
        file.create_dataset("rows", data=np.array(ids, dtype=object), dtype=text)
        file.create_dataset("columns", data=np.array([f"G{i}" for i in range(6)], dtype=object), dtype=text)
        file["folds"], file["seeds"] = [0], [1, 2]
        file.create_dataset("status", data=[["trained", status]], dtype=text)
        file["observed"], file["role"] = observed, np.full((1, *shape), TEST, dtype=np.uint8)
        file["predicted"] = np.broadcast_to(observed if predicted is None else predicted, (1, 2, *shape))
        file["training_mean"], file["training_sd"] = np.zeros((1, 1, 6), np.float32), np.ones((1, 1, 6), np.float32)
        for name in RULES:
            file[f"baselines/{name}"] = np.zeros((1, *shape), dtype=np.float32)
    return path


def write_scores(
    path: Path, gain: tuple = BETTER, model: object = 0.71, family: str = "toy", gains: dict | None = None, more: tuple = ()
) -> None:
    """Write r_gene_dev of model and rules, and the model's gain: `gain` over ridge, clearly better than the rest unless `gains` says else.

    `more` are rows (predictor, against, metric, scope, unit, value, low, high, n).
    """
    values = {"model": model} | RULES
    rows = [(family, name, "", "r_gene_dev", "pooled", "groups", value, "NA", "NA", 8) for name, value in values.items()]
    over = {"mean": (0.7, 0.6, 0.8), "nearest": (0.6, 0.5, 0.7), "ridge": gain, "rule": (0.2, 0.1, 0.3)} | (gains or {})
    rows += [(family, "model", name, "r_gene_dev", "pooled", "groups", *numbers, 8) for name, numbers in over.items()]
    write_table(path, evaluate.SCORE_COLUMNS, [*rows, *((family, *row) for row in more)])


def make_run(folder: Path, ids: list[str] = ("S1", "S2", "S3"), **more: object) -> Namespace:
    """Write a smallest run and return the options of report.py; `more` goes to write_scores or write_predictions."""
    predictions = {name: more.pop(name) for name in ("status", "predicted") if name in more}
    write_scores(folder / "scores.tsv", **more)
    write_table(
        folder / "samples.tsv",
        ["sample", "family", "predictor", "r_gene_dev", "r_gene"],
        [(one, "toy", name, 0.5, 0.8) for one in ids for name in ("model", "ridge")],
    )
    genes = [
        (f"G{i}", f"g{i}", "toy", 12, 1.5, "model" if i else "ridge", 0.8 + i / 100, 0.7, 0.9, 0.01 * i, 0.3 + i / 10, 0.2)
        for i in range(6)
    ]
    write_table(folder / "genes.tsv", [*evaluate.GENE_COLUMNS, "r_model", "r_ridge"], genes)
    write_table(folder / "leakage.tsv", LEAKAGE_COLUMNS, [("samples", "donor", 1, 1, 0, 0, 0, ""), ("genes", "chrom", 0, 0, 0, 0, 0, "")])
    (folder / "parameters.json").write_text('{"bin_bp": 200}')
    options = ["--predictions", write_predictions(folder / "toy.h5", list(ids), **predictions), "--out", folder / "report.html"]
    for name in ("scores", "samples", "genes", "leakage"):
        options += [f"--{name}", folder / f"{name}.tsv"]
    parsed = report.parse_args().parse_args(list(map(str, [*options, "--parameters", folder / "parameters.json"])))
    parsed.code = "0123abcd"
    return parsed


def write_reads(folder: Path, sample: str, **more: object) -> Path:
    """Write one sample's RNA reads: a good sample, but for what `more` says."""
    row = {"sample": sample} | READS | more
    path = folder / f"reads{len(list(folder.glob('reads*.tsv')))}.tsv"
    write_table(path, list(row), [list(row.values())])
    return path


def make_data_run(folder: Path, **samples: dict) -> Namespace:
    """Return the options of report.py for a run without models; `samples` says what is odd about the reads of each."""
    (folder / "parameters.json").write_text('{"families": "none"}')
    options = report.parse_args().parse_args(["--parameters", str(folder / "parameters.json"), "--out", str(folder / "report.html")])
    options.code, options.read_stats = "0123abcd", [write_reads(folder, name, **more) for name, more in samples.items()]
    return options


def row_of(page: str, name: str) -> list[str]:
    """Return the cells of the first row of this name, with their tags."""
    row = re.search(rf'<th scope="row">{name}</th>(.*?)</tr>', page, re.DOTALL)[1]
    return re.findall(r"<td.*?</td>", row, re.DOTALL)


def make_page(options: Namespace) -> Reader:
    """Write the page and follow it."""
    report.report(options)
    return Reader(options.out.read_text())


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw nothing: for tests about words."""
    monkeypatch.setattr(figures, "picture", lambda name, paint, alt, caption, *_more, **_others: Picture("", alt, caption))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "gain, word, words",
    [
        (
            BETTER,
            "BETTER",
            "toy predicts how expression differs between samples better than every simple rule "
            "(r_gene_dev 0.71; best rule, ridge: 0.55; gain 0.16, 95 % interval 0.14 to 0.18 over 8 groups of samples).",
        ),
        (
            WORSE,
            "WORSE",
            "worse than the best simple rule (r_gene_dev 0.71; best rule, ridge: 0.55; gain −0.16, 95 % interval −0.18 to −0.14 over 8 groups of samples).",
        ),
        (UNDECIDED, "UNDECIDED", "is undecided: the interval of the gain holds 0"),
        ((-0.01, -0.04, 0.02), "UNDECIDED", "is undecided: the interval of the gain holds 0"),
        ((0.1, "NA", "NA"), "UNDECIDED", "too few samples for an interval"),
    ],
)
def test_verdict_follows_the_gain_over_the_best_rule(tmp_path, gain, word, words):
    page = make_page(make_run(tmp_path, gain=gain))
    assert [said for said in ("BETTER", "WORSE", "UNDECIDED", "UNKNOWN") if page.says(said)] == [word]
    assert page.says(words)


@pytest.mark.usefixtures("no_pictures")
def test_better_means_better_than_every_rule(tmp_path):
    page = make_page(make_run(tmp_path, gains={"rule": UNDECIDED}))
    assert page.says("UNDECIDED") and page.says("against another rule")


def test_a_constant_model_is_not_judged_and_its_scores_are_NA(tmp_path):
    nothing = ("NA", "NA", "NA")
    page = make_page(make_run(tmp_path, model="NA", gain=nothing, gains=dict.fromkeys(RULES, nothing), predicted=np.full((3, 6), np.nan)))
    assert page.says("UNKNOWN") and page.says("toy cannot be judged") and page.says("no values")
    assert not page.says("nan")


@pytest.mark.usefixtures("no_pictures")
def test_a_rule_that_is_NA_is_printed_NA_and_never_named_best(tmp_path):
    options = make_run(tmp_path)
    assert make_page(options).says("best rule, ridge")
    row = re.search(r'<th scope="row">mean</th>(.*?)</tr>', options.out.read_text(), re.DOTALL)[1]
    assert set(re.findall(r">([^<>\s]+)<", row)) == {"NA"}


@pytest.mark.usefixtures("no_pictures")
def test_collapse_and_leakage_stand_in_red_below_the_verdict(tmp_path):
    options = make_run(tmp_path)
    assert not make_page(options).says("COLLAPSED")
    options = make_run(tmp_path, status="collapsed")
    pairs = "CD4~CD8 (r 0.86),GMP~CMP (r 0.78)"
    write_table(
        options.leakage,
        LEAKAGE_COLUMNS,
        [
            ("samples", "donor", 1, 0, 1, 1, 4, "Ann"),
            ("samples", "biosample", 1, 1, 0, 0, 5, ""),
            ("samples", "expression", 1, 1, 1, 2, 0, "S1=S2"),
            ("samples", "twin", 1, 0, 1, 2, 0, pairs),
            ("genes", "chrom", 0, 0, 1, 1, 0, "chr1"),
        ],
    )
    page = make_page(options)
    red = re.findall(r'<p class="bad">(.*?)</p>', options.out.read_text())
    assert [words.split(":")[0] for words in red] == [
        "COLLAPSED in 1 of 2 trainings (fold 0 seed 2)",
        "Test and training samples have the same donor in 1 of 1 folds (Ann)",
        "Test and training samples have identical expression in 1 of 1 folds (S1=S2)",
        "CD4 has a near-duplicate in training",
    ]
    assert page.says("CD4 has a near-duplicate in training: CD8 (r 0.86); GMP has a near-duplicate in training: CMP (r 0.78). The scores")
    assert page.says("samples: a near-duplicate only looked for 2 samples, in 1 of 1 folds CD4~CD8 (r 0.86), GMP~CMP (r 0.78)")
    assert page.says("samples: the same biosample kept apart by the folds nothing seen not known of 5 samples –")
    assert page.says("genes: the same chromosome – not held out chr1")


def remarks(**columns: tuple) -> tuple:
    """Return rows of scores.tsv for `more`: name=(predictor, metric, scope, value, low, high)."""
    return tuple((predictor, "", metric, scope, "groups", *numbers, 8) for predictor, metric, scope, *numbers in columns.values())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "mse, status, said",
    [
        ((0.9995, 1.0), "trained", True),
        ((1.2, 1.0), "trained", True),
        ((0.9, 1.0), "trained", False),
        ((0.9995, 1.0), "collapsed", False),
    ],
)
def test_no_better_than_the_mean_is_said_in_the_verdict(tmp_path, mse, status, said):
    errors = {name: (name, "mse", "pooled", value, "NA", "NA") for name, value in zip(("model", "mean"), mse, strict=True)}
    page = make_page(make_run(tmp_path, status=status, more=remarks(**errors)))
    assert page.says("It is no better than the training mean: its mean squared error is") == said


@pytest.mark.usefixtures("no_pictures")
def test_score_without_twins_and_the_most_that_replicates_allow_stand_in_the_verdict(tmp_path):
    assert not any(make_page(make_run(tmp_path)).says(words) for words in ("near-duplicates, ", "Replicates agree", "most that replicates"))
    rows = remarks(
        twins=("model", "r_gene_dev", "without twins", 0.61, 0.55, 0.65),
        replicate=("replicate", "r_gene_dev", "pooled", 0.93, 0.92, 0.94),
        ceiling=("ceiling", "r_gene_dev", "pooled", 0.964, 0.96, 0.97),
    )
    page = make_page(make_run(tmp_path, more=rows))
    assert page.says("Without samples that have a near-duplicate in training its r_gene_dev is 0.61.")
    assert page.says("r_gene_dev without near-duplicates, 95 % interval 0.55 to 0.65 over 8 groups of samples")
    assert page.says("Replicates agree to r 0.93; the most that any prediction can reach is 0.96.")
    assert page.says("the most that replicates allow 0.96")
    assert page.says("toy, pooled, without samples that have a near-duplicate in training") and page.says("ceiling 0.964 0.960 to 0.970")


@pytest.mark.usefixtures("no_pictures")
def test_a_model_above_what_replicates_allow_casts_doubt_on_the_replicates(tmp_path):
    rows = remarks(
        replicate=("replicate", "r_gene_dev", "pooled", 0.36, 0.3, 0.4), ceiling=("ceiling", "r_gene_dev", "pooled", 0.6, 0.5, 0.7)
    )
    page = make_page(make_run(tmp_path, more=rows))
    assert page.says("Replicates agree to r 0.36, less than the model does with them; they may not be replicates.")
    assert not page.says("the most that")


def hold_out(options: Namespace, *axes: str) -> None:
    """Say in the leakage table what is held out."""
    rows = [(axis, thing, int(axis in axes), 1, 0, 0, 0, "") for axis, thing in (("samples", "donor"), ("genes", "chrom"))]
    write_table(options.leakage, LEAKAGE_COLUMNS, rows)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("axes, at_most", [(["samples"], "UNDECIDED"), (["samples", "genes"], "UNDECIDED"), (["genes"], "BETTER")])
@pytest.mark.parametrize("gain", [BETTER, WORSE])
def test_of_too_few_groups_of_samples_nothing_is_decided(tmp_path, axes, at_most, gain):
    """The unit fell back to genes: their number says nothing of other samples."""
    metric = "r_gene" if "genes" in axes else "r_gene_dev"
    rows = [
        ("model", "", metric, "pooled", "genes", 0.71, 0.6, 0.8, 900),
        ("model", "", "r_sample_median", "pooled", "groups", 0.5, "NA", "NA", 4),
    ]
    rows += [("model", rule, metric, "pooled", "genes", *gain, 900) for rule in RULES]
    options = make_run(tmp_path, more=tuple(rows))
    hold_out(options, *axes)
    page = make_page(options)
    assert page.says(at_most if at_most == "UNDECIDED" or gain == BETTER else "WORSE")
    assert page.says("only 4 groups of samples were held out") == ("samples" in axes)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "axes, question",
    [
        (["genes"], "predicts how expression differs between genes better than every simple rule"),
        (["samples", "genes"], "predicts how high unseen genes are in unseen samples better than every simple rule"),
    ],
)
def test_unseen_genes_are_judged_by_r_gene(tmp_path, axes, question):
    """By r_gene_dev the model is worse than ridge; by r_gene it is better than every rule, of which nearest is the best."""
    values = {"model": 0.7, "mean": "NA", "nearest": 0.5, "ridge": 0.4, "rule": 0.3}
    rows = [(name, "", "r_gene", "pooled", "groups", value, "NA", "NA", 8) for name, value in values.items()]
    rows += [("model", name, "r_gene", "pooled", "groups", 0.2, 0.1, 0.3, 8) for name in RULES]
    rows += [("model", "", "r_gene", "without twins", "groups", 0.65, 0.6, 0.7, 8)]
    options = make_run(tmp_path, gain=WORSE, more=tuple(rows))
    hold_out(options, *axes)
    page = make_page(options)
    assert page.says(
        f"toy {question} (r_gene 0.70; best rule, nearest: 0.50; gain 0.20, 95 % interval 0.10 to 0.30 over 8 groups of samples)."
    )
    assert page.says("r_gene of toy 0.70") and page.says("r_gene without near-duplicates")
    hold_out(options, "samples")
    assert make_page(options).says("WORSE")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("gain, word", [((-0.1, -0.18, -0.02), "UNDECIDED"), ((-0.1, -0.18, -0.03), "WORSE")])
def test_worse_allows_for_the_choice_of_the_best_of_four_rules(tmp_path, gain, word):
    """Of four rules the half-width is z(1 − 0.025 / 4) / z(0.975) = 1.274 times as wide: 0.102 and 0.089 beside a gain of 0.1."""
    page = make_page(make_run(tmp_path, gain=gain))
    assert page.says(word) and page.says("allows for the choice of the best of 4 rules") == (word == "UNDECIDED")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("labels", [1, 3, 6])
def test_where_an_example_is_a_gene_rows_are_labels(tmp_path, labels):
    """Over few labels a gene's correlation tells nothing; over six it has a place."""
    ids = [f"L{i}" for i in range(labels)]
    metrics = [("r_gene", 0.7), ("r_gene_dev", 0.6), ("r_sample_median", 0.4)]
    rows = [(name, "", metric, "pooled", "genes", value, 0.6, 0.8, 6) for name in ("model", "ridge") for metric, value in metrics]
    options = make_run(tmp_path, ids, more=(*rows, ("model", "ridge", "r_gene", "pooled", "genes", 0.1, 0.05, 0.15, 6)))
    with h5py.File(options.predictions[0], "r+") as file:
        file.attrs["axes"] = "genes"
    hold_out(options, "genes")
    page, several = make_page(options), labels > 5
    assert page.says(f"toy:default on {labels} label{'s' * (labels > 1)} × 6 genes (log2(tpm + 1)), 1 fold")
    assert page.says("toy: r_gene label by label") == (labels > 1)
    assert page.says("r_gene, which genes are high and which are low" + " within a label" * (labels > 1))
    assert (
        page.says("r_sample_median")
        == page.says("Which genes are predictable")
        == page.says("the model is above the best simple rule")
        == several
    )
    assert not page.says("r_gene_dev") and not page.says("training mean, the same in every sample") and page.says("Names of the labels")


def of_isoforms(path: Path) -> Path:
    """Make predictions those of six transcripts of the tiny dataset."""
    with h5py.File(path, "r+") as file:
        file["columns"][:] = [f"T{i}" for i in range(6)]
        file.attrs["unit"] = "fraction"
    return path


def sections_of(page: str) -> dict[str, str]:
    """Return the words of each section by its anchor, what is folded away about predictors left out."""
    page = re.sub(r"<details><summary>What the model is compared with.*?</details>", "", page, flags=re.DOTALL)
    sections = re.findall(r'<section>\s*<h2 id="([\w-]+)">(.*?)</section>', page, re.DOTALL)
    return {anchor: " ".join(re.sub(r"<[^>]*>", " ", text.replace("<wbr>", "")).split()) for anchor, text in sections}


def test_where_columns_are_transcripts_the_page_speaks_of_isoforms(tmp_path):
    rows = [("model", "", metric, "pooled", "genes", 0.7, 0.6, 0.8, 900) for metric in ("r_gene_dev", "r_sample_median", "mse")]
    options = make_run(tmp_path, more=(*rows, ("model", "ridge", "r_gene_dev", "pooled", "genes", *BETTER, 900)))
    options.dataset = tiny_dataset(tmp_path / "dataset.h5")
    assert make_page(options).says("3 samples × 6 genes (log2(tpm + 1))"), "the dataset has transcripts, but these are genes"
    of_isoforms(options.predictions[0])
    page, sections = make_page(options), sections_of(options.out.read_text())
    assert page.says("3 samples × 6 isoforms (fraction)") and page.says("samples 3 isoforms 6 held out")
    assert page.says("Whether toy predicts how shares of isoforms differ between samples better") and page.says("0.18 over 900 isoforms).")
    assert page.says("Within one sample, each isoform's training mean taken away") and page.says("in which samples an isoform is higher")
    assert not re.search(r"\bgenes?\b", sections["scores"] + sections["observed"]) and "r_gene_dev" in sections["scores"]
    assert sections["genes"].startswith("Which isoforms are predictable toy: across samples 5 of 6 isoforms rise and fall")
    assert page.says("the correlation across isoforms, r_sample the correlation of one isoform across samples (median over isoforms)")


@pytest.mark.usefixtures("no_pictures")
def test_beside_a_family_of_genes_isoforms_are_told_apart(tmp_path):
    options = make_run(tmp_path)
    options.predictions.append(of_isoforms(write_predictions(tmp_path / "split.h5", ["S1", "S2", "S3"], family="split")))
    options.scores.write_text(options.scores.read_text() + "split\tmodel\t\tr_gene_dev\tpooled\tgroups\t0.5\tNA\tNA\t8\n")
    options.dataset = tiny_dataset(tmp_path / "dataset.h5")
    page = make_page(options)
    assert page.says("gene Where columns are isoforms, read isoform for it: split.")
    assert page.says("Which genes and isoforms are predictable") and page.says("genes or isoforms 6 6")
    assert page.says("toy: the same minus each gene's training mean") and page.says("split: the same minus each isoform's training mean")


PERMUTED = "the gain over the same network with those of another sample of its biosample is"
MATCHED = "with other genes of equal mean and spread in their place is"
CONTROL_REMARKS = {
    "both": (
        [(0.2, 0.1, 0.3, "groups"), (0.1, 0.05, 0.15, "groups")],
        ["The splicing factors of a sample and splicing factors rather than any genes carry a part of it: "
         f"{PERMUTED} 0.20, 95 % interval 0.10 to 0.30 over 8 groups of samples; over one {MATCHED} 0.10, 95 % interval 0.050 to 0.15 over 8 groups of samples."],
    ),
    "one": (
        [(0.2, 0.1, 0.3, "groups"), (0.1, -0.05, 0.25, "groups")],
        [f"The splicing factors of a sample carry a part of it: {PERMUTED} 0.20, 95 % interval 0.10 to 0.30 over 8 groups of samples.",
         "That splicing factors rather than any genes carry any of it is not shown: the gain over the same network "
         f"{MATCHED} 0.10, 95 % interval −0.050 to 0.25 over 8 groups of samples."],
    ),
    "none": (
        [(0.0, -0.1, 0.1, "groups"), (0.1, np.nan, np.nan, "")],
        ["That the splicing factors of a sample, or splicing factors rather than any genes, carry any of it is not shown: "
         f"{PERMUTED} 0, 95 % interval −0.10 to 0.10 over 8 groups of samples; over one {MATCHED} 0.10, no interval."],
    ),
    "too few": (
        [(0.2, 0.1, 0.3, "genes"), (-0.1, -0.2, -0.05, "genes")],
        ["So few groups of samples cannot tell whether the splicing factors of a sample, or splicing factors rather than any genes, carry a part of it: "
         f"{PERMUTED} 0.20, 95 % interval 0.10 to 0.30 over 8 isoforms; over one {MATCHED} −0.10, 95 % interval −0.20 to −0.050 over 8 isoforms."],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTROL_REMARKS)
def test_controls_of_which_the_same_was_found_are_one_sentence(tmp_path, case):
    gains, said = CONTROL_REMARKS[case]
    predictions = read_predictions(write_predictions(tmp_path / "toy.h5", ["S1"]))
    predictions = predictions._replace(controls=["matched", "permuted", "shuffled"], column="isoform")
    scores = {
        ("toy", MODEL, name, "r_gene_dev", POOLED): Estimate(value, low, high, 8, unit)
        for name, (value, low, high, unit) in zip(("permuted", "matched"), gains, strict=True)
    }
    assert control_remarks(scores, predictions, "r_gene_dev") == said
    assert control_remarks(scores, predictions._replace(controls=["shuffled"]), "r_gene_dev") == []


def test_single_seeds_and_classes_of_genes_have_tables_where_there_are_any(tmp_path):
    page = make_page(make_run(tmp_path))
    assert not page.says("single seeds") and not page.says("by the similarity")
    scopes = {
        "seed 1": (0.4, "NA", "NA"),
        "seed 2": (0.6, "NA", "NA"),
        "mean over seeds (SD)": (0.5, 0.36, 0.64),
        "best seed by validation": (0.6, 0.5, 0.7),
    }
    rows = {scope: ("model", "r_gene_dev", scope, *numbers) for scope, numbers in scopes.items()}
    rows |= {"class": ("model", "r_gene", "nearest training gene 0.05 to 0.2", 0.33, 0.3, 0.4)}
    page = make_page(make_run(tmp_path, more=remarks(**rows)))
    assert page.says("seed 1 0.400") and page.says("seed 2 0.600") and page.says("best seed by validation 0.600 0.500 to 0.700")
    assert page.says("mean over seeds (SD) 0.500 ± 0.140")
    assert page.says("r_gene, similarity 0.05 to 0.2 0.330 0.300 to 0.400") and not page.says("similarity 0.2 to 1")


def test_a_control_is_shown_and_never_named_best(tmp_path):
    options = make_run(tmp_path, more=remarks(control=("shuffled", "r_gene_dev", "pooled", 0.71, 0.7, 0.72)))
    with h5py.File(options.predictions[0], "a") as file:
        file["controls/shuffled"] = np.zeros((1, 3, 6), dtype=np.float32)
    page = make_page(options)
    assert page.says("shuffled 0.710 0.700 to 0.720") and page.says("best rule, ridge")
    assert all('class="best' not in cell for cell in row_of(options.out.read_text(), "shuffled"))


@pytest.mark.usefixtures("no_pictures")
def test_genes_are_counted_and_the_best_are_listed_first(tmp_path):
    options = make_run(tmp_path)
    page = make_page(options)
    assert page.says(
        "toy: across samples 5 of 6 genes rise and fall with the model's prediction beyond chance (false discovery rate below 5 %)."
    )
    assert page.says("The best predictor is the model for 5, ridge for 1 genes.")
    assert page.says("g5 G5 12 1.500 0.800 0.050 model 0.850 0.700 to 0.900")
    text = options.out.read_text()
    assert text.index(">g5</th>") < text.index(">g4</th>") < text.index(">g0</th>")


@pytest.mark.usefixtures("no_pictures")
def test_of_genes_without_a_correlation_none_is_listed(tmp_path):
    options = make_run(tmp_path)
    row = ("G0", "g0", "toy", 2, "NA", "NA", *["NA"] * 6)
    write_table(options.genes, [*evaluate.GENE_COLUMNS, "r_model", "r_ridge"], [row])
    page = make_page(options)
    assert page.says("no gene has a correlation across samples") and not page.says("genes with the highest r_sample")


@pytest.mark.usefixtures("no_pictures")
def test_at_most_twenty_genes_are_listed(tmp_path):
    options = make_run(tmp_path)
    rows = [(f"G{i}", "", "toy", 12, 1, "model", 0.5, 0.4, 0.6, 0.01, i / 100, "NA") for i in range(90)]
    write_table(options.genes, [*evaluate.GENE_COLUMNS, "r_model", "r_ridge"], rows)
    text = (make_page(options), options.out.read_text())[1]
    assert re.findall(r'<th scope="row">(G\d+)</th>', text) == [f"G{i}" for i in range(89, 69, -1)]


def full_run(folder: Path, ids: list[str]) -> Namespace:
    """Add what is optional: two learning curves, quality counts, attributions around the TSS, versions that differ."""
    options = make_run(folder, ids)
    for seed in (1, 2):
        write_table(
            folder / f"toy.fold0.seed{seed}.history.tsv",
            ["epoch", "seed", "train_loss", "valid_loss"],
            [(1, 1, 9.0, 3.0), (2, 1, 1.0, 0.5), (1, 1001, 2.0, "NA")],
        )
    (folder / "a.peaks.tsv").write_text(PEAKS + f"{ids[0]}\t1200\t1100\t1000\t40\t60\t5000\t0.0312\t350\n")
    options.read_stats = [write_reads(folder, one, remark=f"odd {one}") for one in ids]
    (folder / "expression.tsv").write_text(f"sample\ttotal\tdetected\tdetected_share\tunit\n{ids[0]}\t1000000\t15321\t0.61\ttpm\n")
    with h5py.File(folder / "toy.attributions.h5", "w") as file:
        file.attrs.update(
            {
                "family": "toy",
                "fold": 0,
                "seed": 1,
                "code": "feed",
                "unit": "log2",
                "method": "m",
                "completeness_error_max": 0.001,
                "bins": 4,
                "bin_bp": 10_000,
                "flank_bp": 20_000,
            }
        )
        file["row"], file["predicted"], file["reference"] = np.arange(2), np.ones(2), np.zeros(2)
        file["tss"] = np.array([1000, 2000])
        file["shares/window"] = np.array([[0.5, 1, -2, 0.5], [0, 1, 3, 0]], dtype=np.float32)
    for name, version in (("a", "1.0"), ("b", "2.0")):
        task = {"script": "train.py", "versions": {"numpy": version}, "wall_s": 100.5, "cpu_s": 99, "peak_mib": 1536.0}
        (folder / f"{name}.json").write_text(json.dumps(task))
    options.histories = sorted(folder.glob("*.history.tsv"))
    options.peak_stats, options.expression_stats = [folder / "a.peaks.tsv"], [folder / "expression.tsv"]
    options.attributions, options.tasks = [folder / "toy.attributions.h5"], [folder / "a.json", folder / "b.json"]
    return options


def test_every_section_shows_what_it_was_given(tmp_path):
    page = make_page(full_run(tmp_path, ["S1", "S2"]))
    shown = (
        "seed 1 lowest validation loss in epoch 2 of 3, started again after a collapse",
        "15,321",
        "3.12 %",
        "88.9 %",
        "1.0, 2.0",
        "bin_bp",
        "0123abcd",
        "feed",
        "2 tasks took 3 min 18 s of CPU time; the largest, of train.py, held 1.5 GiB.",
        "train.py 2 201.0 100.5 198.0 1,536",
    )
    for words in shown:
        assert page.says(words), words
    assert page.says("88 % of all lies within 10 kb of the TSS")  # (1 + 2 + 1 + 3) of 8; centres at −15, −5, 5 and 15 kb
    assert page.says("They do: they miss it by at most 0.0010, where that network's predictions change by 1 on average.")
    assert page.open == [] and page.tags.count("svg") == len(page.alts) == 9 and all(page.alts)


def test_two_samples_and_nothing_optional(tmp_path):
    page = make_page(make_run(tmp_path, ["S1", "S2"]))
    assert page.open == []
    assert page.says("No learning curves") and page.says("finished dataset") and page.says("No attributions") and page.says("No task told")


def test_what_is_no_task_file_is_refused(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    options.tasks[0].write_text('{"numpy": "1.0"}')
    with pytest.raises(InputError, match="a.json: not what a script writes to --task-out"):
        report.report(options)


def test_reads_stand_in_a_row_a_sample(tmp_path):
    single = {"layout": "single", "strandedness": "unstranded", "lanes": 3, "fragment_mean": 200, "fragment_sd": 30, "forward_share": "NA"}
    page = make_page(make_data_run(tmp_path, B=single, A={}))
    text = (tmp_path / "report.html").read_text()
    cells = row_of(text, "A")
    assert [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in cells] == [
        "10,000", "88.9 %", "40.0 %", "paired, reverse 3.1 % forward", "210", "4,000", "1,000", "",
    ]  # fmt: skip
    assert "--bar-end: 89%" in cells[1] and "--bar-end: 100%" in cells[6]
    assert page.says("10,000 3 lanes") and page.says("single, unstranded 200 SD 30, given")
    assert text.index(">A</th>") < text.index(">B</th>")


ODD_READS = {
    "G1": {},
    "low": {"mapped_share": 0.213},
    "few": {"genes": 499},
    "G2": {},
    "said": {"remark": "strandedness unclear"},
    "both": {"mapped_share": 0.4, "genes": 0},
}


def test_samples_whose_reads_stand_out_are_named_with_the_reason(tmp_path):
    page = make_page(make_data_run(tmp_path, **ODD_READS, edge={"mapped_share": 0.5, "genes": 500}))
    assert page.says(
        "RNA reads: 4 of 7 samples stand out: both (only 40.0 % of the reads map; only 0 genes are detected, the median is 1,000), "
        "few (only 499 genes are detected, the median is 1,000), low (only 21.3 % of the reads map), said (strandedness unclear)."
    )
    text = (tmp_path / "report.html").read_text()
    assert [sum('class="bad' in cell for cell in row_of(text, name)) for name in ("G1", "low", "few", "both", "edge")] == [0, 1, 1, 2, 0]


def test_the_picture_of_reads_begins_with_what_stands_out_in_red(tmp_path):
    report.report(make_data_run(tmp_path, **ODD_READS))
    drawn = re.findall(r'<text style="([^"]*)"[^>]*>([a-zG]+\d?)</text>', (tmp_path / "report.html").read_text())
    names = [(name, "var(--worse)" in style) for style, name in drawn if name in ODD_READS]
    assert names == [("both", True), ("low", True), ("few", True), ("said", True), ("G1", False), ("G2", False)]


def test_reads_of_which_none_stands_out(tmp_path):
    page = make_page(make_data_run(tmp_path, A={}, B={"genes": 1_200}))
    assert page.says("nothing stands out; in every sample at least 50 % of the reads map and 550 genes (half of the median) are detected.")


def test_of_many_samples_the_60_lowest_are_drawn(tmp_path):
    page = make_page(make_data_run(tmp_path, **{f"S{n}": {"mapped_share": 0.6 + n / 1000} for n in range(61)}))
    text = (tmp_path / "report.html").read_text()
    assert ">S59</text>" in text and ">S60</text>" not in text and ">S60</th>" in text
    assert page.says("the 60 lowest of 61 samples") and len(text) < 200_000


def test_a_run_without_models_is_a_page_of_data_without_a_verdict(tmp_path):
    options = make_data_run(tmp_path, A={})
    page = make_page(options)
    assert page.open == [] and page.says("exprcast: the data; no model was trained") and "article" not in page.tags
    assert not any(page.says(word) for word in ("BETTER", "WORSE", "UNDECIDED", "UNKNOWN", "Scores", "Learning curves"))
    assert re.findall(r'<h2 id="(\w+)"', options.out.read_text()) == ["quality", "methods", "resources", "provenance"]


def test_without_a_dataset_the_cohort_is_the_sample_tables(tmp_path):
    options = make_data_run(tmp_path, A={}, B={})
    options.cohort = tmp_path / "cohort.tsv"
    write_table(
        options.cohort, ["id", "donor", "biosample", "replicate_group", "batch"], [("A", "d1", "", "", ""), ("B", "d2", "", "", "")]
    )
    (tmp_path / "a.peaks.tsv").write_text(PEAKS + "A\t1200\t1100\t1000\t40\t60\t5000\t0.0312\t350\n")
    options.peak_stats = [tmp_path / "a.peaks.tsv"]
    page = make_page(options)
    assert page.says("2 samples, 2 donors") and page.says("1 of 2 samples have both RNA and ATAC; not B (no ATAC).")
    assert re.findall(r'<h2 id="(\w+)"', options.out.read_text()) == ["cohort", "quality", "methods", "resources", "provenance"]


@pytest.mark.parametrize("lacking", ["scores", "samples", "genes", "leakage", "predictions"])
def test_files_of_models_are_given_all_or_none(tmp_path, lacking):
    options = make_run(tmp_path)
    setattr(options, lacking, None)
    with pytest.raises(InputError, match=f"without --{lacking}: give all of them, or none for a run without models"):
        report.report(options)


def test_learning_curves_need_models(tmp_path):
    options = make_data_run(tmp_path)
    options.histories = [tmp_path / "toy.fold0.seed1.history.tsv"]
    with pytest.raises(InputError, match="^--histories without --scores, --samples, --genes, --leakage, --predictions: give all"):
        report.report(options)


READ_FAULTS = {
    "mapped_share": ("high", r"reads0.tsv line 2, column mapped_share: 'high' is no number"),
    "genes": ("NA", r"reads0.tsv line 2, column genes: 'NA' is no count and no share; every sample needs one"),
    "reads": ("inf", r"reads0.tsv line 2, column reads: 'inf' is no count"),
    "sample": ("B", r"counts of reads: sample 'B' occurs twice"),
}


@pytest.mark.parametrize("column", READ_FAULTS)
def test_bad_counts_of_reads_are_named(tmp_path, column):
    value, message = READ_FAULTS[column]
    options = make_data_run(tmp_path)
    options.read_stats = [write_reads(tmp_path, **{"sample": "A", column: value}), write_reads(tmp_path, "B")]
    with pytest.raises(InputError, match=message):
        report.report(options)


def test_counts_of_reads_need_every_column(tmp_path):
    options = make_data_run(tmp_path, A={})
    options.read_stats[0].write_text("sample\tlayout\nA\tpaired\n")
    with pytest.raises(InputError, match="reads0.tsv line 1: no column lanes, reads, mapped"):
        report.report(options)


def test_names_from_outside_are_escaped_everywhere(tmp_path):
    evil = '<script>alert("1")</script>'
    options = full_run(tmp_path, [evil, "S$x$"])
    options.parameters.write_text(json.dumps({evil: evil}))
    page = make_page(options)
    assert page.tags.count("script") == options.out.read_text().lower().count("<script") == 1  # ours
    assert page.says(evil)  # in tables
    assert ">S$x$</text>" in options.out.read_text()  # no mathematics in pictures


def test_the_page_asks_the_network_for_nothing(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    page = make_page(options)
    assert len(page.addresses) > 20
    assert [address for address in page.addresses if not address.startswith(("#", "data:"))] == []
    assert [link for link in page.links if not link.startswith(("#", "https://doi.org/10."))] == []
    assert not {"link", "img", "iframe", "object"} & set(page.tags) and "@import" not in options.out.read_text()
    assert not [tag for tag in re.findall(r"<[a-z][^>]*>", options.out.read_text()) if re.search(r"\son\w+=", tag)]


def test_colours_of_pictures_are_the_pages_own(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    report.report(options)
    text = options.out.read_text()
    assert "#0101" not in text and "prefers-color-scheme: dark" in text
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= set(re.findall(r"(--[\w-]+):", text))


def test_ids_inside_pictures_are_unique(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    report.report(options)
    ids = re.findall(r'\sid="([^"]+)"', options.out.read_text())
    assert len(ids) == len(set(ids)) > 10


def test_the_pipeline_and_its_engine_stand_among_the_versions(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    options.parameters.write_text(json.dumps({"bin_bp": 200, "pipeline": {"exprcast": "0.9", "nextflow": "25.04.4"}}))
    page = make_page(options)
    assert page.says("exprcast 0.9") and page.says("nextflow 25.04.4") and page.says("bin_bp 200") and not page.says("pipeline {")
    options.parameters.write_text('{"pipeline": 3}')
    with pytest.raises(InputError, match="parameters.json: pipeline: names and versions are needed"):
        report.report(options)


def test_same_input_same_bytes(tmp_path):
    options = full_run(tmp_path, ["S1", "S2"])
    report.report(options)
    first = options.out.read_bytes()
    arguments = ["--out", str(tmp_path / "again.html"), "--code", options.code]
    for name, value in vars(options).items():
        if name not in ("out", "code") and value is not None:
            arguments += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    subprocess.run([sys.executable, report.__file__, *arguments], check=True)
    assert (tmp_path / "again.html").read_bytes() == first


def test_many_samples_get_a_histogram_not_bars(tmp_path):
    few, many = [f"few{i}" for i in range(60)], [f"many{i}" for i in range(61)]
    options = make_run(tmp_path, few)
    report.report(options)
    assert ">few59</text>" in options.out.read_text()
    options = make_run(tmp_path, many)
    page = make_page(options)
    assert ">many59</text>" not in options.out.read_text() and page.says("r_gene_dev of a sample")
    assert options.out.stat().st_size < 1_000_000


def test_reads_what_combine_and_evaluate_write(tmp_path):
    dataset_path = tiny_dataset(tmp_path / "dataset.h5", samples=12)
    dataset = Dataset(dataset_path)
    observed = np.log2(1 + dataset.array("expression/gene"))
    rng, parts, more = (
        np.random.default_rng(0),
        [],
        {"axes": "samples×genes", "unit": "log2(tpm + 1)", "family": "toy", "preset": "default", "methods": "", "code": "", "refit": False},
    )
    for fold in range(dataset.n_folds):
        role = combine_roles(dataset.sample_role[fold], dataset.gene_role[fold], "samples")
        mean = np.broadcast_to(observed[dataset.sample_role[fold] == TRAIN].mean(axis=0), observed.shape)
        noisy = lambda sd, mean=mean: mean + 0.8 * (observed - mean) + rng.normal(0, sd, observed.shape)  # noqa: E731
        baselines = {
            "mean": mean,
            "ridge": noisy(3),
            "nearest": noisy(3),
            "rule": noisy(3),
            "observed": observed,
            "training_mean": mean[:1],
            "training_sd": np.ones_like(mean[:1]),
        }
        for of, matrices, facts in (("model", {"model": noisy(0.01)}, {"seed": 1, "status": "trained"}), ("baselines", baselines, {})):
            parts.append(tmp_path / f"{of}{fold}.h5")
            with h5py.File(parts[-1], "w") as file:
                file.attrs.update({**more, "of": of, "fold": fold, **facts})
                for name, ids in (("rows", dataset.samples), ("columns", dataset.genes)):
                    file.create_dataset(name, data=np.array(ids, dtype=object), dtype=h5py.string_dtype())
                for name, matrix in matrices.items():
                    file[name] = matrix.astype(np.float32)
                if of == "baselines":
                    file["role"] = role
    options = make_run(tmp_path)
    options.predictions = [tmp_path / "combined.h5"]
    combine.combine(Namespace(predictions=parts, table_rows=0, table_out=None, out=options.predictions[0]))
    paths = {f"{name}_out": getattr(options, name) for name in ("samples", "genes")}
    evaluate.evaluate(Namespace(predictions=options.predictions, dataset=dataset_path, nearest=None, seed=1, out=options.scores, **paths))
    options.dataset = dataset_path
    page = make_page(options)
    assert page.says("12 samples, 6 donors") and page.says("The dataset holds 12 samples and 12 genes")
    assert (
        page.says("BETTER")
        and page.says("2 × 12")
        and page.says("12 of 12 samples")
        and page.says("r_sample of the 12 genes that have one")
    )


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda o: o.histories.append(o.out.with_name("curve.tsv")), r"curve.tsv: a learning curve is named <family>"),
        (lambda o: o.parameters.write_text("{"), r"parameters.json: not JSON"),
        (lambda o: o.parameters.write_text("[1]"), r"this is a list"),
        (lambda o: write_scores(o.scores, family="other"), r"scores.tsv has no scores of toy; it has other"),
        (lambda o: o.predictions.append(o.predictions[0]), r"family 'toy' occurs twice"),
        (lambda o: o.attributions.append(o.predictions[0]), r"toy.h5: not a file of attributions made by attribute.py: row"),
        (lambda o: o.scores.write_text("family\tvalue\n"), r"scores.tsv line 1: no column predictor"),
    ],
)
def test_bad_input_is_named(tmp_path, damage, message):
    options = make_run(tmp_path)
    damage(options)
    with pytest.raises(InputError, match=message):
        report.report(options)


def test_a_missing_file_is_one_line_and_exit_1(tmp_path):
    options = make_run(tmp_path)
    arguments = [f"--{name}={getattr(options, name)}" for name in ("scores", "samples", "genes", "parameters", "out")]
    arguments += ["--predictions", str(options.predictions[0]), "--leakage", "nowhere.tsv"]
    ended = subprocess.run([sys.executable, report.__file__, *arguments], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "report.py: error: nowhere.tsv: no such file\n")
    assert not options.out.exists()


def test_numbers_as_a_reader_wants_them():
    assert [number(value, 2) for value in (0.714, 0.0171, -0.5, 1234.4, 3.0, np.nan)] == ["0.71", "0.017", "−0.50", "1,234", "3", "NA"]
    assert [decimal(value) for value in (0.0538, -0.9, 1.0, 0.00012, np.nan)] == ["0.054", "−0.900", "1.000", "0.000120", "NA"]


def test_an_admission_of_misaligned_tables_is_said_first():
    assert admission_warning("") == []
    (warning,) = admission_warning("a.csv and b.csv: the columns are not the same genes in the same order")
    assert "a.csv and b.csv" in warning
    assert "no score here says anything about expression" in warning
