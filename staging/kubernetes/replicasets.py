"""The ReplicaSet controller: as many pods as each set wants, and what is told of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from staging.kubernetes.kinds import POD, REPLICA_SET
from staging.kubernetes.naming import pod_name

if TYPE_CHECKING:
    from staging.kubernetes.events import Recorder
    from staging.kubernetes.settings import Clock
    from staging.kubernetes.store import Object, Store

_SOURCE = "replicaset-controller"


class Pods(Protocol):
    """Who runs pods."""

    def create(self, name: str, owner: Object) -> None:
        """Make a pod of a ReplicaSet and begin to run it."""

    def remove(self, name: str) -> None:
        """Let a pod end within its own grace period."""

    def ready_since(self, name: str) -> float | None:
        """Return since when (monotonic seconds) a pod is ready, None when it is not."""


class ReplicaSetController:
    """Looks at every set each time it is asked to."""

    def __init__(self, store: Store, events: Recorder, pods: Pods, clock: Clock) -> None:
        """Act on the store through `pods`."""
        self._store = store
        self._events = events
        self._pods = pods
        self._clock = clock

    def sync(self) -> float | None:
        """Create and remove pods, write each set's status; return when to look again, in s."""
        waits = [self._sync_one(item) for item in self._store.list(REPLICA_SET)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _sync_one(self, replica_set: Object) -> float | None:
        pods = self._pods_of(replica_set)
        missing = replica_set["spec"]["replicas"] - len(pods)
        name = replica_set["metadata"]["name"]
        for _ in range(missing):
            fresh = pod_name(name)
            self._pods.create(fresh, replica_set)
            self._events.normal(replica_set, "SuccessfulCreate", f"Created pod: {fresh}", _SOURCE)
        for pod in sorted(pods, key=self._rank)[: max(-missing, 0)]:
            gone = pod["metadata"]["name"]
            self._pods.remove(gone)
            self._events.normal(replica_set, "SuccessfulDelete", f"Deleted pod: {gone}", _SOURCE)
        return self._write_status(name)

    def _pods_of(self, replica_set: Object) -> list[Object]:
        uid = replica_set["metadata"]["uid"]
        return [
            pod
            for pod in self._store.list(POD)
            if "deletionTimestamp" not in pod["metadata"]
            and any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))
        ]

    def _rank(self, pod: Object) -> tuple[bool, float, int]:
        """Return what puts the pod that may go first in front: not ready, then the newest."""
        since = self._pods.ready_since(pod["metadata"]["name"])
        return (since is not None, -(since or 0.0), -int(pod["metadata"]["resourceVersion"]))

    def _write_status(self, name: str) -> float | None:
        replica_set = self._store.get(REPLICA_SET, name)
        pods = self._pods_of(replica_set)
        least = self._clock.seconds(replica_set["spec"].get("minReadySeconds", 0))
        ready = [
            since
            for pod in pods
            if (since := self._pods.ready_since(pod["metadata"]["name"])) is not None
        ]
        due = [since + least - time.monotonic() for since in ready]
        status: dict[str, Any] = {"replicas": len(pods)}
        counts = {
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(wait <= 0 for wait in due),
        }
        status |= {key: count for key, count in counts.items() if count}
        status["observedGeneration"] = replica_set["metadata"]["generation"]
        self._store.change(REPLICA_SET, name, lambda item: item.update(status=status))
        return min((wait for wait in due if wait > 0), default=None)


def set_replicas(store: Store, replica_set: Object, count: int) -> None:
    """Have a ReplicaSet want `count` pods."""

    def change(item: Object) -> None:
        if item["spec"]["replicas"] != count:
            item["spec"]["replicas"] = count
            item["metadata"]["generation"] += 1

    store.change(REPLICA_SET, replica_set["metadata"]["name"], change)
