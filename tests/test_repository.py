"""Promises that hold between files: scripts and the modules that call them, parameters and their descriptions, who imports what."""

import argparse
import ast
import json
import os
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "bin").glob("*.py"))
SOURCES = sorted((ROOT / "bin").rglob("*.py"))
MODULES = sorted((ROOT / "modules").glob("*.nf"))
BEFORE_THE_DATASET = {"simulate_cohort", "index_genome", "make_gene_table", "extract_promoters", "kallisto_index", "kallisto_quant"}
BEFORE_THE_DATASET |= {"collect_abundances", "collect_expression", "bin_peaks", "group_paralogs", "halflife_features"}
BEFORE_THE_DATASET |= {"import_promoters", "import_halflife", "import_labels", "import_matrix", "import_transcripts"}
# Modules that no model needs.
BEFORE_ONLY = (
    r"exprcast\.(cage|cli|tables|intervals|coverage|duplicates|foreign_hdf5|gene_lists|genome|gtf|halflife|kallisto|matri\w+|paralogs|promoter_tables|"
    r"reads|sample_facts|strand|transcripts|windows|simulation\.\w+)"
)
SHARED_OPTIONS = {"--code", "--task-out"}  # exprcast.cli.run adds them to every script
PREDICTORS = {"predict": {"--checkpoint", "--baselines"}}  # the process gives one of them, by name
PREDICTORS |= dict.fromkeys(("apply_sequence", "track_locus"), {"--bundle", "--weights"})
PROCESS = re.compile(r"^process (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
PARAMETER = re.compile(r"^    (\w+) += (\S+|'.*?') +// (.+)$", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.name


def parser_of(script: Path) -> argparse.ArgumentParser:
    """Return the script's parser, without running anything."""
    spec = spec_from_file_location(f"script_{script.stem}", script)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return (module.parse_args if hasattr(module, "parse_args") else module.make_parser)()


def processes() -> dict[str, str]:
    """Return {name: body} of all processes."""
    return dict(match.groups() for path in MODULES for match in PROCESS.finditer(path.read_text()))


def script_block(body: str) -> str:
    found = re.search(r"^    script:\n(.*?)(?=^    stub:|\Z)", body, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


def parameters() -> dict[str, str]:
    """Return {name: default as written} of nextflow.config."""
    block = re.search(r"^params \{\n(.*?)^\}", (ROOT / "nextflow.config").read_text(), re.MULTILINE | re.DOTALL).group(1)
    found = PARAMETER.findall(block)
    assert len(found) == len(re.findall(r"^    \w+ +=", block, re.MULTILINE)), "a parameter lacks its comment"
    return {name: default for name, default, _ in found}


def rules() -> dict[str, dict]:
    """Return {name: rule} of nextflow_schema.json."""
    groups = json.loads((ROOT / "nextflow_schema.json").read_text())["$defs"].values()
    return {name: rule for group in groups for name, rule in group["properties"].items()}


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_script_can_be_called_and_explains_itself(script):
    assert os.access(script, os.X_OK) and script.read_text().startswith("#!/usr/bin/env python3\n")
    help_text = parser_of(script).format_help()
    first = ast.get_docstring(ast.parse(script.read_text())).splitlines()[0]
    assert first.split()[0] in help_text and "--out" in help_text


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_process_gives_its_script_options_that_exist_and_all_that_are_required(script):
    blocks = [script_block(body) for name, body in processes().items() if name == script.stem.upper()]
    assert len(blocks) == 1 and script.name in blocks[0], "one process, named like the script"
    actions = parser_of(script)._actions
    known = {option for action in actions for option in action.option_strings} | SHARED_OPTIONS
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", blocks[0]))
    if "--${kind}" in blocks[0]:
        given |= PREDICTORS[script.stem]
    if script.name == "assemble_dataset.py":
        given.add("--table")  # made by tableOptions()
    assert given <= known
    assert {action.option_strings[0] for action in actions if action.required} <= given
    assert "--code" in given and (
        "--task-out" in given or script.name in ("report.py", "report_applied.py", "check_trained.py")
    )  # they wait for all others
    assert re.findall(r"--[a-z-]+ ", blocks[0])[-1] == "--out "


def test_every_process_has_a_stub_and_no_decision_in_its_script():
    for name, body in processes().items():
        assert "    stub:\n" in body or "    exec:\n" in body, name
        assert not re.search(r"\b(if|awk|sed|python3?) ", script_block(body)), name
        assert not re.search(r"publishDir|storeDir|task\.ext|^    when:|\beval\(", body, re.MULTILINE), name


def test_config_and_schema_name_the_same_parameters_with_the_same_defaults():
    written = parameters()
    assert list(written) == list(rules()) and len(written) < 80
    for name, rule in rules().items():
        default = rule.get("default")
        text = {None: "null", True: "true", False: "false"}.get(default) if default is None or isinstance(default, bool) else None
        assert written[name] == (text or (f"'{default}'" if isinstance(default, str) else str(default))), name


def test_every_parameter_is_described_and_limited():
    for name, rule in rules().items():
        assert rule["description"] and rule["type"] in ("string", "integer", "number", "boolean"), name
        if rule["type"] in ("integer", "number"):
            assert "minimum" in rule and "maximum" in rule, name
        if rule["type"] == "string":  # whatever reaches a shell is a path, one of a list, or matches a pattern
            assert {"format", "enum", "pattern"} & rule.keys(), name


def test_page_of_parameters_is_what_the_schema_says():
    spec = spec_from_file_location("write_parameters", ROOT / "docs/write_parameters.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.page(json.loads((ROOT / "nextflow_schema.json").read_text()))
    assert (ROOT / "docs/parameters.md").read_text() == made, "run make docs"


def test_every_parameter_is_in_the_documentation():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text() for page in pages if page.exists())
    assert [name for name in rules() if not re.search(rf"--{name}\b", text)] == []


def test_parameters_are_read_in_one_place():
    for path in MODULES:
        assert path.stem == "parameters" or not re.search(r"\bparams\b", path.read_text()), path.name
    assert re.findall(r"\bparams\b.*", (ROOT / "main.nf").read_text()) == ["params)"]
    config = (ROOT / "nextflow.config").read_text()
    outside = re.sub(r"^(params|profiles) \{\n.*?^\}", "", config, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\bparams\.(\w+)", outside)) == {"outdir"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "bin")))
def test_imports_have_the_form_that_the_fingerprint_sees(source):
    """modules/code.nf follows `from exprcast.x import y` at the start of a line, and nothing else."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "exprcast" for alias in node.names), f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}"
            ours = node.module.split(".")[0] == "exprcast"
            assert not ours or (node.col_offset == 0 and len(node.module.split(".")) > 1), f"line {node.lineno}"
            assert not ours or (ROOT / "bin" / node.module.replace(".", "/")).with_suffix(".py").exists(), f"line {node.lineno}"
    if source.name == "__init__.py":
        assert not [node for node in ast.parse(source.read_text()).body if not isinstance(node, ast.Expr)]


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.stem in BEFORE_THE_DATASET], ids=name_of)
def test_scripts_before_the_dataset_import_nothing_of_models(script):
    """An edit in a model must not quantify a read again."""
    imported = re.findall(r"^from (exprcast\.[\w.]+)", script.read_text(), re.MULTILINE)
    assert imported and all(re.fullmatch(BEFORE_ONLY, name) for name in imported)


@pytest.mark.parametrize("module", [path for path in SOURCES if path.parent.name in ("exprcast", "simulation")], ids=name_of)
def test_modules_before_the_dataset_import_nothing_of_models(module):
    name = ".".join(module.relative_to(ROOT / "bin").with_suffix("").parts)
    imported = re.findall(r"^from (exprcast\.[\w.]+)", module.read_text(), re.MULTILINE)
    assert not re.fullmatch(BEFORE_ONLY, name) or all(re.fullmatch(BEFORE_ONLY, other) for other in imported)


def test_scripts_of_the_kallisto_image_need_only_its_packages():
    """envs/kallisto.yml has no other package, and nor has what its scripts import."""
    files, seen = [ROOT / "bin/kallisto_index.py", ROOT / "bin/kallisto_quant.py"], set()
    while files:
        path = files.pop()
        seen.add(path)
        names = re.findall(r"^(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        ours = [ROOT / "bin" / f"{name.replace('.', '/')}.py" for name in names if name.startswith("exprcast")]
        files += [file for file in ours if file not in seen]
        assert {name.split(".")[0] for name in names} - sys.stdlib_module_names <= {"isal", "numpy", "exprcast"}, path.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_options_of_inputs_and_outputs_stand_in_parentheses(path):
    """`path 'x', emit: y` makes Groovy's parser begin again with its slow method: 20 times the time for a module, 1.5 s for all."""
    inside = re.compile(r"\([^()]*\)|'[^']*'|\"[^\"]*\"")
    for line in path.read_text().splitlines():
        word, rest = line.split(maxsplit=1) if len(line.split()) > 1 else ("", "")
        while inside.search(rest):
            rest = inside.sub("", rest)
        assert not (word in ("path", "val", "tuple", "env") and re.search(r"\w: ", rest.split("//")[0])), line
