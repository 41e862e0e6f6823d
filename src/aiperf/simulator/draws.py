"""What chance decides about a request: drawn by the seed and the request's number, so that the order of arrival changes nothing."""

import math
import re
import struct
from hashlib import blake2b
from typing import Literal, get_args

from aiperf.config.endpoint import Faults

Fault = Literal["error_event", "truncated", "http_500", "reset"]

FAULTS: tuple[Fault, ...] = get_args(Fault)
"""In the order in which their shares are laid side by side."""

_NUMBER = re.compile(rb"(?<![0-9])[0-9]{1,18}\s*\Z")
_TWO = struct.Struct("<QQ").unpack


def request_number(header: bytes) -> int | None:
    """The number that ends an `X-Request-ID` (`3f2a9c-000123` is 123); None without one, or with more than 18 digits."""
    found = _NUMBER.search(header)
    return int(found[0]) if found else None


def uniforms(seed: int, number: int, purpose: bytes) -> tuple[float, float]:
    """Two independent draws between 0 and 1, both exclusive; `purpose` (up to 16 bytes) keeps the draws of different uses apart."""
    first, second = _TWO(blake2b(b"%d:%d" % (seed, number), digest_size=16, person=purpose).digest())
    return ((first >> 12) + 0.5) / 2**52, ((second >> 12) + 0.5) / 2**52


def fault_of(faults: Faults, seed: int, number: int | None) -> Fault | None:
    """What goes wrong with a request, if anything does; never with one that has no number."""
    if number is None:
        return None
    drawn, edge = uniforms(seed, number, b"fault")[0], 0.0
    for name in FAULTS:
        edge += getattr(faults, name)
        if drawn < edge:
            return name
    return None


def noise_factors(variation: float, seed: int, number: int | None) -> tuple[float, float]:
    """Two independent lognormal factors of mean 1 and coefficient of variation `variation` (Box and Muller, 1958).

    The first is for the time to the first token, the second for the time between tokens. Both are 1 without a number.
    """
    if number is None or not variation:
        return 1.0, 1.0
    one, other = uniforms(seed, number, b"noise")
    sigma = math.sqrt(math.log1p(variation * variation))
    radius, angle, centre = sigma * math.sqrt(-2 * math.log(one)), 2 * math.pi * other, sigma * sigma / 2
    return math.exp(radius * math.cos(angle) - centre), math.exp(radius * math.sin(angle) - centre)
