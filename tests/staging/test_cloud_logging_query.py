"""The Logging query language: the researched cases, what is refused, and a fuzzer."""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from staging.cloud_logging.errors import QueryError
from staging.cloud_logging.parser import MAX_COMPARISONS, MAX_DEPTH
from staging.cloud_logging.query import compile_query

CASES = json.loads((Path(__file__).parent / "data" / "logging-query-cases.json").read_text())

ENTRY: dict[str, Any] = {
    "insertId": "abc-1",
    "logName": "projects/p/logs/run.googleapis.com%2Frequests",
    "timestamp": "2026-11-23T05:00:00.123456789Z",
    "severity": "ERROR",
    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "api"}},
    "labels": {"instanceId": "i-1", "compute.googleapis.com/zone": "b"},
    "jsonPayload": {
        "message": "Metadata flush FAILED: Straße 10.1.2.3",
        "n": 7,
        "lag": 42.5,
        "ok": False,
        "note": None,
        "tags": ["blue", "green"],
        "items": [{"id": 1}, {"id": 5}],
        "user": {"name": "ada", "age": 36},
        "address": "10.1.2.3",
        "took": "3.5s",
        "digits": "10",
    },
    "httpRequest": {
        "requestMethod": "GET",
        "requestUrl": "https://x/work?n=5",
        "status": 503,
        "latency": "1.250s",
        "responseSize": "812",
    },
}


@pytest.mark.parametrize("case", CASES, ids=[case["filter"] for case in CASES])
def test_researched_case(case: dict[str, Any]) -> None:
    assert compile_query(case["filter"]).matches(case["entry"]) is case["matches"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n -- only a comment",
        'severity>="error"',
        "severity:*",
        "timestamp>=2026-11-23",
        'timestamp="2026-11-23T05:00:00.123456789Z"',
        'timestamp>="2026-11-22T05:23:43.585317+0000"',
        'timestamp<"2026-11-23T06:00:00.5+01:00"',
        "resource.type = cloud_run_revision \n AND resource.labels.service_name = api \n",
        'labels."compute.googleapis.com/zone"="B"',
        "httpRequest.status=503",
        'httpRequest.status="503"',
        "httpRequest.responseSize>=812",
        'httpRequest.latency>"1249ms"',
        "jsonPayload.n>-3",
        "jsonPayload.n<7.5e0",
        "jsonPayload.ok=FALSE",
        "jsonPayload.tags=green",
        "jsonPayload.tags!=green",
        "jsonPayload.items.id>4",
        "jsonPayload.user:ADA",
        "jsonPayload.user:36",
        'jsonPayload:"metadata flush"',
        'jsonPayload.message:("flush" AND "failed")',
        'jsonPayload.message:(nowhere OR NOT "nowhere")',
        'jsonPayload.message=~("^Meta" AND "FAILED")',
        'jsonPayload.message:"STRASSE"',
        'jsonPayload.address=~"^10\\\\.1\\\\."',
        "jsonPayload.note:*",
        "jsonPayload.n!=NULL_VALUE",
        "NOT jsonPayload.missing!=x",
        'trace=""',
        "httpRequest.userAgent!=x",
        "NOT (severity<ERROR OR severity>ERROR)",
        "-severity=INFO",
        "503 AND ada AND false",
        "812",
        'SEARCH("flush metadata 503") OR SEARCH("failed `metadata flush`")',
        'search(jsonPayload, "ADA")',
        'log_id("run.googleapis.com/requests")',
        "source(projects/p)",
        'ip_in_net(jsonPayload.address, "10.1.2.0/24")',
        "sample(insertId, 1)",
        "CAST(jsonPayload.digits, INT64) = 10",
        'CAST(jsonPayload.took, DURATION) > "3s"',
        'CAST(REGEXP_EXTRACT(jsonPayload.message, "10\\\\.(\\\\d+)"), INT64) < 2',
        'REGEXP_EXTRACT(CAST(jsonPayload.lag, STRING), "(\\\\d+)$") = "5"',
    ],
)
def test_matches(text: str) -> None:
    assert compile_query(text).matches(ENTRY)


@pytest.mark.parametrize(
    "text",
    [
        "severity<ERROR",
        "timestamp>2026-11-24",
        'timestamp!="2026-11-23T05:00:00.123456789Z"',
        "jsonPayload.missing!=x",
        'jsonPayload.missing!~"x"',
        'jsonPayload.n=~"7"',
        "jsonPayload.note=x",
        "jsonPayload.digits<9 AND jsonPayload.digits>2",  # text order: "10" is not above "2"
        "jsonPayload.n=seven",
        "jsonPayload.n=true",
        "labels.zone:*",
        "operation.id:*",
        "ERROR",  # the severity is no text
        'SEARCH("flus")',
        'SEARCH("`flush metadata`")',
        'log_id("run.googleapis.com%2Frequests")',
        "source(projects/other)",
        'ip_in_net(jsonPayload.message, "10.0.0.0/8")',
        "sample(jsonPayload.missing, 1)",
        "CAST(jsonPayload.message, INT64) != 1",
    ],
)
def test_does_not_match(text: str) -> None:
    assert not compile_query(text).matches(ENTRY)


@pytest.mark.parametrize(
    ("text", "construct", "line", "column"),
    [
        ("severity=", "the end", 1, 10),
        ("severity=ERROR AND", "the end", 1, 19),
        ("AND a", "'AND'", 1, 1),
        ("a OR", "the end", 1, 5),
        ("(a", "without its ')'", 1, 1),
        ("a)", "unexpected ')'", 1, 2),
        ("()", "')'", 1, 2),
        ('"abc', "closing quotation mark", 1, 1),
        ("severity=ERROR\nthud=1", "Field not found: 'thud'", 2, 1),
        ("resource.labels.a.b=1", "Field not found", 1, 1),
        ("json_payload.x=1", "did you mean 'jsonPayload'", 1, 1),
        ("httpRequest=1", "holds several", 1, 1),
        ("insertId=abc:def", "':'", 1, 13),
        ("insertId==x", "'='", 1, 10),
        ("insertId=*", "'*'", 1, 10),
        ("textPayload:foo*", "'*'", 1, 16),
        ("textPayload:'a'", "single quotation", 1, 13),
        ("severity>=EROR", "no severity", 1, 11),
        ('timestamp>="yesterday"', "no timestamp", 1, 12),
        ('timestamp>="2026-11-23T05:00:00"', "no timestamp", 1, 12),
        ('timestamp:"2026"', "type timestamp", 1, 11),
        ('httpRequest.latency>="fast"', "no duration", 1, 22),
        ("httpRequest.status=many", "no int", 1, 20),
        ('httpRequest.status=~"5.."', "type int", 1, 21),
        ("textPayload=~foo", "without double quotation", 1, 14),
        ('textPayload=~"("', "RE2", 1, 14),
        ('textPayload=~"(?=x)"', "RE2", 1, 14),
        ('textPayload=~"\\d"', "unknown escape", 1, 15),
        ("nope(1)", "unknown function 'nope'", 1, 1),
        ("SEARCH(textPayload)", "','", 1, 19),
        ('SEARCH(severity, "x")', "no text", 1, 8),
        ("sample(insertId, 2)", "fraction", 1, 18),
        ('ip_in_net(jsonPayload.a, "x")', "subnet", 1, 26),
        ('CAST(timestamp, STRING, TIMEZONE("UTC"))="x"', "option of CAST", 1, 23),
        ("CAST(jsonPayload.a, UUID)=1", "CAST to", 1, 21),
        ("CAST(timestamp, STRING)=1", "STRING", 1, 1),
        ('REGEXP_EXTRACT(textPayload, "x")="x"', "one group", 1, 1),
        ("textPayload=log_id(x)", "function on the right", 1, 13),
        ("textPayload:NULL_VALUE", "NULL_VALUE", 1, 13),
        ("severity=NULL_VALUE", "NULL_VALUE", 1, 10),
        ("jsonPayload.x", "without a comparison", 1, 1),
        ("a--b", "'--'", 1, 2),
        ("a \x1b[31m", "control character", 1, 3),
        ("NOT NOT a", "'NOT'", 1, 5),
        ("- a", "'-'", 1, 1),
        ("(" * (MAX_DEPTH + 1) + "a", "levels of brackets", 1, MAX_DEPTH + 1),
        ("a " * (MAX_COMPARISONS + 1), "comparisons", 1, 2 * MAX_COMPARISONS + 1),
        ("a" * 20_001, "20000 characters", 1, 20_001),
    ],
)
def test_refused(text: str, construct: str, line: int, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        compile_query(text)
    error = caught.value
    assert construct in error.message
    assert (error.line, error.column) == (line, column)
    assert error.message.endswith(f"line {line}, column {column}")
    assert error.body()["error"] == {
        "code": 400,
        "message": error.message,
        "status": "INVALID_ARGUMENT",
    }


def test_what_many_entries_share_is_told_apart() -> None:
    query = compile_query(
        'timestamp>="2026-11-23T05:00:00Z" timestamp<"2026-11-23T06:00:00Z" severity>=ERROR "x"'
    )
    assert (query.last + 1 - query.first) == 3600 * 10**9
    assert query.shared({"severity": "ERROR"})
    assert not query.shared({"severity": "INFO"})
    assert not query.rest(ENTRY | {"httpRequest": {}})


PIECES = (
    *("AND", "OR", "NOT", "-", "(", ")", ",", "*", '"', "\\", "--", "\n", "'", ".", "+", "!"),
    *("=", "!=", "<", ">=", ":", "=~", "!~", "severity", "ERROR", "timestamp", "NULL_VALUE"),
    *('"2026-11-23"', "jsonPayload.n", "7", "-3", "1e400", "SEARCH(", "sample(insertId,", '"("'),
    *("CAST(", "INT64", "REGEXP_EXTRACT(", "httpRequest", "labels.", '"a.b"', "é", "\x00", "😀"),
    *("log_id(", "ip_in_net(", '"10.0.0.0/8"', '"\\ud800"', "\ud800", "\t", "ﬀ", "a{1000}{1000}"),
)


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_a_query_or_a_query_error(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - reproducible, not secret
    understood = 0
    for _ in range(500):
        glue = source.choice(["", " "])
        text = glue.join(source.choices(PIECES, k=source.randrange(1, 14)))
        try:
            query = compile_query(text)
        except QueryError as error:
            assert 1 <= error.column <= len(text) + 1  # noqa: PT017 - most texts are refused
        else:
            understood += 1
            assert query.matches(ENTRY) in {True, False}
    assert understood


@pytest.mark.parametrize(
    "text",
    [
        "(" * 20_000,
        "NOT(" * 5_000,
        "-(" * 10_000,
        '"a' * 10_000,
        "a." * 10_000,
        "a OR " * 4_000,
        "CAST(" * 4_000,
        'textPayload=~"' + "(a*)*" * 3_000 + '"',
        'textPayload=~"' + "((a{100}){100}){100}" + '"',
        'jsonPayload.message=~"' + "(.*.*)*" * 100 + 'x$"',
        "jsonPayload" + ".a" * 9_000 + ":*",
        'jsonPayload.message="' + "9" * 19_000 + '"',
        "jsonPayload.n=" + "9" * 19_000,
        'jsonPayload.n="1e' + "9" * 18_000 + '"',
    ],
)
def test_costly_text_is_answered_soon(text: str) -> None:
    entry = {"logName": "x", "jsonPayload": {"message": "a" * 100_000, "n": 1}}
    started = time.monotonic()
    with contextlib.suppress(QueryError):
        compile_query(text).matches(entry)
    assert time.monotonic() - started < 2
