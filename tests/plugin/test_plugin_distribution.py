"""A package written for the incumbent asks for `aiperf>=0.…`; pip must find that ours is there and fetch no other."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from packaging.specifiers import SpecifierSet

ASKED = ("aiperf", "aiperf>=0.5", "aiperf>=0.13.0", "aiperf>=0.8,!=0.9.1")


@pytest.mark.parametrize("asked", ASKED)
def test_the_version_satisfies_it(asked):
    assert SpecifierSet(asked.removeprefix("aiperf")).contains(version("aiperf"))


def test_pip_puts_nothing_over_it():
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--disable-pip-version-check", "--no-deps", *ASKED]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.count("Requirement already satisfied: aiperf") >= 1
    assert "Would install" not in done.stdout
