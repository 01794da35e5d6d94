"""The platform's end of the zygote's pipes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.service.instance import Order
    from staging.service.usage import UsageBoard

_ROOT = Path(__file__).resolve().parents[2]


class FleetClosedError(Exception):
    """The zygote is not running, so nothing can be forked."""


class ZygoteLink:
    """Starts the zygote, sends it orders, and passes its reports on as they arrive."""

    def __init__(
        self,
        on_fork: Callable[[str, int], None],
        on_exit: Callable[[int, int], None],
        on_loss: Callable[[], None],
    ) -> None:
        """Take the receivers of (name, pid), of (pid, exit status), and of the zygote's end."""
        self._on_fork = on_fork
        self._on_exit = on_exit
        self._on_loss = on_loss
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        # Known from the end of its output, a moment before the process's exit status is.
        self._lost = False

    async def open(self, board: UsageBoard, slots: int) -> None:
        """Start the zygote; the calling thread must last, as its end would kill the zygote."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "staging.service.zygote", str(os.getpid())),
            *(str(board.descriptor), str(slots)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(board.descriptor,),
            cwd=_ROOT,
        )
        self._reader = asyncio.create_task(self._read_reports(self._process))

    @property
    def pid(self) -> int | None:
        """The zygote's process id, or None while it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    def order(self, order: Order) -> None:
        """Send an order; raise FleetClosedError when no zygote runs."""
        if self._lost or self._process is None or self._process.stdin is None or self.pid is None:
            raise FleetClosedError("the fleet is not open")
        self._process.stdin.write(json.dumps(order.to_message()).encode() + b"\n")

    async def close(self) -> None:
        """Kill the zygote, and with it every process that it forked."""
        if self._process is None or self._reader is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reader

    async def _read_reports(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise FleetClosedError("the zygote has no standard output")
        while line := await process.stdout.readline():
            report = json.loads(line)
            if "forked" in report:
                self._on_fork(report["name"], report["forked"])
            else:
                self._on_exit(report["exited"], report["status"])
        self._lost = True
        self._on_loss()
