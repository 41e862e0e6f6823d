"""The command line as a person uses it, and what it leaves behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from aiperf.store.parquet import read_plan, read_records

NOISE = "verdict.ignore=[late_generator, coalesced_first_tokens, generator_saturated, level_not_held, trend]"
"""What a machine that others use does to a run."""
OPEN_NOISE = NOISE.replace("trend]", "trend, plan_not_met]")
"""And to an open loop, whose last arrivals may then be sent after its end."""
STARTED: list[subprocess.Popen[str]] = []
"""Runs that a test has begun; what a failed one leaves running is ended behind it."""
COMMAND = [sys.executable, "-m", "aiperf"]


@dataclass(frozen=True)
class Finished:
    """A run that has ended: its exit code, what it said, and its folder."""

    code: int
    out: str
    err: str
    outputs: Path

    @property
    def folder(self) -> Path:
        (folder,) = self.outputs.glob("*/*")
        return folder

    @property
    def records(self) -> pa.Table:
        return read_records(self.folder / "trials/0001/records")

    @property
    def plan(self) -> pa.Table:
        return read_plan(self.folder / "trials/0001/plan.parquet")

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "trials/0001/summary.json").read_text())
        return found

    @property
    def receipt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "receipt.json").read_text())
        return found

    @property
    def reasons(self) -> list[str]:
        return [reason["reason"] for reason in self.summary["verdict"]["reasons"]]


def started(outputs: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A run that has begun."""
    process = subprocess.Popen(
        [*COMMAND, f"output.dir={outputs}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=outputs.parent,
        env={**os.environ, **environment},
    )
    STARTED.append(process)
    return process


def ended(process: subprocess.Popen[str], outputs: Path, seconds: float = 90) -> Finished:
    """The run, when it is over."""
    out, err = process.communicate(timeout=seconds)
    return Finished(process.returncode, out, err, outputs)


Found = TypeVar("Found")


def unmarred(go: Callable[[], Found], is_clean: Callable[[Found], object], goes: int = 4) -> Found:
    """What the first go found that the machine has not marred; the last one, if it has marred all."""
    for _ in range(goes - 1):
        if is_clean(found := go()):
            return found
    return go()


def soon(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until it is so; what never is would last for good."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ran(outputs: Path, *arguments: str, **environment: str) -> Finished:
    """A whole run; what a machine that others use does to its timing is overlooked."""
    return ended(started(outputs, NOISE, *arguments, **environment), outputs)


QUICK = (
    "endpoint=simulator", "endpoint.simulator.ttft_ms=5", "endpoint.simulator.itl_ms=1", "dataset.output_tokens=8",
    "timing=concurrency", "timing.concurrency=4", "timing.stop.requests=100", "verdict.window=whole",
)  # fmt: skip
