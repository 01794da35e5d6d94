"""A stand-in for BigQuery until embedded staging has that API: a real HTTP server, a small store.

It answers three methods of BigQuery's REST API v2, which are all that the service calls today:
`datasets.list`, `tabledata.insertAll` and `tabledata.list`. Anything else is 501. Rows really are
kept (the newest 200 a table, in memory), datasets and tables that do not exist are 404, and when
it is closed the service's connections really are refused. It knows no SQL, jobs, types or access.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from staging.service.database import RUN_COLUMNS, RUNS_TABLE, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEPT_ROWS = 200
_MAX_BODY = 10 * 1024**2
_TABLE = re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)/(\w+)")
_DATASETS = re.compile(r"/bigquery/v2/projects/([^/]+)/datasets")
_REASONS = {400: "invalid", 404: "notFound", 501: "notImplemented"}


class _ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DatabaseServer:
    """One project's datasets, each with the table of pipeline runs, on a loopback port."""

    def __init__(self, project: str, datasets: Sequence[str]) -> None:
        """Create empty datasets; `start` listens."""
        self._project = project
        self._tables: dict[tuple[str, str], deque[Row]] = {
            (dataset, RUNS_TABLE): deque(maxlen=_KEPT_ROWS) for dataset in datasets
        }
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

    def reset(self) -> None:
        """Empty every table."""
        for rows in self._tables.values():
            rows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, length = _parse_head(head)
                body = await reader.readexactly(length)
                writer.write(_format_answer(*self._answer(method, target, body)))
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

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, object]]:
        try:
            return 200, self._dispatch(method, target, body)
        except _ApiError as error:
            reason = _REASONS[error.status]
            detail = {"message": str(error), "domain": "global", "reason": reason}
            status = {"code": error.status, "message": str(error), "errors": [detail]}
            return error.status, {"error": status}

    def _dispatch(self, method: str, target: str, body: bytes) -> dict[str, object]:
        parts = urlsplit(target)
        limit = int(parse_qs(parts.query).get("maxResults", ["100"])[0])
        if method == "GET" and (match := _DATASETS.fullmatch(parts.path)):
            self._check_project(match[1])
            return self._list_datasets(limit)
        match = _TABLE.fullmatch(parts.path)
        if match and (method, match[4]) in {("GET", "data"), ("POST", "insertAll")}:
            self._check_project(match[1])
            rows = self._find_table(match[2], match[3])
            return _list_rows(rows, limit) if method == "GET" else _insert_rows(rows, body)
        raise _ApiError(501, f"not supported by embedded staging: {method} {parts.path}")

    def _check_project(self, project: str) -> None:
        if project != self._project:
            raise _ApiError(404, f"Not found: Project {project}")

    def _find_table(self, dataset: str, table: str) -> deque[Row]:
        rows = self._tables.get((dataset, table))
        if rows is None:
            raise _ApiError(404, f"Not found: Table {self._project}:{dataset}.{table}")
        return rows

    def _list_datasets(self, limit: int) -> dict[str, object]:
        names = list(dict.fromkeys(dataset for dataset, _ in self._tables))[:limit]
        return {
            "kind": "bigquery#datasetList",
            "datasets": [
                {"datasetReference": {"projectId": self._project, "datasetId": name}}
                for name in names
            ],
        }


def _list_rows(rows: deque[Row], limit: int) -> dict[str, object]:
    # BigQuery gives no order here; the newest first keeps the service's answer useful.
    newest = [rows[-place] for place in range(1, min(limit, len(rows)) + 1)]
    return {
        "kind": "bigquery#tableDataList",
        "totalRows": str(len(rows)),
        "rows": [{"f": [{"v": row.get(column)} for column in RUN_COLUMNS]} for row in newest],
    }


def _insert_rows(rows: deque[Row], body: bytes) -> dict[str, object]:
    try:
        rows.extend(entry["json"] for entry in json.loads(body)["rows"])
    except (ValueError, KeyError, TypeError):
        raise _ApiError(400, "Invalid insertAll request") from None
    return {"kind": "bigquery#tableDataInsertAllResponse"}


def _parse_head(head: bytes) -> tuple[str, str, int]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    length = 0
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    if not 0 <= length <= _MAX_BODY:
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
