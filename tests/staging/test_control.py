"""The control API over a running staging: what each fault really does, healing, and the reset."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import yaml

from staging.control.faults import FAULTS
from staging.local_http import LocalHttpError, request_json
from staging.supervisor_directory import StagingDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.staging


# What the other faults do, tests of their own measure.
FAILURE_ALERTS = {"ServiceDown", "HighErrorRate"}


class Staging:
    """A running staging, as a test asks it."""

    def __init__(self, endpoints: dict[str, Any]) -> None:
        """Take what endpoints.json says."""
        self.endpoints = endpoints
        self.service = (
            f"{endpoints['api']}/v2/projects/{endpoints['project']}"
            f"/locations/{endpoints['region']}/services/{endpoints['service']}"
        )

    def control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the control API's answer."""
        url = f"{self.endpoints['control']}{path}"
        answer: dict[str, Any] = request_json(url, method=method, body=body, timeout_s=60)
        return answer

    def alerts(self) -> list[str]:
        """Return the names of the pending and firing alerts."""
        answer = request_json(f"{self.endpoints['prometheus']}/api/v1/alerts")
        return [alert["labels"]["alertname"] for alert in answer["data"]["alerts"]]

    def template(self) -> dict[str, Any]:
        """Return the service's template."""
        template: dict[str, Any] = request_json(self.service)["template"]
        return template

    def failures(self) -> int:
        """Return how many requests of the load failed since the last reset."""
        return int(self.control("GET", "/status")["load"]["failed"])


def list_alerts() -> set[str]:
    """Return the names of all alert rules."""
    rules = yaml.safe_load((REPOSITORY / "checks" / "alerts.yml").read_text())
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def wait_for(what: Callable[[], object], deadline_s: float = 20.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """One staging for this module; every test starts from its reset."""
    folder = tmp_path_factory.mktemp("control")
    command = [sys.executable, "-m", "staging", "{}", "--dir", str(folder)]
    try:
        subprocess.run(
            [part.format("up") for part in command], cwd=REPOSITORY, timeout=60, check=True
        )
        endpoints = StagingDirectory(folder).read_endpoints()
        assert endpoints is not None
        yield Staging(endpoints)
    finally:
        subprocess.run(
            [part.format("down") for part in command], cwd=REPOSITORY, timeout=60, check=True
        )


@pytest.fixture
def staging(running: Staging) -> Staging:
    running.control("POST", "/reset")
    return running


def test_every_fault_says_what_it_does_and_which_alert_it_leads_to(staging: Staging) -> None:
    faults = staging.control("GET", "/faults")["faults"]
    assert [fault["name"] for fault in faults] == list(FAULTS)
    assert {fault["alert"] for fault in faults} == {*list_alerts(), ""}
    assert all(len(fault["description"]) > 40 for fault in faults)


@pytest.mark.parametrize("body", [{}, {"fault": "nothing"}, {"fault": None}, [], "x"])
def test_a_senseless_break_is_refused(staging: Staging, body: object) -> None:
    with pytest.raises(LocalHttpError) as refused:
        staging.control("POST", "/break", body)
    assert refused.value.status == 400
    assert '"next"' in refused.value.body
    assert staging.control("GET", "/status")["faults"] == []


@pytest.mark.parametrize("fault", [f.name for f in FAULTS.values() if f.alert in FAILURE_ALERTS])
def test_a_fault_makes_requests_fail_and_a_reset_leaves_nothing_of_it(
    staging: Staging, fault: str
) -> None:
    before = staging.template()
    slots = {item["slot"] for item in staging.control("GET", "/status")["instances"]}
    staging.control("POST", "/break", {"fault": fault})
    assert staging.control("GET", "/status")["faults"] == [fault]
    wait_for(lambda: staging.failures() > 20)
    wait_for(lambda: FAULTS[fault].alert in staging.alerts())
    staging.control("POST", "/reset")
    assert staging.alerts() == []
    status = staging.control("GET", "/status")
    assert status["faults"] == []
    assert [item["state"] for item in status["instances"]] == ["ready", "ready"]
    assert not {item["slot"] for item in status["instances"]} & slots
    assert status["load"].get("weight_factor") == 1.0
    assert staging.template() == before
    revisions = request_json(f"{staging.service}/revisions")["revisions"]
    assert len(revisions) == 2
    assert request_json(f"{staging.endpoints['service_url']}/health/ready")["status"] == "ready"


def test_a_build_that_crashes_at_start_takes_no_traffic(staging: Staging) -> None:
    before = staging.control("GET", "/status")["traffic"]
    staging.control("POST", "/break", {"fault": "crash-at-start"})
    assert staging.control("GET", "/status")["traffic"] == before
    service = request_json(staging.service)
    assert service["latestCreatedRevision"] != service["latestReadyRevision"]
    assert service["terminalCondition"]["state"] == "CONDITION_FAILED"


def test_healing_deploys_a_fixed_build(staging: Staging) -> None:
    staging.control("POST", "/break", {"fault": "endpoint-errors"})
    assert staging.control("POST", "/heal") == {"healed": ["endpoint-errors"]}
    assert staging.template()["containers"][0]["image"].endswith(":1.4.3")
    assert staging.control("GET", "/status")["faults"] == []
    wait_for(lambda: staging.alerts() == [])


def test_healing_leaves_pinned_traffic_where_it_is(staging: Staging) -> None:
    staging.control("POST", "/break", {"fault": "pinned-to-bad"})
    service = request_json(staging.service)
    pinned = service["traffic"][0]["revision"]
    assert pinned != service["latestReadyRevision"].rpartition("/")[2]
    staging.control("POST", "/heal")
    assert staging.control("GET", "/status")["traffic"] == {pinned: 100}


def test_healing_frozen_instances_and_overload_deploys_nothing(staging: Staging) -> None:
    before = staging.template()
    for fault in ("frozen-instances", "overload"):
        staging.control("POST", "/break", {"fault": fault})
    staging.control("POST", "/heal")
    assert staging.template() == before
    assert staging.control("GET", "/status")["load"]["weight_factor"] == 1.0
    wait_for(lambda: staging.alerts() == [])


def test_prometheus_knows_which_slots_should_serve(staging: Staging) -> None:
    promql = 'up{job="convergence-api"} == 1 and on(instance) slot_expected == 1'
    url = f"{staging.endpoints['prometheus']}/api/v1/query?{urlencode({'query': promql})}"
    answer = request_json(url)
    found = {sample["metric"]["instance"] for sample in answer["data"]["result"]}
    instances = staging.control("GET", "/status")["instances"]
    assert found == {item["address"] for item in instances}


def test_an_alert_reaches_alertmanager_with_its_severity(staging: Staging) -> None:
    staging.control("POST", "/break", {"fault": "frozen-instances"})

    def routed() -> bool:
        alerts = request_json(f"{staging.endpoints['alertmanager']}/api/v2/alerts")
        return any(
            alert["labels"]["alertname"] == "ServiceDown"
            and [receiver["name"] for receiver in alert["receivers"]] == ["pagerduty-slack-email"]
            for alert in alerts
        )

    wait_for(routed)


def test_a_reset_ends_an_alert_that_is_kept_firing(staging: Staging) -> None:
    staging.control("POST", "/break", {"fault": "frozen-instances"})
    held = f"{staging.endpoints['alertmanager']}/api/v2/alerts"
    wait_for(lambda: request_json(held))
    # ServiceDown is kept firing for two minutes, which are 2 s on staging's clock.
    assert staging.control("POST", "/reset")["seconds"] < 1.5
    assert staging.alerts() == []
    assert request_json(held) == []


def test_requests_through_the_ingress_are_in_the_log(staging: Staging) -> None:
    body = {
        "resourceNames": ["projects/convergence-local"],
        "filter": 'log_id("run.googleapis.com/requests") AND httpRequest.status=200',
    }
    serving = next(iter(staging.control("GET", "/status")["traffic"]))

    def logged() -> bool:
        url = f"{staging.endpoints['api']}/v2/entries:list"
        entries = request_json(url, method="POST", body=body).get("entries", [])
        return bool(entries) and all(
            entry["resource"]["labels"]["revision_name"] == serving for entry in entries
        )

    wait_for(logged)
