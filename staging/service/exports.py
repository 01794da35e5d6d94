"""Exports of executions: prepared at a tenant's request, kept until the tenant fetches them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from staging.service.errors import InvalidRequestError, NotFoundError
from staging.service.memory import fill_in_slices

if TYPE_CHECKING:
    from mmap import mmap

    from staging.service.exchange import Exchange

# An execution with the logs of all its steps, as the container counts its bytes.
ROW_BYTES = 16 * 1024
_NEW = "new"


class Exports:
    """One instance's prepared exports, in its memory: nothing limits their age or number."""

    def __init__(self) -> None:
        """Start without any."""
        self._prepared: dict[tuple[str, str], list[mmap]] = {}

    async def answer(self, exchange: Exchange, wanted: str) -> dict[str, object]:
        """Prepare an export for `new`, or hand one out by its id and let go of it.

        Raise NotFoundError for an id that this instance does not hold, InvalidRequestError when
        the number of rows is none.
        """
        tenant_id = exchange.tenant_id
        if wanted == _NEW:
            rows = await exchange.read_rows()
            export_id = secrets.token_hex(8)
            self._prepared[tenant_id, export_id] = await fill_in_slices(rows * ROW_BYTES)
            return {"export_id": export_id, "rows": rows, "bytes": rows * ROW_BYTES}
        if not wanted.isalnum():
            raise InvalidRequestError(f"export must be {_NEW} or an export's id")
        prepared = self._prepared.pop((tenant_id, wanted), None)
        if prepared is None:
            raise NotFoundError("this instance holds no such export")
        return {"export_id": wanted, "parts": len(prepared)}
