"""The enums of the registry: their members are whatever is installed."""

from aiperf.plugin.enums import *  # noqa: F403 - what it exports is what this is
