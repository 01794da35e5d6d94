"""What a mitigation reads, compares and restores of a Deployment, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError
from runbook.changes import settings
from runbook.changes.system import request_deadline_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.kubernetes import Cluster
    from checks.target import Target

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_READ_DEADLINE_S = 10.0


@dataclass(frozen=True)
class DeploymentState:
    """One reading of a Deployment with its ReplicaSets and pods."""

    cluster: Cluster

    @property
    def raw(self) -> Mapping[str, Any]:
        """The Deployment, as the API gives it."""
        return self.cluster.deployment.raw

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return self.cluster.deployment.name

    @property
    def version(self) -> str:
        """The resourceVersion; it also grows with the status, so it is read afresh to write."""
        return str(self.raw["metadata"]["resourceVersion"])

    @property
    def generation(self) -> int:
        """How often somebody asked for something else."""
        return self.cluster.deployment.generation

    @property
    def observed(self) -> bool:
        """Whether the controller has seen what is asked for."""
        return int(self.status.get("observedGeneration") or 0) >= self.generation

    @property
    def status(self) -> Mapping[str, Any]:
        """What the controller says."""
        return self.raw.get("status") or {}

    @property
    def replicas(self) -> int:
        """How many pods are asked for."""
        return self.cluster.deployment.replicas

    @property
    def template(self) -> str:
        """The ReplicaSet of the template that is asked for; "" until the controller knows it."""
        return self.cluster.deployment.latest_created if self.observed else ""

    @property
    def pod_spec(self) -> Mapping[str, Any]:
        """The pod template's spec, with its containers."""
        spec: Mapping[str, Any] = self.raw["spec"]["template"]["spec"]
        return spec

    @property
    def restarted_at(self) -> str:
        """When it was last restarted by hand or by a step; "" when it was not."""
        found = self.raw["spec"]["template"].get("metadata", {}).get("annotations") or {}
        return str(found.get(RESTARTED_AT, ""))

    def fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the named fields in the form that the timeline keeps."""
        known = {
            "replicas": self.replicas,
            "restarted_at": self.restarted_at,
            "template": self.template,
        }
        listed = list(names)
        found = settings.read_settings(self.pod_spec, filter(settings.is_setting, listed))
        return {name: found[name] if name in found else known[name] for name in listed}


def read_deployment(target: Target) -> DeploymentState:
    """Return the Deployment as it is now.

    Raises:
        UsageError: kubectl is missing, or the target names no cluster.
        UnreachableError: The cluster does not answer before the deadline.
        ApiError: There is none, or the answer is something else.
    """
    from checks.kubernetes import read_cluster

    deadline_s = min(request_deadline_s(), _READ_DEADLINE_S)
    state = DeploymentState(read_cluster(target, deadline_s=deadline_s))
    try:
        state.fields(("replicas", "restarted_at", "cpu"))
        int(state.version)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            f"Kubernetes described {target.deployment_name} without its {error}.",
            status=200,
            next_step="check the context in invoke.yaml; something else may answer there",
        ) from error
    return state
