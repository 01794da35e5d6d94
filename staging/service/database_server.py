"""BigQuery's API on a port of its own, for the service: a real HTTP server over the one store.

Staging's door serves the same API to everybody else. When this port is closed, the service's
connections really are refused.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from staging.bigquery.api import MAX_BODY_BYTES, BigQuery
from staging.bigquery.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCANNED = "/tables/x_meta_pipeline_runs/data"


class DatabaseServer:
    """One project's BigQuery on a loopback port, with a dataset for each tenant and `metadata`."""

    def __init__(self, project: str, tenants: Sequence[str]) -> None:
        """Create empty tables; `start` listens."""
        self.store = Store(project, tenants)
        self.bigquery = BigQuery(self.store)
        self._read_delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, on a free port if `port` is 0, and return the base address, `http://host:port`."""
        self._server = await asyncio.start_server(self._serve, host, port)
        address = self._server.sockets[0].getsockname()
        return f"http://{address[0]}:{address[1]}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    def set_read_delay(self, seconds: float) -> None:
        """Have every read of a tenant's runs take so long from now on, as a scan of them all does.

        The small tables of `metadata` stay as quick as they are.
        """
        self._read_delay_s = seconds

    def reset(self) -> None:
        """Empty every table, and be quick."""
        self._read_delay_s = 0.0
        self.bigquery.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, length = _parse_head(head)
                body = await reader.readexactly(length)
                parts = urlsplit(target)
                parameters = dict(parse_qsl(parts.query))
                if method == "GET" and parts.path.endswith(_SCANNED):
                    await asyncio.sleep(self._read_delay_s)
                answer = self.bigquery.answer(method, parts.path, parameters, body)
                writer.write(_format_answer(*answer))
                await writer.drain()
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
        ):
            # The client left, or sent what is no HTTP: either way this connection is over.
            return
        finally:
            self._writers.discard(writer)
            writer.close()


def _parse_head(head: bytes) -> tuple[str, str, int]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError("the body is too long")
    return method, target, length


def _format_answer(status: int, content: dict[str, object]) -> bytes:
    body = json.dumps(content).encode()
    lines = (
        f"HTTP/1.1 {status} -",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
