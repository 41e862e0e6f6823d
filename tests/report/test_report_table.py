import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.report.table import WIDTH, amount, cell, final, share
from aiperf.results import STATS, MetricValue, Reason, Slo, Summary, Timeline, Verdict, Window

FOLDER = "outputs/trial/20260101T000000Z-abcdef"


def latency(tag: str, at: float, *, unit: str = "ms", n: int = 700, unsupported: tuple[str, ...] = ("p99.9",)) -> MetricValue:
    return MetricValue(tag, unit, {stat: at + place for place, stat in enumerate(STATS)}, n, unsupported)


def one(tag: str, value: float, unit: str) -> MetricValue:
    return MetricValue(tag, unit, {"avg": value}, 700)


SUMMARY = Summary(
    window=Window(0, 10_000_000_000),
    metrics=(
        latency("planned_request_latency", 1500),
        latency("request_latency", 500),
        latency("time_to_first_token", 20),
        latency("time_to_first_output_token", 20),
        latency("queue_time", 7),
        latency("input_sequence_length", 100, unit="tokens"),
        one("request_throughput", 70.0, "requests/s"),
        one("good_request_fraction", 0.99999, "ratio"),
    ),
    whole=(one("request_throughput", 65.0, "requests/s"), one("benchmark_duration", 11.5, "s")),
    counts={"planned": 710, "sent": 705, "good": 700, "failed": 3, "unsent": 5, "unsent (duration)": 5, "abandoned": 2, "warmup": 20},
    errors={"http_5xx": 2, "reset": 1},
    samples={"http_5xx": 'out of\n  memory "x"'},
    slos=(
        Slo("request_latency", "p99", "<=", 1000.0, "ms", 512.5, met=True),
        Slo("time_to_first_token", "p90", "<=", 20.0, "ms", 31.0, met=False),
        Slo("request_latency", "each", "<=", 505.0, "ms", 0.5, met=False),
    ),
    verdict=Verdict(),
    facts={"open_loop": True},
)
VOID = Verdict((Reason("plan_not_met", "2 of 8 arrivals were sent in time (25 %)", "raise timing.concurrency"),), (), ("a note",))


def text(summary: Summary = SUMMARY, **others: bool) -> str:
    return final(summary, title="trial", folder=FOLDER, **others)


def line(tag: str, summary: Summary = SUMMARY) -> str:
    return next(found for found in text(summary).splitlines() if found.split()[:1] == [tag])


def test_a_row_of_a_distribution() -> None:
    assert line("request_latency").split() == ["request_latency", "500.0", "509.0", "511.0", "513.0", "~514.0", "502.0", "700"]
    assert "~ too few independent samples" in text()


BOUNDED = replace(
    latency("request_latency", 500, n=3000), intervals={"p50": (398.25, 431.0)}, effective={"avg": 840.0, "p50": 839.6, "p99": 40.0}
)


@pytest.mark.parametrize("columns", [None, 80, 100, 140, 40])
def test_intervals_with_the_samples_behind_them_or_why_there_is_none(columns: int | None) -> None:
    rate = replace(one("request_throughput", 70, "requests/s"), intervals={"avg": (68.0, 72.0)}, effective={"avg": 700.0})
    none = replace(latency("inter_token_latency", 5, n=60), effective={"avg": 6.0, "p50": 6.0, "p99": 6.0})
    found = final(replace(SUMMARY, metrics=(rate, none, BOUNDED)), title="trial", folder="out", columns=columns)
    said = " ".join(found.split())
    assert "request_throughput 70 requests/s [68, 72] n=700 inter_token" in said
    assert "inter_token_latency p50 too few independent samples (6 of 50)" in said
    assert "inter_token_latency p99" not in said
    assert "request_latency p50 509 ms [398.2, 431] n=3,000 (effective 840)" in said
    assert "request_latency p99 too few independent samples (40 of " in said
    block = found[found.index("95 % intervals") : found.index("requests: planned")]
    assert max(map(len, block.splitlines())) <= max(columns or 100, 60)


def test_where_everything_is_supported_there_is_no_legend() -> None:
    full = replace(SUMMARY, metrics=tuple(replace(metric, unsupported=()) for metric in SUMMARY.metrics))
    assert "~" not in text(full)


def test_in_open_loop_the_plans_latency_stands_before_the_uncorrected() -> None:
    found = text()
    assert found.index("  planned_request_latency") < found.index("  request_latency")
    assert "queue_time" in found


def test_in_closed_loop_there_is_no_plan_to_wait_for() -> None:
    found = text(replace(SUMMARY, facts={"open_loop": False}))
    assert "planned_" not in found
    assert "queue_time" not in found


def test_without_reasoning_the_first_output_token_is_not_told_twice() -> None:
    assert "time_to_first_output_token" not in text()
    other = replace(SUMMARY, metrics=(*SUMMARY.metrics[:3], latency("time_to_first_output_token", 40)))
    assert "time_to_first_output_token" in text(other)


def test_the_window_and_the_whole_run_stand_beside_each_other() -> None:
    assert line("request_throughput").split() == ["request_throughput", "70", "requests/s", "65", "requests/s"]
    assert "window of 10 s" in text()
    assert "whole run, 11.5 s" in text()


def test_the_ledger_and_the_errors() -> None:
    found = text()
    ledger = "requests: planned 710 · sent 705 · good 700 · failed 3 · unsent (duration) 5 · abandoned 2 · warm-up 20"
    assert ledger in " ".join(found.split())
    assert '  http_5xx 2\n    such as out of memory "x"\n  reset 1' in found


@pytest.mark.parametrize(
    ("bins", "said"),
    [
        ((0, 0, 2, 0, 0, 0), "  http_5xx 2  between 1 and 1.5 s"),
        ((1, 1, 0, 1, 1, 0), "  http_5xx 2  between 0 and 2.5 s"),
        ((1, 0, 0, 9, 0, 1), "  http_5xx 2  between 0 and 3 s, most between 1.5 and 2 s"),
    ],
)
def test_when_failures_came(bins: tuple[int, ...], said: str) -> None:
    timeline = Timeline(0.5, (9,) * 6, {"http_5xx": bins})
    assert said in text(replace(SUMMARY, timeline=timeline)).splitlines()
    assert "  reset 1" in text(replace(SUMMARY, timeline=timeline)).splitlines()


def test_of_a_run_of_one_bin_nothing_is_said_about_when() -> None:
    assert text(replace(SUMMARY, timeline=Timeline(0.5, (9,), {"http_5xx": (2,), "reset": (1,)}))) == text()


def test_promises() -> None:
    found = text()
    assert re.search(r"request_latency p99 <= 1,000 ms +512\.5 ms  met", found)
    assert re.search(r"time_to_first_token p90 <= 20 ms +31 ms  not met", found)
    assert re.search(r"request_latency <= 505 ms +kept by 50\.00 % of the planned", found)
    assert "the gate is not met" not in found
    assert "the gate is not met" in text(replace(SUMMARY, gate_met=False))


def test_a_valid_run_ends_with_its_word_and_folder() -> None:
    assert text().endswith(f"\n\nVALID\nresults: {FOLDER}")


def test_a_void_run_says_why_and_what_to_change() -> None:
    last = text(replace(SUMMARY, verdict=VOID)).split("\n\n")[-1]
    assert last.splitlines() == [
        "INVALID: these numbers must not be believed, because",
        "  plan_not_met: 2 of 8 arrivals were sent in time (25 %)",
        "    to change: raise timing.concurrency",
        "note: a note",
        f"results: {FOLDER}",
    ]


def test_ignored_reasons_are_printed_beside_the_result() -> None:
    assert "VALID\nignored: plan_not_met: 2 of 8" in text(replace(SUMMARY, verdict=Verdict((), VOID.reasons, ())))


def test_a_run_of_nothing_has_a_report() -> None:
    empty = Summary(Window(0, 0), (replace(latency("request_latency", 0), n=0),), (), {"planned": 0}, {}, {}, (), VOID)
    found = text(empty)
    assert "request_latency" not in found
    assert "planned 0" in found
    assert "INVALID" in found


def test_a_run_that_never_began_has_no_window() -> None:
    found = text(replace(SUMMARY, window=Window(0, 270), facts={"open_loop": True, "began": False}))
    assert "stopped before the run began" in found
    assert "window of" not in found


def test_colour_only_where_it_is_asked_for() -> None:
    plain, painted = text(replace(SUMMARY, verdict=VOID)), text(replace(SUMMARY, verdict=VOID), colour=True)
    assert "\x1b" not in plain
    assert "\x1b[31mINVALID" in painted
    assert re.sub(r"\x1b\[\d+m", "", painted) == plain


long_text = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=400)


@given(long_text, long_text, st.floats(0, 1e10))
def test_it_fits_a_hundred_columns_whatever_is_in_it(said: str, sample: str, value: float) -> None:
    verdict = Verdict((Reason("errors", said, sample),), (Reason("unsent", sample, said),), (said, sample))
    metrics = tuple(replace(m, stats=dict.fromkeys(m.stats, value), n=12_345_678) for m in SUMMARY.metrics)
    slos = tuple(replace(slo, value=value, threshold=value) for slo in SUMMARY.slos)
    wide = replace(SUMMARY, verdict=verdict, samples={"reset": sample}, metrics=metrics, slos=slos, window=Window(0, 10**15))
    found = final(wide, title=said, folder=FOLDER)
    assert [row for row in found.split("\n") if len(row) > WIDTH] == []


@given(st.integers(40, 99), st.floats(0, 1e9))
def test_it_fits_a_narrow_terminal(columns: int, value: float) -> None:
    verdict = Verdict((Reason("errors", "of many words " * 20, "to change " * 20),), (), ("a note " * 30,))
    metrics = tuple(replace(m, stats=dict.fromkeys(m.stats, value), n=12_345_678) for m in SUMMARY.metrics if m.stats.keys() > {"avg"})
    found = final(replace(SUMMARY, verdict=verdict, metrics=metrics, slos=()), title="trial", folder="here", columns=columns)
    assert [row for row in found.split("\n") if len(row) > columns] == []


def test_a_narrow_terminal_gets_fewer_statistics_and_at_last_names_on_lines_of_their_own() -> None:
    def heading(columns: int) -> str:
        return next(row for row in final(SUMMARY, title="t", folder=FOLDER, columns=columns).split("\n") if " p50" in row)

    assert heading(99).split()[3:] == ["avg", "p50", "p90", "p99", "p99.9", "max", "n"]
    assert heading(85).split()[3:] == ["avg", "p50", "p90", "p99", "max", "n"]
    assert heading(80).split()[3:] == ["avg", "p50", "p99", "max", "n"]
    assert heading(40).split() == ["p50", "p99", "max", "n"]
    assert final(SUMMARY, title="t", folder=FOLDER, columns=100) == final(SUMMARY, title="t", folder=FOLDER)


PLUGGED = replace(
    SUMMARY,
    metrics=(
        *SUMMARY.metrics,
        latency("words", 3, unit="words"),
        one("cost", 2.5, "EUR"),
        latency("plugin.rag.took_ms", 9),
        latency("plugin.\x1b[1m\n", 2),
        latency("mine", 1, n=0),
    ),
    whole=(*SUMMARY.whole, one("cost", 3.5, "EUR")),
    facts={"open_loop": True, "plugged": ["words", "mine", "cost", "request_latency", "gone", "plugin.rag.took_ms", "plugin.\x1b[1m\n"]},
)


def test_what_plugins_bring_stands_below_ours() -> None:
    shown = text(PLUGGED).splitlines()
    heading = next(n for n, row in enumerate(shown) if row.startswith("of plugins "))
    assert shown[heading - 1].split()[0] == "input_sequence_length"
    assert shown[heading + 1].split()[:3] == ["words", "(words)", "3.00"]
    assert shown[heading + 2].split()[:2] == ["plugin.rag.took_ms", "9.00"]
    assert shown[heading + 3].split()[:3] == ["plugin.?[1m?", "(ms)", "2.00"]
    assert line("cost", PLUGGED).split() == ["cost", "2.5", "EUR", "3.5", "EUR"]
    assert text(PLUGGED).count("  request_latency ") == text().count("  request_latency ")
    assert "mine" not in text(PLUGGED)
    assert text(replace(SUMMARY, facts={"open_loop": True, "plugged": []})) == text()


@given(st.integers(1, 64), st.text("ab.", min_size=1, max_size=90), st.sampled_from([None, 45, 60, 99]))
def test_many_of_long_names_fit(count: int, name: str, columns: int | None) -> None:
    tags = [f"plugin.{name}{n:03d}_s" for n in range(count)]
    summary = replace(SUMMARY, slos=(), metrics=tuple(latency(tag, 1, unit="s") for tag in tags), facts={"plugged": tags})
    rows = final(summary, title="t", folder="f", columns=columns).split("\n")
    assert [row for row in rows if len(row) > (columns or WIDTH)] == []
    assert len([row for row in rows if "_s" in row]) == min(count, 12)
    assert (f"  and {count - 12} more, which are in the files" in rows) == (count > 12)


@given(st.floats(0, 1e10))
def test_a_number_fits_its_cell(value: float) -> None:
    assert len(cell(value)) <= 7


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.0361, "0.036"),
        (5.049, "5.05"),
        (99.999, "100.00"),
        (123.45, "123.5"),
        (12_345.6, "12,346"),
        (2.5e6, "2.5M"),
    ],
)
def test_cells(value: float | None, shown: str) -> None:
    assert cell(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "-"), (0.25, "0.25"), (73.8349, "73.83"), (1234.5, "1,234"), (20.0, "20")])
def test_amounts(value: float | None, shown: str) -> None:
    assert amount(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "-"), (1.0, "100 %"), (0.999999, "99.99 %"), (0.25, "25.00 %"), (0.0, "0.00 %")])
def test_shares_are_never_rounded_up_to_all(value: float | None, shown: str) -> None:
    assert share(value) == shown
