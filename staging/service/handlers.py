"""The endpoints: health, metrics and the pipelines API."""

from __future__ import annotations

import os
import random
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from staging.service.database import RUN_COLUMNS, RUNS_TABLE, Row
from staging.service.errors import DatabaseUnreachableError, InvalidRequestError, NotFoundError
from staging.service.logs import write_log
from staging.service.metadata import Record
from staging.service.metrics import CONTENT_TYPE
from staging.service.tenants import IDENTIFIER, Pipeline, list_pipelines

if TYPE_CHECKING:
    from starlette.requests import Request

    from staging.service.exchange import Exchange, Runtime

STATUSES = ("pending", "running", "completed", "failed", "cancelled")
# The share of executions whose data fails its own quality check on a normal day.
DATA_FAILURE_SHARE = 0.01
_LISTED_RUNS = 50


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
    """Return the tenant's pipelines."""
    await runtime.database.ensure_reachable()
    described = _describe_all(runtime, exchange)
    return {"tenant_id": exchange.tenant_id, "pipelines": list(described.values())}


async def list_executions(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Return the tenant's newest executions, of the query's `status` or of any."""
    wanted = exchange.request.query_params.get("status")
    if wanted is not None and wanted not in STATUSES:
        raise InvalidRequestError(f"status must be one of {', '.join(STATUSES)}")
    _describe_all(runtime, exchange)
    rows = await runtime.database.list_rows(
        exchange.tenant_id, RUNS_TABLE, RUN_COLUMNS, _LISTED_RUNS
    )
    chosen = [row for row in rows if wanted is None or row["status"] == wanted.upper()]
    return {"executions": [runtime.build.render_run(row) for row in chosen]}


async def run_pipeline(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Execute a pipeline and return its run."""
    pipeline = _find_pipeline(runtime, exchange)
    row = await _execute(runtime, exchange, pipeline, attempt=0)
    return {"execution": runtime.build.render_run(row)}


async def retry_pipeline(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Execute a pipeline again and return the new run's status."""
    pipeline = _find_pipeline(runtime, exchange)
    runtime.metrics.retries.inc()
    row = await _execute(runtime, exchange, pipeline, attempt=1)
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


async def _execute(runtime: Runtime, exchange: Exchange, pipeline: Pipeline, attempt: int) -> Row:
    started_at = time.time()
    await runtime.database.ensure_reachable()
    failed = random.random() < DATA_FAILURE_SHARE  # noqa: S311 - chance of the data, no secret
    error = "data quality: the source delivered no rows" if failed else None
    _note_execution(runtime, pipeline, failed=failed, seconds=time.time() - started_at)
    if failed:
        write_log(
            "ERROR",
            "pipeline failed",
            tenant_id=pipeline.tenant_id,
            pipeline_id=pipeline.pipeline_id,
            request_id=exchange.request_id,
            error_type="data_quality",
        )
    row: Row = {
        "pipeline_logging_id": os.urandom(16).hex(),
        "pipeline_id": pipeline.pipeline_id,
        "tenant_id": pipeline.tenant_id,
        "status": "FAILED" if failed else "COMPLETED",
        "started_at": _format_time(started_at),
        "completed_at": _format_time(time.time()),
        "error_message": error,
        "retry_attempt": str(attempt),
    }
    runtime.metadata.put(Record(pipeline.tenant_id, RUNS_TABLE, row))
    return row


def _note_execution(runtime: Runtime, pipeline: Pipeline, *, failed: bool, seconds: float) -> None:
    labels = (pipeline.tenant_id, pipeline.pipeline_id)
    runtime.metrics.executions.labels(*labels, "failed" if failed else "success").inc()
    runtime.metrics.execution_duration.observe(seconds)
    if not failed:
        runtime.metrics.last_success.labels(*labels).set_to_current_time()


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")
