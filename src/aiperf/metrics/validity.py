"""The verdict: every reason for which a run is void, each with what was seen and what to change."""

from collections.abc import Callable, Sequence

from aiperf.metrics import checks_answers, checks_load
from aiperf.metrics.case import Case
from aiperf.metrics.notes import notes
from aiperf.results import Reason, Verdict

Check = Callable[[Case], Reason | None]

CHECKS: tuple[Check, ...] = (
    checks_answers.no_results,
    checks_load.late_generator,
    checks_load.plan_not_met,
    checks_load.level_not_held,
    checks_load.generator_saturated,
    checks_load.unsent,
    checks_answers.errors,
    checks_answers.no_tokens,
    checks_answers.input_length,
    checks_answers.output_length,
    checks_answers.coalesced_first_tokens,
    checks_answers.too_few_samples,
    checks_load.clock_step,
    checks_load.generator_died,
    checks_load.lost_frames,
    checks_answers.invariant,
    checks_load.trend,
)
"""In the order in which reasons are shown; the name of each is its reason, as in results.REASONS."""


def verdict(case: Case, extra_notes: Sequence[str] = ()) -> Verdict:
    """Judge a run."""
    found = [reason for check in CHECKS if (reason := check(case)) is not None]
    counted = tuple(reason for reason in found if reason.reason not in case.limits.ignore)
    ignored = tuple(reason for reason in found if reason.reason in case.limits.ignore)
    return Verdict(counted, ignored, (*extra_notes, *notes(case)))
