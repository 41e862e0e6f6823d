"""What a right client calls each fault of the simulator."""

from collections.abc import Mapping

FAULT_CLASSES: Mapping[str, str | None] = {
    "error_event": "error_event", "truncated": "truncated", "http_500": "http_5xx", "reset": "reset", "refused": "connect",
    "reset_mid": "reset", "rate_limited": "rate_limited", "http_400": "http_4xx", "http_404_empty": "http_4xx",
    "http_503_empty": "http_5xx", "error_named": "error_event", "malformed": "malformed", "stall": "timeout_idle",
    "slow_headers": "timeout_first_byte", "endless": "too_large", "wrong_content_type": "malformed", "garbage": "malformed",
    "close_after": None, "close_idle": None, "close_idle_raced": "reset",
}  # fmt: skip
"""The error class that a right client gives to a request, by what the log says went wrong with it; None is no failure.

`stall` and `slow_headers` need a deadline shorter than `faults.stall_s`, `endless` a total one longer than the largest answer takes.
"""
