"""What the README and the docs show is what there is: commands run as they stand, files are read, links and keys lead somewhere.

A page is played from its top in one folder. Each command of a ```bash block is run as it stands, but for three things:
a run is shortened by SHORT, the address of a server is that of a simulator, and a simulator gets a free port. What stands
behind `<!-- file: NAME -->` is saved under that name, what stands behind `<!-- output -->` is held against what was printed.
A package that a page installs (`pip install -e ./FOLDER`) is laid out as an installation leaves it, the code and beside it the
dist-info with its entry points: pip would want a build backend, and would put it into the environment of these tests.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

from aiperf.config.compose import load
from aiperf.config.experiment import Experiment
from aiperf.config.keys import rows as rows_of
from aiperf.config.simulator import SHARES
from aiperf.metrics.statistics import floor
from aiperf.plugin.plugins import of_requests, of_runs
from aiperf.records import ERRORS, NOT_FAILURES
from aiperf.results import REASONS
from fault_classes import FAULT_CLASSES

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))))
LANGUAGES = ("bash", "yaml", "json", "python", "toml", "")

SHORT = (
    "timing.stop.requests=10",
    "timing.warmup.duration_s=null",
    "verdict.ignore=[too_few_samples,late_generator,level_not_held,plan_not_met,generator_saturated,coalesced_first_tokens]",
)
"""Ten requests without a warm-up; what being short or a busy machine does to the verdict is overlooked."""

HURRIED = (
    "aiperf experiment=evening",
    "aiperf experiment=quickstart endpoint.timeout_s.idle",
    "aiperf timing=request_rate timing.rate=100",
)
GOES = 5
"""What these find hangs on half a second of the machine's time: they may be played as often, and one go has to find it."""

INSTALLS = ("python3 -m venv ", ". .venv/bin/activate", "python -m pip install ", "python -m pytest ")
"""The only commands that are not run: they make an environment, or are the tests themselves (benchmarks/install.py runs them)."""

ADDRESS, PORT = "http://127.0.0.1:8000", "port=8000"

EXPECTED = {
    "README.md": (
        ("python -m aiperf experiment=quickstart", 0, r"^VALID"),
        ("python -m aiperf experiment=mooncake_replay endpoint=vllm", 0, r"^VALID"),
        ('python -m aiperf query "SELECT', 0, r"quickstart/.* VALID "),
        ("python -m aiperf report", 0, r"^results: outputs/quickstart/"),
        ("python -m aiperf verify", 0, r"^  summary  ok "),
        ("python -m aiperf plugins endpoint", 0, r"^completions +aiperf"),
    ),
    "docs/quickstart.md": (
        ("aiperf experiment=quickstart", 0, r"^VALID"),
        ("aiperf simulate", 0, r"^simulator at http://127"),
        ("aiperf validate", 0, r"^valid: experiment .*endpoint=vllm"),
        ("aiperf endpoint=vllm", 0, r"^VALID"),
        ("aiperf dataset=mooncake_trace", 0, r"^timing=fixed_schedule: the data have times"),
        ("aiperf dataset=file", 0, r"^dataset   prompts.jsonl: prompts as they stand"),
        ("aiperf experiment=evening", 0, r"planned_time_to_first_token <= 500 ms +kept by 100 %"),
        ("aiperf report", 0, r"^results: outputs/quickstart/"),
        ('aiperf query "SELECT', 0, r"quickstart/.* VALID "),
        ("aiperf report", 0, r"^results: outputs/quickstart/"),
        ("aiperf verify", 0, r"^  summary  ok "),
        ("aiperf --rerun", 0, r"^results: outputs/quickstart/"),
    ),
    "docs/concepts.md": (("aiperf timing=request_rate", 0, r"^  queue_time +\d"),),
    "docs/errors.md": (
        ("aiperf experiment=quickstart endpoint.simulator.faults.http_500", 3, r"^  truncated \d"),
        ("aiperf experiment=quickstart endpoint.timeout_s.idle", 3, r"^  timeout_idle \d"),
        ("aiperf experiment=quickstart endpoint.max_answer_bytes", 3, r"^  too_large \d"),
        ("aiperf timing=request_rate timing.rate=100", 3, r"^requests: planned 10 .* unsent \(duration\) \d .* abandoned \d"),
    ),
    "docs/plugins.md": (
        ("python -m pip install -e ./my-plugins", 0, r"^my_plugins-0\.1\.0"),
        ("aiperf plugins endpoint plain", 0, r"^  options +prefix: str"),
        ("aiperf plugins --validate", 0, r"nothing imported: all are right"),
        ("aiperf plugins --validate --import", 0, r"protocols: all are right"),
        ("aiperf plugins endpoint plain", 0, r"^  package +my-plugins 0\.1\.0"),
        ("aiperf experiment=quickstart endpoint.type=plain", 0, r"^  plugin\.choices +1"),
        ('aiperf query "SELECT', 0, r"^plugin\.choices +avg +1 +10"),
        ("aiperf endpoint=simulator endpoint.type=plain", 2, r"there is no option 'prefx', did you mean prefix\?"),
        ("python -m pytest ./my-plugins", 0, r"\d passed"),
        ("aiperf plugins new dataset_sampler far_apart", 0, r"^aiperf-far-apart: a plugin that works"),
        ("python -m pip install -e ./aiperf-far-apart", 0, r"^aiperf_far_apart-0\.1\.0"),
        ("python -m pytest ./aiperf-far-apart", 0, r"\d passed"),
    ),
    "docs/rehearsal.md": (
        ("aiperf experiment=thursday", 0, r"^server    simulator at memory://simulator"),
        ("aiperf experiment=thursday timing.rate=26", 0, r"^VALID"),
        ("aiperf experiment=thursday timing.rate=30", 0, r"^VALID"),
        ('aiperf query "SELECT', 0, r"30(\.0)? +time_to_first_token +p99"),
        ("aiperf experiment=thursday timing.stop.duration_s=7200", 0, r"^VALID"),
        ("aiperf experiment=thursday endpoint=vllm", 0, r"^VALID"),
        ("aiperf experiment=thursday endpoint.simulator.preset=overloaded", 0, r"^VALID"),
    ),
    "docs/performance.md": (("aiperf doctor", 0, r"^good +kernel stamps"),),
    "docs/configuration.md": (),
    "docs/metrics.md": (),
}
"""By page, how its commands begin in their order, the exit code of each, and a line of what it prints."""

SITE = ".installed"
"""Where in the folder of a page its packages lie."""

NOT_PRINTED = ("profiling ",)
"""Lines of an output that come every five seconds, which a shortened run does not last."""


@dataclass(frozen=True)
class Block:
    """A fenced block, and the word of the comment before it."""

    language: str
    text: str
    marker: str

    @property
    def file(self) -> str | None:
        return self.marker.removeprefix("file: ") if self.marker.startswith("file: ") else None

    @property
    def commands(self) -> list[str]:
        return [part for line in self.text.splitlines() for part in line.split(" && ")] if self.language == "bash" else []


@dataclass
class Sitting:
    """A page that is being played in a folder, against a server; `said` is what the latest block that was run printed."""

    folder: Path
    server: str
    said: str = ""
    expected: list[tuple[str, int, str]] = field(default_factory=list)

    def play(self, block: Block) -> None:
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.marker == "output":
            check_output(block.text, self.said)
        elif block.marker == "files":
            check_files(block.text, self.folder)
        elif block.commands:
            said = [self.run(command) for command in block.commands if "./" in command or not command.startswith(INSTALLS)]
            self.said = "".join(said) or self.said
        else:
            assert block.language == "bash", f"a block of {block.language or 'nothing'} without a marker: {block.text[:80]}"

    def run(self, command: str) -> str:
        begins, code, line = self.expected.pop(0)
        assert command.startswith(begins), f"{command!r} stands where {begins!r} is expected"
        for _ in range(GOES if begins in HURRIED else 1):
            said, ended = self.said_by(command)
            if ended == code and re.search(line, said, re.MULTILINE):
                break
        assert ended == code, f"{command}\n{said}"
        assert re.search(line, said, re.MULTILINE), f"{command}: nothing like {line!r}\n{said}"
        return said

    def said_by(self, command: str) -> tuple[str, int]:
        if command.startswith(INSTALLS):
            folder = self.folder / command.split()[-1]
            return (installed(folder, self.folder / SITE), 0) if " install " in command else pytested(folder, self.folder)
        words = arguments(command)
        if words[:1] == ["simulate"]:
            return simulated(words)
        asked = [word.replace(ADDRESS, self.server) for word in words]
        done = aiperf([*asked, *(SHORT if is_run(words) else ())], self.folder)
        return done.stdout + done.stderr, done.returncode


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> Iterator[Block]:
    for found in re.finditer(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE):
        yield Block(found[2], found[3], found[1] or "")


def arguments(command: str) -> list[str]:
    """The words behind `aiperf`. A command of another kind fails, so that none is passed over in silence."""
    words = shlex.split(command)
    given = words[3:] if words[:3] == ["python", "-m", "aiperf"] else words[1:]
    assert words[0] == "aiperf" or words[:3] == ["python", "-m", "aiperf"], f"nobody knows how to run {command!r}"
    return given


def is_run(words: Sequence[str]) -> bool:
    """Whether a load is made, which is what no verb, or the verb `run`, stands for."""
    return "=" in words[0] or words[0] == "run"


def aiperf(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return python(["-m", "aiperf", *words], folder, folder)


def python(words: Sequence[str], folder: Path, page: Path) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with what a page has installed."""
    environment = {**os.environ, "PYTHONPATH": str(page / SITE)} if (page / SITE).exists() else None
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip


def installed(folder: Path, site: Path) -> str:
    """The name of the dist-info of a package that is laid out now."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    package = project["name"].replace("-", "_")
    shutil.copytree(next(path for path in (folder / package, folder / "src" / package) if path.is_dir()), site / package)
    info = site / f"{package}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["aiperf.plugins"].items())
    (info / "entry_points.txt").write_text(f"[aiperf.plugins]\n{points}")
    return info.name


def pytested(folder: Path, page: Path) -> tuple[str, int]:
    """What pytest says of a package that is installed; it is told that nothing above the package is to be read."""
    done = python(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)], folder, page)
    return done.stdout + done.stderr, done.returncode


def started(words: Sequence[str]) -> tuple["subprocess.Popen[str]", str]:
    """A simulator that answers, and the line in which it said where."""
    process = subprocess.Popen([sys.executable, "-m", "aiperf", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    with urllib.request.urlopen(f"{address(line)}/health", timeout=60) as answer:  # noqa: S310 - an http address of ours
        assert answer.status == 200
    return process, line


def stopped(process: "subprocess.Popen[str]") -> str:
    """End a simulator by Ctrl-C, and what it said in the meantime."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        process.kill()  # it is gone, unless Ctrl-C did nothing


def simulated(words: Sequence[str]) -> tuple[str, int]:
    """What a simulator said until Ctrl-C, and its exit code."""
    process, line = started(["port=0" if word == PORT else word for word in words])
    return line + stopped(process), process.returncode


def address(line: str) -> str:
    return line.split()[2].rstrip(":")


def check_output(shown: str, said: str) -> None:
    """Each line that is shown begins like one that was printed, up to its first figure."""
    printed = {label(line) for line in said.splitlines()}
    for line in shown.splitlines():
        known = any(one.startswith(label(line)) for one in printed)
        assert known or line.startswith(NOT_PRINTED), f"{line!r} is not printed\n{said}"


def label(line: str) -> str:
    return re.split(r"~?\d", line.strip())[0].strip()


def check_files(shown: str, folder: Path) -> None:
    """Every file of a listing is in the folder of the campaign that stands above them, in its latest run."""
    head, *rest = shown.splitlines()
    campaign = max((folder / head.split()[0]).parent.iterdir())
    for line in rest:
        for name in re.split(r"\s{2,}", line.strip())[0].split(", "):
            beside = name if "/" in name or (campaign / name).exists() else f"trials/0001/{name}"
            assert list(campaign.glob(beside)), f"{name} is not in {sorted(campaign.rglob('*'))}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that one waits for only briefly."""
    process, line = started(["simulate", "port=0", "ttft_ms=2", "itl_ms=0.1"])
    yield address(line)
    stopped(process)


def play(name: str, server: str, folder: Path) -> None:
    folder.mkdir()
    sitting = Sitting(folder, server, expected=list(EXPECTED[name]))
    for block in sorted(blocks(name), key=lambda block: block.file is None):
        sitting.play(block)
    assert sitting.expected == [], "these are not on the page"


@pytest.mark.timeout(900)
def test_every_page_does_what_it_says(server: str, tmp_path: Path) -> None:
    """All in one, since two pages at a time are played in half the time."""
    with ThreadPoolExecutor(2) as pool:
        played = [
            pool.submit(play, name, server, tmp_path / Path(name).stem) for name in sorted(PAGES, key=lambda name: -len(EXPECTED[name]))
        ]
    failed = [exc for page in played if (exc := page.exception()) is not None]
    if failed:
        raise ExceptionGroup("pages that do not what they say", failed)


def test_every_page_has_its_expectations() -> None:
    assert sorted(EXPECTED) == sorted(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_no_fence_is_of_an_unknown_kind(name: str) -> None:
    found = list(blocks(name))
    assert page(name).count("```") == 2 * len(found), "a fence that is not closed, or does not begin its line"
    assert {block.language for block in found} <= set(LANGUAGES)
    assert {block.file is None for block in found if block.language in ("yaml", "json")} <= {False}, "data without a name"


@pytest.mark.parametrize("command", ["make all", "aiperfect run", "curl http://127.0.0.1:8000/metrics", "python -m aiperfect"])
def test_a_command_of_another_kind_fails(command: str) -> None:
    with pytest.raises(AssertionError, match="nobody knows how to run"):
        arguments(command)


@pytest.mark.parametrize("name", PAGES)
def test_every_yaml_is_an_experiment(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(name):
        if block.language == "yaml" and (block.file or "experiments/").startswith("experiments/"):
            path = tmp_path / (block.file or "")
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            assert load([f"experiment={path.stem}"]).experiment.name == path.stem


def headings(text: str) -> set[str]:
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!http)([^)]+)\)", page(name))):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        assert not anchor or anchor in headings(target.read_text(encoding="utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_every_key_that_is_named_exists(name: str) -> None:
    keys = {key.dotted for key in rows_of(Experiment)}
    above = {".".join(key.split(".")[:depth]) for key in keys for depth in range(1, key.count(".") + 2)}
    groups = {key.split(".")[0] for key in keys if "." in key}
    free = tuple(f"{key}." for key in ("goodput.slos", "endpoint.extra", "endpoint.headers", "endpoint.options"))
    named = {found for code in re.findall(r"`([^`\n]+)`", page(name)) for found in re.findall(r"(?<![\w./])[a-z]+(?:\.[a-z_0-9]+)+", code)}
    strangers = {key for key in named if key.split(".")[0] in groups and key not in above and not key.startswith(free)}
    assert strangers == set()


class TestReadme:
    def test_the_two_commands_stand_behind_their_markers(self) -> None:
        by_marker = {block.marker: block.text for block in blocks("README.md") if block.language == "bash"}
        assert "python -m aiperf experiment=quickstart" in by_marker["run"]
        assert "python -m pytest" in by_marker["test"]

    def test_the_ten_lines_are_the_quickstart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (block,) = (block for block in blocks("README.md") if block.language == "yaml")
        assert len(block.text.splitlines()) <= 11
        (tmp_path / "experiments").mkdir()
        (tmp_path / "experiments/mine.yaml").write_text(block.text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        made, quickstart = (load([f"experiment={name}"]).experiment for name in ("mine", "quickstart"))
        assert (made.timing, made.endpoint, made.seed) == (quickstart.timing, quickstart.endpoint, quickstart.seed)


def rows(name: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading this is, without the backticks."""
    lines = page(name).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    table = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table]


class TestErrors:
    def test_every_class_has_its_row(self) -> None:
        assert [row[0] for row in rows("docs/errors.md", "class")] == list(ERRORS)

    def test_every_fault_has_its_row_and_leads_to_its_class(self) -> None:
        told = {row[0]: None if row[2] == "none" else row[2] for row in rows("docs/errors.md", "fault")}
        assert told == {fault: FAULT_CLASSES[fault] for fault in SHARES}

    def test_both_tables_say_the_same(self) -> None:
        by_class = {(fault, row[0]) for row in rows("docs/errors.md", "class") for fault in row[3].split(", ") if fault}
        assert by_class == {(row[0], row[2]) for row in rows("docs/errors.md", "fault") if row[2] != "none"}

    def test_what_is_no_failure_is_named(self) -> None:
        sentence = re.search(r"\*\*Three classes are no failures\*\*(.*?)\. ", page("docs/errors.md"), re.DOTALL)
        assert sentence is not None
        assert sorted(re.findall(r"`(\w+)`", sentence[1])) == sorted(NOT_FAILURES)

    def test_the_deadlines_are_the_defaults(self) -> None:
        defaults = {key.dotted: float(key.default_text) for key in rows_of(Experiment) if key.dotted.startswith("endpoint.timeout_s.")}
        told = dict(re.findall(r"`(endpoint\.timeout_s\.\w+)` \((\d+) s\)", page("docs/errors.md")))
        assert {key: float(seconds) for key, seconds in told.items()} == defaults


class TestConcepts:
    def test_every_reason_has_its_row(self) -> None:
        assert [row[0] for row in rows("docs/concepts.md", "reason")] == list(REASONS)

    def test_the_ledger_adds_up(self) -> None:
        assert [row[0] for row in rows("docs/concepts.md", "part")] == ["good", "failed", *NOT_FAILURES]

    def test_the_needed_samples_are_those_that_are_asked_for(self) -> None:
        told = dict(re.findall(r"p([\d.]+) ([\d,]+)[,)]", page("docs/concepts.md")))
        assert {name: int(count.replace(",", "")) for name, count in told.items()} == {name: floor(float(name)) for name in told}
        assert {"90", "95", "99", "99.9"} == set(told)

    def test_the_drawing_is_whole_and_brings_everything_with_it(self) -> None:
        text = (ROOT / "docs/request.svg").read_text(encoding="utf-8")
        drawing = ET.fromstring(text)  # noqa: S314 - a file of ours
        words = " ".join(part for part in drawing.itertext())
        assert not re.search(r"href|@import|url\(|<image|<script", text)
        metrics = {entry.name for entry in (*of_requests(), *of_runs())}
        assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", words)) <= metrics
        for stamp in ("due", "ready", "started", "sent", "first token", "last token", "end"):
            assert stamp in words, stamp


class TestQuickstart:
    def test_every_exit_code_is_there(self) -> None:
        assert [row[0] for row in rows("docs/quickstart.md", "code")] == ["0", "1", "2", "3", "4", "130"]

    def test_reasons_that_it_names_exist(self) -> None:
        assert {row[0] for row in rows("docs/quickstart.md", "reason")} <= set(REASONS)
