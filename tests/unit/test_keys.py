"""The key table, read over the wire: pages, parameters, and answers that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.errors import ApiError, RunbookError, UnreachableError
from checks.keys import Key, query, read_keys, summarise_keys
from tests.unit.plain_server import Answer, Reply, serve_replies
from tests.unit.service_json import TARGET

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
QUERIES = "/bigquery/v2/projects/p/queries"
COLUMNS = ("tenant_id", "key_id", "key_prefix", "is_active", "created_at", "expires_at")
SCHEMA = {"fields": [{"name": name} for name in COLUMNS]}


def row(tenant: str, key_id: str = "k", expires: str | None = "1.8E9") -> dict[str, Any]:
    """Return a row as the REST API writes it."""
    values = (tenant, key_id, f"cda.{tenant}.abcd", "true", "1.7E9", expires)
    return {"f": [{"v": value} for value in values]}


def reply(body: object) -> Reply:
    """Return a JSON answer."""
    return Reply(json.dumps(body).encode())


def read(replies: dict[str, Answer], tenant: str = "") -> list[Key]:
    """Return the keys that a BigQuery with these answers tells."""
    with serve_replies(replies) as server:
        return read_keys(replace(TARGET, api=server.url), tenant, deadline_s=2.0)


def test_a_query_that_is_not_done_is_asked_for_page_by_page() -> None:
    job = {"jobReference": {"jobId": "j1", "location": "US"}}
    first = {"jobComplete": False, **job}

    def later(query: dict[str, str], _: bytes) -> Reply:
        assert query["location"] == "US"
        if query.get("pageToken") == "two":
            return reply({"jobComplete": True, "schema": SCHEMA, "rows": [row("b")], **job})
        page = {"jobComplete": True, "schema": SCHEMA, "rows": [row("a", expires=None)], **job}
        return reply(page | {"pageToken": "two"})

    found = read({QUERIES: reply(first), f"{QUERIES}/j1": later})
    assert [key.tenant for key in found] == ["a", "b"]
    assert found[0].expires_at is None
    assert found[1].expires_at == datetime.fromtimestamp(1.8e9, UTC)


def test_a_tenant_goes_in_as_a_parameter_and_hashes_are_never_asked_for() -> None:
    asked: list[dict[str, Any]] = []

    def answer(_: dict[str, str], body: bytes) -> Reply:
        asked.append(json.loads(body))
        return reply({"jobComplete": True, "schema": SCHEMA})

    assert read({QUERIES: answer}, "x' OR TRUE --") == []
    [sent] = asked
    assert "x'" not in sent["query"]
    assert "key_hash" not in sent["query"]
    assert sent["useLegacySql"] is False
    [parameter] = sent["queryParameters"]
    assert parameter["parameterValue"] == {"value": "x' OR TRUE --"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobComplete": True, "schema": SCHEMA, "rows": [{"f": [{"v": "a"}]}]},
        {"jobComplete": True, "schema": {"fields": [{}]}, "rows": [row("a")]},
        {"jobComplete": True, "schema": SCHEMA, "rows": [row("a", expires="soon")]},
        {"jobComplete": True, "schema": SCHEMA, "rows": [row("a", expires="1e300")]},
        {"jobComplete": True, "schema": SCHEMA, "rows": "x"},
        {"jobComplete": True, "schema": 7, "rows": []},
    ],
)
def test_an_answer_that_is_none_is_told_in_a_sentence(body: object) -> None:
    with pytest.raises(ApiError):
        read({QUERIES: reply(body)})


def test_a_query_that_never_ends_is_given_up() -> None:
    pending = {"jobComplete": False, "jobReference": {"jobId": "j1"}}
    with pytest.raises(UnreachableError):
        read({QUERIES: reply(pending), f"{QUERIES}/j1": reply(pending)})


def test_a_refusal_keeps_bigquerys_own_words() -> None:
    refused = {"error": {"code": 403, "message": "Access Denied: Table p:metadata"}}
    with pytest.raises(RunbookError, match="Access Denied"):
        read({QUERIES: Reply(json.dumps(refused).encode(), 403)})


@pytest.mark.parametrize("sql", ["DELETE FROM x", "SELECT 1; DROP TABLE x", " SELECT 1"])
def test_nothing_but_one_select_is_ever_asked(sql: str) -> None:
    with pytest.raises(ValueError, match="SELECT"):
        query(TARGET, sql, {})


def make_key(tenant: str, *, active: bool = True, days: float | None = 100.0) -> Key:
    """Return a key that expires in so many days."""
    expires = None if days is None else NOW + timedelta(days=days)
    return Key(tenant, "k", "p", active, NOW - timedelta(days=90), expires)


def test_a_tenants_keys_are_usable_expired_or_inactive() -> None:
    keys = [
        make_key("fine"),
        make_key("fine", days=None),
        make_key("soon", days=6.9),
        make_key("later", days=7.1),
        make_key("none", days=-0.01),
        make_key("none", active=False),
        make_key("none", active=False, days=-1),
    ]
    found = {one.tenant: one for one in summarise_keys(keys, NOW)}
    none = found["none"]
    assert (none.usable, none.expired, none.inactive, none.next_expiry) == (0, 1, 2, None)
    assert (found["fine"].usable, found["fine"].expiring) == (2, 0)
    assert (found["soon"].expiring, found["later"].expiring) == (1, 0)
    assert next(iter(found)) == "none"


def test_a_key_that_ends_this_very_moment_has_expired() -> None:
    [found] = summarise_keys([make_key("a", days=0.0)], NOW)
    assert (found.usable, found.expired) == (0, 1)
