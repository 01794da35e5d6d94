"""One door for every Google API and Kubernetes': host name and path say which API is meant.

The Python clients come with their endpoint set to the door. gcloud takes the door for its HTTP
proxy (`CLOUDSDK_PROXY_TYPE=http_no_tunnel`), so its requests name the real host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Mount, Router
from starlette.websockets import WebSocketClose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3})(?::\d+)?")
_NOT_IMPLEMENTED = 501


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 501 in the form of Google's APIs, naming what was asked for; close a websocket."""
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    what = f"{scope['method']} {scope['path']}"
    error = {
        "code": _NOT_IMPLEMENTED,
        "status": "UNIMPLEMENTED",
        "message": f"not supported by embedded staging: {what}",
    }
    await JSONResponse({"error": error}, _NOT_IMPLEMENTED)(scope, receive, send)


class Door:
    """Hands a request to the API that its host names; on loopback, where none is, to any API."""

    def __init__(self, apis: Mapping[str, Sequence[BaseRoute]]) -> None:
        """Take pattern of host names → routes; a pattern matches a whole name in lower case."""
        self._apis = {re.compile(host): _build_router(routes) for host, routes in apis.items()}
        self._all = _build_router(route for routes in apis.values() for route in routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        host = Headers(scope=scope).get("host", "").lower()
        await self._find_api(host)(scope, receive, send)

    def _find_api(self, host: str) -> ASGIApp:
        if _LOOPBACK.fullmatch(host):
            return self._all
        name = host.partition(":")[0]
        for pattern, api in self._apis.items():
            if pattern.fullmatch(name):
                return api
        return refuse


def _build_router(routes: Iterable[BaseRoute]) -> Router:
    return Router([*routes, Mount("/", app=refuse)], redirect_slashes=False)
