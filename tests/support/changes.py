"""A change that is tried twice, by its task and by hand, and what each leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.embedded import Embedded
from tests.support.store import read_store
from tests.support.waiting import wait_until

DEADLINE_S = 30.0
CLOUD_RUN, KUBERNETES = "cloud_run", "kubernetes"


def prepare_nothing(_staging: Embedded) -> list[str]:
    """Start from the baseline."""
    return []


def prepare_known_tenant(staging: Embedded) -> list[str]:
    """Start once the tenant's traffic is measured: a tenant that nobody knows is not blocked."""
    tenant = ["--tenant=willow_press"]
    wait_until(
        lambda: staging.invoke("mitigate.block-tenant", *tenant, "--dry-run").returncode == 0,
        deadline_s=DEADLINE_S,
        what="the tenant is known",
    )
    return tenant


@dataclass(frozen=True)
class Case:
    """One change in one state of the service.

    Attributes:
        prepare: Brings the state about, and returns further arguments of the step.
        read: Returns what is left behind, without what differs between any two runs.
    """

    step: str
    prepare: Callable[[Embedded], list[str]] = prepare_nothing
    arguments: list[str] = field(default_factory=list)
    platform: str = CLOUD_RUN
    read: Callable[[Embedded], Any] = read_store
