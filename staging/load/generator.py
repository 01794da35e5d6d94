"""Sends what the tenants ask for, and what an attacker tries, whatever becomes of it."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from staging.load.arrivals import Arrivals
from staging.load.profile import Attack, Profile
from staging.load.sender import MOST_RETRIES, Sender

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USUAL_RATE = 60.0


class Generator:
    """Open loops: the rates are the clients' own and do not slow down with the service."""

    def __init__(self, host: str, port: int, keys: Mapping[str, str], seed: int) -> None:
        """Send to `host:port` with the tenants' `keys`; the same seed draws the same requests."""
        self._seed = seed
        self._sender = Sender(host, port)
        self._attacker = Sender(host, port)
        self._profile = Profile(keys, self._make_chance("requests"))
        self._tenants = Arrivals(self._send_usual, self._make_chance("arrivals"), USUAL_RATE)
        self._polls = Arrivals(self._send_poll, self._make_chance("polls"), 0.0)
        self._attempts = Arrivals(self._send_attempt, self._make_chance("attempts"), 0.0)
        self._rate = USUAL_RATE
        self._weight_factor = 1.0
        self._retrying: set[str] = set()
        self._polling = ""
        self._attack: Attack | None = None

    async def run(self) -> None:
        """Send requests until cancelled."""
        async with asyncio.TaskGroup() as group:
            for arrivals in self._streams:
                group.create_task(arrivals.run())

    @property
    def _streams(self) -> tuple[Arrivals, ...]:
        return self._tenants, self._polls, self._attempts

    def set_rate(self, rate: float) -> None:
        """Set what the tenants usually send, per second; 0 is nothing. Raise ValueError below 0."""
        self._tenants.set_rate(rate * self._profile.volume)
        self._rate = rate

    def set_weight_factor(self, factor: float) -> None:
        """Make requests `factor` times as large as usual. Raise ValueError unless above 0."""
        if not 0 < factor <= 1000:  # noqa: PLR2004 - the service takes a thousand times the usual
            raise ValueError("the weight factor must be above 0 and at most 1000")
        self._weight_factor = factor

    def set_evenness(self, evenness: int) -> None:
        """Let tenants send more evenly than chance has it (1), see `Arrivals`; raise ValueError."""
        self._tenants.set_evenness(evenness)

    def set_tenant_rate(self, tenant: str, factor: float) -> None:
        """Let a tenant send `factor` times as often as usual; raise ValueError."""
        self._profile.set_factor(tenant, factor)
        self.set_rate(self._rate)

    def set_retries(self, tenant: str, *, on: bool) -> None:
        """Let a tenant's clients try a 429 again at once, up to three times, or no longer."""
        self._retrying = self._retrying | {tenant} if on else self._retrying - {tenant}

    def set_polling(self, tenant: str, rate: float) -> None:
        """Let a client of a tenant ask one endpoint `rate` times a second besides its usual.

        It minds no answer. One client at a time; rate 0 ends it. Raise ValueError.
        """
        self._profile.plan_poll(tenant)
        self._polling = tenant
        self._polls.set_rate(rate)

    def set_attack(self, sources: Sequence[str], tenant: str, rate: float) -> None:
        """Guess keys from `sources`, of one tenant or of all (""), at `rate`; 0 ends it.

        Raise ValueError.
        """
        self._attack = Attack(sources, tenant, self._make_chance("guesses"))
        self._attempts.set_rate(rate)

    def set_key(self, tenant: str, key: str | None) -> None:
        """Let a tenant's clients use this key, None: their usual one. Raise ValueError."""
        self._profile.set_key(tenant, key)

    def set_paused(self, *, paused: bool) -> None:
        """Stop or go on sending; requests in work go on."""
        for arrivals in self._streams:
            arrivals.set_paused(paused=paused)

    def reset(self) -> None:
        """Go back to the usual, unpaused, with all counts at zero and nobody attacking."""
        self._profile.reset()
        self._retrying.clear()
        self.set_rate(USUAL_RATE)
        self.set_weight_factor(1.0)
        self.set_evenness(1)
        self._polls.set_rate(0.0)
        self._attempts.set_rate(0.0)
        self.set_paused(paused=False)
        self._sender.statistics.reset()
        self._attacker.statistics.reset()

    async def drain(self, deadline_s: float) -> bool:
        """Pause, and return whether every request in work ended before the deadline."""
        self.set_paused(paused=True)
        try:
            async with asyncio.timeout(deadline_s):
                await self._sender.wait_idle()
                await self._attacker.wait_idle()
        except TimeoutError:
            return False
        return True

    def describe(self) -> dict[str, object]:
        """Return the settings in force and what the statistics say."""
        statistics = self._sender.statistics
        return {
            "rate": self._rate,
            "weight_factor": self._weight_factor,
            "paused": self._tenants.paused,
            "outstanding": self._sender.outstanding,
            **statistics.describe(),
            "tenants": statistics.describe_tenants(),
            "attacker": {
                "rate": self._attempts.rate,
                "sources": self._attack.sources if self._attack and self._attempts.rate else (),
                **self._attacker.statistics.count(),
            },
        }

    def _make_chance(self, purpose: str) -> random.Random:
        # One for each purpose: an attack changes nothing in what the tenants draw.
        return random.Random(f"{self._seed}/{purpose}")  # noqa: S311 - repeatable load, no secret

    def _send_usual(self) -> None:
        planned = self._profile.draw(self._weight_factor)
        retries = MOST_RETRIES if planned.tenant in self._retrying else 0
        self._sender.send(planned, retries=retries)

    def _send_poll(self) -> None:
        self._sender.send(self._profile.plan_poll(self._polling))

    def _send_attempt(self) -> None:
        if self._attack is not None:
            self._attacker.send(self._attack.draw())
