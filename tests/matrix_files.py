"""Small matrices of expression as files: arrays with probe sets, lists of landmarks and targets, and an external table of counts."""

from pathlib import Path

import h5py
import numpy as np

GENES = [f"ENSG{number:011d}" for number in range(1, 31)]
LANDMARKS, TARGETS = GENES[:10], GENES[10:]
SERIES = ["GSE1_a", "GSE1_b", "GSE2", "GSE3", "GSE4", "GSE5"]


def write_gctx(path: Path, samples: list[str], features: list[str], values: np.ndarray, **facts: list[str]) -> None:
    """Write (samples, features) as GCTX 1.0; facts are columns of the samples' annotation."""
    with h5py.File(path, "w") as file:
        file.attrs["version"] = "GCTX1.0"
        file["0/DATA/0/matrix"] = values.astype(np.float32)
        file["0/META/ROW/id"] = np.array(features, dtype="S")
        file["0/META/COL/id"] = np.array(samples, dtype="S")
        for name, column in facts.items():
            file[f"0/META/COL/{name}"] = np.array(column, dtype="S")


def write_lists(folder: Path) -> None:
    """Write the lists; the first target is measured by two probe sets, the last is a landmark under another one."""
    rows = {"landmarks": [(gene, f"{i}_at") for i, gene in enumerate(LANDMARKS)]}
    rows["targets"] = [(gene, f"{i}_at") for i, gene in enumerate(TARGETS, 10)] + [(LANDMARKS[0], "40_at")]
    rows["targets"][0] = (TARGETS[0], "10_at,41_at")
    for name, genes in rows.items():
        lines = [f"S{gene[-2:]}\t{gene}\t{probes}" for gene, probes in genes]
        (folder / f"{name}.tsv").write_text("\n".join(["symbol\tgene_id\tprobes", *lines]) + "\n")


def write_matrices(folder: Path, samples: int = 24, seed: int = 0) -> Path:
    """Write arrays.gctx (log2, six series), the lists, counts.tsv (8 samples of an external set, three genes lacking), pcr.tsv and external.csv."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(10, 20))
    log = 8 + rng.normal(size=(samples + 12, 10))
    values = np.concatenate([log, 8 + (log - 8) @ mixing / 3 + 0.1 * rng.normal(size=(samples + 12, 20))], axis=1).astype(np.float32)
    arrays = np.concatenate([values[:samples], values[:samples, [0, 10]] + 1], axis=1)
    probes = [f"{i}_at" for i in (*range(30), 40, 41)]
    names = [f"GSM{i}" for i in range(samples)]
    write_gctx(folder / "arrays.gctx", names, probes, arrays, series=[SERIES[i * len(SERIES) // samples] for i in range(samples)])
    write_lists(folder)
    for name, rows, genes in (("counts", values[samples : samples + 8], GENES[1:12] + GENES[14:]), ("pcr", values[samples + 8 :], GENES)):
        table = np.round(2 ** rows[:, [GENES.index(gene) for gene in genes]]).astype(int) if name == "counts" else rows
        text = ["\t".join(["gene", *(f"{name}{i}" for i in range(len(rows)))])]
        text += ["\t".join([gene, *map(str, column)]) for gene, column in zip(genes, table.T.tolist(), strict=True)]
        (folder / f"{name}.tsv").write_text("\n".join(text) + "\n")
    (folder / "people.tsv").write_text("id\tperson\n" + "".join(f"counts{i}\tp{i // 2}\n" for i in range(8)))
    sheet = [
        "name,matrix,unit,samples,groups,role",
        "rnaseq,counts.tsv,counts,people.tsv,donor=person,",
        "pcr,pcr.tsv,log2_intensity,,,choose",
    ]
    (folder / "external.csv").write_text("\n".join(sheet) + "\n")
    return folder
