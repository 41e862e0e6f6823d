"""What voids nothing but should be known when the numbers are read."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from aiperf.metrics.case import Case
from aiperf.metrics.checks_answers import no_tokens
from aiperf.metrics.rows import stamps, tally, text
from aiperf.metrics.wording import counted, percent


def notes(case: Case) -> Iterator[str]:
    """One sentence each, on usage, stamps, the template, and what was cut off."""
    if not case.began:
        yield "stopped by the user before the run began"
    elif case.facts.stopped_by_user:
        yield "stopped by the user: the results are of what had come until then"
    yield from _on_abandoned(case)
    if case.level is not None and case.began and case.too_short_for_level:
        yield (
            "the window is not longer than a median request: whether timing.concurrency was held cannot be judged, "
            "and its throughputs say little (see those of the whole run, or send more requests)"
        )
    if len(case.good):
        yield from _on_window(case)
        yield from _on_answers(case)
    if case.facts.spool_waits:
        yield f"the generator waited {counted(case.facts.spool_waits, 'time')} for the disk"


def _on_window(case: Case) -> Iterator[str]:
    """What of the run is judged, and whether it is steady."""
    plan, window, said = case.facts.window, case.view.window, case.limits.window
    if window != plan:
        why = "steady from there on" if (said.start_s, said.end_s) == (None, None) else "verdict.window"
        start, end = ((at - plan.start_ns) / 1e9 for at in (window.start_ns, window.end_ns))
        sent = stamps(case.good["sent_ns"])
        sides = [counted(int(np.count_nonzero(side)), "good request") for side in (sent < window.start_ns, sent > window.end_ns)]
        yield (
            f"numbers are of {start:.4g} to {end:.4g} s of the run's {plan.seconds:.4g} s ({why}), without {sides[0]} sent before "
            f"and {sides[1]} after; those of the whole run stand beside them"
        )
    if case.is_level and case.lengths_drift:
        yield "the lengths of prompts or answers change over the run, so a trend of its own cannot be told from theirs"
    if short := [name for name, line in case.trends.items() if line.found is None]:
        yield f"too short to tell whether the run was steady ({', '.join(short)}): its swings are as long as itself"


def _on_abandoned(case: Case) -> Iterator[str]:
    abandoned = case.run.filter(pc.fill_null(pc.equal(text(case.run["error"]), "abandoned"), fill_value=False))
    for reason, n in tally(pc.fill_null(text(abandoned["reason"]), "no reason")).items():
        yield f"{counted(n, 'request')} abandoned ({reason}): in no latency, and no failure"


def _on_tokens(case: Case) -> Iterator[str]:
    """Answers without a token, and answers in one piece that were to be streamed."""
    answers = len(case.good)
    if (silent := int(pc.sum(case.silent).as_py())) and no_tokens(case) is None:
        yield f"{percent(silent / answers)} of the answers held no token: they have no latency"
    pieces = int(pc.sum(pc.and_(pc.is_null(case.good["first_token_ns"]), pc.invert(case.silent))).as_py())
    if case.facts.streaming and pieces:
        yield f"{percent(pieces / answers)} of the answers came in one piece though streaming was asked for: no time to first token"


def _on_lengths(case: Case) -> Iterator[str]:
    """Lengths of answers that were promised, where the server does not say them."""
    if not case.facts.output_promised:
        return
    unsaid = pc.is_null(case.good["input_tokens"])
    unknown = int(pc.sum(pc.and_(unsaid, pc.is_null(case.good["output_tokens"]))).as_py())
    events = int(pc.sum(unsaid).as_py()) - unknown - case.facts.client_counted
    if unknown:
        yield f"{percent(unknown / len(case.good))} of the answers could not be held against their promised length: no usage and no events"
    if events > 0:
        yield f"{percent(events / len(case.good))} of the answers were held against their promised length by events alone, a token each"


def _on_answers(case: Case) -> Iterator[str]:
    answers = len(case.good)
    yield from _on_tokens(case)
    yield from _on_lengths(case)
    by_client = case.facts.client_counted
    if silent := int(pc.sum(pc.is_null(case.good["input_tokens"])).as_py()):
        lengths = "lengths are what was asked for and the events that came" if silent > by_client else "prompts count as what was asked for"
        yield f"{percent(silent / answers)} of the answers came without usage: {lengths}"
    if by_client:
        yield f"{percent(by_client / answers)} of the answers were counted by the client's tokenizer, as the server did not count them"
    if case.facts.input_promised and case.template_tokens:
        yield f"the chat template adds {counted(case.template_tokens, 'token')} to each prompt, subtracted where lengths are judged"
    if by_user := int(pc.sum(pc.equal(text(case.good["stamp"]), "user")).as_py() or 0):
        yield f"{percent(by_user / answers)} of the answers are stamped in user space, so a late reader shows as a late answer"
    widths = case.first_token_widths_ms
    if wide := int(np.count_nonzero(widths > 0)):
        yield f"{percent(wide / len(widths))} of first tokens are known only within an interval, at most {widths.max():.2f} ms wide"
