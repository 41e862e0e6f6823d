"""The suites: what is decided before the start hangs on numbers and seeds alone, and nothing thrown at the rest makes it raise."""

# ruff: noqa: S101, D102 - a suite asserts, and its tests are named by sentences

import json
import math
import pickle
import pkgutil
import random
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aiperf.clock import SECOND, monotonic_ns, sleep
from aiperf.config.dataset import Dataset
from aiperf.config.endpoint import Endpoint as Options
from aiperf.config.timing import Timing
from aiperf.dataset.bank import Wording
from aiperf.endpoints import sse
from aiperf.endpoints.speaking import spoken
from aiperf.errors import AiperfError, ClientError, DataError
from aiperf.metrics.columns import column, single, with_metrics
from aiperf.metrics.view import RunView
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry
from aiperf.records import CHANNELS, ERRORS, PHASES, SCHEMA, TOKEN_CHANNELS
from aiperf.results import STATS, MetricValue, Outlook, Pulse, Reason, Summary, Verdict, Window
from aiperf.seams import SAYS, Answer, Arrivals, Channel, Endpoint, Event, Job, Said
from aiperf.workload import Turn

__all__ = [
    "ArrivalsContract", "ClusterContract", "ComposerContract", "EndpointContract", "ExporterContract", "LoaderContract",
    "MetricContract", "RunMetricContract", "SamplerContract", "ScreenContract", "StrategyContract",
]  # fmt: skip

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2**40 + 7, 2**63 - 1])
ROWS = np.arange(10)
START_NS = 1_700_000_000_000_000_000
WINDOW = Window(START_NS, START_NS + 1_000_000_000)
_STREAM = "text/event-stream"
_WORDS = b'data: |\n\n|\n|[DONE]|null|{"|":|}|[|]|"|0|1e999|event: error|\xff|choices|error'.split(b"|")
_ODD_TURNS = (
    Turn(), Turn(("",)), Turn(("\ud800",), 1, 4), Turn(("a", "b")), Turn(payload=b"\xff"), Turn(messages=[{"role": 1}]),
    Turn(("a",), extra={"x": object()}), Turn(("a",), tools=[None]), Turn(token_ids=((1, 2),)), Turn(("a",), output_tokens=0),
)  # fmt: skip


class PluginContract:
    """A plugin by its `name`; `options` are what `<group>.options` would say."""

    category: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def entry(self) -> PluginEntry:
        """The plugin; a suite for several overrides this with params."""
        return plugins.get_entry(self.category, self.name)

    def made(self, entry: PluginEntry, *args: Any, **kwargs: Any) -> Any:
        """The plugin as a run would make it, in another process."""
        made = plugins.make(self.category, entry.name, *args, options=self.options, **kwargs)
        return pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes

    def test_it_says_what_it_is_and_fits(self, entry: PluginEntry) -> None:
        assert entry.description
        assert entry.name not in dict(plugins.validate_all(check_class=True).get(self.category, ()))
        if (model := plugins.categories()[self.category].metadata_class) is not None:
            pkgutil.resolve_name(model).model_validate(entry.metadata)


def check_arrivals(arrivals: Arrivals, *, few: int, count: int, until_ns: int) -> None:
    """Arrays ascend, longer ones begin with shorter ones, and `until` is all that comes before."""
    found, before = arrivals.offsets(count), arrivals.until(until_ns)
    assert (found.dtype.name, len(found)) == ("int64", count)
    assert (np.diff(found, prepend=0) >= 0).all()
    assert arrivals.offsets(few).tolist() == found[:few].tolist()
    *earlier, later = arrivals.offsets(len(before) + 1).tolist()
    assert before.tolist() == earlier == [due for due in earlier if due < until_ns]
    assert later >= until_ns


class ArrivalsContract(PluginContract):
    """An arrival process; 100,000 arrivals keep their rate within `tolerance`."""

    category = "arrival_pattern"
    tolerance: ClassVar[float] = 0.02

    @SEEDS
    @pytest.mark.parametrize("rate", [0.01, 1.0, 37.5, 1e6])
    def test_times_ascend_at_their_rate_and_longer_arrays_begin_with_shorter_ones(self, entry: PluginEntry, rate: float, seed: int) -> None:
        arrivals = self.made(entry, rate, seed=seed)
        for few, count, expected in ((0, 0, 0.0), (0, 1, 0.5), (1, 2, 1.0), (100, 300, 31.4), (299, 300, 500.0)):
            check_arrivals(arrivals, few=few, count=count, until_ns=round(expected / rate * SECOND))
        assert self.made(entry, rate, seed=seed).offsets(300).tolist() == arrivals.offsets(300).tolist()
        assert arrivals.offsets(100_000)[-1] == pytest.approx(100_000 / rate * SECOND, rel=self.tolerance)


class StrategyContract(PluginContract):
    """A strategy; `timing` are the keys of that group that it needs. The data's own times are five rows a second for 80 s from 3 s on."""

    category = "timing_strategy"
    timing: ClassVar[Mapping[str, Any]] = {}

    @pytest.mark.parametrize("warmup", [{}, {"requests": 10}, {"duration_s": 2}])
    @pytest.mark.parametrize("stop", [{"requests": 50}, {"duration_s": 5}, {"requests": 50, "duration_s": 5}])
    def test_arrivals_ascend_and_phases_end_by_their_rules(self, entry: PluginEntry, stop: dict[str, int], warmup: dict[str, int]) -> None:
        timing = Timing.model_validate({"type": entry.name, **self.timing, "stop": {"grace_s": 1.5, **stop}, "warmup": warmup})
        schedule = self.made(entry, timing, seed=9).schedule(np.arange(400) * (SECOND // 5) + 3 * SECOND)
        rules = {**({"warmup": warmup} if warmup else {}), "profiling": stop}
        assert (schedule.grace_ns, [phase.name for phase in schedule.phases]) == (1_500_000_000, list(rules))
        for phase, rule in zip(schedule.phases, rules.values(), strict=True):
            requests, seconds = rule.get("requests"), rule.get("duration_s")
            if phase.due_ns is None:
                assert (phase.requests, phase.duration_ns) == (requests, seconds and seconds * SECOND)
                continue
            assert phase.due_ns.dtype == np.int64
            assert (np.diff(phase.due_ns, prepend=0) >= 0).all()
            assert phase.conversations is None or len(phase.conversations) == len(phase.due_ns)
            assert 0 < len(phase.due_ns) <= (requests or 10**9)
            assert phase.due_ns[-1] < phase.duration_ns <= (seconds or 10**6) * SECOND


class SamplerContract(PluginContract):
    """A sampler of rows."""

    category = "dataset_sampler"

    @SEEDS
    @pytest.mark.parametrize("count", [1, 2, 7, 1000, 1025])
    def test_any_conversations_row_is_had_without_those_before_it(self, entry: PluginEntry, count: int, seed: int) -> None:
        sampler, asked = self.made(entry, count, seed=seed), np.array([0, 1, 5, 999, 1023, 1024, 10**7, 5, 3])
        rows = sampler.rows(asked)
        assert rows.dtype == np.int64
        assert ((rows >= 0) & (rows < count)).all()
        assert [int(self.made(entry, count, seed=seed).rows(asked[i : i + 1])[0]) for i in range(len(asked))] == rows.tolist()


class ComposerContract(PluginContract):
    """A source of conversations; `dataset` are the keys of that group that it needs."""

    category = "dataset_composer"
    dataset: ClassVar[Mapping[str, Any]] = {}

    def source(self, entry: PluginEntry, folder: Path, *, salt: str = "salt") -> Any:  # noqa: ARG002 - `folder` is for one that reads a file
        """The plugin over what `dataset` says."""
        return self.made(entry, Dataset.model_validate({"type": entry.name, **self.dataset}), seed=7, wording=Wording(salt=salt))

    def test_turns_have_their_lengths_and_are_the_same_in_any_order_and_process(self, entry: PluginEntry, tmp_path: Path) -> None:
        source, there = self.source(entry, tmp_path), self.source(entry, tmp_path)
        assert set(source.says) <= set(SAYS)
        assert all(isinstance(note, str) for note in source.notes)
        assert (due_ns := source.due_ns()) is None or (due_ns.dtype == np.int64 and (np.diff(due_ns, prepend=0) >= 0).all())
        for picked in (ROWS, np.array([9, 3, 3, 1])):
            lengths, turns = source.lengths(picked), [source.turn(int(i), warmup=False) for i in picked]
            assert [there.turn(int(i), warmup=False) for i in picked[::-1]] == turns[::-1]
            assert lengths.input_tokens.dtype == lengths.output_tokens.dtype == np.int32
            for some in (turns, [source.turn(int(i), warmup=True) for i in picked]):
                assert [turn.input_tokens for turn in some] == lengths.input_tokens.tolist()
                assert [turn.output_tokens or 0 for turn in some] == lengths.output_tokens.tolist()


class LoaderContract(ComposerContract):
    """A loader of data files; `rows` are ten or more of its rows, `bad` lines that it refuses."""

    category = "custom_dataset_loader"
    rows: ClassVar[Sequence[Mapping[str, Any]]]
    bad: ClassVar[Sequence[str]] = ("{", "[]", "")

    def source(self, entry: PluginEntry, folder: Path, *, salt: str = "salt") -> Any:
        """The plugin over a file of `rows`, or over the one that is there."""
        path = folder / "rows.jsonl"
        if not path.exists():
            path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        dataset = Dataset.model_validate({"type": "custom", "format": entry.name, "path": str(path), **self.dataset})
        return self.made(entry, path, dataset, seed=7, wording=Wording(salt=salt))

    def test_it_has_every_row_knows_them_for_its_own_and_names_a_file_that_it_refuses(self, entry: PluginEntry, tmp_path: Path) -> None:
        loader, claims = self.source(entry, tmp_path), plugins.get_class(self.category, entry.name).claims
        assert len(loader) == len(self.rows) >= len(ROWS)
        assert (due_ns := loader.due_ns()) is None or len(due_ns) == len(loader)
        assert all(claims(row) for row in self.rows)
        assert not any(claims(row) for row in ({}, {"": None}, {"no": {"such": ["row"]}}))
        for line in self.bad:
            (tmp_path / "rows.jsonl").write_text(f"{line}\n")
            with pytest.raises(DataError, match=r"rows\.jsonl"):
                self.source(entry, tmp_path)


def check_shape(said: Said, bodies: Sequence[bytes]) -> None:
    """Parallel lists are equally long, reads ascend and are there, and an error has a class and a reason."""
    assert len(said.reads) == len(said.at_end) == len(said.channels) == len(said.tokens)
    assert said.reads == sorted(said.reads)
    assert set(said.reads) <= set(range(len(bodies)))
    assert set(said.channels) <= set(range(len(CHANNELS)))
    assert said.error is None or said.error in ERRORS
    assert (said.error is None) == (said.reason is None)


def check_split(endpoint: Endpoint, sample: tuple[str, bytes], places: Sequence[int]) -> None:
    """An answer that is cut at these places says what it says byte by byte, each event with the read that holds its last byte."""
    kind, body = sample
    bodies = [body[start:end] for start, end in pairwise([0, *sorted(places), len(body)])]
    bytewise = endpoint.answer(Answer(200, kind, [body[i : i + 1] for i in range(len(body))], complete=True))
    said = endpoint.answer(Answer(200, kind, bodies, complete=True))
    check_shape(said, bodies)
    ends = [(i, n == len(part)) for i, part in enumerate(bodies) for n in range(1, len(part) + 1)]
    assert list(zip(said.reads, said.at_end)) == [ends[read] for read in bytewise.reads]
    assert asdict(said) == {**asdict(bytewise), "reads": said.reads, "at_end": said.at_end}


class EndpointContract(PluginContract):
    """An endpoint of either kind. `answers` are bodies that it understands, each with its content type; `turns` what it can say."""

    category = "endpoint"
    answers: ClassVar[Sequence[tuple[str, bytes]]]
    turns: ClassVar[Sequence[Turn]] = (Turn(("hello",), 1, 4),)
    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def endpoint(self, entry: PluginEntry) -> Endpoint:
        """The endpoint as a run speaks through it; `settings` are other keys of that group."""
        said = {"type": entry.name, "url": "http://127.0.0.1:8000", "options": self.options, **self.settings}
        return spoken(Options.model_validate(said), model="m", exact=False)

    def test_bodies_are_bytes_the_same_twice_or_a_client_error(self, endpoint: Endpoint) -> None:
        for turn in self.turns:
            assert isinstance(endpoint.body(turn), bytes)
            assert endpoint.body(turn) == endpoint.body(turn)
        for turn in _ODD_TURNS:
            with suppress(ClientError):
                assert isinstance(endpoint.body(turn), bytes)

    def test_an_answer_of_its_own_is_understood_wherever_it_is_cut(self, endpoint: Endpoint) -> None:
        assert self.answers
        for kind, body in self.answers:
            said = endpoint.answer(Answer(200, kind, [body], complete=True))
            assert (said.error, bool(said.channels)) == (None, True)
            hinted = [re.search(endpoint.token_hint, data) is not None for data in sse.split([body]).data]
            assert all(CHANNELS[channel] in TOKEN_CHANNELS for channel, found in zip(said.channels, hinted) if found)
            for places in (*([i] for i in range(len(body) + 1)), *(random.Random(i).choices(range(len(body) + 1), k=i) for i in range(50))):
                check_split(endpoint, (kind, body), places)

    def test_a_failed_answer_has_the_class_of_its_status(self, endpoint: Endpoint) -> None:
        for status, error in ((302, "http_3xx"), (400, "http_4xx"), (429, "rate_limited"), (500, "http_5xx")):
            for kind, body in (*self.answers, ("text/plain", b"no"), (None, b"")):
                said = endpoint.answer(Answer(status, kind, [body], complete=True))
                assert (said.error, said.channels) == (error, [])

    def test_no_bytes_make_it_raise(self, endpoint: Endpoint) -> None:
        draw = random.Random(1)
        for (kind, body), _ in product((*self.answers, (_STREAM, b"data: ")), range(400)):
            start, end = sorted(draw.choices(range(len(body) + 1), k=2))
            bodies = [body[:start], b"".join(draw.choices(_WORDS, k=draw.randrange(9))), body[end:]][: draw.randrange(4)]
            content_type = draw.choice((kind, _STREAM, "application/json", None))
            said = endpoint.answer(Answer(200, content_type, bodies, complete=draw.random() < 0.5))
            check_shape(said, bodies)
            assert said.error != "client", said.reason


def sample_records() -> pa.Table:
    """Records of every kind: streamed and not, of warm-up and run, failed in every way, and one of which nothing is known."""
    rows: list[dict[str, Any]] = [{}]
    for number, error in enumerate((*[None] * 6, *ERRORS)):
        sent, count = START_NS + number * 10_000_000, number % 5
        events = [sent + 1_000_000 * (i + 1) for i in range(count)]
        row = {"request": number, "phase": PHASES[number != 1], "error": error, "status": 200, "output_tokens": number % 3 or None}
        row |= {"chunk_ns": events, "chunk_channel": ["reasoning", *["content"] * 3][:count], "chunk_tokens": [0] * count}
        row |= {"due_ns": sent, "sent_ns": sent, "last_token_ns": [sent, *events][-1], "end_ns": sent + 9_000_000}
        rows.append(row | ({"first_token_ns": events[0], "ready_ns": sent, "started_ns": sent} if events else {}))
    return pa.Table.from_pylist(rows, SCHEMA)


class MetricContract(PluginContract):
    """A metric with a value a request."""

    category = "record_processor"

    def test_a_row_has_its_finite_value_wherever_it_lies(self, entry: PluginEntry) -> None:
        records, failed = with_metrics(sample_records()).drop_columns([entry.name]), dict[str, str]()
        values = (found := column(entry, records, failed)).to_pylist()
        assert found.type == (pa.list_(pa.float64()) if entry.metadata.get("list") else pa.float64())
        assert all(math.isfinite(one) for value in values if value is not None for one in (value if isinstance(value, list) else [value]))
        for at in range(len(records) + 1):
            assert column(entry, pa.concat_tables([records.slice(0, at), records.slice(at)]), failed).to_pylist() == values
            assert column(entry, records.slice(at, 1), failed).to_pylist() == values[at : at + 1]
        assert failed == {}
        assert records.equals(with_metrics(sample_records()).drop_columns([entry.name]))


class RunMetricContract(PluginContract):
    """A metric of one value a run."""

    category = "results_processor"

    @pytest.mark.parametrize("rows", [0, 1, 99])
    def test_it_is_a_finite_number_or_nothing(self, entry: PluginEntry, rows: int) -> None:
        records, failed = with_metrics(sample_records().slice(0, rows)), dict[str, str]()
        for window in (WINDOW, Window(START_NS, START_NS)):
            value = single(entry, RunView(records, window), failed)
            assert value is None or math.isfinite(value)
            assert single(entry, RunView(records, window), failed) == value
        assert failed == {}
        assert records.equals(with_metrics(sample_records().slice(0, rows)))


class ExporterContract(PluginContract):
    """A function that writes beside summary.json."""

    category = "data_exporter"

    def test_what_it_writes_is_whole_and_the_same_twice(self, entry: PluginEntry, tmp_path: Path) -> None:
        export, trial, records = plugins.get_class(self.category, entry.name), tmp_path / "trial", tmp_path / "records"
        values = tuple(MetricValue(f"m{value}", "ms", dict.fromkeys(STATS, value), 3) for value in (None, math.nan, 1.5))
        summary = Summary(WINDOW, values, values, {"planned": 9}, {"reset": 1}, {}, (), Verdict((Reason("errors", "é", ","),)))
        records.mkdir()
        pq.write_table(with_metrics(sample_records()), records / "0000.parquet")
        with pytest.raises(AiperfError):
            export(summary, trial, name="there is no folder", records=records)
        trial.mkdir()
        written = []
        for _ in range(2):
            export(summary, trial, name='a "name", é', records=records)
            written.append({path.name: path.read_bytes() for path in trial.iterdir()})
        assert written[0] == written[1] != {}


class ScreenContract(PluginContract):
    """What a person sees."""

    category = "ui"

    def test_every_line_is_said_once_in_order_however_it_ends(self, entry: PluginEntry) -> None:
        said, threads = list[str](), {*threading.enumerate()}
        screen = plugins.make(self.category, entry.name, said.append, options=self.options)
        screen.line("before")
        for outlook in (Outlook({}), Outlook({"warmup": (None, 1.0), "profiling": (9, None)}, rate=2.0)):
            with suppress(KeyError), screen.showing(outlook):
                for i in range(3):
                    screen.pulse(Pulse(i * 10**9, 0, "profiling", i, i, i, i, {"reset": i}, 0, 0, 0.5, {300: i}, {400: i}))
                    screen.line(f"line {i}")
                raise KeyError
        assert [line for line in said if line.startswith(("before", "line "))] == ["before", *("line 0", "line 1", "line 2") * 2]
        assert {*threading.enumerate()} <= threads


def echo(channel: Channel, argument: object) -> None:
    """A job that says its argument and, at some length, what it hears, until that is `stop`."""
    channel.tell(argument)
    heard: list[Any] = []
    while "stop" not in heard and not channel.closed:
        heard = channel.told()
        for message in heard:
            channel.tell((message, b"x" * 10_000))
        sleep(0.005)


class ClusterContract(PluginContract):
    """Where workers live."""

    category = "cluster"

    def test_each_worker_gets_its_argument_hears_is_heard_and_ends_once(self, entry: PluginEntry) -> None:
        cluster, told, events = plugins.make(self.category, entry.name, ()), [*range(300), "stop"], list[Event]()
        cluster.tell("nobody", "stop")
        cluster.wait(0, events.append)
        assert events == []
        for name in ("one", "two"):
            cluster.start(Job(name, f"{__name__}:echo", {"name": name, "bytes": b"\0" * 300_000}))
            for message in told:
                cluster.tell(name, message)
        deadline = monotonic_ns() + 60 * SECOND
        while sum(event.ended for event in events) < 2 and monotonic_ns() < deadline:
            cluster.wait(0.1, events.append)
        cluster.close()
        for name in ("one", "two"):
            said = [{"name": name, "bytes": b"\0" * 300_000}, *((message, b"x" * 10_000) for message in told)]
            expected = [*(Event(name, message) for message in said), Event(name, ended=True)]
            assert [event for event in events if event.worker == name] == expected
