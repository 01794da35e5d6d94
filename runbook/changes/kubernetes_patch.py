"""What is sent to a Deployment in one request: a JSON patch under its resourceVersion."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runbook.changes.kubernetes_state import RESTARTED_AT
from runbook.changes.settings import LIMITS, first_container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbook.changes.kubernetes_state import DeploymentState

    Op = dict[str, Any]

_HASH = "pod-template-hash"
# What `kubectl rollout undo` leaves as the Deployment has it; the rest comes from the ReplicaSet.
_KEPT = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)
_CONTAINERS = "/spec/template/spec/containers"


@dataclass(frozen=True)
class DeploymentPatch:
    """What shall be otherwise; None leaves a field alone.

    Attributes:
        settings: What `settings.to_write` gave: limits and variables; None takes one away.
        restarted_at: Value of kubectl's restart annotation; "" takes it off.
        template: The ReplicaSet whose pod template comes back; "" leaves it.
    """

    replicas: int | None = None
    settings: dict[str, str | None] | None = None
    restarted_at: str | None = None
    template: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.template and all(
            part is None for part in (self.replicas, self.settings, self.restarted_at)
        )

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it: names and numbers only."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}


def make_operations(state: DeploymentState, patch: DeploymentPatch) -> list[Op]:
    """Return the JSON patch (RFC 6902); replacing the resourceVersion makes it conditional.

    The API server compares the version of what the patch leaves with the stored one, and answers
    409 when somebody was faster. Only values that a step sets are in it, but for a template that
    comes back whole.

    Raises:
        KeyError: The ReplicaSet is gone.
    """
    ops: list[Op] = [_replace("/metadata/resourceVersion", state.version)]
    if patch.replicas is not None:
        ops.append(_replace("/spec/replicas", patch.replicas))
    if patch.template:
        ops += _bring_back(state, patch.template)
    if patch.restarted_at is not None:
        ops += _annotate(state, patch.restarted_at)
    return ops + _set_parts(state.pod_spec, patch.settings or {})


def find_template(state: DeploymentState, name: str) -> Mapping[str, Any]:
    """Return a ReplicaSet, as the API gives it; raises KeyError when it is gone."""
    for revision in state.cluster.revisions:
        if revision.name == name:
            return revision.raw
    raise KeyError(name)


def _bring_back(state: DeploymentState, name: str) -> list[Op]:
    found = find_template(state, name)
    template = copy.deepcopy(found["spec"]["template"])
    template.get("metadata", {}).get("labels", {}).pop(_HASH, None)
    own = state.raw["metadata"].get("annotations") or {}
    others = found["metadata"].get("annotations") or {}
    annotations = {key: value for key, value in own.items() if key in _KEPT}
    annotations |= {key: value for key, value in others.items() if key not in _KEPT}
    return [_replace("/spec/template", template), _add("/metadata/annotations", annotations)]


def _annotate(state: DeploymentState, stamp: str) -> list[Op]:
    metadata = state.raw["spec"]["template"].get("metadata") or {}
    if not stamp:
        known = RESTARTED_AT in (metadata.get("annotations") or {})
        return [{"op": "remove", "path": _path_of_restart()}] if known else []
    if metadata.get("annotations"):
        return [_add(_path_of_restart(), stamp)]
    return [_add("/spec/template/metadata/annotations", {RESTARTED_AT: stamp})]


def _path_of_restart() -> str:
    return "/spec/template/metadata/annotations/" + RESTARTED_AT.replace("/", "~1")


def _set_parts(spec: Mapping[str, Any], parts: Mapping[str, str | None]) -> list[Op]:
    container = first_container(spec)
    path = f"{_CONTAINERS}/{list(spec['containers']).index(container)}"
    limits = {name: parts[name] for name in LIMITS if name in parts}
    ops = [_add(f"{path}/resources", size_resources(container, limits))] if limits else []
    variables = {n.removeprefix("env."): v for n, v in parts.items() if n.startswith("env.")}
    return ops + _set_variables(container, path, variables)


def size_resources(
    container: Mapping[str, Any], limits: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the container's resources with these limits; None takes one away.

    A request that equals its limit follows it, so that the pod keeps its class of service.
    """
    found = copy.deepcopy(dict(container.get("resources") or {}))
    for name, value in limits.items():
        kinds = ["limits", *(["requests"] if follows_limit(container, name) else [])]
        for kind in kinds:
            amounts = found.setdefault(kind, {})
            amounts.pop(name, None) if value is None else amounts.update({name: value})
    return found


def follows_limit(container: Mapping[str, Any], name: str) -> bool:
    """Return whether the container asks for as much as it may have."""
    resources = container.get("resources") or {}
    asked = (resources.get("requests") or {}).get(name)
    return asked is not None and asked == (resources.get("limits") or {}).get(name)


def _set_variables(
    container: Mapping[str, Any], path: str, variables: Mapping[str, str | None]
) -> list[Op]:
    items = list(container.get("env") or [])
    ops: list[Op] = []
    if not items and any(value is not None for value in variables.values()):
        ops.append(_add(f"{path}/env", []))
    names = [item["name"] for item in items]
    gone: list[Op] = []
    for name, value in variables.items():
        if value is None:
            gone += [_remove(f"{path}/env/{names.index(name)}")] if name in names else []
        elif name in names:
            item = {"name": name, "value": value}
            ops.append(_replace(f"{path}/env/{names.index(name)}", item))
        else:
            ops.append(_add(f"{path}/env/-", {"name": name, "value": value}))
    # From the end, because taking one away moves those behind it.
    return ops + sorted(gone, key=lambda op: -int(op["path"].rpartition("/")[2]))


def _replace(path: str, value: Any) -> Op:  # noqa: ANN401 - any JSON value
    return {"op": "replace", "path": path, "value": value}


def _add(path: str, value: Any) -> Op:  # noqa: ANN401 - any JSON value
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> Op:
    return {"op": "remove", "path": path}
