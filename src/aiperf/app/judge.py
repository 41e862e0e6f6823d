"""From what the load left behind to a summary: the same on the spot and, later, from the disk."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.app.brief import Brief
from aiperf.app.conduct import Outcome
from aiperf.config.experiment import Experiment
from aiperf.metrics.rows import of_run
from aiperf.metrics.summary import summarise
from aiperf.results import RunFacts, Summary, Window

_MOST_TORN = 1 << 20
"""Far more than one frame, so more than a kill can cut off."""
TORN = "{}: {:,} bytes from byte {} on are no whole frame"


def judged(records: pa.Table, due: NDArray[np.int64] | None, brief: Brief, experiment: Experiment, *, outcome: Outcome) -> Summary:
    """The numbers and the verdict; `due` are the planned times of the run from its start, None in closed loop."""
    notes = [*brief.counting.notes(brief.found.template_tokens), *_notes(brief, outcome, experiment.timing.stop.precision)]
    facts = _facts(records, due, brief, experiment, outcome=outcome)
    return summarise(records, facts, experiment, samples=_first(outcome, "samples"), extra_notes=notes)


def _facts(records: pa.Table, due: NDArray[np.int64] | None, brief: Brief, experiment: Experiment, *, outcome: Outcome) -> RunFacts:
    """What judging needs beside the records."""
    generators = outcome.generators
    window = _window(records, brief, [said["window"] for said in generators.values() if said.get("window")])
    length_ns, extra = window.end_ns - window.start_ns, brief.template_tokens
    return RunFacts(
        window=window,
        open_loop=brief.open_loop,
        planned=None if due is None else int((due <= length_ns).sum()),  # where the user stopped, not all
        concurrency=brief.concurrency,
        mean_gap_ns=0 if due is None or len(due) == 0 else int((brief.duration_ns or int(due[-1])) / len(due)),
        template_tokens=extra,
        input_promised=extra is not None,
        output_promised=experiment.dataset.output_tokens.exact and brief.found.output_exact is not False,
        streaming=experiment.endpoint.streaming,
        clock_step_ns=max((int(said.get("clock_step_ns", 0)) for said in outcome.processors.values()), default=0),
        busiest_second=max((float(said.get("busiest_second", 0)) for said in generators.values()), default=0.0),
        dead_generators=_dead(outcome, records),
        lost_frames=_total(generators, "lost_frames") + len(_damaged(outcome)),
        client_counted=_total(outcome.processors, "client_counted"),
        spool_waits=_total(generators, "spool_waits"),
        stopped_by_user=outcome.stopped,
    )


def _window(records: pa.Table, brief: Brief, said: list[Sequence[int]]) -> Window:
    """As the generators say; where all died, from what they left behind."""
    if said:  # the stretch that all of them held
        return Window(max(start for start, _ in said), min(end for _, end in said))
    run = of_run(records)
    start = pc.min(pc.coalesce(run["due_ns"], run["started_ns"])).as_py() or brief.began_ns
    end = pc.max(run["end_ns"]).as_py() or start
    return Window(start, end if brief.duration_ns is None else min(end, start + brief.duration_ns))


def _notes(brief: Brief, outcome: Outcome, precision: float | None) -> list[str]:
    found = brief.found
    notes = [f"the server refuses {found.refused}"] if found.refused is not None else []
    if found.output_exact is False:
        notes.append("the server does not keep to min_tokens: lengths of answers are reported, not judged")
    notes += [*sorted(_damaged(outcome)), *_first(outcome, "failures").values()]
    again = "it began again from the spool, so nothing is missing"
    notes += [f"{name} {why.splitlines()[0]}; {again}" for name, why in outcome.restarted.items()]
    if cut := _total(outcome.processors, "asides_cut"):
        notes.append(f"{cut:,} answers said more than 64 KB besides: the column plugin holds the numbers of it alone")
    if thought := _total(outcome.processors, "think_tags"):
        notes.append(f"{thought:,} answers hold <think> in their content: their time to first output token is that of the reasoning")
    if reopened := _total(outcome.generators, "reopened"):
        notes.append(f"{reopened} pooled connections had been closed by the server before a request reached it, and were opened anew")
    ended = {said["ended_by"] for said in outcome.generators.values() if said.get("ended_by")}
    if precision is not None and not ended and not outcome.stopped:
        notes.append(f"timing.stop.precision={precision:g} was not reached before the plan ended: give it more requests, or more time")
    return notes + [f"ended by a stop rule ({why}): nothing was sent from then on" for why in sorted(ended)]


def _damaged(outcome: Outcome) -> set[str]:
    """What could not be read of the spools, which every processor says alike; a torn end is damage too, but where a generator died."""
    found = {str(message) for said in outcome.processors.values() for message in said.get("damaged", ())}
    for said in outcome.processors.values():
        for number, (torn, at) in enumerate(zip(said.get("torn_bytes", ()), said.get("read_bytes", ()))):
            if torn and (torn > _MOST_TORN or f"generator-{number}" in outcome.generators):
                found.add(TORN.format(f"generator-{number}.spool", torn, at))
    return found


def _dead(outcome: Outcome, records: pa.Table) -> tuple[str, ...]:
    """Who died and of what, and how much of what a generator had begun was not on the disk yet."""
    begun = {name: pulse.sent for name, pulse in outcome.pulses.items()}
    known = dict(zip(*(column.to_pylist() for column in pc.value_counts(records["generator"]).flatten())))
    lost = {name: begun[name] - known.get(int(name.rpartition("-")[2]), 0) for name in outcome.dead if name in begun}
    return tuple(
        f"{name} {why}" + (f"; {lost[name]:,} requests that it had begun are not in its spool" if lost.get(name, 0) > 0 else "")
        for name, why in outcome.dead.items()
    )


def _first(outcome: Outcome, key: str) -> dict[str, str]:
    """What the processors said of each name, the first of them; in their own order, so that it is the same each time."""
    order = sorted(outcome.processors, key=lambda name: (len(name), name), reverse=True)
    return {name: text for processor in order for name, text in outcome.processors[processor].get(key, {}).items()}


def _total(said: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(int(one.get(key, 0)) for one in said.values())
