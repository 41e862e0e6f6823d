"""summary.json and summary.csv: what one trial found, for people's scripts. The layout only ever grows.

`schema_version` counts its growth; who reads must overlook keys that it does not know. summary.schema.json beside this
file is the JSON Schema of the layout.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from aiperf.errors import ConfigError
from aiperf.finite import scrub_non_finite
from aiperf.results import STATS, MetricValue, Slo, Summary, Timeline, Verdict, Window
from aiperf.store.campaign import check_version
from aiperf.store.whole import whole

SCHEMA_VERSION = "1.2"
JSON_NAME, CSV_NAME = "summary.json", "summary.csv"
_BOUNDED = ("avg", *(stat for stat in STATS if stat[0] == "p"))
_BOUNDS = ("ci_low", "ci_high", "effective_n")
CSV_COLUMNS = ("metric", "unit", "n", *STATS, "unsupported", "whole", "note", *(f"{stat}_{of}" for stat in _BOUNDED for of in _BOUNDS))


def write(summary: Summary, folder: Path, *, name: str) -> None:
    """Write summary.json whole or not at all; `name` is the experiment's. The folder exists. Raises MeasureError where the disk refuses."""
    text = json.dumps(scrub_non_finite(as_dict(summary, name=name)), indent=2, ensure_ascii=False, allow_nan=False)
    with whole(folder / JSON_NAME) as file:
        file.write(f"{text}\n".encode())


def export_csv(summary: Summary, trial: Path, /, *, name: str, records: Path) -> None:  # noqa: ARG001 - the seam's arguments
    """Write summary.csv, as `write` does."""
    with whole(trial / CSV_NAME) as file:
        file.write(as_csv(summary).encode())


def read_named(path: Path) -> tuple[str, Summary]:
    """The experiment's name and the summary in a summary.json.

    Raises ConfigError for a file that is none, or is of a schema with another first number.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        check_version(path, found["schema_version"], SCHEMA_VERSION)
        return str(found["name"]), _summary(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigError(f"{path}: no summary that can be read ({type(exc).__name__}: {exc})") from exc


def as_dict(summary: Summary, *, name: str) -> dict[str, Any]:
    """The layout of summary.json."""
    window = summary.window
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "verdict": {"word": summary.verdict.word, **asdict(summary.verdict)},
        "gate_met": summary.gate_met,
        "window": {
            "start_ns": window.start_ns, "end_ns": window.end_ns, "seconds": window.seconds,
            "left_out_before": window.before,  # good answers that ended on either side of the judged stretch
            "left_out_after": window.after,
        },
        "metrics": _by_tag(summary.metrics), "whole": _by_tag(summary.whole),
        "counts": dict(summary.counts), "errors": dict(summary.errors), "samples": dict(summary.samples),
        "slos": [asdict(slo) for slo in summary.slos],
        "facts": dict(summary.facts),
        "timeline": None if summary.timeline is None else asdict(summary.timeline),
    }  # fmt: skip


def as_csv(summary: Summary) -> str:
    """A row a metric, those of the judged window first, and a last row `verdict`.

    Columns are `metric,unit,n`, every statistic (empty where there is none), `unsupported` (statistics with too few samples,
    a semicolon between them), `whole` (the value or mean over the whole run, where there is one; the other columns are of the
    judged window), `note`, which holds VALID or INVALID in the verdict's row, and for the mean and each percentile the bounds of
    its 95 % interval and its effective sample count. Counts of the ledger are in summary.json.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    whole = {metric.metric: metric for metric in summary.whole}
    writer.writerows(_cells(metric, whole.pop(metric.metric, None)) for metric in summary.metrics)
    writer.writerows(_cells(replace(metric, stats={}), metric) for metric in whole.values())
    writer.writerow(("verdict", "", "", *[""] * len(STATS), "", "", summary.verdict.word, *[""] * len(_BOUNDED) * len(_BOUNDS)))
    return out.getvalue()


def _cells(metric: MetricValue, whole: MetricValue | None) -> tuple[object, ...]:
    stats = scrub_non_finite(dict(metric.stats))
    over_all = None if whole is None else scrub_non_finite(whole.stats["avg"])
    bounds = (cell for stat in _BOUNDED for cell in (*metric.intervals.get(stat, (None, None)), metric.effective.get(stat)))
    plain = (metric.metric, metric.unit, metric.n, *(stats.get(stat) for stat in STATS), ";".join(metric.unsupported), over_all, "")
    return (*plain, *bounds)


def _by_tag(metrics: Iterable[MetricValue]) -> dict[str, Any]:
    return {
        m.metric: {
            "unit": m.unit, "n": m.n, "stats": dict(m.stats), "unsupported": list(m.unsupported),
            "intervals": {
                stat: {"ci_low": low, "ci_high": high, "n": m.n, "effective_n": effective, "supported": stat not in m.unsupported}
                for stat, effective in m.effective.items() for low, high in [m.intervals.get(stat, (None, None))]
            },
        }
        for m in metrics
    }  # fmt: skip


def _metrics(found: Mapping[str, Any]) -> Iterator[MetricValue]:
    for tag, of in found.items():
        known = of.get("intervals", {})  # absent from summaries before 1.2
        intervals = {stat: (one["ci_low"], one["ci_high"]) for stat, one in known.items() if one["ci_low"] is not None}
        effective = {stat: one["effective_n"] for stat, one in known.items()}
        yield MetricValue(tag, of["unit"], of["stats"], of["n"], tuple(of["unsupported"]), intervals, effective)


def _summary(found: Mapping[str, Any]) -> Summary:
    window = found["window"]
    return Summary(
        window=Window(window["start_ns"], window["end_ns"], window["left_out_before"], window["left_out_after"]),
        metrics=tuple(_metrics(found["metrics"])),
        whole=tuple(_metrics(found["whole"])),
        counts=found["counts"],
        errors=found["errors"],
        samples=found["samples"],
        slos=msgspec.convert(found["slos"], tuple[Slo, ...]),
        verdict=msgspec.convert(found["verdict"], Verdict),
        gate_met=found["gate_met"],
        facts=found["facts"],
        timeline=msgspec.convert(found.get("timeline"), Timeline | None),  # absent from summaries before 1.1
    )
