"""What voids nothing but should be known when the numbers are read."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from aiperf.metrics.case import Case
from aiperf.metrics.checks_answers import no_tokens
from aiperf.metrics.rows import tally, text
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
        yield from _on_answers(case)
    if case.facts.spool_waits:
        yield f"the generator waited {counted(case.facts.spool_waits, 'time')} for the disk"


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
