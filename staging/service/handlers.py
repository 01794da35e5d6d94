"""The endpoints: health, metrics and the pipelines API."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from staging.service.database import RUN_COLUMNS, RUNS_TABLE
from staging.service.errors import DatabaseUnreachableError, InvalidRequestError, NotFoundError
from staging.service.metrics import CONTENT_TYPE
from staging.service.tenants import IDENTIFIER, Pipeline, list_pipelines

if TYPE_CHECKING:
    from starlette.requests import Request

    from staging.service.exchange import Exchange, Runtime

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
_LISTED_RUNS = 50
# Enough to find the newest run of each of a tenant's pipelines.
_NEWEST_RUNS = 10


class HealthHandlers:
    """What the platform and Prometheus ask; none of it costs capacity or counts as a request."""

    def __init__(self, runtime: Runtime) -> None:
        """Answer for one instance."""
        self._runtime = runtime

    async def answer_live(self, _request: Request) -> Response:
        """Return 200 while the process can answer at all."""
        return JSONResponse({"status": "alive"})

    async def answer_ready(self, _request: Request) -> Response:
        """Return 200, or 503 when BigQuery does not answer or the instance is shutting down."""
        checks = {"shutdown": not self._runtime.shutting_down, "bigquery": await self._is_reached()}
        ready = all(checks.values())
        body = {"status": "ready" if ready else "not_ready", "checks": checks}
        return JSONResponse(body, 200 if ready else 503)

    async def answer_health(self, _request: Request) -> Response:
        """Return who this instance is, and the median duration of its newest requests."""
        durations = self._runtime.journal.read()
        settings = self._runtime.settings
        return JSONResponse(
            {
                "status": "shutting_down" if self._runtime.shutting_down else "healthy",
                "service": settings.service,
                "revision": settings.revision,
                "instance": settings.instance,
                "pid": os.getpid(),
                "version": self._runtime.build.version,
                "uptime_s": round(time.time() - self._runtime.started_at, 1),
                "median_duration_ms": statistics.median(durations) if durations else None,
            }
        )

    async def answer_metrics(self, _request: Request) -> Response:
        """Return the metrics in Prometheus' text format."""
        body = self._runtime.metrics.render()
        return Response(body, headers={"content-type": CONTENT_TYPE})

    async def _is_reached(self) -> bool:
        try:
            await self._runtime.database.ensure_reachable()
        except DatabaseUnreachableError:
            return False
        return True


async def list_tenant_pipelines(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Return the tenant's pipelines, each with its last run's status if it ran lately."""
    described = _describe_all(runtime, exchange)
    rows = await runtime.database.list_rows(
        exchange.tenant_id, RUNS_TABLE, RUN_COLUMNS, _NEWEST_RUNS
    )
    # The newest come first.
    last = {row["pipeline_id"]: row["status"] for row in reversed(rows)}
    pipelines = [{**item, "last_status": last.get(name)} for name, item in described.items()]
    return {"tenant_id": exchange.tenant_id, "pipelines": pipelines}


async def list_executions(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Return the tenant's newest executions, of the query's `status` or of any.

    With `export` they are prepared for a later answer, or handed out: see `Exports`.
    """
    wanted = exchange.request.query_params.get("status")
    if wanted is not None and wanted not in STATUSES:
        raise InvalidRequestError(f"status must be one of {', '.join(STATUSES)}")
    export = exchange.request.query_params.get("export")
    if export is not None:
        return await runtime.exports.answer(exchange, export)
    _describe_all(runtime, exchange)
    rows = await runtime.database.list_rows(
        exchange.tenant_id, RUNS_TABLE, RUN_COLUMNS, _LISTED_RUNS
    )
    chosen = [row for row in rows if wanted is None or row["status"] == wanted.upper()]
    return {"executions": [runtime.build.render_run(row) for row in chosen]}


async def run_pipeline(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Execute a pipeline and return its run."""
    pipeline = _find_pipeline(runtime, exchange)
    row = await runtime.runs.execute(runtime, exchange, pipeline, attempt=0)
    return {"execution": runtime.build.render_run(row)}


async def retry_pipeline(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Execute a pipeline again and return the new run's status."""
    pipeline = _find_pipeline(runtime, exchange)
    runtime.metrics.retries.inc()
    row = await runtime.runs.execute(runtime, exchange, pipeline, attempt=1)
    return {"pipeline_id": pipeline.pipeline_id, "status": row["status"]}


def _describe_all(runtime: Runtime, exchange: Exchange) -> dict[str, dict[str, str | None]]:
    pipelines = list_pipelines(exchange.tenant_id)
    return {p.pipeline_id: runtime.build.describe_pipeline(p) for p in pipelines}


def _find_pipeline(runtime: Runtime, exchange: Exchange) -> Pipeline:
    wanted = str(exchange.request.path_params["pipeline_id"])
    if not IDENTIFIER.fullmatch(wanted):
        raise InvalidRequestError("a pipeline id has 3 to 128 letters, digits, '_' and '-'")
    described = _describe_all(runtime, exchange)
    if wanted not in described:
        raise NotFoundError("the tenant has no such pipeline")
    exchange.pipeline_id = wanted
    return next(p for p in list_pipelines(exchange.tenant_id) if p.pipeline_id == wanted)
