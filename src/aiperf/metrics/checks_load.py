"""Was the load that was planned the load that was sent? Each check gives a reason for which the run is void, or None."""

import numpy as np

from aiperf.metrics.case import Case
from aiperf.metrics.flight import mean_in_flight
from aiperf.metrics.rows import stamps, unsent_by_reason
from aiperf.metrics.wording import counted, listed, percent
from aiperf.records import STOP_RULES
from aiperf.results import Reason

_LATENCY_SHARE = 0.01
_BUSY = 0.9
_STEP_NS = 1_000_000


def late_generator(case: Case) -> Reason | None:
    """We sent later than we could have: p99 of schedule_lateness above the limit, or 1 % of the median latency if that is more."""
    late, median = case.lateness_p99_ms, case.median_latency_ms or 0.0
    allowed = max(case.limits.max_lateness_ms, _LATENCY_SHARE * median)
    if late is None or late <= allowed:
        return None
    detail = f"p99 of schedule_lateness is {late:.2f} ms, over {allowed:.2f} ms (max_lateness_ms, or 1 % of the median request_latency)"
    advice = "keep other work off the machine, lower timing.rate or timing.concurrency, or raise verdict.max_lateness_ms"
    return Reason("late_generator", detail, advice)


def plan_not_met(case: Case) -> Reason | None:
    """Too few of the plan's arrivals due in the window were sent in it, with one mean gap of slack."""
    if not case.facts.open_loop:
        return None
    window, planned = case.facts.window, case.facts.planned
    if planned is None:
        planned = int(np.count_nonzero(stamps(case.run["due_ns"]) <= window.end_ns))
    sent = min(planned, int(np.count_nonzero(stamps(case.run["sent_ns"]) <= window.end_ns + case.facts.mean_gap_ns)))
    if not planned or sent / planned >= case.limits.min_achieved:
        return None
    detail = f"{sent} of {planned} arrivals were sent in time ({percent(sent / planned)}), under {percent(case.limits.min_achieved)}"
    return Reason("plan_not_met", detail, _room(case))


def _room(case: Case) -> str:
    pace = _pace(case)
    carried = f": {pace:.3g} requests/s were answered" if pace else ""
    if case.facts.concurrency is None:
        return f"lower timing.rate (of a trace, timing.speedup) to what is carried{carried}"
    slots = counted(case.facts.concurrency, "slot")
    return f"raise or unset timing.concurrency ({slots}), or lower timing.rate (of a trace, timing.speedup) to what is carried{carried}"


def _pace(case: Case) -> float | None:
    sent, ended = stamps(case.run["sent_ns"]), stamps(case.good["end_ns"])
    if not len(ended) or ended.max() <= sent.min():
        return None
    return len(ended) / (float(ended.max() - sent.min()) / 1e9)


def level_not_held(case: Case) -> Reason | None:
    """Closed loop: fewer requests were in flight, on average over the window, than the level and the plan allow."""
    level = case.level
    if level is None or case.too_short_for_level:
        return None
    mean = mean_in_flight(case.records, case.facts.window)
    if mean >= case.limits.min_achieved * level:
        return None
    detail = (
        f"{mean:.3g} of {level} requests were in flight on average ({percent(mean / level)}), under {percent(case.limits.min_achieved)}"
    )
    advice = "send many more requests than the level (timing.stop), lower timing.concurrency, or ask for longer answers"
    return Reason("level_not_held", detail, _errors_first(case, advice))


def trend(case: Case) -> Reason | None:
    """Latency, or what is in flight, rises or falls over the whole of the window: then its numbers depend on how long one looked."""
    seen = {name: line for name, line in case.trends.items() if line.found}
    if not seen:
        return None
    units = {"request_latency": " ms"}
    said = (f"{name} went from {line.start:,.1f} to {line.end:,.1f}{units.get(name, '')}" for name, line in seen.items())
    advice = "raise timing.warmup if it settles later (see the timeline), or judge a part of the run (verdict.window)"
    if case.facts.open_loop and any(line.end > line.start for line in seen.values()):
        advice = f"if the server falls behind, {_room(case)}; else {advice}"
    return Reason("trend", f"{', and '.join(said)} over {case.view.window.seconds:.3g} s", _errors_first(case, advice))


def generator_saturated(case: Case) -> Reason | None:
    """The generator's thread had no time to spare in some second."""
    if case.facts.busiest_second <= _BUSY:
        return None
    detail = f"the generator's thread was busy for {percent(case.facts.busiest_second)} of a second, over {percent(_BUSY)}"
    return Reason("generator_saturated", detail, _errors_first(case, "lower timing.rate or timing.concurrency, or use a faster core"))


def _errors_first(case: Case, advice: str) -> str:
    """Requests that fail at once leave their slots empty and are made again and again: then the errors are to be mended first."""
    return f"failing requests may be the cause, so see the errors first; else {advice}" if case.too_many_failed else advice


def unsent(case: Case) -> Reason | None:
    """Arrivals that were never sent, other than by the stop rule."""
    found = unsent_by_reason(case.run)
    by_reason = {reason: n for reason, n in found.items() if not reason.startswith(("stop", *STOP_RULES))}
    if not by_reason:
        return None
    detail = f"{sum(by_reason.values())} of {len(case.run)} arrivals were never sent ({listed(by_reason)})"
    return Reason("unsent", detail, "remove the cause that is named and run again; what the stop rule leaves unsent does not count")


def clock_step(case: Case) -> Reason | None:
    """The clock of the stamps moved against the clock of the due times."""
    if abs(case.facts.clock_step_ns) <= _STEP_NS:
        return None
    detail = f"CLOCK_REALTIME moved by {case.facts.clock_step_ns / 1e6:.2f} ms against CLOCK_MONOTONIC between two frames"
    return Reason("clock_step", detail, "let the clock be slewed, not stepped, while a run lasts (chrony: no makestep), and run again")


def generator_died(case: Case) -> Reason | None:
    """A process that makes the load ended before its time."""
    if not case.facts.dead_generators:
        return None
    detail = f"died during the run: {', '.join(case.facts.dead_generators)}"
    return Reason("generator_died", detail, "see why it ended (memory, a signal) and run again; what was measured until then is whole")


def lost_frames(case: Case) -> Reason | None:
    """Part of what came in could not be kept."""
    if not case.facts.lost_frames:
        return None
    detail = f"{counted(case.facts.lost_frames, 'frame')} of stamps could not be written to disk"
    return Reason("lost_frames", detail, "make room in output.dir, or set it to a disk that works")
