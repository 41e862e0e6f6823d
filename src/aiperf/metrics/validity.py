"""The verdict: every reason for which a run is void, and in notes what voids nothing but should be known when the numbers are read."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc

from aiperf.metrics import checks
from aiperf.metrics.checks import GRACE, counted, percent
from aiperf.metrics.rows import reasons, stamps, text
from aiperf.metrics.view import Case
from aiperf.results import REASONS, Reason, Verdict

CHECKS = tuple(getattr(checks, reason) for reason in REASONS)
"""In the order in which reasons are shown."""


def verdict(case: Case, extra_notes: Sequence[str] = ()) -> Verdict:
    """Judge a run."""
    found = [Reason(check.__name__, *said) for check in CHECKS if (said := check(case)) is not None]
    counting = tuple(reason for reason in found if reason.reason not in case.limits.ignore)
    ignored = tuple(reason for reason in found if reason.reason in case.limits.ignore)
    return Verdict(counting, ignored, (*extra_notes, *_notes(case)))


def _notes(case: Case) -> Iterator[str]:
    """One sentence each, on usage, stamps, the template, and what was cut off."""
    if not case.began:
        yield "stopped by the user before the run began"
    elif case.facts.stopped_by_user:
        yield "stopped by the user: the results are of what had come until then"
    for why, n in reasons(case.run, "abandoned").items():
        if GRACE not in why or checks.abandoned(case) is None:
            yield f"{counted(n, 'request')} abandoned ({why}): in no latency, and no failure"
    if case.level is not None and case.began and case.too_short_for_level:
        yield (
            "the window is not longer than a median request: whether timing.concurrency was held cannot be judged, "
            "and its throughputs say little (see those of the whole run, or send more requests)"
        )
    if len(case.good):
        yield from _on_window(case)
        yield from _on_tokens(case)
        yield from _on_lengths(case)
        yield from _on_stamps(case)
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


def _on_tokens(case: Case) -> Iterator[str]:
    """Answers without a token, and answers in one piece that were to be streamed."""
    answers, silences = len(case.good), pc.is_null(case.good["last_token_ns"])
    if (silent := int(pc.sum(silences).as_py())) and checks.no_tokens(case) is None:
        yield f"{percent(silent / answers)} of the answers held no token: they have no latency"
    pieces = int(pc.sum(pc.and_(pc.is_null(case.good["first_token_ns"]), pc.invert(silences))).as_py())
    if case.facts.streaming and pieces:
        yield f"{percent(pieces / answers)} of the answers came in one piece though streaming was asked for: no time to first token"


def _on_lengths(case: Case) -> Iterator[str]:
    """By what lengths are known, and where the server does not say those that were promised."""
    answers, by_client, without = len(case.good), case.facts.client_counted, pc.is_null(case.good["input_tokens"])
    silent = int(pc.sum(without).as_py())
    unknown = int(pc.sum(pc.and_(without, pc.is_null(case.good["output_tokens"]))).as_py())
    events = silent - unknown - by_client
    if case.facts.output_promised and unknown:
        yield f"{percent(unknown / answers)} of the answers could not be held against their promised length: no usage and no events"
    if case.facts.output_promised and events > 0:
        yield f"{percent(events / answers)} of the answers were held against their promised length by events alone, a token each"
    if silent:
        lengths = "lengths are what was asked for and the events that came" if silent > by_client else "prompts count as what was asked for"
        yield f"{percent(silent / answers)} of the answers came without usage: {lengths}"
    if by_client:
        yield f"{percent(by_client / answers)} of the answers were counted by the client's tokenizer, as the server did not count them"
    if case.facts.input_promised and case.facts.template_tokens:
        yield f"the chat template adds {counted(case.facts.template_tokens, 'token')} to each prompt, subtracted where lengths are judged"


def _on_stamps(case: Case) -> Iterator[str]:
    widths = case.first_token_widths_ms
    if by_user := int(pc.sum(pc.equal(text(case.good["stamp"]), "user")).as_py() or 0):
        yield f"{percent(by_user / len(case.good))} of the answers are stamped in user space, so a late reader shows as a late answer"
    if wide := int(np.count_nonzero(widths > 0)):
        yield f"{percent(wide / len(widths))} of first tokens are known only within an interval, at most {widths.max():.2f} ms wide"
