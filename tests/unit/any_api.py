"""A real server that takes any request, answers it plausibly and keeps it, and a kubectl alike."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.unit.kubernetes_json import raw_deployment
from tests.unit.service_json import GOOD, SERVICE, make_template, to_latest

_PROJECT = "projects/convergence-local/locations/us-central1"
_READY = [{"type": "Ready", "state": "CONDITION_SUCCEEDED"}]
_NAME = f"{_PROJECT}/services/{SERVICE}"
_REVISION = {"name": f"{_NAME}/revisions/{GOOD}", "conditions": _READY} | make_template()
_SERVICE = {
    "name": _NAME,
    "etag": '"7"',
    "generation": "7",
    "template": make_template(),
    "traffic": [to_latest()],
    "trafficStatuses": [to_latest() | {"revision": GOOD}],
    "latestCreatedRevision": f"{_NAME}/revisions/{GOOD}",
    "latestReadyRevision": f"{_NAME}/revisions/{GOOD}",
    "conditions": _READY,
    "terminalCondition": _READY[0],
}
_VECTOR = {"status": "success", "data": {"resultType": "vector", "result": []}}
_ANSWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/query", _VECTOR),
    ("/api/v1/alerts", {"status": "success", "data": {"alerts": []}}),
    (f"/services/{SERVICE}", _SERVICE),
    ("/revisions", {"revisions": [_REVISION]}),
    ("/queries", {"jobComplete": True, "schema": {"fields": []}, "rows": []}),
    ("/securityPolicies", {"items": [{"name": "convergence-security-policy", "rules": []}]}),
    ("/api-keys", {"api_keys": []}),
    ("/faults", {"faults": {}}),
)
_KUBECTL = """\
#!/bin/sh
for word; do printf '%s\\0' "$word"; done >> "{record}"
printf '\\0' >> "{record}"
case "$*" in
    *" get deployment "*) cat "{folder}/deployment.json" ;;
    *) echo '{{"items": []}}' ;;
esac
"""


@dataclass(frozen=True)
class Asked:
    """A request, every text of it decoded."""

    segments: tuple[str, ...]
    query: dict[str, str]
    body: Any

    def texts(self) -> list[str]:
        """Return every text that a client can have put a value into."""
        return [*self.segments, *self.query.values(), *_leaves(self.body)]


@dataclass
class AnyApi:
    """Where it listens, and what it was asked; kubectl's lines lie in the file `record`."""

    url: str
    record: Path
    asked: list[Asked] = field(default_factory=list)

    def kubectl_lines(self) -> list[list[str]]:
        """Return the words of every kubectl that was run."""
        if not self.record.exists():
            return []
        lines = self.record.read_text(encoding="utf-8", errors="surrogateescape").split("\0\0")
        return [line.split("\0") for line in lines if line]

    def forget(self) -> None:
        """Forget what was asked."""
        self.asked.clear()
        self.record.unlink(missing_ok=True)


@contextmanager
def serve_any(folder: Path) -> Iterator[AnyApi]:
    """Serve until the context ends; `folder` gets the program kubectl."""
    record = folder / "kubectl.record"
    program = folder / "kubectl"
    program.write_text(_KUBECTL.format(record=record, folder=folder))
    deployment = raw_deployment() | {"apiVersion": "apps/v1", "kind": "Deployment"}
    deployment["metadata"] |= {"name": SERVICE, "resourceVersion": "7"}
    (folder / "deployment.json").write_text(json.dumps(deployment))
    program.chmod(0o700)
    api = AnyApi("", record)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(api))
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _make_handler(api: AnyApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers for `api`."""

        def do_GET(self) -> None:
            """Keep the request and answer it."""
            parts = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("content-length") or 0))
            segments = tuple(unquote(one) for one in parts.path.split("/"))
            body = json.loads(sent) if sent else None
            api.asked.append(Asked(segments, dict(parse_qsl(parts.query)), body))
            found = next((answer for end, answer in _ANSWERS if parts.path.endswith(end)), {})
            told = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _leaves(content: Any) -> list[str]:  # noqa: ANN401 - JSON
    if isinstance(content, dict):
        return [text for key, value in content.items() for text in (str(key), *_leaves(value))]
    if isinstance(content, list):
        return [text for value in content for text in _leaves(value)]
    return [content] if isinstance(content, str) else []
