"""The set-up of a machine: versions agree with the lock; envs/setup.sh and the launcher do what they say."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
LAUNCHER = ENVS / "nextflow" / "nextflow"
TESTS_AND_LINT = {"pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "ruff"}
SOUGHT_BY_SET_UP = {"java", "mvn", "nextflow", "bedtools", "kallisto"}
JAVA_AND_NEXTFLOW_CHOICES = {"JAVA_HOME", "NXF_JAVA_HOME", "NXF_VER"}


def locked() -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in (ENVS / "requirements.lock").read_text().splitlines()]
    return dict(line.split("==") for line in lines if line)


def asked_for() -> list[Requirement]:
    lines = [line.split("#")[0].strip() for line in (ENVS / "requirements.in").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def conda(name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Read envs/NAME.yml: its programs (channel left off) and its Python packages, each with a version or ''."""
    listed = yaml.safe_load((ENVS / f"{name}.yml").read_text())["dependencies"]
    programs = [item.split("::")[-1] for item in listed if isinstance(item, str)]
    packages = [package for item in listed if isinstance(item, dict) for package in item["pip"]]
    return (
        {name: version for name, _, version in (program.partition("=") for program in programs)},
        {name: version for name, _, version in (package.partition("==") for package in packages)},
    )


# --- versions agree ---------------------------------------------------------------------------------------------------


def test_lock_satisfies_what_is_asked_for():
    versions = locked()
    for requirement in asked_for():
        assert requirement.name in versions, f"{requirement.name} is not locked"
        version = versions[requirement.name]
        assert version in requirement.specifier, f"{requirement}: locked {version}"


def test_tests_run_with_exactly_the_locked_packages():
    place = next(path for path in sys.path if path.startswith(sys.prefix) and path.endswith("site-packages"))
    installed = metadata.distributions(path=[place])
    assert {canonicalize_name(package.name): package.version for package in installed} == locked()


@pytest.mark.parametrize("name", ["tables", "torch", "kallisto"])
def test_conda_environments_agree_with_the_lock(name):
    packages = conda(name)[1]
    assert packages, "no Python packages found"
    assert {package: locked()[package] for package in packages} == packages


@pytest.mark.parametrize("name", ["tables", "torch"])
def test_conda_environments_are_complete(name):
    packages = conda(name)[1]
    for package in packages:
        for needed in map(Requirement, metadata.requires(package) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in packages, f"{package} needs {needed.name}"


def test_every_package_asked_for_is_in_an_environment():
    assert conda("tables")[1].items() <= conda("torch")[1].items()
    assert {requirement.name for requirement in asked_for()} - TESTS_AND_LINT <= set(conda("torch")[1])
    assert not TESTS_AND_LINT & set(conda("torch")[1])


def test_images_and_conda_have_the_same_programs():
    pinned = dict(re.findall(r"'(\w+)=([\d.]+)\*'", (ROOT / "containers" / "install.sh").read_text()))
    assert set(pinned) == {"bedtools", "kallisto"}
    assert conda("kallisto")[0]["kallisto"] == pinned["kallisto"]
    for name in ["tables", "torch"]:
        assert conda(name)[0]["bedtools"] == pinned["bedtools"]
    for name in ["tables", "torch", "kallisto"]:
        assert conda(name)[0]["python"] == "3.11", "the images are of Debian 12, whose Python is 3.11"


@pytest.mark.parametrize("name", ["tables", "torch", "kallisto"])
def test_images_install_every_python_package_of_their_environment(name):
    script = (ROOT / "containers" / "install.sh").read_text()
    sed = re.search(r"sed -n '([^']+)' \"\$1\"", script)[1]
    picked = subprocess.run(["sed", "-n", sed, ENVS / f"{name}.yml"], capture_output=True, text=True, check=True).stdout
    assert dict(line.split("==") for line in picked.split()) == conda(name)[1]


def test_docker_and_apptainer_make_the_same_image():
    dockerfile = (ROOT / "containers" / "Dockerfile").read_text()
    definition = (ROOT / "containers" / "apptainer.def").read_text()
    for argument in ["BASE", "ENV"]:
        default = re.search(rf"^ARG {argument}=(\S+)$", dockerfile, re.M)[1]
        assert re.search(rf"^ +{argument}={re.escape(default)}$", definition, re.M), f"{argument} differs"
    for copied in ["containers/install.sh", "envs/tables.yml"]:
        assert (ROOT / copied).is_file()
        assert copied.replace("tables", "${ENV}") in dockerfile
        assert copied.replace("tables", "{{ ENV }}") in definition


def test_images_hold_none_of_our_code():
    copied = re.search(r"^COPY (.+) /tmp/exprcast/$", (ROOT / "containers" / "Dockerfile").read_text(), re.M)[1].split()
    assert copied == ["containers/install.sh", "envs/${ENV}.yml"]
    definition = (ROOT / "containers" / "apptainer.def").read_text()
    files = definition.split("%files")[1].split("%post")[0].split("\n")
    assert [line.split()[0] for line in files if line.strip()] == ["containers/install.sh", "envs/{{"]


def test_bundled_engine_is_the_one_that_was_tried():
    namespace = "{http://maven.apache.org/POM/4.0.0}"
    versions = {
        dependency.findtext(f"{namespace}artifactId"): dependency.findtext(f"{namespace}version")
        for dependency in ElementTree.parse(ENVS / "nextflow" / "pom.xml").iter(f"{namespace}dependency")
    }
    assert versions == {
        "nextflow": "25.04.4",
        "nf-commons": "25.04.4",
        "nf-httpfs": "25.04.4",
        "nf-lang": "25.04.0",
        "groovy-bom": "4.0.29",
    }


def test_no_file_says_where_to_download_from():
    folders = [ENVS, ROOT / "containers", ROOT / ".ci"]
    for path in [ROOT / "Makefile", *(path for folder in folders for path in folder.rglob("*") if path.is_file())]:
        text = path.read_text().replace("http://maven.apache.org/POM/4.0.0", "")
        found = re.search(r"https?://|index-url|find-links|trusted-host|\bproxy=|pypi\.org|pythonhosted", text)
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


# --- the set-up -------------------------------------------------------------------------------------------------------


def run(command, *, path=None, cache=None, cwd=None, **variables):
    """Run a command as a user's shell would, with another PATH or cache folder."""
    environment = {name: value for name, value in os.environ.items() if name not in JAVA_AND_NEXTFLOW_CHOICES}
    environment |= {"PATH": str(path)} if path else {}
    environment |= {"EXPRCAST_CACHE": str(cache)} if cache else {}
    return subprocess.run(
        [str(word) for word in command],
        env=environment | variables,
        cwd=cwd or ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def shell(line: str, **options) -> str:
    done = run(["bash", "-c", line], **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def real_cache() -> Path:
    return Path(shell('. envs/setup.sh; echo "$cache"'))


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path):
    """A cache folder of its own that has all that the real one has."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for made in real_cache().iterdir():
        if made.is_dir():
            (folder / made.name).symlink_to(made)
    return folder


@pytest.fixture
def system(tmp_path):
    """A folder with the programs of this system, less those that the set-up itself looks for."""
    folder = tmp_path / "system"
    folder.mkdir()
    for program in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        link = folder / program.name
        if program.name not in SOUGHT_BY_SET_UP and not link.is_symlink():
            link.symlink_to(program)
    return folder


@pytest.fixture
def quick_uv(tmp_path, cache):
    """A list of calls: in that cache is no Python environment yet, and a uv that only notes how it is called."""
    version = re.search(r"^uv_version=(\S+)$", (ENVS / "setup.sh").read_text(), re.M)[1]
    for made in [*cache.glob("python-*"), *cache.glob("uv-*")]:
        made.unlink()
    calls = tmp_path / "calls"
    wrapper = script(tmp_path / "python", f'exec {sys.executable} "$@"')
    script(
        cache / f"uv-{version}" / "bin" / "uv",
        f"""
        echo "$1" >> {calls}
        python="${{!#}}/bin/python"
        case $1 in
            venv) mkdir -p "$(dirname "$python")"; cp {wrapper} "$python" ;;
            pip)  sleep 0.5; [ ! -e {tmp_path}/no-network ] ;;
        esac
        """,
    )
    return calls


def test_second_set_up_does_nothing_and_quickly(cache):
    run([ENVS / "setup.sh"])
    before = sorted(path.stat().st_mtime_ns for path in real_cache().iterdir())
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run([ENVS / "setup.sh"])
        seconds.append(time.perf_counter() - start)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(seconds) < 0.5
    assert sorted(path.stat().st_mtime_ns for path in real_cache().iterdir()) == before


def test_set_up_runs_a_command_in_the_environment():
    program = "import sys, yaml; print(sys.prefix, '/nowhere' in sys.path); sys.exit(7)"
    done = run([ENVS / "setup.sh", "python", "-c", program], PYTHONPATH="/nowhere")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.strip() == shell('. envs/setup.sh; echo "$python_env"') + " False"


def test_what_is_missing_is_said_in_one_line(tmp_path, system):
    done = run([ENVS / "setup.sh"], path=system, cache=tmp_path / "empty")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "openjdk-17-jre-headless" in done.stderr and "apt-get install maven" in done.stderr
    assert "Python" not in done.stderr
    assert not (tmp_path / "empty").exists()


def test_old_java_and_old_python_are_missing_too(tmp_path, system):
    for program in system.glob("python3*"):
        program.unlink()
    script(system / "python3", "exit 1")
    script(system / "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    script(system / "mvn", "exit 1")
    done = run([ENVS / "setup.sh"], path=system, cache=tmp_path / "empty")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11" in done.stderr and "Java 17" in done.stderr and "maven" not in done.stderr


def test_first_python_that_works_is_taken(system, cache, quick_uv):
    for program in system.glob("python3*"):
        program.unlink()
    script(system / "python3", "echo 'pyenv: python3: command not found' >&2; exit 127")
    script(system / "python3.12", f'exec {sys.executable} "$@"')
    script(system / "bedtools", "")
    script(system / "kallisto", "")
    script(system / "nextflow", "echo nextflow version 25.10.0.10289")
    assert shell('. envs/setup.sh; echo "$python"', path=system, cache=cache) == str(system / "python3.12")


def test_broken_off_set_up_is_begun_anew(tmp_path, cache, quick_uv):
    (tmp_path / "no-network").touch()
    done = run([ENVS / "setup.sh"], cache=cache)
    assert done.returncode == 1
    assert f"installing the Python packages failed; the whole log: {cache}/setup.log" in done.stderr
    environment = next(cache.glob("python-*"))
    assert not (environment / ".ready").exists()

    (environment / "rubbish").touch()
    (tmp_path / "no-network").unlink()
    assert run([ENVS / "setup.sh"], cache=cache).returncode == 0
    assert (environment / ".ready").exists() and not (environment / "rubbish").exists()


def test_two_set_ups_at_once_do_the_work_once(cache, quick_uv):
    variables = os.environ | {"EXPRCAST_CACHE": str(cache)}
    both = [subprocess.Popen([ENVS / "setup.sh"], env=variables, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert quick_uv.read_text().split() == ["venv", "pip"]
    assert sum("another set-up is running" in text for text in said) == 1


def test_changed_version_in_the_lock_makes_a_new_environment(tmp_path, cache, quick_uv):
    shutil.copytree(ENVS, tmp_path / "envs")
    lock = tmp_path / "envs" / "requirements.lock"
    text = lock.read_text()
    places = []
    for changed in [text, text + "    # a remark\n", text.replace("numpy==2", "numpy==1")]:
        lock.write_text(changed)
        places.append(shell(f'. {tmp_path}/envs/setup.sh; echo "$python_env"', cache=cache))
    assert places[0] == places[1] != places[2]


def test_without_root_a_debian_package_goes_into_the_cache(tmp_path, system, cache):
    tree = tmp_path / "tree"
    script(tree / "usr" / "bin" / "bedtools", "echo bedtools from the cache")
    (tree / "DEBIAN").mkdir()
    control = "Package: bedtools\nVersion: 1\nArchitecture: all\nMaintainer: us\nDescription: test\n"
    (tree / "DEBIAN" / "control").write_text(control)
    for name in ["id", "apt-get", "nextflow"]:
        (system / name).unlink(missing_ok=True)
    script(system / "id", "echo 1000")
    script(system / "apt-get", f'[ "$1 $2" = "download bedtools" ] && dpkg-deb --build {tree} bedtools.deb')
    script(system / "kallisto", "")
    script(system / "nextflow", "echo nextflow version 25.10.0.10289")
    (cache / "debian").unlink(missing_ok=True)
    assert shell("envs/setup.sh bedtools", path=system, cache=cache) == "bedtools from the cache"
    assert (cache / "debian" / "bedtools" / "usr" / "bin" / "bedtools").is_file()


def test_kallisto_that_lacks_a_library_or_a_package_comes_from_the_wheel(tmp_path, system, cache):
    for name in ["id", "apt-get", "nextflow"]:
        (system / name).unlink(missing_ok=True)
    script(system / "id", "echo 1000")
    script(system / "apt-get", "exit 100")
    script(system / "bedtools", "")
    script(system / "nextflow", "echo nextflow version 25.10.0.10289")
    settings = dict(re.findall(r"^(\w+_version)=(\S+)", (ENVS / "setup.sh").read_text(), re.M))
    for made in [*cache.glob("debian"), *cache.glob("kb-python-*"), *cache.glob("uv-*")]:
        made.unlink()
    broken = cache / "debian" / "kallisto" / "usr" / "bin" / "kallisto"
    script(broken, "echo kallisto: error while loading shared libraries >&2; exit 127")
    script(
        cache / f"uv-{settings['uv_version']}" / "bin" / "uv",
        f"""
        [ "$1 $2 ${{!#}}" = "pip install kb-python=={settings["kb_version"]}" ]
        while [ "$1" != --target ]; do shift; done
        mkdir -p "$2/kb_python/bins/linux/kallisto"
        printf '#!/bin/sh\\necho kallisto, version of the wheel\\n' > "$2/kb_python/bins/linux/kallisto/kallisto"
        chmod +x "$2/kb_python/bins/linux/kallisto/kallisto"
        """,
    )
    assert shell("envs/setup.sh true; envs/setup.sh kallisto version", path=system, cache=cache) == "kallisto, version of the wheel"
    assert not broken.exists()


def test_where_there_is_no_debian_the_missing_program_is_named(system, cache):
    (system / "apt-get").unlink(missing_ok=True)
    script(system / "nextflow", "echo nextflow version 25.10.0.10289")
    (cache / "debian").unlink(missing_ok=True)
    done = run([ENVS / "setup.sh"], path=system, cache=cache)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "please install bedtools" in done.stderr


# --- the launcher -----------------------------------------------------------------------------------------------------


def fake_nextflow(folder: Path, version: str) -> Path:
    """A folder with a Nextflow that says its version, writes down that it was asked, and does nothing else."""
    script(
        folder / "nextflow",
        f"""
        [ "$1" = -v ] || {{ echo "fake {version}: $*"; exit; }}
        echo asked >> {folder}/asked
        echo "nextflow version {version}"
        """,
    )
    return folder


def chosen_nextflow(cache, *folders) -> str:
    path = ":".join(map(str, [*folders, LAUNCHER.parent, *os.environ["PATH"].split(":")]))
    return shell('. envs/setup.sh; echo "$nextflow_on_path"', path=path, cache=cache)


@pytest.mark.parametrize("version", ["25.10.0.10289", "25.10.4", "26.04.1", "100.1.0"])
def test_new_nextflow_on_path_is_used(tmp_path, cache, version):
    folder = fake_nextflow(tmp_path / "bin", version)
    assert chosen_nextflow(cache, folder) == str(folder / "nextflow")
    done = run([LAUNCHER, "run", "a b.nf"], path=f"{folder}:{os.environ['PATH']}", cache=cache)
    assert done.stdout == f"fake {version}: run a b.nf\n"


@pytest.mark.parametrize("version", ["25.04.8.5956", "25.9.1", "24.10.5", "9.0.0", "nonsense"])
def test_old_nextflow_on_path_is_passed_over(tmp_path, cache, version):
    old, new = fake_nextflow(tmp_path / "old", version), fake_nextflow(tmp_path / "new", "25.10.0")
    assert str(tmp_path) not in chosen_nextflow(cache, old)
    assert chosen_nextflow(cache, old, new) == str(new / "nextflow")


def test_nextflow_is_asked_for_its_version_once(tmp_path, cache):
    folder = fake_nextflow(tmp_path / "bin", "25.10.0")
    chosen_nextflow(cache, folder)
    chosen_nextflow(cache, folder)
    assert (folder / "asked").read_text().count("asked") == 1
    fake_nextflow(folder, "24.10.0")
    os.utime(folder / "nextflow", (1, 1))
    assert str(tmp_path) not in chosen_nextflow(cache, folder)


def test_launcher_works_through_a_link_and_from_anywhere(tmp_path, cache):
    folder = fake_nextflow(tmp_path / "bin", "25.10.0")
    (tmp_path / "link").symlink_to(LAUNCHER)
    done = run([tmp_path / "link", "info"], path=f"{folder}:{os.environ['PATH']}", cache=cache, cwd=tmp_path)
    assert done.stdout == "fake 25.10.0: info\n"


def test_pipeline_runs_and_is_resumed(tmp_path):
    command = [LAUNCHER, "run", ENVS / "nextflow" / "first_run.nf", "-resume"]
    first, second = run(command, cwd=tmp_path), run(command, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert (tmp_path / "results" / "greetings" / "a.txt").read_text() == "hello\n"
    assert len(re.findall("Submitted process > HELLO", first.stdout)) == 2
    assert len(re.findall("Cached process > HELLO", second.stdout)) == 2
    assert "WARN" not in second.stdout + second.stderr


def test_other_commands_work(tmp_path):
    (tmp_path / "nextflow.config").write_text("process.cpus = 2\n")
    (tmp_path / "broken.nf").write_text("workflow {\n    nonsense(\n}\n")
    assert "cpus = 2" in run([LAUNCHER, "config"], cwd=tmp_path).stdout
    assert run([LAUNCHER, "lint", ENVS / "nextflow" / "first_run.nf"], cwd=tmp_path).returncode == 0
    assert run([LAUNCHER, "lint", "broken.nf"], cwd=tmp_path).returncode != 0
    assert re.search(r"version \d+\.\d+", run([LAUNCHER, "-version"], cwd=tmp_path).stdout)


def test_signal_to_the_launcher_ends_the_run(tmp_path):
    pipeline = "process SLEEP {\n    script:\n    'sleep 300'\n}\n\nworkflow {\n    SLEEP()\n}\n"
    (tmp_path / "sleep.nf").write_text(pipeline)
    launched = subprocess.Popen([LAUNCHER, "run", "sleep.nf"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert any("Submitted process > SLEEP" in line for line in launched.stdout)
    started = processes_in(tmp_path)
    launched.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(started, timeout=30)
    for process in processes_in(tmp_path):
        process.kill()
    assert started and not left


def processes_in(folder: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cwd"])
    return [process for process in found if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(folder)]


# --- make and CI ------------------------------------------------------------------------------------------------------


def test_make_help_lists_every_target():
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    said = run(["make", "help"]).stdout
    assert re.findall(r"^ +make (\S+) +\S.+\.$", said, re.M) == targets


def test_ci_runs_make_test(tmp_path):
    script(tmp_path / "make", 'echo "make $*"; exit 3')
    done = run([ROOT / ".ci" / "run"], path=f"{tmp_path}:{os.environ['PATH']}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "make test\n")
