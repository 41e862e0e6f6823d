"""What a verdict is found from, with the parts that several checks look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.config.experiment import VerdictLimits
from aiperf.config.slos import Limit
from aiperf.metrics.rows import good, numbers, of_phase
from aiperf.metrics.statistics import statistic
from aiperf.results import RunFacts


@dataclass(frozen=True, eq=False)
class Case:
    """Records of any phase with their metric columns, the facts of the run, when it is void, and what was promised."""

    records: pa.Table
    facts: RunFacts
    limits: VerdictLimits
    promised: Sequence[Limit] = ()

    @cached_property
    def run(self) -> pa.Table:
        """The records of the phase that is judged."""
        return of_phase(self.records, "profiling")

    @cached_property
    def good(self) -> pa.Table:
        """Those of them that succeeded."""
        return good(self.run)

    @cached_property
    def median_latency_ms(self) -> float | None:
        """The median request_latency; None without a good request."""
        return statistic(numbers(self.good["request_latency"]), "p50")

    @cached_property
    def lateness_p99_ms(self) -> float | None:
        """p99 of schedule_lateness over every request of the run that was started."""
        return statistic(numbers(self.run["schedule_lateness"]), "p99")

    @cached_property
    def first_token_widths_ms(self) -> NDArray[np.float64]:
        """How wide the interval of each good first token is; 0 where its stamp is exact."""
        width = pc.subtract(self.good["first_token_ns"], self.good["first_token_low_ns"])
        return numbers(pc.divide(pc.cast(width, pa.float64()), 1e6))

    @property
    def template_tokens(self) -> int:
        """What the chat template adds to a prompt; 0 where that is not known."""
        return self.facts.template_tokens or 0

    @cached_property
    def input_length_error(self) -> float | None:
        """Mean relative difference of the server's prompt tokens, less the template's, from what was asked for."""
        return _length_error(self.good, "input_tokens", less=self.template_tokens)

    @cached_property
    def output_length_error(self) -> float | None:
        """Mean relative difference of the answers' tokens from what was asked for."""
        return _length_error(self.good, "output_tokens", less=0)


def _length_error(records: pa.Table, column: str, *, less: int) -> float | None:
    asked = records[f"asked_{column}"]
    both = pc.and_(pc.fill_null(pc.greater(asked, 0), fill_value=False), pc.is_valid(records[column]))
    said = numbers(records[column].filter(both)) - less
    wanted = numbers(asked.filter(both))
    return statistic(np.abs(said - wanted) / wanted, "avg")
