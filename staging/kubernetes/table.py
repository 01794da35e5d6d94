"""Objects as rows for people; pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from staging.kubernetes.store import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from staging.kubernetes.kinds import Kind
    from staging.kubernetes.store import Object

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNKNOWN = "<unknown>"


@dataclass(frozen=True)
class Column:
    """One column; priority above 0 is shown with `-o wide` alone."""

    name: str
    read: Callable[[Object], Any]
    type: str = "string"
    priority: int = 0


def human_duration(seconds: float) -> str:
    """Return a duration as kubectl shows ages: `12s`, `3m4s`, `5d`; apimachinery/util/duration."""
    whole = int(seconds)
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for limit, big, unit, small, part in (
        (10, minutes, "m", whole % _MINUTE, "s"),
        (180, minutes, "m", 0, ""),
        (8, hours, "h", minutes % 60, "m"),
        (48, hours, "h", 0, ""),
        (8, days, "d", hours % 24, "h"),
    ):
        if big < limit:
            return f"{big}{unit}{small}{part}" if small else f"{big}{unit}"
    return f"{days}d"


def age_of(moment: object) -> str:
    """Return how long ago an API timestamp was, as kubectl shows it."""
    if not isinstance(moment, str) or not moment:
        return _UNKNOWN
    return human_duration((datetime.now(UTC) - parse_time(moment)).total_seconds())


def _age(item: Object) -> str:
    return age_of(item["metadata"].get("creationTimestamp"))


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _containers(spec: Object) -> Sequence[Object]:
    found: Sequence[Object] = spec.get("containers", [])
    return found


def _list(part: str) -> Callable[[Object], str]:
    return lambda item: ",".join(
        str(container[part]) for container in _containers(item["spec"]["template"]["spec"])
    )


def _selector(item: Object) -> str:
    labels = item["spec"]["selector"]["matchLabels"]
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _count(field: str) -> Callable[[Object], int]:
    return lambda item: int(item["status"].get(field, 0))


def _container_status(pod: Object) -> Object:
    statuses = pod["status"].get("containerStatuses", [])
    return statuses[0] if statuses else {}


def pod_reason(pod: Object) -> str:
    """Return what the column STATUS says."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    state = _container_status(pod).get("state", {})
    waiting, terminated = state.get("waiting", {}), state.get("terminated", {})
    ended = terminated.get("reason")
    return str(waiting.get("reason") or ended or pod["status"]["phase"])


def _pod_ready(pod: Object) -> str:
    ready = int(bool(_container_status(pod).get("ready")))
    return f"{ready}/{len(_containers(pod['spec']))}"


def _pod_restarts(pod: Object) -> str:
    status = _container_status(pod)
    count = status.get("restartCount", 0)
    ended = status.get("lastState", {}).get("terminated", {}).get("finishedAt")
    return f"{count} ({age_of(ended)} ago)" if count and ended else str(count)


def _event_age(event: Object) -> str:
    last = age_of(event["lastTimestamp"])
    if event["count"] > 1:
        return f"{last} (x{event['count']} over {age_of(event['firstTimestamp'])})"
    return last


def _involved(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about['kind'].lower()}/{about['name']}"


_TEMPLATE_COLUMNS = (
    Column("Containers", _list("name"), priority=1),
    Column("Images", _list("image"), priority=1),
    Column("Selector", _selector, priority=1),
)
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Deployment": (
        Column("Name", _name),
        Column(
            "Ready",
            lambda item: f"{item['status'].get('readyReplicas', 0)}/{item['spec']['replicas']}",
        ),
        Column("Up-to-date", _count("updatedReplicas"), "integer"),
        Column("Available", _count("availableReplicas"), "integer"),
        Column("Age", _age),
        *_TEMPLATE_COLUMNS,
    ),
    "ReplicaSet": (
        Column("Name", _name),
        Column("Desired", lambda item: item["spec"]["replicas"], "integer"),
        Column("Current", _count("replicas"), "integer"),
        Column("Ready", _count("readyReplicas"), "integer"),
        Column("Age", _age),
        *_TEMPLATE_COLUMNS,
    ),
    "Pod": (
        Column("Name", _name),
        Column("Ready", _pod_ready),
        Column("Status", pod_reason),
        Column("Restarts", _pod_restarts),
        Column("Age", _age),
        Column("IP", lambda pod: pod["status"].get("podIP", "<none>"), priority=1),
        Column("Node", lambda pod: pod["spec"].get("nodeName", "<none>"), priority=1),
        Column("Nominated Node", lambda _: "<none>", priority=1),
        Column("Readiness Gates", lambda _: "<none>", priority=1),
    ),
    "Event": (
        Column("Last Seen", _event_age),
        Column("Type", lambda event: event["type"]),
        Column("Reason", lambda event: event["reason"]),
        Column("Object", _involved),
        Column("Subobject", lambda event: event["involvedObject"].get("fieldPath", ""), priority=1),
        Column("Source", lambda event: event["source"]["component"], priority=1),
        Column("Message", lambda event: event["message"]),
        Column("First Seen", lambda event: age_of(event["firstTimestamp"]), priority=1),
        Column("Count", lambda event: str(event["count"]), priority=1),
        Column("Name", _name, priority=1),
    ),
    "Namespace": (
        Column("Name", _name),
        Column("Status", lambda item: item["status"]["phase"]),
        Column("Age", _age),
    ),
}


def make_table(
    kind: Kind, items: Sequence[Object], version: str, include: str, *, columns: bool = True
) -> dict[str, Any]:
    """Return a `Table`; `include` (None, Metadata, Object) is how much of an object a row has."""
    found = _COLUMNS[kind.kind]
    definitions = [
        {
            "name": column.name,
            "type": column.type,
            "format": "name" if column.name == "Name" else "",
            "description": "",
            "priority": column.priority,
        }
        for column in found
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions if columns else None,
        "rows": [
            {
                "cells": [column.read(item) for column in found],
                "object": _include(item, include),
            }
            for item in items
        ],
    }


def _include(item: Object, how: str) -> Object | None:
    if how == "None":
        return None
    if how == "Object":
        return item
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }
