"""Numbers on real data, as they were measured: tests/bench/results/‹protocol›.tsv, each with its seed, the command and the code's fingerprint."""

import csv
import hashlib
import re
import warnings
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BIN, RESULTS = ROOT / "bin", ROOT / "tests/bench/results"
SCRIPTS = (
    "bin_peaks",
    "collect_expression",
    "make_gene_table",
    "assemble_dataset",
    "prepare",
    "train",
    "fit_baselines",
    "predict",
    "combine",
    "ensemble",
)
COLUMNS = ("part", "name", "value", "low", "high", "floor", "most", "seed", "code", "command")


class Row(NamedTuple):
    """One number; low and high are its interval or range, floor and most what it should be at least and at most (empty: nothing is asked)."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    most: float | None = None


def fingerprint(*families: str) -> str:
    """Return a hash of the scripts that make a prediction, of all that they import, and of these families."""
    found: dict[str, str] = {}
    waiting = [f"{name}.py" for name in SCRIPTS] + [f"exprcast/families/{family}.py" for family in families]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = (BIN / name).read_text()
            waiting += [
                module.replace(".", "/") + ".py" for module in re.findall(r"^from (exprcast\.[\w.]+) import", found[name], re.MULTILINE)
            ]
    return hashlib.md5("".join(found[name] for name in sorted(found)).encode()).hexdigest()[:12]


def record(protocol: str, measured: dict[str, list[Row]], seed: int, code: str, command: str) -> None:
    """Write a protocol's numbers by its parts; parts that were not measured now stay as they are, with the code that made them."""
    RESULTS.mkdir(exist_ok=True)
    found = [row for row in read_recorded(protocol).values() if row["part"] not in measured]
    for part, rows in measured.items():
        for row in rows:
            numbers = ["" if value is None else f"{value:.4f}" for value in row[1:]]
            found.append(dict(zip(COLUMNS, [part, row.name, *numbers, str(seed), code, command], strict=True)))
    with (RESULTS / f"{protocol}.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(found, key=lambda row: row["part"]))  # rows of a part stay in their order


def read_recorded(protocol: str) -> dict[str, dict[str, str]]:
    """Return a protocol's rows by name; none where nothing was ever recorded."""
    path = RESULTS / f"{protocol}.tsv"
    if not path.is_file():
        return {}
    with path.open() as file:
        return {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}


def warn_of_older(protocol: str, *families: str) -> None:
    """Warn, by name, of recorded numbers that other code made than that of today."""
    older = [name for name, row in read_recorded(protocol).items() if row["code"] != fingerprint(*families)]
    if older:
        first = ", ".join(older[:5])
        warnings.warn(f"{len(older)} numbers of tests/bench/results/{protocol}.tsv were made by older code: {first} …", stacklevel=2)


def table(rows: list[Row]) -> None:
    """Print what was measured."""
    print()
    for row in rows:
        interval = "" if row.low is None else f"  {row.low:7.4f} to {row.high:7.4f}"
        print(
            f"{row.name:58s}{row.value:9.4f}{interval}"
            + ("" if row.floor is None else f"  floor {row.floor}")
            + ("" if row.most is None else f"  at most {row.most:.4f}")
        )


def missed(rows: list[Row]) -> list[str]:
    """Return the numbers below their floor, or above what they may be at most."""
    low = [f"{row.name}: {row.value:.4f}, floor {row.floor:.4f}" for row in rows if row.floor is not None and not row.value >= row.floor]
    return low + [
        f"{row.name}: {row.value:.4f}, at most {row.most:.4f}" for row in rows if row.most is not None and not row.value <= row.most
    ]
