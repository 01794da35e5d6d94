"""The log store: order, pages, limits, memory and speed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from staging.cloud_logging.errors import InvalidEntryError, LoggingError
from staging.cloud_logging.query import compile_query
from staging.cloud_logging.store import LogStore
from tests.staging.cloud_logging_support import PROJECT, RESOURCE, text_entry

NAMES = [f"projects/{PROJECT}"]


@pytest.fixture
def store() -> LogStore:
    return LogStore(PROJECT, "123456789012")


def read_all(store: LogStore, filter_: str = "", **fields: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - list's own
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        page = store.list(filter_, page_token=token, resource_names=NAMES, **fields)
        found += page.entries
        token = page.next_page_token
        if not token:
            return found


def fill(store: LogStore, texts: list[str], start_s: int = 0) -> None:
    for second, text in enumerate(texts, start=start_s):
        store.write(
            text_entry(text, timestamp=f"2026-11-23T05:{second // 60:02d}:{second % 60:02d}Z")
        )


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["textPayload"] for entry in entries]


def test_order_is_by_timestamp_whatever_the_order_of_arrival(store: LogStore) -> None:
    for second in (3, 1, 2):
        store.write(text_entry(str(second), timestamp=f"2026-11-23T05:00:0{second}Z"))
    assert texts(read_all(store)) == ["1", "2", "3"]
    assert texts(read_all(store, order_by="timestamp asc")) == ["1", "2", "3"]
    assert texts(read_all(store, order_by="timestamp desc")) == ["3", "2", "1"]


@pytest.mark.parametrize("order_by", ["timestamp asc", "timestamp desc"])
def test_pages_are_stable_under_writes(store: LogStore, order_by: str) -> None:
    fill(store, [str(n) for n in range(50)])
    first = store.list(order_by=order_by, page_size=20, resource_names=NAMES)
    fill(store, [f"new {n}" for n in range(50)])
    rest = []
    token = first.next_page_token
    while token:
        page = store.list(order_by=order_by, page_size=7, page_token=token, resource_names=NAMES)
        rest += page.entries
        token = page.next_page_token
    found = texts(first.entries + rest)
    expected = [str(n) for n in range(50)]
    assert found == (expected if order_by.endswith("asc") else expected[::-1])


def test_pages_survive_the_loss_of_what_they_read(store: LogStore) -> None:
    fill(store, [str(n) for n in range(10)])
    page = store.list(page_size=4, resource_names=NAMES)
    store.clear()
    assert read_all(store, page_size=4) == []
    assert store.list(page_token=page.next_page_token, resource_names=NAMES).entries == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resource_names": []}, "resource_names is required"),
        ({"resource_names": ["projects/other"]}, "Permission denied"),
        ({"resource_names": ["organizations/1"]}, "not supported by embedded staging"),
        ({"order_by": "severity"}, "order_by is not supported"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "bm9uc2Vuc2U="}, "page_token is not valid"),
        ({"page_token": "W10="}, "page_token is not valid"),
        ({"page_token": "\u00e9"}, "page_token is not valid"),
        ({"filter_": "("}, "Unparseable filter"),
    ],
)
def test_refused_listing(store: LogStore, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoggingError, match=message):
        store.list(**({"resource_names": NAMES} | fields))


def test_a_page_token_belongs_to_its_filter_and_order(store: LogStore) -> None:
    fill(store, ["a", "b"])
    token = store.list("textPayload:*", page_size=1, resource_names=NAMES).next_page_token
    with pytest.raises(LoggingError, match="belongs to another request"):
        store.list("severity>=INFO", page_token=token, resource_names=NAMES)
    with pytest.raises(LoggingError, match="belongs to another request"):
        store.list(
            "textPayload:*", order_by="timestamp desc", page_token=token, resource_names=NAMES
        )


def test_the_project_number_is_the_project(store: LogStore) -> None:
    fill(store, ["a"])
    assert store.list(resource_names=["projects/123456789012"]).entries


def test_the_newest_entries_are_kept() -> None:
    store = LogStore(PROJECT, max_entries=10)
    fill(store, [str(n) for n in range(5, 30)], start_s=5)
    store.write(text_entry("too old", timestamp="2026-11-23T05:00:00Z"))
    assert texts(read_all(store)) == [str(n) for n in range(20, 30)]
    assert len(store) == 10


def test_large_entries_are_bounded_by_bytes(store: LogStore) -> None:
    for n in range(30):
        store.write(text_entry("x" * 2_000_000, insertId=str(n)))
    assert store.size_bytes <= 48 * 1024 * 1024
    assert 20 <= len(store) < 30


def test_duplicates_are_kept_once(store: LogStore) -> None:
    entry = text_entry("a", insertId="same", timestamp="2026-11-23T05:00:00Z")
    assert store.write(entry)
    assert not store.write(entry)
    assert store.write({**entry, "timestamp": "2026-11-23T05:00:01Z"})
    store.clear()
    assert store.write(entry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logName": "stdout"}, "logName"),
        ({"logName": "projects/other/logs/x"}, "project"),
        ({"resource": {}}, "resource.type"),
        ({"severity": "BAD"}, "severity"),
        ({"jsonPayload": {}}, "more than one payload"),
        ({"timestamp": "today"}, "timestamp"),
        ({"labels": {"a": 1}}, "labels"),
        ({"httpRequest": {"status": "many"}}, "httpRequest.status"),
        ({"httpRequest": {"nope": 1}}, "nope"),
        ({"thud": 1}, "thud"),
        ({"textPayload": None, "jsonPayload": {"x": float("nan")}}, "number"),
        (
            {"textPayload": None, "jsonPayload": json.loads('{"a":' * 200 + "1" + "}" * 200)},
            "nested",
        ),
    ],
)
def test_refused_entry(store: LogStore, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidEntryError, match=message):
        store.write(text_entry("a") | change)
    assert len(store) == 0


def test_entries_come_back_in_canonical_json(store: LogStore) -> None:
    store.write(
        text_entry(
            "half a \ud800 pair \x1b[31m <b>",
            severity=500,
            httpRequest={"status": "503", "requestSize": 812, "latency": "0.185s"},
            spanId=None,
        )
    )
    (entry,) = read_all(store)
    assert entry["severity"] == "ERROR"
    assert entry["httpRequest"] == {"status": 503, "requestSize": "812", "latency": "0.185s"}
    assert entry["textPayload"] == "half a \ufffd pair \x1b[31m <b>"
    assert "spanId" not in entry
    assert {"insertId", "timestamp", "receiveTimestamp"} <= entry.keys()


def make_random_entry(source: random.Random) -> dict[str, Any]:
    revision = f"convergence-data-pipeline-0000{source.randrange(1, 3)}-abc"
    labels = RESOURCE["labels"] | {"revision_name": revision}  # type: ignore[operator]
    return {
        "logName": f"projects/{PROJECT}/logs/run.googleapis.com%2F{source.choice(['stdout', 'x'])}",
        "resource": RESOURCE | {"labels": labels},
        "severity": source.choice(["DEFAULT", "INFO", "ERROR", "CRITICAL"]),
        "timestamp": f"2026-11-23T05:00:{source.randrange(60):02d}.{source.randrange(1000):03d}Z",
        "labels": {"instanceId": f"i-{source.randrange(3)}"},
        "jsonPayload": {
            "message": source.choice(["request served", "pipeline failed: Quota exceeded"]),
            "tenant_id": f"tenant-{source.randrange(24):02d}",
            "request_id": f"{source.getrandbits(128):032x}",
            "path": "/api/v1/pipelines/run/{pipeline_id}",
            "status_code": source.choice([200, 500]),
            "duration_ms": round(source.random() * 300, 1),
            "source_ip": f"127.0.{source.randrange(9)}.{source.randrange(255)}",
        },
    }


@pytest.mark.parametrize(
    "filter_",
    [
        'timestamp>="2026-11-23T05:00:20Z" AND timestamp<"2026-11-23T05:00:40.5Z"',
        'severity>=ERROR AND resource.labels.revision_name:"00002" AND timestamp>2026-11-23',
        'NOT severity=INFO (labels.instanceId="i-1" OR jsonPayload.status_code>=500)',
        'log_id("run.googleapis.com/x") "tenant-0"',
        'timestamp!="2026-11-23T05:00:20Z" SEARCH("quota") -severity=ERROR',
        'timestamp>="2026-11-23T05:00:30Z" OR jsonPayload.duration_ms<10',
    ],
)
def test_a_listing_finds_what_the_whole_filter_matches(filter_: str, store: LogStore) -> None:
    source = random.Random(7)  # noqa: S311 - reproducible, not secret
    for _ in range(500):
        store.write(make_random_entry(source))
    matches = compile_query(filter_).matches
    expected = [entry for entry in read_all(store, page_size=1000) if matches(entry)]
    assert 0 < len(expected) < 500
    assert read_all(store, filter_, page_size=13) == expected


MEASURE = """
import random, resource
from staging.cloud_logging.store import LogStore
from tests.staging.test_cloud_logging_store import PROJECT, make_random_entry
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
store, source, before = LogStore(PROJECT), random.Random(1), rss()
for _ in range(20_000):
    store.write(make_random_entry(source))
print(len(store), rss() - before)
"""


def test_twenty_thousand_entries_take_less_than_25_mb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=60, check=True
    )
    count, size = map(int, done.stdout.split())
    assert count == 20_000
    assert size < 25_000_000


def test_a_filter_over_a_full_store_is_answered_soon(store: LogStore) -> None:
    source = random.Random(1)  # noqa: S311 - reproducible, not secret
    for _ in range(20_000):
        store.write(make_random_entry(source))
    started = time.monotonic()
    found = read_all(store, 'severity>=ERROR AND jsonPayload.message:"nowhere"', page_size=1000)
    assert found == []
    assert time.monotonic() - started < 2


def test_a_search_that_takes_too_long_goes_on_in_the_next_page() -> None:
    store = LogStore(PROJECT, scan_s=0.0)
    fill(store, ["needle", *["hay"] * 30])
    page = store.list("needle", order_by="timestamp desc", resource_names=NAMES)
    assert page.entries == []
    assert page.next_page_token
    assert texts(read_all(store, "needle", order_by="timestamp desc")) == ["needle"]


def test_threads_may_write_while_others_read(store: LogStore) -> None:
    failures: list[BaseException] = []
    turns, begun = threading.Semaphore(0), threading.Semaphore(0)

    def write() -> None:
        source = random.Random(1)  # noqa: S311 - reproducible, not secret
        try:
            for number in range(1_000):
                if number % 100 == 0:
                    turns.acquire(timeout=10)
                store.write(make_random_entry(source))
                if number % 100 == 0:
                    begun.release()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    for _ in range(10):
        turns.release()
        assert begun.acquire(timeout=10)
        found = [entry["timestamp"] for entry in read_all(store, page_size=300)]
        assert found == sorted(found)
        sizes.append(len(found))
    writer.join(10)
    assert not failures
    assert sizes[0] < sizes[-1]
    assert len(store) == 1_000
