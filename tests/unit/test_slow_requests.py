"""Slow requests out of the logs: counted once, summed up, and told in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks.logs import parse_entry
from checks.slow_requests import (
    DIMENSIONS,
    SlowRequest,
    find_most,
    group_slow,
    pick_slow,
    read_slow_requests,
)
from runbook.assess_load import state_slow
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target


def raw(number: int, **fields: object) -> dict[str, Any]:
    payload: dict[str, object] = {
        "message": "slow request",
        "request_id": f"r{number}",
        "path": "/a",
    }
    payload |= {"tenant_id": "acme", "duration_ms": 1500.0 + number} | fields
    return {
        "timestamp": "2026-11-23T06:00:00Z",
        "resource": {"labels": {"revision_name": "api-1"}},
        "jsonPayload": payload,
    }


def test_a_slow_request_that_also_failed_counts_once() -> None:
    entries = [parse_entry(raw(1)), parse_entry(raw(1, message="unhandled")), parse_entry(raw(2))]
    assert [one.duration_ms for one in pick_slow(entries)] == [1501.0, 1502.0]


@pytest.mark.parametrize("duration", ["2000", None, float("nan"), [], {}])
def test_an_entry_without_a_duration_is_no_slow_request(duration: object) -> None:
    assert pick_slow([parse_entry(raw(1, duration_ms=duration))]) == []


def test_entries_without_a_request_id_are_all_counted() -> None:
    entries = [parse_entry(raw(n, request_id=None)) for n in range(3)]
    assert len(pick_slow(entries)) == 3


def request(endpoint: str, tenant: str, duration: float) -> SlowRequest:
    return SlowRequest(endpoint, tenant, "api-1", duration, "")


SOME = [request("/a", f"t{n}", 1000.0 + 100 * n) for n in range(9)] + [request("/b", "t9", 4000.0)]


def test_groups_have_count_median_and_worst() -> None:
    first, second = group_slow(SOME, "endpoint")
    assert (first.name, first.count, first.median_ms, first.worst_ms) == ("/a", 9, 1400.0, 1800.0)
    assert (second.name, second.count) == ("/b", 1)


def test_most_is_four_fifths() -> None:
    most = find_most(group_slow(SOME, "endpoint"))
    assert most is not None
    assert most.name == "/a"
    assert find_most(group_slow(SOME, "tenant")) is None
    assert find_most([]) is None


def test_words() -> None:
    groups = {name: group_slow(SOME, name) for name in DIMENSIONS}
    told = state_slow(SOME, groups, 60, 1000)
    assert told.startswith("10 requests took longer than 1 s in the last 60 min; 9 of them /a")
    assert "(median 1.40 s, worst 1.80 s); 10 tenants" in told
    own = [request("/a", "acme", 2000.0)]
    alone = state_slow(own, {name: group_slow(own, name) for name in DIMENSIONS}, 60, 1000)
    assert alone.endswith("one tenant, acme.")
    assert "No request took longer than 0.5 s" in state_slow([], {}, 5, 500)


def test_pages_are_read_to_the_end() -> None:
    asked: list[dict[str, Any]] = []

    def page(_query: dict[str, str], body: bytes) -> Reply:
        asked.append(json.loads(body))
        first = len(asked) == 1
        entries = [raw(n) for n in (range(1000) if first else range(1000, 1500))]
        told = {"entries": entries} | ({"nextPageToken": "more"} if first else {})
        return Reply(json.dumps(told).encode())

    with serve_replies({"/v2/entries:list": page}) as server:
        found = read_slow_requests(
            make_target(api=server.url), slower_than_ms=1000, minutes=60, limit=5000
        )
    assert len(found) == 1500
    assert asked[1]["pageToken"] == "more"
    assert "(jsonPayload.duration_ms>1000)" in asked[0]["filter"]
