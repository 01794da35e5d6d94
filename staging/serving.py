"""An ASGI app on a loopback port, inside the event loop that runs everything else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

_STOP_S = 1.0


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the supervisor, which stops more than this server.
        yield


class LocalServer:
    """Serves one app on 127.0.0.1."""

    def __init__(self, app: ASGIApp, port: int, *, websockets: bool = False) -> None:
        """Describe the server; `start` binds the port, a free one if it is 0."""
        self.port = port
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                # The other parser hands a proxy's absolute address on as the path.
                http="httptools",
                ws="wsproto" if websockets else "none",
                lifespan="off",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=1,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and listen. Raise OSError when the port is taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        # Connections queue from here on, before the server's own task has run once.
        listener.listen(128)
        self._task = asyncio.create_task(
            self._server.serve(sockets=[listener]), name=f"http-{self.port}"
        )

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._task is None:
            return
        self._server.should_exit = True
        try:
            async with asyncio.timeout(_STOP_S):
                await asyncio.shield(self._task)
        except TimeoutError:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
