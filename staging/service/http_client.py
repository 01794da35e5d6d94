"""A small HTTP/1.1 client on asyncio streams: keep-alive pool, one address, no redirects."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

_IDLE_LIMIT = 128
# RFC 9112, 6.3: these answers end with their header.
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True)
class HttpResponse:
    """An answer, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class ProtocolError(Exception):
    """The peer sent something that is no HTTP/1.1 answer, or closed in the middle of one."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = field(default=False)

    def close(self) -> None:
        self.writer.close()


class HttpClient:
    """Requests to one host and port from one source address; the caller sets the deadline."""

    def __init__(self, host: str, port: int, source: str | None = None) -> None:
        """Connect on demand to `host:port`, from `source` if given."""
        self._host = host
        self._port = port
        self._source = (source, 0) if source else None
        self._idle: list[_Connection] = []

    async def request(
        self, method: str, target: str, headers: dict[str, str], body: bytes = b""
    ) -> HttpResponse:
        """Return the answer; raise OSError or ProtocolError.

        A kept connection that the peer closed meanwhile is replaced once, as RFC 9112 9.3.1 allows
        when no byte of an answer came.
        """
        lines = [f"{method} {target} HTTP/1.1", f"host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"content-length: {len(body)}", "", ""]
        message = "\r\n".join(lines).encode() + body
        while True:
            connection = await self._take_connection()
            try:
                return await self._exchange(connection, message)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                connection.close()
                if not connection.used:
                    raise ProtocolError("the peer closed the connection") from error
            except BaseException:
                connection.close()
                raise

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _take_connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.reader.at_eof():
                return connection
            connection.close()
        reader, writer = await asyncio.open_connection(
            self._host, self._port, local_addr=self._source
        )
        return _Connection(reader, writer)

    async def _exchange(self, connection: _Connection, message: bytes) -> HttpResponse:
        connection.writer.write(message)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        # From here on the peer has answered: a failure is no longer a stale connection.
        connection.used = False
        status, headers = _parse_head(head)
        body, reusable = await _read_body(connection.reader, status, headers)
        connection.used = True
        if reusable and len(self._idle) < _IDLE_LIMIT:
            self._idle.append(connection)
        else:
            connection.close()
        return HttpResponse(status, headers, body)


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if not first.startswith("HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():  # noqa: PLR2004 - version, status
        raise ProtocolError(f"not an HTTP answer: {first[:60]!r}")
    pairs = (line.partition(":") for line in rest if line)
    return int(parts[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(
    reader: asyncio.StreamReader, status: int, headers: dict[str, str]
) -> tuple[bytes, bool]:
    reusable = headers.get("connection", "").lower() != "close"
    if status in _BODILESS:
        return b"", reusable
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader), reusable
    with contextlib.suppress(KeyError, ValueError):
        return await reader.readexactly(int(headers["content-length"])), reusable
    return await reader.read(), False


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(chunks)
