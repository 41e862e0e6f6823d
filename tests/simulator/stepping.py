"""Runs a model on a clock of the test."""

from collections import deque
from dataclasses import dataclass, field

from aiperf.config.simulator import Simulator
from aiperf.simulator.model import Ask, Model
from aiperf.simulator.service import made

MS = 1_000_000


@dataclass
class Bench:
    """Asks come in when their time has come; the model is looked at when it says, or `late_ns` after."""

    model: Model
    now_ns: int = 0
    told: dict[Ask, list[tuple[int, int]]] = field(default_factory=dict)

    def arrive(self, ask):
        self.told[ask] = []
        self.model.arrive(ask, lambda count: self.told[ask].append((self.now_ns, count)))

    def run(self, late_ns=0, each=lambda: None):
        due_ns = self.model.advance(self.now_ns)
        while due_ns is not None:
            self.now_ns = max(self.now_ns, due_ns + late_ns)
            due_ns = self.model.advance(self.now_ns)
            each()

    def play(self, asks, each=lambda: None):
        """All of these at their times."""
        due_ns, coming = None, deque(sorted(asks, key=lambda ask: ask.arrived_ns))
        while coming or due_ns is not None:
            if coming and (due_ns is None or coming[0].arrived_ns <= due_ns):
                self.now_ns = max(self.now_ns, coming[0].arrived_ns)
                while coming and coming[0].arrived_ns <= self.now_ns:
                    self.arrive(coming.popleft())
            else:
                self.now_ns = max(self.now_ns, due_ns)
            due_ns = self.model.advance(self.now_ns)
            each()
        return self

    def times(self, ask):
        return [at_ns for at_ns, count in self.told[ask] for _ in range(count)]


def on_bench(**options):
    return Bench(made(Simulator(**options)))


def engine(**options):
    """One whose steps take 10 ms and nothing else."""
    plain = {"step_ms": 10, "prefill_us_per_token": 0, "decode_us_per_request": 0, "context_ns_per_token": 0, "kv_blocks": None}
    return on_bench(**{"preset": "small_gpu", **plain, **options})
