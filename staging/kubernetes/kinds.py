"""The resources that are served, by the names that clients know them under."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "default"


@dataclass(frozen=True)
class Kind:
    """One resource with what may be done to it."""

    group: str
    version: str
    plural: str
    kind: str
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    singular: str = ""

    @property
    def qualified(self) -> str:
        """Return the name in messages, such as `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """Return the `apiVersion` of an object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Return the path of the resource's group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@dataclass(frozen=True)
class Subresource:
    """A part of a resource with a path of its own."""

    parent: Kind
    name: str
    kind: str
    api_version: str
    verbs: tuple[str, ...]


_READ = ("get", "list", "watch")
DEPLOYMENT = Kind(
    *("apps", "v1", "deployments", "Deployment", (*_READ, "patch", "update")),
    short_names=("deploy",),
    categories=("all",),
    singular="deployment",
)
REPLICA_SET = Kind(
    *("apps", "v1", "replicasets", "ReplicaSet", _READ),
    short_names=("rs",),
    categories=("all",),
    singular="replicaset",
)
POD = Kind(
    *("", "v1", "pods", "Pod", (*_READ, "delete", "deletecollection", "patch", "update")),
    short_names=("po",),
    categories=("all",),
    singular="pod",
)
EVENT = Kind(
    *("", "v1", "events", "Event", _READ),
    short_names=("ev",),
    singular="event",
)
NAMESPACES = Kind(
    *("", "v1", "namespaces", "Namespace", _READ),
    short_names=("ns",),
    namespaced=False,
    singular="namespace",
)
POD_METRICS = Kind("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", ("get", "list"))
STORED = (DEPLOYMENT, REPLICA_SET, POD, EVENT, NAMESPACES)
SERVED = (*STORED, POD_METRICS)
SUBRESOURCES = (
    Subresource(DEPLOYMENT, "scale", "Scale", "autoscaling/v1", ("get", "patch", "update")),
    Subresource(DEPLOYMENT, "status", "Deployment", "apps/v1", ("get",)),
    Subresource(POD, "log", "Pod", "v1", ("get",)),
    Subresource(POD, "exec", "PodExecOptions", "v1", ("create", "get")),
)
