"""The stop rules of an experiment that are judged while it runs."""

from collections.abc import Callable

from aiperf.config.experiment import Experiment
from aiperf.results import PULSED, Pulse
from aiperf.seams import StopRule
from aiperf.timing import stops

Until = Callable[[Pulse], str | bool | None]
"""A stop function given from outside: whether, or why, enough has been sent."""

_DEFAULT = ("p50", "p99")


def stop_rule(experiment: Experiment, until: Until | None = None) -> StopRule | None:
    """What ends the run before its plan does, `until` a function given from outside; None where nothing is to."""
    stop, rules = experiment.timing.stop, list[StopRule]()
    if stop.max_errors is not None:
        rules.append(stops.MaxErrors(stop.max_errors))
    if stop.precision is not None:
        from aiperf.metrics.precision import PulsePrecision  # noqa: PLC0415 - it brings scipy: launch time

        rules.append(stops.Precise(PulsePrecision(precision_of(experiment), stop.precision)))
    if until is not None:
        rules.append(stops.Until(until))
    return stops.first_of(rules) if rules else None


def precision_of(experiment: Experiment) -> tuple[str, ...]:
    """The statistics, as `metric.stat`, that are to be known well enough."""
    streamed, whole = PULSED
    metric = streamed if experiment.endpoint.streaming else whole
    return experiment.timing.stop.precision_of or tuple(f"{metric}.{stat}" for stat in _DEFAULT)
