"""The enums of the registry, looked up when asked for: their members are whatever is installed."""

from typing import Any

from aiperf.plugin import enums


def __getattr__(name: str) -> Any:
    return getattr(enums, name)
