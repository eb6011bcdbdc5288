#!/usr/bin/env python3
"""Fail if a network collapsed and no restart helped: predictions → a list of the networks that trained, or exit status 1."""

import argparse
from pathlib import Path

from exprcast.cli import InputError, run, whole_file
from exprcast.dataset import open_hdf5
from exprcast.tables import few


def check_trained(options: argparse.Namespace) -> None:
    """Write one line a network; raise InputError naming those whose predictions do not depend on the input."""
    status = {name: state for path in sorted(options.predictions) for name, state in read_status(path).items()}
    collapsed = [name for name, state in status.items() if state == "collapsed"]
    if collapsed:
        raise InputError(
            f"COLLAPSED: {len(collapsed)} of {len(status)} networks predict the same for every input, after all restarts: {few(collapsed)}; "
            "the report is written and says so; try another preset, a lower learning rate or more data"
        )
    with whole_file(options.out) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in status))


def read_status(path: Path) -> dict[str, str]:
    """Return {network: trained or collapsed} of one family's predictions; controls are not among them."""
    with open_hdf5(path, "predictions") as file:
        family, folds, seeds, status = file.attrs["family"], file["folds"][:], file["seeds"][:], file["status"].asstr()[:]
    return {f"{family} fold {fold} seed {seed}": str(status[i, j]) for i, fold in enumerate(folds) for j, seed in enumerate(seeds)}


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="what combine.py wrote, one file a family")
    parser.add_argument("--out", type=Path, required=True, help="text, one line a network")
    return parser


if __name__ == "__main__":
    run(check_trained, parse_args())
