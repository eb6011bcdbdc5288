"""The page on new samples: how far to believe what was predicted, in the right words and with the right numbers."""

import html
import json
import re
import subprocess
from argparse import Namespace
from pathlib import Path

import h5py
import numpy as np
import pytest

import report_applied
from exprcast import applied, applied_sections, figures
from exprcast.applied import Applied, Calibration, summarise
from exprcast.applied_sections import choose_drawn
from exprcast.applied_verdict import coverage_by_group
from exprcast.cli import InputError
from exprcast.page import Picture
from exprcast.tables import read_table
from test_export_applied import TEXT, write_applied
from test_report import PEAKS, Reader
from test_report_browser import CHROMIUM, OPTIONS
from tiny import run_script, tiny_dataset

WRAPPER = """<!DOCTYPE html><meta charset="utf-8"><iframe src="report.html" width="1280" height="900"></iframe><pre></pre><script>
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  document.querySelector("pre").textContent = JSON.stringify({
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    overflow: [400, 1280].filter(width => { frame.width = width; return page.documentElement.scrollWidth > width; }),
    height: page.body.offsetHeight,
  });
});
</script>"""


def options_for(folder: Path, *files: Path, **more: object) -> Namespace:
    """Return the options of report_applied.py."""
    (folder / "parameters.json").write_text('{"confidence": 0.9, "pipeline": {"Nextflow": "25.10"}}')
    words = ["--applied", *files, "--parameters", folder / "parameters.json", "--out", folder / "report.html"]
    for name, value in more.items():
        words += [f"--{name.replace('_', '-')}", value]
    parsed = report_applied.parse_args().parse_args(list(map(str, words)))
    parsed.code = "0123abcd"
    return parsed


def make_page(folder: Path, *files: Path, **more: object) -> Reader:
    """Write the page and follow it."""
    options = options_for(folder, *files, **more)
    report_applied.report_applied(options)
    return Reader(options.out.read_text())


def read(folder: Path) -> str:
    """Return the page."""
    return (folder / "report.html").read_text()


def judge(folder: Path, *files: Path) -> dict[str, Path]:
    """Score applied predictions as the pipeline does; return the options that tell report_applied.py."""
    dataset = tiny_dataset(folder / "dataset.h5")
    out = {"scores": folder / "scores.tsv", "samples": folder / "sample_scores.tsv"}
    tables = ("--samples-out", out["samples"], "--genes-out", folder / "genes.tsv", "--out", out["scores"])
    run_script("evaluate", "--predictions", *files, "--dataset", dataset, *tables)
    return out


def rows_of(folder: Path, caption: str) -> list[dict[str, str]]:
    """Return the rows of the table whose caption begins so, {column: first line of the cell}."""
    page = read(folder)
    table = next(one for one in re.findall(r"<table>.*?</table>", page, re.DOTALL) if f"<caption><span>{caption}" in one)
    text = lambda cell: html.unescape(re.sub(r"<span class=.note.>.*?</span>|<[^>]+>", "", cell)).strip()  # noqa: E731
    head, *rows = [
        [text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)
    ]
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.fixture
def no_pictures(monkeypatch):
    """Draw nothing: for tests about words."""
    blank = lambda name, paint, alt, caption, *_more, **_others: Picture("", alt, caption)  # noqa: E731
    monkeypatch.setattr(figures, "picture", blank)
    monkeypatch.setattr(applied_sections, "picture", blank)


@pytest.mark.usefixtures("no_pictures")
def test_without_rna_the_box_says_unknown_and_what_held_out_samples_had(tmp_path):
    page = make_page(tmp_path, write_applied(tmp_path / "toy.h5", outside=0))
    assert page.says("UNKNOWN") and page.says("because no RNA of theirs was given")
    with h5py.File(tmp_path / "toy.h5") as file:
        width = float((file["high"][:] - file["low"][:]).mean())
    assert page.says(f"{width:.1f} mean width of the 90 % interval, log2(tpm + 1)".split(" ", 1)[1]) and f"<dd>{width:.1f}</dd>" in read(
        tmp_path
    )
    assert "<dd>5 of 5</dd>" in read(tmp_path) and "<dd>89 %</dd>" in read(tmp_path)  # the mean of 0.80 to 0.98
    assert page.says("Of 12 training samples in 4 groups, each held out with its group, 81.6 to 96.4 % of the genes")
    assert "outside what training saw:" not in read(tmp_path) and not page.says("mse")


@pytest.mark.usefixtures("no_pictures")
def test_samples_outside_training_are_counted_and_named_the_farthest_first(tmp_path):
    page = make_page(tmp_path, write_applied(tmp_path / "toy.h5", outside=2))
    assert page.says("2 of 5 samples lie outside what training saw: S4, S3.")
    assert [row["place"] for row in rows_of(tmp_path, "toy: 5 samples")] == ["inside"] * 3 + ["outside"] * 2
    assert "<dd>3 of 5</dd>" in read(tmp_path)


@pytest.mark.usefixtures("no_pictures")
def test_a_sample_that_training_saw_is_not_taken_for_new(tmp_path):
    path = write_applied(tmp_path / "toy.h5")
    assert not make_page(tmp_path, path).says("have the open chromatin of a training sample")
    with h5py.File(path, "r+") as file:
        file["samples/distance"][1] = 3e-7
    assert make_page(tmp_path, path).says("1 of 5 samples have the open chromatin of a training sample: S1 (T1).")


@pytest.mark.usefixtures("no_pictures")
def test_the_table_of_samples_holds_what_the_file_says(tmp_path):
    path = write_applied(tmp_path / "toy.h5")
    make_page(tmp_path, path)
    with h5py.File(path) as file:
        predicted, low, high, mean = file["predicted"][0, 0], file["low"][:], file["high"][:], file["training_mean"][0, 0]
    for i, row in enumerate(rows_of(tmp_path, "toy: 5 samples")):
        assert (row["sample"], row["nearest training sample"]) == (f"S{i}", f"T{i % 3}")
        assert float(row["interval width"]) == pytest.approx(np.median(high[i] - low[i]), abs=0.0006)
        assert int(row["expressed"]) == (predicted[i] >= 1).sum()
        assert (int(row["higher"]), int(row["lower"])) == ((low[i] > mean).sum(), (high[i] < mean).sum())


@pytest.mark.usefixtures("no_pictures")
def test_only_genes_whose_interval_excludes_the_training_mean_are_called(tmp_path):
    path = write_applied(tmp_path / "toy.h5", genes=3_000)
    make_page(tmp_path, path)
    rows = rows_of(tmp_path, "toy: up to 10 genes up and 10 down in each of 5 samples")
    assert len(rows) == 100
    first = [row for row in rows if row["sample"] == "S0"]
    assert [row["called"] for row in first] == ["higher"] * 10 + ["lower"] * 10
    assert first[0]["gene"] == first[0]["id"] == "ENSG00000000000" and first[0]["predicted − training mean"] == "4.000"
    assert first[10]["gene"] == "GENE1" and first[10]["predicted − training mean"] == "−4.000"
    for row in rows:
        low, high = (float(part.replace("−", "-")) for part in row["interval"].split(" to "))
        mean = float(row["training mean"])
        assert low > mean if row["called"] == "higher" else high < mean


@pytest.mark.usefixtures("no_pictures")
def test_without_calibration_nothing_is_called_and_the_page_says_so(tmp_path):
    page = make_page(tmp_path, write_applied(tmp_path / "toy.h5", calibrated=False))
    assert page.says("There are no intervals: no training samples were held out")
    assert {row["interval width"] for row in rows_of(tmp_path, "toy: 5 samples")} == {"NA"}
    departures = rows_of(tmp_path, "toy: up to 10 genes")
    assert {(row["called"], row["interval"]) for row in departures} == {("–", "NA")} and departures[0]["id"] == "ENSG00000000000"
    assert not page.says("mean width") and not page.says("fold up and down")


@pytest.mark.usefixtures("no_pictures")
def test_an_empty_calibration_is_none(tmp_path):
    path = write_applied(tmp_path / "toy.h5", calibrated=False)
    with h5py.File(path, "r+") as file:
        for name in ("sample", "group"):
            file.create_dataset(f"calibration/{name}", shape=(0,), dtype=TEXT)
        for name in ("distance", "coverage"):
            file[f"calibration/{name}"] = np.empty(0)
    assert make_page(tmp_path, path).says("There are no intervals")


@pytest.mark.usefixtures("no_pictures")
def test_with_rna_the_box_judges_and_numbers_are_those_of_the_file(tmp_path):
    path = write_applied(tmp_path / "toy.h5", samples=8, genes=200, measured=6)
    judged = judge(tmp_path, path)
    page = make_page(tmp_path, path, **judged)
    assert not page.says("UNKNOWN") and page.says("Judged on 6 of 8 samples, whose RNA was given.")
    assert page.says("r_gene_dev of toy") and page.says("Scores beside simple rules")
    with h5py.File(path) as file:
        observed, low, high, predicted = (file[name][:] for name in ("observed", "low", "high", "predicted"))
    inside = ((low <= observed) & (observed <= high))[:6].mean(axis=1)
    assert f"<dd>{100 * inside.mean():.1f} %</dd>" in read(tmp_path)
    rows = rows_of(tmp_path, "toy: 8 samples")
    scores = {row["sample"]: row for _, row in read_table(judged["samples"], ["sample", "predictor"]) if row["predictor"] == "model"}
    for i, row in enumerate(rows[:6]):
        assert float(row["in interval"].removesuffix(" %")) == pytest.approx(100 * inside[i], abs=0.06)
        assert float(row["mse"]) == pytest.approx(((predicted[0, 0, i] - observed[i]) ** 2).mean(), abs=0.0006)
        assert float(row["mse"]) == pytest.approx(float(scores[f"S{i}"]["mse"]), abs=0.0006)
        assert float(row["r_gene_dev"]) == pytest.approx(float(scores[f"S{i}"]["r_gene_dev"]), abs=0.0006)
    assert {row[name] for row in rows[6:] for name in ("r_gene", "r_gene_dev", "mse", "in interval")} == {"NA"}
    assert sum("against observed" in alt for alt in page.alts) == 6


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("error, warned", [(0.3, False), (2.0, True)])
def test_intervals_that_miss_the_measured_genes_are_called_too_narrow(tmp_path, error, warned):
    page = make_page(tmp_path, write_applied(tmp_path / "toy.h5", measured=5, error=error))
    assert page.says("The intervals are too narrow for these samples") == warned


@pytest.mark.usefixtures("no_pictures")
def test_the_ensemble_stands_first_and_alone_is_drawn(tmp_path):
    families = [write_applied(tmp_path / f"{name}.h5", family=name) for name in ("atac_cis", "ensemble", "zzz")]
    page = make_page(tmp_path, *families)
    boxes = re.findall(r"</strong> (\w+) predicted 40 genes in 5 samples", read(tmp_path))
    assert boxes == ["ensemble", "atac_cis", "zzz"]
    assert len([alt for alt in page.alts if "against the training mean" in alt]) == 5
    assert len(rows_of(tmp_path, "zzz: 5 samples")) == 5 and not page.says("zzz: up to 10 genes")


@pytest.mark.usefixtures("no_pictures")
def test_families_without_an_ensemble_share_the_pictures(tmp_path):
    families = [write_applied(tmp_path / f"{name}.h5", family=name, samples=20) for name in ("one", "two")]
    page = make_page(tmp_path, *families)
    assert len([alt for alt in page.alts if "against the training mean" in alt]) == 12
    assert page.says("two: 6 of 20 samples are drawn") and len([alt for alt in page.alts if alt.startswith("Distances")]) == 1


@pytest.mark.usefixtures("no_pictures")
def test_families_that_differ_in_distance_have_a_picture_each(tmp_path):
    families = [write_applied(tmp_path / f"{name}.h5", family=name, outside=k) for k, name in enumerate(("one", "two"))]
    assert len([alt for alt in make_page(tmp_path, *families).alts if alt.startswith("Distances")]) == 2


def test_samples_are_drawn_evenly_from_the_nearest_to_the_farthest(tmp_path):
    one = Applied(write_applied(tmp_path / "toy.h5", samples=23))
    assert choose_drawn(one, 12) == list(range(0, 23, 2)) and choose_drawn(one, 23) == list(range(23))
    one.distance[5] = np.nan
    assert choose_drawn(one, 2) == [0, 5]


def test_samples_that_are_drawn_are_the_same_whatever_the_blocks(tmp_path, monkeypatch):
    one = Applied(write_applied(tmp_path / "toy.h5", samples=7, measured=3))
    first = summarise(one, {1, 6})
    monkeypatch.setattr(applied, "CELLS", 2 * 40)
    second = summarise(one, {1, 6})
    assert len(one.parts()) == 4 and np.array_equal(second.drawn[1].predicted[0], one.read("predicted", slice(1, 2))[0])
    for name in first._fields[:-1]:
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
    assert list(first.drawn) == list(second.drawn) == [1, 6]
    assert all(np.array_equal(first.drawn[6][k], second.drawn[6][k], equal_nan=True) for k in range(1, 5))


def test_coverage_is_told_group_by_group_the_lowest_first():
    calibration = Calibration(list("abcd"), np.array(["y", "x", "y", "z"], dtype=object), np.zeros(4), np.array([0.9, 0.7, 0.5, np.nan]))
    assert coverage_by_group(calibration) == [("x", 0.7, 0.7, 0.7, 1), ("y", pytest.approx(0.7), 0.5, 0.9, 2)]
    numbered = calibration._replace(group=np.array(["1", "0", "1", "2"], dtype=object))
    assert [group[0] for group in coverage_by_group(numbered)] == ["a +1", "b"]


def test_unknown_coverage_and_distances_are_said_and_not_drawn(tmp_path):
    path = write_applied(tmp_path / "toy.h5", outside=0)
    with h5py.File(path, "r+") as file:
        file["calibration/coverage"][:], file["calibration/distance"][:], file["samples/distance"][:] = np.nan, np.nan, np.nan
    page = make_page(tmp_path, path)
    assert page.says("whether they hold was not measured") and not page.says("training samples held out")
    assert {row["distance"] for row in rows_of(tmp_path, "toy: 5 samples")} == {"NA"}
    assert page.says("mean width of the 90 % interval")


def test_five_hundred_samples_are_less_than_a_megabyte_and_a_half_and_all_are_named(tmp_path):
    families = [
        write_applied(tmp_path / f"{name}.h5", 500, 60, name, outside=9, rows_at_once=64, groups=100)
        for name in ("a", "b", "c", "ensemble")
    ]
    page = make_page(tmp_path, *families)
    assert (tmp_path / "report.html").stat().st_size < 1_500_000
    assert len(rows_of(tmp_path, "ensemble: 500 samples")) == 500 and page.open == []
    assert len([alt for alt in page.alts if "against the training mean" in alt]) == 12
    named = re.search(r"<dt>not drawn</dt><dd>(.*?)</dd>", read(tmp_path))[1].split(", ")
    assert len(named) == 488 and page.says("9 of 500 samples lie outside what training saw: S499, S498, S497, S496, S495, S494 and 3 more.")


def test_the_same_bytes_whatever_the_order_of_families(tmp_path):
    families = [write_applied(tmp_path / f"{name}.h5", family=name, measured=2) for name in ("one", "two")]
    make_page(tmp_path, *families)
    first = read(tmp_path)
    make_page(tmp_path, *families[::-1])
    assert read(tmp_path) == first


def test_names_from_outside_are_escaped_and_nothing_is_fetched(tmp_path):
    path = write_applied(tmp_path / "toy.h5")
    with h5py.File(path, "r+") as file:
        for key in ("genes/symbol", "samples/nearest"):
            words = ["<script>alert(1)</script>"] * len(file[key])
            del file[key]
            file.create_dataset(key, data=words, dtype=TEXT)
    page = make_page(tmp_path, path)
    assert read(tmp_path).count("<script>") == 1 and page.says("<script>alert(1)</script>")
    assert all(address.startswith(("#", "data:")) for address in page.addresses) and page.open == []


@pytest.mark.usefixtures("no_pictures")
def test_quality_of_peaks_stands_on_the_page_where_it_is_given(tmp_path):
    path = write_applied(tmp_path / "toy.h5")
    assert not make_page(tmp_path, path).says("Quality of each sample")
    (tmp_path / "peaks.tsv").write_text(PEAKS + "S0\t1200\t1100\t1000\t40\t60\t5000\t0.0312\t350\n")
    page = make_page(tmp_path, path, peak_stats=tmp_path / "peaks.tsv")
    assert page.says("Quality of each sample") and page.says("3.12 %") and page.says("25.10")


def test_what_does_not_fit_together_is_one_line(tmp_path):
    path = write_applied(tmp_path / "toy.h5", samples=8, measured=8)
    judged = judge(tmp_path, path)
    other = write_applied(tmp_path / "other.h5", family="other")
    for files, more, words in (
        ((path,), {"scores": judged["scores"]}, "--scores and --samples belong together"),
        ((path, other), judged, "scores.tsv has no scores of other; it has toy"),
        ((path, path), {}, "family 'toy' occurs twice"),
    ):
        with pytest.raises(InputError, match=words):
            report_applied.report_applied(options_for(tmp_path, *files, **more))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("samples", [6, 40])
def test_the_page_fits_narrow_and_wide_windows_and_fetches_nothing(tmp_path, samples):
    path = write_applied(tmp_path / "toy.h5", samples=samples, measured=3)
    make_page(tmp_path, path)
    (tmp_path / "wrapper.html").write_text(WRAPPER)
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'chromium'}", (tmp_path / "wrapper.html").as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", ended.stdout, re.DOTALL)[1]))
    assert found["fetched"] == [] and found["overflow"] == [] and found["height"] > 1_000
    assert "CONSOLE" not in ended.stderr
