"""Log entries: filters that cannot be broken out of, messages without their variables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checks.errors import UnreachableError
from checks.logs import (
    find_pattern,
    group_entries,
    parse_entry,
    quote,
    read_entries,
    revision_is,
    service_filter,
)
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target


def entry(message: str, at: str = "2026-11-23T06:00:00Z", **fields: str) -> dict[str, Any]:
    """Return an entry of the service's own JSON log."""
    return {
        "timestamp": at,
        "severity": "ERROR",
        "resource": {"labels": {"revision_name": "api-2"}},
        "jsonPayload": {"message": message, **fields},
    }


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("took 12 ms, then 3.5 s", "took <n> ms, then <n> s"),
        ("request 0f8fad5b-d9cb-469f-a165-70867728950e failed", "request <id> failed"),
        ("from 10.1.2.3:4711", "from <address>"),
        ("at 2026-11-23T06:00:00.123Z", "at <time>"),
        ("pipeline failed for acme", "pipeline failed for <tenant>"),
        ("GET /api/v1/pipelines/run/acme-daily?x", "GET /api/v1/pipelines/run/<pipeline>?x"),
        ("metadata   flush\nfailed", "metadata flush failed"),
        ("KeyError: 'pipeline_run_id'", "KeyError: 'pipeline_run_id'"),
    ],
)
def test_variables_are_taken_out(message: str, pattern: str) -> None:
    assert find_pattern(parse_entry(entry(message, tenant_id="acme"))) == pattern


def test_messages_that_differ_in_variables_alone_are_one_group() -> None:
    entries = [
        parse_entry(entry(f"flush {n} failed for t_{n}x", f"2026-11-23T06:00:0{n}Z",
                          tenant_id=f"t_{n}x"))
        for n in (3, 1, 2)
    ]  # fmt: skip
    [group] = group_entries([*entries])
    assert (group.count, group.first_seen[-3:-1], group.last_seen[-3:-1]) == (3, "01", "03")
    assert group.tenants == ("t_1x", "t_2x", "t_3x")
    assert group.sample.timestamp == group.last_seen


def test_the_most_frequent_group_comes_first() -> None:
    entries = [parse_entry(entry(text)) for text in ("rare", "often", "often")]
    assert [group.pattern for group in group_entries(entries)] == ["often", "rare"]


def test_a_message_of_a_megabyte_is_grouped_by_its_beginning() -> None:
    [group] = group_entries([parse_entry(entry("x" * 1_000_000))])
    assert len(group.pattern) <= 2000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"textPayload": "plain"}, "plain"),
        ({"httpRequest": {"requestMethod": "GET", "requestUrl": "https://h/a?k=v", "status": 500}},
         "GET /a answered 500"),
        ({}, "(an entry without a message)"),
        ({"jsonPayload": {"message": None}}, "None"),
    ],
)  # fmt: skip
def test_every_kind_of_entry_has_a_message(raw: dict[str, Any], message: str) -> None:
    assert parse_entry(raw).message == message


def test_quotes_cannot_be_broken_out_of() -> None:
    assert quote('a" OR severity>=DEFAULT OR "\\') == '"a\\" OR severity>=DEFAULT OR \\"\\\\"'


def test_every_filter_names_this_service_and_a_time() -> None:
    expression = service_filter(make_target(), 'a="1" OR b="2"', minutes=5)
    for part in ('service_name="api"', 'location="us-central1"', "timestamp>=", '(a="1" OR b="2")'):
        assert part in expression


def test_pages_are_read_up_to_the_limit() -> None:
    asked: list[dict[str, Any]] = []

    def answer(_: dict[str, str], body: bytes) -> Reply:
        asked.append(json.loads(body))
        page = {"entries": [entry("a")] * min(3, asked[-1]["pageSize"]), "nextPageToken": "n"}
        return Reply(json.dumps(page).encode())

    with serve_replies({"/v2/entries:list": answer}) as server:
        found = read_entries(make_target(api=server.url), "f", limit=5)
    assert len(found) == 5
    assert [request["pageSize"] for request in asked] == [5, 2]
    assert asked[1]["pageToken"] == "n"


def test_a_search_that_never_ends_is_given_up() -> None:
    """Cloud Logging hands out empty pages with a token for as long as it has not searched all."""
    page = Reply(b'{"nextPageToken": "more"}')
    with (
        serve_replies({"/v2/entries:list": page}) as server,
        pytest.raises(UnreachableError, match="did not finish"),
    ):
        read_entries(make_target(api=server.url), "", deadline_s=0.3)


def test_on_kubernetes_the_same_service_is_a_container_of_its_pods() -> None:
    target = make_target(platform="kubernetes", namespace="prod", deployment="pipe")
    expression = service_filter(target, revision_is(target, "pipe-68d6cb6874"), minutes=5)
    assert 'resource.type="k8s_container"' in expression
    assert 'resource.labels.namespace_name="prod"' in expression
    assert 'labels."k8s-pod/app"="pipe"' in expression
    assert '(labels."k8s-pod/pod-template-hash"="68d6cb6874")' in expression
    assert "cloud_run" not in expression


def test_an_entry_of_a_pod_names_its_replica_set() -> None:
    labels = {"k8s-pod/app": "pipe", "k8s-pod/pod-template-hash": "68d6cb6874"}
    raw = {"resource": {"type": "k8s_container", "labels": {"pod_name": "p"}}, "labels": labels}
    assert parse_entry(raw).revision == "pipe-68d6cb6874"
