"""The report's last sections: what the run cost, and what it takes to run it again."""

import json
from collections.abc import Sequence
from itertools import groupby

from exprcast.page import Section, Table, Text
from exprcast.results import Shares, Task


def resources_section(tasks: Sequence[Task]) -> Section:
    """Time and memory, one row a script; a task that was taken from an earlier run tells what it cost there."""
    if not tasks:
        return Section("resources", "Time and memory", [Text("No task told what it used.")])
    largest = max(tasks, key=lambda task: task.peak_mib)
    told = (
        f"{len(tasks):,} tasks took {duration(sum(task.cpu_s for task in tasks))} of CPU time; the largest, of {largest.script}, held {memory(largest.peak_mib)}. "
        "This section is the only one that differs between two runs of the same data. Nextflow's own records of each task are in pipeline_info/."
    )
    rows = []
    for script, group in groupby(tasks, key=lambda task: task.script):
        own = list(group)
        rows.append([
            script,
            f"{len(own):,}",
            f"{sum(task.wall_s for task in own):,.1f}",
            f"{max(task.wall_s for task in own):,.1f}",
            f"{sum(task.cpu_s for task in own):,.1f}",
            f"{max(task.peak_mib for task in own):,.0f}",
        ])  # fmt: skip
    head = ["step", "tasks", "time of all (s)", "longest (s)", "CPU time of all (s)", "most memory (MiB)"]
    return Section("resources", "Time and memory", [Text(told), Table("One row a step", head, rows)])


def duration(seconds: float) -> str:
    """Return "3.2 s", "4 min 05 s" or "2 h 07 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(mib: float) -> str:
    """Return "210 MiB" or "1.4 GiB"."""
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"


def provenance_section(versions: dict[str, list[str]], parameters: dict[str, object], code: str, shares: Sequence[Shares]) -> Section:
    """Versions, parameters and code fingerprints: what it takes to get the same page again."""
    codes = sorted({(f"models of {s.facts.get('family')}", str(s.facts.get("code") or "not given")) for s in shares})
    values = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in parameters.items()}
    return Section("provenance", "Versions, parameters, code", [
        Table("Versions", ["tool", "version"], [[tool, ", ".join(found)] for tool, found in versions.items()], words=(1,)),
        Table("Parameters", ["parameter", "value"], [[name, values[name]] for name in sorted(values)], words=(1,)),
        Table("Code fingerprints", ["of", "fingerprint"], [["this report", code or "not given"], *map(list, codes)], words=(1,)),
    ])  # fmt: skip
