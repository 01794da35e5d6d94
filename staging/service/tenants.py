"""The tenants and their pipelines.

A tenant's id is also its BigQuery dataset's, so it holds no hyphen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
