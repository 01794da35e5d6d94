"""Sends planned requests, each from its client's own address, and counts what becomes of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from staging.load.statistics import Statistics
from staging.service.http_client import HttpClient, ProtocolError

if TYPE_CHECKING:
    from staging.load.profile import PlannedRequest

REQUEST_DEADLINE_S = 10.0
# Above this many requests without an answer further ones are counted as `shed` and not sent.
MAX_OUTSTANDING = 600
MOST_RETRIES = 3
_REFUSED = 429


class Sender:
    """Requests on their way to one host and port."""

    def __init__(self, host: str, port: int) -> None:
        """Send to `host:port`; connections are made on demand."""
        self._host = host
        self._port = port
        self._clients: dict[str, HttpClient] = {}
        self._outstanding: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.statistics = Statistics()

    @property
    def outstanding(self) -> int:
        """How many requests have no answer yet."""
        return len(self._outstanding)

    def send(self, planned: PlannedRequest, *, retries: int = 0) -> None:
        """Send a request, or count it as shed; a 429 is tried again at once, `retries` times."""
        if len(self._outstanding) >= MAX_OUTSTANDING:
            self.statistics.sent += 1
            self.statistics.note_failure(planned.tenant, "shed", 0.0)
            return
        task = asyncio.create_task(self._send(planned, retries))
        self._outstanding.add(task)
        self._idle.clear()
        task.add_done_callback(self._forget)

    async def wait_idle(self) -> None:
        """Return when no request is outstanding."""
        await self._idle.wait()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._outstanding.discard(task)
        if not self._outstanding:
            self._idle.set()

    async def _send(self, planned: PlannedRequest, retries: int) -> None:
        for _ in range(retries + 1):
            if await self._try(planned) != _REFUSED:
                return

    async def _try(self, planned: PlannedRequest) -> int:
        self.statistics.sent += 1
        started = time.monotonic()
        client = self._clients.get(planned.source)
        if client is None:
            client = HttpClient(self._host, self._port, planned.source)
            self._clients[planned.source] = client
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                answer = await client.request(
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
            self.statistics.note_answer(planned.tenant, answer.status, origin, elapsed)
            return answer.status
        self.statistics.note_failure(planned.tenant, outcome, time.monotonic() - started)
        return 0
