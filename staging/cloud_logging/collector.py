"""Takes in what instances and the ingress log.

An instance connects to the unix stream socket, sends one JSON header line
`{"instance", "revision", "service", "location", "project"}`, and makes the socket its standard
output and error: every later line is a log line. haproxy sends its access log as datagrams to a
second unix socket, by `log PATH format raw local0`; `access_log` describes the keys. A header may
also name the `platform`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from socket import AF_UNIX
from typing import TYPE_CHECKING, Final, Protocol

from staging.cloud_logging.errors import InvalidEntryError
from staging.cloud_logging.lines import MAX_LINE_BYTES, Origin, make_entry

if TYPE_CHECKING:
    from pathlib import Path

    from staging.cloud_logging.access_log import AccessLog
    from staging.cloud_logging.store import LogStore

_LOGGER = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 256 * 1024
_MAX_HEADER_BYTES: Final = 64 * 1024
_HEADER_DEADLINE_S: Final = 10.0
# A burst of one instance must not keep the loop from the others.
_LINES_AT_ONCE: Final = 200


class LineSplitter:
    """Cuts a byte stream into lines, the longest of which are truncated."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        """Keep at most `limit` bytes of a line."""
        self._limit = limit
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> list[tuple[bytes, bool]]:
        """Return the lines that `chunk` completes, each with whether it was truncated."""
        lines: list[tuple[bytes, bool]] = []
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._add(part, lines)
            if not self._is_skipping:
                lines.append((bytes(self._rest), False))
            self._rest.clear()
            self._is_skipping = False
        self._add(rest, lines)
        return lines

    def finish(self) -> list[tuple[bytes, bool]]:
        """Return the line that the stream's end left without a line break, if any."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [(rest, False)] if rest else []

    def _add(self, part: bytes, lines: list[tuple[bytes, bool]]) -> None:
        if self._is_skipping:
            return
        self._rest += part
        if len(self._rest) > self._limit:
            lines.append((bytes(self._rest[: self._limit]), True))
            self._rest.clear()
            self._is_skipping = True


class Output(Protocol):
    """Takes one container's lines as they were written."""

    def add(self, line: bytes) -> None:
        """Take a line, without its line break."""

    def end(self) -> None:
        """Take note that no line comes any more."""


class Outputs(Protocol):
    """Keeps containers' lines as a node does, beside Cloud Logging."""

    def open(self, origin: Origin) -> Output:
        """Return where the lines of a container that has just started go."""


class Collector:
    """Servers on the two sockets; everything that arrives goes to the store."""

    def __init__(self, store: LogStore, outputs: Outputs | None = None) -> None:
        """Write into `store`, and every line as it stands into `outputs`."""
        self._store = store
        self._outputs = outputs
        self._is_open = False
        self._server: asyncio.Server | None = None
        self._receiver: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._paths: list[Path] = []
        self.refused = 0
        """How many headers, lines and datagrams were no log entries."""

    async def start(
        self,
        lines: Path,
        access_log: tuple[Path, AccessLog] | None = None,
    ) -> None:
        """Listen at the path `lines` and, for haproxy, at `access_log`'s. Raises OSError.

        Sockets that an earlier staging left there are replaced.
        """
        self._is_open = True
        self._claim(lines)
        self._server = await asyncio.start_unix_server(self._accept, lines, limit=_CHUNK_BYTES)
        _protect(lines)
        if access_log:
            path, maker = access_log
            self._claim(path)
            loop = asyncio.get_running_loop()
            self._receiver, _ = await loop.create_datagram_endpoint(
                lambda: _AccessLogReceiver(self, maker), local_addr=str(path), family=AF_UNIX
            )
            _protect(path)

    async def stop(self) -> None:
        """Close every connection and remove the sockets; safe to call twice."""
        self._is_open = False
        if self._server:
            self._server.close()
        if self._receiver:
            self._receiver.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()
        self._server = self._receiver = None

    def _claim(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._paths.append(path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:  # It was accepted while `stop` was at work.
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._read(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEADER_DEADLINE_S):
                header = await reader.readuntil(b"\n")
            await self._read_lines(reader, Origin.from_header(header[:_MAX_HEADER_BYTES]))
        except (InvalidEntryError, TimeoutError, asyncio.LimitOverrunError) as error:
            self.refuse(f"a connection without a usable header: {error}")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # An instance that was killed leaves in this way.
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _read_lines(self, reader: asyncio.StreamReader, origin: Origin) -> None:
        splitter = LineSplitter()
        output = self._outputs.open(origin) if self._outputs else None
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                lines = splitter.feed(chunk)
                for start in range(0, len(lines), _LINES_AT_ONCE):
                    self._keep(lines[start : start + _LINES_AT_ONCE], origin, output)
                    await asyncio.sleep(0)
            self._keep(splitter.finish(), origin, output)
        finally:
            if output:
                output.end()

    def _keep(self, lines: list[tuple[bytes, bool]], origin: Origin, output: Output | None) -> None:
        for line, truncated in lines:
            if output:
                output.add(line)
            if not line.strip():
                continue
            try:
                self._store.write(make_entry(line, origin, truncated=truncated))
            except InvalidEntryError as error:
                self.refuse(f"a line of {origin.instance}: {error}")

    def keep_request(self, datagram: bytes, maker: AccessLog) -> None:
        """Keep the request that one datagram of the ingress describes."""
        try:
            self._store.write(maker.make_entry(datagram))
        except InvalidEntryError as error:
            self.refuse(str(error))

    def refuse(self, why: str) -> None:
        """Count and report what is no log entry."""
        self.refused += 1
        _LOGGER.warning("log collector refused %s", why)


def _protect(path: Path) -> None:
    path.chmod(0o600)


class _AccessLogReceiver(asyncio.DatagramProtocol):
    def __init__(self, collector: Collector, maker: AccessLog) -> None:
        self._collector = collector
        self._maker = maker

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - the protocol's
        self._collector.keep_request(data, self._maker)
