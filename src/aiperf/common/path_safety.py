"""The one way to read a file that a user named."""

from aiperf.paths import *  # noqa: F403 - what it exports is what this is
