"""What a mitigation reads, compares and restores of a Cloud Run service, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError
from checks.names import short_name
from runbook.changes import settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.target import Target

LATEST = "LATEST"
FAILED = "CONDITION_FAILED"
_READ_DEADLINE_S = 10.0
RESTART_LABEL = "restarted-at"
_LATEST_TYPES = (1, "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST")


@dataclass(frozen=True)
class State:
    """One reading of a service.

    Attributes:
        etag: The version that a change must still find; Cloud Run refuses another with 409.
        traffic: The split that is asked for (`spec.traffic`): revision or LATEST, percent, tag.
        served: The split that is in force (`status.traffic`): revision to percent.
        template: The revision that was last made from the service's template.
        raw: The v2 API's JSON.
        base: The template of what is to serve: the service's own, or the revision's that traffic
            is pinned to, or that serves on while the newest one failed.
    """

    service: str
    etag: str
    generation: int
    traffic: tuple[dict[str, Any], ...]
    served: dict[str, int]
    restarted_at: str
    template: str
    latest_ready: str
    raw: Mapping[str, Any]
    base: Mapping[str, Any]

    @property
    def scaling(self) -> dict[str, int]:
        """Least and most instances of what is to serve; 0 stands for unset."""
        return parse_scaling(self.base)

    @property
    def version(self) -> str:
        """The etag, as every system calls it."""
        return self.etag

    @property
    def pinned(self) -> bool:
        """Whether no request goes to the latest revision by rule, only to revisions by name."""
        return not follows_latest(self.traffic)

    @property
    def serving(self) -> tuple[str, ...]:
        """The revisions that get requests now, the largest share first."""
        shares = sorted(self.served.items(), key=lambda item: (-item[1], item[0]))
        return tuple(revision for revision, percent in shares if percent)

    def fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the named fields in the form that the timeline keeps."""
        known: dict[str, Any] = {
            "traffic": [dict(share) for share in self.traffic],
            "scaling": dict(self.scaling),
            "restarted_at": self.restarted_at,
            "template": self.template,
        }
        listed = list(names)
        found = settings.read_settings(self.base, filter(settings.is_setting, listed))
        return {name: found[name] if name in found else known[name] for name in listed}


def read_state(target: Target) -> State:
    """Return the service as it is now (`services.get`).

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error, or an answer that is no service.
    """
    from checks.cloud_run import read_revision, read_service
    from runbook.changes.system import request_deadline_s

    deadline_s = min(request_deadline_s(), _READ_DEADLINE_S)
    raw = read_service(target, deadline_s=deadline_s).raw
    try:
        state = parse_state(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            f"Cloud Run described {target.service} without its {error}.",
            status=200,
            next_step="check `api` of the target in invoke.yaml; something else answers there",
        ) from error
    if base := name_base(state):
        return replace(state, base=read_revision(target, base, deadline_s=deadline_s).raw)
    return state


def name_base(state: State) -> str:
    """Return the revision whose settings are asked for; "" where they are the template's."""
    template = {state.template, state.raw["template"].get("revision")}
    if follows_latest(state.traffic):
        failed = state.raw.get("terminalCondition", {}).get("state") == FAILED
        base = state.latest_ready if failed else state.template
    else:
        pinned = [share["revision"] for share in state.traffic if share["percent"]]
        base = pinned[0] if len(pinned) == 1 else state.template
    return "" if base in template else base


def parse_state(raw: Mapping[str, Any]) -> State:
    """Return the state that a v2 `services.get` answer tells; its base is the template.

    Raises:
        KeyError, TypeError, ValueError: The answer is not a v2 service.
    """
    template = raw["template"]
    shares = [_parse_share(share) for share in raw.get("traffic", [])]
    served: dict[str, int] = {}
    for status in raw.get("trafficStatuses", []):
        if percent := int(status.get("percent", 0)):
            name = short_name(status.get("revision") or raw["latestReadyRevision"])
            served[name] = served.get(name, 0) + percent
    return State(
        service=short_name(raw["name"]),
        etag=raw["etag"],
        generation=int(raw["generation"]),
        traffic=tuple(shares or [{"revision": LATEST, "percent": 100}]),
        served=served,
        restarted_at=template.get("labels", {}).get(RESTART_LABEL, ""),
        template=short_name(raw.get("latestCreatedRevision", "")),
        latest_ready=short_name(raw.get("latestReadyRevision", "")),
        raw=raw,
        base=template,
    )


def parse_scaling(template: Mapping[str, Any]) -> dict[str, int]:
    """Return least and most instances of a v2 template or revision; 0 stands for unset."""
    scaling = template.get("scaling", {})
    return {
        "min": int(scaling.get("minInstanceCount", 0)),
        "max": int(scaling.get("maxInstanceCount", 0)),
    }


def follows_latest(traffic: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any share of a split goes to the latest ready revision by rule."""
    return any(share["revision"] == LATEST and share["percent"] for share in traffic)


def is_all_on(traffic: Iterable[Mapping[str, Any]], revision: str) -> bool:
    """Return whether a split asks for all requests on one revision, or on LATEST."""
    shares = [share for share in traffic if share["percent"]]
    return bool(shares) and all(share["revision"] == revision for share in shares)


def direct_all(traffic: Iterable[Mapping[str, Any]], revision: str) -> list[dict[str, Any]]:
    """Return a split with all requests on one revision or on LATEST; tags stay, at 0 percent.

    So does `gcloud run services update-traffic --to-revisions` (and `--to-latest`).
    """
    kept = [
        {"revision": share["revision"], "percent": 0, "tag": share["tag"]}
        for share in traffic
        if share.get("tag")
    ]
    return [{"revision": revision, "percent": 100}, *kept]


def describe_traffic(traffic: Iterable[Mapping[str, Any]]) -> str:
    """Return a split in words, such as `100 % LATEST`."""
    shares = [f"{share['percent']} % {share['revision']}" for share in traffic if share["percent"]]
    return ", ".join(shares) or "none"


def describe_field(name: str, value: Any) -> str:  # noqa: ANN401 - a field of the timeline
    """Return a field's value in words."""
    if name == "traffic":
        return describe_traffic(value)
    if name == "scaling":
        return f"{value['min']}..{value['max']}"
    if settings.is_setting(name):
        return settings.describe_value(name, value)
    return str(value or "-")


def _parse_share(share: Mapping[str, Any]) -> dict[str, Any]:
    by_name = bool(share.get("revision")) and share.get("type") not in _LATEST_TYPES
    parsed: dict[str, Any] = {
        "revision": short_name(share["revision"]) if by_name else LATEST,
        "percent": int(share.get("percent", 0)),
    }
    return parsed | ({"tag": share["tag"]} if share.get("tag") else {})


def read_digest(target: Target, revision: str) -> str:
    """Return the image of a revision by digest, or "" when Cloud Run does not tell.

    A tag may point elsewhere by now: only the digest makes "the same code" true. v2 has no field
    for it, Knative v1 has (`namespaces.revisions.get`, status.imageDigest); gcloud reads it there.
    """
    from checks.errors import RunbookError
    from checks.http import get_json
    from runbook.changes.system import request_deadline_s

    host = (target.api or f"https://{target.region}-run.googleapis.com").rstrip("/")
    path = f"/apis/serving.knative.dev/v1/namespaces/{target.project}/revisions/{revision}"
    try:
        found = get_json(host + path, deadline_s=request_deadline_s(), google=True)
    except RunbookError:
        return ""
    status = found.get("status")
    digest = status.get("imageDigest") if isinstance(status, dict) else None
    return digest if isinstance(digest, str) else ""
