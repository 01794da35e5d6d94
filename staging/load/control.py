"""The platform's hold on the load generator's process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_ANSWER_DEADLINE_S = 5.0
_EXIT_DEADLINE_S = 5.0


class LoadError(Exception):
    """The load generator refused a command, or does not answer."""


@dataclass(frozen=True)
class LoadSettings:
    """Where the load goes, whose keys it uses, from which loopback address, and its seed."""

    host: str
    port: int
    keys_file: Path
    source: str = "127.0.0.1"
    seed: int = 0


class Load:
    """Starts, steers and stops one load generator: at 60 requests a second from the start."""

    def __init__(self, settings: LoadSettings) -> None:
        """Describe the load; `open` starts it."""
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def open(self) -> None:
        """Start the process; the calling thread must last, as its end would kill the process."""
        settings = self._settings
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "staging.load", str(os.getpid()), settings.host, str(settings.port)),
            *(str(settings.keys_file.resolve()), settings.source, str(settings.seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )

    @property
    def pid(self) -> int | None:
        """The process id, or None while it does not run."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    async def close(self) -> None:
        """Kill the process and return when it is gone; requests in work are cut."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        async with asyncio.timeout(_EXIT_DEADLINE_S):
            await self._process.wait()

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
        """Set the counts to zero; raise LoadError."""
        await self._command("reset")

    async def status(self) -> dict[str, Any]:
        """Return settings and statistics (see `Statistics.describe`); raise LoadError."""
        return await self._command("status")

    async def _command(
        self, name: str, value: float | None = None, patience_s: float = 0.0
    ) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise LoadError("the load generator is not open")
        async with self._lock:
            number = next(self._numbers)
            command = {"number": number, "do": name, "value": value}
            try:
                process.stdin.write(json.dumps(command).encode() + b"\n")
                async with asyncio.timeout(_ANSWER_DEADLINE_S + patience_s):
                    answer = await _read_answer(process.stdout, number)
            except (OSError, TimeoutError) as error:
                raise LoadError("the load generator does not answer") from error
        if "error" in answer:
            raise LoadError(answer["error"]["message"])
        result: dict[str, Any] = answer["done"]
        return result


async def _read_answer(stream: asyncio.StreamReader, number: int) -> dict[str, Any]:
    # The answer to a command that was given up may still come first.
    while line := await stream.readline():
        answer: dict[str, Any] = json.loads(line)
        if answer["number"] == number:
            return answer
    raise LoadError("the load generator has ended")
