"""What a tenant's request costs, and what the response cache spares."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from staging.service.errors import UpstreamResetError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from staging.service.exchange import Exchange, Runtime

    Handler = Callable[[Runtime, Exchange], Awaitable[dict[str, object]]]

# A request over this many rows costs this many CPU-seconds on average, evenly spread by +/- 50 %.
USUAL_ROWS = 1000
USUAL_COST_S = 0.020
SPREAD = (0.5, 1.5)
# Finding an answer and sending it; no row is touched for it.
_HIT_COST_S = 0.0003


def with_work(handler: Handler) -> Handler:
    """Return a handler that first costs what its rows cost, unless its answer is in the cache."""

    async def serve(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
        rows = await exchange.read_rows()

        async def compute() -> dict[str, object]:
            await _do_work(runtime, rows)
            return await handler(runtime, exchange)

        key = _make_key(exchange)
        if key is None or not runtime.cache.enabled:
            return await compute()
        kept = runtime.cache.find(key, compute)
        if kept is None:
            return await runtime.cache.fetch(key, compute)
        await runtime.capacity.work(_HIT_COST_S)
        return kept

    return serve


async def _do_work(runtime: Runtime, rows: int) -> None:
    # The module's own generator: Python seeds it anew in every forked process, and no other.
    cost_s = USUAL_COST_S * rows / USUAL_ROWS * random.uniform(*SPREAD)  # noqa: S311 - no secret
    await runtime.capacity.work(cost_s)
    if random.random() < runtime.settings.upstream_reset_share:  # noqa: S311 - no secret
        raise UpstreamResetError("the tenant's source closed the connection")


def _make_key(exchange: Exchange) -> tuple[str, str, str] | None:
    """Return what tells a tenant's answers apart; None for a request that changes something."""
    query = exchange.request.query_params
    if exchange.request.method != "GET" or "export" in query:
        return None
    return (exchange.tenant_id, exchange.path, str(sorted(query.multi_items())))
