"""Faults of load: too much of it, slow dependencies, builds and tenants that take too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.control.fault import Fault, build_fault
from staging.control.memory_pressure import clear_reference, grow_reference, prepare_exports
from staging.service.work import USUAL_COST_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from staging.control.plant import Plant

# Above HighLatencyP95's second; below the 5 s after which the ingress gives a request up.
_SLOW_READ_S = 2.4
_SLOW_SOURCE_S = 4.0


def _load_fault(name: str, rho: float, description: str, alert: str) -> Fault:
    return Fault(name, description, alert, _weigh_down(rho), _lighten)


def _weigh_down(rho: float) -> Callable[[Plant], Awaitable[None]]:
    """Make requests so heavy that the most instances that may serve are `rho` times full."""

    async def engage(plant: Plant) -> None:
        capacity = plant.workload.most_instances() * plant.workload.cpu()
        usual = float(plant.load.status()["rate"]) * USUAL_COST_S
        await plant.load.set_weight_factor(rho * capacity / usual)

    return engage


async def _lighten(plant: Plant) -> None:
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
    _load_fault(
        "overload",
        1.5,
        "Requests become so heavy that they ask for half as much again as the most instances that"
        " may run can serve: 25 times the usual on Cloud Run's ten.",
        "HighErrorRate",
    ),
    _load_fault(
        "saturation",
        1.12,
        "Requests become heavier until they ask for an eighth more than the most instances that may"
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
