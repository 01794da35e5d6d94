"""The one model behind both faces of Cloud Run: services, revisions, traffic, conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

Phase = Literal["deploying", "ready", "failed"]

DEFAULT_TIMEOUT_S = 300
DEFAULT_CONCURRENCY = 80
DEFAULT_MAX_INSTANCES = 100
DEFAULT_PORT = 8080
# The default TCP probe: one attempt that may take 240 s.
DEFAULT_PROBE_S = 240


class LogSink(Protocol):
    """Where the platform's own log entries go."""

    def write(self, entry: dict[str, Any]) -> object:
        """Keep one LogEntry in the JSON form of the Cloud Logging API."""


@dataclass(frozen=True)
class StartupProbe:
    """The TCP probe that decides whether an instance may serve; all times in seconds."""

    port: int
    initial_delay_s: int = 0
    timeout_s: int = DEFAULT_PROBE_S
    period_s: int = DEFAULT_PROBE_S
    failure_threshold: int = 1

    @property
    def deadline_s(self) -> int:
        """Return the seconds that a container has for its first open port."""
        return self.initial_delay_s + self.period_s * self.failure_threshold


@dataclass(frozen=True)
class Container:
    """The serving container of a revision."""

    image: str
    name: str = ""
    env: tuple[tuple[str, str], ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    port: int = DEFAULT_PORT
    port_name: str = ""
    startup_probe: StartupProbe | None = None
    cpu_idle: bool = True
    startup_cpu_boost: bool = False

    @property
    def probe(self) -> StartupProbe:
        """Return the startup probe in force: the configured one, or Cloud Run's default."""
        return self.startup_probe or StartupProbe(port=self.port)


@dataclass(frozen=True)
class Template:
    """What a revision is made from; any difference between two templates makes a new one."""

    container: Container
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    min_instances: int = 0
    max_instances: int = 0
    timeout_s: int = DEFAULT_TIMEOUT_S
    concurrency: int = DEFAULT_CONCURRENCY
    service_account: str = ""
    execution_environment: str = ""
    session_affinity: bool = False
    # Which client wrote it is no configuration, so it makes no revision.
    client: str = field(default="", compare=False)
    client_version: str = field(default="", compare=False)


@dataclass(frozen=True)
class TrafficTarget:
    """A share of the traffic, for the latest ready revision or for a named one."""

    latest: bool = False
    revision: str = ""
    percent: int = 0
    tag: str = ""


@dataclass(frozen=True)
class ServiceScaling:
    """Scaling of the service as a whole, divided among revisions by their share of traffic."""

    min_instances: int = 0
    max_instances: int = 0
    manual: bool = False
    manual_instances: int = 0


@dataclass(frozen=True)
class ServiceSpec:
    """Everything about a service that a user decides."""

    template: Template
    traffic: tuple[TrafficTarget, ...] = (TrafficTarget(latest=True, percent=100),)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    scaling: ServiceScaling = field(default_factory=ServiceScaling)
    description: str = ""
    ingress: str = "INGRESS_TRAFFIC_ALL"
    launch_stage: str = "GA"
    client: str = field(default="", compare=False)
    client_version: str = field(default="", compare=False)


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


@dataclass
class Condition:
    """One condition: met (True), failed (False) or not known yet (None)."""

    type: str
    status: bool | None = True
    message: str = ""
    reason: str = ""
    severity: str = ""
    changed: datetime = field(default_factory=utc_now)

    def update(self, status: bool | None, message: str = "", reason: str = "") -> None:
        """Take a new status; the transition time moves only when the status does."""
        if status is not self.status:
            self.changed = utc_now()
        self.status, self.message, self.reason = status, message, reason


@dataclass
class Revision:
    """An immutable template with the state of its deployment."""

    name: str
    uid: str
    generation: int
    created: datetime
    template: Template
    digest: str
    creator: str
    phase: Phase = "deploying"
    message: str = ""
    active: bool = True
    changed: datetime = field(default_factory=utc_now)

    @property
    def ready(self) -> bool | None:
        """Return True when it can serve, False when it failed to start, None before either."""
        return {"deploying": None, "ready": True, "failed": False}[self.phase]


@dataclass
class Service:
    """A service: what the user wants (`spec`) and what is so (all the rest)."""

    name: str
    uid: str
    created: datetime
    updated: datetime
    spec: ServiceSpec
    version: int
    creator: str
    modifier: str
    generation: int
    observed_generation: int
    latest_created: str
    latest_ready: str
    served: tuple[TrafficTarget, ...]
    configurations_ready: Condition
    routes_ready: Condition
    ready: Condition

    @property
    def reconciling(self) -> bool:
        """Return whether the platform still works on the newest generation."""
        return self.observed_generation != self.generation or self.ready.status is None

    def shares(self) -> dict[str, int]:
        """Return {revision: percent} of the traffic that is served now."""
        shares: dict[str, int] = {}
        for target in self.served:
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
        return shares


@dataclass(frozen=True)
class Place:
    """Where the service lives, and at which pace its platform's clocks run."""

    project: str
    project_number: str
    region: str
    time_scale: float = 1.0
    service_url: str = ""

    def seconds(self, real: float) -> float:
        """Return how long `real` seconds of the platform take here."""
        return real / self.time_scale
