"""The page in a real browser: it fetches nothing, has no error, fits narrow and wide windows, and its tables sort and filter."""

import html
import json
import re
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

import report
from exprcast.tables import write_table
from test_locus import write_attributions
from test_report import PEAKS, full_run
from tiny import tiny_dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--allow-file-access-from-files"]
OPTIONS += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom"]
WRAPPER = """<!DOCTYPE html><meta charset="utf-8"><iframe src="report.html" width="1280" height="900"></iframe><pre></pre><script>
const start = performance.now(), frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, found = {};
  found.height = page.body.offsetHeight;
  found.milliseconds = performance.now() - start;
  found.fetched = frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name);
  found.overflow = [400, 1280, 1600].filter(width => { frame.width = width; return page.documentElement.scrollWidth > width; });
  const look = (name, act) => { found[name] = act([...page.querySelectorAll("table")].find(table => table.caption.textContent.startsWith("RNA reads of"))); };
  const column = (table, k) => [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[k].firstChild?.textContent ?? "");
  const head = (table, name) => [...table.tHead.rows[0].cells].find(cell => cell.textContent === name);
  const sort = (table, name) => { head(table, name).querySelector("button").click(); return [head(table, name).ariaSort, column(table, head(table, name).cellIndex)]; };
  look("unsorted", table => column(table, 0));
  look("ascending", table => sort(table, "reads"));
  look("descending", table => sort(table, "reads"));
  look("missing", table => sort(table, "fragment (bp)"));
  look("missing_descending", table => sort(table, "fragment (bp)"));
  look("words", table => sort(table, "sample"));
  look("marked", table => table.querySelectorAll("[aria-sort]").length);
  look("filtered", table => {
    const bar = table.closest(".table").querySelector(".filter"), input = bar.querySelector("input");
    input.value = "s1 ";
    input.dispatchEvent(new Event("input"));
    const all = [bar.querySelector("[role=status]").textContent, column(table, 0)];
    input.value = "";
    input.dispatchEvent(new Event("input"));
    return [...all, column(table, 0).length];
  });
  found.filters = [...page.querySelectorAll(".filter")].map(bar => bar.nextElementSibling.getAttribute("aria-label"));
  found.unsortable = [...page.querySelectorAll("table")].filter(table => table.rows.length > 2 && !table.querySelector("th button")).map(table => table.caption.textContent);
  console.log("looked at everything");
  document.querySelector("pre").textContent = JSON.stringify(found);
});
</script>"""


def make_large_run(folder: Path, samples: int) -> Namespace:
    """Return a run with everything optional: reads 1,000, 999 … a sample, every third without a fragment length, peaks, a dataset."""
    ids = [f"S{i}" for i in range(samples)]
    options = full_run(folder, ids)
    for i, path in enumerate(options.read_stats):
        head, row = (line.split("\t") for line in path.read_text().splitlines())
        values = dict(zip(head, row, strict=True)) | {"reads": 1_000 + samples - i, "fragment_mean": 200 + i if i % 3 else "NA"}
        write_table(path, head, [list(values.values())])
    options.peak_stats[0].write_text(PEAKS + "".join(f"{one}\t1200\t1100\t1000\t40\t60\t5000\t0.0312\t350\n" for one in ids))
    options.dataset = tiny_dataset(folder / "dataset.h5", samples=samples)
    options.attributions = [write_attributions(folder / "toy.window.h5", 1, samples=ids[:8])]
    return options


def open_page(options: Namespace) -> tuple[dict, list[str]]:
    """Write the page and look at it."""
    report.report(options)
    return look_at(options.out.parent)


def look_at(folder: Path) -> tuple[dict, list[str]]:
    """Open a folder's report.html in Chromium; return what the wrapper found and what the console said."""
    (folder / "wrapper.html").write_text(WRAPPER)
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder / 'chromium'}", (folder / "wrapper.html").as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"<pre>(.*?)</pre>", ended.stdout, re.DOTALL)
    assert found and found[1], ended.stderr[-2_000:]
    return json.loads(html.unescape(found[1])), re.findall(r"CONSOLE\S* (.*)", ended.stderr)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[dict, list[str], Namespace]:
    """Return what Chromium found in the page of 20 samples."""
    options = make_large_run(tmp_path_factory.mktemp("small"), 20)
    return *open_page(options), options


def test_the_browser_fetches_nothing_and_reports_no_error(small):
    found, console, _ = small
    assert found["fetched"] == []
    assert len(console) == 1 and "looked at everything" in console[0]


def test_the_page_fits_narrow_and_wide_windows(small):
    assert small[0]["overflow"] == []


def test_numbers_sort_as_numbers_and_what_is_missing_stands_last(small):
    found = small[0]
    numbers = [f"{1_001 + i:,}" for i in range(20)]
    assert found["unsorted"] == sorted(f"S{i}" for i in range(20))
    assert found["ascending"] == ["ascending", numbers]
    assert found["descending"] == ["descending", numbers[::-1]]
    known = [str(200 + i) for i in range(20) if i % 3]
    assert found["missing"] == ["ascending", known + ["NA"] * 7]
    assert found["missing_descending"] == ["descending", known[::-1] + ["NA"] * 7]
    assert found["words"] == ["ascending", [f"S{i}" for i in range(20)]]
    assert found["marked"] == 1


def test_long_tables_have_a_filter(small):
    found = small[0]
    assert found["filtered"] == ["11 of 20 rows", ["S1", *(f"S{i}" for i in range(10, 20))], 20]
    assert [label.split(";")[0] for label in found["filters"]] == ["One row a sample", "RNA reads of 20 samples", "Peaks of 20 samples"]


def test_only_tables_whose_rows_have_an_order_of_their_own_cannot_be_sorted(small):
    assert small[0]["unsortable"] == ["One column a model family", "Found on both sides, over all folds"]


def test_without_the_script_tables_are_plain(small):
    page = small[2].out.read_text()
    markup = page[: page.index("<script>")]
    assert "<button" not in markup and "<input" not in markup and markup.count("<table>") > 8


def test_the_policy_lets_no_other_script_run_and_nothing_be_fetched(small, tmp_path):
    page = small[2].out.read_text()
    evil = '<img src="http://example.org/a.png"><script>console.log("evil")</script>'
    (tmp_path / "report.html").write_text(page.replace("</main>", f"{evil}</main>"))
    _, console = look_at(tmp_path)
    refused = [line for line in console if "violates the following Content Security Policy" in line]
    assert len(refused) == 2 and not any(line.startswith('"evil"') for line in console)


def test_twenty_samples_are_less_than_5_MB(small):
    assert small[2].out.stat().st_size < 5_000_000


def test_five_hundred_samples_open_within_two_seconds(tmp_path):
    found, console = open_page(make_large_run(tmp_path, 500))
    assert found["milliseconds"] < 2_000 and found["height"] > 1_000
    assert found["words"][1][-1] == "S499" and found["overflow"] == [] and len(console) == 1
