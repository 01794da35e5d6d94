"""Faults: each happens at the place where such a thing really goes wrong.

No fault touches a metric, an answer or an alert: what is seen of it follows from what happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.control.deployments import (
    REDEPLOYED_VERSION,
    dead_database,
    deploy,
    pin_traffic,
)
from staging.control.fault import Fault, build_fault, deploy_fix
from staging.control.faults_access import ACCESS_FAULTS
from staging.control.faults_load import LOAD_FAULTS

if TYPE_CHECKING:
    from staging.control.plant import Plant


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


async def _deploy_crashing_build(plant: Plant) -> None:
    # Under traffic a rolling update may stop half-way, at the last pod of the build before.
    await plant.load.pause()
    try:
        await deploy(plant, version="1.5.0-crash-under-traffic")
    finally:
        await plant.load.resume()


async def _cut_database(plant: Plant) -> None:
    await deploy(plant, database=dead_database(plant))


async def _pin_to_bad(plant: Plant) -> None:
    failing = await deploy(plant, database=dead_database(plant))
    await pin_traffic(plant, failing)
    await deploy_fix(plant)


_ALL = (
    Fault(
        "crash-under-traffic",
        "A build goes out whose native extension writes to freed memory: in a quiet minute it rolls"
        " out well, then its instances serve a little and die of it; the platform restarts them"
        " with back-off.",
        "ServiceDown",
        _deploy_crashing_build,
        deploy_fix,
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
        deploy_fix,
    ),
    build_fault(
        "endpoint-errors",
        "A build goes out that reads a column by a name no dataset has yet: the endpoints that"
        " list and start runs answer 500.",
        "HighErrorRate",
    ),
    build_fault(
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
        deploy_fix,
    ),
    Fault(
        "pinned-to-bad",
        "Traffic is pinned by name to a revision with a dead database address, while the latest"
        " revision is healthy and gets none.",
        "HighErrorRate",
        _pin_to_bad,
        deploy_fix,
        platforms=("cloud_run",),
    ),
    build_fault(
        "crash-at-start",
        "A build goes out that needs a variable nobody sets: its containers end at start, so the"
        " revision never becomes ready and the traffic stays where it was.",
        "",
    ),
    *LOAD_FAULTS,
    *ACCESS_FAULTS,
)
FAULTS = {fault.name: fault for fault in _ALL}
