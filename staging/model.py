"""What the parts of embedded staging say to one another: instances and the fleet that runs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

InstanceState = Literal["starting", "ready", "stopping", "exited"]
Platform = Literal["cloud_run", "kubernetes"]
PLATFORMS: tuple[Platform, ...] = ("cloud_run", "kubernetes")


@dataclass(frozen=True)
class InstanceSpec:
    """One container as a Cloud Run revision or a pod describes it."""

    revision: str
    service: str
    image: str
    env: Mapping[str, str] = field(default_factory=dict)
    cpu: float = 2.0
    memory_bytes: int = 4 * 1024**3
    concurrency: int = 100
    timeout_s: float = 300.0
    name: str = ""
    """The instance's name (a pod's); empty: the revision's with a suffix of its own."""
    platform: Platform = "cloud_run"
    """Where it runs: Cloud Logging labels its lines accordingly."""


@dataclass
class Instance:
    """A real process that serves one revision, at an address of its own."""

    name: str
    spec: InstanceSpec
    slot: int
    address: str
    pid: int
    state: InstanceState = "starting"
    exit_status: int | None = None
    memory_at_kill: int | None = None
    """Bytes it used when the platform killed it for its memory; None for every other end."""


class NoSlotError(Exception):
    """Every slot is taken; Cloud Run's counterpart is an exhausted regional quota."""


class ImageNotFoundError(Exception):
    """The image is not in the registry, so no container can start from it."""


class Fleet(Protocol):
    """Starts, watches and stops instances; the platform decides how many there are."""

    async def start(self, spec: InstanceSpec) -> Instance:
        """Fork an instance in state `starting`; raise NoSlotError or ImageNotFoundError."""

    async def wait_ready(self, instance: Instance, deadline_s: float) -> bool:
        """Return whether the startup probe (a TCP connect) passed before deadline or exit."""

    async def stop(self, instance: Instance, grace_s: float) -> None:
        """Send SIGTERM, SIGKILL when `grace_s` seconds have passed, and return when it is gone."""

    def instances(self, revision: str | None = None) -> list[Instance]:
        """Return the instances that have not exited, of one revision or of all."""

    def usage(self, instance: Instance) -> float:
        """Return the instance's CPU use over its last second, as a share of its CPU (0 to 1)."""

    def memory(self, instance: Instance) -> int:
        """Return the bytes that the instance uses, as its container counts them; 0 once it ended.

        Above the specification's `memory_bytes` the fleet kills it (SIGKILL) and sets
        `memory_at_kill`: Cloud Run's "Memory limit exceeded", Kubernetes' OOMKilled.
        """

    def subscribe(self, listener: Callable[[Instance], Awaitable[None] | None]) -> None:
        """Call `listener` after every change of an instance's state, exits included."""


class Workload(Protocol):
    """The service as the platform in force runs it; the same questions on both platforms."""

    platform: Platform

    async def deploy(
        self, *, version: str = "", env: Mapping[str, str | None] = MappingProxyType({})
    ) -> str:
        """Deploy an image by version, or the same one, with variables set (None: removed).

        Return the name of the revision or ReplicaSet, once the rollout has ended, well or not.
        Raise WorkloadError when the platform refuses, TimeoutError when it comes to no end.
        """

    async def recycle(self) -> None:
        """Replace every instance, as the platform may do at any time."""

    def most_instances(self) -> int:
        """Return how many instances may serve: Cloud Run's maximum, Kubernetes' replicas."""

    def cpu(self) -> float:
        """Return the vCPUs of one instance."""

    def serving_image(self) -> str:
        """Return the image that serves the largest share of the traffic."""

    def discard_image(self, image: str) -> None:
        """Take an image from the registry: no container starts from it until a reset."""


class WorkloadError(Exception):
    """The platform refuses a change; the text is the platform's own."""
