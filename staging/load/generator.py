"""Sends requests at Poisson arrivals, whatever becomes of the earlier ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from staging.load.statistics import Statistics
from staging.service.http_client import HttpClient, ProtocolError

if TYPE_CHECKING:
    import random

    from staging.load.profile import PlannedRequest, Profile

USUAL_RATE = 60.0
REQUEST_DEADLINE_S = 10.0
# Above this many requests without an answer further ones are counted as `shed` and not sent.
MAX_OUTSTANDING = 600
_CATCH_UP_S = 0.5


class Generator:
    """An open loop: the rate is the tenants' own and does not slow down with the service."""

    def __init__(self, client: HttpClient, profile: Profile, chance: random.Random) -> None:
        """Send what `profile` draws through `client`."""
        self._client = client
        self._profile = profile
        self._chance = chance
        self._rate = USUAL_RATE
        self._weight_factor = 1.0
        self._paused = False
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._outstanding: set[asyncio.Task[None]] = set()
        self.statistics = Statistics()

    async def run(self) -> None:
        """Send requests until cancelled."""
        due = time.monotonic()
        while True:
            if self._paused or self._rate == 0:
                await self._wait_for_change(None)
                due = time.monotonic()
                continue
            # A stalled process catches up half a second of arrivals, not all it missed.
            due = max(due, time.monotonic() - _CATCH_UP_S) + self._chance.expovariate(self._rate)
            if await self._wait_for_change(due):
                due = time.monotonic()
            else:
                self._send_next()

    def set_rate(self, rate: float) -> None:
        """Set the mean arrivals per second; 0 sends nothing. Raise ValueError below 0."""
        if not 0 <= rate <= 10_000:  # noqa: PLR2004 - far above what two cores can send
            raise ValueError("the rate must be from 0 to 10000 requests a second")
        self._rate = rate
        self._changed.set()

    def set_weight_factor(self, factor: float) -> None:
        """Make requests `factor` times as large as usual. Raise ValueError unless above 0."""
        if not 0 < factor <= 1000:  # noqa: PLR2004 - the service takes a thousand times the usual
            raise ValueError("the weight factor must be above 0 and at most 1000")
        self._weight_factor = factor

    def set_paused(self, *, paused: bool) -> None:
        """Stop or go on sending; requests in work go on."""
        self._paused = paused
        self._changed.set()

    def reset(self) -> None:
        """Go back to the usual rate and weight, unpaused, with all counts at zero."""
        self.set_rate(USUAL_RATE)
        self.set_weight_factor(1.0)
        self.set_paused(paused=False)
        self.statistics.reset()

    async def drain(self, deadline_s: float) -> bool:
        """Pause, and return whether every request in work ended before the deadline."""
        self.set_paused(paused=True)
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def describe(self) -> dict[str, object]:
        """Return the settings in force and what the statistics say."""
        return {
            "rate": self._rate,
            "weight_factor": self._weight_factor,
            "paused": self._paused,
            "outstanding": len(self._outstanding),
            **self.statistics.describe(),
        }

    async def _wait_for_change(self, until: float | None) -> bool:
        delay = None if until is None else max(0.0, until - time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._changed.wait()
        # A change in the very moment of the timeout counts: a pause lets no request out after it.
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def _send_next(self) -> None:
        self.statistics.sent += 1
        if len(self._outstanding) >= MAX_OUTSTANDING:
            self.statistics.note_failure("shed", 0.0)
            return
        task = asyncio.create_task(self._send(self._profile.draw(self._weight_factor)))
        self._outstanding.add(task)
        self._idle.clear()
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._outstanding.discard(task)
        if not self._outstanding:
            self._idle.set()

    async def _send(self, planned: PlannedRequest) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                answer = await self._client.request(
                    planned.method, planned.target, planned.headers, planned.body
                )
        except TimeoutError:
            outcome = "timeout"
        except ProtocolError:
            outcome = "cut"
        except OSError:
            outcome = "unreachable"
        else:
            # The service names every request that reached it; the ingress's own answers do not.
            origin = "service" if "x-request-id" in answer.headers else "ingress"
            elapsed = time.monotonic() - started
            self.statistics.note_answer(answer.status, origin, elapsed)
            return
        self.statistics.note_failure(outcome, time.monotonic() - started)
