"""The way back to the clean baseline, and what "clean" means."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from staging.addresses import INSTANCE_PORT

if TYPE_CHECKING:
    from staging.control.plant import Plant
    from staging.model import Platform

# Ten times what it takes on a quiet machine.
RESET_DEADLINE_S = 10.0


async def reset(plant: Plant, platform: Platform = "cloud_run") -> float:
    """Bring the baseline up on `platform`; return only when it is clean, with the seconds it took.

    Instances are killed and forked anew in other slots: nothing of a fault can survive in them.
    Raise TimeoutError when the baseline is not reached within RESET_DEADLINE_S.
    """
    started = time.monotonic()
    async with asyncio.timeout(RESET_DEADLINE_S):
        await plant.load.pause()
        plant.database.reset()
        plant.sources.reset()
        plant.keys.restore()
        await plant.platforms.reset(platform)
        await plant.cloud_armor.reset()
        await plant.ingress.settle()
        plant.faults.clear()
        plant.logs.clear()
        await plant.prometheus.forget_service()
        if await plant.prometheus.read_alerts():
            # One that is kept firing for a while would be so although nothing is left of its cause.
            await plant.prometheus.load_rules()
            await plant.alertmanager.resolve_all()
        await plant.load.reset()
        plant.publish()
    await wait_clean(plant, RESET_DEADLINE_S)
    return time.monotonic() - started


async def wait_clean(plant: Plant, deadline_s: float) -> None:
    """Return when the baseline serves, is scraped, and no alert is pending or firing.

    Raise TimeoutError, naming what is missing, at the deadline.
    """
    ready = {
        f"{instance.address.partition(':')[0]}:{INSTANCE_PORT}"
        for instance in plant.fleet.instances()
        if instance.state == "ready"
    }
    await plant.prometheus.wait_clean(ready, deadline_s)
