"""The HTTP requests of the Kubernetes API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from staging.kubernetes import discovery
from staging.kubernetes.errors import (
    StatusError,
    bad_request,
    no_such_path,
    not_allowed,
    not_found,
    unsupported,
)
from staging.kubernetes.kinds import DEPLOYMENT, NAMESPACE, POD, POD_METRICS, STORED, Kind
from staging.kubernetes.metrics import measure_pod, measure_pods
from staging.kubernetes.pod_exec import answer_without_websocket, serve_exec
from staging.kubernetes.pod_logs import answer_log
from staging.kubernetes.reading import (
    answer_list,
    answer_object,
    make_list,
    make_matcher,
)
from staging.kubernetes.writes import Options, read_scale, write_scale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from staging.kubernetes.cluster import Cluster
    from staging.kubernetes.store import Object

_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MAX_BODY_BYTES = 3 * 1024**2


class _ForeignGroup(Convertor[str]):
    """An API group that no Google API has: those share `/apis` with Kubernetes here."""

    regex = r"(?!serving\.knative\.dev(?:/|$)|[^/]*(?:googleapis|cloudrun)\.com(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("kubernetes_group", _ForeignGroup())


class Api:
    """Answers requests from one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """Serve this cluster."""
        self._cluster = cluster

    def routes(self) -> list[BaseRoute]:
        """Return every route, and at the end refusals of all other requests."""
        found: list[BaseRoute] = [
            _route("/version", _version),
            _route("/api", _core),
            _route("/apis", _groups),
            _route("/api/{version}", _resources),
            _route("/apis/{group:kubernetes_group}/{version}", _resources),
        ]
        for kind in STORED:
            found += self._kind_routes(kind)
        base = f"{DEPLOYMENT.root}/namespaces/{{namespace}}/deployments/{{name}}"
        pods = f"{POD.root}/namespaces/{{namespace}}/pods/{{name}}"
        metrics = f"{POD_METRICS.root}/namespaces/{{namespace}}/pods"
        found += [
            _route(f"{base}/scale", self._get_scale),
            _route(f"{base}/scale", self._patch_scale, "PATCH"),
            _route(f"{base}/scale", self._put_scale, "PUT"),
            _route(f"{base}/status", self._get_status),
            _route(f"{pods}/log", self._log),
            WebSocketRoute(f"{pods}/exec", self._exec),
            _route(f"{pods}/exec", self._exec_without_websocket, "POST"),
            _route(f"{pods}/exec", self._exec_without_websocket),
            _route(metrics, self._list_metrics),
            _route(f"{POD_METRICS.root}/pods", self._list_metrics),
            _route(f"{metrics}/{{name}}", self._get_metrics),
        ]
        refusing = ("/api", "/apis/{group:kubernetes_group}", "/openapi")
        found += [
            Route(f"{prefix}{rest}", _refuse, methods=_EVERY_METHOD)
            for prefix in refusing
            for rest in ("", "/{rest:path}")
        ]
        return found

    def _kind_routes(self, kind: Kind) -> list[BaseRoute]:
        place = f"{kind.root}/namespaces/{{namespace}}" if kind.namespaced else kind.root
        many, one = f"{place}/{kind.plural}", f"{place}/{kind.plural}/{{name}}"
        found: list[BaseRoute] = [
            _route(many, self._lister(kind)),
            _route(one, self._getter(kind)),
        ]
        if kind.namespaced:
            found.append(_route(f"{kind.root}/{kind.plural}", self._lister(kind)))
        if "patch" in kind.verbs:
            found += [
                _route(one, self._patcher(kind), "PATCH"),
                _route(one, self._replacer(kind), "PUT"),
            ]
        if kind is POD:
            found += [
                _route(one, self._delete_pod, "DELETE"),
                _route(many, self._delete_pods, "DELETE"),
            ]
        found += [
            Route(path, _refuse_method(kind), methods=["POST", "PUT", "PATCH", "DELETE"])
            for path in (many, one)
        ]
        return found

    def _lister(self, kind: Kind) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return answer_list(request, self._cluster.store, kind)

        return answer

    def _getter(self, kind: Kind) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            _check_namespace(request, kind)
            item = self._cluster.store.get(kind, request.path_params["name"])
            return answer_object(request, kind, item)

        return answer

    def _patcher(self, kind: Kind) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            _check_namespace(request, kind)
            options = _read_options(request)
            content_type = _content_type(request)
            if content_type == "application/apply-patch+yaml":
                raise unsupported("server-side apply")
            body, name = await _read_body(request), request.path_params["name"]
            item = self._cluster.writer.patch(kind, name, content_type, body, options)
            return _warn(JSONResponse(item), options)

        return answer

    def _replacer(self, kind: Kind) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            _check_namespace(request, kind)
            options = _read_options(request)
            body, name = await _read_body(request), request.path_params["name"]
            item = self._cluster.writer.replace(kind, name, body, options)
            return _warn(JSONResponse(item), options)

        return answer

    async def _get_scale(self, request: Request) -> Response:
        _check_namespace(request, DEPLOYMENT)
        return JSONResponse(read_scale(self._cluster.store, request.path_params["name"]))

    async def _patch_scale(self, request: Request) -> Response:
        return await self._write_scale(request, _content_type(request))

    async def _put_scale(self, request: Request) -> Response:
        return await self._write_scale(request, "")

    async def _write_scale(self, request: Request, content_type: str) -> Response:
        _check_namespace(request, DEPLOYMENT)
        options, body = _read_options(request), await _read_body(request)
        name = request.path_params["name"]
        return JSONResponse(write_scale(self._cluster.store, name, content_type, body, options))

    async def _get_status(self, request: Request) -> Response:
        _check_namespace(request, DEPLOYMENT)
        item = self._cluster.store.get(DEPLOYMENT, request.path_params["name"])
        return answer_object(request, DEPLOYMENT, item)

    async def _log(self, request: Request) -> Response:
        _check_namespace(request, POD)
        return answer_log(request, self._cluster)

    async def _exec(self, socket: WebSocket) -> None:
        await serve_exec(socket, self._cluster)

    async def _exec_without_websocket(self, request: Request) -> Response:
        return answer_without_websocket(request, self._cluster)

    async def _list_metrics(self, request: Request) -> Response:
        matches = make_matcher(POD_METRICS, request)
        items = [item for item in measure_pods(self._cluster) if matches(item)]
        return JSONResponse(make_list(POD_METRICS, items, self._cluster.store.version))

    async def _get_metrics(self, request: Request) -> Response:
        _check_namespace(request, POD)
        name = request.path_params["name"]
        found = measure_pod(self._cluster, self._cluster.store.get(POD, name))
        if found is None:
            raise not_found(POD_METRICS, name)
        return JSONResponse(found)

    async def _delete_pod(self, request: Request) -> Response:
        _check_namespace(request, POD)
        name = request.path_params["name"]
        pod = self._cluster.store.get(POD, name)
        self._remove(pod, await _read_body(request), request)
        return JSONResponse(self._cluster.store.find(POD, name) or pod)

    async def _delete_pods(self, request: Request) -> Response:
        matches = make_matcher(POD, request)
        body = await _read_body(request)
        items = [item for item in self._cluster.store.list(POD) if matches(item)]
        for item in items:
            self._remove(item, body, request)
        return JSONResponse(make_list(POD, items, self._cluster.store.version))

    def _remove(self, pod: Object, body: object, request: Request) -> None:
        given: dict[str, Any] = body if isinstance(body, dict) else {}
        wanted = given.get("preconditions") or {}
        if wanted.get("uid") not in (None, pod["metadata"]["uid"]):
            raise bad_request("the pod is another one than the preconditions name")
        grace = given.get("gracePeriodSeconds", request.query_params.get("gracePeriodSeconds"))
        if grace is not None and not str(grace).isdecimal():
            raise bad_request(f"gracePeriodSeconds: Invalid value: {grace}")
        if _is_dry(request) or given.get("dryRun"):
            return
        self._cluster.pods.remove(
            pod["metadata"]["name"], None if grace is None else float(str(grace))
        )


def _route(
    path: str, answer: Callable[[Request], Awaitable[Response]], method: str = "GET"
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request)
        except StatusError as error:
            return JSONResponse(error.body(), error.code)

    return Route(path, endpoint, methods=[method])


def _check_namespace(request: Request, kind: Kind) -> None:
    if request.path_params.get("namespace", NAMESPACE) != NAMESPACE:
        raise not_found(kind, request.path_params["name"])


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


def _is_dry(request: Request) -> bool:
    values = request.query_params.getlist("dryRun")
    if any(value != "All" for value in values):
        raise bad_request(f'dryRun: Unsupported value: "{values[0]}": supported values: "All"')
    return bool(values)


def _read_options(request: Request) -> Options:
    how = request.query_params.get("fieldValidation", "Warn")
    if how not in {"Ignore", "Warn", "Strict"}:
        supported = '"Ignore", "Strict", "Warn"'
        raise bad_request(
            f'fieldValidation: Unsupported value: "{how}": supported values: {supported}'
        )
    return Options(dry_run=_is_dry(request), strict=how == "Strict", silent=how == "Ignore")


async def _read_body(request: Request) -> object:
    raw = await request.body()
    if len(raw) > _MAX_BODY_BYTES:
        raise StatusError(413, "RequestEntityTooLarge", "Request entity too large: limit is 3 MiB")
    if not raw:
        return {}
    if "yaml" in _content_type(request) or "protobuf" in _content_type(request):
        raise StatusError(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include:"
            " application/json",
        )
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"error decoding the body: {error}") from None


def _warn(response: Response, options: Options) -> Response:
    for text in options.warnings:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.append("warning", f'299 - "{escaped}"')
    return response


async def _version(_: Request) -> Response:
    return JSONResponse(discovery.describe_version())


def _wants_aggregated(request: Request) -> bool:
    return "g=apidiscovery.k8s.io;v=v2;" in request.headers.get("accept", "").replace(" ", "")


async def _core(request: Request) -> Response:
    if _wants_aggregated(request):
        groups = discovery.list_groups(core=True)
        return JSONResponse(groups, media_type=discovery.AGGREGATED)
    return JSONResponse(discovery.list_core_versions())


async def _groups(request: Request) -> Response:
    if _wants_aggregated(request):
        groups = discovery.list_groups(core=False)
        return JSONResponse(groups, media_type=discovery.AGGREGATED)
    return JSONResponse(discovery.list_api_groups())


async def _resources(request: Request) -> Response:
    given = request.path_params
    found = discovery.list_resources(given.get("group", ""), given["version"])
    if found is None:
        raise no_such_path()
    return JSONResponse(found)


async def _refuse(_: Request) -> Response:
    error = no_such_path()
    return JSONResponse(error.body(), error.code)


def _refuse_method(kind: Kind) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        error = not_allowed(request.method, kind.qualified)
        return JSONResponse(error.body(), error.code)

    return answer


def routes(cluster: Cluster) -> list[BaseRoute]:
    """Return the routes of the Kubernetes API of one cluster."""
    return Api(cluster).routes()
