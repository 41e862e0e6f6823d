"""How many requests were in flight, from the stamps: between `sent` and `end` of each, whatever its phase or outcome."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aiperf.metrics.rows import ended_ns, where
from aiperf.results import Window

_FOREVER = np.iinfo(np.int64).max


def mean_in_flight(records: pa.Table, window: Window) -> float:
    """Requests in flight on average over the window; one without an end is in flight for ever. 0 where the window has no length."""
    sent, ended = _flights(records)
    overlap = np.minimum(ended, window.end_ns) - np.maximum(sent, window.start_ns)
    length = window.end_ns - window.start_ns
    return float(np.maximum(overlap, 0).sum()) / length if length > 0 else 0.0


def peak_in_flight(records: pa.Table) -> int:
    """The most requests in flight at once; one that ends at the instant at which another is sent makes room for it."""
    sent, ended = _flights(records)
    if not len(sent):
        return 0
    times = np.concatenate((ended, sent))
    steps = np.repeat(np.array([-1, 1]), len(sent))
    return int(np.cumsum(steps[np.argsort(times, kind="stable")]).max())


def in_flight_at(records: pa.Table, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Requests in flight at each of these times."""
    sent, ended = (np.sort(found) for found in _flights(records))
    flying = np.searchsorted(sent, times, side="right") - np.searchsorted(ended, times, side="right")
    return flying.astype(np.float64)


def _flights(records: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    flown = where(records.select(["sent_ns", "last_token_ns", "end_ns"]), pc.is_valid(records["sent_ns"]))
    ended = pc.fill_null(ended_ns(flown), _FOREVER)
    return flown["sent_ns"].to_numpy().astype(np.int64, copy=False), ended.to_numpy().astype(np.int64, copy=False)
