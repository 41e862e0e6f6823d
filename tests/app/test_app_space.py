"""The bytes that are expected, and a disk that does not have them."""

from pathlib import Path

import pytest

from aiperf.app import plan as planning
from aiperf.app import words
from aiperf.app.data import data
from aiperf.app.plan import Plan
from aiperf.config.experiment import Experiment
from aiperf.errors import ConfigError


def planned(stop: dict[str, object], **dataset: object) -> tuple[Experiment, Plan]:
    timing = {"type": "concurrency", "concurrency": 4, "stop": stop}
    of = Experiment.model_validate({"endpoint": {"url": "http://h:1"}, "timing": timing, "dataset": dataset})
    return of, planning.make(of, data(of, "salt", print))


def test_it_grows_with_requests_and_with_the_tokens_that_are_asked_for() -> None:
    sizes = [words.expected_bytes(planned({"requests": n}, output_tokens=tokens)[1]) for n, tokens in ((10, 10), (20, 10), (10, 1000))]
    assert sizes[1] == 2 * sizes[0]
    assert sizes[2] > 20 * sizes[0]


def test_an_answer_of_any_length_counts_as_a_long_one() -> None:
    assert words.expected_bytes(planned({"requests": 10})[1]) > words.expected_bytes(planned({"requests": 10}, output_tokens=256)[1])


def test_where_the_load_alone_shows_how_many_come_the_word_is_a_rate(tmp_path: Path) -> None:
    of, plan = planned({"duration_s": 10})
    assert words.expected_bytes(plan) is None
    assert "for 1,000 requests" in words.room(of, plan, tmp_path)[0]


def test_more_than_the_disk_has_is_refused(tmp_path: Path) -> None:
    of, plan = planned({"requests": 1_000_000_000}, output_tokens=1_000_000)
    with pytest.raises(ConfigError, match=r"output.dir=outputs: up to [\d,.]+ TB are expected of 1,000,000,000 requests, and .* are free"):
        words.room(of, plan, tmp_path)


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (45_600, "46 kB"), (2.5e9, "2.5 GB"), (9e15, "9,000 TB")]
)
def test_bytes_as_a_person_reads_them(count: float, shown: str) -> None:
    assert words.size(count) == shown
