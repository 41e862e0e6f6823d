"""What endpoints log with."""

from aiperf.endpoints.base_endpoint import *  # noqa: F403 - what it exports is what this is
