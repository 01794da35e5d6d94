"""BigQuery's API at staging's door, with the discovery document that `bq` asks for first."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from staging.bigquery.api import MAX_BODY_BYTES, PREFIX, BigQuery
from staging.bigquery.errors import invalid, unsupported

if TYPE_CHECKING:
    from starlette.requests import Request

_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Where the Google Cloud SDK keeps it; without the SDK there is no bq that would ask.
_DISCOVERY = Path("platform/bq/discovery_next/bigquery.json")


def routes(bigquery: BigQuery) -> list[BaseRoute]:
    """Return the routes; what the API does not answer is refused by the API itself."""

    async def answer(request: Request) -> Response:
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            error = invalid("Request payload size exceeds the limit.")
            return JSONResponse(error.body(), error.http_status)
        path, parameters = request.url.path, dict(request.query_params)
        status, content = bigquery.answer(request.method, path, parameters, body)
        return JSONResponse(content, status)

    return [
        Route("/$discovery/rest", _discover, methods=["GET"]),
        Route("/discovery/v1/apis/bigquery/v2/rest", _discover, methods=["GET"]),
        Route(f"{PREFIX}/{{rest:path}}", answer, methods=_EVERY_METHOD),
    ]


async def _discover(request: Request) -> Response:
    document = _read_discovery()
    if document is None:
        error = unsupported("the discovery document: there is no Google Cloud SDK on this machine")
        return JSONResponse(error.body(), error.http_status)
    root = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}/"
    here = {"rootUrl": root, "baseUrl": f"{root}bigquery/v2/"}
    return JSONResponse({**document, **here})


@functools.cache
def _find_discovery() -> Path | None:
    """Return where the SDK that a `bq` on PATH belongs to keeps the document, or None."""
    programs = (Path(folder, "bq") for folder in os.get_exec_path())
    documents = (program.resolve().parents[1] / _DISCOVERY for program in programs)
    return next((path for path in documents if path.is_file()), None)


def _read_discovery() -> dict[str, Any] | None:
    path = _find_discovery()
    if path is None:
        return None
    # Half a megabyte, read anew each time: it is not worth keeping in memory.
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
