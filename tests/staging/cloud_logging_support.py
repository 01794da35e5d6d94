"""A log store behind a real HTTP server and real sockets, for tests over the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import requests
from starlette.applications import Starlette

from staging.cloud_logging.access_log import AccessLog
from staging.cloud_logging.collector import Collector
from staging.cloud_logging.lines import Origin
from staging.cloud_logging.routes import routes
from staging.cloud_logging.store import LogStore
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

PROJECT = "convergence-local"
HEADER = {
    "instance": "instance-7",
    "revision": "convergence-data-pipeline-00002-abc",
    "service": "convergence-data-pipeline",
    "location": "us-central1",
    "project": PROJECT,
}
RESOURCE = {
    "type": "cloud_run_revision",
    "labels": {
        "project_id": PROJECT,
        "service_name": HEADER["service"],
        "revision_name": HEADER["revision"],
        "location": HEADER["location"],
        "configuration_name": HEADER["service"],
    },
}
DEADLINE_S = 20.0


class LoggingServer:
    """The store, its routes on a loopback port and its collector, in an event loop of their own."""

    def __init__(self, directory: Path, **settings: Any) -> None:  # noqa: ANN401 - LogStore's own
        """Keep the sockets in `directory`; `settings` go to the store."""
        self.store = LogStore(PROJECT, "123456789012", **settings)
        self.collector = Collector(self.store)
        self.lines = directory / "logs.sock"
        self.access_log = directory / "access.sock"
        self.port = find_free_port()
        self._server = LocalServer(Starlette(routes=routes(self.store)), self.port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        """Return the address that the API is served at."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen on the port and both sockets."""
        self._thread.start()
        self._run(self._server.start())
        maker = AccessLog(Origin.from_header(_json(HEADER)), "https://api.cloudact.io")
        self._run(self.collector.start(self.lines, (self.access_log, maker)))

    def stop(self) -> None:
        """Close everything and end the loop's thread."""
        self._run(self.collector.stop())
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def post(self, verb: str, body: object) -> requests.Response:
        """Return the answer to `POST /v2/entries:VERB`; bytes are sent as they are."""
        data = body if isinstance(body, bytes) else _json(body)
        return requests.post(
            f"{self.url}/v2/entries:{verb}",
            data=data,
            headers={"content-type": "application/json"},
            timeout=DEADLINE_S,
        )

    def read(self, filter_: str = "", **fields: object) -> dict[str, Any]:
        """Return the answer of entries.list, which must be a good one."""
        answer = self.post(
            "list", {"resourceNames": [f"projects/{PROJECT}"], "filter": filter_, **fields}
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def _run(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)


@contextlib.contextmanager
def serve_logging(directory: Path, **settings: Any) -> Iterator[LoggingServer]:  # noqa: ANN401
    """Yield a running LoggingServer; `settings` go to its store."""
    server = LoggingServer(directory, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def text_entry(text: str, **fields: object) -> dict[str, Any]:
    """Return a LogEntry with a textPayload."""
    log = f"projects/{PROJECT}/logs/run.googleapis.com%2Fstdout"
    return {"logName": log, "resource": RESOURCE, "textPayload": text, **fields}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def find_free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
