"""Numbers as people read them: as many digits as mean something, never a word for what is no number."""

_DIGITS = ((1, 3), (100, 2), (10_000, 1))
_MILLION = 1_000_000


def cell(value: float | None) -> str:
    """A number for a narrow column: three decimals below 1, two below 100, one below 10,000, millions as such; a dash for none."""
    if not value:
        return "-" if value is None else "0"
    for below, digits in _DIGITS:
        if abs(value) < below:
            return f"{value:,.{digits}f}"
    return f"{value:,.0f}" if round(abs(value)) < _MILLION else _millions(value)


def count(n: int) -> str:
    """A count for a narrow column: whole below a million."""
    return f"{n:,}" if n < _MILLION else _millions(n)


def _millions(value: float) -> str:
    millions = value / _MILLION
    return f"{millions:,.1f}M" if abs(millions) < 1000 else f"{millions:,.0f}M"


def amount(value: float | None) -> str:
    """A number in a sentence: four digits that mean something, no zeros at its end."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share as percent, cut off and not rounded up to 100."""
    if value is None:
        return "-"
    return f"{min(100 * value, 99.99):.2f} %" if value < 1 else "100 %"
