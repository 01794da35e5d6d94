"""What is seen of a pod: its phase, its container's state, its conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from staging.cloud_run.registry import digest_of
from staging.kubernetes.settings import CONTAINER
from staging.kubernetes.store import now

if TYPE_CHECKING:
    from staging.model import Instance

_KILLED = 128


@dataclass
class PodStatus:
    """A pod's state as its node reports it."""

    image: str
    qos: str
    state: dict[str, Any] = field(default_factory=dict)
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    scheduled: str | None = None
    unschedulable: str = ""
    container_id: str = ""
    address: str = ""
    ready_changed: str = field(default_factory=now)

    def set_ready(self, *, ready: bool) -> None:
        """Note that the pod serves from now on, or no longer does."""
        if ready != self.ready:
            self.ready, self.ready_changed = ready, now()

    def render(self, created: str) -> dict[str, Any]:
        """Return the `status` of a pod that was `created` then."""
        if self.scheduled is None:
            return {
                "phase": "Pending",
                "conditions": self._unplaced(created) if self.unschedulable else [],
                "qosClass": self.qos,
            }
        place = {"podIP": self.address, "podIPs": [{"ip": self.address}]} if self.address else {}
        started = bool(self.state.get("running") or self.restarts or self.last_state)
        return {
            "phase": "Running" if started else "Pending",
            "conditions": self._conditions(),
            "hostIP": "127.0.0.1",
            **place,
            "startTime": self.scheduled,
            "containerStatuses": [self._container()],
            "qosClass": self.qos,
        }

    def _unplaced(self, created: str) -> list[dict[str, Any]]:
        return [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": self.unschedulable,
                "lastProbeTime": None,
                "lastTransitionTime": created,
            }
        ]

    def _container(self) -> dict[str, Any]:
        pulled = f"{self.image.rpartition(':')[0]}@{digest_of(self.image)}"
        return {
            "name": CONTAINER,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self.image,
            "imageID": pulled if self.container_id else "",
            **({"containerID": self.container_id} if self.container_id else {}),
            "started": "running" in self.state,
        }

    def _conditions(self) -> list[dict[str, Any]]:
        unready = {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{CONTAINER}]",
        }
        found = []
        for kind, true in (
            ("Initialized", True),
            ("Ready", self.ready),
            ("ContainersReady", self.ready),
            ("PodScheduled", True),
        ):
            changed = self.ready_changed if "Ready" in kind else self.scheduled
            found.append(
                {
                    "type": kind,
                    "status": "True" if true else "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": changed,
                    **({} if true else unready),
                }
            )
        return found


def qos_of(container: dict[str, Any]) -> str:
    """Return a pod's quality-of-service class, from its container's requests and limits."""
    resources = container.get("resources", {})
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    if {"cpu", "memory"} <= limits.keys() and limits == requests:
        return "Guaranteed"
    return "Burstable" if limits or requests else "BestEffort"


def describe_end(instance: Instance, started: str) -> dict[str, Any]:
    """Return the `terminated` state of a container whose process has ended."""
    status = instance.exit_status or 0
    code = _KILLED - status if status < 0 else status
    reason = "Error" if code else "Completed"
    if instance.memory_at_kill is not None:
        reason = "OOMKilled"
    return {
        "exitCode": code,
        "reason": reason,
        "startedAt": started,
        "finishedAt": now(),
        "containerID": container_id(instance),
    }


def container_id(instance: Instance) -> str:
    """Return the id of the container that is this process."""
    return f"containerd://{instance.name}-{instance.pid}"
