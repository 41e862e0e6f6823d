"""What a receipt says about where and with what a run was made."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from aiperf import __version__, clock

_PACKAGES = ("hydra-core", "omegaconf", "pydantic", "numpy", "pyarrow", "httptools", "msgspec", "uvloop")


def facts() -> dict[str, Any]:
    """Versions, machine and clocks, for the receipt."""
    return {
        "aiperf_version": __version__,
        "python": sys.version.split()[0],
        "packages": dict(_packages()),
        "host": platform.node(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "clock_offset_ns": clock.offset_ns(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _packages() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
