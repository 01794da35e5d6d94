"""Serves a built site on this machine for as long as an embedded staging runs."""

from __future__ import annotations

import functools
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOOK_EVERY_S = 1.0


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Write no access log: nobody reads it."""


def serve_while_staging_runs(site: Path, staging: Path) -> None:
    """Serve `site` on a free loopback port, whose address is printed, until `staging` ends."""
    handler = functools.partial(QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        ended = threading.Event()
        while (staging / "endpoints.json").exists():
            ended.wait(LOOK_EVERY_S)
        server.shutdown()


if __name__ == "__main__":
    serve_while_staging_runs(Path(sys.argv[1]), Path(sys.argv[2]))
