"""The Nextflow code itself: lint, and the fingerprint of Python code against Python's own search for imports."""

from modulefinder import ModuleFinder
from pathlib import Path

LISTING = """
include { withImports } from './modules/code'

workflow {
    file("${projectDir}/bin/*.py").each { script -> println("REACHED ${script.name}: ${withImports([script.name]).join(' ')}") }
    file("${projectDir}/bin/exprcast/families/[a-z]*.py").each { family ->
        println("REACHED ${family.name}: ${withImports(['exprcast/families/' + family.name]).join(' ')}")
    }
}
"""


def imported(script: Path, folder: Path) -> set[str]:
    """Return the files of exprcast that Python finds behind a script's imports, without empty packages."""
    finder = ModuleFinder(path=[str(folder)])
    finder.run_script(str(script))
    files = {Path(module.__file__) for name, module in finder.modules.items() if name.startswith("exprcast.")}
    return {str(path.relative_to(folder)) for path in files if path.name != "__init__.py"}


def test_lint_finds_nothing(nextflow, project):
    run = nextflow(project, "lint", "main.nf", "modules")
    assert run.returncode == 0 and "Warn" not in run.stdout and "had no errors" in run.stdout, run.stdout


def test_fingerprint_follows_the_imports_that_python_follows(nextflow, project, tmp_path):
    (project / "listing.nf").write_text(LISTING)
    run = nextflow(tmp_path, "run", project / "listing.nf")
    lines = [line.removeprefix("REACHED ").split(": ") for line in run.stdout.splitlines() if line.startswith("REACHED ")]
    reached = {name: set(paths.split()) for name, paths in lines}
    scripts = {path.name: path for folder in ("bin", "bin/exprcast/families") for path in (project / folder).glob("[a-z]*.py")}
    assert reached.keys() == scripts.keys() and len(scripts) > 10, run.stdout
    for name, script in scripts.items():
        own = str(script.relative_to(project / "bin"))
        assert reached[name] == imported(script, project / "bin") | {own}, name
