"""What all tests share."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # benchmarks are scripts beside each other, not a package

# A shared machine pauses tests for longer than hypothesis believes an example may take; a failure is printed to be repeated.
settings.register_profile("shared", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
