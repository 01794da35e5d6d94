"""Mitigations of a Deployment over the wire: killed, overtaken, refused, and taken back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from runbook.timeline import Timeline
from tests.support.deployment_store import read_deployment_store
from tests.support.embedded import Embedded
from tests.support.past import wait_for_past
from tests.support.waiting import wait_until
from tests.unit.test_mitigate_crash import DEADLINE_S, is_stopped, kill, start

pytestmark = pytest.mark.staging

SCALE = ("mitigate.scale-up", "--replicas=3")
CACHE = ("mitigate.enable-caching", "--ttl-seconds=60", "--for=60m")
MERGE = "application/merge-patch+json"


@pytest.fixture
def cluster(embedded_staging: Embedded) -> Iterator[Embedded]:
    """Return the staging on Kubernetes, at its clean baseline."""
    embedded_staging.reset("kubernetes")
    yield embedded_staging
    embedded_staging.reset()


def patch(staging: Embedded, body: dict[str, Any]) -> None:
    """Change the Deployment as somebody else would."""
    place = staging.endpoints
    path = f"/apis/apps/v1/namespaces/{place['namespace']}/deployments/{place['deployment']}"
    headers = {"content-type": MERGE}
    answer = requests.patch(place["api"] + path, json=body, headers=headers, timeout=10)
    answer.raise_for_status()


def read_phases(staging: Embedded) -> list[str]:
    """Return the phases on the timeline, in order."""
    return [row.phase for row in Timeline(staging.state / "local.sqlite3", "local").rows()]


@pytest.mark.parametrize("step", [CACHE, ("mitigate.restart",)])
def test_a_change_and_its_undo_leave_the_baseline(cluster: Embedded, step: tuple[str, ...]) -> None:
    """The very template comes back, so its ReplicaSet is taken up again."""
    before = read_deployment_store(cluster)["deployment"]["spec"]
    done = cluster.invoke(*step, "--json")
    assert done.returncode == 0, done.output
    assert done.json()["status"] == "verified"
    undone = cluster.invoke("mitigate.undo", f"--change={done.json()['change']}")
    assert undone.returncode == 0, undone.output
    assert read_deployment_store(cluster)["deployment"]["spec"] == before


@pytest.mark.parametrize(
    ("moment", "part"), [("after", "record"), ("after", "send_patch"), ("after", "apply")]
)
def test_killed_it_is_undone(cluster: Embedded, moment: str, part: str) -> None:
    """Wherever it was killed, undo brings the recorded setting back, and can be repeated."""
    before = cluster.read_deployment()["spec"]["template"]
    kill(cluster, moment, part, *CACHE)
    changed = cluster.read_deployment()["spec"]["template"] != before
    assert changed is (part != "record")
    for _ in range(2):
        done = cluster.invoke("mitigate.undo")
        assert done.returncode == 0, done.output
        assert cluster.read_deployment()["spec"]["template"] == before


def test_a_killed_change_is_gone_on_with(cluster: Embedded) -> None:
    """Typed again, it verifies what it finds instead of doing it twice."""
    kill(cluster, "after", "send_patch", *SCALE)
    done = cluster.invoke(*SCALE)
    assert done.returncode == 0, done.output
    assert read_phases(cluster) == ["planned", "verified"]


def test_somebody_who_was_faster_is_told(cluster: Embedded) -> None:
    """Exit code 4; what they asked for stays."""
    process = start(cluster, "SIGSTOP", "after", "record", *SCALE)
    wait_until(lambda: is_stopped(process.pid), deadline_s=DEADLINE_S, what="the plan is made")
    patch(cluster, {"spec": {"replicas": 4}})
    os.kill(process.pid, signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4, stdout + stderr
    assert "after the plan was made" in stderr
    assert "pods from 2 to 4" in stderr
    assert cluster.read_deployment()["spec"]["replicas"] == 4
    assert read_phases(cluster) == ["planned", "failed"]


def test_a_version_that_moved_alone_stops_nothing(cluster: Embedded) -> None:
    """Crashing pods move the resourceVersion all the time; nobody asked for anything else."""
    process = start(cluster, "SIGSTOP", "after", "record", *SCALE)
    wait_until(lambda: is_stopped(process.pid), deadline_s=DEADLINE_S, what="the plan is made")
    version = cluster.read_deployment()["metadata"]["resourceVersion"]
    patch(cluster, {"metadata": {"annotations": {"note": "seen"}}})
    assert cluster.read_deployment()["metadata"]["resourceVersion"] != version
    os.kill(process.pid, signal.SIGCONT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stdout + stderr
    assert cluster.read_deployment()["spec"]["replicas"] == 3
    assert cluster.read_deployment()["metadata"]["annotations"]["note"] == "seen"


def test_rollback_finds_the_healthy_template_by_evidence(cluster: Embedded) -> None:
    """Typed again it looks whether it helped; undone, the newer template is back."""
    wait_for_past(cluster)
    cluster.control("/break", {"fault": "endpoint-errors"})
    wait_until(
        lambda: cluster.is_firing("HighErrorRate"), deadline_s=DEADLINE_S, what="the alert fires"
    )
    bad = read_image(cluster)
    done = cluster.invoke("mitigate.rollback", "--json")
    assert done.returncode == 0, done.output
    good = read_image(cluster)
    assert good != bad
    again = cluster.invoke("mitigate.rollback", "--json")
    assert again.returncode == 0, again.output
    assert again.json()["status"] == "unchanged"
    undone = cluster.invoke("mitigate.undo", f"--change={done.json()['change']}")
    assert undone.returncode == 0, undone.output
    assert read_image(cluster) == bad


def read_image(staging: Embedded) -> str:
    """Return the image, by version or digest, that is asked for."""
    [container] = staging.read_deployment()["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def test_what_the_platform_refuses_changes_nothing(cluster: Embedded) -> None:
    """The API's own words are told, and the row says that it failed."""
    before = cluster.read_deployment()["spec"]
    resources = {"requests": {"memory": "6Gi"}, "limits": {"memory": "8Gi"}}
    container = before["template"]["spec"]["containers"][0] | {"resources": resources}
    patch(cluster, {"spec": {"template": {"spec": {"containers": [container]}}}})
    read_deployment_store(cluster)
    asked = cluster.read_deployment()["spec"]
    done = cluster.invoke("mitigate.scale-up", "--memory=4Gi", "--force")
    assert done.returncode == 1, done.output
    assert "Kubernetes refused the change" in done.stderr
    assert "must be less than or equal to memory limit" in done.stderr
    assert cluster.read_deployment()["spec"] == asked
    assert read_phases(cluster) == ["planned", "failed"]


def test_release_of_traffic_is_not_for_a_deployment(cluster: Embedded) -> None:
    """Nothing is ever pinned there."""
    done = cluster.invoke("mitigate.release-traffic")
    assert done.returncode == 2, done.output
    assert "never pinned" in done.stderr
