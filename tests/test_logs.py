import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiperf import logs

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) aiperf[\w.]* \[\d+\] .*")
log = logging.getLogger("aiperf.tests.logs")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    logs.close()


class Costly:
    """Counts how often it is made."""

    def __init__(self) -> None:
        self.made = 0

    def __str__(self) -> str:
        self.made += 1
        return "costly"


@contextmanager
def full_disk_at(limit: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_a_line_says(tmp_path: Path) -> None:
    logs.configure(tmp_path / "log", "info")
    log.info("hello %s", "world")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert LINE.fullmatch(line)
    assert line.endswith(f"Z INFO aiperf.tests.logs [{os.getpid()}] hello world")


def test_the_stamp_is_utc(tmp_path: Path) -> None:
    logs.configure(tmp_path / "log", "info")
    record = logging.makeLogRecord({"name": log.name, "levelno": logging.INFO, "levelname": "INFO", "msg": "m", "created": 1767225600.123})
    log.handle(record)
    assert (tmp_path / "log").read_text().startswith("2026-01-01T00:00:00.123Z ")


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_file_holds_its_level_and_above(tmp_path: Path, level: str, shown: int) -> None:
    logs.configure(tmp_path / "log", level)
    for say in (log.debug, log.info, log.warning, log.error):
        say("said")
    assert len((tmp_path / "log").read_text().splitlines()) == shown


@pytest.mark.parametrize(
    ("verbose", "levels"), [(0, []), (1, ["INFO", "WARNING"]), (2, ["DEBUG", "INFO", "WARNING"]), (3, ["DEBUG", "INFO", "WARNING"])]
)
def test_how_much_is_shown_on_standard_error(capsys: pytest.CaptureFixture[str], tmp_path: Path, verbose: int, levels: list[str]) -> None:
    logs.configure(tmp_path / "log", "warning", verbose=verbose)
    for say in (log.debug, log.info, log.warning):
        say("said")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == levels
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_standard_error_is_that_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(None, "info", verbose=1)
    before = sys.stderr
    with capsys.disabled():
        assert sys.stderr is not before
    log.info("said")
    assert "said" in capsys.readouterr().err


def test_a_message_is_built_when_it_is_shown_and_only_then(tmp_path: Path) -> None:
    made = Costly()
    log.error("before anything is configured: %s", made)
    logs.configure(tmp_path / "log", "info")
    log.debug("not shown: %s", made)
    assert made.made == 0
    log.info("shown: %s", made)
    assert made.made == 1
    logs.close()
    log.error("after: %s", made)
    assert made.made == 1
    assert (tmp_path / "log").read_text().count("costly") == 1


def test_other_loggers_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.raiseExceptions)
    logs.configure(tmp_path / "log", "debug", verbose=2)
    logging.getLogger("somebody.else").info("theirs")
    log.info("ours")
    assert (root.level, list(root.handlers), logging.raiseExceptions) == before
    assert "theirs" not in (tmp_path / "log").read_text() + capsys.readouterr().err


def test_to_configure_again_replaces(tmp_path: Path) -> None:
    logs.configure(tmp_path / "one", "info")
    logs.configure(tmp_path / "two", "info")
    log.info("said")
    assert not (tmp_path / "one").exists()
    assert len((tmp_path / "two").read_text().splitlines()) == 1


def test_further_lines_of_a_message_are_indented(tmp_path: Path) -> None:
    logs.configure(tmp_path / "log", "info")
    try:
        int("bad")
    except ValueError:
        log.exception("it broke\nbadly")
    first, *rest = (tmp_path / "log").read_text().splitlines()
    assert LINE.fullmatch(first)
    assert rest[0] == "    badly"
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1].startswith("    ValueError: ")


def test_text_that_is_no_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    logs.configure(tmp_path / "log", "info")
    log.info("name %s", os.fsdecode(b"\xff"))
    assert "name \\udcff" in (tmp_path / "log").read_text()


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    logs.configure(path, "info")
    log.info("first")
    with full_disk_at(path.stat().st_size + 10):
        log.info("cut off")
        log.info("lost")
    log.info("last")
    assert logs.dropped() == 2
    first, cut, last = path.read_text().splitlines()
    assert first.endswith("first")
    assert len(cut) == 10
    assert LINE.fullmatch(last)
    assert last.endswith("last")
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_is_not_there_costs_lines_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(tmp_path / "not" / "there", "info")
    log.info("lost")
    assert logs.dropped() == 1
    assert capsys.readouterr() == ("", "")


def test_a_message_that_does_not_fit_its_parts_is_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(tmp_path / "log", "info")
    log.info("%d", "no number")
    assert logs.dropped() == 1
    assert capsys.readouterr() == ("", "")


def test_several_processes_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    code = (
        "import logging, sys, pathlib; from aiperf import logs\n"
        "logs.configure(pathlib.Path(sys.argv[1]), 'info')\n"
        "for i in range(300): logging.getLogger('aiperf.child').info('%s', sys.argv[2] * 3000)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    children = [subprocess.Popen([*command, letter]) for letter in "ab"]
    assert [child.wait() for child in children] == [0, 0]
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 600
    assert all(re.fullmatch(r"\S+Z INFO aiperf\.child \[\d+\] (a{3000}|b{3000})", line) for line in lines)
