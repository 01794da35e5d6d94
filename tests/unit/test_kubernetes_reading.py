"""What a Deployment, its ReplicaSets and pods say of who serves, and what failed."""

from __future__ import annotations

import pytest

from checks.kubernetes import list_troubles, parse_cluster, parse_event, parse_pod
from checks.symptoms import find_failed_deployment, list_ended, list_not_started
from tests.unit.kubernetes_json import raw_deployment, raw_pod, raw_set


def test_the_ready_pods_tell_who_serves() -> None:
    items = [raw_set(1), raw_set(2, ready=2, replicas=2), raw_pod(2, "a"), raw_pod(2, "b")]
    found = parse_cluster(raw_deployment(), items)
    assert found.deployment.shares == {"api-2": 100}
    assert [one.name for one in found.revisions] == ["api-2", "api-1"]
    assert (found.deployment.latest_created, found.deployment.latest_ready) == ("api-2", "api-2")
    assert found.deployment.ready
    assert all(one.ready for one in found.revisions)


def test_of_a_roll_out_that_goes_on_both_serve() -> None:
    items = [raw_set(1, ready=1, replicas=1), raw_set(2, ready=1, replicas=1),
             raw_pod(1), raw_pod(2)]  # fmt: skip
    found = parse_cluster(raw_deployment("ReplicaSetUpdated"), items)
    assert found.deployment.shares == {"api-2": 50, "api-1": 50}
    assert not found.deployment.ready
    assert find_failed_deployment(found.deployment, found.revisions) is None


@pytest.mark.parametrize("reason", ["ReplicaSetUpdated", "ProgressDeadlineExceeded"])
@pytest.mark.parametrize("waiting", ["CrashLoopBackOff", "ImagePullBackOff"])
def test_one_that_never_became_ready_failed_and_the_old_one_serves(
    reason: str, waiting: str
) -> None:
    items = [raw_set(1, ready=2, replicas=2), raw_set(2, replicas=1), raw_pod(1, "a"),
             raw_pod(1, "b"), raw_pod(2, ready=False, waiting=waiting)]  # fmt: skip
    found = parse_cluster(raw_deployment(reason), items)
    assert found.deployment.latest_ready == "api-1"
    failed = find_failed_deployment(found.deployment, found.revisions)
    assert failed is not None
    assert (failed.name, failed.ready) == ("api-2", False)
    assert failed.message.startswith(waiting)


def test_one_that_crashes_after_its_roll_out_did_become_ready() -> None:
    pod = raw_pod(2, ready=False, waiting="CrashLoopBackOff", ended=("Error", 139))
    found = parse_cluster(raw_deployment(), [raw_set(2, replicas=2), pod])
    assert not found.revisions[0].failed
    assert find_failed_deployment(found.deployment, found.revisions) is None
    assert found.deployment.shares == {}
    [ended] = list_ended(list_troubles(found.pods), "api-2")
    assert "exit code 139" in ended.message
    assert "3 restarts" in ended.message


def test_what_another_deployment_owns_does_not_count() -> None:
    items = [raw_set(1, ready=1, replicas=1), raw_pod(1), raw_set(9, ready=1, owner="d-2"),
             raw_pod(9)]  # fmt: skip
    found = parse_cluster(raw_deployment(), items)
    assert [one.name for one in found.revisions] == ["api-1"]
    assert [pod.name for pod in found.pods] == ["api-1-x"]


@pytest.mark.parametrize(
    ("waiting", "ended", "kind"),
    [
        ("", None, ""),
        ("ContainerCreating", None, ""),
        ("", ("Completed", 0), ""),
        ("", ("Error", 143), ""),
        ("", ("OOMKilled", 137), "ended"),
        ("CrashLoopBackOff", ("Error", 1), "ended"),
        ("ImagePullBackOff", None, "not started"),
        ("CreateContainerConfigError", None, "not started"),
    ],
)
def test_what_keeps_a_container_from_running(
    waiting: str, ended: tuple[str, int] | None, kind: str
) -> None:
    entries = list_troubles([parse_pod(raw_pod(1, waiting=waiting, ended=ended))])
    assert bool(list_ended(entries, "api-1")) is (kind == "ended")
    assert bool(list_not_started(entries, "api-1")) is (kind == "not started")


def test_a_pod_that_is_being_taken_away_gets_no_traffic() -> None:
    raw = raw_pod(1)
    raw["metadata"]["deletionTimestamp"] = "2026-11-23T06:00:00Z"
    assert not parse_pod(raw).ready


def test_an_event_of_either_api_version_is_read() -> None:
    old = {"metadata": {"creationTimestamp": "c"}, "type": "Warning", "reason": "BackOff",
           "message": "Back-off restarting", "count": 4, "lastTimestamp": "l",
           "involvedObject": {"kind": "Pod", "name": "api-1-x"}}  # fmt: skip
    new = {"metadata": {"creationTimestamp": "c"}, "type": "Normal", "reason": "Pulled",
           "message": "m", "eventTime": None, "lastTimestamp": None, "count": None,
           "involvedObject": {"kind": "Pod", "name": "api-1-x"}}  # fmt: skip
    assert (parse_event(old).count, parse_event(old).last_seen, parse_event(old).warning) == (
        4, "l", True)  # fmt: skip
    assert (parse_event(new).count, parse_event(new).last_seen) == (1, "c")
