"""A Deployment, its ReplicaSets and pods as the API gives them, for tests of pure planning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from checks.kubernetes import parse_cluster
from checks.target import Target
from runbook.changes.kubernetes_state import RESTARTED_AT, DeploymentState
from tests.unit.service_json import SERVICE
from tests.unit.service_json import TARGET as ON_CLOUD_RUN

OLD, NEW = f"{SERVICE}-5965b6bdcc", f"{SERVICE}-688778b9cd"
NUMBER = "deployment.kubernetes.io/revision"
TARGET: Target = replace(
    ON_CLOUD_RUN, platform="kubernetes", kubeconfig="/k", kube_context="embedded"
)


def make_template(
    *env: tuple[str, str],
    image: str = "repo/api:1.4.2",
    stamp: str = "",
    **container: Any,  # noqa: ANN401 - JSON
) -> dict[str, Any]:
    """Return a pod template; a sidecar stands before the service's own container."""
    size = {"cpu": "2", "memory": "4Gi"}
    app = {
        "name": "app",
        "image": image,
        "env": [{"name": name, "value": value} for name, value in env],
        "resources": {"limits": dict(size), "requests": dict(size)},
        **container,
    }
    metadata: dict[str, Any] = {"labels": {"app": SERVICE}}
    if stamp:
        metadata["annotations"] = {RESTARTED_AT: stamp}
    return {"metadata": metadata, "spec": {"containers": [{"name": "proxy"}, app]}}


def make_set(name: str, number: int, template: dict[str, Any], replicas: int) -> dict[str, Any]:
    """Return a ReplicaSet of the Deployment."""
    labels = {"app": SERVICE, "pod-template-hash": name.rpartition("-")[2]}
    own = {**template, "metadata": {**template["metadata"], "labels": labels}}
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {NUMBER: str(number), "kubernetes.io/change-cause": f"release {number}"},
            "ownerReferences": [{"uid": "u-1", "name": SERVICE, "controller": True}],
        },
        "spec": {"replicas": replicas, "template": own},
        "status": {"readyReplicas": replicas},
    }


def make_deployment(
    template: dict[str, Any] | None = None,
    *,
    replicas: int = 2,
    generation: int = 7,
    status: dict[str, Any] | None = None,
    old: dict[str, Any] | None = None,
    **spec: Any,  # noqa: ANN401 - JSON
) -> DeploymentState:
    """Return a Deployment whose newest ReplicaSet NEW is rolled out, after OLD."""
    template = template or make_template()
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
    raw = {
        "metadata": {
            "name": SERVICE,
            "uid": "u-1",
            "generation": generation,
            "resourceVersion": "901",
            "annotations": {NUMBER: "2", "kubernetes.io/change-cause": "release 2"},
        },
        "spec": {"replicas": replicas, "template": template, **spec},
        "status": {
            "observedGeneration": generation,
            "readyReplicas": replicas,
            **counts,
            "conditions": [
                {"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
            **(status or {}),
        },
    }
    sets = [
        make_set(OLD, 1, old or make_template(image="repo/api:1.4.1"), 0),
        make_set(NEW, 2, template, replicas),
    ]
    return DeploymentState(parse_cluster(raw, sets))
