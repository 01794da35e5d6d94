"""A real HTTP server that answers as no API should, alone or in front of a good one."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

BEHAVIOURS = ("503", "429", "html", "nothing", "hang-up", "not-json", "silent", "trickle")
# `trickle` sends a byte at a time, each in time; it would end after as long as `silent`, which
# is a server that would answer after 30 s; nobody waits that long for it here.
SILENCE_S = 30.0
_TRICKLE_S = 0.1
_JSON = "application/json"
_ANSWERS = {
    "503": (503, _JSON, b'{"error":{"code":503,"status":"UNAVAILABLE","message":"try later"}}'),
    "429": (429, _JSON, b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota"}}'),
    "html": (200, "text/html", b"<!doctype html><title>Sign in</title><script>1</script>"),
    "nothing": (200, _JSON, b""),
    "not-json": (200, _JSON, b'["\x1b[31m", '),
}


class HostileApi:
    """Where it listens, how it behaves, and what it was asked.

    Attributes:
        behaviour: One of BEHAVIOURS, or `lost`: the request is passed on, its answer is not.
        upstream: A good API that requests other than PATCH are passed on to, or "".
        writes: How many requests wanted to change something.
    """

    def __init__(self, behaviour: str, upstream: str = "") -> None:
        """Begin to listen on a free port of the loopback interface."""
        self.behaviour = behaviour
        self.upstream = upstream
        self.writes = 0
        self.stopping = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            """Answers for `api`."""

            def do_GET(self) -> None:
                """Answer a read."""
                api.answer(self)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing: pytest's output is not the place."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as the behaviour says."""
        writes = request.command not in {"GET", "POST"}
        self.writes += writes
        if self.upstream and not writes:
            self._pass_on(request, answer=True)
        elif self.behaviour == "lost":
            self._pass_on(request, answer=False)
        elif self.behaviour == "silent":
            self.stopping.wait(SILENCE_S)
        elif self.behaviour == "trickle":
            self._trickle(request)
        elif self.behaviour in _ANSWERS:
            status, kind, body = _ANSWERS[self.behaviour]
            self._send(request, status, kind, body)
        request.close_connection = True

    def _trickle(self, request: BaseHTTPRequestHandler) -> None:
        body = b" " * round(SILENCE_S / _TRICKLE_S)
        request.send_response(200)
        request.send_header("content-type", _JSON)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        for position in range(len(body)):
            if self.stopping.wait(_TRICKLE_S):
                return
            try:
                request.wfile.write(body[position : position + 1])
            except OSError:
                return

    def _pass_on(self, request: BaseHTTPRequestHandler, *, answer: bool) -> None:
        length = int(request.headers.get("content-length") or 0)
        upstream = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=10)
        headers = {"content-type": request.headers.get("content-type") or _JSON}
        upstream.request(request.command, request.path, request.rfile.read(length), headers)
        got = upstream.getresponse()
        body = got.read()
        if answer:
            self._send(request, got.status, got.headers.get("content-type") or _JSON, body)
        upstream.close()

    def _send(self, request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        request.send_response(status)
        request.send_header("content-type", kind)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def serve(behaviour: str, upstream: str = "") -> Iterator[HostileApi]:
    """Serve until the context ends."""
    api = HostileApi(behaviour, upstream)
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api
    finally:
        api.stopping.set()
        api.server.shutdown()
        thread.join()
        api.server.server_close()


def write_endpoints(folder: Path, pid: int, api: str, **more: object) -> None:
    """Write the file by which the target `local` finds its addresses."""
    closed = "http://127.0.0.1:9"
    content = {
        "format": 1,
        "pid": pid,
        "time_scale": 60.0,
        "project": "convergence-local",
        "project_number": "123456789012",
        "region": "us-central1",
        "service": "convergence-data-pipeline",
        "api": api,
        "api_key_file": str(folder / "api-keys.json"),
        **dict.fromkeys(("service_url", "prometheus", "alertmanager", "control"), closed),
        **more,
    }
    folder.mkdir(exist_ok=True)
    (folder / "endpoints.json").write_text(json.dumps(content))
