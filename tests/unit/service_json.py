"""A Cloud Run service and its revisions as v2 gives them, for tests of pure planning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from checks.cloud_run import Revision, parse_revision
from checks.target import Target
from runbook.changes.state import State, parse_state

SERVICE = "convergence-data-pipeline"
PATH = f"projects/p/locations/us-central1/services/{SERVICE}"
GOOD, BAD = f"{SERVICE}-00002-good", f"{SERVICE}-00003-bad"
TARGET = Target(
    name="local",
    environment="test",
    project="p",
    region="us-central1",
    service=SERVICE,
    service_url="http://127.0.0.1:9",
)


def make_template(image: str = "repo/api:1.4.2", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a template's settings; `changes` replace fields of it."""
    container = {
        "image": image,
        "env": [{"name": "MODE", "value": "a"}, {"name": "API_TOKEN", "value": "hidden-value"}],
        "resources": {"limits": {"cpu": "2", "memory": "4Gi"}},
    }
    return {
        "scaling": {"minInstanceCount": 2, "maxInstanceCount": 10},
        "timeout": "300s",
        "maxInstanceRequestConcurrency": 100,
        "containers": [container],
        **changes,
    }


def make_revision(name: str, template: dict[str, Any], *, ready: bool = True) -> Revision:
    """Return a revision of this template."""
    condition = {
        "type": "Ready",
        "state": "CONDITION_SUCCEEDED" if ready else "CONDITION_FAILED",
        "message": "" if ready else f"Revision '{name}' is not ready and cannot serve traffic.",
    }
    return parse_revision(
        {"name": f"{PATH}/revisions/{name}", "conditions": [condition], **template}
    )


def by_name(revision: str, percent: int = 100, **more: str) -> dict[str, Any]:
    """Return a share of the traffic for one revision by name."""
    kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    return {"type": kind, "revision": revision, "percent": percent, **more}


def to_latest(percent: int = 100) -> dict[str, Any]:
    """Return a share of the traffic for the latest ready revision."""
    return {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": percent}


def make_state(
    *,
    template: dict[str, Any] | None = None,
    traffic: list[dict[str, Any]] | None = None,
    served: dict[str, int] | None = None,
    created: str = GOOD,
    ready: str = GOOD,
    base: dict[str, Any] | None = None,
    **more: Any,  # noqa: ANN401 - JSON
) -> State:
    """Return a service's state: by default GOOD serves everything as the latest."""
    statuses = [by_name(name, percent) for name, percent in (served or {GOOD: 100}).items()]
    state = parse_state(
        {
            "name": PATH,
            "etag": '"7"',
            "generation": "7",
            "template": template or make_template(),
            "traffic": traffic or [to_latest()],
            "trafficStatuses": statuses,
            "latestCreatedRevision": f"{PATH}/revisions/{created}",
            "latestReadyRevision": f"{PATH}/revisions/{ready}",
            **more,
        }
    )
    return replace(state, base=base or state.base)
