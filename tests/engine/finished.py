"""What a run of the pipeline left."""

import csv
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """What a finished Nextflow left: its exit status, all that it printed, and its folder of results."""

    status: int
    text: str
    results: Path

    @property
    def tasks(self) -> list[dict[str, str]]:
        """Return the rows of the trace: process, tag, status …"""
        with (self.results / "pipeline_info/trace.txt").open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def processes(self, status: str) -> set[str]:
        """Return the names (without the stage) of the processes that have a task of this status."""
        return {row["process"].split(":")[-1] for row in self.tasks if row["status"] == status}
