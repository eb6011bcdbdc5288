"""Let tests import exprcast and the scripts from bin/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))
