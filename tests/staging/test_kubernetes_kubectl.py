"""The real kubectl, two versions of it, at work on a Deployment: what it prints and what it does.

What is compared line for line was printed by a real kube-apiserver 1.20.2 with three replicas.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.staging.kubernetes_support import (
    DEADLINE_S,
    DEPLOYMENT,
    NAME,
    PROGRAMS,
    REPOSITORY_OF_IMAGES,
    Kubectl,
    find_kubectl,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.embedded import Embedded

pytestmark = pytest.mark.staging

_WAITING = f'Waiting for deployment "{NAME}" rollout to finish: '
REAL_ROLLOUT = [
    *[f"{_WAITING}1 out of 3 new replicas have been updated..."] * 3,
    *[f"{_WAITING}2 out of 3 new replicas have been updated..."] * 3,
    *[f"{_WAITING}1 old replicas are pending termination..."] * 2,
    f'deployment "{NAME}" successfully rolled out',
]


@pytest.fixture
def kubectl(request: pytest.FixtureRequest, embedded_staging: Embedded) -> Kubectl:
    """Return kubectl on a staging whose Deployment is at its baseline."""
    embedded_staging.reset("kubernetes")
    version: str = getattr(request, "param", "1.32")
    return find_kubectl(version, embedded_staging)


every_kubectl = pytest.mark.parametrize("kubectl", PROGRAMS, indirect=True)


def _patch(kubectl: Kubectl, value: dict[str, Any]) -> None:
    kubectl.ok("patch", DEPLOYMENT, "-p", json.dumps(value))


def _revisions(kubectl: Kubectl) -> list[int]:
    lines = kubectl.ok("rollout", "history", DEPLOYMENT).lines
    assert lines[:2] == [f"deployment.apps/{NAME} ", "REVISION  CHANGE-CAUSE"]
    return [int(line.split()[0]) for line in lines[2:] if line]


def _prepare_three_slow_pods(kubectl: Kubectl) -> None:
    # Slow enough that kubectl sees each step, as on a machine that has an image to start.
    scale = kubectl.staging.time_scale
    probe = {"name": "app", "readinessProbe": {"initialDelaySeconds": int(scale * 0.75)}}
    template = {"spec": {"containers": [probe]}}
    everything_at_once = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 3}}
    _patch(kubectl, {"spec": {"replicas": 3, "strategy": everything_at_once, "template": template}})
    kubectl.roll_out()
    usual = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    _patch(kubectl, {"spec": {"strategy": usual}})


@every_kubectl
def test_restart_and_undo_read_as_a_real_server_s(kubectl: Kubectl) -> None:
    """The transcript's first eight commands, line for line."""
    _prepare_three_slow_pods(kubectl)
    before = _revisions(kubectl)
    restarted = kubectl.ok("rollout", "restart", DEPLOYMENT)
    assert restarted.stdout == f"deployment.apps/{NAME} restarted\n"
    assert kubectl.roll_out() == REAL_ROLLOUT
    last = before[-1]
    assert _revisions(kubectl) == [*before, last + 1]
    undone = kubectl.ok("rollout", "undo", DEPLOYMENT)
    assert undone.stdout == f"deployment.apps/{NAME} rolled back\n"
    assert kubectl.roll_out() == REAL_ROLLOUT
    assert _revisions(kubectl) == [*before[:-1], last + 1, last + 2]
    rows = [line.split() for line in kubectl.ok("get", "rs").lines]
    assert rows[0] == ["NAME", "DESIRED", "CURRENT", "READY", "AGE"]
    assert max(row[1:4] for row in rows[1:]) == ["3", "3", "3"]
    assert [row[1:4] for row in rows[1:]].count(["0", "0", "0"]) == len(rows) - 2


def test_lists_have_the_columns_of_the_real_ones(kubectl: Kubectl) -> None:
    """Deployments, pods and events as tables, made by the server."""
    wide = kubectl.ok("get", DEPLOYMENT, "-o", "wide").lines
    head = "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR"
    assert wide[0].split() == head.split()
    row = wide[1].split()
    assert row[:4] == [NAME, "2/2", "2", "2"]
    assert row[5:] == ["app", f"{REPOSITORY_OF_IMAGES}:1.4.2", f"app={NAME}"]
    pods = [line.split() for line in kubectl.ok("get", "pods", "-l", f"app={NAME}").lines]
    assert pods[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [pod[1:4] for pod in pods[1:]] == [["1/1", "Running", "0"]] * 2
    events = kubectl.ok("get", "events", "--sort-by=.lastTimestamp").lines
    assert events[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert any("SuccessfulCreate" in line and "Created pod: " in line for line in events)


def test_describe_shows_conditions_sets_and_events(kubectl: Kubectl) -> None:
    """`describe` finds everything that it looks for."""
    kubectl.ok("scale", DEPLOYMENT, "--replicas=3")
    kubectl.roll_out()
    text = kubectl.ok("describe", DEPLOYMENT).stdout
    for expected in (
        r"Replicas: +3 desired \| 3 updated \| 3 total \| 3 available \| 0 unavailable",
        r"RollingUpdateStrategy: +0 max unavailable, 1 max surge",
        r"Available +True +MinimumReplicasAvailable",
        r"Progressing +True +NewReplicaSetAvailable",
        rf"NewReplicaSet: +{NAME}-\w+ \(3/3 replicas created\)",
        rf"Scaled up replica set {NAME}-\w+ from 2 to 3",
        r"memory: +4Gi",
    ):
        assert re.search(expected, text), f"{expected} is not in:\n{text}"


def test_a_new_image_goes_out_and_back(kubectl: Kubectl) -> None:
    """`set image`, `undo --to-revision`: the processes behind the pods follow."""
    kubectl.ok("set", "image", DEPLOYMENT, f"app={REPOSITORY_OF_IMAGES}:1.4.3")
    kubectl.roll_out()
    assert {_running_image(pod) for pod in kubectl.pods()} == {f"{REPOSITORY_OF_IMAGES}:1.4.3"}
    kubectl.ok("rollout", "undo", DEPLOYMENT, "--to-revision=1")
    kubectl.roll_out()
    assert {_running_image(pod) for pod in kubectl.pods()} == {f"{REPOSITORY_OF_IMAGES}:1.4.1"}
    assert "1.4.1" in kubectl.ok("logs", DEPLOYMENT).stdout
    assert _revisions(kubectl) == [2, 3, 4]


def _running_image(pod: dict[str, Any]) -> str:
    return str(pod["status"]["containerStatuses"][0]["image"])


def test_variables_and_limits_reach_the_process(kubectl: Kubectl) -> None:
    """`set env` and `set resources` change what the running service has in force."""
    kubectl.ok("set", "env", DEPLOYMENT, "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE=1234")
    requested = ("--limits=cpu=4,memory=8Gi", "--requests=cpu=4,memory=8Gi")
    kubectl.ok("set", "resources", DEPLOYMENT, *requested)
    kubectl.roll_out()
    [first, *_] = kubectl.pods()
    assert first["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "4", "memory": "8Gi"}
    address = first["status"]["podIP"]
    text = requests.get(f"http://{address}:8000/metrics", timeout=DEADLINE_S).text
    setting = r'convergence_setting\{setting="rate_limiting\.tenant\.requests_per_minute"[^}]*\}'
    assert re.search(f"{setting} 1234.0", text)


def test_scaling_starts_processes_that_serve(kubectl: Kubectl) -> None:
    """Five replicas are five processes, all of which the ingress sends requests to."""
    assert kubectl.ok("scale", DEPLOYMENT, "--replicas=5").stdout.endswith(" scaled\n")
    assert kubectl.roll_out()[-1] == f'deployment "{NAME}" successfully rolled out'
    status = kubectl.staging.control("/status")
    names = {pod["metadata"]["name"] for pod in kubectl.pods()}
    assert {item["name"] for item in status["instances"]} == names
    assert len(names) == 5
    wait_until(
        lambda: all(_served(pod) for pod in kubectl.pods()),
        deadline_s=10,
        what="every pod has served a tenant",
    )
    metrics = requests.get(f"{kubectl.staging.endpoints['control']}/metrics", timeout=DEADLINE_S)
    assert len(re.findall(r"slot_expected\{[^}]+\} 1\n", metrics.text)) == 5
    kubectl.ok("scale", DEPLOYMENT, "--replicas=1")
    wait_until(
        lambda: len(kubectl.staging.control("/status")["instances"]) == 1,
        deadline_s=15,
        what="four processes are gone",
    )


def _served(pod: dict[str, Any]) -> bool:
    address = pod["status"]["podIP"]
    text = requests.get(f"http://{address}:8000/metrics", timeout=DEADLINE_S).text
    return bool(re.search(r'http_requests_total\{[^}]*path="/api[^}]*\} [1-9]', text))


@every_kubectl
def test_top_shows_what_the_processes_use(kubectl: Kubectl) -> None:
    """CPU in millicores below the limit, memory as modelled."""
    lines = kubectl.ok("top", "pods", "-l", f"app={NAME}").lines
    assert lines[0].split() == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    for name, cpu, memory in (line.split() for line in lines[1:]):
        assert name.startswith(NAME)
        assert 0 <= int(cpu.removesuffix("m")) <= 2000
        assert 256 <= int(memory.removesuffix("Mi")) <= 4096
    assert len(lines) == 3


def test_logs_are_the_container_s_own_lines(kubectl: Kubectl) -> None:
    """`--tail`, `--since`, `--timestamps`, a selector and `-f`."""
    [pod, *_] = [pod["metadata"]["name"] for pod in kubectl.pods()]
    lines = kubectl.ok("logs", pod).lines
    assert any(json.loads(line)["message"].startswith(f"instance {pod}") for line in lines)
    assert len(kubectl.ok("logs", pod, "--tail=1").lines) == 1
    stamped = kubectl.ok("logs", pod, "--tail=1", "--timestamps").stdout
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \{", stamped)
    assert kubectl.ok("logs", pod, "--since=10m").lines[0] == lines[0]
    prefixed = kubectl.ok("logs", "-l", f"app={NAME}", "--prefix", "--tail=1").lines
    assert {line.split()[0] for line in prefixed} == {
        f"[pod/{pod['metadata']['name']}/app]" for pod in kubectl.pods()
    }
    following = subprocess.Popen(
        [kubectl.program, "logs", "-f", pod], env=kubectl.environment, stdout=subprocess.PIPE
    )
    kubectl.ok("delete", "pod", pod, "--wait=false")
    said, _ = following.communicate(timeout=DEADLINE_S)
    assert lines[0].encode() in said


@every_kubectl
def test_exec_sees_the_service_as_process_1(kubectl: Kubectl) -> None:
    """ps, py-spy and files of /proc, on the pod's own process alone."""
    table = kubectl.ok("exec", DEPLOYMENT, "--", "ps", "-o", "pid,ppid,comm").lines
    assert [line.split()[:2] for line in table] == [["PID", "PPID"], ["1", "0"]]
    aux = kubectl.ok("exec", DEPLOYMENT, "--", "ps", "aux").lines
    assert len(aux) == 2
    assert aux[1].split()[1] == "1"
    dump = kubectl.ok("exec", DEPLOYMENT, "--", "py-spy", "dump", "--pid", "1").stdout
    assert dump.startswith("Process 1: ")
    assert "staging/service/instance.py" in dump
    status = kubectl.ok("exec", DEPLOYMENT, "--", "cat", "/proc/1/status").stdout
    assert re.search(r"^Pid:\t1$", status, re.MULTILINE)
    real = {item["pid"] for item in kubectl.staging.control("/status")["instances"]}
    assert not real & {int(number) for number in re.findall(r"\d+", "\n".join(table))}


def test_a_deleted_pod_is_replaced_and_nobody_notices(kubectl: Kubectl) -> None:
    """It ends with grace: requests in work are finished, and none is sent there any more."""
    gone = kubectl.pods()[0]["metadata"]["name"]
    ended = threading.Event()
    with ThreadPoolExecutor() as pool:
        visitor = pool.submit(_visit, kubectl.staging.endpoints["service_url"], ended)
        kubectl.ok("delete", "pod", gone)
        wait_until(
            lambda: kubectl.deployment()["status"].get("readyReplicas") == 2,
            deadline_s=10,
            what="two pods are ready again",
        )
        ended.set()
        answers = visitor.result(timeout=DEADLINE_S)
    assert gone not in {pod["metadata"]["name"] for pod in kubectl.pods()}
    assert len(answers) > 20
    assert set(answers) == {200}


def _visit(url: str, ended: threading.Event) -> list[int]:
    answers = []
    while not ended.is_set():
        answers.append(requests.get(f"{url}/health/live", timeout=DEADLINE_S).status_code)
    return answers


def test_a_paused_rollout_waits_for_resume(kubectl: Kubectl) -> None:
    """Changes while paused go out together, at resume."""
    kubectl.ok("rollout", "pause", DEPLOYMENT)
    kubectl.ok("set", "env", DEPLOYMENT, "ONE=1")
    kubectl.ok("set", "env", DEPLOYMENT, "TWO=2")
    images = {pod["metadata"]["labels"]["pod-template-hash"] for pod in kubectl.pods()}
    assert len(images) == 1
    assert len(_revisions(kubectl)) == 2
    kubectl.ok("rollout", "resume", DEPLOYMENT)
    kubectl.roll_out()
    assert len(_revisions(kubectl)) == 3
    env = {item["name"] for item in kubectl.pods()[0]["spec"]["containers"][0]["env"]}
    assert {"ONE", "TWO"} <= env


@every_kubectl
def test_annotate_label_wait_and_watch(kubectl: Kubectl) -> None:
    """Metadata changes without a rollout; `wait` and `get -w` follow a watch."""
    generation = kubectl.deployment()["metadata"]["generation"]
    cause = "kubernetes.io/change-cause=a try"
    kubectl.ok("annotate", DEPLOYMENT, cause)
    kubectl.ok("label", DEPLOYMENT, "team=data")
    assert kubectl.deployment()["metadata"]["generation"] == generation
    wait_until(
        lambda: "a try" in kubectl.ok("rollout", "history", DEPLOYMENT).stdout,
        deadline_s=5,
        what="the ReplicaSet has the cause",
    )
    watching = subprocess.Popen(
        [kubectl.program, "get", "pods", "-w", "--request-timeout=4s"],
        env=kubectl.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stdout.readline().split()[0] == "NAME"
    gone = kubectl.pods()[0]["metadata"]["name"]
    kubectl.ok("delete", "pod", gone, "--wait=false")
    assert any(gone in line and "Terminating" in line for line in watching.stdout)
    watching.kill()
    watching.communicate()
    available = "--for=condition=Available"
    assert "condition met" in kubectl.ok("wait", available, DEPLOYMENT, "--timeout=10s").stdout
