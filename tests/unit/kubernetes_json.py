"""Objects as the Kubernetes API gives them, short."""

from __future__ import annotations

from typing import Any

NAME = "api"
CREATED = "2026-11-23T06:00:00Z"
IMAGE = "registry.example/api:1"


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
