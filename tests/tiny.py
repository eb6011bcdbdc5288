"""Tiny datasets for tests, written through the same functions as the real ones; examples read from them; and the scripts of bin/ run in this process."""

import argparse
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

from exprcast.cli import add_shared_options
from exprcast.dataset import Dataset, create_dataset, write_array
from exprcast.family import Examples, extract_arrays
from exprcast.folds import Rows, make_folds, promises, train_rows

BIN = Path(__file__).parent.parent / "bin"
CHROM_SIZES = {"chr1": 400_000, "chr2": 400_000, "chr3": 400_000}


def tiny_dataset(
    path: Path,
    samples: int = 8,
    genes: int = 12,
    hold_out: str = "samples",
    seed: int = 0,
    groups: list[str] | None = None,
    change: object = None,
) -> Path:
    """Write a dataset of a few samples and genes in which expression follows the signal at the TSS; `change` may edit the values.

    `change(values, bins, halflife)` gets float arrays (samples, genes), (samples, genes) signal at the TSS, (genes, 2).
    """
    rng = np.random.default_rng(seed)
    gene_chrom = [list(CHROM_SIZES)[i % 3] for i in range(genes)]
    tss = np.array([100_100 + 20_000 * (i // 3) for i in range(genes)])
    signal = rng.gamma(2.0, 4.0, (samples, genes)).astype(np.float32) + 1
    halflife = rng.normal(size=(genes, 2)).astype(np.float32)
    values = 2 ** (3 + rng.normal(size=genes) + np.log2(1 + signal)) - 1
    if change:
        change(values, signal, halflife)
    groups = groups or [f"g{i // 2}" for i in range(samples)]
    roles = make_folds(groups, gene_chrom, hold_out, 0, 0, seed)
    bin_of = [list(CHROM_SIZES).index(chrom) * 2_000 + position // 200 for chrom, position in zip(gene_chrom, tss, strict=True)]
    order = np.argsort(bin_of)
    with create_dataset(path, assembly="tiny", annotation="tiny", code="", sources="{}") as file:
        for column, text in {
            "id": [f"S{i}" for i in range(samples)],
            "donor": groups,
            "biosample": [""] * samples,
            "replicate_group": groups,
            "batch": [""] * samples,
        }.items():
            write_array(file, f"samples/{column}", text)
        for column, text in {
            "id": [f"G{i}" for i in range(genes)],
            "symbol": [f"g{i}" for i in range(genes)],
            "chrom": gene_chrom,
            "strand": ["+-"[i % 2] for i in range(genes)],
        }.items():
            write_array(file, f"genes/{column}", text)
        write_array(file, "chromosomes/name", list(CHROM_SIZES))
        write_array(file, "chromosomes/size", np.array(list(CHROM_SIZES.values())))
        write_array(file, "tss/gene", np.arange(genes))
        write_array(file, "tss/position", tss)
        write_array(file, "tss/source", ["tiny"] * genes)
        write_array(file, "expression/gene", values, unit="tpm")
        for name, first in (("landmark", 0), ("target", 1)):
            write_array(file, f"lists/{name}", np.arange(genes) % 2 == first)
        first = 1 / (1 + signal[:, :1] / 16)  # the share of each gene's first transcript follows the first gene's signal
        of_gene = np.arange(genes) % 3 / 4
        shares = np.stack([first * (1 - of_gene), 1 - first * (1 - of_gene)], axis=2)  # (samples, genes, 2)
        write_array(file, "transcripts/id", [f"T{i}" for i in range(2 * genes)])
        write_array(file, "transcripts/gene", np.repeat(np.arange(genes), 2))
        write_array(file, "expression/transcript", (values[:, :, None] * shares).reshape(samples, -1), unit="tpm")
        write_array(file, "lists/splicing_factor", np.arange(genes) < 3)
        write_array(file, "lists/isoform", np.arange(2 * genes) % 4 > 0)
        write_array(file, "accessibility/indptr", np.arange(samples + 1) * genes)
        write_array(file, "accessibility/bin", np.tile(np.array(bin_of)[order], samples), bin_bp=200, source="peaks")
        write_array(file, "accessibility/signal", signal[:, order].ravel())
        write_array(file, "promoters/halflife", halflife, name=["a", "b"], scale="transformed")
        bases = rng.integers(0, 4, (genes, 320))
        write_array(file, "promoters/sequence", bases, upstream_bp=200, downstream_bp=120)
        write_array(file, "labels/value", np.stack([halflife @ [1.0, -2.0], halflife @ [0.5, 1.0]]), unit="zscore")
        write_array(file, "labels/name", ["first", "second"])
        promised = ",".join(promises(hold_out, ["replicate_group", "donor"], "chromosome", ("expression/gene", "accessibility/bin")))
        write_array(
            file,
            "folds/sample_role",
            roles[0],
            hold_out=hold_out,
            scheme=f"{hold_out}; genes by chromosome" if hold_out != "samples" else "samples; samples by donor",
            promised=promised,
            seed=seed,
        )
        write_array(file, "folds/gene_role", roles[1])
    return path


def read_examples(family: ModuleType, dataset: Dataset, config: object, rows: Rows | None = None) -> Examples:
    """Return a family's examples as PREPARE makes them of these rows (fold 0's training rows), in memory."""
    state = family.prepare(dataset, rows or train_rows(dataset, 0), config)
    return family.examples(dataset, config, state, extract_arrays(family, dataset, config, state))


def load_script(name: str) -> ModuleType:
    """Return a script of bin/ as a module."""
    spec = spec_from_file_location(name, BIN / f"{name}.py")
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def run_script(name: str, *arguments: object) -> None:
    """Run a script's main in this process, with its own parser: its InputErrors reach the test."""
    script = load_script(name.removesuffix(".py"))
    parser: argparse.ArgumentParser = script.parse_args()
    add_shared_options(parser)
    script.main(parser.parse_args([str(argument) for argument in arguments]))
