"""Let tests import exprcast and the scripts from bin/, and know the marks that they carry."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))


def pytest_configure(config):
    config.addinivalue_line("markers", "engine: starts Nextflow, so it takes seconds to minutes")
