"""What a change leaves behind in Cloud Run's store, without what only says who typed it when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from tests.support.past import wait_for_past
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.support.embedded import Embedded

DEADLINE_S = 20.0
# Identity, time and client stamps: they differ between any two runs of the very same command.
STAMPS = {
    "client", "clientVersion", "createTime", "creator", "etag", "expireTime", "generation",
    "lastModifier", "lastTransitionTime", "observedGeneration", "uid", "updateTime", "logUri",
}  # fmt: skip
STAMP_LABELS = ("client.knative.dev/", "run.googleapis.com/client", "restarted-at")


def read_store(staging: Embedded) -> dict[str, Any]:
    """Return the service and all its revisions, comparable between two runs."""
    wait_until(
        lambda: not staging.read_service().get("reconciling"),
        deadline_s=DEADLINE_S,
        what="the service is reconciled",
    )
    service = staging.read_service()
    url = f"{staging.endpoints['api']}/v2/{service['name']}/revisions"
    answer = requests.get(url, timeout=DEADLINE_S)
    answer.raise_for_status()
    revisions = sorted(answer.json()["revisions"], key=lambda one: one["createTime"])
    names = {
        revision["name"].rsplit("/", 1)[1]: f"revision {position}"
        for position, revision in enumerate(revisions, start=1)
    }
    return {
        "service": strip(service, names),
        "revisions": [strip(revision, names) for revision in revisions],
    }


def strip(value: object, names: dict[str, str]) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value without stamps, its revisions called by their order of creation."""
    if isinstance(value, dict):
        return {
            key: stripped
            for key, inner in value.items()
            if key not in STAMPS
            and not key.startswith(STAMP_LABELS)
            # gcloud writes empty labels where the API has none: the same to every reader.
            and (stripped := strip(inner, names)) not in ({}, None)
        }
    if isinstance(value, list):
        return [strip(inner, names) for inner in value]
    if isinstance(value, str):
        for name, plain in names.items():
            value = value.replace(name, plain)
    return value


def find_serving(staging: Embedded) -> str:
    """Return the short name of the one revision that serves all traffic; raise when it is split."""
    [share] = [one for one in staging.read_service()["trafficStatuses"] if one.get("percent")]
    service = staging.read_service()
    name = share.get("revision") or service["latestReadyRevision"]
    return str(name).rsplit("/", 1)[-1]


def pin_traffic(staging: Embedded, revision: str) -> None:
    """Send all traffic to one revision by name, as somebody's rollback did before us."""
    service = staging.read_service()
    target = {
        "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
        "revision": revision,
        "percent": 100,
    }
    answer = requests.patch(
        f"{staging.endpoints['api']}/v2/{service['name']}",
        params={"updateMask": "traffic"},
        json=service | {"traffic": [target]},
        timeout=DEADLINE_S,
    )
    answer.raise_for_status()
    wait_until(
        lambda: find_serving(staging) == revision, deadline_s=DEADLINE_S, what="traffic is pinned"
    )


def deploy_bad_revision(staging: Embedded) -> str:
    """Break the service by a deployment; return the revision that served before it."""
    wait_for_past(staging)
    before = find_serving(staging)
    staging.control("/break", {"fault": "endpoint-errors"})
    wait_until(
        lambda: find_serving(staging) != before, deadline_s=DEADLINE_S, what="the bad one serves"
    )
    return before
