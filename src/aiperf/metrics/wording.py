"""How figures are said in sentences."""

from collections.abc import Mapping


def percent(share: float) -> str:
    """A share as percent, three digits: `25 %`, `1.23 %`."""
    return f"{100 * share:.3g} %" if share < 1 else f"{100 * share:.0f} %"


def counted(n: int, noun: str) -> str:
    """`1 frame`, `2,000 frames`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(counts: Mapping[str, int]) -> str:
    """Counts by name: `http_5xx 12, reset 4`."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())
