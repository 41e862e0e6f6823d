"""summary.json and summary.csv: what one trial found, for people's scripts. The layout only ever grows.

`schema_version` counts its growth; who reads must overlook keys that it does not know.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiperf.errors import MeasureError
from aiperf.finite import scrub_non_finite
from aiperf.results import STATS, MetricValue, Reason, Slo, Summary, Verdict, Window

SCHEMA_VERSION = "1.0"
JSON_NAME, CSV_NAME = "summary.json", "summary.csv"


def write(summary: Summary, folder: Path, *, name: str) -> None:
    """Write both files into a folder that exists, each whole or not at all; `name` is the experiment's."""
    text = json.dumps(scrub_non_finite(as_dict(summary, name=name)), indent=2, ensure_ascii=False, allow_nan=False)
    _replace(folder / JSON_NAME, text + "\n")
    _replace(folder / CSV_NAME, as_csv(summary))


def read(path: Path) -> Summary:
    """The summary in a summary.json. Raises MeasureError for a file that is none, or is of a schema with another first number."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        major = str(found["schema_version"]).partition(".")[0]
        if major != SCHEMA_VERSION.partition(".")[0]:
            raise MeasureError(f"{path}: schema_version is {found['schema_version']}, this version reads {SCHEMA_VERSION}")
        return _summary(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise MeasureError(f"{path}: no summary that can be read ({type(exc).__name__}: {exc})") from exc


def as_dict(summary: Summary, *, name: str) -> dict[str, Any]:
    """The layout of summary.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "verdict": {"word": summary.verdict.word, **asdict(summary.verdict)},
        "gate_met": summary.gate_met,
        "window": _window(summary.window),
        "metrics": _by_tag(summary.metrics),
        "whole": _by_tag(summary.whole),
        "counts": dict(summary.counts),
        "errors": dict(summary.errors),
        "samples": dict(summary.samples),
        "slos": [asdict(slo) for slo in summary.slos],
        "facts": dict(summary.facts),
    }


def as_csv(summary: Summary) -> str:
    """A row a metric and scope (`window`: the judged stretch, `whole`: the whole run), and one of the metric `verdict`.

    Columns are `metric,unit,n`, every statistic (empty where there is none), `scope`, `unsupported` (names of statistics,
    a semicolon between them) and `note`, which holds VALID or INVALID in the verdict's row.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("metric", "unit", "n", *STATS, "scope", "unsupported", "note"))
    for scope, metrics in (("window", summary.metrics), ("whole", summary.whole)):
        writer.writerows(_cells(metric, scope) for metric in metrics)
    writer.writerow(("verdict", "", "", *[""] * len(STATS), "", "", summary.verdict.word))
    return out.getvalue()


def _cells(metric: MetricValue, scope: str) -> tuple[object, ...]:
    stats = scrub_non_finite(dict(metric.stats))
    return (metric.metric, metric.unit, metric.n, *(stats.get(stat) for stat in STATS), scope, ";".join(metric.unsupported), "")


def _window(window: Window) -> dict[str, Any]:
    """The judged stretch; `left_out_before` and `left_out_after` count good answers that ended on either side of it."""
    return {
        "start_ns": window.start_ns,
        "end_ns": window.end_ns,
        "seconds": window.seconds,
        "left_out_before": window.before,
        "left_out_after": window.after,
    }


def _by_tag(metrics: Iterable[MetricValue]) -> dict[str, Any]:
    return {m.metric: {"unit": m.unit, "n": m.n, "stats": dict(m.stats), "unsupported": list(m.unsupported)} for m in metrics}


def _metrics(found: Mapping[str, Any]) -> tuple[MetricValue, ...]:
    return tuple(MetricValue(tag, m["unit"], m["stats"], m["n"], tuple(m["unsupported"])) for tag, m in found.items())


def _summary(found: Mapping[str, Any]) -> Summary:
    said, window = found["verdict"], found["window"]
    reasons, ignored = (tuple(Reason(r["reason"], r["detail"], r["advice"]) for r in said[key]) for key in ("reasons", "ignored"))
    return Summary(
        window=Window(window["start_ns"], window["end_ns"], window["left_out_before"], window["left_out_after"]),
        metrics=_metrics(found["metrics"]),
        whole=_metrics(found["whole"]),
        counts=found["counts"],
        errors=found["errors"],
        samples=found["samples"],
        slos=tuple(Slo(s["metric"], s["stat"], s["op"], s["threshold"], s["unit"], s["value"], s["met"]) for s in found["slos"]),
        verdict=Verdict(reasons, ignored, tuple(said["notes"])),
        gate_met=found["gate_met"],
        facts=found["facts"],
    )


def _replace(path: Path, text: str) -> None:
    """Put a file in place whole: a reader sees the old one or the new one. Raises MeasureError where the disk refuses."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as exc:
        with suppress(OSError):
            partial.unlink()
        raise MeasureError(f"{path}: cannot be written ({exc.strerror})") from exc
