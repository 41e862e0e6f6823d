"""An experiment as a function: a point of a space goes in, what was found at it comes out. What searches call, and notebooks."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiperf.app.plan import gathered
from aiperf.app.run import run
from aiperf.app.session import Ended
from aiperf.app.stopping import Until
from aiperf.config.compose import load


def evaluator(words: Sequence[str], *, config_dirs: Sequence[Path] = (), say: Callable[[str], None]) -> Callable[..., Ended]:
    """The experiment of these words (`group=choice`, `key=value`) as a function of a point; a run a call.

    `evaluate(point, until=None)`: `point` holds values by key, `until` ends the load early by the pulses it is shown. It
    raises ConfigError where the words or the point are wrong, MeasureError where nothing could be measured.
    """

    def evaluate(point: Mapping[str, Any], until: Until | None = None) -> Ended:
        given = [*words, *(f"{key}={json.dumps(value)}" for key, value in point.items())]
        found = gathered(load(given, config_dirs=config_dirs), say)
        return run(found, arguments=given, until=until)

    return evaluate
