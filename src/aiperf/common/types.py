"""Names of types."""

from aiperf.endpoints.models import *  # noqa: F403 - what it exports is what this is
