"""All pods: made for their ReplicaSets, run by workers, removed with grace."""

from __future__ import annotations

import asyncio
import copy
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from staging.kubernetes.kinds import POD
from staging.kubernetes.pod_status import qos_of
from staging.kubernetes.pod_worker import Node, PodWorker
from staging.kubernetes.revisions import own

if TYPE_CHECKING:
    from staging.kubernetes.store import Object
    from staging.model import Instance

_LOG = logging.getLogger(__name__)
# Requests are not faster in a scaled world: an instance is to finish what it has taken.
GRACE_LEAST_S = 4.0


class Pods:
    """Knows each pod's worker; `staging.kubernetes.replicasets.Pods` for the controllers."""

    def __init__(self, node: Node) -> None:
        """Run pods on `node`."""
        self.warm = False
        """Whether pods made now serve as soon as they listen, as those of a baseline do."""
        self._node = node
        self._workers: dict[str, PodWorker] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._ends: set[asyncio.Task[None]] = set()
        node.fleet.subscribe(self._note_instance)

    def create(self, name: str, owner: Object) -> None:
        """Make a pod of the ReplicaSet `owner` and begin to run it."""
        template = copy.deepcopy(owner["spec"]["template"])
        metadata = template["metadata"]
        spec = {**template["spec"], "containers": [_complete(template["spec"]["containers"][0])]}
        self._node.store.create(
            POD,
            {
                "metadata": {
                    **metadata,
                    "name": name,
                    "generateName": f"{owner['metadata']['name']}-",
                    "ownerReferences": [own(owner)],
                },
                "spec": spec,
                "status": {"phase": "Pending", "qosClass": qos_of(spec["containers"][0])},
            },
        )
        worker = self._workers[name] = PodWorker(name, self._node, warm=self.warm)
        self._runs[name] = task = asyncio.create_task(worker.run(), name=f"pod {name}")
        task.add_done_callback(_report_failure)

    def remove(self, name: str, grace_s: float | None = None) -> None:
        """Let a pod end: it takes no requests from now on, and is gone after its grace at most.

        `grace_s` is in the platform's seconds; None is what the pod's own spec says.
        """
        worker = self._workers.get(name)
        if worker is None:
            self._node.store.delete(POD, name)
            return
        pod = self._node.store.get(POD, name)
        wanted = pod["spec"]["terminationGracePeriodSeconds"] if grace_s is None else grace_s
        if "deletionTimestamp" not in pod["metadata"]:
            self._mark(name, wanted)
        elif wanted:
            return
        task = asyncio.create_task(self._end(worker, wanted), name=f"end of pod {name}")
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        task.add_done_callback(_report_failure)

    def _mark(self, name: str, grace_s: float) -> None:
        end = datetime.now(UTC) + timedelta(seconds=grace_s)

        def change(pod: Object) -> None:
            pod["metadata"]["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
            pod["metadata"]["deletionGracePeriodSeconds"] = int(grace_s)

        self._node.store.change(POD, name, change)

    async def _end(self, worker: PodWorker, grace_s: float) -> None:
        run = self._runs.pop(worker.name, None)
        if run is not None:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        real = max(self._node.clock.seconds(grace_s), GRACE_LEAST_S) if grace_s else 0.0
        await worker.stop(real)
        self._workers.pop(worker.name, None)
        self._node.store.delete(POD, worker.name)

    def ready_since(self, name: str) -> float | None:
        """Return since when (monotonic seconds) a pod serves, None when it does not."""
        worker = self._workers.get(name)
        return worker.ready_since if worker else None

    def find(self, name: str) -> PodWorker | None:
        """Return the worker of a pod, None when it has none."""
        return self._workers.get(name)

    def workers(self) -> list[PodWorker]:
        """Return every worker."""
        return list(self._workers.values())

    def count_ready(self) -> dict[str, int]:
        """Return ReplicaSet → pods that serve."""
        counts: dict[str, int] = {}
        for worker in self._workers.values():
            if worker.ready_since is not None and worker.instance is not None:
                owner = worker.instance.spec.revision
                counts[owner] = counts.get(owner, 0) + 1
        return counts

    async def clear(self) -> None:
        """Kill every pod's process at once and forget the pods."""
        tasks = [*self._runs.values(), *self._ends]
        self._workers.clear()
        self._runs.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        instances = self._node.fleet.instances()
        await asyncio.gather(*(self._node.fleet.stop(item, 0.0) for item in instances))

    def _note_instance(self, instance: Instance) -> None:
        worker = self._workers.get(instance.name)
        if worker is not None and instance.state == "exited":
            worker.note_exit(instance)


def _complete(container: dict[str, Any]) -> dict[str, Any]:
    resources = container.get("resources", {})
    limits = resources.get("limits", {})
    if not limits:
        return container
    # In a pod, a limit without a request is its request too.
    requests = {**limits, **resources.get("requests", {})}
    return {**container, "resources": {"limits": limits, "requests": requests}}


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.critical("%s failed", task.get_name(), exc_info=task.exception())
