"""Deployments as a team's pipeline makes them: changes of the template through Cloud Run's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from staging.cloud_run.store import SERVICE
from staging.service.builds import REPOSITORY

if TYPE_CHECKING:
    from staging.control.plant import Plant

FIXED_VERSION = "1.4.3"
REDEPLOYED_VERSION = "1.4.1"
_DATABASE_VARIABLE = "BIGQUERY_ENDPOINT"


def dead_database(plant: Plant) -> str:
    """Return an address that refuses connections: it is bound, and nobody will ever listen."""
    host, port = plant.addresses.claimed
    return f"http://{host}:{port}"


async def deploy(plant: Plant, *, version: str = "", database: str = "") -> str:
    """Deploy an image by version, or the same one, with its own database address or the default.

    Return the new revision's name, once the rollout has ended, well or not. Traffic follows the
    split in force. Raise CloudRunError when Cloud Run refuses.
    """

    def change(service: dict[str, Any]) -> None:
        container = service["template"]["containers"][0]
        if version:
            container["image"] = f"{REPOSITORY}:{version}"
        kept = [item for item in container.get("env", []) if item["name"] != _DATABASE_VARIABLE]
        added = [{"name": _DATABASE_VARIABLE, "value": database}] if database else []
        container["env"] = kept + added
        # A name that was given to the last revision cannot be given to this one.
        service["template"].pop("revision", None)

    await plant.cloud_run.update_service(change, "template")
    return plant.cloud_run.store.service.latest_created


async def pin_traffic(plant: Plant, revision: str) -> None:
    """Send all traffic to `revision` by name, as `update-traffic --to-revisions` does."""

    def change(service: dict[str, Any]) -> None:
        service["traffic"] = [
            {
                "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
                "revision": revision,
                "percent": 100,
            }
        ]

    await plant.cloud_run.update_service(change, "traffic")


def serving_image(plant: Plant) -> str:
    """Return the image of the revision with the largest share of the traffic."""
    shares = plant.cloud_run.store.find_service(SERVICE).shares()
    serving = max(shares, key=lambda revision: shares[revision])
    return plant.cloud_run.store.revisions[serving].template.container.image
