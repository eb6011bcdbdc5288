#!/usr/bin/env python3
"""Write docs/parameters.md from nextflow_schema.json: the same facts as --help, as a page."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = {
    "file-path": "a file",
    "file-path-list": "files",
    "directory-path": "a folder",
    "path": "a file or a folder",
    "path-of-samples": "a file or a folder",
}
HEAD = """# Parameters

What `--help` prints, as a page. `make docs` writes it from `nextflow_schema.json`; defaults stand in `nextflow.config`, too.
"""


def possible(rule: dict) -> str:
    """Return the values that a parameter may have."""
    if rule["type"] == "boolean":
        return "true, false"
    if "enum" in rule:
        return ", ".join(rule["enum"])
    if "minimum" in rule:
        return f"{rule['minimum']} to {rule['maximum']}"
    return KINDS.get(rule.get("format", ""), f"for example {rule['examples'][0]}" if rule.get("examples") else "")


def row(name: str, rule: dict) -> str:
    """Return a parameter's row of its group's table."""
    default = rule.get("default")
    text = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    used_with = " or ".join(f"`--{other}`" for other in rule.get("used_with", []))
    said = (rule["description"], rule.get("help_text"), used_with and f"With {used_with}")
    what = ". ".join(part.rstrip(".") for part in said if part)
    return f"| `--{name}` | {what} | {possible(rule)} | {text} |"


def page(schema: dict) -> str:
    """Return the whole page."""
    parts = [HEAD]
    for group in schema["$defs"].values():
        parts += [f"## {group['title']}\n", *([f"{group['description']}\n"] if "description" in group else [])]
        rows = [row(name, rule) for name, rule in group["properties"].items()]
        parts.append("\n".join(["| parameter | what it is | possible | default |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    schema = json.loads((ROOT / "nextflow_schema.json").read_text(encoding="utf-8"))
    (ROOT / "docs/parameters.md").write_text(page(schema), encoding="utf-8")
