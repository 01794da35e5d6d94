"""haproxy's runtime API: a change takes effect without a reload."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_DEADLINE_S = 4.0  # haproxy answers in a millisecond, unless the machine has none for it


class IngressError(Exception):
    """haproxy refused a command, or did not answer."""


class RuntimeApi:
    """Commands to a running haproxy through its admin socket.

    The commands are those of haproxy's management guide, section 9.3 ("Unix Socket commands").
    """

    def __init__(self, admin: Path) -> None:
        """Speak to the socket at `admin`."""
        self._admin = admin

    async def run(self, command: str) -> str:
        """Return what haproxy answers to `command`. Raise IngressError without an answer."""
        try:
            async with asyncio.timeout(_DEADLINE_S):
                reader, writer = await asyncio.open_unix_connection(self._admin)
                try:
                    writer.write(command.encode() + b"\n")
                    await writer.drain()
                    return (await reader.read()).decode(errors="replace").strip()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise IngressError(f"haproxy does not answer on {self._admin}: {error}") from error

    async def set_states(self, states: Iterable[tuple[str, str]]) -> None:
        """Set each (`pool/server`, `ready` or `maint`). Raise IngressError when refused."""
        commands = [f"set server {server} state {state}" for server, state in states]
        # haproxy reads at most one buffer (16 kB) of commands at once.
        for start in range(0, len(commands), 100):
            answer = await self.run(";".join(commands[start : start + 100]))
            if answer:
                raise IngressError(f"haproxy: {answer}")

    async def replace_map(self, path: Path, entries: Mapping[str, str]) -> None:
        """Replace a map's content in one step: a request sees the old one or the new one."""
        answer = await self.run(f"prepare map {path}")
        version = answer.rpartition(" ")[2]
        if not version.isdigit():
            raise IngressError(f"haproxy: {answer}")
        lines = "\n".join(f"{key} {value}" for key, value in entries.items())
        if lines:
            answer = await self.run(f"add map @{version} {path} <<\n{lines}\n")
            if answer:
                raise IngressError(f"haproxy: {answer}")
        answer = await self.run(f"commit map @{version} {path}")
        if answer:
            raise IngressError(f"haproxy: {answer}")
