"""Moving the service between Cloud Run and Kubernetes, and what Kubernetes does with bad pods."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.staging.kubernetes_support import (
    DEADLINE_S,
    DEPLOYMENT,
    NAME,
    REPOSITORY_OF_IMAGES,
    Kubectl,
    find_kubectl,
    send,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.embedded import Embedded

pytestmark = pytest.mark.staging
_DEPLOYMENT = f"/apis/apps/v1/namespaces/default/deployments/{NAME}"
_OK, _NOT_FOUND = 200, 404
# Half a second on a quiet machine.
_RESET_S = 2.0


@pytest.fixture
def kubectl(embedded_staging: Embedded) -> Kubectl:
    """Return kubectl on a staging whose Deployment is at its baseline."""
    embedded_staging.reset("kubernetes")
    return find_kubectl("1.32", embedded_staging)


def _cloud_run(staging: Embedded) -> str:
    place = staging.endpoints
    return f"/v2/projects/{place['project']}/locations/{place['region']}/services"


def _query(staging: Embedded, promql: str) -> list[dict[str, Any]]:
    url = f"{staging.endpoints['prometheus']}/api/v1/query"
    answer = requests.get(url, params={"query": promql}, timeout=DEADLINE_S)
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def _read_logs(staging: Embedded, query: str) -> list[dict[str, Any]]:
    body = {"resourceNames": [f"projects/{staging.endpoints['project']}"], "filter": query}
    found: list[dict[str, Any]] = (
        send(staging, "POST", "/v2/entries:list", json=body).json().get("entries", [])
    )
    return found


def _state(kubectl: Kubectl, pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.read("get", "pod", pod["metadata"]["name"])["status"]
    statuses = found.get("containerStatuses")
    return statuses[0] if statuses else {}


def test_the_service_is_on_one_platform_at_a_time(embedded_staging: Embedded) -> None:
    """There and back: each time it serves there, and the other platform has nothing."""
    staging = embedded_staging
    staging.reset("kubernetes")
    assert staging.platform == "kubernetes"
    assert staging.control("/status")["platform"] == "kubernetes"
    assert send(staging, "GET", _DEPLOYMENT).status_code == _OK
    assert send(staging, "GET", f"{_cloud_run(staging)}/{NAME}").status_code == _NOT_FOUND
    assert send(staging, "GET", _cloud_run(staging)).json() == {"services": []}
    revisions = f"{_cloud_run(staging)}/-/revisions"
    assert send(staging, "GET", revisions).json() == {"revisions": []}
    names = {item["name"] for item in staging.control("/status")["instances"]}
    assert names == {
        item["metadata"]["name"]
        for item in send(staging, "GET", "/api/v1/namespaces/default/pods").json()["items"]
    }
    staging.reset()
    assert staging.platform == "cloud_run"
    assert send(staging, "GET", _DEPLOYMENT).status_code == _NOT_FOUND
    assert send(staging, "GET", "/api/v1/pods").json()["items"] == []
    assert send(staging, "GET", f"{_cloud_run(staging)}/{NAME}").status_code == _OK


def test_a_reset_takes_a_moment_both_ways(embedded_staging: Embedded) -> None:
    """The best of three each way: other work on the machine is not what is measured."""
    seconds: dict[str, list[float]] = {"kubernetes": [], "cloud_run": []}
    for _ in range(3):
        for platform, taken in seconds.items():
            taken.append(embedded_staging.control("/reset", {"platform": platform})["seconds"])
    embedded_staging.read_endpoints()
    assert max(min(taken) for taken in seconds.values()) < _RESET_S


def test_an_unknown_platform_is_refused(embedded_staging: Embedded) -> None:
    """The control API names those that there are."""
    url = f"{embedded_staging.endpoints['control']}/reset"
    answer = requests.post(url, json={"platform": "nomad"}, timeout=DEADLINE_S)
    assert not answer.ok
    assert "cloud_run, kubernetes" in answer.json()["error"]["message"]


def test_the_runbook_resets_to_kubernetes(embedded_staging: Embedded) -> None:
    """`invoke staging.reset --platform=kubernetes`, and `staging.status` says so."""
    done = embedded_staging.invoke("staging.reset", "--platform=kubernetes")
    assert done.returncode == 0, done.output
    assert "on Kubernetes" in done.output
    assert "on Kubernetes" in embedded_staging.invoke("staging.status").output
    refused = embedded_staging.invoke("staging.reset", "--platform=nomad")
    assert refused.returncode != 0
    assert "cloud_run, kubernetes" in refused.output


def test_the_kubeconfig_names_one_context(kubectl: Kubectl) -> None:
    """It is the owner's alone, and kubectl without any other setting finds the cluster."""
    path = Path(kubectl.staging.endpoints["kubeconfig"])
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    assert json.loads(path.read_text())["current-context"] == "embedded"
    assert kubectl.staging.endpoints["kube_context"] == "embedded"
    assert kubectl.ok("config", "get-contexts", "-o", "name").lines == ["embedded"]


def test_pods_are_scraped_and_logged_under_their_names(kubectl: Kubectl) -> None:
    """Prometheus knows the ReplicaSet as revision, Cloud Logging the pod as k8s_container."""
    staging = kubectl.staging
    baseline = {pod["metadata"]["name"] for pod in kubectl.pods()}
    kubectl.ok("scale", DEPLOYMENT, "--replicas=3")
    kubectl.roll_out()
    [pod] = [pod for pod in kubectl.pods() if pod["metadata"]["name"] not in baseline]
    owner = pod["metadata"]["ownerReferences"][0]["name"]
    wait_until(
        lambda: (
            {
                sample["metric"]["revision"]
                for sample in _query(staging, "http_requests_total{job='convergence-api'}")
            }
            == {owner}
        ),
        deadline_s=10,
        what="requests are counted under the ReplicaSet's name",
    )
    expected = {sample["metric"]["revision"] for sample in _query(staging, "slot_expected == 1")}
    assert expected == {owner}
    _check_entries(staging, pod)


def _check_entries(staging: Embedded, pod: dict[str, Any]) -> None:
    [entry, *_] = _read_logs(
        staging,
        'resource.type="k8s_container" AND jsonPayload.message:"started"'
        f' AND resource.labels.pod_name="{pod["metadata"]["name"]}"',
    )
    assert entry["resource"]["labels"] == {
        "project_id": staging.endpoints["project"],
        "location": staging.endpoints["region"],
        "cluster_name": "convergence",
        "namespace_name": "default",
        "pod_name": pod["metadata"]["name"],
        "container_name": "app",
    }
    assert entry["labels"] == {
        "k8s-pod/app": NAME,
        "k8s-pod/pod-template-hash": pod["metadata"]["labels"]["pod-template-hash"],
    }
    assert entry["logName"].endswith("/logs/stdout")
    balanced = 'resource.type="http_load_balancer" AND httpRequest.status=200'
    wait_until(lambda: _read_logs(staging, balanced), deadline_s=5, what="requests are logged")
    assert not _read_logs(staging, 'resource.type="cloud_run_revision"')


def test_a_build_that_dies_at_start_backs_off_and_takes_no_traffic(kubectl: Kubectl) -> None:
    """CrashLoopBackOff with a growing count; the old pods serve on; undo ends it."""
    deadline = '{"spec":{"progressDeadlineSeconds":3}}'
    kubectl.ok("patch", DEPLOYMENT, "--type=merge", "-p", deadline)
    serving = set(kubectl.staging.control("/status")["traffic"])
    kubectl.staging.control("/break", {"fault": "crash-at-start"})
    [bad] = [pod for pod in kubectl.pods() if not _state(kubectl, pod)["ready"]]

    def is_backing_off() -> bool:
        status = _state(kubectl, bad)
        reason = status["state"].get("waiting", {}).get("reason")
        return bool(reason == "CrashLoopBackOff" and status["restartCount"] >= 2)

    wait_until(is_backing_off, deadline_s=10, what="the pod restarts with back-off")
    assert _state(kubectl, bad)["lastState"]["terminated"]["exitCode"] == 1
    for arguments in ((), ("--previous",)):
        _wait_for_log(kubectl, bad["metadata"]["name"], arguments)
    assert set(kubectl.staging.control("/status")["traffic"]) == serving
    assert "exceeded its progress deadline" in kubectl.refuse("rollout", "status", DEPLOYMENT)
    kubectl.ok("rollout", "undo", DEPLOYMENT)
    kubectl.roll_out()
    assert {pod["status"]["containerStatuses"][0]["ready"] for pod in kubectl.pods()} == {True}


def _wait_for_log(kubectl: Kubectl, pod: str, arguments: tuple[str, ...]) -> None:
    # A container that has just started has said nothing yet.
    wait_until(
        lambda: "KeyError" in kubectl.ok("logs", pod, *arguments).stdout,
        deadline_s=5,
        what="the log tells why it died",
    )


def test_a_lost_image_leaves_no_pod_serving(kubectl: Kubectl) -> None:
    """ImagePullBackOff for every pod, 503 for every request, until an image goes out that is."""
    staging = kubectl.staging
    staging.control("/break", {"fault": "lost-image"})
    wait_until(
        lambda: (
            {
                _state(kubectl, pod).get("state", {}).get("waiting", {}).get("reason")
                for pod in kubectl.pods()
            }
            <= {"ErrImagePull", "ImagePullBackOff"}
        ),
        deadline_s=10,
        what="no pod can pull its image",
    )
    wait_until(
        lambda: (
            requests.get(
                f"{staging.endpoints['service_url']}/health", timeout=DEADLINE_S
            ).status_code
            == 503
        ),
        deadline_s=10,
        what="nothing serves",
    )
    assert staging.control("/status")["traffic"] == {}
    kubectl.ok("set", "image", DEPLOYMENT, f"app={REPOSITORY_OF_IMAGES}:1.4.3")
    kubectl.roll_out()
    assert sum(staging.control("/status")["traffic"].values()) == 100


def test_a_pod_above_its_memory_is_killed_and_restarted(kubectl: Kubectl) -> None:
    """A limit below what the process holds: OOMKilled, told by the API and by the exit code."""
    small = ("--limits=memory=256Mi", "--requests=memory=256Mi")
    kubectl.ok("set", "resources", DEPLOYMENT, *small)
    wait_until(
        lambda: any(
            _state(kubectl, pod).get("lastState", {}).get("terminated", {}).get("reason")
            == "OOMKilled"
            for pod in kubectl.pods()
        ),
        deadline_s=15,
        what="a pod was killed for its memory",
    )
    killed = [_state(kubectl, pod)["lastState"].get("terminated") for pod in kubectl.pods()]
    assert [state["exitCode"] for state in killed if state] == [137]


def test_faults_and_their_cure_work_on_kubernetes(kubectl: Kubectl) -> None:
    """A dead database goes out as a rollout and errors follow; healing deploys the fix."""
    staging = kubectl.staging
    staging.control("/break", {"fault": "database-unreachable"})
    env = kubectl.deployment()["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "BIGQUERY_ENDPOINT" in {item["name"] for item in env}
    wait_until(
        lambda: _read_logs(staging, 'resource.type="k8s_container" AND severity>=ERROR'),
        deadline_s=15,
        what="errors are logged",
    )
    staging.control("/heal", {})
    env = kubectl.deployment()["spec"]["template"]["spec"]["containers"][0]["env"]
    assert "BIGQUERY_ENDPOINT" not in {item["name"] for item in env}
    url = f"{staging.endpoints['control']}/break"
    answer = requests.post(url, json={"fault": "pinned-to-bad"}, timeout=DEADLINE_S)
    assert "does not exist on kubernetes" in answer.json()["error"]["message"]


def test_a_watch_starts_with_what_is_there(kubectl: Kubectl) -> None:
    """Initial events, the bookmark that ends them, then changes; kubectl 1.37 hangs without."""
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=3"
    path = f"/api/v1/namespaces/default/pods?{query}&allowWatchBookmarks=true"
    gone = kubectl.pods()[0]["metadata"]["name"]
    with send(kubectl.staging, "GET", path, stream=True) as answer:
        lines = (json.loads(line) for line in answer.iter_lines())
        first = [next(lines) for _ in range(3)]
        assert [event["type"] for event in first] == ["ADDED", "ADDED", "BOOKMARK"]
        mark = first[2]["object"]["metadata"]
        assert mark["annotations"] == {"k8s.io/initial-events-end": "true"}
        kubectl.ok("delete", "pod", gone, "--wait=false")
        later = list(lines)
    mine = [item["type"] for item in later if item["object"]["metadata"]["name"] == gone]
    assert mine[0] == "MODIFIED"
    assert mine[-1] == "DELETED"
    versions = [int(item["object"]["metadata"]["resourceVersion"]) for item in later]
    assert versions == sorted(versions)
    since = f"/api/v1/pods?watch=true&timeoutSeconds=1&resourceVersion={mark['resourceVersion']}"
    again = [json.loads(line) for line in send(kubectl.staging, "GET", since).text.splitlines()]
    assert again[: len(later)] == later
    too_old = send(kubectl.staging, "GET", "/api/v1/pods?watch=true&resourceVersion=5")
    assert too_old.json()["reason"] == "Expired"


def test_older_clients_discover_the_same(kubectl: Kubectl) -> None:
    """The legacy form of discovery names what the aggregated one names."""
    staging = kubectl.staging
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    served = set()
    for root in ("/api", "/apis"):
        groups = send(staging, "GET", root, headers=accept).json()["items"]
        for group in groups:
            for version in group["versions"]:
                served |= {(version["version"], item["resource"]) for item in version["resources"]}
    legacy = set()
    names = [group["name"] for group in send(staging, "GET", "/apis").json()["groups"]]
    assert names == ["apps", "metrics.k8s.io"]
    for path, version in (("/api/v1", "v1"), ("/apis/apps/v1", "v1")):
        resources = send(staging, "GET", path).json()["resources"]
        legacy |= {(version, item["name"]) for item in resources if "/" not in item["name"]}
    assert legacy == served - {("v1beta1", "pods")}


def test_the_fidelity_list_tells_of_kubernetes() -> None:
    """It is printed with those of the other APIs, the probe's kind included."""
    done = subprocess.run(
        [sys.executable, "-m", "staging.fidelity"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    section = done.stdout.partition("## Kubernetes")[2].partition("\n## ")[0]
    assert "A TCP probe, as on Cloud Run" in section
    assert "deployments.apps" in section
