"""What the platform does by itself: restarts with back-off, scaling, logs, reset."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.staging.cloud_run_support import (
    NUMBER,
    PROJECT,
    REGION,
    REPOSITORY,
    SERVICE,
    CloudRunServer,
    wait_for,
)

if TYPE_CHECKING:
    from staging.cloud_run.operations import Operation
    from staging.model import Instance


def _deploy(server: CloudRunServer, image: str) -> Operation:
    def mutate(body: dict[str, object]) -> None:
        body["template"]["containers"][0]["image"] = image  # type: ignore[index]

    return server.run(server.cloud_run.update_service(mutate, "template.containers"))


def _pids(server: CloudRunServer) -> set[int]:
    return {item.pid for item in server.instances()}


def _texts(server: CloudRunServer) -> list[str]:
    return [entry["textPayload"] for entry in server.log.entries]


def _is_open(instance: Instance) -> bool:
    try:
        answer = requests.get(f"http://{instance.address}/health/live", timeout=5)
    except requests.RequestException:
        return False
    return answer.status_code == 200


def test_instances_are_told_their_revisions_timeout(server: CloudRunServer) -> None:
    def mutate(body: dict[str, object]) -> None:
        body["template"]["timeout"] = "2s"  # type: ignore[index]

    before = server.served()
    server.run(server.cloud_run.update_service(mutate, "template.timeout"))
    timeouts = {item.spec.revision: item.spec.timeout_s for item in server.instances()}
    assert timeouts.pop(server.v1()["status"]["latestReadyRevisionName"]) == 2
    assert timeouts in ({}, dict.fromkeys(before, 300))


def test_instances_serve_with_the_platforms_environment(server: CloudRunServer) -> None:
    instances = server.instances()
    assert len(instances) == 2
    revision = server.v1()["status"]["latestReadyRevisionName"]
    for instance in instances:
        assert _is_open(instance)
        env = instance.spec.env
        assert env["K_REVISION"] == revision == instance.spec.revision
        assert (env["K_SERVICE"], env["K_CONFIGURATION"], env["PORT"]) == (SERVICE, SERVICE, "8000")
        assert env["METADATA_LOG_WORKERS"] == "5"
        assert env["BIGQUERY_ENDPOINT"].startswith("http://127.0.0.1:")
        assert (instance.spec.cpu, instance.spec.memory_bytes) == (2.0, 4 * 1024**3)


def test_template_environment_wins_over_the_default(server: CloudRunServer) -> None:
    body = server.v1()
    env = body["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": "BIGQUERY_ENDPOINT", "value": "http://127.0.0.1:9"})
    server.put(body)
    wait_for(lambda: "-00003-" in str(server.served()), "the new revision serves")
    latest = server.v1()["status"]["latestReadyRevisionName"]
    found = {item.spec.env["BIGQUERY_ENDPOINT"] for item in server.instances(latest)}
    assert found == {"http://127.0.0.1:9"}


def test_killed_instance_is_replaced_at_once_and_the_log_says_so(server: CloudRunServer) -> None:
    victim, other = server.instances()
    server.kill(victim)
    wait_for(
        lambda: victim.pid not in (pids := _pids(server)) and len(pids) == 2, "a replacement runs"
    )
    assert other.pid in _pids(server)
    entry = next(e for e in server.log.entries if "terminated" in e["textPayload"])
    assert entry["textPayload"] == "Container terminated on signal 9."
    assert entry["severity"] == "WARNING"
    assert entry["logName"] == f"projects/{PROJECT}/logs/run.googleapis.com%2Fvarlog%2Fsystem"
    assert entry["labels"]["instanceId"] == victim.name
    assert entry["resource"]["labels"] == {
        "project_id": PROJECT,
        "service_name": SERVICE,
        "revision_name": victim.spec.revision,
        "location": REGION,
        "configuration_name": SERVICE,
    }


def test_crash_loop_gets_longer_and_longer_gaps_without_any_instance(
    server: CloudRunServer,
) -> None:
    starts: list[float] = []
    give_up = time.monotonic() + 20
    while len(starts) < 6 and time.monotonic() < give_up:
        instances = server.instances()
        if len(instances) == 2:
            starts.append(time.monotonic())
            for instance in instances:
                server.kill(instance)
            dead = {item.pid for item in instances}
            wait_for(lambda: not dead & _pids(server), "they are dead")  # noqa: B023
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) == 5
    # At a time scale of 60: at once, then 10, 20, 40 and 80 s become 0.17, 0.33, 0.67 and 1.33 s.
    for gap, real in zip(gaps[1:], (10, 20, 40, 80), strict=True):
        assert gap >= real / 60 * 0.9
    assert gaps[4] == pytest.approx(80 / 60, abs=0.5)


def test_frozen_instances_are_not_replaced(server: CloudRunServer) -> None:
    before = server.instances()
    for instance in before:
        os.kill(instance.pid, signal.SIGSTOP)
    time.sleep(
        1.5
    )  # a platform with a liveness probe would have acted within this minute and a half
    assert _pids(server) == {item.pid for item in before}
    assert _deploy(server, f"{REPOSITORY}:1.4.3").error is None
    wait_for(lambda: not {i.pid for i in before} & _pids(server), "a new revision ends them")


def test_lost_image_keeps_instances_from_starting_until_a_rollback(server: CloudRunServer) -> None:
    async def lose() -> None:
        server.cloud_run.registry.discard(f"{REPOSITORY}:1.4.2")
        server.cloud_run.recycle()

    server.run(lose())
    wait_for(lambda: not server.instances(), "no instance is left")
    wait_for(lambda: any("not found" in text for text in _texts(server)), "the log says why")
    body = server.v1()
    items = server.v1("revisions")["items"]
    first = next(n for item in items if "-00001-" in (n := item["metadata"]["name"]))
    body["spec"]["traffic"] = [{"revisionName": first, "percent": 100}]
    assert server.put(body).status_code == 200
    wait_for(lambda: server.served() == {first: 100}, "the rollback serves")
    assert len(server.instances(first)) == 2
    server.reset()
    assert f"{REPOSITORY}:1.4.2" in server.cloud_run.registry


def test_fault_that_deploys_a_bad_build_goes_the_same_way(server: CloudRunServer) -> None:
    operation = _deploy(server, f"{REPOSITORY}:1.5.0-crash-at-start")
    assert operation.error is not None
    assert operation.error["code"] == 9
    assert "-00002-" in str(server.served())
    assert _deploy(server, f"{REPOSITORY}:1.4.3").error is None
    assert "-00004-" in str(server.served())
    assert server.v2()["lastModifier"].startswith("deployer@")


def test_reset_is_fast_and_leaves_nothing_behind(server: CloudRunServer) -> None:
    _deploy(server, f"{REPOSITORY}:1.4.3")
    old = _pids(server)
    assert server.reset() < 1.0
    service = server.v1()
    assert service["metadata"]["generation"] == 2
    assert len(server.v1("revisions")["items"]) == 2
    assert len(server.instances()) == 2
    assert not old & _pids(server)
    assert all(_is_open(instance) for instance in server.instances())
    server.run(server.cloud_run.reset())
    assert server.splits == [{service["status"]["latestReadyRevisionName"]: 100}]


def test_reset_in_the_middle_of_a_rollout(server: CloudRunServer) -> None:
    body = server.v1()
    body["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/minScale"] = "9"
    assert server.put(body).status_code == 200
    assert server.reset() < 1.0
    assert server.v1()["metadata"]["generation"] == 2
    assert len(server.instances()) == 2
    assert _deploy(server, f"{REPOSITORY}:1.4.3").error is None


MOST_CHANGES = 100


def test_change_in_the_middle_of_a_reset_starts_nothing_that_stays(server: CloudRunServer) -> None:
    _deploy(server, f"{REPOSITORY}:1.4.3")

    async def reset_and_change() -> int:
        reset, changes = asyncio.create_task(server.cloud_run.reset()), 0
        # An end to the changes: each of them starts or stops an instance, and a reset that is
        # overtaken for ever never sees its baseline.
        while not reset.done() and changes < MOST_CHANGES:
            changes += 1
            scaling = {"scaling": {"minInstanceCount": 2 + changes % 2}}
            server.cloud_run.patch_service(scaling, "scaling")
            await asyncio.sleep(0.001)
        await reset
        return changes

    assert server.run(reset_and_change()) > 1
    server.reset()
    assert len(server.instances()) == 2
    revisions = {item.spec.revision for item in server.instances()}
    assert revisions == set(server.served())


def test_more_instances_than_slots_fail_the_rollout(server: CloudRunServer) -> None:
    body = server.v1()
    annotations = body["spec"]["template"]["metadata"]["annotations"]
    annotations |= {
        "autoscaling.knative.dev/minScale": "60",
        "autoscaling.knative.dev/maxScale": "60",
    }
    server.put(body)
    failed = "CONDITION_FAILED"
    wait_for(lambda: server.v2()["terminalCondition"]["state"] == failed, "it fails", 30.0)
    assert "no available instance" in server.v2()["terminalCondition"]["message"]
    assert "-00002-" in str(server.served())
    wait_for(lambda: len(server.instances()) == 2, "the failed revision's instances are gone")


def test_manual_scaling_by_service(server: CloudRunServer) -> None:
    path = f"/v2/projects/{NUMBER}/locations/{REGION}/services/{SERVICE}?updateMask=scaling"
    scaling = {"scalingMode": "MANUAL", "manualInstanceCount": 3}
    assert server.ask("PATCH", path, json={"scaling": scaling}).status_code == 200
    wait_for(lambda: len(server.instances()) == 3, "three instances run")
    annotations = server.v1()["metadata"]["annotations"]
    assert annotations["run.googleapis.com/scalingMode"] == "manual"
    assert annotations["run.googleapis.com/manualInstanceCount"] == "3"


def test_container_that_hangs_at_start_fails_after_the_probes_time(server: CloudRunServer) -> None:
    server.freeze_new_instances(True)
    try:
        started = time.monotonic()
        operation = _deploy(server, f"{REPOSITORY}:1.4.3")
    finally:
        server.freeze_new_instances(False)
    assert operation.error is not None
    assert "within the allocated timeout" in operation.error["message"]
    assert time.monotonic() - started >= 240 / 60
    assert any("STARTUP TCP probe failed" in text for text in _texts(server))
    wait_for(lambda: len(server.instances()) == 2, "the hung instances are killed")
