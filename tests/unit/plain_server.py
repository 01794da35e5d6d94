"""A real HTTP server that gives prepared answers and keeps what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Reply:
    """One answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    location: str = ""


Answer = Reply | Callable[[dict[str, str], bytes], Reply]


@dataclass
class PlainServer:
    """Where it listens, and the paths that it was asked for."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve_replies(replies: Mapping[str, Answer]) -> Iterator[PlainServer]:
    """Serve `replies` by path until the context ends; a callable gets the query and the body."""
    served = PlainServer()

    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(replies, served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _make_handler(
    replies: Mapping[str, Answer], served: PlainServer
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers from `replies`."""

        def do_GET(self) -> None:
            """Answer by path."""
            parts = urlsplit(self.path)
            served.asked.append(parts.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            answer = replies.get(parts.path, Reply(b"{}", 404))
            if callable(answer):
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                answer = answer(query, body)
            self._send(answer)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def _send(self, answer: Reply) -> None:
            self.send_response(answer.status)
            self.send_header("content-type", answer.content_type)
            self.send_header("content-length", str(len(answer.body)))
            if answer.location:
                self.send_header("location", answer.location)
            self.end_headers()
            try:
                self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
