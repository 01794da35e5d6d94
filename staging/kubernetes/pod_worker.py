"""One pod on its node: pull, start, probe, watch, restart with back-off; the kubelet's part."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staging.baseline import SERVICE
from staging.cloud_run.registry import resolve_image
from staging.kubernetes.kinds import POD
from staging.kubernetes.pod_status import PodStatus, container_id, describe_end, qos_of
from staging.kubernetes.quantities import to_bytes, to_cores
from staging.kubernetes.settings import CONTAINER, NODE
from staging.kubernetes.store import now
from staging.model import ImageNotFoundError, InstanceSpec, NoSlotError

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.kubernetes.events import Recorder
    from staging.kubernetes.settings import Clock
    from staging.kubernetes.store import Object, Store
    from staging.model import Fleet, Instance

# The kubelet's: the first restart comes at once, then 10, 20, 40 ... 300 s; ten good minutes
# forget it. Images: 10, 20, 40 ... 300 s.
BACKOFF_FIRST_S = 10.0
BACKOFF_MOST_S = 300.0
STABLE_S = 600.0
# How long a probe may go unanswered, and how often a pod without a place is looked at.
_PROBE_S = 1.0
_SCHEDULE_S = 0.2
# What a container without limits may use: the whole node.
NODE_CPU = "8"
NODE_MEMORY = "32Gi"
_FIELD_PATH = f"spec.containers{{{CONTAINER}}}"
_FULL = (
    "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No"
    " preemption victims found for incoming pod."
)


@dataclass(frozen=True)
class Node:
    """What every pod works with; `changed` is called whenever a pod serves or no longer does."""

    fleet: Fleet
    store: Store
    events: Recorder
    clock: Clock
    registry: set[str]
    changed: Callable[[], None]


class PodWorker:
    """Runs one pod until it is removed."""

    def __init__(self, name: str, node: Node, *, warm: bool) -> None:
        """Take a pod of the store; a `warm` one serves as soon as it listens."""
        self.name = name
        self.instance: Instance | None = None
        self.ready_since: float | None = None
        self.stopping = False
        self.waiting_reason = ""
        """Why the container does not run: CrashLoopBackOff, ImagePullBackOff, or empty."""
        self._node = node
        self._warm = warm
        self._pod = node.store.get(POD, name)
        self._container: dict[str, Any] = self._pod["spec"]["containers"][0]
        self._status = PodStatus(self._container["image"], qos_of(self._container))
        self._exited = asyncio.Event()
        self._failures = 0

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            image = await self._pull()
            instance = await self._start(image)
            started = now()
            since = time.monotonic()
            probing = asyncio.create_task(self._probe(instance))
            try:
                await self._exited.wait()
            finally:
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)
            self._note_end(instance, started)
            if time.monotonic() - since > self._node.clock.seconds(STABLE_S):
                self._failures = 0
            await self._back_off()

    def note_exit(self, instance: Instance) -> None:
        """Take note that the process has ended."""
        if instance is self.instance:
            self._exited.set()

    async def stop(self, grace_s: float) -> None:
        """Let the process end within `grace_s` seconds; `run` must be cancelled before."""
        self.stopping = True
        instance, self.instance = self.instance, None
        self._set_ready(ready=False)
        if instance is not None:
            self._tell("Killing", f"Stopping container {CONTAINER}")
            await self._node.fleet.stop(instance, grace_s)

    async def _pull(self) -> str:
        image, attempt = self._container["image"], 0
        while True:
            try:
                found = resolve_image(image, self._node.registry)
            except ImageNotFoundError:
                delay = min(BACKOFF_FIRST_S * 2**attempt, BACKOFF_MOST_S)
                attempt += 1
                self._schedule()
                await self._miss_image(image, self._node.clock.seconds(delay))
            else:
                return found

    async def _miss_image(self, image: str, delay_s: float) -> None:
        why = (
            f'failed to pull and unpack image "{image}": failed to resolve reference "{image}":'
            f" {image}: not found"
        )
        text = f'Failed to pull image "{image}": rpc error: code = NotFound desc = {why}'
        self._tell("Pulling", f'Pulling image "{image}"')
        self._tell("Failed", text, warning=True)
        self._tell("Failed", "Error: ErrImagePull", warning=True)
        self._wait_for("ErrImagePull", f"rpc error: code = NotFound desc = {why}")
        await asyncio.sleep(min(delay_s, 1.0) / 2)
        text = f'Back-off pulling image "{image}"'
        self._tell("BackOff", text)
        self._tell("Failed", "Error: ImagePullBackOff", warning=True)
        self._wait_for("ImagePullBackOff", text)
        await asyncio.sleep(delay_s)

    async def _start(self, image: str) -> Instance:
        while True:
            try:
                instance = await self._node.fleet.start(self._describe(image))
            except NoSlotError:
                if self._status.scheduled is None and not self._status.unschedulable:
                    self._status.unschedulable = _FULL
                    self._tell("FailedScheduling", _FULL, warning=True, kubelet=False)
                    self._publish()
                await asyncio.sleep(_SCHEDULE_S)
            except TimeoutError:
                self._schedule()
                self._tell("Failed", "Error: context deadline exceeded", warning=True)
                await self._back_off()
            else:
                break
        self._schedule()
        self._exited.clear()
        self.instance = instance
        if instance.state == "exited":
            # It ended before anybody knew that it was this pod's.
            self._exited.set()
        self._note_start(instance)
        return instance

    def _describe(self, image: str) -> InstanceSpec:
        resources = self._container.get("resources", {})
        limits = resources.get("limits", {})
        [owner] = self._pod["metadata"]["ownerReferences"]
        return InstanceSpec(
            revision=owner["name"],
            service=SERVICE,
            image=image,
            env={item["name"]: item.get("value", "") for item in self._container.get("env", [])},
            cpu=to_cores(limits.get("cpu", NODE_CPU)),
            memory_bytes=to_bytes(limits.get("memory", NODE_MEMORY)),
            name=self.name,
            platform="kubernetes",
        )

    def _schedule(self) -> None:
        if self._status.scheduled is None:
            self._status.scheduled = now()
            self._status.unschedulable = ""
            text = f"Successfully assigned default/{self.name} to {NODE}"
            self._tell("Scheduled", text, kubelet=False)

    def _note_start(self, instance: Instance) -> None:
        image = self._container["image"]
        self._tell("Pulled", f'Container image "{image}" already present on machine')
        self._tell("Created", f"Created container: {CONTAINER}")
        self._tell("Started", f"Started container {CONTAINER}")
        self._status.state = {"running": {"startedAt": now()}}
        self._status.container_id = container_id(instance)
        self._status.address = instance.address.partition(":")[0]
        self.waiting_reason = ""
        self._publish()

    async def _probe(self, instance: Instance) -> None:
        probe = self._container.get("readinessProbe", {})
        if not self._warm:
            await asyncio.sleep(self._node.clock.seconds(probe.get("initialDelaySeconds", 0)))
        self._warm = False
        while not await self._node.fleet.wait_ready(instance, _PROBE_S):
            address = instance.address
            text = f"Readiness probe failed: dial tcp {address}: connect: connection refused"
            self._tell("Unhealthy", text, warning=True)
            if instance.state != "starting":
                return
        self._set_ready(ready=True)

    def _note_end(self, instance: Instance, started: str) -> None:
        self.instance = None
        ended = {"terminated": describe_end(instance, started)}
        self._status.state = self._status.last_state = ended
        self._set_ready(ready=False)

    async def _back_off(self) -> None:
        self._failures += 1
        delay = 0.0
        if self._failures > 1:
            delay = min(BACKOFF_FIRST_S * 2 ** (self._failures - 2), BACKOFF_MOST_S)
            pod = f"{self.name}_default({self._pod['metadata']['uid']})"
            text = f"Back-off restarting failed container {CONTAINER} in pod {pod}"
            self._tell("BackOff", text, warning=True)
            waits = f"back-off {_go_duration(delay)} restarting failed container={CONTAINER}"
            self._wait_for("CrashLoopBackOff", f"{waits} pod={pod}")
        await asyncio.sleep(self._node.clock.seconds(delay))
        self._status.restarts += 1

    def _wait_for(self, reason: str, message: str) -> None:
        self._status.state = {"waiting": {"reason": reason, "message": message}}
        self.waiting_reason = reason
        self._publish()

    def _set_ready(self, *, ready: bool) -> None:
        self.ready_since = time.monotonic() if ready else None
        self._status.set_ready(ready=ready)
        self._publish()
        self._node.changed()

    def _publish(self) -> None:
        if self._node.store.find(POD, self.name) is None:
            return
        scheduled = self._status.scheduled is not None

        def change(pod: Object) -> None:
            pod["status"] = self._status.render(pod["metadata"]["creationTimestamp"])
            if scheduled:
                pod["spec"]["nodeName"] = NODE

        self._node.store.change(POD, self.name, change)

    def _tell(self, reason: str, text: str, *, warning: bool = False, kubelet: bool = True) -> None:
        source = "kubelet" if kubelet else "default-scheduler"
        tell = self._node.events.warn if warning else self._node.events.normal
        tell(self._pod, reason, text, source, _FIELD_PATH if kubelet else "")


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
