"""Get, list and watch, as plain objects or as tables."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from staging.kubernetes.errors import bad_request
from staging.kubernetes.kinds import NAMESPACE, Kind
from staging.kubernetes.selectors import field_matcher, label_matcher
from staging.kubernetes.table import make_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from starlette.requests import Request

    from staging.kubernetes.store import Change, Object, Store, Watch

_INITIAL_END = {"k8s.io/initial-events-end": "true"}
# The API server ends a watch by itself after half an hour to an hour.
_LONGEST_WATCH_S = 1800.0
_TRUE = frozenset({"true", "1", "True"})


def wants_table(request: Request) -> bool:
    """Return whether the client asks for rows for people."""
    accepted = request.headers.get("accept", "")
    return "as=Table" in accepted


def answer_object(request: Request, kind: Kind, item: Object) -> Response:
    """Return one object as the client wants it."""
    if wants_table(request) and kind.kind != "PodMetrics":
        version = item["metadata"].get("resourceVersion", "")
        return JSONResponse(make_table(kind, [item], version, _include(request.query_params)))
    return JSONResponse(item)


def make_list(kind: Kind, items: list[Object], version: int) -> dict[str, Any]:
    """Return the `List` of objects."""
    return {
        "kind": f"{kind.kind}List",
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version)},
        "items": items,
    }


def make_matcher(kind: Kind, request: Request) -> Callable[[Object], bool]:
    """Return whether an object is among those that were asked for. Raise StatusError."""
    labels = label_matcher(request.query_params.get("labelSelector", ""))
    fields = field_matcher(request.query_params.get("fieldSelector", ""), kind.kind)
    namespace = request.path_params.get("namespace")
    here = not kind.namespaced or namespace in (None, NAMESPACE)
    return lambda item: here and labels(item) and fields(item)


def answer_list(request: Request, store: Store, kind: Kind) -> Response:
    """Return a list, or a stream of what changes. Raise StatusError."""
    matches = make_matcher(kind, request)
    if request.query_params.get("watch") in _TRUE:
        return answer_watch(request, store, kind, matches)
    if request.query_params.get("continue"):
        raise bad_request("continue: lists come whole here, there is nothing to continue")
    items = [item for item in store.list(kind) if matches(item)]
    if wants_table(request):
        include = _include(request.query_params)
        return JSONResponse(make_table(kind, items, str(store.version), include))
    return JSONResponse(make_list(kind, items, store.version))


def _include(parameters: Mapping[str, str]) -> str:
    return parameters.get("includeObject", "Metadata")


def answer_watch(
    request: Request, store: Store, kind: Kind, matches: Callable[[Object], bool]
) -> Response:
    """Return a stream of watch events. Raise StatusError Expired, BadRequest."""
    parameters = request.query_params
    text = parameters.get("resourceVersion", "")
    if not text.isdecimal() and text:
        raise bad_request(f'resourceVersion: Invalid value: "{text}": must be an unsigned integer')
    initial = parameters.get("sendInitialEvents") in _TRUE
    fresh = text in {"", "0"} or initial
    try:
        limit = float(parameters.get("timeoutSeconds", _LONGEST_WATCH_S))
    except ValueError:
        raise bad_request("timeoutSeconds: must be a number") from None
    render = _table_renderer(request, kind) if wants_table(request) else _render_plain
    # Both at once, without a pause: no change can fall between them.
    first = [item for item in store.list(kind) if matches(item)] if fresh else []
    version = store.version
    watch = store.watch(kind, None if fresh else int(text))
    stream = _stream(store, watch, matches, render, min(limit or _LONGEST_WATCH_S, 3600.0))
    opening = _open_stream(kind, first, version, render, bookmark=initial)
    return StreamingResponse(_join(opening, stream), media_type="application/json")


def _open_stream(
    kind: Kind,
    first: list[Object],
    version: int,
    render: Callable[[Object], Object],
    *,
    bookmark: bool,
) -> list[str]:
    lines = [_line("ADDED", render(item)) for item in first]
    if bookmark:
        end = {"resourceVersion": str(version), "annotations": _INITIAL_END}
        mark = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": end}
        lines.append(_line("BOOKMARK", mark))
    return lines


async def _join(opening: list[str], stream: AsyncIterator[str]) -> AsyncIterator[str]:
    for line in opening:
        yield line
    async for line in stream:
        yield line


async def _stream(
    store: Store,
    watch: Watch,
    matches: Callable[[Object], bool],
    render: Callable[[Object], Object],
    limit_s: float,
) -> AsyncIterator[str]:
    end = asyncio.get_running_loop().time() + limit_s
    try:
        while True:
            left = end - asyncio.get_running_loop().time()
            try:
                change = await asyncio.wait_for(watch.changes.get(), max(left, 0))
            except TimeoutError:
                return
            if change is None:
                return
            line = _describe(change, matches, render)
            if line:
                yield line
    finally:
        store.unwatch(watch)


def _describe(
    change: Change, matches: Callable[[Object], bool], render: Callable[[Object], Object]
) -> str:
    before = change.old is not None and matches(change.old)
    after = change.new is not None and matches(change.new)
    if after and change.new is not None:
        return _line("MODIFIED" if before else "ADDED", render(change.new))
    if before and change.old is not None:
        gone = {**change.old["metadata"], "resourceVersion": str(change.version)}
        return _line("DELETED", render({**change.old, "metadata": gone}))
    return ""


def _line(kind: str, item: Object) -> str:
    return f"{json.dumps({'type': kind, 'object': item})}\n"


def _render_plain(item: Object) -> Object:
    return item


def _table_renderer(request: Request, kind: Kind) -> Callable[[Object], Object]:
    include, told = _include(request.query_params), False

    def render(item: Object) -> Object:
        nonlocal told
        columns, told = not told, True
        version = item["metadata"]["resourceVersion"]
        return make_table(kind, [item], version, include, columns=columns)

    return render
