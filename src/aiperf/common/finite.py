"""What is a number."""

from aiperf.finite import *  # noqa: F403 - what it exports is what this is
