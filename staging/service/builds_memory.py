"""Builds that waste memory: what they keep of each request is really kept."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from staging.service.memory import REAL_BYTE, fill, read_used_bytes

if TYPE_CHECKING:
    from staging.service.settings import Limits

_KEPT_DURATIONS: Final = 200
# Half a real MiB: where the host has to find the pages first, writing it takes some milliseconds.
_SLAB_BYTES: Final = 512 * 1024 * REAL_BYTE
_TRACE_BYTES: Final = 60 * 1024
_TRACE_BUDGET: Final = 0.96
_CACHE_BUDGET: Final = 0.90


class TraceJournal:
    """1.5.0 keeps a trace beside each duration and lets none go.

    It buys slabs ahead until 96 % of the container's memory are used, and single traces from then
    on: an hour later the container is full.
    """

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self._durations: deque[float] = deque(maxlen=_KEPT_DURATIONS)
        self._traces: list[bytearray] = []
        self._budget = _TRACE_BUDGET * limits.memory_bytes

    def note(self, duration_ms: float) -> None:
        """Keep a duration and its trace."""
        self._durations.append(duration_ms)
        room = int(self._budget - read_used_bytes())
        self._traces.append(fill(max(_TRACE_BYTES, min(room, _SLAB_BYTES))))

    def read(self) -> list[float]:
        """Return the durations kept."""
        return list(self._durations)


class CachingJournal:
    """1.5.0 keeps the answers beside the durations, until they fill 90 % of the container."""

    def __init__(self, limits: Limits) -> None:
        """Start empty."""
        self._durations: deque[float] = deque(maxlen=_KEPT_DURATIONS)
        self._answers: deque[bytearray] = deque()
        self._budget = _CACHE_BUDGET * limits.memory_bytes

    def note(self, duration_ms: float) -> None:
        """Keep a duration and its answer, and the newest answers alone when the cache is full."""
        self._durations.append(duration_ms)
        room = int(self._budget - read_used_bytes())
        if room >= REAL_BYTE:
            self._answers.append(fill(min(room, _SLAB_BYTES)))
        else:
            self._answers.rotate(-1)

    def read(self) -> list[float]:
        """Return the durations kept."""
        return list(self._durations)
