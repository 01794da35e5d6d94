"""The HTTP requests of Compute Engine that are about security policies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from staging.cloud_armor.control_plane import POLICY, CloudArmor, read_priority
from staging.cloud_armor.errors import ComputeError, unknown_name, unsupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.requests import Request

_PROJECT = "/compute/v1/projects/{project}"
_POLICIES = f"{_PROJECT}/global/securityPolicies"
_OPERATION = f"{_PROJECT}/global/operations/{{operation}}"
_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_COMMON = frozenset({"alt", "$alt", "prettyPrint", "key", "quotaUser", "$.xgafv"})
_MAX_BODY_BYTES = 1024**2
_LIST = ("filter", "maxResults", "orderBy", "pageToken", "returnPartialSuccess")


@dataclass(frozen=True)
class Endpoint:
    """One request that is answered, with the query parameters that it understands."""

    title: str
    method: str
    path: str
    answer: Callable[[CloudArmor, Request], Awaitable[dict[str, Any]]]
    parameters: Collection[str] = ()


async def _list_policies(armor: CloudArmor, request: Request) -> dict[str, Any]:
    _refuse_filters(request)
    policy = armor.render_policy(POLICY)
    return {"kind": "compute#securityPolicyList", "id": _list_id(armor), "items": [policy]}


async def _aggregate_policies(armor: CloudArmor, request: Request) -> dict[str, Any]:
    _refuse_filters(request)
    scope = {"securityPolicies": [armor.render_policy(POLICY)]}
    return {
        "kind": "compute#securityPoliciesAggregatedList",
        "id": _list_id(armor),
        "items": {"global": scope},
    }


def _list_id(armor: CloudArmor) -> str:
    return f"projects/{armor.project}/global/securityPolicies"


def _refuse_filters(request: Request) -> None:
    for name in ("filter", "orderBy", "pageToken"):
        if request.query_params.get(name):
            raise unsupported(f"the parameter {name} of a list")


async def _get_policy(armor: CloudArmor, request: Request) -> dict[str, Any]:
    return armor.render_policy(_policy(request))


async def _get_rule(armor: CloudArmor, request: Request) -> dict[str, Any]:
    return armor.find_rule(_policy(request), _priority(request)).render()


async def _add_rule(armor: CloudArmor, request: Request) -> dict[str, Any]:
    operation = armor.add_rule(_policy(request), await _read_body(request))
    return armor.render_operation(operation)


async def _patch_rule(armor: CloudArmor, request: Request) -> dict[str, Any]:
    body, mask = await _read_body(request), request.query_params.get("updateMask", "")
    operation = armor.patch_rule(_policy(request), _priority(request), body, mask)
    return armor.render_operation(operation)


async def _remove_rule(armor: CloudArmor, request: Request) -> dict[str, Any]:
    return armor.render_operation(armor.remove_rule(_policy(request), _priority(request)))


async def _get_operation(armor: CloudArmor, request: Request) -> dict[str, Any]:
    return armor.render_operation(armor.find_operation(request.path_params["operation"]))


async def _wait_operation(armor: CloudArmor, request: Request) -> dict[str, Any]:
    operation = await armor.wait_operation(request.path_params["operation"])
    return armor.render_operation(operation)


def _policy(request: Request) -> str:
    return str(request.path_params["policy"])


def _priority(request: Request) -> int:
    return read_priority(request.query_params.get("priority", ""))


_POLICY = f"{_POLICIES}/{{policy}}"
ENDPOINTS = (
    Endpoint("securityPolicies.list", "GET", _POLICIES, _list_policies, _LIST),
    Endpoint(
        "securityPolicies.aggregatedList",
        "GET",
        f"{_PROJECT}/aggregated/securityPolicies",
        _aggregate_policies,
        (*_LIST, "includeAllScopes"),
    ),
    Endpoint("securityPolicies.get", "GET", _POLICY, _get_policy),
    Endpoint("securityPolicies.getRule", "GET", f"{_POLICY}/getRule", _get_rule, ("priority",)),
    Endpoint("securityPolicies.addRule", "POST", f"{_POLICY}/addRule", _add_rule),
    Endpoint(
        "securityPolicies.patchRule",
        "POST",
        f"{_POLICY}/patchRule",
        _patch_rule,
        ("priority", "updateMask"),
    ),
    Endpoint(
        "securityPolicies.removeRule",
        "POST",
        f"{_POLICY}/removeRule",
        _remove_rule,
        ("priority",),
    ),
    Endpoint("globalOperations.get", "GET", _OPERATION, _get_operation),
    Endpoint("globalOperations.wait", "POST", f"{_OPERATION}/wait", _wait_operation),
)


def routes(armor: CloudArmor) -> list[BaseRoute]:
    """Return the routes, and at the end a refusal of all other requests of Compute Engine."""
    found: list[BaseRoute] = [
        Route(one.path, _answering(armor, one), methods=[one.method]) for one in ENDPOINTS
    ]
    return [*found, Route("/compute/{rest:path}", _refuse, methods=_EVERY_METHOD)]


async def _refuse(request: Request) -> Response:
    return _error(unsupported(f"{request.method} {request.url.path}"))


def _error(error: ComputeError) -> Response:
    return JSONResponse(error.body(), error.http_status)


def _answering(armor: CloudArmor, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            _check_request(armor, endpoint, request)
            return JSONResponse(await endpoint.answer(armor, request))
        except ComputeError as error:
            return _error(error)

    return answer


def _check_request(armor: CloudArmor, endpoint: Endpoint, request: Request) -> None:
    project = request.path_params["project"]
    if project != armor.project:
        message = (
            f"Required 'compute.securityPolicies.get' permission for 'projects/{project}'"
            " (or it may not exist)"
        )
        raise ComputeError("forbidden", message)
    for name in request.query_params:
        if name == "validateOnly":
            raise unsupported("the parameter validateOnly")
        if name not in _COMMON and name not in endpoint.parameters:
            raise unknown_name(name, "")


async def _read_body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw) if raw and len(raw) <= _MAX_BODY_BYTES else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ComputeError("invalid", "Invalid JSON payload received.")
    return body
