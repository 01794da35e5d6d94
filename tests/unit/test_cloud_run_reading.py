"""What Cloud Run's JSON means: two sides of traffic, readiness, order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks.cloud_run import (
    is_pinned,
    list_revisions,
    parse_revision,
    parse_service,
    read_service,
    serving_shares,
)
from checks.errors import ApiError
from checks.symptoms import find_failed_deployment
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target

PATH = "projects/p/locations/us-central1/services/api"
LATEST = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}


def by_name(revision: str, percent: int) -> dict[str, Any]:
    """Return a traffic entry for one revision."""
    kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    return {"type": kind, "revision": revision, "percent": percent}


def raw_service(**changes: object) -> dict[str, Any]:
    """Return a healthy service on its latest revision, as the v2 API says it."""
    return {
        "name": PATH,
        "etag": '"1"',
        "generation": "7",
        "template": {"containers": [{"image": "i"}]},
        "traffic": [LATEST],
        "trafficStatuses": [LATEST],
        "latestReadyRevision": f"{PATH}/revisions/api-2",
        "latestCreatedRevision": f"{PATH}/revisions/api-2",
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
    } | changes


def raw_revision(name: str, state: str = "SUCCEEDED", created: str = "") -> dict[str, Any]:
    """Return a revision as the v2 API says it."""
    return {
        "name": f"{PATH}/revisions/{name}",
        "createTime": created or "2026-11-23T06:00:00Z",
        "containers": [{"image": "repo/api:1"}],
        "scaling": {"minInstanceCount": 2, "maxInstanceCount": 10},
        "conditions": [{"type": "Ready", "state": f"CONDITION_{state}", "message": "why"}],
    }


def test_latest_is_resolved_to_the_ready_revision() -> None:
    found = parse_service(raw_service())
    assert serving_shares(found) == {"api-2": 100}
    assert not is_pinned(found)
    assert (found.name, found.generation, found.ready) == ("api", 7, True)


def test_what_is_served_counts_and_not_what_was_asked_for() -> None:
    found = parse_service(raw_service(traffic=[by_name("api-1", 100)]))
    assert serving_shares(found) == {"api-2": 100}
    assert is_pinned(found)


def test_shares_of_one_revision_add_up_and_tags_get_none() -> None:
    statuses = [by_name("api-1", 30), by_name("api-1", 20), by_name("api-2", 50),
                {"revision": "api-0", "tag": "green"}]  # fmt: skip
    found = parse_service(raw_service(trafficStatuses=statuses))
    assert serving_shares(found) == {"api-1": 50, "api-2": 50}


def test_a_tag_alone_is_no_pin() -> None:
    assert not is_pinned(parse_service(raw_service(traffic=[LATEST, by_name("api-1", 0)])))


def test_a_split_that_the_latest_shares_is_no_pin() -> None:
    """A deployment does get traffic then."""
    split = [by_name("api-1", 90), LATEST | {"percent": 10}]
    assert not is_pinned(parse_service(raw_service(traffic=split)))


def test_enums_as_numbers_are_understood() -> None:
    pinned = raw_service(traffic=[{"type": 2, "revision": "api-1", "percent": 100}])
    assert is_pinned(parse_service(pinned))
    assert not is_pinned(parse_service(raw_service(traffic=[{"type": 1, "percent": 100}])))


def test_a_failed_latest_is_told() -> None:
    condition = {"state": "CONDITION_FAILED", "message": "it did not start"}
    found = parse_service(
        raw_service(terminalCondition=condition, latestCreatedRevision=f"{PATH}/revisions/api-3")
    )
    revisions = [
        parse_revision(raw_revision("api-3", "FAILED")),
        parse_revision(raw_revision("api-2")),
    ]
    assert (found.ready, found.message) == (False, "it did not start")
    failed = find_failed_deployment(found, revisions)
    assert failed is not None
    assert failed.name == "api-3"
    assert find_failed_deployment(parse_service(raw_service()), revisions) is None


def test_revisions_are_read_over_pages_and_sorted_newest_first() -> None:
    pages = {
        "": {"revisions": [raw_revision("api-1", created="2026-01-01T00:00:00Z")],
             "nextPageToken": "n"},
        "n": {"revisions": [raw_revision("api-2", created="2026-02-01T00:00:00Z")]},
    }  # fmt: skip

    def page(query: dict[str, str], _: bytes) -> Reply:
        return Reply(json.dumps(pages[query.get("pageToken", "")]).encode())

    with serve_replies({f"/v2/{PATH}/revisions": page}) as server:
        found = list_revisions(make_target(api=server.url))
    assert [revision.name for revision in found] == ["api-2", "api-1"]
    assert (found[0].min_instances, found[0].max_instances) == (2, 10)


@pytest.mark.parametrize("answer", [{}, {"name": 3}, {"name": PATH, "template": 5}])
def test_an_object_that_is_no_service_is_told(answer: dict[str, Any]) -> None:
    with (
        serve_replies({f"/v2/{PATH}": Reply(json.dumps(answer).encode())}) as server,
        pytest.raises(ApiError, match="not a service"),
    ):
        read_service(make_target(api=server.url))
