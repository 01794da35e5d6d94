"""Limits over sliding windows: of a tenant, of an endpoint, of all, and of refused keys.

Each instance keeps them in its memory, as production's do: a fleet lets through as many times a
limit as it has instances.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from staging.service.errors import AuthThrottledError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN_PATH = "/api/v1/pipelines/run/{pipeline_id}"
_MINUTE_S = 60
_HOUR_WINDOWS = 60
# Windows that open one after the other turn far from one another: many addresses, each of which may
# try once a window, do not try all at once.
_GOLDEN_RATIO = 0.618034
# Windows in which nothing happened any more are dropped when this many others were opened.
_SWEEP_EVERY = 256


@dataclass(frozen=True)
class RateLimits:
    """The limits in force, per minute unless named otherwise.

    `window_s` is the real length of what counts as a minute: 60 s. A shorter one lets through the
    same rate, at least one request a window.
    """

    tenant: int = 100
    tenant_hour: int = 1000
    overall: int = 10_000
    pipeline_run: int = 50
    admin_tenants: int = 10
    auth_failures: int = 0
    """Refused keys of one source address; 0 is no limit."""
    window_s: float = 60.0


class SlidingWindow:
    """What happened in the last `length_s` seconds, taken from two counts.

    Of the fixed window before the current one counts the share that the sliding one still covers.
    So a limit that is reached goes on letting through its rate, where a list of moments would let
    nothing through until the first burst is a window old, and then let the next one through.
    """

    __slots__ = ("_before", "_current", "_length_s", "_phase", "_place")

    def __init__(self, length_s: float, phase: float) -> None:
        """Start empty; `phase`, a share of the length, is where its fixed windows begin."""
        self._length_s = length_s
        self._phase = phase
        self._place = 0
        self._before = 0
        self._current = 0

    def count(self, now: float) -> float:
        """Return how often `add` was called within the window, about."""
        passed = self._advance(now)
        return self._before * (1 - passed) + self._current

    def add(self, now: float) -> None:
        """Count one more."""
        self._advance(now)
        self._current += 1

    def seconds_to_room(self, now: float, capacity: int) -> float:
        """Return in how many seconds the count will have fallen below `capacity`."""
        covered = 1 - self._advance(now)
        if self._before * covered + self._current < capacity:
            return 0.0
        if self._current < capacity:
            return (covered - (capacity - self._current) / self._before) * self._length_s
        return (covered + 1 - capacity / self._current) * self._length_s

    def _advance(self, now: float) -> float:
        """Enter the fixed window of `now`, and return which share of it has passed."""
        place, passed = divmod(now / self._length_s + self._phase, 1)
        steps = int(place) - self._place
        if steps:
            self._before = self._current if steps == 1 else 0
            self._current = 0
            self._place = int(place)
        return passed


class _Use(NamedTuple):
    """A limit as one request meets it."""

    name: str
    limit: int
    """What the setting says, by which the answer speaks."""
    capacity: int
    """What fits into the window."""
    window: SlidingWindow


class RateLimiter:
    """Admits requests, or says which limit they met."""

    def __init__(self, limits: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with every window empty."""
        self._limits = limits
        self._clock = clock
        self._windows: dict[tuple[str, str], SlidingWindow] = {}
        self._opened = 0

    def __len__(self) -> int:
        """Return how many windows are kept."""
        return len(self._windows)

    def admit(self, tenant_id: str, path: str) -> dict[str, str]:
        """Count a tenant's request and return the headers that tell its limit and what is left.

        Raises RateLimitedError when any limit is used up; then nothing is counted.
        """
        now = self._clock()
        uses = list(self._find_uses(tenant_id, path))
        tenant = uses[0]
        for use in uses:
            if use.window.count(now) >= use.capacity:
                wait_s = use.window.seconds_to_room(now, use.capacity)
                raise RateLimitedError(use.name, tenant.limit, self._left(tenant, now), wait_s)
        for use in uses:
            use.window.add(now)
        return {
            "x-ratelimit-tenant-limit": str(tenant.limit),
            "x-ratelimit-tenant-remaining": str(self._left(tenant, now)),
        }

    def admit_admin(self, source_ip: str) -> None:
        """Count a call of the tenants' administration; raise RateLimitedError."""
        now = self._clock()
        use = self._use("admin_tenants", source_ip, self._limits.admin_tenants)
        if use.window.count(now) >= use.capacity:
            raise RateLimitedError(
                use.name, use.limit, 0, use.window.seconds_to_room(now, use.capacity)
            )
        use.window.add(now)

    def check_source(self, source_ip: str) -> None:
        """Raise AuthThrottledError when too many keys from this address were refused."""
        window = self._windows.get(("auth_failures", source_ip))
        if window is None or not self._limits.auth_failures:
            return
        now = self._clock()
        capacity = self._fit(self._limits.auth_failures)
        if window.count(now) >= capacity:
            raise AuthThrottledError(window.seconds_to_room(now, capacity))

    def note_auth_failure(self, source_ip: str) -> None:
        """Count a refused key of this address."""
        if self._limits.auth_failures:
            self._open("auth_failures", source_ip, self._limits.window_s).add(self._clock())

    def _find_uses(self, tenant_id: str, path: str) -> Iterator[_Use]:
        limits = self._limits
        yield self._use("tenant_requests_per_minute", tenant_id, limits.tenant)
        yield self._use("tenant_requests_per_hour", tenant_id, limits.tenant_hour, _HOUR_WINDOWS)
        if path == RUN_PATH:
            yield self._use("pipeline_run_per_minute", tenant_id, limits.pipeline_run)
        yield self._use("global_requests_per_minute", "", limits.overall)

    def _use(self, name: str, key: str, limit: int, windows: int = 1) -> _Use:
        window = self._open(name, key, self._limits.window_s * windows)
        return _Use(name, limit, self._fit(limit), window)

    def _fit(self, limit: int) -> int:
        return max(1, int(limit * self._limits.window_s / _MINUTE_S))

    def _left(self, use: _Use, now: float) -> int:
        free = max(0.0, use.capacity - use.window.count(now))
        return int(free * _MINUTE_S / self._limits.window_s)

    def _open(self, name: str, key: str, length_s: float) -> SlidingWindow:
        window = self._windows.get((name, key))
        if window is None:
            self._sweep()
            phase = self._opened * _GOLDEN_RATIO % 1
            window = self._windows[name, key] = SlidingWindow(length_s, phase)
        return window

    def _sweep(self) -> None:
        self._opened += 1
        if self._opened % _SWEEP_EVERY:
            return
        now = self._clock()
        self._windows = {key: w for key, w in self._windows.items() if w.count(now)}
