"""The key table as the platform's side sees it: its baseline, and keys that end or go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from staging.service.keys import (
    KEYS_DATASET,
    KEYS_TABLE,
    describe_key,
    format_time,
    make_key,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from staging.bigquery.store import Store

_DAY_S = 86_400
# The keys were given out some weeks ago, and are good for the rest of their year.
_AGE_DAYS = 90


class KeyTable:
    """The tenants' keys in `metadata.x_meta_api_keys`."""

    def __init__(self, store: Store, keys: Mapping[str, str], folder: Path) -> None:
        """Take each tenant's key, and where keys are handed out; `restore` writes the table."""
        issued_at = time.time() - _AGE_DAYS * _DAY_S
        self._store = store
        self._plain = dict(keys)
        self._folder = folder
        self._keys = [describe_key(tenant, key, now=issued_at) for tenant, key in keys.items()]

    def restore(self) -> None:
        """Write the baseline's keys into the table, which must be empty."""
        self._store.insert(KEYS_DATASET, KEYS_TABLE, [key.to_row() for key in self._keys])

    def find_key(self, tenant: str) -> str:
        """Return the key that the tenant was given; raise KeyError for no tenant."""
        return self._plain[tenant]

    def write_strange_key(self, tenant: str) -> Path:
        """Write a key that is not in the table to a file of its own, and return that."""
        path = self._folder / f"rolled-out-{tenant}.key"
        write_private(path, make_key(tenant))
        return path

    def set_expiry(self, tenants: Iterable[str], moment: float) -> None:
        """Let the tenants' baseline keys end at `moment`, in seconds since the epoch."""
        wanted = set(tenants)
        for key in self._keys:
            if key.tenant_id in wanted:
                self._store.update(
                    KEYS_DATASET,
                    KEYS_TABLE,
                    {"key_id": key.key_id},
                    {"expires_at": format_time(moment)},
                )
