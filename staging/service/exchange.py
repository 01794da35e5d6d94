"""One API request from its first byte to its metrics and log line."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from staging.service.errors import (
    AuthenticationError,
    InvalidRequestError,
    ServiceError,
)
from staging.service.logs import write_log, write_traceback
from staging.service.tenants import UNKNOWN_TENANT
from staging.service.work import USUAL_ROWS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from staging.service.access import Access
    from staging.service.builds import Build, Journal
    from staging.service.cache import ResponseCache
    from staging.service.capacity import Capacity
    from staging.service.database import Database
    from staging.service.exports import Exports
    from staging.service.metadata import MetadataLog
    from staging.service.metrics import Metrics
    from staging.service.runs import Runs
    from staging.service.settings import Settings
    from staging.service.sources import Sources

MAX_ROWS = 1_000_000
# A request that takes longer leaves a line in the log: the threshold of HighLatencyP95.
SLOW_MS = 1000.0


@dataclass
class Runtime:
    """What an instance's handlers share."""

    settings: Settings
    build: Build
    metrics: Metrics
    capacity: Capacity
    database: Database
    metadata: MetadataLog
    access: Access
    journal: Journal
    cache: ResponseCache
    sources: Sources
    runs: Runs
    exports: Exports
    started_at: float = field(default_factory=time.time)
    shutting_down: bool = False


@dataclass
class Exchange:
    """A request on its way, with what is known of it so far."""

    request: Request
    path: str
    request_id: str
    source_ip: str
    started: float
    tenant_id: str = UNKNOWN_TENANT
    pipeline_id: str | None = None
    status_code: int | None = None
    """What a handler answers with, if not with its route's own status."""
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer bears besides the usual headers."""

    async def read_rows(self) -> int:
        """Return how many rows the request is over: query or JSON field `rows`, 1000 if absent.

        Raises InvalidRequestError when it is no number from 1 to 1,000,000 or the body is no JSON.
        """
        value: object = self.request.query_params.get("rows", USUAL_ROWS)
        body = await self.request.body() if self.request.method == "POST" else b""
        try:
            if body:
                value = json.loads(body).get("rows", value)
            rows = int(str(value))
        except (ValueError, AttributeError):
            raise InvalidRequestError("the body is no JSON object with a number of rows") from None
        if not 1 <= rows <= MAX_ROWS:
            raise InvalidRequestError(f"rows must be from 1 to {MAX_ROWS}")
        return rows


def make_endpoint(
    runtime: Runtime,
    path: str,
    handler: Callable[[Runtime, Exchange], Awaitable[dict[str, object]]],
    admit: Callable[[Runtime, Exchange], Awaitable[None]],
    status_code: int = 200,
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a route template: who may, handler, metrics and log line."""

    async def endpoint(request: Request) -> Response:
        exchange = _begin(request, path)
        try:
            with runtime.capacity.hold_request():
                await admit(runtime, exchange)
                content = await handler(runtime, exchange)
            response = _answer_well(content, exchange.status_code or status_code)
        except ServiceError as error:
            response = _answer_error(runtime, exchange, error)
        except Exception as error:  # noqa: BLE001 - as any framework, a bug costs its request alone
            response = _answer_unhandled(exchange, error)
        _finish(runtime, exchange, response)
        return response

    return endpoint


def _answer_well(content: dict[str, object], status_code: int) -> Response:
    if status_code == 204:  # noqa: PLR2004 - HTTP's answer without content
        return Response(status_code=status_code)
    return JSONResponse(content, status_code)


def _begin(request: Request, path: str) -> Exchange:
    client = request.client.host if request.client else "unknown"
    # The ingress appends the address that it saw; what stands before it the client may have forged.
    forwarded = request.headers.get("x-forwarded-for", client).rpartition(",")[2].strip()
    request_id = request.headers.get("x-request-id", "")[:64] or os.urandom(8).hex()
    return Exchange(request, path, request_id, forwarded or client, time.monotonic())


async def admit_tenant(runtime: Runtime, exchange: Exchange) -> None:
    """Let a tenant's request pass once key, block and limits allow it."""
    key = exchange.request.headers.get("x-api-key", "")
    exchange.tenant_id = runtime.access.authenticate(key, exchange.source_ip)
    exchange.headers = runtime.access.admit(exchange.tenant_id, exchange.path)


def _answer_error(runtime: Runtime, exchange: Exchange, error: ServiceError) -> Response:
    if isinstance(error, AuthenticationError):
        exchange.tenant_id = error.tenant_id
        runtime.metrics.auth_failures.labels(error.tenant_id).inc()
    message = error.log_message
    if error.log_names_type:
        message = f"{message}: {error.error_type}"
    exchange.headers |= error.headers()
    return _answer(
        exchange, error.status_code, error.error_type, str(error), message, **error.log_fields()
    )


def _answer_unhandled(exchange: Exchange, error: Exception) -> Response:
    write_traceback(error)
    message = "the service failed to handle the request"
    name = type(error).__name__
    return _answer(exchange, 500, name, message, f"unhandled exception: {name}")


def _answer(
    exchange: Exchange, status: int, error_type: str, detail: str, message: str, **fields: str
) -> Response:
    write_log(
        "ERROR" if status >= 500 else "WARNING",  # noqa: PLR2004 - HTTP's first server error
        message,
        tenant_id=exchange.tenant_id,
        pipeline_id=exchange.pipeline_id,
        request_id=exchange.request_id,
        path=exchange.path,
        status_code=status,
        duration_ms=_measure_ms(exchange),
        source_ip=exchange.source_ip,
        error_type=error_type,
        **fields,
    )
    return JSONResponse({"error_type": error_type, "detail": detail}, status)


def _finish(runtime: Runtime, exchange: Exchange, response: Response) -> None:
    response.headers["x-request-id"] = exchange.request_id
    response.headers.update(exchange.headers)
    duration_ms = _measure_ms(exchange)
    runtime.metrics.requests.inc(
        exchange.tenant_id, exchange.request.method, exchange.path, str(response.status_code)
    )
    runtime.metrics.request_duration.observe(exchange.path, duration_ms / 1000)
    runtime.metrics.tenant_duration.observe(exchange.tenant_id, duration_ms / 1000)
    runtime.journal.note(duration_ms)
    if duration_ms > SLOW_MS:
        write_log(
            "WARNING",
            "slow request",
            tenant_id=exchange.tenant_id,
            pipeline_id=exchange.pipeline_id,
            request_id=exchange.request_id,
            path=exchange.path,
            status_code=response.status_code,
            duration_ms=duration_ms,
        )


def _measure_ms(exchange: Exchange) -> float:
    return round((time.monotonic() - exchange.started) * 1000, 1)
