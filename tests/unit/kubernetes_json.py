"""Objects as the Kubernetes API gives them, short, and a cluster that the real kubectl reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.target import Target
from tests.unit.plain_server import Reply
from tests.unit.test_target import make_target

NAME = "api"
CREATED = "2026-11-23T06:00:00Z"
IMAGE = "registry.example/api:1"
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
contexts: [{{name: embedded, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
"""
KINDS = {
    "/api/v1": {"events": "Event", "pods": "Pod"},
    "/apis/apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
}


def target_in(folder: Path, url: str = "http://127.0.0.1:9") -> Target:
    """Return a target on Kubernetes whose cluster answers at `url`."""
    path = folder / "kubeconfig"
    path.write_text(KUBECONFIG.format(url=url))
    return make_target(control="http://127.0.0.1:9", kubeconfig=str(path), platform="kubernetes",
                       kube_context="embedded", api=url, prometheus=url)  # fmt: skip


def cluster_api(objects: Mapping[str, Mapping[str, object]]) -> dict[str, Reply]:
    """Return the answers of a cluster: discovery, and `objects` by their path."""
    group = {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}
    found: dict[str, Mapping[str, object]] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
    }
    for path, kinds in KINDS.items():
        resources = [
            {"name": name, "singularName": name[:-1], "kind": kind, "namespaced": True,
             "verbs": ["get", "list"]}
            for name, kind in kinds.items()
        ]  # fmt: skip
        version = path.removeprefix("/apis/").removeprefix("/api/")
        found[path] = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
                       "resources": resources}  # fmt: skip
    return {path: Reply(json.dumps(body).encode()) for path, body in {**found, **objects}.items()}


def raw_deployment(
    reason: str = "NewReplicaSetAvailable",
    *,
    replicas: int = 2,
    **spec: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Return a Deployment whose last roll-out went as `reason` says."""
    good = reason == "NewReplicaSetAvailable"
    progress = {
        "type": "Progressing",
        "status": "False" if reason == "ProgressDeadlineExceeded" else "True",
        "reason": reason,
        "message": f"ReplicaSet: {reason}",
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": NAME, "uid": "d-1", "generation": 3},
        "spec": {"replicas": replicas, "template": template(IMAGE)} | spec,
        "status": {
            "observedGeneration": 3,
            "readyReplicas": replicas if good else 0,
            "conditions": [
                progress,
                {"type": "Available", "status": "True" if good else "False", "message": "too few"},
            ],
        },
    }


def template(image: str) -> dict[str, Any]:
    """Return a pod template that runs `image`."""
    return {"metadata": {"labels": {"app": NAME}},
            "spec": {"containers": [{"name": "app", "image": image}]}}  # fmt: skip


def raw_set(
    number: int, *, ready: int = 0, replicas: int = 0, image: str = IMAGE, owner: str = "d-1"
) -> dict[str, Any]:
    """Return a ReplicaSet `api-<number>`, of that revision."""
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{NAME}-{number}",
            "creationTimestamp": CREATED,
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
            "ownerReferences": [{"uid": owner, "name": NAME, "controller": True}],
        },
        "spec": {"replicas": replicas, "template": template(image)},
        "status": {"readyReplicas": ready},
    }


def raw_pod(
    number: int, suffix: str = "x", *, ready: bool = True, waiting: str = "",
    ended: tuple[str, int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return a pod of `api-<number>`; `ended` is how its container last did."""
    state: dict[str, Any] = {"running": {"startedAt": CREATED}}
    if waiting:
        state = {"waiting": {"reason": waiting, "message": f"{waiting}, and why"}}
    container: dict[str, Any] = {"ready": ready, "restartCount": 0, "state": state}
    if ended:
        reason, code = ended
        container["restartCount"] = 3
        container["lastState"] = {
            "terminated": {"reason": reason, "exitCode": code, "finishedAt": CREATED}
        }
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{NAME}-{number}-{suffix}",
            "creationTimestamp": CREATED,
            "ownerReferences": [{"uid": f"r-{number}", "name": f"{NAME}-{number}"}],
        },
        "status": {"phase": "Running", "containerStatuses": [container]},
    }
