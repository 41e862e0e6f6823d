"""What plugins declare about themselves."""

from aiperf.plugin.schema.schemas import *  # noqa: F403 - what it exports is what this is
