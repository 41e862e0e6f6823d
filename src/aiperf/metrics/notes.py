"""What voids nothing but should be known when the numbers are read."""

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from aiperf.metrics.case import Case
from aiperf.metrics.rows import by_class, text
from aiperf.metrics.wording import counted, percent


def notes(case: Case) -> Iterator[str]:
    """One sentence each, on usage, stamps, the template, and what was cut off."""
    if case.facts.stopped_by_user:
        yield "stopped by the user: the results are of what had come until then"
    if abandoned := by_class(case.run).get("abandoned", 0):
        yield f"{counted(abandoned, 'request')} in flight at the end of the grace time, abandoned: in no latency, and no failure"
    if len(case.good):
        yield from _on_answers(case)
    if case.facts.spool_waits:
        yield f"the generator waited {counted(case.facts.spool_waits, 'time')} for the disk"


def _on_answers(case: Case) -> Iterator[str]:
    answers = len(case.good)
    if silent := int(pc.sum(pc.is_null(case.good["input_tokens"])).as_py()):
        yield f"{percent(silent / answers)} of the answers came without usage: lengths are what was asked for and the events that came"
    if case.facts.input_promised and case.template_tokens:
        yield f"the chat template adds {counted(case.template_tokens, 'token')} to each prompt, subtracted where lengths are judged"
    if by_user := int(pc.sum(pc.equal(text(case.good["stamp"]), "user")).as_py() or 0):
        yield f"{percent(by_user / answers)} of the answers are stamped in user space, so a late reader shows as a late answer"
    widths = case.first_token_widths_ms
    if wide := int(np.count_nonzero(widths > 0)):
        yield f"{percent(wide / len(widths))} of first tokens are known only within an interval, at most {widths.max():.2f} ms wide"
