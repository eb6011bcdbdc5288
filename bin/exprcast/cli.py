"""What every script in bin/ does the same way: user errors in one line, a log on stderr, files that appear whole or not at all."""

import argparse
import json
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from time import CLOCK_BOOTTIME, clock_gettime, monotonic

log = logging.getLogger("exprcast")


class InputError(Exception):
    """Something the user gave is wrong; the message says what, where and what to do, in one line."""


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line and call `main`: an InputError ends as one line on stderr and exit status 1."""
    name = Path(sys.argv[0]).name
    add_shared_options(parser)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is half-written goes
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"{name}: %(message)s")
    try:
        main(parser.parse_args())
    except InputError as error:
        one_line = " ".join(str(error).split())
        sys.exit(f"{name}: error: {one_line}")


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every script has."""
    parser.add_argument("--code", default="", help="fingerprint of the code that runs (set by the pipeline)")
    parser.add_argument("--task-out", type=Path, help="write the versions of the tools used, the time and the memory to this JSON file")


def add_device_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add some of --device, --precision, --threads: where a script calculates, and how."""
    options = {
        "device": {"choices": ("auto", "cpu", "cuda"), "default": "auto", "help": "auto takes a GPU if there is one"},
        "precision": {"choices": ("32-true", "bf16-mixed", "16-mixed"), "default": "32-true", "help": "number format of the arithmetic"},
        "threads": {"type": int, "default": 1, "help": "CPU threads; another number gives other last digits"},
    }
    for name in names:
        parser.add_argument(f"--{name}", **options[name])


def write_task(path: Path | None, *packages: str, **programs: str) -> None:
    """Write what the report says of this task as JSON: versions of packages and programs, resources so far; nothing when no path was asked for.

    wall_s is the time since the process began; cpu_s adds up this process and the programs that it called; peak_mib is the
    most memory that this process, or the largest of those programs, held at once (MiB).
    """
    if path is not None:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        task = {
            "script": Path(sys.argv[0]).name,
            "versions": {"python": python_version()} | {package: version(package) for package in packages} | programs,
            "wall_s": round(process_age_s(), 2),
            "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in used), 2),
            "peak_mib": round(max(own_peak_kib(), used[1].ru_maxrss) / 1024, 1),
        }
        path.write_text(json.dumps(task, sort_keys=True) + "\n")


def process_age_s() -> float:
    """Return the seconds since this process began, imports included."""
    start_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # since boot; see proc(5)
    return clock_gettime(CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def own_peak_kib() -> int:
    """Return the most memory that this process held at once; getrusage would give that of the shell that called it, if it held more."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, renamed to it when the block ends well and removed when it does not."""
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block ends well and removed when it does not."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"--out {path} exists already; remove it or name another folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}; name a folder that can be made") from None
    try:
        yield temporary
        temporary.chmod(0o777 & ~umask())
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def umask() -> int:
    """Return the process's file mode mask (there is no way to read it but to set it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Progress:
    """Say on stderr how far a long loop is and how long is left: a moving line on a terminal, a line each half minute in a log."""

    def __init__(self, total: int, what: str, every_s: float = 30.0) -> None:
        self.total, self.what = total, what
        self.start = self.last = monotonic()
        self.terminal = sys.stderr.isatty()
        self.every_s = 0.2 if self.terminal else every_s

    def step(self, done: int) -> None:
        """Report `done` of the total, if the last report is long enough ago."""
        now = monotonic()
        at_end = self.terminal and done >= self.total  # the moving line must end
        if now - self.last < self.every_s and not at_end:
            return
        self.last = now
        left = (now - self.start) / max(done, 1) * (self.total - done)
        text = f"{self.what}: {done:,} of {self.total:,}, about {left:.0f} s left"
        if self.terminal:
            sys.stderr.write(f"\r{text}\033[K" + ("\n" if done >= self.total else ""))
        else:
            log.info(text)
