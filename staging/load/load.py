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

from staging.load.sources import ATTACKER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROOT = Path(__file__).resolve().parents[2]
ATTACK_RATE = 50.0
_ANSWER_DEADLINE_S = 5.0
_EXIT_DEADLINE_S = 5.0


class LoadError(Exception):
    """The load generator refused a command, or does not answer."""


class Load:
    """Starts, steers and stops one load generator: 60 requests a second from the start."""

    def __init__(self, url: str, keys_file: Path, *, seed: int = 0) -> None:
        """Take where requests go (`http://host:port`), the tenants' keys, and what chance it is."""
        parts = urlsplit(url)
        self._arguments = (
            *(str(parts.hostname), str(parts.port)),
            *(str(keys_file.resolve()), str(seed)),
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
        await self.resume()

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
        await self._command("rate", rate=rps)

    async def set_weight_factor(self, factor: float) -> None:
        """Make every request cost `factor` times the usual, by its rows; raise LoadError."""
        await self._command("weight_factor", factor=factor)

    async def set_evenness(self, evenness: int) -> None:
        """Let tenants send more evenly than chance has it, which is 1; raise LoadError."""
        await self._command("evenness", evenness=evenness)

    async def set_tenant_rate(self, tenant: str, factor: float) -> None:
        """Let a tenant send `factor` times as often as usual; raise LoadError."""
        await self._command("tenant_rate", tenant=tenant, factor=factor)

    async def set_retries(self, tenant: str, *, on: bool) -> None:
        """Let a tenant's clients try a 429 again at once, up to three times; raise LoadError."""
        await self._command("retries", tenant=tenant, on=on)

    async def set_polling(self, tenant: str, rate: float) -> None:
        """Let a client of a tenant ask one endpoint over and over, `rate` times a second.

        It minds no answer; 0 ends it. Raise LoadError.
        """
        await self._command("polling", tenant=tenant, rate=rate)

    async def set_attack(
        self, sources: Sequence[str], *, tenant: str = "", rate: float = ATTACK_RATE
    ) -> None:
        """Guess keys from these addresses, of one tenant or of all; raise LoadError."""
        await self._command("attack", sources=list(sources), tenant=tenant, rate=rate)

    async def end_attack(self) -> None:
        """Let the attacker go; raise LoadError."""
        await self._command("attack", sources=[ATTACKER], tenant="", rate=0.0)

    async def use_key(self, tenant: str, file: Path | None) -> None:
        """Let a tenant's clients use the key in `file`, None: their usual one; raise LoadError.

        The file holds the key, or the JSON answer to issuing it.
        """
        path = None if file is None else str(file)
        await self._command("key", tenant=tenant, file=path)

    async def pause(self) -> None:
        """Send nothing more; requests in work go on. Raise LoadError."""
        await self._command("paused", paused=True)

    async def resume(self) -> None:
        """Send again; raise LoadError."""
        await self._command("paused", paused=False)

    async def drain(self, deadline_s: float = 4.0) -> bool:
        """Pause, and return whether all requests in work ended in time; raise LoadError."""
        answer = await self._command("drain", deadline_s, deadline_s=deadline_s)
        return bool(answer["drained"])

    async def reset(self) -> None:
        """Go back to the usual in everything, with all counts at zero; raise LoadError."""
        await self._command("reset")

    def status(self) -> dict[str, Any]:
        """Return settings and statistics, at most a quarter of a second old.

        The keys are those of `Generator.describe`: `rate, weight_factor, paused, outstanding,
        sent, ok, failed, by_outcome, by_origin, rps, failed_share, latency_ms, tenants, attacker`.
        """
        return self._status

    async def _command(
        self, name: str, patience_s: float = 0.0, /, **values: object
    ) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None or self.pid is None:
            raise LoadError("the load generator does not run")
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        command = {"number": number, "do": name, "values": values}
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
