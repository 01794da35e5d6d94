"""What a fault is: one way to break staging, on the platforms that have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from staging.control.deployments import FIXED_VERSION, deploy
from staging.model import PLATFORMS, Platform

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from staging.control.plant import Plant


@dataclass(frozen=True)
class Fault:
    """One way to break staging, and how an engineer takes its cause away."""

    name: str
    description: str
    alert: str
    engage: Callable[[Plant], Awaitable[None]]
    heal: Callable[[Plant], Awaitable[None]]
    platforms: tuple[Platform, ...] = PLATFORMS


async def deploy_fix(plant: Plant) -> None:
    """Deploy the build that has no defect, with the usual database."""
    await deploy(plant, version=FIXED_VERSION)


def build_fault(version: str, description: str, alert: str) -> Fault:
    """Return the fault of a bad build's deployment; its name is the build's, without 1.5.0."""

    async def engage(plant: Plant) -> None:
        await plant.workload.deploy(version=f"1.5.0-{version}")

    return Fault(version, description, alert, engage, deploy_fix)
