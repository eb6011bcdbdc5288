"""One self-contained HTML page out of sections of text, tables and pictures: no request, light and dark.

Everything that comes from outside is escaped by Jinja2; only the pictures, drawn by figures.py, go in as markup. One script, ours,
sorts and filters tables; without it they are plain tables. The page's policy lets no other script run and nothing be fetched.
"""

import hashlib
import math
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape


class Cell(NamedTuple):
    """One cell of a table: its text, a second line in small print, a class, and a bar behind it (0 to 1)."""

    text: str
    note: str = ""
    kind: str = ""
    bar: float | None = None


class Text(NamedTuple):
    """A paragraph; `kind` is "" or "warn"."""

    text: str
    kind: str = ""


class Terms(NamedTuple):
    """Words explained, folded away under a title."""

    title: str
    entries: Sequence[tuple[str, str]]


class Table(NamedTuple):
    """A table whose first column names its rows; `words` are the columns that hold words, not numbers.

    A reader can sort it if its first column has a name, and filter it if it has more than 10 rows.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    words: Sequence[int] = ()


class Sources(NamedTuple):
    """What is cited: (the reference, its address)."""

    entries: Sequence[tuple[str, str]]


class Picture(NamedTuple):
    """A drawing with what it says for those who cannot see it; `size` is small, normal or wide."""

    svg: str
    alt: str
    caption: str
    size: str = "normal"


class Pictures(NamedTuple):
    """Pictures side by side, as many as fit."""

    pictures: Sequence[Picture]


class Section(NamedTuple):
    """A headline, its anchor, and what stands below it."""

    anchor: str
    title: str
    blocks: Sequence[Text | Terms | Table | Sources | Pictures]


class Verdict(NamedTuple):
    """The answer for one family: better, worse, undecided or unknown; numbers as (value, what it is); warnings in red; remarks in small print."""

    kind: str
    sentence: str
    numbers: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    remarks: str = ""


def number(value: float, digits: int = 3) -> str:
    """Return a number to so many significant digits, NA where there is none."""
    if math.isnan(value):
        return "NA"
    if value == 0:
        return "0"
    if abs(value) >= 1000 or float(value).is_integer():
        text = f"{value:,.0f}"
    else:
        text = f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "−")


def decimal(value: float) -> str:
    """Return a number with three decimals, so that a column of them lines up; very small and large ones as `number`."""
    return f"{value:.3f}".replace("-", "−") if 0.0005 <= abs(value) < 100 else number(value)


def breakable(name: str) -> Markup:
    """Return a name that a browser may break after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def render_page(title: str, subtitle: str, verdicts: Sequence[Verdict], sections: Sequence[Section]) -> str:
    """Return the whole page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        {"breakable": breakable, "drawing": lambda picture: Markup(picture.svg)}
    )  # drawn by us, text in it escaped by matplotlib
    environment.tests.update(
        {kind.__name__.lower(): (lambda block, kind=kind: isinstance(block, kind)) for kind in (Text, Terms, Table, Sources, Cell)}
    )
    template = environment.from_string(TEMPLATE)
    facts = {"title": title, "subtitle": subtitle, "verdicts": verdicts, "sections": sections}
    return template.render(**facts, style=Markup(STYLE), script=Markup(SCRIPT), policy=POLICY) + "\n"


STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c2430; --muted: #566171; --line: #d8dee6; --card: #f5f7fa; --bar: #dbe8fb;
  --model: #1f6feb; --mean: #7a8490; --ridge: #c2620a; --nearest: #15804d; --rule: #8a3fc4; --kernel: #0b7f8a; --trees: #6b7a12; --other: #a8326b;
  --better: #15803d; --worse: #c62828; --undecided: #8a6100; --unknown: #566171; }
@media (prefers-color-scheme: dark) { :root { --page: #11151b; --ink: #e6eaf0; --muted: #9aa6b4; --line: #2e3742; --card: #191f27; --bar: #223550;
  --model: #62a8ff; --mean: #97a1ad; --ridge: #f0a04b; --nearest: #4cc38a; --rule: #c792ea; --kernel: #45cbd6; --trees: #b9cc45; --other: #f08ab8;
  --better: #4cc38a; --worse: #ff7b72; --undecided: #e3b341; --unknown: #9aa6b4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 1rem 1rem 4rem; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.5rem; } h2 { margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); font-size: 1.2rem; }
p { margin: .5rem 0; max-width: 75ch; } a { color: var(--model); } .muted, figcaption, caption, .note { color: var(--muted); }
section { overflow-x: clip; } nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1.5rem 0 0; font-size: .9rem; }
.verdict { margin: 1rem 0; padding: .9rem 1rem; border: 1px solid var(--line); border-left: .4rem solid var(--kind); border-radius: .4rem; background: var(--card); }
.verdict strong { color: var(--kind); letter-spacing: .06em; } .verdict p { font-size: 1.1rem; } .verdict p.bad { font-size: 1rem; }
.verdict p.remarks { font-size: .9rem; color: var(--muted); }
.better { --kind: var(--better); } .worse { --kind: var(--worse); } .undecided { --kind: var(--undecided); } .unknown { --kind: var(--unknown); }
.bad { color: var(--worse); font-weight: 600; } .warn { color: var(--undecided); font-weight: 600; }
.numbers { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: .5rem 0 0; } .numbers div { display: flex; flex-direction: column-reverse; }
.numbers dt { color: var(--muted); font-size: .85rem; } .numbers dd { margin: 0; font-size: 1.6rem; font-variant-numeric: tabular-nums; line-height: 1.2; }
.table { display: inline-block; vertical-align: top; max-width: 100%; margin: .75rem 1rem .75rem 0; }
.scroll { max-height: 36rem; overflow: auto; }
.filter { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem .75rem; padding: .3rem .5rem; font-size: .9rem; }
.filter input { min-width: 0; width: 16rem; padding: .2rem .5rem; border: 1px solid var(--line); border-radius: .3rem; background: var(--card); color: inherit; font: inherit; }
.scroll.tall { border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding: .3rem .5rem; } caption span { display: inline-block; position: sticky; left: .5rem; max-width: calc(100vw - 4rem); }
th, td { padding: .3rem .35rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--page); color: var(--muted); font-weight: 600; font-size: .8rem; vertical-align: bottom; white-space: normal;
  min-width: 4.5rem; border: 0; box-shadow: inset 0 -1px var(--line); z-index: 1; }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--page); } thead th:first-child { z-index: 2; }
th button { padding: 0; border: 0; background: none; color: inherit; font: inherit; text-align: inherit; cursor: pointer; }
th button:hover { text-decoration: underline; } :focus-visible { outline: 2px solid var(--model); outline-offset: 1px; }
th button::after { content: "\\00a0↕" / ""; color: var(--muted); font-weight: 400; }
th[aria-sort] button::after { content: " ▲" / ""; color: var(--model); } th[aria-sort=descending] button::after { content: " ▼" / ""; }
th:first-child, .words { text-align: left; } td.words { white-space: normal; max-width: 40rem; overflow-wrap: anywhere; min-width: 6rem; } td.whole { white-space: nowrap; }
.note { display: block; font-size: .78rem; font-weight: 400; } td.best { color: var(--better); font-weight: 600; } .model { color: var(--model); }
td[style] { background: linear-gradient(90deg, var(--bar) var(--bar-end), transparent 0); }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin: 1rem 0; }
figure { margin: 0; flex: 1 1 340px; max-width: 480px; min-width: 0; } figure.small { flex-basis: 230px; max-width: 320px; } figure.wide { flex-basis: 100%; max-width: 960px; }
figure.wide .drawing { overflow-x: auto; } figure.wide svg { min-width: 660px; } figcaption { font-size: .9rem; }
svg { display: block; width: 100%; height: auto; } svg * { stroke-linejoin: round; } svg text { font-family: inherit !important; } svg image { image-rendering: pixelated; }
dl.terms dt { font-weight: 600; } dl.terms dd { margin: 0 0 .5rem; max-width: 75ch; } summary { cursor: pointer; color: var(--model); }
ul.sources { max-width: 75ch; padding-left: 1.2rem; font-size: .9rem; }
@media (max-width: 40rem) { tbody th { max-width: 10rem; white-space: normal; overflow-wrap: break-word; } }
@media print { html { font-size: 10px; } body { max-width: none; padding: 0; font-size: 1rem; } section { overflow: visible; }
  .filter, nav { display: none; } .scroll { max-height: none; overflow: visible; } .scroll.tall { border: 0; }
  thead th, tbody th, thead th:first-child { position: static; } tr, figure, .verdict { break-inside: avoid; } h2 { break-after: avoid; }
  figure.wide .drawing { overflow: visible; } figure.wide svg { min-width: 0; } * { print-color-adjust: exact; }
  details::details-content { display: block; height: auto; content-visibility: visible; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  if (heads[0].textContent && original.length > 1) heads.forEach(makeSortable);
  if (original.length > 10) addFilter();

  function makeSortable(head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(head, column));
    head.append(button);
  }

  function sortBy(head, column) {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const texts = original.map(row => (row.cells[column].firstChild?.textContent ?? "").trim());
    const numbers = texts.map(text => Number(text.replaceAll(",", "").replaceAll("−", "-").replace(/ %$/, "")));
    const missing = texts.map(text => ["", "NA", "–"].includes(text));
    const numeric = texts.every((_, i) => missing[i] || !Number.isNaN(numbers[i]));
    const words = new Intl.Collator("en", { numeric: true });
    const compare = (i, j) => numeric ? numbers[i] - numbers[j] : words.compare(texts[i], texts[j]);
    const order = [...original.keys()].sort((i, j) => missing[i] - missing[j] || (missing[i] ? 0 : descending ? compare(j, i) : compare(i, j)));
    body.append(...order.map(i => original[i]));
  }

  function addFilter() {
    const bar = document.createElement("div"), label = document.createElement("label"), input = document.createElement("input"), count = document.createElement("span");
    bar.className = "filter";
    input.type = "search";
    count.setAttribute("role", "status");
    label.append("Filter ", input);
    bar.append(label, count);
    table.closest(".table").prepend(bar);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      original.forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
      count.textContent = wanted ? `${original.filter(row => !row.hidden).length} of ${original.length} rows` : "";
    });
  }
}
"""

DIGEST = b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{DIGEST}'; base-uri 'none'; form-action 'none'"

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
{% macro show_cell(cell, words) %}
{% if cell is cell %}
<td class="{{ cell.kind }}{{ ' words' if words }}"{% if cell.bar is not none %} style="--bar-end: {{ '%.0f' | format(100 * cell.bar) }}%"{% endif %}>
{{- cell.text }}{% if cell.note %}<span class="note">{{ cell.note }}</span>{% endif %}</td>
{% else %}
<td{% if words %} class="words"{% endif %}>{{ cell }}</td>
{% endif %}
{% endmacro %}
{% macro show_table(table) %}
<div class="table"><div class="scroll{{ ' tall' if table.rows | length > 10 }}" tabindex="0" role="region" aria-label="{{ table.caption }}"><table>
<caption><span>{{ table.caption }}</span></caption>
<thead><tr>{% for name in table.head %}<th scope="col"{% if loop.index0 in table.words %} class="words"{% endif %}>{{ name | breakable }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row"{% if row[0] == 'model' %} class="model"{% endif %}>{{ row[0] }}</th>
{% for cell in row[1:] %}{{ show_cell(cell, loop.index in table.words) }}{% endfor %}</tr>
{% endfor %}
</tbody></table></div></div>
{% endmacro %}
{% macro show_pictures(pictures) %}
<div class="pictures">
{% for picture in pictures %}
<figure class="{{ picture.size }}"><div class="drawing" role="img" aria-label="{{ picture.alt }}">{{ picture | drawing }}</div>
<figcaption>{{ picture.caption }}</figcaption></figure>
{% endfor %}
</div>
{% endmacro %}
<header>
<h1>{{ title }}</h1>
<p class="muted">{{ subtitle }}</p>
</header>
<main>
{% for verdict in verdicts %}
<article class="verdict {{ verdict.kind }}">
<p><strong>{{ verdict.kind | upper }}</strong> {{ verdict.sentence }}</p>
{% if verdict.numbers %}
<dl class="numbers">{% for value, what in verdict.numbers %}<div><dt>{{ what }}</dt><dd>{{ value }}</dd></div>{% endfor %}</dl>
{% endif %}
{% if verdict.remarks %}<p class="remarks">{{ verdict.remarks }}</p>{% endif %}
{% for warning in verdict.warnings %}
<p class="bad">{{ warning }}</p>
{% endfor %}
</article>
{% endfor %}
<nav aria-label="Sections">{% for section in sections %}<a href="#{{ section.anchor }}">{{ section.title }}</a>{% endfor %}</nav>
{% for section in sections %}
<section>
<h2 id="{{ section.anchor }}">{{ section.title }}</h2>
{% for block in section.blocks %}
{% if block is text %}
<p{% if block.kind %} class="{{ block.kind }}"{% endif %}>{{ block.text }}</p>
{% elif block is terms %}
<details><summary>{{ block.title }}</summary><dl class="terms">{% for word, words in block.entries %}<dt>{{ word }}</dt><dd>{{ words }}</dd>{% endfor %}</dl></details>
{% elif block is sources %}
<ul class="sources">{% for reference, address in block.entries %}<li>{{ reference }}{% if address %} <a href="{{ address }}">{{ address }}</a>{% endif %}</li>{% endfor %}</ul>
{% elif block is table %}
{{ show_table(block) }}
{% else %}
{{ show_pictures(block.pictures) }}
{% endif %}
{% endfor %}
</section>
{% endfor %}
</main>
<script>{{ script }}</script>
</body>
</html>"""
