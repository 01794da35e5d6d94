"""A deployment's ReplicaSets: which is its template's, how they are numbered, what they carry."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from staging.kubernetes.defaults import complete_template
from staging.kubernetes.kinds import DEPLOYMENT, REPLICA_SET
from staging.kubernetes.naming import HASH_LABEL, hash_template, without_hash

if TYPE_CHECKING:
    from staging.kubernetes.store import Object, Store

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
# Annotations that a deployment does not hand on to its ReplicaSets.
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MOST,
    }
)


def revision_of(item: Object) -> int:
    """Return a ReplicaSet's revision, 0 when it has none."""
    return int(item["metadata"].get("annotations", {}).get(REVISION, "0"))


def list_sets(store: Store, deployment: Object) -> list[Object]:
    """Return the deployment's ReplicaSets, oldest first."""
    uid = deployment["metadata"]["uid"]
    owned = [
        item
        for item in store.list(REPLICA_SET)
        if any(owner["uid"] == uid for owner in item["metadata"]["ownerReferences"])
    ]
    return sorted(
        owned, key=lambda item: (item["metadata"]["creationTimestamp"], revision_of(item))
    )


def find_new(deployment: Object, sets: list[Object]) -> Object | None:
    """Return the ReplicaSet that has the deployment's template, None while there is none."""
    wanted = deployment["spec"]["template"]
    return next((item for item in sets if same_template(item["spec"]["template"], wanted)), None)


def same_template(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two templates are the same but for the hash and for what says nothing."""
    return without_hash(complete_template(one)) == without_hash(complete_template(other))


def surge_of(deployment: Object) -> tuple[int, int]:
    """Return how many pods there may be too many and too few in a rollout."""
    spec = deployment["spec"]
    rolling = spec["strategy"]["rollingUpdate"]
    surge = _resolve(rolling["maxSurge"], spec["replicas"], up=True)
    unavailable = _resolve(rolling["maxUnavailable"], spec["replicas"], up=False)
    # Percentages may both round to nothing; then one may be missing.
    return surge, unavailable if surge or unavailable else 1


def _resolve(value: int | str, of: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * of
    return -(-share // 100) if up else share // 100


def create_set(store: Store, deployment: Object, sets: list[Object], replicas: int) -> Object:
    """Make the ReplicaSet of the deployment's template and return it."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    taken = {item["metadata"]["name"] for item in sets}
    collisions = 0
    digest = hash_template(spec["template"])
    while f"{metadata['name']}-{digest}" in taken:
        collisions += 1
        digest = hash_template(spec["template"], collisions)
    template = copy.deepcopy(spec["template"])
    labels = {**template["metadata"].get("labels", {}), HASH_LABEL: digest}
    template["metadata"]["labels"] = labels
    selector = {"matchLabels": {**spec["selector"]["matchLabels"], HASH_LABEL: digest}}
    least = spec.get("minReadySeconds", 0)
    return store.create(
        REPLICA_SET,
        {
            "metadata": {
                "name": f"{metadata['name']}-{digest}",
                "generation": 1,
                "labels": labels,
                "annotations": describe_set(deployment, next_revision(sets)),
                "ownerReferences": [own(deployment)],
            },
            "spec": {
                "replicas": replicas,
                "selector": selector,
                "template": template,
                **({"minReadySeconds": least} if least else {}),
            },
            "status": {"replicas": 0},
        },
    )


def own(owner: Object) -> dict[str, Any]:
    """Return the reference of an owner that an object carries."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def next_revision(sets: list[Object]) -> int:
    """Return the number after the highest that a ReplicaSet has."""
    return max((revision_of(item) for item in sets), default=0) + 1


def describe_set(deployment: Object, revision: int) -> dict[str, str]:
    """Return the annotations of a deployment's ReplicaSet."""
    surge, _ = surge_of(deployment)
    given = deployment["metadata"].get("annotations", {})
    replicas = deployment["spec"]["replicas"]
    return {
        **{key: value for key, value in given.items() if key not in _NOT_COPIED},
        REVISION: str(revision),
        DESIRED: str(replicas),
        MOST: str(replicas + surge),
    }


def renew_set(store: Store, deployment: Object, new: Object, others: list[Object]) -> Object:
    """Bring the annotations of the template's ReplicaSet up to date and return it.

    One that was rolled back to gets the highest number; the one it had is kept as history.
    """
    before = revision_of(new)
    revision = max(before, next_revision(others))
    annotations = {
        **new["metadata"].get("annotations", {}),
        **describe_set(deployment, revision),
    }
    if before and before != revision:
        history = [part for part in annotations.get(HISTORY, "").split(",") if part]
        annotations[HISTORY] = ",".join([*history, str(before)])

    def change(item: Object) -> None:
        item["metadata"]["annotations"] = annotations
        least = deployment["spec"].get("minReadySeconds", 0)
        if least:
            item["spec"]["minReadySeconds"] = least
        else:
            item["spec"].pop("minReadySeconds", None)

    return store.change(REPLICA_SET, new["metadata"]["name"], change)


def note_revision(store: Store, deployment: Object, revision: int) -> Object:
    """Write a deployment's revision where `rollout history` reads it; return the deployment."""

    def change(item: Object) -> None:
        annotations = item["metadata"].setdefault("annotations", {})
        annotations[REVISION] = str(revision)

    return store.change(DEPLOYMENT, deployment["metadata"]["name"], change)
