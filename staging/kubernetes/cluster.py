"""The cluster: its store, its controllers, its node, and the traffic to its pods."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from staging.baseline import BASELINE_IMAGES, INSTANCES, SERVICE
from staging.kubernetes.baseline import fill
from staging.kubernetes.deployments import DeploymentController
from staging.kubernetes.events import Recorder
from staging.kubernetes.kinds import DEPLOYMENT, POD, REPLICA_SET, Kind
from staging.kubernetes.pod_worker import Node
from staging.kubernetes.pods import Pods
from staging.kubernetes.progress import is_complete
from staging.kubernetes.replicasets import ReplicaSetController
from staging.kubernetes.settings import Clock
from staging.kubernetes.store import Store
from staging.kubernetes.writes import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from staging.kubernetes.container_logs import ContainerLogs
    from staging.model import Fleet

_LOG = logging.getLogger(__name__)
# Long for a machine that is busy with something else; normally pods are ready in 20 ms.
BASELINE_DEADLINE_S = 20.0
_EVERYTHING = 100


class Cluster:
    """One namespace with one Deployment; empty until `reset` brings the baseline up."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        time_scale: float,
        set_split: Callable[[Mapping[str, int]], None],
        logs: ContainerLogs,
        images: Collection[str] = (),
    ) -> None:
        """Take the fleet to run pods on and the ingress's `set_split`.

        `images` are the references that the registry holds besides those of the baseline.
        """
        self.fleet = fleet
        self.logs = logs
        self.running = False
        clock = Clock(time_scale)
        self._changed = asyncio.Event()
        self._settled = asyncio.Condition()
        self._set_split = set_split
        self._images = {*images, *BASELINE_IMAGES}
        self.registry = set(self._images)
        self.store = Store(self._note_change)
        self.writer = Writer(self.store)
        self.events = Recorder(self.store)
        node = Node(fleet, self.store, self.events, clock, self.registry, self._share)
        self.pods = Pods(node)
        self._sets = ReplicaSetController(self.store, self.events, self.pods, clock)
        self._deployments = DeploymentController(self.store, self.events, clock)
        self._loop: asyncio.Task[None] | None = None

    async def reset(self) -> None:
        """Kill every pod, go back to the baseline, and return when it serves.

        Raises:
            TimeoutError: when its pods are not ready within 20 s.
        """
        await self.stop()
        self.pods.warm = self.running = True
        fill(self.store)
        self._loop = asyncio.create_task(self._reconcile_forever(), name="kubernetes controllers")
        self._loop.add_done_callback(_report_failure)
        try:
            async with asyncio.timeout(BASELINE_DEADLINE_S):
                await self.wait_until(self._is_up)
        finally:
            self.pods.warm = False

    async def stop(self) -> None:
        """Kill every pod and forget every object; the Deployment does not exist then."""
        self.running = False
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        await self.pods.clear()
        self._set_split({})
        self.store.clear()
        self.events.clear()
        self._deployments.clear()
        self.logs.clear()
        self.registry.clear()
        self.registry.update(self._images)

    def _is_up(self) -> bool:
        deployment = self.store.find(DEPLOYMENT, SERVICE)
        serving = sum(self.pods.count_ready().values())
        return (
            deployment is not None
            and is_complete(deployment, deployment["status"])
            and serving == INSTANCES
        )

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds after a step of the controllers."""
        async with self._settled:
            await self._settled.wait_for(condition)

    def shares(self) -> dict[str, int]:
        """Return ReplicaSet → whole percent of the requests: every ready pod gets the same."""
        counts = self.pods.count_ready()
        total = sum(counts.values())
        shares = {name: count * _EVERYTHING // total for name, count in counts.items()}
        # What rounding leaves goes to those that lost most by it.
        by_loss = sorted(counts, key=lambda name: -(counts[name] * _EVERYTHING % max(total, 1)))
        for name in by_loss[: _EVERYTHING - sum(shares.values())]:
            shares[name] += 1
        return shares

    def _share(self) -> None:
        if self.running:
            self._set_split(self.shares())
        self._changed.set()

    def _note_change(self, kind: Kind) -> None:
        if kind in (DEPLOYMENT, REPLICA_SET, POD):
            self._changed.set()

    async def _reconcile_forever(self) -> None:
        wait: float | None = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
            self._changed.clear()
            waits = [self._sets.sync(), self._deployments.sync()]
            wait = min((item for item in waits if item is not None), default=None)
            async with self._settled:
                self._settled.notify_all()

    async def recycle(self) -> None:
        """Evict every pod, as the replacement of the nodes does."""
        for worker in self.pods.workers():
            if not worker.stopping:
                self.pods.remove(worker.name)


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _LOG.critical("%s failed", task.get_name(), exc_info=task.exception())
