"""From what the workers left behind to a summary: the facts that judging needs, and the plan of what was reached."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aiperf import clock
from aiperf.app.conduct import Outcome
from aiperf.app.plan import Plan
from aiperf.app.probe import Found
from aiperf.config.experiment import Experiment
from aiperf.metrics.summary import summarise
from aiperf.results import RunFacts, Summary, Window
from aiperf.workload import WARMUP_FROM


def judged(records: pa.Table, *, experiment: Experiment, plan: Plan, found: Found, outcome: Outcome) -> Summary:
    """The numbers and the verdict."""
    known = facts(records, experiment=experiment, plan=plan, found=found, outcome=outcome)
    extra_notes = [*plan.counting.notes(found.template_tokens), *_notes(found, outcome)]
    return summarise(records, known, experiment, samples=_first(outcome, "samples"), extra_notes=extra_notes)


def facts(records: pa.Table, *, experiment: Experiment, plan: Plan, found: Found, outcome: Outcome) -> RunFacts:
    """What judging needs beside the records."""
    ran, processed = outcome.generators.values(), outcome.processors.values()
    window = _window(records, plan, [said["window"] for said in ran if said.get("window")])
    run, extra = plan.schedule.run, plan.extra_tokens(found.template_tokens)
    return RunFacts(
        window=window,
        open_loop=plan.open_loop,
        planned=_due_within(plan, window),
        concurrency=run.concurrency,
        mean_gap_ns=_mean_gap_ns(plan),
        template_tokens=extra,
        input_promised=extra is not None,
        output_promised=experiment.dataset.output_tokens.exact and found.output_exact is not False,
        streaming=experiment.endpoint.streaming,
        clock_step_ns=max((int(said.get("clock_step_ns", 0)) for said in processed), default=0),
        busiest_second=max((float(said.get("busiest_second", 0)) for said in ran), default=0.0),
        dead_generators=tuple(f"{name} {why}" for name, why in outcome.dead.items()),
        lost_frames=sum(int(said.get("lost_frames", 0)) for said in ran) + len(_damaged(outcome)),
        client_counted=_total(outcome.processors, "client_counted"),
        spool_waits=sum(int(said.get("spool_waits", 0)) for said in ran),
        stopped_by_user=outcome.stopped,
    )


def reached(records: pa.Table) -> dict[str, int]:
    """How many places of each phase have a record."""
    numbers = records["request"]
    warmup = int(pc.sum(pc.greater_equal(numbers, WARMUP_FROM)).as_py() or 0)
    return {"warmup": warmup, "profiling": records.num_rows - warmup}


def _window(records: pa.Table, plan: Plan, said: list[tuple[int, int]]) -> Window:
    """As the generators say; after a death, from what they left behind."""
    if said:
        return Window(min(start for start, _ in said), max(end for _, end in said))
    run = records.filter(pc.less(records["request"], WARMUP_FROM))
    start = pc.min(pc.coalesce(run["due_ns"], run["started_ns"])).as_py() or clock.now_ns()
    end = pc.max(run["end_ns"]).as_py() or start
    return Window(start, start + plan.schedule.run.duration_ns if plan.schedule.run.duration_ns is not None else end)


def _due_within(plan: Plan, window: Window) -> int | None:
    """The plan's own arrivals in the window, which is shorter than planned where the user stopped."""
    due = plan.schedule.run.due_ns
    return None if due is None else int((due <= window.end_ns - window.start_ns).sum())


def _mean_gap_ns(plan: Plan) -> int:
    run = plan.schedule.run
    if run.due_ns is None or len(run.due_ns) == 0:
        return 0
    return int((run.duration_ns or int(run.due_ns[-1])) / len(run.due_ns))


def _notes(found: Found, outcome: Outcome) -> list[str]:
    notes = [f"the server refuses {found.refused}"] if found.refused is not None else []
    if found.output_exact is False:
        notes.append("the server does not keep to min_tokens: lengths of answers are reported, not judged")
    notes += [*sorted(_damaged(outcome)), *_first(outcome, "failures").values()]
    if cut := _total(outcome.processors, "asides_cut"):
        notes.append(f"{cut:,} answers said more than 64 KB besides: the column plugin holds the numbers of it alone")
    if thought := _total(outcome.processors, "think_tags"):
        notes.append(f"{thought:,} answers hold <think> in their content: their time to first output token is that of the reasoning")
    reopened = _total(outcome.generators, "reopened")
    if reopened:
        notes.append(f"{reopened} pooled connections had been closed by the server before a request reached it, and were opened anew")
    waits = _total(outcome.generators, "spool_waits")
    if waits:
        notes.append(f"the spool waited {waits} times for the disk")
    return notes


def _damaged(outcome: Outcome) -> set[str]:
    """What could not be read of the spools; every processor that reads them says the same."""
    return {str(message) for said in outcome.processors.values() for message in said.get("damaged", ())}


def _first(outcome: Outcome, key: str) -> dict[str, str]:
    """What the processors said of each name, the first of them."""
    found: dict[str, str] = {}
    for said in outcome.processors.values():
        found = {**said.get(key, {}), **found}
    return found


def _total(said: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(int(one.get(key, 0)) for one in said.values())
