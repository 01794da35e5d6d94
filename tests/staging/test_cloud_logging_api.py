"""Cloud Logging over the wire: google-cloud-logging's client and plain HTTP."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core.exceptions import BadRequest
from google.auth.credentials import AnonymousCredentials
from google.cloud import logging as google_logging

from staging.cloud_logging.fidelity import describe_fidelity
from tests.staging.cloud_logging_support import PROJECT, RESOURCE, serve_logging, text_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.staging.cloud_logging_support import LoggingServer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggingServer]:
    with serve_logging(tmp_path_factory.mktemp("logging")) as server:
        yield server


@pytest.fixture
def server(running: LoggingServer) -> LoggingServer:
    running.store.clear()
    return running


@pytest.fixture
def client(server: LoggingServer, monkeypatch: pytest.MonkeyPatch) -> google_logging.Client:
    # Otherwise the client asks the metadata server about every log, 5 s each.
    monkeypatch.setattr(
        "google.cloud.logging_v2.handlers._monitored_resources.retrieve_metadata_server",
        lambda *_args, **_kwargs: None,
    )
    return google_logging.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
        _use_grpc=False,
        client_options={"api_endpoint": server.url},
    )


def list_entries(client: google_logging.Client, **arguments: object) -> list[Any]:
    """Return what the client's iterator gives, over all pages."""
    return list(client.list_entries(**arguments))  # type: ignore[no-untyped-call]


def test_the_client_reads_every_kind_of_entry(
    client: google_logging.Client, server: LoggingServer
) -> None:
    base = text_entry("")
    del base["textPayload"]
    server.store.write(base | {"textPayload": "exit(1)", "severity": "WARNING"})
    server.store.write(base | {"jsonPayload": {"message": "failed", "n": 7}, "severity": "ERROR"})
    server.store.write(base | {"httpRequest": {"status": 503, "latency": "0.185s"}})
    found = list_entries(client, filter_="severity>=DEFAULT", order_by="timestamp asc")
    assert [type(entry).__name__ for entry in found] == ["TextEntry", "StructEntry", "LogEntry"]
    assert found[0].payload == "exit(1)"
    assert found[1].payload == {"message": "failed", "n": 7}
    assert found[1].severity == "ERROR"
    assert found[2].http_request == {"status": 503, "latency": "0.185s"}
    assert found[1].resource.labels["revision_name"].endswith("00002-abc")
    # The client's own prefix, with an offset that has no colon, left the entries in.
    assert len(list_entries(client, filter_="severity>=ERROR")) == 1


def test_the_client_pages(client: google_logging.Client, server: LoggingServer) -> None:
    for n in range(25):
        server.store.write(text_entry(str(n)))
    found = [
        entry.payload for entry in list_entries(client, page_size=10, order_by="timestamp asc")
    ]
    assert found == [str(n) for n in range(25)]
    newest = list_entries(client, page_size=10, order_by="timestamp desc", max_results=3)
    assert [entry.payload for entry in newest] == ["24", "23", "22"]


def test_the_client_writes(client: google_logging.Client, server: LoggingServer) -> None:
    resource = google_logging.Resource(type="global", labels={})
    logger = client.logger("convergence-runbook", resource=resource)  # type: ignore[no-untyped-call]
    logger.log_struct(
        {"change": "mitigate.rollback", "status": "done"},
        severity="NOTICE",
        labels={"target": "local"},
    )
    logger.log_text("rolled back")
    with logger.batch() as batch:
        batch.log_text("one")
        batch.log_empty(http_request={"status": 200, "requestMethod": "GET"})
    found = server.read(f'logName="projects/{PROJECT}/logs/convergence-runbook"')["entries"]
    own = [entry for entry in found if "logging.googleapis.com/diagnostic" not in str(entry)]
    assert own[0]["jsonPayload"] == {"change": "mitigate.rollback", "status": "done"}
    assert own[0]["labels"] == {"target": "local"}
    assert own[0]["severity"] == "NOTICE"
    assert [entry.get("textPayload") for entry in own[1:3]] == ["rolled back", "one"]
    assert own[3]["httpRequest"] == {"status": 200, "requestMethod": "GET"}


def test_the_client_is_told_what_is_wrong_with_a_filter(client: google_logging.Client) -> None:
    with pytest.raises(BadRequest, match=r"Unparseable filter: .*'AND' where the value.*column 12"):
        list_entries(client, filter_="severity>=")


def test_hostile_text_comes_back_unchanged(
    client: google_logging.Client, server: LoggingServer
) -> None:
    hostile = "\x1b[2J<script>alert(1)</script>\x00\u202e\u200b\r\n" + "x" * 1_000_000
    server.store.write(text_entry(hostile))
    (entry,) = list_entries(client)
    assert entry.payload == hostile
    (found,) = server.read('textPayload:"<script>"')["entries"]
    assert found["textPayload"] == hostile


def read_error(answer: requests.Response, code: int, status: str) -> str:
    assert answer.status_code == code
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (code, status)
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Invalid JSON payload"),
        (b"[]", "not an object"),
        (b"[" * 100_000, "Invalid JSON payload"),
        (b"\xff\xfe", "Invalid JSON payload"),
        ({}, "resource_names is required"),
        ({"resourceNames": "projects/x"}, "Invalid value at 'resourceNames'"),
        ({"resourceNames": [1]}, "Invalid value at 'resourceNames'"),
        ({"resourceNames": [f"projects/{PROJECT}"], "pageSize": "10"}, "'pageSize'"),
        ({"resourceNames": [f"projects/{PROJECT}"], "pageSize": 2**40}, "'pageSize'"),
        ({"resourceNames": [f"projects/{PROJECT}"], "filter": 1}, "'filter'"),
        ({"resourceNames": [f"projects/{PROJECT}"], "thud": 1}, 'Unknown name "thud"'),
    ],
)
def test_a_bad_list_request(server: LoggingServer, body: object, message: str) -> None:
    assert message in read_error(server.post("list", body), 400, "INVALID_ARGUMENT")


def test_another_project_is_forbidden(server: LoggingServer) -> None:
    answer = server.post("list", {"resourceNames": ["projects/other"]})
    read_error(answer, 403, "PERMISSION_DENIED")


@pytest.mark.parametrize("verb", ["tail", "copy", "thud"])
def test_other_verbs_are_refused(server: LoggingServer, verb: str) -> None:
    message = read_error(server.post(verb, {}), 501, "UNIMPLEMENTED")
    assert message == f"not supported by embedded staging: POST /v2/entries:{verb}"
    answer = requests.get(f"{server.url}/v2/entries:list", timeout=5)
    read_error(answer, 501, "UNIMPLEMENTED")


def write_body(*entries: object, **fields: object) -> dict[str, Any]:
    log = f"projects/{PROJECT}/logs/x"
    return {"logName": log, "resource": RESOURCE, "entries": list(entries), **fields}


def test_write_fills_in_the_request_s_defaults(server: LoggingServer) -> None:
    body = write_body({"textPayload": "a", "labels": {"k": "own"}}, labels={"k": "v", "l": "w"})
    assert server.post("write", body).json() == {}
    (entry,) = server.read()["entries"]
    assert entry["logName"] == f"projects/{PROJECT}/logs/x"
    assert entry["resource"] == RESOURCE
    assert entry["labels"] == {"k": "own", "l": "w"}


def test_write_is_all_or_nothing_unless_partial(server: LoggingServer) -> None:
    good, bad = {"textPayload": "a"}, {"textPayload": 1}
    answer = server.post("write", write_body(good, bad))
    assert "entries[1]" in read_error(answer, 400, "INVALID_ARGUMENT")
    assert server.read() == {}
    answer = server.post("write", write_body(good, bad, "nonsense", partialSuccess=True))
    (detail,) = answer.json()["error"]["details"]
    assert detail["logEntryErrors"].keys() == {"1", "2"}
    assert [entry["textPayload"] for entry in server.read()["entries"]] == ["a"]


def test_a_dry_run_writes_nothing(server: LoggingServer) -> None:
    assert server.post("write", write_body({"textPayload": "a"}, dry_run=True)).status_code == 200
    assert server.read() == {}


def test_an_oversized_request_is_refused(server: LoggingServer) -> None:
    body = json.dumps(write_body({"textPayload": "x" * (11 << 20)})).encode()
    assert "exceeds" in read_error(server.post("write", body), 400, "INVALID_ARGUMENT")


def test_a_long_search_does_not_hold_up_other_requests(tmp_path: Path) -> None:
    with serve_logging(tmp_path, scan_s=3.0) as server:
        for n in range(5_000):
            server.store.write(text_entry("hay " * 50 + str(n)))
        slow = " OR ".join(f'"nowhere{n}"' for n in range(500))
        search = threading.Thread(target=server.read, args=(slow,))
        search.start()
        started = time.monotonic()
        server.post("tail", {})
        elapsed = time.monotonic() - started
        assert search.is_alive()
        search.join(20)
    assert elapsed < 1


def test_the_fidelity_statement_is_a_table_of_three_columns() -> None:
    rows = describe_fidelity()
    assert len(rows) > 2
    for row in rows:
        assert len(row.split(" | ")) == 3
        assert row.count("|") == 4
