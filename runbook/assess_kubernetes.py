"""The Deployment as a report: who serves, which pods are in trouble, and what the events say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.kubernetes import Cluster, Event, Pod
    from checks.target import Target

_EVENTS = 5


def report_deployment(target: Target) -> Report:
    """Return the report on the target's Deployment with its pods and warnings.

    Raises:
        RunbookError: As `checks.kubernetes.read_cluster`; events that cannot be read are told.
    """
    from checks.kubernetes import list_troubles, read_cluster

    cluster = read_cluster(target)
    deployment = cluster.deployment
    warnings, notes = _read_warnings(target)
    served = ", ".join(f"{name} {share} %" for name, share in deployment.shares.items())
    state = "ready" if deployment.ready else "NOT ready"
    troubles = [entry.message for entry in list_troubles(cluster.pods)]
    if deployment.message:
        notes.append(f"Kubernetes says: {deployment.message}")
    if deployment.paused:
        notes.append("The Deployment is paused: a new template is not rolled out.")
    return Report(
        finding=f"{deployment.name} is {state}: {deployment.ready_replicas} of"
        f" {deployment.replicas} replicas; traffic goes to {served or 'no pod'}.",
        level="good" if deployment.ready and not troubles else "bad",
        evidence=(
            *notes,
            Table(("setting", "value"), describe_settings(cluster)),
            _tabulate_pods(cluster.pods),
            *_tabulate_events(warnings),
        ),
        next_steps=("invoke assess.revisions",) if deployment.ready else ("invoke assess",),
        data=_cluster_as_data(cluster) | {"troubles": troubles},
    )


def _read_warnings(target: Target) -> tuple[list[Event], list[str]]:
    from checks.errors import RunbookError
    from checks.kubernetes import read_events

    try:
        return [event for event in read_events(target) if event.warning][:_EVENTS], []
    except RunbookError as error:
        return [], [f"Events could not be read: {error}"]


def _cluster_as_data(cluster: Cluster) -> dict[str, Any]:
    deployment = cluster.deployment
    return {
        "service": deployment.name,
        "ready": deployment.ready,
        "message": deployment.message,
        "generation": deployment.generation,
        "traffic": deployment.shares,
        "pinned": deployment.pinned,
        "paused": deployment.paused,
        "latest_created": deployment.latest_created,
        "latest_ready": deployment.latest_ready,
        "settings": dict(describe_settings(cluster)),
        "pods": [_pod_as_data(pod) for pod in cluster.pods],
    }


def describe_settings(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    """Return what the Deployment asks for, by name."""
    deployment = cluster.deployment
    container = deployment.template["spec"]["containers"][0]
    limits = (container.get("resources") or {}).get("limits") or {}
    update = ((deployment.raw.get("spec") or {}).get("strategy") or {}).get("rollingUpdate") or {}
    values = {
        "latest created": deployment.latest_created,
        "latest ready": deployment.latest_ready,
        "image": container.get("image"),
        "replicas": deployment.replicas,
        "cpu": limits.get("cpu"),
        "memory": limits.get("memory"),
        "max surge": update.get("maxSurge"),
        "max unavailable": update.get("maxUnavailable"),
    }
    return tuple((name, str(value)) for name, value in values.items() if value not in (None, ""))


def _tabulate_pods(pods: Sequence[Pod]) -> Table:
    return Table(
        columns=("pod", "state", "restarts", "last ended", "started", "address"),
        rows=tuple(
            (
                pod.name,
                "ready" if pod.ready else pod.waiting or f"{pod.phase}, not ready",
                str(pod.restarts),
                f"{pod.ended} ({pod.exit_code})" if pod.ended else "",
                pod.started or pod.created,
                pod.address,
            )
            for pod in pods
        ),
        right=("restarts",),
    )


def _tabulate_events(events: Sequence[Event]) -> tuple[Table, ...]:
    if not events:
        return ()
    rows = tuple(
        (one.last_seen, one.about, one.reason, str(one.count), one.message) for one in events
    )
    return (Table(("warning", "about", "reason", "times", "message"), rows, right=("times",)),)


def _pod_as_data(pod: Pod) -> dict[str, Any]:
    return {
        "pod": pod.name,
        "revision": pod.revision,
        "ready": pod.ready,
        "waiting": pod.waiting,
        "restarts": pod.restarts,
        "ended": pod.ended,
        "exit_code": pod.exit_code,
    }
