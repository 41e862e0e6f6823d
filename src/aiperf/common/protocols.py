"""What plugins must have."""

from aiperf.endpoints.protocols import *  # noqa: F403 - what it exports is what this is
