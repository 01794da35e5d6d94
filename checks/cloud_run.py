"""What Cloud Run says of the service and its revisions: v2 REST, services.get, revisions.list.

Traffic has two sides that may disagree: `traffic` is what was asked for, `trafficStatuses` is what
is served. Only the second says where requests go.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError
from checks.http import DEADLINE_S, get_json
from checks.names import revision_path, service_path, short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.target import Target

LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
SUCCEEDED = "CONDITION_SUCCEEDED"
FAILED = "CONDITION_FAILED"
_HOST = "https://run.googleapis.com"
_PAGE_SIZE = 100
_MAX_PAGES = 20


@dataclass(frozen=True)
class TrafficTarget:
    """Where traffic was asked to go: LATEST, or one revision by its short name."""

    type: str
    percent: int
    revision: str = ""
    tag: str = ""


@dataclass(frozen=True)
class TrafficStatus:
    """Where traffic goes now; `revision` is resolved, also behind LATEST."""

    revision: str
    percent: int
    type: str = REVISION
    tag: str = ""


@dataclass(frozen=True)
class Service:
    """A Cloud Run service; revision names are short ones.

    Attributes:
        traffic: The split that was asked for.
        statuses: The split that is served.
        ready: Whether the last change took effect (terminalCondition succeeded).
        message: Why not, in Cloud Run's words, or an empty string.
        scaling: Service-level scaling, as the API gives it.
        raw: The whole answer.
    """

    name: str
    etag: str
    generation: int
    template: dict[str, Any]
    traffic: tuple[TrafficTarget, ...]
    statuses: tuple[TrafficStatus, ...]
    latest_created: str
    latest_ready: str
    ready: bool
    message: str
    scaling: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shares(self) -> dict[str, int]:
        """The percentage of traffic that each revision is served, without those at 0."""
        return serving_shares(self)

    @property
    def pinned(self) -> bool:
        """Whether traffic is bound to revisions by name, so that a deployment gets none."""
        return is_pinned(self)


@dataclass(frozen=True)
class Revision:
    """A revision: of Cloud Run, or a ReplicaSet of Kubernetes.

    Attributes:
        created: An RFC 3339 time.
        failed: Whether it never became ready.
        build: What its container runs, as `describe_build` tells it.
    """

    name: str
    created: str
    image: str
    ready: bool
    failed: bool
    message: str
    min_instances: int
    max_instances: int
    build: str = ""
    raw: dict[str, Any] = field(default_factory=dict, repr=False)


def run_url(target: Target) -> str:
    """Return the base URL of Cloud Run's API for the target, without a slash at its end."""
    return (target.api or _HOST).rstrip("/")


def read_service(target: Target, *, deadline_s: float = DEADLINE_S) -> Service:
    """Return the target's service, from services.get.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error, or an answer that is no service.
    """
    url = f"{run_url(target)}/v2/{service_path(target)}"
    raw = get_json(url, deadline_s=deadline_s, google=True)
    try:
        return parse_service(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(url, "a service") from error


def read_revision(target: Target, name: str, *, deadline_s: float = DEADLINE_S) -> Revision:
    """Return one revision of the service, from revisions.get; raises as `read_service`."""
    url = f"{run_url(target)}/v2/{revision_path(target, name)}"
    raw = get_json(url, deadline_s=deadline_s, google=True)
    try:
        return parse_revision(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(url, "a revision") from error


def list_revisions(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Revision]:
    """Return the service's revisions, newest first, from revisions.list.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error, or an answer that is no list of revisions.
    """
    url = f"{run_url(target)}/v2/{service_path(target)}/revisions"
    found: list[Revision] = []
    params: dict[str, str | int] = {"pageSize": _PAGE_SIZE}
    for _ in range(_MAX_PAGES):
        page = get_json(url, params=params, deadline_s=deadline_s, google=True)
        try:
            found += [parse_revision(raw) for raw in page.get("revisions", [])]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed(url, "a list of revisions") from error
        if not page.get("nextPageToken"):
            break
        params["pageToken"] = str(page["nextPageToken"])
    return sorted(found, key=lambda revision: revision.created, reverse=True)


def serving_shares(service: Service) -> dict[str, int]:
    """Return the percentage of traffic that each revision is served, without those at 0."""
    shares: Counter[str] = Counter()
    for status in service.statuses:
        shares[status.revision] += status.percent
    return {revision: percent for revision, percent in shares.items() if revision and percent > 0}


def is_pinned(service: Service) -> bool:
    """Return whether traffic is bound to revisions by name, so that a deployment gets none."""
    kinds = {entry.type for entry in service.traffic if entry.percent > 0}
    return bool(kinds) and LATEST not in kinds


def parse_service(raw: dict[str, Any]) -> Service:
    """Return the service in the v2 JSON `raw`; raises KeyError, TypeError or ValueError."""
    latest_ready = short_name(raw.get("latestReadyRevision", ""))
    condition = raw.get("terminalCondition") or {}
    ready = condition.get("state") == SUCCEEDED
    return Service(
        name=short_name(raw["name"]),
        etag=raw.get("etag", ""),
        generation=int(raw.get("generation", 0)),
        template=dict(raw["template"]),
        traffic=tuple(_parse_target(entry) for entry in raw.get("traffic", [])),
        statuses=tuple(_parse_status(e, latest_ready) for e in raw.get("trafficStatuses", [])),
        latest_created=short_name(raw.get("latestCreatedRevision", "")),
        latest_ready=latest_ready,
        ready=ready,
        message="" if ready else str(condition.get("message", "")),
        scaling=dict(raw.get("scaling") or {}),
        raw=raw,
    )


def parse_revision(raw: dict[str, Any]) -> Revision:
    """Return the revision in the v2 JSON `raw`; raises KeyError, TypeError or ValueError."""
    conditions = {entry.get("type"): entry for entry in raw.get("conditions", [])}
    condition = conditions.get("Ready") or {}
    containers = raw.get("containers") or [{}]
    scaling = raw.get("scaling") or {}
    return Revision(
        name=short_name(raw["name"]),
        created=str(raw.get("createTime", "")),
        image=str(containers[0].get("image", "")),
        ready=condition.get("state") == SUCCEEDED,
        failed=condition.get("state") == FAILED,
        message=str(condition.get("message", "")),
        min_instances=int(scaling.get("minInstanceCount", 0)),
        max_instances=int(scaling.get("maxInstanceCount", 0)),
        build=describe_build(containers[0]),
        raw=raw,
    )


def describe_build(container: Mapping[str, Any]) -> str:
    """Return what a container runs: image, command, environment; not how much it may use."""
    kept = {key: container.get(key) for key in ("image", "command", "args", "env", "envFrom")}
    return json.dumps({key: value for key, value in kept.items() if value}, sort_keys=True)


def _parse_target(entry: dict[str, Any]) -> TrafficTarget:
    return TrafficTarget(
        type=_allocation(entry),
        percent=int(entry.get("percent", 0)),
        revision=short_name(entry.get("revision", "")),
        tag=entry.get("tag", ""),
    )


def _parse_status(entry: dict[str, Any], latest_ready: str) -> TrafficStatus:
    kind = _allocation(entry)
    revision = short_name(entry.get("revision", ""))
    if not revision and kind == LATEST:
        revision = latest_ready
    return TrafficStatus(revision, int(entry.get("percent", 0)), kind, entry.get("tag", ""))


def _allocation(entry: dict[str, Any]) -> str:
    kind = entry.get("type")
    if kind in (1, LATEST):  # REST clients of Google's libraries ask for enums as numbers
        return LATEST
    if kind in (2, REVISION) or entry.get("revision"):
        return REVISION
    return LATEST


def _malformed(url: str, what: str) -> ApiError:
    return ApiError(
        f"{url} answered with JSON that is not {what}.",
        status=200,
        next_step="check the address in invoke.yaml; something else answers there",
        subject=url,
    )
