"""Open arrivals: what arrives does not wait for what arrived before.

They are Poisson arrivals unless told to be more even.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_CATCH_UP_S = 0.5
_MOST = 10_000.0


class Arrivals:
    """Calls `arrive` at random moments, `rate` times a second on average."""

    def __init__(self, arrive: Callable[[], None], chance: random.Random, rate: float) -> None:
        """Take what an arrival does; a seeded `chance` repeats itself."""
        self._arrive = arrive
        self._chance = chance
        self._rate = rate
        self._evenness = 1
        self._paused = False
        self._changed = asyncio.Event()

    @property
    def rate(self) -> float:
        """The mean arrivals per second."""
        return self._rate

    @property
    def paused(self) -> bool:
        """Whether nothing arrives for now, whatever the rate."""
        return self._paused

    async def run(self) -> None:
        """Let arrive until cancelled."""
        due = time.monotonic()
        while True:
            if self._paused or self._rate == 0:
                await self._wait_for_change(None)
                due = time.monotonic()
                continue
            # A stalled process catches up half a second of arrivals, not all it missed.
            due = max(due, time.monotonic() - _CATCH_UP_S) + self._draw_gap()
            if await self._wait_for_change(due):
                due = time.monotonic()
            else:
                self._arrive()

    def set_rate(self, rate: float) -> None:
        """Set the mean arrivals per second; 0 is none. Raise ValueError below 0."""
        if not 0 <= rate <= _MOST:
            raise ValueError("the rate must be from 0 to 10000 requests a second")
        self._rate = rate
        self._changed.set()

    def set_evenness(self, evenness: int) -> None:
        """Vary the gaps less: they are the mean of so many random ones. Raise ValueError below 1.

        1 is chance alone (Poisson); with 16 a count over seconds varies by a quarter of that.
        """
        if not 1 <= evenness <= _MOST:
            raise ValueError("the evenness must be from 1 to 10000")
        self._evenness = evenness

    def set_paused(self, *, paused: bool) -> None:
        """Stop or go on."""
        self._paused = paused
        self._changed.set()

    def _draw_gap(self) -> float:
        return self._chance.gammavariate(self._evenness, 1 / (self._evenness * self._rate))

    async def _wait_for_change(self, until: float | None) -> bool:
        delay = None if until is None else max(0.0, until - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._changed.wait()
        # A change in the very moment of the timeout counts: a pause lets nothing out after it.
        changed = self._changed.is_set()
        self._changed.clear()
        return changed
