"""Answers kept for a while, so that a slow database is asked once for what many want to know."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.service.errors import ServiceError
from staging.service.logs import write_log, write_traceback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    Content = dict[str, object]
    Compute = Callable[[], Awaitable[Content]]

# What is asked for in the second half of its life is fetched anew in the background: answers in
# demand never run out, and none is ever older than its time to live.
_FRESH_SHARE = 0.5
MAX_ANSWERS = 10_000


@dataclass(frozen=True)
class _Kept:
    content: Content
    since: float


class ResponseCache:
    """Answers by key, each at most `ttl_s` seconds old; with 0 nothing is kept."""

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty."""
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: dict[Hashable, _Kept] = {}
        self._fetching: dict[Hashable, asyncio.Task[Content]] = {}

    @property
    def enabled(self) -> bool:
        """Whether anything is kept at all."""
        return self._ttl_s > 0

    def find(self, key: Hashable, compute: Compute) -> Content | None:
        """Return a kept answer, or None; one that grows old is computed anew in the background."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        age = self._clock() - kept.since
        if age >= self._ttl_s:
            del self._kept[key]
            return None
        if age >= self._ttl_s * _FRESH_SHARE:
            self._fetch(key, compute)
        return kept.content

    async def fetch(self, key: Hashable, compute: Compute) -> Content:
        """Return what `compute` does and keep it; who asks meanwhile waits for the same answer.

        Raise what `compute` raises, which is not kept.
        """
        return await asyncio.shield(self._fetch(key, compute))

    def _fetch(self, key: Hashable, compute: Compute) -> asyncio.Task[Content]:
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._keep(key, compute))
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    async def _keep(self, key: Hashable, compute: Compute) -> Content:
        # What is read now is as old as the beginning of the reading.
        begun = self._clock()
        content = await compute()
        if len(self._kept) >= MAX_ANSWERS:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = _Kept(content, begun)
        return content

    def _forget(self, key: Hashable, task: asyncio.Task[Content]) -> None:
        del self._fetching[key]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ServiceError):
            write_log("WARNING", f"response cache not filled: {error.error_type}")
        elif error is not None:
            write_traceback(error)
