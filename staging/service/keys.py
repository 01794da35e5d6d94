"""API keys: their table in BigQuery, and an instance's view of it.

A key is `cda.<tenant>.<secret>`, so that a refused one still names the tenant it claims. The table
`metadata.x_meta_api_keys` holds hashes alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from staging.service.errors import AuthenticationError, DatabaseUnreachableError
from staging.service.tenants import UNKNOWN_TENANT, list_tenants

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from staging.service.database import Database, Row

KEYS_DATASET = "metadata"
KEYS_TABLE = "x_meta_api_keys"
KEY_COLUMNS = (
    "tenant_id",
    "key_id",
    "key_hash",
    "key_prefix",
    "is_active",
    "created_at",
    "expires_at",
)
MAX_KEYS = 10_000
REREAD_EVERY_S = 0.4
_FIRST_READ_S = 5.0
_DAY_S = 86_400
DEFAULT_DAYS = 365
_KEY = re.compile(r"cda\.([a-zA-Z0-9_-]{3,64})\.([a-zA-Z0-9_-]{1,128})")
_SHOWN = 4


@dataclass(frozen=True)
class ApiKey:
    """A key as the table describes it; times are in seconds since the epoch."""

    tenant_id: str
    key_id: str
    key_hash: str
    key_prefix: str
    is_active: bool
    created_at: float
    expires_at: float | None

    @classmethod
    def from_row(cls, row: Row) -> ApiKey:
        """Return the key of a row as `tabledata.list` sends it; raise ValueError, KeyError."""
        expires_at = row["expires_at"]
        return cls(
            tenant_id=str(row["tenant_id"]),
            key_id=str(row["key_id"]),
            key_hash=str(row["key_hash"]),
            key_prefix=str(row["key_prefix"]),
            is_active=row["is_active"] == "true",
            created_at=_read_time(str(row["created_at"])),
            expires_at=None if expires_at is None else _read_time(expires_at),
        )

    def to_row(self) -> Row:
        """Return the row of the table."""
        return {
            "tenant_id": self.tenant_id,
            "key_id": self.key_id,
            "key_hash": self.key_hash,
            "key_prefix": self.key_prefix,
            "is_active": "true" if self.is_active else "false",
            "created_at": format_time(self.created_at),
            "expires_at": None if self.expires_at is None else format_time(self.expires_at),
        }


def create_api_keys(path: Path) -> dict[str, str]:
    """Write a fresh key per tenant to `path`, readable by its owner alone, and return them."""
    keys = {tenant: make_key(tenant) for tenant in list_tenants()}
    write_private(path, json.dumps(keys, indent=1))
    return keys


def create_admin_key(path: Path) -> Path:
    """Write a fresh key of the tenants' administration, and return `path`."""
    write_private(path, secrets.token_urlsafe(24))
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, in one step; raise OSError."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def make_key(tenant_id: str) -> str:
    """Return a fresh key of a tenant."""
    return f"cda.{tenant_id}.{secrets.token_urlsafe(24)}"


def describe_key(tenant_id: str, key: str, *, now: float, days: int = DEFAULT_DAYS) -> ApiKey:
    """Return an active key's description, good for `days` days from `now`."""
    return ApiKey(
        tenant_id=tenant_id,
        key_id=f"key-{secrets.token_hex(6)}",
        key_hash=hash_key(key),
        key_prefix=read_prefix(key),
        is_active=True,
        created_at=now,
        expires_at=now + days * _DAY_S,
    )


def hash_key(key: str) -> str:
    """Return a key's SHA-256, in hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_prefix(key: str) -> str:
    """Return what of a key may be shown: tenant and 4 characters, `none` or `malformed`."""
    match = _KEY.fullmatch(key)
    if match is None:
        return "malformed" if key else "none"
    return f"cda.{match[1]}.{match[2][:_SHOWN]}"


def read_claimed_tenant(key: str) -> str:
    """Return the existing tenant that a key names, right or wrong, or `unknown`."""
    match = _KEY.fullmatch(key)
    return match[1] if match and match[1] in list_tenants() else UNKNOWN_TENANT


def format_time(seconds: float) -> str:
    """Return a moment in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")


def _read_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class KeyRing:
    """The keys by their hashes, read again and again while requests look them up in memory."""

    def __init__(self, database: Database) -> None:
        """Know no key yet."""
        self._database = database
        self._keys: dict[str, ApiKey] | None = None
        self._failure = "the API keys were never read"

    async def load(self) -> None:
        """Read the table once; without an answer in 5 s, go on and leave it to `reread_forever`."""
        try:
            async with asyncio.timeout(_FIRST_READ_S):
                await self.reread()
        except (TimeoutError, DatabaseUnreachableError) as error:
            self._failure = str(error) or "no API keys were read within 5 s"

    async def reread_forever(self) -> None:
        """Read the table again and again; while it cannot be read, the keys known stay in force."""
        while True:
            await asyncio.sleep(REREAD_EVERY_S)
            try:
                await self.reread()
            except DatabaseUnreachableError as error:
                self._failure = str(error)

    async def reread(self) -> None:
        """Read the table; raise DatabaseUnreachableError."""
        rows = await self._database.list_rows(KEYS_DATASET, KEYS_TABLE, KEY_COLUMNS, MAX_KEYS)
        self.replace(ApiKey.from_row(row) for row in rows)

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """Put these keys in force instead of all earlier ones."""
        self._keys = {key.key_hash: key for key in keys}

    def authenticate(self, key: str) -> str:
        """Return the tenant whose key this is.

        Raises AuthenticationError, or DatabaseUnreachableError while no table was ever read.
        """
        if self._keys is None:
            raise DatabaseUnreachableError(self._failure)
        # A look-up by hash tells an attacker's clock nothing: a guess's hash is no choice of his.
        known = self._keys.get(hash_key(key))
        if known is None:
            raise AuthenticationError("unknown_key", read_claimed_tenant(key), read_prefix(key))
        if not known.is_active:
            raise AuthenticationError("inactive_key", known.tenant_id, known.key_prefix)
        if known.expires_at is not None and known.expires_at <= time.time():
            raise AuthenticationError("expired_key", known.tenant_id, known.key_prefix)
        return known.tenant_id
