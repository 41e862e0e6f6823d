"""`aiperf doctor`: what limits this machine for load; with `--measure`, what one load generator carries here."""

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiperf.app.doctor import View, looked
from aiperf.cli import output
from aiperf.config.terminal import terminal
from aiperf.errors import ConfigError
from aiperf.finite import scrub_non_finite


def main(words: Sequence[str], flags: Mapping[str, str]) -> int:
    """Say it, a line each; 1 where something is so bad that no run here can be believed. Raises ConfigError off Linux."""
    folder, silent = Path(flags.get("--in") or ("outputs" if Path("outputs").is_dir() else ".")), "--json" in flags
    if sys.platform != "linux":
        raise ConfigError("doctor needs Linux, as a run does (epoll, timerfd and the kernel's stamps); on Windows use WSL")
    if words or not folder.is_dir():
        raise ConfigError(f"doctor: {words[0]!r} is nothing that it takes" if words else f"doctor --in: {folder} is no folder")
    view: View = {"schema_version": "1.0", "checks": [_told(check, silent) for check in looked(folder)]}
    if "--measure" in flags:
        from aiperf.app.ceilings import ceilings, meaning  # noqa: PLC0415 - it needs all that a run does

        view["measures"] = [_told(measure, silent) for measure in ceilings(folder)]
        view["meaning"] = meaning(*view["measures"])
    bad = ", ".join(check["name"] for check in view["checks"] if check["level"] == "bad")
    view["verdict"] = f"no run here can be believed: {bad}" if bad else "nothing here keeps a run from being believed"
    said = (view[key] for key in ("meaning", "verdict") if key in view)
    output.say(json.dumps(scrub_non_finite(view), indent=2) if silent else "\n".join(said))
    return int(bool(bad))


def _told(one: View, silent: bool) -> View:
    """Print what was found as soon as it is."""
    lines = [f"{one.get('level', 'measure'):<8}{one['name']:<14} {one['figure']}"]
    lines += [f"{'':<23}{key}: {one[key]}" for key in ("means", "raise") if key in one]
    if "busy" in one:
        sides = ", ".join(f"{side} {share:.0%}" for side, share in one["busy"].items())
        lines.append(f"{'':<23}saturated: {' and '.join(one['saturated']) or 'none'} (busy: {sides})")
    width = terminal(sys.stdout).columns or 10_000
    if not silent:
        output.say("\n".join(textwrap.fill(line, width, subsequent_indent=" " * 25) for line in lines))
    return one
