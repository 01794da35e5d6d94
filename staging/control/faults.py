"""Faults: each happens at the place where such a thing really goes wrong.

No fault touches a metric, an answer or an alert: what is seen of it follows from what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.control.deployments import (
    FIXED_VERSION,
    REDEPLOYED_VERSION,
    dead_database,
    deploy,
    pin_traffic,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from staging.control.plant import Plant

# Ten instances of 2 CPU serve 1000 requests of 20 ms a second. At 60 a second this makes 1.5 times
# what ten can do, and three quarters of what twenty can.
OVERLOAD_FACTOR = 25.0


@dataclass(frozen=True)
class Fault:
    """One way to break staging, and how an engineer takes its cause away."""

    name: str
    description: str
    alert: str
    engage: Callable[[Plant], Awaitable[None]]
    heal: Callable[[Plant], Awaitable[None]]


async def _deploy_fix(plant: Plant) -> None:
    await deploy(plant, version=FIXED_VERSION)


def _build_fault(version: str, description: str, alert: str) -> Fault:
    async def engage(plant: Plant) -> None:
        await deploy(plant, version=f"1.5.0-{version}")

    return Fault(version, description, alert, engage, _deploy_fix)


async def _freeze(plant: Plant) -> None:
    for instance in plant.fleet.instances():
        if instance.state == "ready":
            plant.fleet.freeze(instance)


async def _thaw(plant: Plant) -> None:
    for instance in plant.fleet.instances():
        plant.fleet.resume(instance)


async def _lose_image(plant: Plant) -> None:
    # An older image goes out again and serves: the revision before it is then known to be good.
    await deploy(plant, version=REDEPLOYED_VERSION)
    plant.workload.discard_image(plant.workload.serving_image())
    await plant.workload.recycle()


async def _cut_database(plant: Plant) -> None:
    await deploy(plant, database=dead_database(plant))


async def _pin_to_bad(plant: Plant) -> None:
    failing = await deploy(plant, database=dead_database(plant))
    await pin_traffic(plant, failing)
    await _deploy_fix(plant)


async def _weigh_down(plant: Plant) -> None:
    await plant.load.set_weight_factor(OVERLOAD_FACTOR)


async def _lighten(plant: Plant) -> None:
    await plant.load.set_weight_factor(1.0)


_ALL = (
    _build_fault(
        "crash-under-traffic",
        "A build goes out whose native extension writes to freed memory: instances start, serve a"
        " little, and die of it; the platform restarts them with back-off.",
        "ServiceDown",
    ),
    Fault(
        "frozen-instances",
        "Every serving process stops where it is, as in a deadlock: connections are accepted and"
        " never answered. Nothing was deployed.",
        "ServiceDown",
        _freeze,
        _thaw,
    ),
    Fault(
        "lost-image",
        "An older image is deployed again and serves; then it vanishes from the registry and the"
        " platform recycles the instances: none of them starts again.",
        "ServiceDown",
        _lose_image,
        _deploy_fix,
    ),
    _build_fault(
        "endpoint-errors",
        "A build goes out that reads a column by a name no dataset has yet: the endpoints that"
        " list and start runs answer 500.",
        "HighErrorRate",
    ),
    _build_fault(
        "tenant-errors",
        "A build goes out that takes every pipeline for a scheduled one: the largest tenant, whose"
        " pipelines have no schedule, gets 500.",
        "HighErrorRate",
    ),
    Fault(
        "database-unreachable",
        "A revision goes out whose environment names a database address where nothing listens.",
        "HighErrorRate",
        _cut_database,
        _deploy_fix,
    ),
    Fault(
        "overload",
        "Requests become 25 times as heavy: more than the maximum of 10 instances can serve, and"
        " less than 20 can.",
        "HighErrorRate",
        _weigh_down,
        _lighten,
    ),
    Fault(
        "pinned-to-bad",
        "Traffic is pinned by name to a revision with a dead database address, while the latest"
        " revision is healthy and gets none.",
        "HighErrorRate",
        _pin_to_bad,
        _deploy_fix,
    ),
    _build_fault(
        "crash-at-start",
        "A build goes out that needs a variable nobody sets: its containers end at start, so the"
        " revision never becomes ready and the traffic stays where it was.",
        "",
    ),
)
FAULTS = {fault.name: fault for fault in _ALL}
