"""Seeded draws by counter: the i-th is a hash of key and i, so any part of a sequence is had without what comes before it.

The hash is splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). Logarithm and sine are
summed up from single additions and multiplications, which IEEE 754 rounds alike everywhere: a seed means the same on every machine.
"""

from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(bits) for bits in (30, 27, 31, 11))
_STEPS = np.arange(1, 16_385, dtype=np.uint64) * _GOLDEN
_PIECE = 16_384
_LN2 = 0.6931471805599453
_LOG = tuple(2 / k for k in range(17, 0, -2))  # log m = 2 (s + s³/3 + s⁵/5 + …), s = (m − 1) / (m + 1)
_SINE = (1 / 355687428096000, -1 / 1307674368000, 1 / 6227020800, -1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0)


def child_seed(seed: int, name: str) -> int:
    """The 64-bit seed of a part that has a name, so that parts draw independently and a new part moves no other."""
    return int.from_bytes(sha256(f"{seed}:{name}".encode()).digest()[:8], "little")


def mix(hashes: Hashes) -> Hashes:
    """The finalizer of splitmix64, in place on an array that the caller owns."""
    shifted = hashes >> _30
    hashes ^= shifted
    hashes *= _FIRST
    np.right_shift(hashes, _27, out=shifted)
    hashes ^= shifted
    hashes *= _SECOND
    np.right_shift(hashes, _31, out=shifted)
    hashes ^= shifted
    return hashes


def steps(count: int) -> Hashes:
    """What is added to a key for its first `count` draws; not to be written to."""
    return _STEPS[:count] if count <= len(_STEPS) else np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN


def draws(key: int, count: int) -> Hashes:
    """The first `count` draws of a key: 64 bits each."""
    return mix(steps(count) + np.uint64(key))


def draws_at(key: int, places: NDArray[Any]) -> Hashes:
    """The draws of a key at these places (whole numbers from 0)."""
    return mix((places.astype(np.uint64) + np.uint64(1)) * _GOLDEN + np.uint64(key))


def uniform(hashes: Hashes) -> Floats:
    """In (0, 1], on a grid of 2⁻⁵³."""
    return ((hashes >> _11) + np.uint64(1)).astype(np.float64) * 2.0**-53


def exponential(hashes: Hashes) -> Floats:
    """Mean 1, at least 0."""
    found = np.empty(len(hashes))
    for start in range(0, len(hashes), _PIECE):  # pieces stay in the processor's cache: three times as fast
        piece = slice(start, start + _PIECE)
        np.negative(_log(uniform(hashes[piece])), out=found[piece])
    return found


def normal(hashes: Hashes, others: Hashes) -> Floats:
    """Mean 0, deviation 1, of two draws each (Box and Muller, 1958)."""
    quarter = np.abs(uniform(others) - 0.5) - 0.25
    angle = 2 * np.pi * quarter
    sine = angle * _polynomial(_SINE, angle * angle)
    found: Floats = np.sqrt(2 * exponential(hashes)) * sine
    return found


def _log(values: Floats) -> Floats:
    mantissa, exponent = np.frexp(values)
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, 2 * mantissa, mantissa)
    ratio = (mantissa - 1) / (mantissa + 1)
    found: Floats = ratio * _polynomial(_LOG, ratio * ratio) + (exponent - small) * _LN2
    return found


def _polynomial(factors: tuple[float, ...], at: Floats) -> Floats:
    total = np.full_like(at, factors[0])
    for factor in factors[1:]:
        total *= at
        total += factor
    return total
