"""Fixtures that several folders share."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# Tests import their shared builders as `tests.…`, and the cluster's tools as `e2e.…`, from the repository's root.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# A busy machine is slow, and that says nothing about what is tested.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")
