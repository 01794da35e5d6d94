"""Faults of load: too much of it, slow dependencies, builds and tenants that take too much."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from staging.control.fault import Fault, build_fault
from staging.control.memory_pressure import clear_reference, grow_reference, prepare_exports
from staging.service.work import USUAL_COST_S

if TYPE_CHECKING:
    from staging.control.plant import Plant

# Above HighLatencyP95's second; below the 5 s after which the ingress gives a request up.
_SLOW_READ_S = 2.4
_SLOW_SOURCE_S = 4.0
_BUSY_EVENNESS = 16
_OVERLOAD_RHO = 1.5
# Above the 60 % at which Cloud Run adds instances, below what makes requests wait for long.
_RAMP_RHO = 0.8
_RAMP_STEP_S = 0.25
_RAMP_DEADLINE_S = 20.0


def _load_fault(name: str, rho: float, description: str, alert: str) -> Fault:
    async def engage(plant: Plant) -> None:
        # Many clients at once are steadier than few: chance alone would leave the band of an alert.
        await plant.load.set_evenness(_BUSY_EVENNESS)
        await _ramp_up(plant)
        await _weigh_down(plant, rho, plant.workload.most_instances())

    return Fault(name, description, alert, engage, _lighten)


async def _weigh_down(plant: Plant, rho: float, instances: int) -> None:
    """Make requests so heavy that `instances` of them would be busy for `rho` of the time."""
    usual = float(plant.load.status()["rate"]) * USUAL_COST_S
    await plant.load.set_weight_factor(rho * instances * plant.workload.cpu() / usual)


async def _ramp_up(plant: Plant) -> None:
    """Let the load grow as the instances do, as it does in an hour: no request is refused for it.

    Return when as many instances serve as may, or after 20 s.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_RAMP_DEADLINE_S):
            while (serving := _count_serving(plant)) < plant.workload.most_instances():
                await _weigh_down(plant, _RAMP_RHO, serving)
                await asyncio.sleep(_RAMP_STEP_S)


def _count_serving(plant: Plant) -> int:
    return sum(instance.state == "ready" for instance in plant.fleet.instances())


async def _overload(plant: Plant) -> None:
    await _weigh_down(plant, _OVERLOAD_RHO, plant.workload.most_instances())


async def _lighten(plant: Plant) -> None:
    await plant.load.set_evenness(1)
    await plant.load.set_weight_factor(1.0)


async def _slow_reads(plant: Plant) -> None:
    plant.database.set_read_delay(_SLOW_READ_S)


async def _quick_reads(plant: Plant) -> None:
    plant.database.set_read_delay(0.0)


async def _slow_sources(plant: Plant) -> None:
    plant.sources.set_delay(_SLOW_SOURCE_S)


async def _quick_sources(plant: Plant) -> None:
    plant.sources.set_delay(0.0)


async def _recycle(plant: Plant) -> None:
    await plant.workload.recycle()


LOAD_FAULTS = (
    Fault(
        "overload",
        "At one stroke requests become so heavy that they ask for half as much again as the most"
        " instances that may run can serve: 25 times the usual on Cloud Run's ten.",
        "HighErrorRate",
        _overload,
        _lighten,
    ),
    _load_fault(
        "saturation",
        1.08,
        "Requests become heavier until they ask for a twelfth more than the most instances that may"
        " run can serve: queues grow.",
        "HighLatencyP95",
    ),
    Fault(
        "slow-reads",
        "BigQuery takes 2.4 s for a read of a tenant's runs: whatever lists pipelines or executions"
        " is slow, and nothing was deployed.",
        "HighLatencyP95",
        _slow_reads,
        _quick_reads,
    ),
    Fault(
        "slow-source",
        "The tenants' own systems take 4 s to hand out what a run works on: runs are slow, lists"
        " are not, and nothing was deployed.",
        "HighLatencyP95",
        _slow_sources,
        _quick_sources,
    ),
    _load_fault(
        "busy-hour",
        0.88,
        "Requests become heavier until the most instances that may run are busy 88 % of the time.",
        "HighCPUUsage",
    ),
    _load_fault(
        "rush-hour",
        1.03,
        "Requests become heavier until they ask for all that the most instances that may run have.",
        "CriticalCPUUsage",
    ),
    build_fault(
        "busy-poll",
        "A build goes out whose thread asks for new schedules again and again with hardly a pause:"
        " it takes most of the CPU that requests leave.",
        "HighCPUUsage",
    ),
    build_fault(
        "hot-loop",
        "A build goes out in which a thread's loop never comes to its end: it takes all the CPU"
        " that requests leave.",
        "CriticalCPUUsage",
    ),
    Fault(
        "export-burst",
        "A tenant asks for export after export and fetches none: 1.4.x keeps them all, until the"
        " busiest instance uses 90 % of its memory.",
        "HighMemoryUsage",
        prepare_exports,
        _recycle,
    ),
    build_fault(
        "oversized-cache",
        "A build goes out whose cache of answers may fill 90 % of the container, and does.",
        "HighMemoryUsage",
    ),
    build_fault(
        "memory-leak",
        "A build goes out that keeps a trace of every request: its memory fills to 96 % at once and"
        " on until the platform kills the instance and starts another.",
        "CriticalMemoryUsage",
    ),
    Fault(
        "data-growth",
        "The tenants' reference data, which every build keeps in memory, grows until it fills 97 %"
        " of the container, after a restart as before.",
        "CriticalMemoryUsage",
        grow_reference,
        clear_reference,
    ),
)
