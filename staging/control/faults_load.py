"""Faults of load: too much of it, slow dependencies, and builds that waste CPU or memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.control.fault import Fault, build_fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from staging.control.plant import Plant

# What a usual request costs in CPU-seconds, see staging.service.exchange.
_USUAL_COST_S = 0.020


def _load_fault(name: str, rho: float, description: str, alert: str) -> Fault:
    return Fault(name, description, alert, _weigh_down(rho), _lighten)


def _weigh_down(rho: float) -> Callable[[Plant], Awaitable[None]]:
    """Make requests so heavy that the most instances that may serve are `rho` times full."""

    async def engage(plant: Plant) -> None:
        capacity = plant.workload.most_instances() * plant.workload.cpu()
        usual = float(plant.load.status()["rate"]) * _USUAL_COST_S
        await plant.load.set_weight_factor(rho * capacity / usual)

    return engage


async def _lighten(plant: Plant) -> None:
    await plant.load.set_weight_factor(1.0)


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
)
