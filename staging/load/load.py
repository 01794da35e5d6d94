"""The platform's hold on the load generator's process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).resolve().parents[2]
_ANSWER_DEADLINE_S = 5.0
_EXIT_DEADLINE_S = 5.0


class LoadError(Exception):
    """The load generator refused a command, or does not answer."""


class Load:
    """Starts, steers and stops one load generator: 60 requests a second from the start."""

    def __init__(
        self, url: str, keys_file: Path, *, source: str = "127.0.0.1", seed: int = 0
    ) -> None:
        """Take where requests go (`http://host:port`), and whose keys and address they bear."""
        parts = urlsplit(url)
        self._arguments = (
            *(str(parts.hostname), str(parts.port)),
            *(str(keys_file.resolve()), source, str(seed)),
        )
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._status: dict[str, Any] = {}

    async def open(self) -> None:
        """Start the process and return when it sends; raise LoadError.

        The calling thread must last, as its end would kill the process.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "staging.load", str(os.getpid()), *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        self._reader = asyncio.create_task(self._read_answers(self._process))
        await self._command("resume")

    async def watch(self, on_exit: Callable[[str], None]) -> None:
        """Return when the process ends, and call `on_exit` with a sentence.

        Cancel it before `close`.
        """
        if self._process is not None:
            status = await self._process.wait()
            on_exit(f"the load generator ended by itself with status {status}")

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def close(self) -> None:
        """Kill the process and return when it is gone; requests in work are cut."""
        if self._process is None or self._reader is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        async with asyncio.timeout(_EXIT_DEADLINE_S):
            await self._process.wait()
            await self._reader

    async def set_rate(self, rps: float) -> None:
        """Set the mean requests per second; raise LoadError."""
        await self._command("rate", rps)

    async def set_weight_factor(self, factor: float) -> None:
        """Make every request cost `factor` times the usual, by its rows; raise LoadError."""
        await self._command("weight_factor", factor)

    async def pause(self) -> None:
        """Send nothing more; requests in work go on. Raise LoadError."""
        await self._command("pause")

    async def resume(self) -> None:
        """Send again; raise LoadError."""
        await self._command("resume")

    async def drain(self, deadline_s: float = 4.0) -> bool:
        """Pause, and return whether all requests in work ended in time; raise LoadError."""
        return bool((await self._command("drain", deadline_s, deadline_s))["drained"])

    async def reset(self) -> None:
        """Go back to the usual rate and weight, with all counts at zero; raise LoadError."""
        await self._command("reset")

    def status(self) -> dict[str, Any]:
        """Return settings and statistics, at most a quarter of a second old.

        The keys are those of `Generator.describe`: `rate, weight_factor, paused, outstanding,
        sent, ok, failed, by_outcome, by_origin, rps, failed_share, latency_ms`.
        """
        return self._status

    async def _command(
        self, name: str, value: float | None = None, patience_s: float = 0.0
    ) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None or self.pid is None:
            raise LoadError("the load generator does not run")
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        command = {"number": number, "do": name, "value": value}
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            async with asyncio.timeout(_ANSWER_DEADLINE_S + patience_s):
                answer = await future
        except TimeoutError:
            raise LoadError("the load generator does not answer") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise LoadError(answer["error"])
        result: dict[str, Any] = answer["done"]
        return result

    async def _read_answers(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            raise LoadError("the load generator has no standard output")
        while line := await process.stdout.readline():
            answer = json.loads(line)
            self._status = answer["status"]
            future = self._waiting.get(answer.get("number"))
            if future is not None and not future.done():
                future.set_result(answer)
        for future in self._waiting.values():
            future.set_result({"error": "the load generator has ended"})
