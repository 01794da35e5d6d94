"""What a mitigation reads, compares and restores of a Cloud Run service, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LATEST = "LATEST"
RESTART_LABEL = "runbook-restarted-at"
_BY_NAME = (1, "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION")


@dataclass(frozen=True)
class State:
    """One reading of a service.

    Attributes:
        etag: The version that a change must still find; Cloud Run refuses another with 409.
        traffic: The split that is asked for (`spec.traffic`): revision or LATEST, percent, tag.
        served: The split that is in force (`status.traffic`): revision to percent.
        scaling: Least and most instances of the next revision, by `template.scaling`.
        template: The revision that was last made from the service's template.
        raw: The v2 API's JSON.
    """

    service: str
    etag: str
    generation: int
    traffic: tuple[dict[str, Any], ...]
    served: dict[str, int]
    scaling: dict[str, int]
    restarted_at: str
    template: str
    latest_ready: str
    raw: Mapping[str, Any]

    @property
    def pinned(self) -> bool:
        """Whether no request goes to the latest revision by rule, only to revisions by name."""
        return bool(self.traffic) and not any(
            share["revision"] == LATEST and share["percent"] for share in self.traffic
        )

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
        return {name: known[name] for name in names}


def parse_state(raw: Mapping[str, Any]) -> State:
    """Return the state that a v2 `services.get` answer tells.

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
        scaling=parse_scaling(template),
        restarted_at=template.get("labels", {}).get(RESTART_LABEL, ""),
        template=short_name(raw.get("latestCreatedRevision", "")),
        latest_ready=short_name(raw.get("latestReadyRevision", "")),
        raw=raw,
    )


def parse_scaling(template: Mapping[str, Any]) -> dict[str, int]:
    """Return least and most instances of a v2 template or revision; 0 stands for unset."""
    scaling = template.get("scaling", {})
    return {
        "min": int(scaling.get("minInstanceCount", 0)),
        "max": int(scaling.get("maxInstanceCount", 0)),
    }


def short_name(path: str) -> str:
    """Return the last part of a resource's name: `projects/p/.../revisions/r` becomes `r`."""
    return path.rsplit("/", 1)[-1]


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


def _parse_share(share: Mapping[str, Any]) -> dict[str, Any]:
    by_name = share.get("type") in _BY_NAME or (
        share.get("type") not in (2, "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST")
        and bool(share.get("revision"))
    )
    parsed: dict[str, Any] = {
        "revision": short_name(share["revision"]) if by_name else LATEST,
        "percent": int(share.get("percent", 0)),
    }
    return parsed | ({"tag": share["tag"]} if share.get("tag") else {})
