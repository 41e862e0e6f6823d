"""Where a run is steady: how long its beginning differs from the rest, and whether it drifts after that.

The beginning is found by MSER-5 (White 1997): of means of five values in a row, the cut, of at most half of the run, that
minimises the marginal standard error. It depends on the noise where exactly that is, so a step, a line and an exponential are
fitted to the stretch around it, and the beginning ends where the best of them has come within 5 % of the level behind it.
Noise alone makes MSER cut too. So it is a beginning only if the fit is significant against errors that follow each other
(a first-order autoregression) and its ranks differ from those of the rest at 0.1 %, by their effective number.

A trend is a line through the means of batches, by generalised least squares with the same errors, at 0.1 %. Where the batches
hang together so much that they might as well be a random walk, they are tested as one (Perron and Yabu 2009): a queue that
grows without end passes that test, a queue's own slow swings do not. Both must also matter: 5 % of the level.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Values = NDArray[np.float64]

LEAST = 100
"""Values that a beginning is looked for in."""
_BATCH, _FEWEST_BATCHES, _MOST_BATCHES = 5, 5, 20
LEFT = 0.05
"""A beginning is over when so much of the level is left of it; a trend that changes less over the run is none."""
_P = 0.001
_FIT_T = 7.0
"""The best of 600 fits must be this far from nothing: among clean runs of a slow queue one in a thousand is."""
_WALK = 10
"""Batches worth fewer independent ones than this are tested as a random walk: a slow queue's own swings look like trends too often."""
_POINTS, _SPAN, _REST = 300, 8, 40
_TIMES = (np.arange(_POINTS) + 0.5) / _POINTS
_LENGTHS = np.geomspace(0.015, 0.8, 200)
_FASTNESS = 3.0
_SHAPES: Values = np.concatenate((
    _LENGTHS[:, None] > _TIMES, np.maximum(1 - _TIMES / _LENGTHS[:, None], 0), np.exp(-_FASTNESS * _TIMES / _LENGTHS[:, None]),
)).astype(np.float64)  # fmt: skip
_CENTRED: Values = _SHAPES - _SHAPES.mean(axis=1, keepdims=True)


class Trend(NamedTuple):
    """The line through a run: its values at both ends. `found` is None where the run is too short to judge."""

    found: bool | None
    start: float = 0.0
    end: float = 0.0


def beginning(values: Values) -> int:
    """How many of these values, in the order of time, are of a beginning that is unlike the rest; 0 where none is, at most half."""
    cut = mser(values) if len(values) >= LEAST else 0
    if not cut:
        return 0
    span = values[: max(_SPAN * cut, LEAST)]
    length, t = _fitted(span)
    end = int(np.ceil(length * len(span)))
    is_sure = _BATCH <= end <= len(values) // 2 and t > _FIT_T and _differs(values, end)
    return end if is_sure else 0


def mser(values: Values) -> int:
    """The values that MSER-5 cuts off at the front."""
    means = batch_means(values[: len(values) // _BATCH * _BATCH], len(values) // _BATCH)
    means = means - means.mean()
    kept = len(means) - np.arange(len(means) // 2 + 1)
    sums, squares = (np.cumsum(found[::-1])[::-1][: len(kept)] for found in (means, means**2))
    return _BATCH * int(np.argmin((squares - sums**2 / kept) / kept**2))


def trend(values: Values) -> Trend:
    """Whether these values, in the order of time, rise or fall all the while."""
    count = min(_MOST_BATCHES, len(values) // _BATCH)
    if count < _FEWEST_BATCHES:
        return Trend(None)
    means, at = batch_means(values, count), np.arange(count, dtype=np.float64) - (count - 1) / 2
    slope, level = float(at @ means / (at @ at)), float(means.mean())
    t, effective = _t(means, at)
    line = (level + slope * at[0], level + slope * at[-1])
    if t > stdtrit(count - 2, 1 - _P / 4):  # two series are tested, on two sides
        return Trend(abs(line[1] - line[0]) > LEFT * abs(level), *line)
    return Trend(None if effective < _FEWEST_BATCHES else False, *line)


def batch_means(values: Values, count: int) -> Values:
    """The means of so many batches, as equal as they can be, of at least as many values."""
    edges = np.arange(count) * len(values) // count
    return np.add.reduceat(values, edges) / np.diff(edges, append=len(values))


def _fitted(span: Values) -> tuple[float, float]:
    """Where the best shape has come close to its level, as a share of the span, and how many standard errors high it begins."""
    points = min(_POINTS, len(span))
    means = np.interp(_TIMES, (np.arange(points) + 0.5) / points, batch_means(span, points))
    along = _CENTRED @ means
    norms = (_CENTRED**2).sum(axis=1)
    best = int(np.argmax(along**2 / norms))
    kind, length = divmod(best, len(_LENGTHS))
    height = along[best] / norms[best]
    level = means.mean() - height * _SHAPES[best].mean()
    left = min(max(LEFT * abs(level) / max(abs(height), 1e-300), 0.01), 1.0)
    passed = (1.0, 1.02 * (1 - left), -1.05 * np.log(left) / _FASTNESS)[kind]  # a fit's end is uncertain: rather late than early
    return float(_LENGTHS[length] * passed), _t(means, _SHAPES[best])[0]


def _t(means: Values, shape: Values) -> tuple[float, float]:
    """How many standard errors a shape's part in autoregressive means is from 0, and how many independent ones they are worth."""
    count = len(means)
    along = np.column_stack((np.ones(count), shape))
    rest = means - along @ np.linalg.lstsq(along, means, rcond=None)[0]
    if rest @ rest <= 1e-18 * (means @ means):
        return (np.inf if np.ptp(means) > 0 else 0.0), float(count)
    follows, effective = _following(rest, lost=3)
    if effective < _WALK:
        along, means = np.diff(shape)[:, None], np.diff(means)
    else:
        first = np.sqrt(1 - follows**2)
        along = np.vstack((along[0] * first, along[1:] - follows * along[:-1]))
        means = np.append(means[0] * first, means[1:] - follows * means[:-1])
    inverse = np.linalg.inv(along.T @ along)
    part = inverse @ (along.T @ means)
    errors = means - along @ part
    return float(abs(part[-1]) / np.sqrt(errors @ errors / (count - 2) * inverse[-1, -1])), effective


def _following(rest: Values, *, lost: int) -> tuple[float, float]:
    """How much of an error is in the next one (0 to 1), made up for what fitting takes away (Kendall 1954), and their effective number."""
    count = len(rest)
    found = float(rest[1:] @ rest[:-1] / (rest[:-1] @ rest[:-1]))
    follows = min(max((count * found + lost - 1) / (count - lost - 1), 0.0), 1.0)
    return follows, count * (1 - follows) / (1 + follows)


def _differs(values: Values, end: int) -> bool:
    """Whether the ranks of the first values are others than those of the rest, by the effective number of either."""
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]
    first, rest = ranks[:end], ranks[end:]
    count = min(_REST, len(rest) // _BATCH)
    apart = batch_means(rest, count) - rest.mean()
    if not apart.any():
        return bool(first.mean() != rest.mean())
    _, effective = _following(apart, lost=2)
    if effective < _FEWEST_BATCHES:
        return False
    of_rest = apart @ apart / (count - 1) / (1 - 1 / effective) * count / effective  # the long-run variance of one batch
    of_first = min(of_rest * len(rest) / count / end, float(rest.var()))  # no mean varies more than one value does
    t = abs(first.mean() - rest.mean()) / np.sqrt(of_first + of_rest / count)
    return bool(t > stdtrit(effective - 1, 1 - _P / 2))
