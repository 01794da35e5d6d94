"""How tenants fill the instances' memory: exports nobody fetches, reference data that grows."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from staging.load.sources import find_address
from staging.service.exports import ROW_BYTES
from staging.service.http_client import HttpClient, ProtocolError

if TYPE_CHECKING:
    from staging.control.plant import Plant

EXPORTING_TENANT = "helios_solar"
_OK = 200
_EXPORT_BYTES = 128 * 1024**2
# Between HighMemoryUsage's 85 % and CriticalMemoryUsage's 95 %.
_EXPORTS_SHARE = 0.90
# Above CriticalMemoryUsage's 95 %; what is left is for the instance's own ups and downs.
_FIRST_SHARE = 0.90
_REFERENCE_SHARE = 0.97
_NEAR = 0.01
_DEADLINE_S = 30.0
_POLL_S = 0.1
_SETTLED_S = 0.3


async def prepare_exports(plant: Plant) -> None:
    """Ask for exports until the busiest instance uses 90 % of its memory; raise TimeoutError."""
    port = plant.addresses.ports["service"]
    client = HttpClient("127.0.0.1", port, find_address(EXPORTING_TENANT))
    headers = {"x-api-key": plant.keys.find_key(EXPORTING_TENANT)}
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while (room := _measure_room(plant, _EXPORTS_SHARE)) > ROW_BYTES:
                rows = max(1, min(room, _EXPORT_BYTES) // ROW_BYTES)
                target = f"/api/v1/pipelines/executions?export=new&rows={rows}"
                with contextlib.suppress(OSError, ProtocolError):
                    if (await client.request("GET", target, headers)).status == _OK:
                        continue
                await asyncio.sleep(_POLL_S)
    finally:
        client.close()


async def grow_reference(plant: Plant) -> None:
    """Let reference data fill 97 % of the busiest instance, then have all of them replaced.

    It grows in two steps, as memory is not used up to the byte. Raise TimeoutError.
    """
    async with asyncio.timeout(_DEADLINE_S):
        for share in (_FIRST_SHARE, _REFERENCE_SHARE):
            plant.sources.grow_reference(_measure_room(plant, share))
            await _wait_filled(plant, share - _NEAR)
        await plant.workload.recycle()


async def _wait_filled(plant: Plant, share: float) -> None:
    """Return once the busiest instance uses `share` and has taken in what it was to take in."""
    before = 0
    while True:
        room = _measure_room(plant, share)
        if room <= 0 and room == before:
            return
        before = room
        await asyncio.sleep(_SETTLED_S)


async def clear_reference(plant: Plant) -> None:
    """Let reference data be as small as usual, and replace instances, which would keep its room."""
    plant.sources.reset()
    await plant.workload.recycle()


def _measure_room(plant: Plant, share: float) -> int:
    """Return the bytes that the busiest serving instance is below `share` of its memory."""
    rooms = [
        int(share * instance.spec.memory_bytes) - plant.fleet.memory(instance)
        for instance in plant.fleet.instances()
        if instance.state == "ready"
    ]
    return min(rooms, default=0)
