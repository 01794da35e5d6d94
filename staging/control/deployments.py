"""Deployments as a team's pipeline makes them: changes through the platform's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staging.control.plant import Plant

FIXED_VERSION = "1.4.3"
REDEPLOYED_VERSION = "1.4.1"
DATABASE_VARIABLE = "BIGQUERY_ENDPOINT"


def dead_database(plant: Plant) -> str:
    """Return an address that refuses connections: it is bound, and nobody will ever listen."""
    host, port = plant.addresses.claimed
    return f"http://{host}:{port}"


async def deploy(plant: Plant, *, version: str = "", database: str = "") -> str:
    """Deploy an image by version, or the same one, with its own database address or the default.

    Return the new revision's or ReplicaSet's name, once the rollout has ended, well or not. Raise
    WorkloadError when the platform refuses.
    """
    return await plant.workload.deploy(version=version, env={DATABASE_VARIABLE: database or None})


async def pin_traffic(plant: Plant, revision: str) -> None:
    """Send all of Cloud Run's traffic to `revision`, as `update-traffic --to-revisions` does."""

    def change(service: dict[str, Any]) -> None:
        service["traffic"] = [
            {
                "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
                "revision": revision,
                "percent": 100,
            }
        ]

    await plant.cloud_run.update_service(change, "traffic")
