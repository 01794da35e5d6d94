"""The HTTP requests of Cloud Run's two APIs."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from staging.cloud_run.errors import CloudRunError, invalid, not_found, unsupported
from staging.cloud_run.knative_routes import KnativeHandlers
from staging.cloud_run.v2_routes import V2Handlers

if TYPE_CHECKING:
    from staging.cloud_run.control_plane import CloudRun

Handler = Callable[[Any, Request], Awaitable[Any]]

_V2 = "/v2/projects/{project}/locations/{location}"
_V1 = "/v1/projects/{project}"
_KNATIVE = "/apis/serving.knative.dev/v1/namespaces/{project}"
_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Of every Google API: how to answer, and who asks.
_COMMON = frozenset({"alt", "$alt", "prettyPrint", "key", "quotaUser", "$.xgafv", "$prettyPrint"})
MAX_BODY_BYTES = 1024**2


@dataclass(frozen=True)
class Endpoint:
    """One request that is answered, with the query parameters that it understands."""

    method: str
    path: str
    handler: Handler
    title: str
    parameters: Collection[str] = ()


_V2_SERVICE, _V2_OPERATION = f"{_V2}/services/{{service}}", f"{_V2}/operations/{{operation}}"
_PATCH = ("updateMask", "update_mask", "validateOnly", "validate_only", "allowMissing")
_PAGE = ("pageSize", "pageToken", "showDeleted")
_SELECT = ("labelSelector", "limit", "continue")

V2_ENDPOINTS = (
    Endpoint("GET", f"{_V2}/services", V2Handlers.list_services, "v2 services.list", _PAGE),
    Endpoint("GET", _V2_SERVICE, V2Handlers.get_service, "v2 services.get"),
    Endpoint("PATCH", _V2_SERVICE, V2Handlers.patch_service, "v2 services.patch", _PATCH),
    Endpoint(
        "GET", f"{_V2_SERVICE}/revisions", V2Handlers.list_revisions, "v2 revisions.list", _PAGE
    ),
    Endpoint(
        "GET",
        f"{_V2_SERVICE}/revisions/{{revision}}",
        V2Handlers.get_revision,
        "v2 revisions.get",
    ),
    Endpoint("POST", f"{_V2_OPERATION}:wait", V2Handlers.wait_operation, "v2 operations.wait"),
    Endpoint("GET", _V2_OPERATION, V2Handlers.get_operation, "v2 operations.get"),
)
KNATIVE_ENDPOINTS = (
    Endpoint(
        "GET", f"{_KNATIVE}/services", KnativeHandlers.list_services, "v1 services.list", _SELECT
    ),
    Endpoint(
        "GET", f"{_KNATIVE}/services/{{service}}", KnativeHandlers.get_service, "v1 services.get"
    ),
    Endpoint(
        "PUT",
        f"{_KNATIVE}/services/{{service}}",
        KnativeHandlers.replace_service,
        "v1 services.replaceService",
        ("dryRun",),
    ),
    Endpoint(
        "GET", f"{_KNATIVE}/revisions", KnativeHandlers.list_revisions, "v1 revisions.list", _SELECT
    ),
    Endpoint(
        "GET",
        f"{_KNATIVE}/revisions/{{revision}}",
        KnativeHandlers.get_revision,
        "v1 revisions.get",
    ),
    Endpoint(
        "GET",
        f"{_V1}/locations/{{location}}/services",
        KnativeHandlers.list_services,
        "v1 services.list, over all regions",
        _SELECT,
    ),
    Endpoint(
        "GET",
        f"{_V1}/services/run.googleapis.com",
        KnativeHandlers.get_api_state,
        "serviceusage v1 services.get, which `gcloud run deploy` asks first",
    ),
    Endpoint(
        "GET",
        _V1,
        KnativeHandlers.get_project,
        "cloudresourcemanager v1 projects.get, which `gcloud run services replace` asks first",
    ),
)


def routes(cloud_run: CloudRun) -> list[BaseRoute]:
    """Return the routes of both APIs, and at the end refusals of all their other requests."""
    faces = ((V2Handlers(cloud_run), V2_ENDPOINTS), (KnativeHandlers(cloud_run), KNATIVE_ENDPOINTS))
    found: list[BaseRoute] = [
        Route(item.path, _answering(cloud_run, face, item), methods=[item.method])
        for face, items in faces
        for item in items
    ]
    # A path such as ".../services/x:setIamPolicy" must not be taken for a service of that name.
    prefixes = (f"{_V2}/services", f"{_V2}/operations", f"{_V1}/locations", "/apis/{group}")
    refusing = [
        Route(f"{prefix}{rest}", _refuse, methods=_EVERY_METHOD)
        for prefix in prefixes
        for rest in ("", "/{rest:path}")
    ]
    return found + refusing


async def _refuse(request: Request) -> Response:
    return _error(unsupported(f"{request.method} {request.url.path}"))


def _error(error: CloudRunError) -> Response:
    return JSONResponse(error.body(), error.http_status)


def _answering(
    cloud_run: CloudRun, face: object, endpoint: Endpoint
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            _check_place(request, cloud_run)
            _check_parameters(request, endpoint)
            request.state.body = await _read_body(request)
            return JSONResponse(await endpoint.handler(face, request))
        except CloudRunError as error:
            return _error(error)

    return answer


def _check_place(request: Request, cloud_run: CloudRun) -> None:
    place, given = cloud_run.place, request.path_params
    project = given["project"]
    if project not in (place.project, place.project_number):
        raise CloudRunError(
            "PERMISSION_DENIED",
            f"Permission 'run.services.get' denied on resource 'projects/{project}'"
            " (or resource may not exist).",
        )
    location = given.get("location", place.region)
    # gcloud puts the region before the host's name, not into the path.
    regional = re.match(r"([a-z0-9-]+)-run\.googleapis\.com", request.headers.get("host", ""))
    for region in (location, regional[1] if regional else place.region):
        if region not in (place.region, "-"):
            name = given.get("service") or given.get("revision") or region
            raise not_found("SERVICE", name, region, project)
    for key in ("service", "revision", "operation"):
        if ":" in given.get(key, ""):
            raise unsupported(f"{request.method} {request.url.path}")


def _check_parameters(request: Request, endpoint: Endpoint) -> None:
    for name in request.query_params:
        if name in ("fields", "$fields"):
            raise unsupported("the query parameter fields")
        if name not in _COMMON and name not in endpoint.parameters:
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name}":'
                " Cannot bind query parameter. Field could not be found in request message."
            )


async def _read_body(request: Request) -> object:
    if request.method in ("GET", "HEAD", "DELETE"):
        return None
    raw = await request.body()
    if len(raw) > MAX_BODY_BYTES:
        raise invalid("Request payload size exceeds the limit.")
    try:
        return json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise invalid("Invalid JSON payload received.") from None
