"""The service's BigQuery client: the REST methods that it needs, over one keep-alive pool."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from staging.service.errors import DatabaseUnreachableError
from staging.service.http_client import HttpClient, HttpResponse, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from staging.service.metrics import Metrics

RUNS_TABLE = "x_meta_pipeline_runs"
RUN_COLUMNS = (
    "pipeline_logging_id",
    "pipeline_id",
    "tenant_id",
    "status",
    "started_at",
    "completed_at",
    "error_message",
    "retry_attempt",
)
Row = dict[str, str | None]
_DEADLINE_S = 2.0
# A read may take long when much is read; the ingress gives a request up after 5 s.
_READ_DEADLINE_S = 10.0
_CHECK_HOLDS_S = 0.3


class Database:
    """Calls of BigQuery's REST API v2 for one project; deadlines are 2 s, and 10 s for reads."""

    def __init__(self, endpoint: str, project: str, metrics: Metrics) -> None:
        """Take the API's base address, `http://host:port`; raise ValueError when it is none."""
        parts = urlsplit(endpoint)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"BIGQUERY_ENDPOINT is no http://host:port address: {endpoint!r}")
        self._client = HttpClient(parts.hostname, parts.port)
        self._prefix = f"/bigquery/v2/projects/{project}"
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._failure: DatabaseUnreachableError | None = None

    async def ensure_reachable(self) -> None:
        """Return when BigQuery answered within the last 0.3 s; raise DatabaseUnreachableError.

        Concurrent callers share one `datasets.list`, so an outage costs one call at a time.
        """
        async with self._lock:
            if time.monotonic() - self._checked_at >= _CHECK_HOLDS_S:
                self._failure = await self._try_list()
                self._checked_at = time.monotonic()
        if self._failure is not None:
            raise DatabaseUnreachableError(str(self._failure))

    async def insert_rows(self, dataset: str, table: str, rows: Sequence[Row]) -> None:
        """Write rows with `tabledata.insertAll`; raise DatabaseUnreachableError."""
        body = {"kind": "bigquery#tableDataInsertAllRequest", "rows": [{"json": r} for r in rows]}
        answer = await self._call("POST", f"/datasets/{dataset}/tables/{table}/insertAll", body)
        refused = json.loads(answer.body).get("insertErrors")
        if refused:
            raise DatabaseUnreachableError(str(refused[0]))

    async def list_rows(
        self, dataset: str, table: str, columns: Sequence[str], limit: int
    ) -> list[Row]:
        """Return at most `limit` rows by `tabledata.list`; raise DatabaseUnreachableError."""
        query = f"maxResults={limit}&formatOptions.useInt64Timestamp=true"
        path = f"/datasets/{dataset}/tables/{table}/data?{query}"
        answer = await self._call("GET", path, deadline_s=_READ_DEADLINE_S)
        rows = json.loads(answer.body).get("rows", [])
        return [
            {
                name: _read_cell(name, cell["v"])
                for name, cell in zip(columns, row["f"], strict=True)
            }
            for row in rows
        ]

    async def execute(self, statement: str, parameters: Mapping[str, str]) -> int:
        """Run a DML statement with named STRING parameters by `jobs.query`.

        Return how many rows it changed; raise DatabaseUnreachableError.
        """
        body = {
            "query": statement,
            "useLegacySql": False,
            "parameterMode": "NAMED",
            "queryParameters": [
                {
                    "name": name,
                    "parameterType": {"type": "STRING"},
                    "parameterValue": {"value": value},
                }
                for name, value in parameters.items()
            ],
        }
        answer = await self._call("POST", "/queries", body)
        return int(json.loads(answer.body)["numDmlAffectedRows"])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def _try_list(self) -> DatabaseUnreachableError | None:
        try:
            await self._call("GET", "/datasets?maxResults=1")
        except DatabaseUnreachableError as error:
            return error
        return None

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        deadline_s: float = _DEADLINE_S,
    ) -> HttpResponse:
        self._metrics.queries.inc()
        started = time.monotonic()
        try:
            return await self._exchange(method, path, body, deadline_s)
        except DatabaseUnreachableError:
            self._metrics.query_errors.inc()
            raise
        finally:
            self._metrics.query_duration.observe(time.monotonic() - started)

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, object] | None, deadline_s: float
    ) -> HttpResponse:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if data else {}
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._client.request(method, self._prefix + path, headers, data)
        except TimeoutError:
            raise DatabaseUnreachableError(f"no answer within {deadline_s:g} s") from None
        except (OSError, ProtocolError) as error:
            raise DatabaseUnreachableError(str(error)) from None
        if answer.status >= 400:  # noqa: PLR2004 - HTTP's first error status
            raise DatabaseUnreachableError(_read_reason(answer))
        return answer


def _read_cell(name: str, value: str | None) -> str | None:
    """Return a cell as text; a time, which comes in microseconds, in RFC 3339."""
    if value is None or not name.endswith("_at"):
        return value
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value))
    return moment.isoformat().replace("+00:00", "Z")


def _read_reason(answer: HttpResponse) -> str:
    try:
        return f"{answer.status} {json.loads(answer.body)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} without a reason"
