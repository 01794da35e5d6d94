"""What a change leaves behind in Kubernetes' store, without what only says who typed it when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.embedded import Embedded

DEADLINE_S = 30.0
NUMBER = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
# Identity, time and how often the status was written: they differ between any two runs.
STAMPS = {
    "creationTimestamp", "kubectl.kubernetes.io/restartedAt", "lastTransitionTime",
    "lastUpdateTime", "managedFields", "resourceVersion", "uid",
}  # fmt: skip


def read_deployment_store(staging: Embedded) -> dict[str, Any]:
    """Return the Deployment and its ReplicaSets once it is rolled out, comparable between runs."""
    wait_until(
        lambda: is_rolled_out(staging.read_deployment()),
        deadline_s=DEADLINE_S,
        what="the Deployment is rolled out",
    )
    place = staging.endpoints
    url = f"{place['api']}/apis/apps/v1/namespaces/{place['namespace']}/replicasets"
    answer = requests.get(url, timeout=DEADLINE_S)
    answer.raise_for_status()
    sets = sorted(answer.json()["items"], key=read_number)
    names = {
        text: f"set {position}"
        for position, one in enumerate(sets, start=1)
        for text in (one["metadata"]["name"], one["metadata"]["labels"][HASH])
    }
    return {
        "deployment": strip(staging.read_deployment(), names),
        "replica_sets": [strip(one, names) for one in sets],
    }


def is_rolled_out(deployment: dict[str, Any]) -> bool:
    """Return whether every pod, and no other, is of the newest template and available."""
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(seen) and counts == {wanted}


def read_number(replica_set: dict[str, Any]) -> int:
    """Return which of the Deployment's templates it is, the oldest being 1."""
    return int(replica_set["metadata"]["annotations"][NUMBER])


def strip(value: object, names: dict[str, str]) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value without stamps, its ReplicaSets called by their number."""
    if isinstance(value, dict):
        return {
            key: stripped
            for key, inner in value.items()
            if key not in STAMPS and (stripped := strip(inner, names)) not in ({}, None)
        }
    if isinstance(value, list):
        return [strip(inner, names) for inner in value]
    if isinstance(value, str):
        for name, plain in names.items():
            value = value.replace(name, plain)
    return value
