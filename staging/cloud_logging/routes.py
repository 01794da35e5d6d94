"""The REST face of Cloud Logging: entries.list and entries.write.

Source: https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from staging.cloud_logging.errors import InvalidEntryError, LoggingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from staging.cloud_logging.store import LogStore

MAX_BODY_BYTES: Final = 10 * 1024 * 1024

# What the clients write, and what it is called in the API's canonical JSON.
_LIST_FIELDS: Final[Mapping[str, type]] = {
    "resourceNames": list,
    "filter": str,
    "orderBy": str,
    "pageSize": int,
    "pageToken": str,
}
_WRITE_FIELDS: Final[Mapping[str, type]] = {
    "entries": list,
    "logName": str,
    "resource": dict,
    "labels": dict,
    "partialSuccess": bool,
    "dryRun": bool,
}
_MAX_INT32: Final = 2**31


def routes(store: LogStore) -> list[BaseRoute]:
    """Return the routes that answer for `store`; other verbs of entries are refused with 501."""
    return [
        Route("/v2/entries:list", _endpoint(store, _list), methods=["POST"]),
        Route("/v2/entries:write", _endpoint(store, _write), methods=["POST"]),
        Route("/v2/entries:{verb}", _refuse, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    ]


def _endpoint(
    store: LogStore, method: Callable[[LogStore, dict[str, Any]], bytes]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        fields = _LIST_FIELDS if method is _list else _WRITE_FIELDS
        try:
            body = await _read_body(request, fields)
            # Searching takes long enough to be felt by the load and the probes beside it.
            content = await asyncio.to_thread(method, store, body)
        except LoggingError as error:
            return JSONResponse(error.body(), error.code)
        return Response(content, media_type="application/json")

    return answer


async def _refuse(request: Request) -> Response:
    error = LoggingError(
        "UNIMPLEMENTED",
        f"not supported by embedded staging: {request.method} {request.url.path}",
    )
    return JSONResponse(error.body(), error.code)


async def _read_body(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise LoggingError("INVALID_ARGUMENT", "Request payload size exceeds the limit")
    try:
        body = json.loads(bytes(raw) or b"{}")
    except (ValueError, RecursionError):
        raise LoggingError("INVALID_ARGUMENT", "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise LoggingError("INVALID_ARGUMENT", "Invalid JSON payload received: not an object.")
    return dict(_check_field(name, value, fields) for name, value in body.items())


def _check_field(name: str, value: object, fields: Mapping[str, type]) -> tuple[str, object]:
    canonical = _to_camel(name)
    kind = fields.get(canonical)
    if kind is None:
        raise LoggingError(
            "INVALID_ARGUMENT",
            f'Invalid JSON payload received. Unknown name "{name[:100]}": Cannot find field.',
        )
    if value is None:
        return canonical, kind()
    is_valid = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not is_valid or (kind is int and abs(value) >= _MAX_INT32):  # type: ignore[arg-type]
        raise LoggingError("INVALID_ARGUMENT", f"Invalid value at '{canonical}'")
    return canonical, value


def _to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _list(store: LogStore, body: dict[str, Any]) -> bytes:
    names = body.get("resourceNames", [])
    if not all(isinstance(name, str) for name in names):
        raise LoggingError("INVALID_ARGUMENT", "Invalid value at 'resourceNames'")
    page = store.list(
        body.get("filter", ""),
        order_by=body.get("orderBy", ""),
        page_size=body.get("pageSize", 0),
        page_token=body.get("pageToken", ""),
        resource_names=names,
    )
    answer: dict[str, Any] = {}
    if page.entries:
        answer["entries"] = page.entries
    if page.next_page_token:
        answer["nextPageToken"] = page.next_page_token
    return json.dumps(answer, separators=(",", ":")).encode()


def _write(store: LogStore, body: dict[str, Any]) -> bytes:
    """Keep the entries, each with the request's defaults; without partialSuccess all or none."""
    checked: list[dict[str, Any]] = []
    refused: dict[int, str] = {}
    for index, given in enumerate(body.get("entries", [])):
        try:
            checked.append(store.check(_with_defaults(given, body)))
        except InvalidEntryError as error:
            refused[index] = str(error)
    is_written = not body.get("dryRun") and (body.get("partialSuccess") or not refused)
    if is_written:
        for entry in checked:
            store.write(entry)
    if refused:
        raise _partial_error(refused)
    return b"{}"


def _with_defaults(given: object, body: Mapping[str, Any]) -> object:
    if not isinstance(given, dict):
        return given
    entry = dict(given)
    for name in ("logName", "resource"):
        if name in body and not entry.get(name):
            entry[name] = body[name]
    labels, defaults = entry.get("labels"), body.get("labels")
    if defaults and (labels is None or isinstance(labels, dict)):
        entry["labels"] = {**defaults, **(labels or {})}
    return entry


def _partial_error(refused: Mapping[int, str]) -> LoggingError:
    index = min(refused)
    errors = {str(i): {"code": 3, "message": why} for i, why in refused.items()}
    detail = {
        "@type": "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors",
        "logEntryErrors": errors,
    }
    return LoggingError("INVALID_ARGUMENT", f"entries[{index}]: {refused[index]}", (detail,))
