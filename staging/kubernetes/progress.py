"""A deployment's status: counts, conditions, and whether a rollout goes on or is stuck."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from staging.kubernetes.kinds import DEPLOYMENT
from staging.kubernetes.revisions import surge_of
from staging.kubernetes.store import now

if TYPE_CHECKING:
    from staging.kubernetes.settings import Clock
    from staging.kubernetes.store import Object, Store

# Processes start no faster in a scaled world: a deadline gets at least this, or all of its own.
_LEAST_S = 8.0
AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"


class Progress:
    """Writes what can be seen of a deployment."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Write into `store`."""
        self._store = store
        self._clock = clock
        # When a rollout last came on, by deployment: the API's own times are whole seconds.
        self._since: dict[str, float] = {}

    def clear(self) -> None:
        """Forget what was observed."""
        self._since.clear()

    def note(self, deployment: Object, reason: str, message: str) -> None:
        """Write that a rollout came on."""
        name = deployment["metadata"]["name"]
        self._since[name] = time.monotonic()

        def change(item: Object) -> None:
            condition = _condition("Progressing", "True", reason, message)
            _put(item["status"].setdefault("conditions", []), condition, force=True)

        self._store.change(DEPLOYMENT, name, change)

    def note_pause(self, deployment: Object) -> None:
        """Write that a rollout was paused or resumed, when it was."""
        found = find_condition(deployment, "Progressing")
        reason = found.get("reason", "")
        if deployment["spec"].get("paused"):
            if reason not in {"DeploymentPaused", TIMED_OUT}:
                self._set(deployment, "Unknown", "DeploymentPaused", "Deployment is paused")
        elif reason == "DeploymentPaused":
            self._set(deployment, "Unknown", "DeploymentResumed", "Deployment is resumed")

    def _set(self, deployment: Object, status: str, reason: str, message: str) -> None:
        name = deployment["metadata"]["name"]
        self._since[name] = time.monotonic()

        def change(item: Object) -> None:
            condition = _condition("Progressing", status, reason, message)
            _put(item["status"].setdefault("conditions", []), condition)

        self._store.change(DEPLOYMENT, name, change)

    def write(self, deployment: Object, sets: list[Object], new: Object | None) -> float | None:
        """Write the status; return the seconds until a rollout under way is too late, or None."""
        old = deployment["status"]
        status = _count(deployment, sets, new)
        conditions = [dict(item) for item in old.get("conditions", ())]
        _put(conditions, _judge_availability(deployment, status))
        wait = None
        if not deployment["spec"].get("paused"):
            wait = self._judge(deployment, status, conditions, new)
        # kubectl shows them as they stand; the real controller puts Available first.
        status["conditions"] = sorted(conditions, key=lambda item: str(item["type"]))
        name = deployment["metadata"]["name"]
        self._store.change(DEPLOYMENT, name, lambda item: item.update(status=status))
        return wait

    def _judge(
        self,
        deployment: Object,
        status: dict[str, Any],
        conditions: list[dict[str, Any]],
        new: Object | None,
    ) -> float | None:
        old, name = deployment["status"], deployment["metadata"]["name"]
        current = find_condition(deployment, "Progressing")
        subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{name}"'
        reason = current.get("reason")
        if reason == AVAILABLE and status.get("replicas", 0) == status.get("updatedReplicas", 0):
            return None
        if is_complete(deployment, status):
            message = f"{subject} has successfully progressed."
            _put(conditions, _condition("Progressing", "True", AVAILABLE, message), force=True)
            return None
        if _is_progressing(old, status):
            self._since[name] = time.monotonic()
            message = f"{subject} is progressing."
            found = _condition("Progressing", "True", "ReplicaSetUpdated", message)
            _put(conditions, found, force=True)
        if reason in {TIMED_OUT, AVAILABLE}:
            return None
        left = self._since.setdefault(name, time.monotonic()) + self._deadline(deployment)
        left -= time.monotonic()
        if left <= 0:
            message = f"{subject} has timed out progressing."
            _put(conditions, _condition("Progressing", "False", TIMED_OUT, message), force=True)
            return None
        return left

    def _deadline(self, deployment: Object) -> float:
        seconds = float(deployment["spec"]["progressDeadlineSeconds"])
        return max(self._clock.seconds(seconds), min(seconds, _LEAST_S))


def _count(deployment: Object, sets: list[Object], new: Object | None) -> dict[str, Any]:
    wanted = sum(item["spec"]["replicas"] for item in sets)

    def add(field: str) -> int:
        return sum(item["status"].get(field, 0) for item in sets)

    available = add("availableReplicas")
    counts = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": add("replicas"),
        "updatedReplicas": new["status"].get("replicas", 0) if new else 0,
        "readyReplicas": add("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(wanted - available, 0),
    }
    return {key: count for key, count in counts.items() if count}


def _judge_availability(deployment: Object, status: dict[str, Any]) -> dict[str, Any]:
    _, missing = surge_of(deployment)
    if status.get("availableReplicas", 0) >= deployment["spec"]["replicas"] - missing:
        message = "Deployment has minimum availability."
        return _condition("Available", "True", "MinimumReplicasAvailable", message)
    message = "Deployment does not have minimum availability."
    return _condition("Available", "False", "MinimumReplicasUnavailable", message)


def is_complete(deployment: Object, status: dict[str, Any]) -> bool:
    """Return whether every pod is the template's, and serves."""
    wanted = deployment["spec"]["replicas"]
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    return (
        all(status.get(key, 0) == wanted for key in counts)
        and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    )


def _is_progressing(old: dict[str, Any], new: dict[str, Any]) -> bool:
    def gone(status: dict[str, Any]) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    return gone(new) < gone(old) or any(
        new.get(key, 0) > old.get(key, 0)
        for key in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def find_condition(deployment: Object, kind: str) -> dict[str, Any]:
    """Return a condition of the deployment's status by type, empty when it has none."""
    conditions: list[dict[str, Any]] = deployment["status"].get("conditions", [])
    return next((item for item in conditions if item["type"] == kind), {})


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    moment = now()
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }


def _put(
    conditions: list[dict[str, Any]], condition: dict[str, Any], *, force: bool = False
) -> None:
    """Set a condition; one of the same status and reason stays as it is unless `force` is set."""
    for position, found in enumerate(conditions):
        if found["type"] != condition["type"]:
            continue
        same = found["status"] == condition["status"]
        if same and found["reason"] == condition["reason"] and not force:
            return
        if same:
            condition = {**condition, "lastTransitionTime": found["lastTransitionTime"]}
        conditions[position] = condition
        return
    conditions.append(condition)
