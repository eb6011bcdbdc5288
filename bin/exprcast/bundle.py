"""A trained family as a product: a folder with all that predicting new samples takes, checked before anything in it is read.

bundle.json            what it is, and each file's size and SHA-256; its own are in its last entry
training.h5            the dataset that was trained on: genes, start sites, chromosomes, open bins, RNA, folds
fold‹k›.seed‹s›.pt     networks
fold‹k›.baselines.h5   simple rules
weights.h5             of the ensemble instead of these four: its members and their weights in each fold
calibration.h5         residuals of held-out samples, of a large cohort a draw; not where no samples were held out
card.md                what a person should know of it

Nothing in it is ever executed: networks are loaded as tensors and plain values, trees as text that LightGBM parses, all else is HDF5 and JSON.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path

import h5py

from exprcast.cli import InputError, whole_folder
from exprcast.dataset import Dataset, open_hdf5
from exprcast.folds import MOST_FOLDS
from exprcast.tables import check_file_id, few

FORMAT, FORMAT_VERSION = "exprcast-bundle", 1
SUMMARY, TRAINING, CALIBRATION, WEIGHTS, CARD = "bundle.json", "training.h5", "calibration.h5", "weights.h5", "card.md"
FILE_NAME = re.compile(r"training\.h5|calibration\.h5|weights\.h5|card\.md|fold\d{1,4}\.(?:baselines\.h5|seed\d{1,9}\.pt)")
FACTS = {
    "family": str, "preset": str, "unit": str, "axes": str, "hold_out": str, "assembly": str, "annotation": str, "bin_bp": int, "bin_source": str,
    "gene_list": str, "genes": int, "samples": int, "folds": list, "seeds": list, "refit": bool, "methods": str, "code": str, "exprcast": str,
}  # fmt: skip
KEYS = {"format": str, "format_version": int, **FACTS, "files": dict, "checksum": str}
MOST_BYTES = 1 << 20  # of bundle.json
ENSEMBLE = "ensemble"
NOT_OURS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
)  # what reading a forged file may raise


def network_file(fold: int, seed: int) -> str:
    """Return the name of a network's file."""
    return f"fold{fold}.seed{seed}.pt"


def baselines_file(fold: int) -> str:
    """Return the name of the file of a fold's simple rules."""
    return f"fold{fold}.baselines.h5"


def save_bundle(path: Path, facts: dict[str, object], files: Mapping[str, Path]) -> None:
    """Write a bundle whole: copies of `files` by the names that they have in it, and their digests."""
    if facts.keys() != FACTS.keys():
        raise TypeError(f"a bundle has the facts {sorted(FACTS)}; differing: {sorted(facts.keys() ^ FACTS.keys())}")
    with whole_folder(path) as folder:
        for name, source in files.items():
            shutil.copyfile(source, folder / name)
        listed = {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in sorted(files)}
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **facts, "files": listed}
        content["checksum"] = checksum(content)
        (folder / SUMMARY).write_text(json.dumps(content, indent=1, sort_keys=False) + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def checksum(content: Mapping[str, object]) -> str:
    """Return the SHA-256 of all entries but the checksum, in one canonical form."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def gene_list(genes: list[str]) -> str:
    """Return a digest of gene ids, whatever their order."""
    return sha256("\n".join(sorted(genes)).encode()).hexdigest()


class Bundle:
    """A bundle whose summary is sound; a file of it is compared with its digest before it is opened."""

    def __init__(self, path: Path) -> None:
        self.path, self.content = path, read_summary(path)
        self.family, self.unit, self.refit = (self.content[key] for key in ("family", "unit", "refit"))
        self.folds, self.seeds = self.content["folds"], self.content["seeds"]
        self.checked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.content["files"]

    def file(self, name: str) -> Path:
        """Return the path of one of its files, after comparing size and digest; links that lead out of an HDF5 file are refused."""
        path, listed = self.path / name, self.content["files"].get(name)
        if listed is None:
            raise InputError(f"bundle {self.path.name}: it has no {name}; was it made by a run that ended well?")
        if name not in self.checked:
            if path.is_symlink() or not path.is_file():
                raise InputError(f"bundle {self.path.name}: {name} is no file there; copy the whole folder again")
            if path.stat().st_size != listed["bytes"] or digest(path) != listed["sha256"]:
                sizes = f"{path.stat().st_size:,} bytes, listed are {listed['bytes']:,}"
                raise InputError(
                    f"bundle {self.path.name}: {name} is not what {SUMMARY} lists ({sizes}); it is damaged or was exchanged, copy it again"
                )
            if name.endswith(".h5"):
                refuse_links(path)
            self.checked.add(name)
        return path

    def hdf5(self, name: str) -> h5py.File:
        """Open one of its HDF5 files."""
        return open_hdf5(self.file(name), f"the bundle's {name}")

    @cached_property
    def training(self) -> Dataset:
        """Return the dataset that was trained on."""
        try:
            dataset, own = Dataset(self.file(TRAINING)), self.content
        except (*NOT_OURS, OSError) as error:
            raise InputError(
                f"bundle {self.path.name}: {TRAINING} is no dataset of ours ({type(error).__name__}); copy it again"
            ) from error
        facts = {
            "gene_list": gene_list(dataset.genes),
            "genes": len(dataset.genes),
            "samples": len(dataset.samples),
            "hold_out": dataset.hold_out,
        }
        differing = [name for name, value in facts.items() if value != own[name]]
        if differing or max(self.folds) >= dataset.n_folds:
            raise InputError(
                f"bundle {self.path.name}: {TRAINING} has other {', '.join(differing) or 'folds'} than {SUMMARY} says; copy it again"
            )
        return dataset

    def check_all(self) -> None:
        """Compare every file with its digest."""
        for name in self.content["files"]:
            self.file(name)

    def refuse_other(self, new: Dataset) -> None:
        """Raise InputError, with both sides, if a dataset cannot be predicted by what was learnt on another assembly, bins or genes."""
        told, own = f"bundle {self.path.name}", self.content
        pairs = {"assembly": (own["assembly"], str(new.file.attrs["assembly"]))}
        if own["bin_bp"]:
            if not new.has("accessibility/bin"):
                raise InputError(f"{new.path.name} has no open chromatin, which {told} reads")
            pairs |= {"bin width in bp": (own["bin_bp"], new.bin_bp), "bins": (own["bin_source"], new.bin_source)}
        if new.has("expression/gene"):
            pairs["unit of expression"] = (own["unit"].removeprefix("log2(").removesuffix(" + 1)"), new.unit("expression/gene"))
        for what, (ours, theirs) in pairs.items():
            if ours != theirs:
                raise InputError(f"{told} was trained with another {what} than {new.path.name} has: {ours} and {theirs}")
        if gene_list(new.genes) != own["gene_list"]:
            theirs = f"{new.path.name} has {len(new.genes):,} and not the same ({few(new.genes)})"
            raise InputError(f"{told} predicts {own['genes']:,} genes, {theirs}; --apply with --samples takes the bundle's")
        if new.chrom_sizes != self.training.chrom_sizes:
            raise InputError(f"{told} has other chromosomes or lengths than {new.path.name}; are both of {own['assembly']}?")


@contextmanager
def faults_of(bundle: Bundle, part: str) -> Iterator[None]:
    """Say in one line that a bundle whose digests are right holds what no run of ours wrote there."""
    try:
        yield
    except NOT_OURS as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise InputError(f"bundle {bundle.path.name}: {part} cannot be used ({what}); it was made by other code or forged") from error


def read_summary(path: Path) -> dict[str, object]:
    """Return bundle.json, of which every entry has its type and the checksum is right."""
    file = path / SUMMARY
    if not file.is_file():
        raise InputError(f"{path}: no bundle there ({SUMMARY} is missing); --apply takes the folder models/ of a finished run")
    where = f"bundle {path.name}: {SUMMARY}"
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{where} has {file.stat().st_size:,} bytes; this is none of ours")
    try:
        content = json.loads(file.read_bytes().decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise InputError(f"{where} is damaged (it cannot be read as JSON); copy the whole folder again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{where} is of no exprcast bundle")
    if content.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{where} has format version {content.get('format_version')!r}, this code reads {FORMAT_VERSION}; make the bundle again"
        )
    faulty = sorted(key for key in KEYS.keys() | content.keys() if not isinstance(content.get(key), KEYS.get(key, ())))
    if faulty or content["checksum"] != checksum(content):
        raise InputError(f"{where} is damaged ({', '.join(faulty)[:80] or 'its checksum differs'}); copy the whole folder again")
    check_file_id(content["family"], f"{where}: family")
    odd = [name for name in content["files"] if not FILE_NAME.fullmatch(name)]
    odd += [name for name, value in content.items() if KEYS[name] is int and type(value) is not int]
    odd += [name for name, most in (("folds", MOST_FOLDS), ("seeds", 1000)) if not are_numbers(content[name], most)]
    listed = all(
        isinstance(one, dict) and isinstance(one.get("bytes"), int) and isinstance(one.get("sha256"), str)
        for one in content["files"].values()
    )
    if odd or not listed:
        raise InputError(f"{where} holds what a bundle does not have ({', '.join(map(str, odd))[:60]}); this is none of ours")
    lacking = sorted(needed_files(content) - content["files"].keys())
    if lacking:
        raise InputError(f"bundle {path.name}: it has no {few(lacking)}; was it made by a run that ended well?")
    return content


def are_numbers(values: list[object], most: int) -> bool:
    """Say whether these are distinct whole numbers from 0 to a billion, one at least and not too many."""
    sound = all(type(value) is int and 0 <= value < 10**9 for value in values)
    return sound and 0 < len(values) <= most and len(set(values)) == len(values)


def needed_files(content: Mapping[str, object]) -> set[str]:
    """Return the files that a bundle cannot do without."""
    if content["family"] == ENSEMBLE:
        return {TRAINING, WEIGHTS}
    folds = [{baselines_file(fold), *(network_file(fold, seed) for seed in content["seeds"])} for fold in content["folds"]]
    return {TRAINING}.union(*folds)


def refuse_links(path: Path) -> None:
    """Raise InputError if an HDF5 file holds links, or data that lie in other files."""

    def look(name: str, link: object) -> str | None:
        return name if not isinstance(link, h5py.HardLink) else None

    def outside(name: str, thing: object) -> str | None:
        return name if isinstance(thing, h5py.Dataset) and (thing.external or thing.is_virtual) else None

    with open_hdf5(path, path.name) as file:
        found = file.visititems_links(look) or file.visititems(outside)
    if found:
        raise InputError(f"{path.name}: {found[:60]} leads out of the file, which no file of ours does")
