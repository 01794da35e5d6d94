"""Steps that break and mend embedded staging, where such a fault really happens."""

from __future__ import annotations

import time

import pytest
from pytest_bdd import given, parsers, then, when

from tests.support.embedded import Embedded
from tests.support.recorder import ScenarioRecord
from tests.support.waiting import wait_until, wait_until_held

BASELINE_DEADLINE_S = 30.0
HEALTHY_PAST_S = 5 * 60
BASELINE_SCALING = {"minInstanceCount": 2, "maxInstanceCount": 10}


@pytest.fixture
def clock() -> dict[str, float]:
    """Return the moments that the scenario's times are counted from."""
    return {}


@given("the service is healthy and under load")
def service_is_healthy(staging: Embedded) -> None:
    """Start from the clean baseline, and give the rules' windows a healthy past to look at."""
    wait_until_held(
        lambda: is_quiet(staging),
        seconds=HEALTHY_PAST_S / staging.time_scale,
        deadline_s=BASELINE_DEADLINE_S,
        what="healthy",
    )


@when(parsers.parse("the fault {fault} breaks the service"))
def break_service(
    staging: Embedded, scenario_record: ScenarioRecord, clock: dict[str, float], fault: str
) -> None:
    """Bring the fault about and start the clock of detection."""
    scenario_record.fault = fault
    clock["broken"] = time.monotonic()
    staging.control("/break", {"fault": fault})


@when(parsers.parse("the cause of {fault} is fixed"))
def fix_cause(staging: Embedded, fault: str) -> None:
    """Take the cause away as an engineer would: a fixed image, normal load, live processes."""
    assert staging.control("/status")["faults"] == [fault]
    staging.control("/heal", {})


@then("the service is back at its baseline")
def service_is_back(staging: Embedded) -> None:
    """Everything is as it was: healthy, traffic on the latest revision, nothing left in force."""
    wait_until(
        lambda: is_healthy(staging) and follows_latest(staging),
        deadline_s=BASELINE_DEADLINE_S,
        what=f"the baseline; status: {staging.control('/status')}",
    )
    template_scaling = staging.read_service()["template"]["scaling"]
    assert template_scaling == BASELINE_SCALING
    in_force = staging.invoke("mitigate", "--json")
    assert in_force.returncode == 0, in_force.output
    assert in_force.json()["data"]["open"] == []


def is_healthy(staging: Embedded) -> bool:
    """Return whether staging says it is ready and no alert is pending or firing."""
    return bool(staging.control("/status")["ready"]) and not staging.alerts()


def is_quiet(staging: Embedded) -> bool:
    """Return whether a service that nobody broke is healthy; raise when an alert fires on it."""
    assert "firing" not in staging.alerts().values(), f"a false alarm: {staging.alerts()}"
    return is_healthy(staging)


def follows_latest(staging: Embedded) -> bool:
    """Return whether all traffic goes to the latest revision by rule, not by name."""
    [share] = staging.read_service()["traffic"]
    return bool(
        share["type"] == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST" and share["percent"] == 100
    )
