"""Who is in the cohort: dataset or sample table → samples, donors, replicate groups, batches, and which samples have RNA and ATAC."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.dataset import TEST, Dataset
from exprcast.page import Cell, Section, Table, Text
from exprcast.tables import name_some, read_table, refuse_duplicates

GROUPS = {"donor": "donors", "biosample": "biosamples", "replicate_group": "replicate groups", "batch": "batches"}
MOST_ROWS = 5_000  # of a page that a browser still opens


class Cohort(NamedTuple):
    """All samples, sorted by id, and their groups ("" = not given)."""

    samples: list[str]
    groups: dict[str, list[str]]  # one text a sample
    rna: set[str]
    atac: set[str] | None  # None where nothing reads open chromatin
    tested: list[str]  # the folds that hold a sample out; empty where none is held out


def cohort_of_dataset(dataset: Dataset) -> Cohort:
    """Return the cohort of a dataset: a sample has RNA if any gene was measured, ATAC if any bin is open."""
    rna = {
        sample
        for i, sample in enumerate(dataset.samples)
        if dataset.has("expression/gene") and not np.isnan(dataset.file["expression/gene"][i]).all()
    }
    atac = None if dataset.has("lists/landmark") or dataset.has("lists/splicing_factor") else set()
    if dataset.has("accessibility/indptr"):
        sizes = np.diff(dataset.array("accessibility/indptr"))
        atac = {sample for sample, size in zip(dataset.samples, sizes, strict=True) if size}
    groups = {name: dataset.text(f"samples/{name}") for name in ("set", *GROUPS) if dataset.has(f"samples/{name}")}
    tests = [", ".join(map(str, np.flatnonzero(roles == TEST))) for roles in dataset.sample_role.T]
    return Cohort(dataset.samples, groups, rna, atac, tests if dataset.hold_out != "genes" else [])


def cohort_of_table(path: Path, rna: set[str], atac: set[str]) -> Cohort:
    """Return the cohort of a sample table, where there is no dataset; its data are known by their counts."""
    rows = sorted((row for _, row in read_table(path, ["id", *GROUPS])), key=lambda row: row["id"])
    refuse_duplicates((row["id"] for row in rows), f"{path.name}: sample")
    return Cohort([row["id"] for row in rows], {name: [row[name] for row in rows] for name in GROUPS}, rna, atac, [])


def cohort_section(cohort: Cohort) -> Section:
    """How many of what, what is paired with what, and one row a sample."""
    kinds = {"RNA": cohort.rna} | ({} if cohort.atac is None else {"ATAC": cohort.atac})
    blocks = [Text(counts_text(cohort)), *([] if cohort.atac is None else [pairing_text(cohort)]), *confounded_text(cohort)]
    given = [name for name in cohort.groups if any(cohort.groups[name])]
    tested = ["tested in fold"] if cohort.tested else []
    rows = [
        [
            sample,
            *(cohort.groups[name][i] or "–" for name in given),
            *(Cell("yes") if sample in has else Cell("no", kind="bad") for has in kinds.values()),
            *([cohort.tested[i] or "–"] if cohort.tested else []),
        ]
        for i, sample in enumerate(cohort.samples[:MOST_ROWS])
    ]
    head = ["sample", *(name.replace("_", " ") for name in given), *kinds, *tested]
    caption = "One row a sample" + (f", the first {MOST_ROWS:,}" if len(cohort.samples) > MOST_ROWS else "")
    title = "Cohort" if cohort.atac is None else "Cohort and pairing"
    return Section("cohort", title, [*blocks, Table(caption, head, rows, words=range(1, len(head)))])


def counts_text(cohort: Cohort) -> str:
    """Say how many samples, donors, biosamples, replicate groups and batches there are."""
    said = [f"{len(cohort.samples):,} samples"]
    for name, plural in GROUPS.items():
        values = set(cohort.groups.get(name, [])) - {""}
        word = name.replace("_", " ") if len(values) == 1 else plural
        said.append(f"{len(values):,} {word}" if values else f"{plural} not given")
    return f"{', '.join(said)}."


def pairing_text(cohort: Cohort) -> Text:
    """Say whether each sample has both RNA and ATAC, and name those that lack one."""
    both = len(cohort.rna & cohort.atac & set(cohort.samples))
    if both == len(cohort.samples):
        return Text("Every sample has both RNA and ATAC.")
    lacking = [
        f"{sample} ({'no RNA' if sample in cohort.atac else 'no ATAC' if sample in cohort.rna else 'neither'})"
        for sample in cohort.samples
        if not (sample in cohort.rna and sample in cohort.atac)
    ]
    return Text(f"{both:,} of {len(cohort.samples):,} samples have both RNA and ATAC; not {name_some(lacking)}.", "warn")


def confounded_text(cohort: Cohort) -> list[Text]:
    """Return a warning where batch and biosample cannot be told apart: several of each, and no biosample in two batches."""
    biosamples, batches = cohort.groups.get("biosample", []), cohort.groups.get("batch", [])
    pairs = {(one, batch) for one, batch in zip(biosamples, batches, strict=False) if one and batch}
    of_both = [len({pair[k] for pair in pairs}) for k in (0, 1)]
    if min(of_both) < 2 or len(pairs) > of_both[0]:
        return []
    return [
        Text("No biosample lies in two batches: differences between biosamples cannot be told from differences between batches.", "warn")
    ]
