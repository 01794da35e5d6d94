"""The tenants' own systems: a real HTTP server that gives rows and reference data, or is late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from staging.service.memory import REAL_BYTE
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

# Real bytes. A tenant has one small page, and large ones as its data grows; one of these is read
# and kept in about a millisecond.
USUAL_BYTES = 1024
PAGE_BYTES = 128 * 1024


class SourcesServer:
    """Serves every tenant's source and reference data on a loopback port."""

    def __init__(self, tenants: Sequence[str]) -> None:
        """Be fast and small; `start` listens."""
        self._tenants = tuple(tenants)
        self._delay_s = 0.0
        self._grown_pages = 0
        self._version = 1
        self._server = LocalServer(
            Starlette(
                routes=[
                    Route("/reference", self._list_reference),
                    Route("/tenants/{tenant_id}/rows", self._answer_rows),
                    Route("/tenants/{tenant_id}/reference", self._answer_reference),
                ]
            ),
            port=0,
        )

    async def start(self) -> str:
        """Listen on a free port and return the base address, `http://host:port`."""
        await self._server.start()
        return f"http://127.0.0.1:{self._server.port}"

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._server.stop()

    def set_delay(self, seconds: float) -> None:
        """Have the tenants' sources answer so late from now on."""
        self._delay_s = seconds

    def grow_reference(self, used_bytes: int) -> None:
        """Let the tenants' reference data grow by so many bytes in all, as a container counts."""
        self._grown_pages += max(0, used_bytes) // (PAGE_BYTES * REAL_BYTE)

    def reset(self) -> None:
        """Be fast and small again."""
        self._delay_s = 0.0
        if self._grown_pages:
            self._grown_pages = 0
            # Pages that vanished, not some that were added: whoever has them starts anew.
            self._version += 1

    def _count_pages(self, tenant_id: str) -> int:
        share, rest = divmod(self._grown_pages, len(self._tenants))
        return 1 + share + (self._tenants.index(tenant_id) < rest)

    async def _list_reference(self, _: Request) -> Response:
        return JSONResponse(
            {
                tenant: {"version": self._version, "pages": self._count_pages(tenant)}
                for tenant in self._tenants
            }
        )

    async def _answer_rows(self, request: Request) -> Response:
        await asyncio.sleep(self._delay_s)
        return JSONResponse({"tenant_id": request.path_params["tenant_id"], "rows": 1000})

    async def _answer_reference(self, request: Request) -> Response:
        tenant_id, page = request.path_params["tenant_id"], request.query_params.get("page", "0")
        known = tenant_id in self._tenants and page.isdigit()
        if not known or int(page) >= self._count_pages(tenant_id):
            return JSONResponse({"error": "there is no such page"}, 404)
        content = b"\xa5" * (PAGE_BYTES if int(page) else USUAL_BYTES)
        return Response(content, media_type="application/octet-stream")
