"""The tenants' own systems, as an instance uses them: what a run fetches, and reference data."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from staging.service.errors import UpstreamResetError
from staging.service.http_client import HttpClient, HttpResponse, ProtocolError
from staging.service.logs import write_log

_OK = 200
_ROWS_DEADLINE_S = 60.0
_PAGE_DEADLINE_S = 10.0
# A minute on staging's clock, and cheap: one small answer says whether anything has changed.
_LOOK_EVERY_S = 1.0


class Sources:
    """Calls of the tenants' systems; every instance keeps each tenant's reference data."""

    def __init__(self, endpoint: str) -> None:
        """Take the base address, `http://host:port`; without one no tenant has a system."""
        parts = urlsplit(endpoint)
        self._client = HttpClient(parts.hostname or "", parts.port or 0) if endpoint else None
        self._versions: dict[str, int] = {}
        self._reference: dict[str, list[bytes]] = {}

    async def fetch_rows(self, tenant_id: str) -> None:
        """Fetch what a run works on; raise UpstreamResetError when the tenant's system fails."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(_ROWS_DEADLINE_S):
                await self._read(self._client, f"/tenants/{tenant_id}/rows")
        except TimeoutError:
            raise UpstreamResetError("the tenant's source did not answer") from None

    async def keep_reference_forever(self) -> None:
        """Keep each tenant's reference data in memory, as it changes, until cancelled."""
        while self._client is not None:
            try:
                await self._refresh(self._client)
            except (UpstreamResetError, TimeoutError) as error:
                write_log("WARNING", f"reference data not refreshed: {error}")
            await asyncio.sleep(_LOOK_EVERY_S)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    async def _refresh(self, client: HttpClient) -> None:
        offered = await self._read_page(client, "/reference")
        for tenant_id, offer in json.loads(offered.body).items():
            if self._versions.get(tenant_id) != offer["version"]:
                # What is replaced goes first: there is no room for both.
                self._reference[tenant_id] = []
                self._versions[tenant_id] = offer["version"]
            await self._fetch_missing(client, tenant_id, offer["pages"])

    async def _fetch_missing(self, client: HttpClient, tenant_id: str, count: int) -> None:
        pages = self._reference[tenant_id]
        while len(pages) < count:
            target = f"/tenants/{tenant_id}/reference?page={len(pages)}"
            pages.append((await self._read_page(client, target)).body)

    async def _read_page(self, client: HttpClient, target: str) -> HttpResponse:
        async with asyncio.timeout(_PAGE_DEADLINE_S):
            return await self._read(client, target)

    async def _read(self, client: HttpClient, target: str) -> HttpResponse:
        try:
            answer = await client.request("GET", target, {})
        except (OSError, ProtocolError) as error:
            raise UpstreamResetError(f"the tenant's source failed: {error}") from None
        if answer.status != _OK:
            raise UpstreamResetError(f"the tenant's source answered {answer.status}")
        return answer
