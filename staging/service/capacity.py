"""An instance's CPU as a virtual server: load against capacity makes latency, CPU use and 503s.

Requests pass one first-come-first-served queue whose server works off `cpu` seconds of cost per
second. Its clock is computed rather than burnt, so a busy instance costs the host nothing and
what a client sees does not depend on the host's cores.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from staging.service.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WAIT_S = 3.0
WINDOW_S = 1.0
# A thread of the lowest priority takes what requests leave; the interpreter's lock, which it holds
# now and then, is what they feel of it.
_LOCK_SHARE = 0.15


class Capacity:
    """One instance's share of CPU, and the requests that it holds."""

    def __init__(
        self,
        cpu: float,
        concurrency: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the vCPUs of the container and the number of requests it may hold at once."""
        self._cpu = cpu
        self._concurrency = concurrency
        self._clock = clock
        self._free_at = 0.0
        self._held = 0
        self._busy: deque[tuple[float, float]] = deque()
        self._background = 0.0
        self._background_until = 0.0

    @property
    def cpu(self) -> float:
        """Return the vCPUs of the container."""
        return self._cpu

    @contextmanager
    def hold_request(self) -> Iterator[None]:
        """Count a request while it is served; raise OverloadedError above the concurrency."""
        if self._held >= self._concurrency:
            raise OverloadedError(f"{self._held} requests are in work, the limit")
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    async def work(self, cost_s: float) -> None:
        """Return when `cost_s` CPU-seconds are done; raise OverloadedError for a wait above 3 s."""
        now = self._clock()
        begin = max(now, self._free_at)
        if begin - now > MAX_WAIT_S:
            raise OverloadedError(f"the request would wait {begin - now:.1f} s for CPU")
        speed = self._cpu * (1 - _LOCK_SHARE * self._read_background(now))
        end = begin + cost_s / speed
        self._note_busy(begin, end)
        self._free_at = end
        await asyncio.sleep(end - now)

    def take_idle(self, share: float, seconds: float) -> None:
        """Give a background thread `share` of the CPU that requests leave, for `seconds` from now.

        A thread that goes on says so again and again; any thread may call this.
        """
        self._background = share
        self._background_until = self._clock() + seconds

    def measure_busy_share(self) -> float:
        """Return the busy share of the last second, from 0 to 1."""
        now = self._clock()
        self._forget_before(now - WINDOW_S)
        busy = sum(
            max(0.0, min(end, now) - max(begin, now - WINDOW_S)) for begin, end in self._busy
        )
        requests = min(1.0, busy / WINDOW_S)
        return requests + (1 - requests) * self._read_background(now)

    def _read_background(self, now: float) -> float:
        return self._background if now < self._background_until else 0.0

    def _note_busy(self, begin: float, end: float) -> None:
        self._forget_before(self._clock() - WINDOW_S)
        if self._busy and begin <= self._busy[-1][1]:
            begin = self._busy.pop()[0]
        self._busy.append((begin, end))

    def _forget_before(self, moment: float) -> None:
        while self._busy and self._busy[0][1] < moment:
            self._busy.popleft()
