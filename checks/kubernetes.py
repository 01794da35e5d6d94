"""What Kubernetes says of the Deployment: its ReplicaSets are the service's revisions.

A ReplicaSet keeps a pod template, as a Cloud Run revision does, and going back to a template takes
its old ReplicaSet up again. Traffic goes to the pods that are ready, so those tell who serves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.cloud_run import Revision, describe_build
from checks.errors import ApiError
from checks.kubectl import DEADLINE_S, read_json
from checks.logs import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.target import Target

NUMBER = "deployment.kubernetes.io/revision"
ENDED = "Container ended"
NOT_STARTED = "Container cannot start"
# Why a container is not there yet and will not be without a change; not ContainerCreating.
_STUCK = frozenset(
    {
        *("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    }
)
_TAKEN_AWAY = (0, 143)  # ended well, or by the SIGTERM of the platform
_WHOLE = 100


@dataclass(frozen=True)
class Pod:
    """A pod of the Deployment, with what its container last ended or waits for.

    Attributes:
        revision: Name of its ReplicaSet.
        waiting: Why the container does not run, such as `CrashLoopBackOff`, or "".
        waiting_message: The same in the kubelet's words.
        ended: Why the container last ended, such as `OOMKilled` or `Error`, or "".
        exit_code: How it last ended; None when it never did.
        ended_at: When, RFC 3339, or "".
    """

    name: str
    revision: str
    created: str
    phase: str
    ready: bool
    restarts: int
    node: str = ""
    address: str = ""
    started: str = ""
    waiting: str = ""
    waiting_message: str = ""
    ended: str = ""
    exit_code: int | None = None
    ended_at: str = ""


@dataclass(frozen=True)
class Event:
    """An event of the namespace; `about` is `Kind/name`, `last_seen` an RFC 3339 time."""

    about: str
    reason: str
    message: str
    count: int
    last_seen: str
    warning: bool


@dataclass(frozen=True)
class Deployment:
    """A Deployment; revision names are those of its ReplicaSets.

    Attributes:
        shares: The percentage of the ready pods that each ReplicaSet has: who serves.
        latest_created: The ReplicaSet of the newest template.
        latest_ready: The same if its roll-out ended well, else the one that serves.
        ready: Whether the newest template's roll-out ended well and enough pods are available.
        message: Why not, in the Deployment's words, or "".
        paused: Whether a new template would not be rolled out.
        raw: The whole object.
    """

    name: str
    generation: int
    replicas: int
    ready_replicas: int
    template: dict[str, Any]
    latest_created: str
    latest_ready: str
    ready: bool
    message: str
    paused: bool = False
    shares: dict[str, int] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def pinned(self) -> bool:
        """Never: a Deployment has no split of traffic that could be bound to a ReplicaSet."""
        return False


@dataclass(frozen=True)
class Cluster:
    """The Deployment with its revisions, newest first, and its pods, newest first."""

    deployment: Deployment
    revisions: list[Revision]
    pods: list[Pod]


def selector(target: Target) -> str:
    """Return kubectl's option for the Deployment's own pods and ReplicaSets."""
    return f"--selector=app={target.deployment_name}"


def read_cluster(target: Target, *, deadline_s: float = DEADLINE_S) -> Cluster:
    """Return the target's Deployment with its ReplicaSets and pods, asked both at once.

    Raises:
        UnreachableError: The cluster does not answer before the deadline.
        ApiError: It refuses, there is no such Deployment (404), or the answer is none of these.
        UsageError: kubectl is missing, or the target names no cluster.
    """
    from concurrent.futures import ThreadPoolExecutor

    name = target.deployment_name
    lines = (("get", "deployment", name), ("get", "replicasets,pods", selector(target)))
    with ThreadPoolExecutor(len(lines)) as pool:
        asked = [pool.submit(read_json, target, line, deadline_s) for line in lines]
        deployment, listed = (one.result() for one in asked)
    try:
        return parse_cluster(deployment, listed.get("items", []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            f"Kubernetes answered with JSON that is no Deployment {name} with its pods.",
            status=200,
            next_step="check the context in invoke.yaml; something else may answer there",
            subject=name,
        ) from error


def read_events(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Event]:
    """Return the namespace's events about the Deployment and what it owns, newest first.

    Raises:
        RunbookError: As `read_cluster`.
    """
    listed = read_json(target, ("get", "events"), deadline_s)
    own = target.deployment_name
    found = [parse_event(raw) for raw in listed.get("items", [])]
    named = [event for event in found if f"{event.about}-".partition("/")[2].startswith(f"{own}-")]
    return sorted(named, key=lambda event: event.last_seen, reverse=True)


def parse_cluster(deployment: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> Cluster:
    """Return the Deployment with those of `items` that it owns.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: The JSON is something else.
    """
    own = deployment["metadata"]["uid"]
    sets = [one for one in items if one["kind"] == "ReplicaSet" and _owner(one).get("uid") == own]
    sets.sort(key=_number, reverse=True)
    names = {one["metadata"]["name"] for one in sets}
    pods = [parse_pod(one) for one in items if one["kind"] == "Pod"]
    pods = [pod for pod in pods if pod.revision in names]
    pods.sort(key=lambda pod: (pod.created, pod.name), reverse=True)
    revisions = [
        _parse_revision(one, pods, deployment, newest=position == 0)
        for position, one in enumerate(sets)
    ]
    return Cluster(_parse_deployment(deployment, revisions, pods), revisions, pods)


def parse_pod(raw: Mapping[str, Any]) -> Pod:
    """Return the pod in the JSON `raw`; raises as `parse_cluster`."""
    meta, status = raw["metadata"], raw.get("status") or {}
    container: dict[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    return Pod(
        name=meta["name"],
        revision=_owner(raw).get("name", ""),
        created=str(meta.get("creationTimestamp", "")),
        phase=str(status.get("phase", "")),
        ready=bool(container.get("ready")) and "deletionTimestamp" not in meta,
        restarts=int(container.get("restartCount", 0)),
        node=str((raw.get("spec") or {}).get("nodeName", "")),
        address=str(status.get("podIP", "")),
        started=str((state.get("running") or {}).get("startedAt", "")),
        waiting=str(waiting.get("reason", "")),
        waiting_message=str(waiting.get("message", "")),
        ended=str(ended.get("reason", "")),
        exit_code=int(ended["exitCode"]) if "exitCode" in ended else None,
        ended_at=str(ended.get("finishedAt") or ""),
    )


def parse_event(raw: Mapping[str, Any]) -> Event:
    """Return the event in the JSON `raw`; raises as `parse_cluster`."""
    about = raw.get("involvedObject") or raw.get("regarding") or {}
    seen = raw.get("lastTimestamp") or raw.get("eventTime") or raw["metadata"]["creationTimestamp"]
    return Event(
        about=f"{about.get('kind', '')}/{about.get('name', '')}",
        reason=str(raw.get("reason", "")),
        message=str(raw.get("message") or raw.get("note") or ""),
        count=int(raw.get("count") or (raw.get("series") or {}).get("count") or 1),
        last_seen=str(seen),
        warning=raw.get("type") == "Warning",
    )


def list_troubles(pods: Sequence[Pod]) -> list[Entry]:
    """Return what keeps containers from running, in the words that `checks.symptoms` knows.

    A container that the platform took away (exit code 0, SIGTERM) is no trouble.
    """
    found = []
    for pod in pods:
        if pod.exit_code is not None and pod.exit_code not in _TAKEN_AWAY:
            told = f"{ENDED}: {pod.ended or 'Error'}, exit code {pod.exit_code}, pod {pod.name}"
            told += f", {pod.restarts} restarts"
            found.append(Entry(pod.ended_at or pod.created, "WARNING", told, pod.revision))
        elif pod.waiting in _STUCK:
            told = f"{NOT_STARTED}: {pod.waiting} {pod.waiting_message}".strip()
            found.append(Entry(pod.created, "WARNING", told, pod.revision))
    return found


def _parse_deployment(
    raw: Mapping[str, Any], revisions: Sequence[Revision], pods: Sequence[Pod]
) -> Deployment:
    spec, status = raw["spec"], raw.get("status") or {}
    conditions = _conditions(raw)
    shares = count_shares(pods)
    latest = revisions[0].name if revisions else ""
    done = _is_rolled_out(raw)
    available = (conditions.get("Available") or {}).get("status") == "True"
    ready = done and available
    serving = max(shares, key=lambda name: shares[name]) if shares else ""
    return Deployment(
        name=raw["metadata"]["name"],
        generation=int(raw["metadata"].get("generation", 0)),
        replicas=int(spec.get("replicas", 1)),
        ready_replicas=int(status.get("readyReplicas") or 0),
        template=dict(spec["template"]),
        latest_created=latest,
        latest_ready=latest if done or not serving else serving,
        ready=ready,
        message="" if ready else _why_not(conditions),
        paused=bool(spec.get("paused")),
        shares=shares,
        raw=dict(raw),
    )


def count_shares(pods: Sequence[Pod]) -> dict[str, int]:
    """Return each ReplicaSet's percentage of the pods that are ready: traffic goes to those."""
    ready = [pod.revision for pod in pods if pod.ready]
    names = dict.fromkeys(ready)
    return {name: round(_WHOLE * ready.count(name) / len(ready)) for name in names}


def _parse_revision(
    raw: Mapping[str, Any], pods: Sequence[Pod], deployment: Mapping[str, Any], *, newest: bool
) -> Revision:
    name = raw["metadata"]["name"]
    status = raw.get("status") or {}
    replicas = int(raw["spec"].get("replicas", 0))
    running = int(status.get("readyReplicas") or 0)
    stuck = [pod for pod in pods if pod.revision == name and pod.waiting in _STUCK]
    # One that was rolled out once and crashes today did become ready.
    failed = newest and not running and not _is_rolled_out(deployment)
    failed = failed and (bool(stuck) or _has_timed_out(deployment))
    message = f"{stuck[0].waiting}: {stuck[0].waiting_message}" if stuck else ""
    if failed and not message:
        message = _why_not(_conditions(deployment))
    container = raw["spec"]["template"]["spec"]["containers"][0]
    return Revision(
        name=name,
        created=str(raw["metadata"].get("creationTimestamp", "")),
        image=str(container.get("image", "")),
        ready=not failed and (running > 0 or replicas == 0),
        failed=failed,
        message=message,
        min_instances=replicas,
        max_instances=replicas,
        build=describe_build(container),
        raw=dict(raw),
    )


def _is_rolled_out(raw: Mapping[str, Any]) -> bool:
    progress = _conditions(raw).get("Progressing") or {}
    seen = int((raw.get("status") or {}).get("observedGeneration") or 0)
    return (
        progress.get("reason") == "NewReplicaSetAvailable"
        and progress.get("status") == "True"
        and seen >= int(raw["metadata"].get("generation", 0))
    )


def _has_timed_out(raw: Mapping[str, Any]) -> bool:
    return (_conditions(raw).get("Progressing") or {}).get("reason") == "ProgressDeadlineExceeded"


def _why_not(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    told = [
        str(one.get("message", ""))
        for kind in ("Progressing", "Available", "ReplicaFailure")
        if (one := conditions.get(kind)) and one.get("status") != "True"
    ]
    waiting = [str(one.get("message", "")) for one in conditions.values()]
    return next(iter(told or waiting), "")


def _conditions(raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    listed = (raw.get("status") or {}).get("conditions") or []
    return {str(one.get("type")): one for one in listed}


def _owner(raw: Mapping[str, Any]) -> dict[str, Any]:
    owners = raw["metadata"].get("ownerReferences") or []
    return next((one for one in owners if one.get("controller", True)), {})


def _number(raw: Mapping[str, Any]) -> int:
    return int((raw["metadata"].get("annotations") or {}).get(NUMBER, 0))
