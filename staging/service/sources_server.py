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

# A real page: it is read and kept in a fraction of a millisecond.
PAGE_BYTES = 16 * 1024
USUAL_PAGES = 1


class SourcesServer:
    """Serves every tenant's source and reference data on a loopback port."""

    def __init__(self, tenants: Sequence[str]) -> None:
        """Be fast and small; `start` listens."""
        self._tenants = tuple(tenants)
        self._delay_s = 0.0
        self._pages = USUAL_PAGES
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

    @property
    def reference_bytes(self) -> int:
        """Return how much reference data all tenants have, in bytes as a container counts them."""
        return self._pages * PAGE_BYTES * REAL_BYTE * len(self._tenants)

    def grow_reference(self, used_bytes: int) -> None:
        """Let the tenants' reference data grow by so many bytes in all, as a container counts."""
        page = PAGE_BYTES * REAL_BYTE * len(self._tenants)
        self._pages += max(0, used_bytes) // page

    def reset(self) -> None:
        """Be fast and small again."""
        self._delay_s = 0.0
        if self._pages != USUAL_PAGES:
            self._pages = USUAL_PAGES
            # Pages that vanished, not some that were added: whoever has them starts anew.
            self._version += 1

    async def _list_reference(self, _: Request) -> Response:
        offer = {"version": self._version, "pages": self._pages}
        return JSONResponse(dict.fromkeys(self._tenants, offer))

    async def _answer_rows(self, request: Request) -> Response:
        await asyncio.sleep(self._delay_s)
        return JSONResponse({"tenant_id": request.path_params["tenant_id"], "rows": 1000})

    async def _answer_reference(self, request: Request) -> Response:
        if not 0 <= int(request.query_params.get("page", "0")) < self._pages:
            return JSONResponse({"error": "there is no such page"}, 404)
        return Response(b"\xa5" * PAGE_BYTES, media_type="application/octet-stream")
