"""Foreign programs as children of the supervisor; none outlives it, not even its kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

# One thread at a time halves what Prometheus spends on waking its threads up for small scrapes.
# Its heap is collected early. A GOMEMLIMIT would bind once instances have come and gone for some
# minutes: below what is live, the collector takes a whole CPU and Prometheus answers late.
SMALL_GO = {"GOMAXPROCS": "1", "GOGC": "40"}
_POLL_S = 0.02  # between two questions whether a program answers already


class ProcessFailedError(Exception):
    """A program of the staging could not start, or ended by itself."""


class ForeignProcess:
    """One program (haproxy, Prometheus, ...) with its output in a file."""

    def __init__(self, name: str, argv: Sequence[str], log: Path) -> None:
        """Describe the program; `log` receives its stdout and stderr."""
        self.name = name
        self._argv = list(argv)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The operating system's id of the running program; 0 before its start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the program. Raise ProcessFailedError when it cannot be executed.

        The kernel kills the child when the thread that forked it ends, so call this from the
        main thread's event loop.
        """
        with self._log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessFailedError(f"cannot start {self.name}: {error}") from error

    async def wait_until(self, answers: Callable[[], Awaitable[bool]], deadline_s: float) -> None:
        """Return when `answers` does. Raise ProcessFailedError at the deadline or when it ends."""
        deadline = asyncio.get_running_loop().time() + deadline_s
        while not await answers():
            if not self.running:
                raise ProcessFailedError(f"{self.name} did not start: {self.last_output()}")
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessFailedError(f"{self.name} does not answer after {deadline_s:g} s")
            await asyncio.sleep(_POLL_S)

    async def watch(self, on_exit: Callable[[str], None]) -> None:
        """Return when the program ends; call `on_exit` with a sentence unless `stop` ended it."""
        if self._process is None:
            return
        status = await self._process.wait()
        if not self._stopping:
            on_exit(f"{self.name} ended by itself with status {status}; its output: {self._log}")

    async def stop(self, grace_s: float = 2.0) -> None:
        """Send SIGTERM, SIGKILL after `grace_s` seconds; return when the program is gone."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def last_output(self, lines: int = 5) -> str:
        """Return the last `lines` lines that the program wrote."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
