"""What limits this machine for load (Linux): doctor.yaml says what is looked at, and here is what more it takes than reading a file."""

import os
import re
import select
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from aiperf import clock
from aiperf.timerfd import Timer
from aiperf.transports import stamps

View = dict[str, Any]


def looked(folder: Path, root: Path = Path("/")) -> Iterator[View]:
    """Everything in turn: name, level (good, watch, bad, unknown), figure, values, and of what is not good what it `means` and how to
    `raise` it (if it is shown here); the figure of what cannot be read says why.
    `folder` is where results would go; /proc and /sys lie below `root`.
    """
    place = {"root": root, "folder": folder, "stat": _text(root / "proc/stat")}
    for name, part in declared("doctor").items():
        of: View = dict(place)
        hidden = None
        try:
            for path, pattern in part.get("read", {}).items():
                of |= _values(root / path, pattern)
            of |= _MORE[name](of, part) if name in _MORE else {}
            level = next((level for level in ("good", "watch") if _is_within(part.get(level, {}), of)), "bad")
            figure = part["figure"].format_map({key: _worded(key, value) for key, value in of.items()})
        except (OSError, LookupError, ValueError) as exc:
            level, hidden = part.get("unread", "unknown"), None if "unread" in part else getattr(exc, "filename", None)
            figure = f"not shown here ({hidden})" if hidden else str(exc)
        said = {} if level == "good" else {key: part[key] for key in ("means", "raise")[: 1 if hidden else 2]}
        yield {"name": name, "level": level, "figure": figure, "values": {key: of[key] for key in of if key not in place}, **said}


def declared(name: str) -> View:
    """What stands in a YAML file beside this one."""
    return dict(yaml.safe_load(_text(files(__package__) / f"{name}.yaml")))


def busy(before: str, after: str) -> tuple[float, float]:
    """The shares of all cores' time between two looks at /proc/stat that were used, and that the host gave to other machines."""
    spent = [list(map(int, text.splitlines()[0].split()[1:9])) for text in (before, after)]
    took = [then - now for now, then in zip(*spent)]
    return (sum(took) - took[3] - took[4]) / max(1, sum(took)), took[7] / max(1, sum(took))


def _text(path: Any) -> str:
    return str(path.read_text(encoding="utf-8")).strip()


def _values(path: Path, pattern: str) -> View:
    """The pattern's named groups; None for what says that there is no limit."""
    if (match := re.search(pattern, _text(path), re.MULTILINE)) is None:
        raise LookupError(f"{path} has nothing like {pattern}")
    unlimited = ("unlimited", "max", "-1")
    return {key: None if word in unlimited else int(word) if word.isdigit() else word for key, word in match.groupdict().items()}


def _is_within(limits: View, of: View) -> bool:
    found = [(of[key], limit) for key, limit in limits.items() if of[key] is not None]
    return all(re.fullmatch(limit, value) if isinstance(value, str) else limit[0] <= value <= limit[1] for value, limit in found)


def _worded(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if key.endswith("share") else f"{float(f'{value:.3g}'):,.9f}".rstrip("0").rstrip(".")
    return "no limit" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _groups(of: View, part: View) -> Iterator[View]:
    """Of the process's own control group and those above it what is to be seen; v1 and v2 have other files."""
    ((kind, patterns),) = part["groups"].items()
    for line in _text(of["root"] / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        own = PurePosixPath(path.lstrip("/"))
        parts = (own, *own.parents) if not kinds or kind in kinds.split(",") else ()
        for folder in (of["root"] / "sys/fs/cgroup" / kinds / part for part in parts):
            there = [_values(folder / name, pattern) for name, pattern in patterns.items() if (folder / name).exists()]
            yield {key: value for values in there for key, value in values.items()}


def _quota(of: View, part: View) -> View:
    groups = list(_groups(of, part))
    quotas = [group["quota"] / group["period"] for group in groups if group.get("quota")]
    return {"quota": min(quotas, default=None), "throttled": max(group.get("throttled", 0) for group in groups)}


def _memory(of: View, part: View) -> View:
    limited = [group for group in _groups(of, part) if group.get("limit") is not None]
    rooms = [(group["limit"] - group["used"] + group.get("kept", 0), group["limit"]) for group in limited]  # kept: files, given back
    free, limit = min([(of["available_kB"] * 1024, None), *rooms], key=lambda room: room[0])
    return {"free_GB": free / 1e9, "limit_GB": None if limit is None else limit / 1e9}


def _reading(*_: View) -> View:
    reads = [clock.now_ns() for _read in range(5_001)]
    return {"reading_ns": min(reads[at + 1_000] - reads[at] for at in range(0, 5_000, 1_000)) / 1_000}


def _stamps(*_: View) -> View:
    address, stamp = ("127.0.0.1", 0), None
    with socket.create_server(address) as server, socket.create_connection(server.getsockname()) as ours, server.accept()[0] as theirs:
        stamps.switch_on(theirs)
        began = sent = clock.now_ns()
        while stamp is None and sent - began < 300 * clock.MILLISECOND:
            sent = clock.now_ns()
            ours.send(b"x")
            stamp = stamps.stamp(theirs.recvmsg(1, stamps.ROOM)[1])
    word = "none" if stamp is None else "exact" if sent <= stamp <= clock.now_ns() else "wrong"
    return {"stamps": word, "after_ms": (sent - began) / clock.MILLISECOND}


def _wakes(*_: View) -> View:
    late = []
    with closing(Timer()) as timer, select.epoll() as poll:
        poll.register(timer.fd, select.EPOLLIN | select.EPOLLET)
        for _wake in range(100):
            timer.set(due := clock.monotonic_ns() + 1_500_000)
            poll.poll()
            late.append((clock.monotonic_ns() - due) // clock.MICROSECOND)
    return {"p50_us": sorted(late)[49], "p99_us": sorted(late)[98]}


def _disk(of: View, _: View) -> View:
    part, written, began = os.urandom(8_000_000), 0, clock.monotonic_ns()
    with tempfile.TemporaryFile(dir=of["folder"], buffering=0) as file:  # it never has a name, so nothing of it can stay
        while written < 8 * len(part) and clock.monotonic_ns() - began < 700 * clock.MILLISECOND:
            written += file.write(part)
            os.fsync(file.fileno())
        rate = written / (clock.monotonic_ns() - began)  # bytes a nanosecond are GB a second
    return {"in": str(of["folder"].absolute()), "free_GB": shutil.disk_usage(of["folder"]).free / 1e9, "GB_per_s": rate}


def _container(of: View, _: View) -> View:
    found = [f"/{sign}" for sign in (".dockerenv", "run/.containerenv", "run/systemd/container") if (of["root"] / sign).exists()]
    found += re.findall("docker|kubepods|containerd|libpod|lxc", _text(of["root"] / "proc/self/cgroup"))[:1]
    found += re.findall(r" / / .* - (overlay) ", _text(of["root"] / "proc/self/mountinfo"))[:1]
    return {"container": f"yes, by {', '.join(found)}" if found else "no sign of one"}


def _load(of: View, _: View) -> View:
    now, load, there = _text(of["root"] / "proc/stat"), float(of["load"]), of["stat"].count("\ncpu")
    stolen, since_boot = busy(of["stat"], now)[1], busy("cpu" + " 0" * 8, now)[1]
    return {"load": load, "there": there, "a_core": load / there, "stolen_share": stolen, "boot_share": since_boot}


_MAY = ("be lowered, which is all that a run does", "be lowered and raised")
_CAP_SYS_NICE = 1 << 23
_MORE: dict[str, Callable[[View, View], View]] = {
    # a port that was closed waits for a minute, or for a second where it may be used again
    "local ports": lambda of, _: {"ports": (n := of["high"] - of["low"] + 1), "new_per_s": n if of["reuse"] == 1 else n // 60},
    "cores": lambda of, _: {
        "cores": sum(int(last or first) - int(first) + 1 for first, last in re.findall(r"(\d+)-?(\d*)", str(of["allowed"]))),
        "there": of["stat"].count("\ncpu"),
    },
    "swap": lambda of, _: {"used_GB": (of["total_kB"] - of["free_kB"]) / 1e6, "total_GB": of["total_kB"] / 1e6},
    "priorities": lambda of, _: {"may": _MAY[bool(int(str(of["rights"]), 16) & _CAP_SYS_NICE or of["nice"])]},
    "clock source": _reading, "CPU quota": _quota, "memory": _memory, "kernel stamps": _stamps, "timer wakes": _wakes, "disk": _disk,
    "container": _container, "other load": _load,
}  # fmt: skip
