"""What the doctor reads, from folders of made-up /proc and /sys files; what it tries itself, on this machine."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.app.ceilings import meaning
from aiperf.app.doctor import _MORE, busy, declared, looked
from aiperf.app.jobs import descriptors

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 {files}               files
Max nice priority         {nice}                    0
"""
FILES: dict[str, str] = {
    "proc/stat": "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 50 0 25 400 25 0 0 0 0 0\ncpu1 50 0 25 400 25 0 0 0 0 0\n",
    "proc/self/limits": LIMITS.format(files=65536, nice=0),
    "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n",
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n",
    "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\nSwapTotal:  2000000 kB\nSwapFree:   2000000 kB\n",
    "proc/loadavg": "0.10 0.20 0.30 1/95 123\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/sys/net/ipv4/tcp_tw_reuse": "2\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
}
"""A machine on which all that is read is good."""
V1 = "4:memory:/job\n3:cpuset:/\n1:cpu,cpuacct:/job\n"

Found = Callable[[Mapping[str, str | None]], dict[str, Any]]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Every check by its name, on a good machine but for these files; None takes one away. Nothing that costs time is tried."""
    tried = {
        "kernel stamps": {"stamps": "exact", "after_ms": 0.1}, "timer wakes": {"p50_us": 20, "p99_us": 90},
        "clock source": {"reading_ns": 50.0}, "disk": {"in": "/x", "free_GB": 50.0, "GB_per_s": 0.5},
    }  # fmt: skip
    for name, values in tried.items():
        monkeypatch.setitem(_MORE, name, lambda *_, values=values: values)

    def look(changed: Mapping[str, str | None]) -> dict[str, Any]:
        for path, text in {**FILES, **changed}.items():
            if text is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(text)
        return {check["name"]: check for check in looked(tmp_path, tmp_path)}

    return look


def test_on_a_good_machine_all_is_good(found: Found) -> None:
    checks = found({})
    assert {name: check["level"] for name, check in checks.items()} == dict.fromkeys(checks, "good")
    assert list(checks) == list(declared("doctor"))
    assert not any("means" in check or "raise" in check for check in checks.values())


@pytest.mark.parametrize(
    ("name", "path", "text", "level", "figure"),
    [
        ("open files", "proc/self/limits", LIMITS.format(files="unlimited", nice=0), "good", "no limit (hard limit"),
        ("open files", "proc/self/limits", LIMITS.format(files=4096, nice=0), "watch", "4,096 (hard limit"),
        ("open files", "proc/self/limits", LIMITS.format(files=64, nice=0), "bad", "64 (hard limit"),
        ("local ports", "proc/sys/net/ipv4/tcp_tw_reuse", "1", "good", "28,232 connections to a server's address at once; 28,232 a second"),
        ("local ports", "proc/sys/net/ipv4/tcp_tw_reuse", "0", "good", "; 470 a second with connection=new"),
        ("local ports", "proc/sys/net/ipv4/ip_local_port_range", "50000 52000", "watch", "2,001 connections"),
        ("local ports", "proc/sys/net/ipv4/ip_local_port_range", "50000 50009", "bad", "10 connections"),
        ("cores", "proc/self/status", "CapEff:\t0\nCpus_allowed_list:\t1\n", "watch", "1 of 2 may be used"),
        ("cores", "proc/self/status", "CapEff:\t0\nCpus_allowed_list:\t0-3,8,10-11\n", "good", "7 of 2"),
        ("CPU governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave", "watch", "powersave"),
        ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet", "bad", "hpet, 50 ns a reading"),
        ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource", "refined-jiffies", "bad", "refined-jiffies"),
        ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource", "xen", "watch", "xen"),
        ("memory", "proc/meminfo", FILES["proc/meminfo"].replace("8000000", "1000000"), "watch", "1.02 GB are free"),
        ("memory", "proc/meminfo", FILES["proc/meminfo"].replace("8000000", "100000"), "bad", "0.102 GB are free"),
        ("memory", "proc/meminfo", FILES["proc/meminfo"].replace("8000000", "2000000000"), "good", "2,050 GB are free"),
        ("memory", "proc/meminfo", FILES["proc/meminfo"].replace("8000000", "20"), "bad", "0.0000205 GB are free"),
        ("swap", "proc/meminfo", FILES["proc/meminfo"].replace("SwapFree:   2", "SwapFree:   1"), "watch", "1 of 2 GB are in use"),
        ("container", "run/.containerenv", "", "good", "yes, by /run/.containerenv"),
        ("container", "proc/self/cgroup", "0::/kubepods/besteffort/pod1\n", "good", "yes, by kubepods"),
        ("container", "proc/self/mountinfo", "1 0 0:9 / / rw - overlay overlay rw\n", "good", "yes, by overlay"),
        ("priorities", "proc/self/status", "CapEff:\t0000000000800000\nCpus_allowed_list:\t0-1\n", "good", "may be lowered and raised"),
        ("priorities", "proc/self/limits", LIMITS.format(files=65536, nice=30), "good", "may be lowered and raised"),
        ("other load", "proc/loadavg", "1.50 0.1 0.1 1/9 1\n", "watch", "1.5 on 2 cores"),
        ("other load", "proc/stat", FILES["proc/stat"].replace("0 0 0 0\ncpu0", "0 250 0 0\ncpu0"), "good", "20.0% since boot"),
    ],
)  # fmt: skip
def test_a_figure_and_its_level(found: Found, name: str, path: str, text: str, level: str, figure: str) -> None:
    check = found({path: text})[name]
    assert check["level"] == level
    assert figure in check["figure"]
    assert ("means" in check, "raise" in check) == (level != "good", level != "good")


CPU1, MEMORY1 = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory/job/memory"
UNLIMITED1 = "9223372036854771712"


@pytest.mark.parametrize(
    ("groups", "files", "level", "quota", "throttled"),
    [
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "250000 100000"}, "watch", 2.5, 0),
        ("0::/not/here\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, "bad", 0.5, 0),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/cpu.stat": "nr_periods 9\nnr_throttled 7\n"}, "watch", None, 7),
        (V1, {f"{CPU1}/job/cpu.cfs_quota_us": "-1", f"{CPU1}/job/cpu.cfs_period_us": "100000"}, "good", None, 0),
        (V1, {f"{CPU1}/cpu.cfs_quota_us": "300000", f"{CPU1}/cpu.cfs_period_us": "100000"}, "watch", 3.0, 0),
        (V1, {f"{CPU1}/job/cpu.stat": "nr_periods 1\nnr_throttled 3\nthrottled_time 9\n"}, "watch", None, 3),
    ],
)
def test_the_tightest_quota_of_either_version_counts(
    found: Found, groups: str, files: dict[str, str], level: str, quota: float | None, throttled: int
) -> None:
    check = found({"proc/self/cgroup": groups, **files})["CPU quota"]
    assert (check["level"], check["values"]) == (level, {"quota": quota, "throttled": throttled})


@pytest.mark.parametrize(
    ("groups", "files", "free_gb", "limit_gb"),
    [
        (
            "0::/a\n",
            {
                "sys/fs/cgroup/a/memory.max": "3000000000",
                "sys/fs/cgroup/a/memory.current": "2500000000",
                "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 1000000000\n",
            },
            1.5,
            3,
        ),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "2500000000"}, 8.192, None),
        (V1, {f"{MEMORY1}.limit_in_bytes": "1000000000", f"{MEMORY1}.usage_in_bytes": "900000000"}, 0.1, 1),
        (V1, {f"{MEMORY1}.limit_in_bytes": UNLIMITED1, f"{MEMORY1}.usage_in_bytes": "900000000"}, 8.192, None),
    ],
)
def test_memory_is_what_the_control_group_leaves(
    found: Found, groups: str, files: dict[str, str], free_gb: float, limit_gb: float | None
) -> None:
    values = found({"proc/self/cgroup": groups, **files})["memory"]["values"]
    assert (values["free_GB"], values["limit_GB"]) == (pytest.approx(free_gb), limit_gb)


@pytest.mark.parametrize("path", sorted({path for part in declared("doctor").values() for path in part.get("read", {})}))
def test_what_cannot_be_read_is_unknown_and_says_why(found: Found, path: str) -> None:
    names = [name for name, part in declared("doctor").items() if path in part.get("read", {})]
    for checks, why in ((found({path: None}), "not shown here (/"), (found({path: "\n"}), "has nothing like")):
        for name in names:
            assert checks[name]["level"] == "unknown"
            assert why in checks[name]["figure"]
            assert path in checks[name]["figure"]
            assert ("means" in checks[name], "raise" in checks[name]) == (True, "not shown" not in why)


def test_every_part_is_whole() -> None:
    for name, part in declared("doctor").items():
        assert {"figure", "means", "raise"} <= set(part) <= {"figure", "means", "raise", "read", "groups", "good", "watch", "unread"}, name
        patterns = [*part.get("read", {}).values(), *(one for kind in part.get("groups", {}).values() for one in kind.values())]
        assert all(re.compile(pattern).groupindex for pattern in patterns), name
    assert set(_MORE) <= set(declared("doctor"))


def test_this_machine_is_looked_at(tmp_path: Path) -> None:
    checks = {check["name"]: check for check in looked(tmp_path)}
    assert checks["open files"]["values"]["hard"] == descriptors()
    assert checks["cores"]["values"]["cores"] == len(os.sched_getaffinity(0))
    assert checks["kernel stamps"]["values"]["stamps"] == "exact"
    assert 0 < checks["timer wakes"]["values"]["p50_us"] <= checks["timer wakes"]["values"]["p99_us"]
    assert 0 < checks["clock source"]["values"]["reading_ns"] < 100_000
    assert checks["disk"]["values"]["GB_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_bad(tmp_path: Path) -> None:
    check = next(check for check in looked(tmp_path / "gone") if check["name"] == "disk")
    assert check["level"] == "bad"
    assert "No such file" in check["figure"]


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)), min_size=8, max_size=8))
def test_shares_of_time_are_shares(spent: list[tuple[int, int]]) -> None:
    before, after = (f"cpu  {' '.join(map(str, ticks))} 0 0\n" for ticks in zip(*((then, then + more) for then, more in spent)))
    used, stolen = busy(before, after)
    total = sum(more for _, more in spent)
    assert 0 <= stolen <= used <= 1
    assert total == 0 or used * total == pytest.approx(total - spent[3][1] - spent[4][1], abs=1e-6 * total)


@pytest.mark.parametrize(
    ("plain", "paced", "exact", "said"),
    [
        (["generator"], [], 0.999, "carries 9,000 plain requests or 20,000 tokens a second here, 99% of stamps exact; for more, cluster"),
        (["sink"], ["sink"], 0.999, "carries at least 9,000 plain requests or 20,000 tokens a second"),
        (["machine"], [], 0.999, "; others were at work: measure again when it is quiet"),
        (["generator"], ["machine"], 0.9, "or fewer than 20,000 tokens a second here, 99% of stamps exact; others were at work"),
    ],
)  # fmt: skip
def test_what_the_measures_mean(plain: list[str], paced: list[str], exact: float, said: str) -> None:
    first = {"requests_per_s": 10_000.0, "saturated": plain}
    assert said in meaning(first, {}, {"tokens_per_s": 20_000.0, "exact_share": exact, "saturated": paced}, {})
