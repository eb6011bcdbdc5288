"""cli.py: a user's error is one line and exit status 1, ours a traceback, a file appears whole or not at all."""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from subprocess import CompletedProcess
from subprocess import run as run_process

import pytest

from exprcast.cli import InputError, Progress, whole_file, write_task

BIN = Path(__file__).parents[1] / "bin"
SCRIPT = """
import sys
from argparse import ArgumentParser
from exprcast.cli import InputError, log, run

def main(options):
    log.info("kept 1 of 2")
    {body}

run(main, ArgumentParser())
"""


def run_script(folder: Path, body: str, *options: str) -> CompletedProcess:
    script = folder / "count_things.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(BIN)!r})\n" + SCRIPT.format(body=body))
    return run_process([sys.executable, script, *options], capture_output=True, text=True, timeout=60)


def test_an_input_error_is_one_line_with_the_script_s_name(tmp_path):
    result = run_script(tmp_path, 'raise InputError("a.bed line 3:\\n  end 1 is before start 5")')
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "count_things.py: kept 1 of 2",
        "count_things.py: error: a.bed line 3: end 1 is before start 5",
    ]


def test_any_other_error_keeps_its_traceback(tmp_path):
    result = run_script(tmp_path, 'raise ValueError("ours")')
    assert result.returncode == 1
    assert "Traceback" in result.stderr and result.stderr.endswith("ValueError: ours\n")


def test_every_script_takes_the_pipeline_s_two_options(tmp_path):
    result = run_script(tmp_path, "print(options.code, options.task_out)", "--code", "abc", "--task-out", "t.json")
    assert (result.returncode, result.stdout) == (0, "abc t.json\n")


def test_a_file_appears_when_its_block_ends_well(tmp_path):
    path = tmp_path / "out.tsv"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    with (tmp_path / "plain").open("w"):
        pass
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_does_not_appear_when_its_block_breaks_off(tmp_path):
    with pytest.raises(ValueError, match="broken"), whole_file(tmp_path / "out.tsv") as temporary:
        temporary.write_text("half")
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_the_user_s_error(tmp_path):
    with pytest.raises(InputError, match="absent does not exist; make it first"), whole_file(tmp_path / "absent" / "x"):
        pass


def test_a_task_tells_its_versions_and_what_it_used_only_on_request(tmp_path):
    write_task(None, "numpy")
    assert list(tmp_path.iterdir()) == []
    body = """
    import time, subprocess, numpy as np
    from exprcast.cli import write_task
    subprocess.run([sys.executable, "-c", "bytearray(300 << 20)"], check=True)
    time.sleep(0.5)
    write_task(options.task_out, "numpy", kallisto="0.48.0")"""
    assert run_script(tmp_path, body, "--task-out", tmp_path / "t.json").returncode == 0
    task = json.loads((tmp_path / "t.json").read_text())
    assert task["script"] == "count_things.py"
    assert task["versions"] == {"kallisto": "0.48.0", "numpy": version("numpy"), "python": python_version()}
    assert 300 < task["peak_mib"] < 500, "the program that it called held more than itself"
    assert 0 < task["cpu_s"] < task["wall_s"] and 0.5 < task["wall_s"] < 60


class Terminal:
    def __init__(self, terminal: bool) -> None:
        self.terminal, self.text = terminal, ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        self.text += text


def test_progress_is_a_moving_line_that_ends_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(True))
    progress = Progress(3, "samples")
    for done in (1, 2, 3):
        progress.step(done)  # too soon after the start to be shown, but for the last
    assert sys.stderr.text == "\rsamples: 3 of 3, about 0 s left\033[K\n"


def test_progress_in_a_log_is_a_line_now_and_then(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", Terminal(False))
    caplog.set_level("INFO", logger="exprcast")
    progress = Progress(4, "samples", every_s=0)
    progress.start -= 10
    progress.step(2)
    assert caplog.messages == ["samples: 2 of 4, about 10 s left"]
    Progress(4, "samples").step(4)
    assert len(caplog.messages) == 1
