"""When enough has been sent, judged from the pulses; each rule's word is one of records.STOP_RULES."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiperf.records import NOT_FAILURES
from aiperf.results import Pulse
from aiperf.seams import Precision, StopRule
from aiperf.timing.strategies import RUN


@dataclass(slots=True)
class MaxErrors:
    """Ends when more than `count` requests of the run have failed.

    Those of the warm-up are left out, but for the few that are in flight when the run begins.
    """

    count: int
    _before: dict[int, int] = field(default_factory=dict)
    _failed: dict[int, int] = field(default_factory=dict)

    def __call__(self, pulse: Pulse) -> str | None:
        """`max_errors`, once there are too many."""
        failed = sum(number for error, number in pulse.failed.items() if error not in NOT_FAILURES)
        if pulse.phase != RUN:
            self._before[pulse.generator] = failed
            return None
        self._failed[pulse.generator] = failed - self._before.get(pulse.generator, 0)
        return "max_errors" if sum(self._failed.values()) > self.count else None


@dataclass(frozen=True, slots=True)
class Precise:
    """Ends when `judge` has seen enough of the run; what lands of the warm-up after the run's first send is taken for the run's."""

    judge: Precision

    def __call__(self, pulse: Pulse) -> str | None:
        """`precision`, once it is reached."""
        return "precision" if pulse.phase == RUN and self.judge(pulse) else None


@dataclass(frozen=True, slots=True)
class Until:
    """Ends when a function from outside says so: true, or why in a few words."""

    function: Callable[[Pulse], str | bool | None]

    def __call__(self, pulse: Pulse) -> str | None:
        """`until`, with the function's own words."""
        said = self.function(pulse)
        return None if not said else "until" if said is True else f"until: {said}"


def first_of(rules: Sequence[StopRule]) -> StopRule:
    """Whichever comes first; each sees every pulse, and of several at once the first one's word counts."""

    def rule(pulse: Pulse) -> str | None:
        said = [rule(pulse) for rule in rules]
        return next((word for word in said if word is not None), None)

    return rule
