"""Steps that break and mend embedded staging, where such a fault really happens."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pytest_bdd import given, parsers, then, when

from tests.support.embedded import Embedded
from tests.support.past import is_healthy, wait_for_past
from tests.support.recorder import ScenarioRecord
from tests.support.waiting import wait_until

BASELINE_DEADLINE_S = 30.0
PLATFORMS = {"Cloud Run": "cloud_run", "Kubernetes": "kubernetes"}


@pytest.fixture
def clock() -> dict[str, float]:
    """Return the moments that the scenario's times are counted from."""
    return {}


@pytest.fixture
def baseline() -> list[Any]:
    """Return the configuration that the scenario began with; empty before it has."""
    return []


@given(parsers.parse("the service is healthy and under load on {platform}"))
def service_is_healthy(
    staging: Embedded, scenario_record: ScenarioRecord, baseline: list[Any], platform: str
) -> None:
    """Start from the clean baseline, and give the rules' windows a healthy past to look at."""
    scenario_record.platform = platform
    if staging.platform != PLATFORMS[platform]:
        staging.reset(PLATFORMS[platform])
    wait_for_past(staging)
    baseline[:] = [read_configuration(staging)]


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
def service_is_back(staging: Embedded, baseline: list[Any]) -> None:
    """Everything is as it was: healthy, nothing left in force, the configuration as at first."""
    check = follows_latest if staging.platform == "cloud_run" else is_rolled_out
    wait_until(
        lambda: is_healthy(staging) and check(staging),
        deadline_s=BASELINE_DEADLINE_S,
        what=f"the baseline; status: {staging.control('/status')}",
    )
    assert [read_configuration(staging)] == baseline
    in_force = staging.invoke("mitigate", "--json")
    assert in_force.returncode == 0, in_force.output
    assert in_force.json()["data"]["open"] == []


def read_configuration(staging: Embedded) -> dict[str, Any]:
    """Return what a responder may have changed; the image aside, which a fix replaces."""
    if staging.platform == "cloud_run":
        template = staging.read_service()["template"]
        container, scaling = template["containers"][0], template["scaling"]
    else:
        spec = staging.read_deployment()["spec"]
        container, scaling = spec["template"]["spec"]["containers"][0], spec["replicas"]
    return {
        "scaling": scaling,
        "limits": container["resources"]["limits"],
        "environment": container.get("env", []),
        "denied": [rule for rule in staging.read_policy() if rule["action"] != "allow"],
    }


def follows_latest(staging: Embedded) -> bool:
    """Return whether all traffic goes to the latest revision by rule, not by name."""
    [share] = staging.read_service()["traffic"]
    return bool(
        share["type"] == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST" and share["percent"] == 100
    )


def is_rolled_out(staging: Embedded) -> bool:
    """Return whether every replica of the Deployment is of its latest template, and available."""
    deployment = staging.read_deployment()
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return counts == [wanted] * 3
