"""Runs of pipelines: fetch from the tenant's source, work, write down what became of it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from staging.service.database import RUNS_TABLE, Row
from staging.service.errors import ServiceError
from staging.service.logs import write_log, write_traceback
from staging.service.metadata import Record

if TYPE_CHECKING:
    from staging.service.exchange import Exchange, Runtime
    from staging.service.tenants import Pipeline

# The share of executions whose data fails its own quality check on a normal day.
DATA_FAILURE_SHARE = 0.01
# A run may use this share of the request's time; what is left of it is for the answer.
_TIMEOUT_SHARE = 0.8
_ACCEPTED = 202


@dataclass(frozen=True)
class Run:
    """One execution of a pipeline, from its start on."""

    pipeline: Pipeline
    attempt: int
    request_id: str
    run_id: str = field(default_factory=lambda: os.urandom(16).hex())
    started_at: float = field(default_factory=time.time)

    def make_row(self, status: str, error: str | None = None) -> Row:
        """Return the run as its table has it; a run that goes on has no end."""
        completed = None if status == "RUNNING" else _format_time(time.time())
        return {
            "pipeline_logging_id": self.run_id,
            "pipeline_id": self.pipeline.pipeline_id,
            "tenant_id": self.pipeline.tenant_id,
            "status": status,
            "started_at": _format_time(self.started_at),
            "completed_at": completed,
            "error_message": error,
            "retry_attempt": str(self.attempt),
        }


class Runs:
    """The runs that go on although their requests were answered."""

    def __init__(self) -> None:
        """Start without any."""
        self._tasks: set[asyncio.Task[Row]] = set()

    async def execute(
        self, runtime: Runtime, exchange: Exchange, pipeline: Pipeline, attempt: int
    ) -> Row:
        """Execute a pipeline and return its run's row.

        A run that takes longer than 80 % of REQUEST_TIMEOUT_SECONDS goes on in the background:
        its row is RUNNING then and the answer's status 202. Raise ServiceError when it fails.
        """
        await runtime.database.ensure_reachable()
        run = Run(pipeline, attempt, exchange.request_id)
        task = asyncio.create_task(_execute(runtime, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        patience_s = _TIMEOUT_SHARE * runtime.settings.request_timeout_s
        done, _ = await asyncio.wait({task}, timeout=patience_s)
        if done:
            return task.result()
        task.add_done_callback(_report_failure)
        exchange.status_code = _ACCEPTED
        return run.make_row("RUNNING")

    async def stop(self, grace_s: float) -> None:
        """Return once every run has ended; those that take longer than `grace_s` are cut."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=grace_s)
            for task in left:
                task.cancel()


async def _execute(runtime: Runtime, run: Run) -> Row:
    pipeline = run.pipeline
    try:
        await runtime.sources.fetch_rows(pipeline.tenant_id)
    except ServiceError:
        _note(runtime, run, failed=True)
        raise
    failed = random.random() < DATA_FAILURE_SHARE  # noqa: S311 - chance of the data, no secret
    error = "data quality: the source delivered no rows" if failed else None
    _note(runtime, run, failed=failed)
    if failed:
        write_log(
            "ERROR",
            "pipeline failed",
            tenant_id=pipeline.tenant_id,
            pipeline_id=pipeline.pipeline_id,
            request_id=run.request_id,
            error_type="data_quality",
        )
    row = run.make_row("FAILED" if failed else "COMPLETED", error)
    runtime.metadata.put(Record(pipeline.tenant_id, RUNS_TABLE, row))
    return row


def _note(runtime: Runtime, run: Run, *, failed: bool) -> None:
    labels = (run.pipeline.tenant_id, run.pipeline.pipeline_id)
    runtime.metrics.executions.labels(*labels, "failed" if failed else "success").inc()
    runtime.metrics.execution_duration.observe(time.time() - run.started_at)
    if not failed:
        runtime.metrics.last_success.labels(*labels).set_to_current_time()


def _report_failure(task: asyncio.Task[Row]) -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, ServiceError):
        write_log("ERROR", f"pipeline failed after its answer: {error.error_type}")
    elif error is not None:
        write_traceback(error)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")
