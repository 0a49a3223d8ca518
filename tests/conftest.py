"""Fixtures that several folders share."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Tests import their shared builders as `tests.…`, and the cluster's tools as `e2e.…`, from the repository's root.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
