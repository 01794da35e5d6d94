"""What containers wrote, line by line, as `kubectl logs` shows it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from staging.cloud_logging.lines import Origin

_LINES_KEPT = 5000
_PODS_KEPT = 80


@dataclass(eq=False)
class ContainerRun:
    """The lines of one process, oldest first, each with when it came."""

    lines: deque[tuple[datetime, bytes]] = field(
        default_factory=lambda: deque[tuple[datetime, bytes]](maxlen=_LINES_KEPT)
    )
    ended: bool = False
    _followers: set[asyncio.Queue[tuple[datetime, bytes] | None]] = field(default_factory=set)

    def add(self, line: bytes) -> None:
        """Keep a line and tell it to whoever follows."""
        entry = (datetime.now(UTC), line)
        self.lines.append(entry)
        for queue in self._followers:
            queue.put_nowait(entry)

    def end(self) -> None:
        """Tell whoever follows that no line comes any more."""
        self.ended = True
        for queue in self._followers:
            queue.put_nowait(None)

    async def follow(self) -> AsyncIterator[tuple[datetime, bytes]]:
        """Yield every line that comes from now on, until the container ends."""
        queue: asyncio.Queue[tuple[datetime, bytes] | None] = asyncio.Queue()
        self._followers.add(queue)
        try:
            while not self.ended or not queue.empty():
                entry = await queue.get()
                if entry is None:
                    return
                yield entry
        finally:
            self._followers.discard(queue)


class ContainerLogs:
    """The newest two runs of each pod's container."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._runs: OrderedDict[str, list[ContainerRun]] = OrderedDict()

    def open(self, origin: Origin) -> ContainerRun:
        """Return where the lines of a container that has just started go."""
        run = ContainerRun()
        if origin.platform == "kubernetes":
            runs = self._runs.setdefault(origin.instance, [])
            runs.append(run)
            del runs[:-2]
            while len(self._runs) > _PODS_KEPT:
                self._runs.popitem(last=False)
        return run

    def find(self, pod: str, *, previous: bool) -> ContainerRun | None:
        """Return the run of a pod's container, or the one before it; None when there is none."""
        runs = self._runs.get(pod, [])
        if previous:
            return runs[-2] if len(runs) > 1 else None
        return runs[-1] if runs else None

    def clear(self) -> None:
        """Forget every line and let go of whoever follows."""
        for runs in self._runs.values():
            for run in runs:
                run.end()
        self._runs.clear()
