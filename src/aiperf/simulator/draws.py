"""What is known of a request ahead: what chance decides, by seed and number, not by the order of arrival; and whether it can be served."""

import math
import re
import struct
from fractions import Fraction
from hashlib import blake2b
from itertools import accumulate

from aiperf.config.simulator import SHARES, Faults, Simulator, Speculative

FAULTS = tuple(name for name in SHARES if name != "refused")
"""What can go wrong with a request that has reached the server, in the order in which their shares are laid side by side."""

RACED = "close_idle_raced"
"""In the log: a request that came while its connection was being closed for idleness, and was lost with it."""

_ADDRESSES = 100
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


class Fates:
    """What goes wrong with the requests that arrive, by their numbers.

    Those of `faults.refused` never arrive, so the shares of the others are of what is left and keep their size in the whole.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        shares = [(getattr(faults, name), name) for name in FAULTS if getattr(faults, name)]
        self._edges = tuple(zip(accumulate(share for share, _ in shares), (name for _, name in shares)))
        self._seed, self._arriving = seed, 1 - faults.refused

    def of(self, number: int | None) -> str | None:
        """What goes wrong with a request, if anything does; never with one that has no number."""
        if number is None or not self._edges:
            return None
        drawn = uniforms(self._seed, number, b"fault")[0] * self._arriving
        return next((name for edge, name in self._edges if drawn < edge), None)


def refused_places(faults: Faults, seed: int) -> tuple[int, tuple[int, ...]]:
    """How many addresses a client is to take in turn by request number, and the places of those that refuse; never the first."""
    share = Fraction(faults.refused).limit_denominator(_ADDRESSES)
    drawn = sorted(range(1, share.denominator), key=lambda place: uniforms(seed, place, b"refused"))
    return share.denominator, tuple(sorted(drawn[: share.numerator]))


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


def accepted_drafts(options: Speculative, seed: int, number: int, *, place: int) -> int:
    """How many tokens that are guessed behind this place of an answer are right: each with the same chance, if all before it are."""
    drawn, chance = uniforms(seed, number, b"draft%d" % place)[0], options.acceptance
    return next((right for right in range(options.tokens) if drawn > chance ** (right + 1)), options.tokens)


def too_long(options: Simulator, prompt_tokens: int, tokens: int) -> str | None:
    """Why a request can never be answered, None if it can: all KV memory is smaller than it alone."""
    if options.kv_blocks is None or prompt_tokens + tokens <= (most := options.kv_blocks * options.block_tokens):
        return None
    return (
        f"This model's maximum context length is {most} tokens (kv_blocks={options.kv_blocks}). "
        f"However, you requested {prompt_tokens + tokens} tokens ({prompt_tokens} in the prompt, {tokens} in the answer)."
    )
