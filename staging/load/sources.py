"""The loopback addresses that clients send from: each tenant's own, and an attacker's."""

from __future__ import annotations

from staging.service.tenants import list_tenants

ATTACKER = "127.0.0.66"
DISTRIBUTED_ATTACKER = tuple(f"127.0.{100 + number}.66" for number in range(16))


def find_address(tenant_id: str) -> str:
    """Return a tenant's address, 127.0.10.1 for the largest; raise ValueError for no tenant."""
    return f"127.0.10.{list_tenants().index(tenant_id) + 1}"
