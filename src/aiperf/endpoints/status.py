"""What an HTTP status says about a request, whichever API was spoken."""

from collections.abc import Sequence

SAMPLE_CHARS = 500
"""How much of a body or an event is kept to show what went wrong."""

_ERRORS = {429: "rate_limited", 3: "http_3xx", 4: "http_4xx", 5: "http_5xx"}
_SHOWN = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "\N{REPLACEMENT CHARACTER}") | {ord(kept): kept for kept in "\t\n"}


def error_of(status: int | None) -> str | None:
    """The error class of a status; None for 2xx, and for no status at all, about which the transport knows better."""
    if status is None or 200 <= status < 300:
        return None
    return _ERRORS.get(status, _ERRORS.get(status // 100, "malformed"))


def sample(data: bytes) -> str:
    """The beginning of some bytes as text, for people; what is no UTF-8 or controls a terminal is shown as replacement characters."""
    return data[: 4 * SAMPLE_CHARS].decode("utf-8", "replace")[:SAMPLE_CHARS].translate(_SHOWN) or "(empty)"


def body_sample(bodies: Sequence[bytes]) -> str:
    """The beginning of an answer's body; an empty one is named so."""
    return sample(b"".join(bodies)) if any(bodies) else "(empty body)"
