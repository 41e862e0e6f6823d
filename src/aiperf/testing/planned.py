"""What is decided before the start hangs on numbers and seeds alone; and what every plugin must keep, of whatever kind."""

# ruff: noqa: S101, D102 - a suite asserts, and its tests are named by sentences

import json
import pickle
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from aiperf.clock import SECOND
from aiperf.config.dataset import Dataset
from aiperf.config.timing import Timing
from aiperf.dataset.bank import Wording
from aiperf.errors import DataError
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginEntry
from aiperf.seams import SAYS, Arrivals

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2**40 + 7, 2**63 - 1])
ROWS = np.arange(10)


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
