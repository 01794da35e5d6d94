"""The tenants, their pipelines and their API keys.

A tenant's id is also its BigQuery dataset's, so it holds no hyphen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

IDENTIFIER = re.compile(r"[a-zA-Z0-9_-]{3,128}")
UNKNOWN_TENANT = "unknown"
# The largest tenant joined before pipelines could be scheduled and starts its own by request.
LARGEST_TENANT = "northwind_retail"

_TENANTS = (
    LARGEST_TENANT,
    *("acme_logistics", "blue_harbor_bank", "cobalt_media", "delta_grid_energy"),
    *("evergreen_health", "fjord_shipping", "granite_insurance", "helios_solar"),
    *("iris_telecom", "juniper_foods", "kestrel_air", "lumen_labs", "maple_credit"),
    *("nimbus_games", "orchid_pharma", "pelican_travel", "quartz_mining", "redwood_homes"),
    *("saffron_kitchens", "tundra_outdoors", "umbra_security", "vela_motors", "willow_press"),
)
_TENANTS_WITH_TWO_PIPELINES = 8


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of one tenant: a name, and a cron schedule if it has one."""

    pipeline_id: str
    tenant_id: str
    schedule: str | None


def list_tenants() -> tuple[str, ...]:
    """Return every tenant's id, largest first."""
    return _TENANTS


def list_pipelines(tenant_id: str) -> tuple[Pipeline, ...]:
    """Return the pipelines of a tenant; none for a tenant that does not exist."""
    if tenant_id not in _TENANTS:
        return ()
    place = _TENANTS.index(tenant_id)
    names = ("daily_cost", "usage_export")[: 2 if place < _TENANTS_WITH_TWO_PIPELINES else 1]
    schedule = None if tenant_id == LARGEST_TENANT else f"{place} 4 * * *"
    return tuple(Pipeline(f"{tenant_id}-{name}", tenant_id, schedule) for name in names)


def create_api_keys(path: Path) -> dict[str, str]:
    """Write a fresh key per tenant to `path`, readable by its owner alone, and return them.

    A key is `cda.<tenant>.<secret>`, so that a refused key still names the tenant it claims.
    """
    keys = {tenant: f"cda.{tenant}.{secrets.token_urlsafe(24)}" for tenant in _TENANTS}
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(keys, file, indent=1)
    draft.replace(path)
    return keys


class KeyRing:
    """The service's view of the keys: their hashes alone, as in `metadata.x_meta_api_keys`."""

    def __init__(self, keys: dict[str, str]) -> None:
        """Take plain keys by tenant; only their SHA-256 is kept."""
        self._hashes = {tenant: _hash_key(key) for tenant, key in keys.items()}

    @classmethod
    def read(cls, path: str) -> KeyRing:
        """Return the ring of a file that `create_api_keys` wrote; raise OSError, ValueError."""
        return cls(json.loads(Path(path).read_text()))

    def find_tenant(self, key: str) -> str | None:
        """Return the tenant whose key this is, or None."""
        claimed = read_claimed_tenant(key)
        known = self._hashes.get(claimed)
        if known is not None and hmac.compare_digest(known, _hash_key(key)):
            return claimed
        return None


def read_claimed_tenant(key: str) -> str:
    """Return the existing tenant that a key names, right or wrong, or `unknown`."""
    parts = key.split(".")
    claimed = parts[1] if len(parts) == 3 and parts[0] == "cda" else ""  # noqa: PLR2004 - prefix, tenant, secret
    return claimed if claimed in _TENANTS else UNKNOWN_TENANT


def _hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
