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

# One page is read and kept in a fraction of a millisecond.
PAGE_BYTES = 64 * 1024
USUAL_BYTES = 8 * 1024


class SourcesServer:
    """Serves every tenant's source and reference data on a loopback port."""

    def __init__(self, tenants: Sequence[str]) -> None:
        """Be fast and small; `start` listens."""
        self._tenants = tuple(tenants)
        self._delay_s = 0.0
        self._real_bytes = USUAL_BYTES
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
        return self._real_bytes * len(self._tenants) * REAL_BYTE

    def set_reference_bytes(self, used_bytes: int) -> None:
        """Let the tenants' reference data together be so large, as a container counts bytes."""
        self._real_bytes = max(1, used_bytes // REAL_BYTE // len(self._tenants))
        self._version += 1

    def reset(self) -> None:
        """Be fast and small again."""
        self._delay_s = 0.0
        if self._real_bytes != USUAL_BYTES:
            self._real_bytes = USUAL_BYTES
            self._version += 1

    async def _list_reference(self, _: Request) -> Response:
        pages = -(-self._real_bytes // PAGE_BYTES)
        offer = {"version": self._version, "pages": pages}
        return JSONResponse(dict.fromkeys(self._tenants, offer))

    async def _answer_rows(self, request: Request) -> Response:
        await asyncio.sleep(self._delay_s)
        return JSONResponse({"tenant_id": request.path_params["tenant_id"], "rows": 1000})

    async def _answer_reference(self, request: Request) -> Response:
        begin = int(request.query_params.get("page", "0")) * PAGE_BYTES
        size = max(0, min(PAGE_BYTES, self._real_bytes - begin))
        return Response(b"\xa5" * size, media_type="application/octet-stream")
