"""The tenants' administration: API keys are issued, listed and revoked."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from staging.service.errors import InvalidRequestError, NotFoundError
from staging.service.keys import (
    DEFAULT_DAYS,
    KEY_COLUMNS,
    KEYS_DATASET,
    KEYS_TABLE,
    MAX_KEYS,
    ApiKey,
    describe_key,
    make_key,
)
from staging.service.logs import write_log
from staging.service.tenants import IDENTIFIER, list_tenants

if TYPE_CHECKING:
    from staging.service.exchange import Exchange, Runtime

KEYS_PATH = "/admin/tenants/{tenant_id}/api-keys"
KEY_PATH = "/admin/tenants/{tenant_id}/api-keys/{key_id}"
MAX_DAYS = 3650
_REVOKE = (
    f"UPDATE `{KEYS_DATASET}.{KEYS_TABLE}` SET is_active = FALSE"  # noqa: S608 - our own names
    " WHERE tenant_id = @tenant_id AND key_id = @key_id"
)


async def admit_administrator(runtime: Runtime, exchange: Exchange) -> None:
    """Let a request with the admin key pass; raise as `Access.admit_admin` does."""
    key = exchange.request.headers.get("x-admin-key", "")
    runtime.access.admit_admin(key, exchange.source_ip, exchange.path)


async def issue_key(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Write a fresh key of the path's tenant to the table, and return it: this once.

    JSON field `expires_in_days` is 365 if absent. Raises InvalidRequestError, NotFoundError,
    DatabaseUnreachableError.
    """
    tenant_id = _find_tenant(exchange)
    days = await _read_days(exchange)
    key = make_key(tenant_id)
    described = describe_key(tenant_id, key, now=time.time(), days=days)
    row = described.to_row()
    await runtime.database.insert_rows(KEYS_DATASET, KEYS_TABLE, [row])
    await runtime.access.keys.reread()
    _log(exchange, "API key issued", described)
    shown = {name: row[name] for name in ("key_id", "tenant_id", "key_prefix", "expires_at")}
    return {**shown, "api_key": key}


async def list_keys(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Return the tenant's keys without what opens anything, the newest first."""
    tenant_id = _find_tenant(exchange)
    keys = [_show(key) for key in await _read_keys(runtime, tenant_id)]
    return {"tenant_id": tenant_id, "api_keys": keys}


async def revoke_key(runtime: Runtime, exchange: Exchange) -> dict[str, object]:
    """Make a key inactive for good; raise as `issue_key` does."""
    tenant_id = _find_tenant(exchange)
    wanted = str(exchange.request.path_params["key_id"])
    found = [key for key in await _read_keys(runtime, tenant_id) if key.key_id == wanted]
    if not found:
        raise NotFoundError("the tenant has no such key")
    await runtime.database.execute(_REVOKE, {"tenant_id": tenant_id, "key_id": wanted})
    await runtime.access.keys.reread()
    _log(exchange, "API key revoked", found[0])
    return {}


def _find_tenant(exchange: Exchange) -> str:
    wanted = str(exchange.request.path_params["tenant_id"])
    if not IDENTIFIER.fullmatch(wanted):
        raise InvalidRequestError("a tenant id has 3 to 64 letters, digits, '_' and '-'")
    if wanted not in list_tenants():
        raise NotFoundError("there is no such tenant")
    return wanted


async def _read_days(exchange: Exchange) -> int:
    body = await exchange.request.body()
    try:
        days = int(str(json.loads(body).get("expires_in_days", DEFAULT_DAYS))) if body else None
    except (ValueError, AttributeError):
        raise InvalidRequestError("the body is no JSON object with a number of days") from None
    if days is None:
        return DEFAULT_DAYS
    if not 1 <= days <= MAX_DAYS:
        raise InvalidRequestError(f"expires_in_days must be from 1 to {MAX_DAYS}")
    return days


async def _read_keys(runtime: Runtime, tenant_id: str) -> list[ApiKey]:
    rows = await runtime.database.list_rows(KEYS_DATASET, KEYS_TABLE, KEY_COLUMNS, MAX_KEYS)
    keys = [key for key in map(ApiKey.from_row, rows) if key.tenant_id == tenant_id]
    return sorted(keys, key=lambda key: key.created_at, reverse=True)


def _show(key: ApiKey) -> dict[str, object]:
    row = key.to_row()
    shown = {name: row[name] for name in ("key_id", "key_prefix", "created_at", "expires_at")}
    return {**shown, "is_active": key.is_active}


def _log(exchange: Exchange, message: str, key: ApiKey) -> None:
    write_log(
        "INFO",
        message,
        tenant_id=key.tenant_id,
        key_prefix=key.key_prefix,
        request_id=exchange.request_id,
        source_ip=exchange.source_ip,
    )
