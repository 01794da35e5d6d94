"""The service's ASGI application and the life of its background work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from staging.service import admin, handlers
from staging.service.access import Access
from staging.service.cache import ResponseCache
from staging.service.capacity import Capacity
from staging.service.database import Database
from staging.service.exchange import Runtime, admit_tenant, make_endpoint
from staging.service.exports import Exports
from staging.service.logs import write_log
from staging.service.metadata import MetadataLog
from staging.service.metrics import Metrics
from staging.service.runs import Runs
from staging.service.sources import Sources
from staging.service.work import with_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from staging.service.builds import Build
    from staging.service.settings import Settings

_PUBLISH_EVERY_S = 0.25
_FLUSH_AT_STOP_S = 2.0
API_ROUTES = (
    ("GET", "/api/v1/pipelines", handlers.list_tenant_pipelines),
    ("GET", "/api/v1/pipelines/executions", handlers.list_executions),
    ("POST", "/api/v1/pipelines/run/{pipeline_id}", handlers.run_pipeline),
    ("POST", "/api/v1/pipelines/{pipeline_id}/retry", handlers.retry_pipeline),
)
ADMIN_ROUTES = (
    ("GET", admin.KEYS_PATH, admin.list_keys, 200),
    ("POST", admin.KEYS_PATH, admin.issue_key, 201),
    ("DELETE", admin.KEY_PATH, admin.revoke_key, 204),
)


def create_runtime(settings: Settings, build: Build) -> Runtime:
    """Return an instance's shared state; raise OSError or ValueError on a bad admin key file."""
    metrics = Metrics(settings.instance, settings.revision)
    capacity = Capacity(settings.limits.cpu, settings.limits.concurrency)
    metrics.cpu_percent.set_function(lambda: 100 * capacity.measure_busy_share())
    metrics.memory_total.set(settings.limits.memory_bytes)
    database = Database(settings.bigquery_endpoint, settings.project, metrics)
    return Runtime(
        settings=settings,
        build=build,
        metrics=metrics,
        capacity=capacity,
        database=database,
        metadata=MetadataLog(settings, database, metrics),
        access=Access(settings, database, metrics.registry),
        journal=build.create_journal(settings.limits),
        cache=ResponseCache(settings.response_cache_ttl_s),
        sources=Sources(settings.sources_endpoint),
        runs=Runs(),
        exports=Exports(),
    )


def create_app(runtime: Runtime, publish_usage: Callable[[float], None]) -> Starlette:
    """Return the application; `publish_usage` gets the busy share four times a second."""
    routes = _list_routes(runtime)

    @asynccontextmanager
    async def run_background_work(_app: Starlette) -> AsyncIterator[None]:
        settings = runtime.settings
        write_log("INFO", f"instance {settings.instance} started: {runtime.build.version}")
        runtime.metadata.start()
        runtime.build.start_work(runtime.capacity)
        # Before the first request is taken: a new instance knows its callers.
        await runtime.access.keys.load()
        reader = asyncio.create_task(runtime.access.keys.reread_forever())
        publisher = asyncio.create_task(_publish_forever(runtime, publish_usage))
        keeper = asyncio.create_task(runtime.sources.keep_reference_forever())
        yield
        for task in (publisher, reader, keeper):
            task.cancel()
        await runtime.runs.stop(_FLUSH_AT_STOP_S)
        await runtime.metadata.stop(_FLUSH_AT_STOP_S)
        runtime.database.close()
        runtime.sources.close()
        write_log("INFO", f"instance {settings.instance} stopped")

    return Starlette(
        routes=routes,
        lifespan=run_background_work,
        exception_handlers={HTTPException: _answer_http_error},
    )


def _list_routes(runtime: Runtime) -> list[Route]:
    health = handlers.HealthHandlers(runtime)
    routes = [
        Route("/health/live", health.answer_live),
        Route("/health/ready", health.answer_ready),
        Route("/health", health.answer_health),
        Route("/metrics", health.answer_metrics),
    ]
    for method, path, handler in API_ROUTES:
        runtime.metrics.create_series(method, path)
        endpoint = make_endpoint(runtime, path, with_work(handler), admit_tenant)
        routes.append(Route(path, endpoint, methods=[method]))
    runtime.access.metrics.create_series(path for _, path, _ in API_ROUTES)
    for method, path, handler, status_code in ADMIN_ROUTES:
        endpoint = make_endpoint(runtime, path, handler, admin.admit_administrator, status_code)
        routes.append(Route(path, endpoint, methods=[method]))
    return routes


async def _publish_forever(runtime: Runtime, publish_usage: Callable[[float], None]) -> None:
    while True:
        publish_usage(runtime.capacity.measure_busy_share())
        await asyncio.sleep(_PUBLISH_EVERY_S)


async def _answer_http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error_type": "not_found", "detail": error.detail}, error.status_code)
