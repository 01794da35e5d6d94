"""The Deployment controller: rolling updates, scaling, history; pkg/controller/deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from staging.kubernetes.kinds import DEPLOYMENT, REPLICA_SET
from staging.kubernetes.progress import Progress
from staging.kubernetes.replicasets import set_replicas
from staging.kubernetes.revisions import (
    DESIRED,
    create_set,
    find_new,
    list_sets,
    note_revision,
    renew_set,
    revision_of,
    surge_of,
)

if TYPE_CHECKING:
    from staging.kubernetes.events import Recorder
    from staging.kubernetes.settings import Clock
    from staging.kubernetes.store import Object, Store

_SOURCE = "deployment-controller"


class DeploymentController:
    """Takes one step each time it is asked to; what a step changes leads to the next."""

    def __init__(self, store: Store, events: Recorder, clock: Clock) -> None:
        """Act on the store."""
        self._store = store
        self._events = events
        self._progress = Progress(store, clock)

    def clear(self) -> None:
        """Forget what was observed."""
        self._progress.clear()

    def sync(self) -> float | None:
        """Take the next step of every deployment; return when to look again, in seconds."""
        waits = [self._sync_one(item) for item in self._store.list(DEPLOYMENT)]
        return min((wait for wait in waits if wait is not None), default=None)

    def _sync_one(self, deployment: Object) -> float | None:
        sets = list_sets(self._store, deployment)
        new = find_new(deployment, sets)
        self._progress.note_pause(deployment)
        if deployment["spec"].get("paused") or self._is_scaled(deployment, sets):
            if new is not None:
                new = renew_set(self._store, deployment, new, [s for s in sets if s is not new])
            self._scale(deployment, sets, new)
            return self._write_status(deployment)
        olds = [item for item in sets if item is not new]
        new = self._get_new(deployment, sets, new, olds)
        scaled = self._scale_new(deployment, new, olds) or self._scale_olds(deployment, new, olds)
        wait = self._write_status(deployment)
        if not scaled:
            self._forget_history(deployment)
        return wait

    def _get_new(
        self, deployment: Object, sets: list[Object], new: Object | None, olds: list[Object]
    ) -> Object:
        if new is None:
            surge, _ = surge_of(deployment)
            wanted = deployment["spec"]["replicas"]
            room = max(wanted + surge - _wanted(sets), 0)
            new = create_set(self._store, deployment, sets, min(room, wanted))
            count = new["spec"]["replicas"]
            if count:
                self._tell_scaled(deployment, new, 0, count)
            name = new["metadata"]["name"]
            self._progress.note(
                deployment, "NewReplicaSetCreated", f'Created new replica set "{name}"'
            )
        else:
            before = new
            new = renew_set(self._store, deployment, new, olds)
            if revision_of(new) != revision_of(before):
                name = new["metadata"]["name"]
                self._progress.note(
                    deployment, "FoundNewReplicaSet", f'Found new replica set "{name}"'
                )
        note_revision(self._store, deployment, revision_of(new))
        return new

    def _scale_new(self, deployment: Object, new: Object, olds: list[Object]) -> bool:
        wanted, has = deployment["spec"]["replicas"], new["spec"]["replicas"]
        if has > wanted:
            return self._set(deployment, new, wanted)
        surge, _ = surge_of(deployment)
        room = wanted + surge - _wanted([new, *olds])
        return self._set(deployment, new, has + max(min(room, wanted - has), 0))

    def _scale_olds(self, deployment: Object, new: Object, olds: list[Object]) -> bool:
        if not _wanted(olds):
            return False
        _, missing = surge_of(deployment)
        least = deployment["spec"]["replicas"] - missing
        unavailable = new["spec"]["replicas"] - _available([new])
        room = _wanted([new, *olds]) - least - unavailable
        if room <= 0:
            return False
        kept = {item["metadata"]["name"]: item["spec"]["replicas"] for item in olds}
        # What does not serve goes first; it takes nothing away.
        for item in olds:
            unhealthy = min(room, kept[item["metadata"]["name"]] - _available([item]))
            kept[item["metadata"]["name"]] -= max(unhealthy, 0)
            room -= max(unhealthy, 0)
        spare = min(_available([new, *olds]) - least, room)
        for item in olds:
            count = max(min(spare, kept[item["metadata"]["name"]]), 0)
            kept[item["metadata"]["name"]] -= count
            spare -= count
        done = [self._set(deployment, item, kept[item["metadata"]["name"]]) for item in olds]
        return any(done)

    def _set(self, deployment: Object, item: Object, count: int) -> bool:
        before = item["spec"]["replicas"]
        if count == before:
            return False
        set_replicas(self._store, item, count)
        self._tell_scaled(deployment, item, before, count)
        return True

    def _tell_scaled(self, deployment: Object, item: Object, before: int, count: int) -> None:
        way, name = "up" if count > before else "down", item["metadata"]["name"]
        self._events.normal(
            deployment,
            "ScalingReplicaSet",
            f"Scaled {way} replica set {name} from {before} to {count}",
            _SOURCE,
        )

    def _is_scaled(self, deployment: Object, sets: list[Object]) -> bool:
        """Return whether somebody changed the number of replicas since the last step."""
        wanted = str(deployment["spec"]["replicas"])
        return any(
            item["metadata"]["annotations"].get(DESIRED, wanted) != wanted
            for item in sets
            if item["spec"]["replicas"]
        )

    def _scale(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        """Spread a new number of replicas over the sets that have some, in proportion."""
        active = [item for item in sets if item["spec"]["replicas"]]
        latest = new or max(sets, key=revision_of, default=None)
        wanted = deployment["spec"]["replicas"]
        if len(active) <= 1:
            target = active[0] if active else latest
            if target is not None:
                self._set(deployment, target, wanted)
        elif latest is not None and _available([latest]) == wanted == latest["spec"]["replicas"]:
            for item in active:
                if item["metadata"]["name"] != latest["metadata"]["name"]:
                    self._set(deployment, item, 0)
        else:
            self._spread(deployment, active)
        for item in active:
            note_desired(self._store, deployment, item)

    def _spread(self, deployment: Object, active: list[Object]) -> None:
        surge, _ = surge_of(deployment)
        wanted = deployment["spec"]["replicas"]
        total, most = _wanted(active), wanted + surge if wanted else 0
        left = most - total
        by_size = sorted(active, key=lambda item: -item["spec"]["replicas"])
        counts = {}
        for item in by_size:
            has = item["spec"]["replicas"]
            share = round(has * most / total) - has
            share = max(min(share, left), 0) if left > 0 else min(max(share, left), 0)
            counts[item["metadata"]["name"]] = has + share
            left -= share
        biggest = by_size[0]["metadata"]["name"]
        counts[biggest] = max(counts[biggest] + left, 0)
        for item in by_size:
            self._set(deployment, item, counts[item["metadata"]["name"]])

    def _write_status(self, deployment: Object) -> float | None:
        deployment = self._store.get(DEPLOYMENT, deployment["metadata"]["name"])
        sets = list_sets(self._store, deployment)
        return self._progress.write(deployment, sets, find_new(deployment, sets))

    def _forget_history(self, deployment: Object) -> None:
        deployment = self._store.get(DEPLOYMENT, deployment["metadata"]["name"])
        sets = list_sets(self._store, deployment)
        new = find_new(deployment, sets)
        idle = [
            item
            for item in sets
            if item is not new
            and not item["spec"]["replicas"]
            and not item["status"].get("replicas")
        ]
        idle.sort(key=revision_of)
        surplus = len(idle) - deployment["spec"]["revisionHistoryLimit"]
        for item in idle[: max(surplus, 0)]:
            self._store.delete(REPLICA_SET, item["metadata"]["name"])


def note_desired(store: Store, deployment: Object, item: Object) -> None:
    """Write into a ReplicaSet how many replicas the deployment has, as seen in this step."""
    wanted = str(deployment["spec"]["replicas"])

    def change(found: Object) -> None:
        found["metadata"]["annotations"][DESIRED] = wanted

    store.change(REPLICA_SET, item["metadata"]["name"], change)


def _wanted(sets: list[Object]) -> int:
    return sum(item["spec"]["replicas"] for item in sets)


def _available(sets: list[Object]) -> int:
    return sum(item["status"].get("availableReplicas", 0) for item in sets)
