"""The collector: lines of real processes, hostile ones included, and a real haproxy's datagrams."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from staging.cloud_logging.access_log import AccessLog
from staging.cloud_logging.collector import LineSplitter
from staging.cloud_logging.errors import InvalidEntryError
from staging.cloud_logging.lines import MAX_LINE_BYTES, TRUNCATION_NOTE, Origin, make_entry
from staging.cloud_logging.values import parse_timestamp
from staging.ingress.config import render_config
from tests.staging.cloud_logging_support import HEADER, RESOURCE, find_free_port, serve_logging
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.staging.cloud_logging_support import LoggingServer

ORIGIN = Origin.from_header(json.dumps(HEADER).encode())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LoggingServer]:
    with serve_logging(tmp_path) as running:
        yield running


def run_instance(server: LoggingServer, script: str) -> subprocess.Popen[bytes]:
    """Run a Python script whose output goes where an instance's goes."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(server.lines))
    connection.sendall(json.dumps(HEADER).encode() + b"\n")
    with connection:
        return subprocess.Popen(
            [sys.executable, "-c", script], stdout=connection.fileno(), stderr=connection.fileno()
        )


def read_entries(server: LoggingServer, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(server.store) >= count, deadline_s=10, what=f"{count} entries")
    entries: list[dict[str, Any]] = server.read(pageSize=1000, orderBy="timestamp asc")["entries"]
    assert len(entries) == count
    return entries


def test_a_process_s_lines_arrive(server: LoggingServer) -> None:
    script = """
import json, sys
print("plain", flush=True)
print(json.dumps({"severity": "error", "message": "failed", "n": 7}), flush=True)
print("on stderr", file=sys.stderr, flush=True)
print()
sys.stdout.write("no line break at the end")
"""
    assert run_instance(server, script).wait(10) == 0
    entries = read_entries(server, 4)
    assert [entry.get("textPayload") for entry in entries] == [
        "plain",
        None,
        "on stderr",
        "no line break at the end",
    ]
    structured = entries[1]
    assert structured["severity"] == "ERROR"
    assert structured["jsonPayload"] == {"message": "failed", "n": 7}
    assert structured["resource"] == RESOURCE
    assert structured["labels"] == {"instanceId": "instance-7"}
    assert structured["logName"].endswith("/run.googleapis.com%2Fstdout")


def test_a_killed_process_keeps_what_it_wrote(server: LoggingServer) -> None:
    script = "import time\nprint('first\\nlast words', end='', flush=True)\ntime.sleep(60)"
    process = run_instance(server, script)
    read_entries(server, 1)
    process.kill()
    process.wait(10)
    assert read_entries(server, 2)[1]["textPayload"] == "last words"


HOSTILE = [
    b"\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    b"<script>alert(document.cookie)</script>",
    b"\xff\xfe invalid \xc3\x28 UTF-8",
    "bidi \u202e override, zero\u200bwidth, \u0085 next line".encode(),
    b"nul \x00 and carriage\rreturn",
    b'{"message": "\x1b[2J", "severity": "ERROR"}',
    b'{"message": "\\u001b[2J\\ud800", "severity": "ERROR"}',
    b'{"n": NaN, "m": 1e999}',
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"n": ' + b"9" * 5_000 + b"}",
    b"[1, 2]",
    b'{"severity": "WORST", "httpRequest": "x", "time": "never", "logName": "other"}',
    b'{"time": "9999-12-31T23:59:59Z", "logging.googleapis.com/labels": {"a": 1}}',
    b"m" * 1_000_000,
]


def test_hostile_lines_are_data(server: LoggingServer, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"\n".join(HOSTILE) + b"\n")
    source = str(tmp_path / "lines")
    script = f"import shutil,sys; shutil.copyfileobj(open({source!r}, 'rb'), sys.stdout.buffer)"
    assert run_instance(server, script).wait(10) == 0
    entries = read_entries(server, len(HOSTILE))
    texts = [entry.get("textPayload") for entry in entries]
    for line, text in zip(HOSTILE, texts, strict=True):
        assert text is None or text == line.decode("utf-8", "replace")
    assert [entry["jsonPayload"] for entry in entries if "jsonPayload" in entry] == [
        {"message": "\x1b[2J\ufffd"},
        json.loads(HOSTILE[11]),
        json.loads(HOSTILE[12]),
    ]
    assert all(entry["resource"] == RESOURCE for entry in entries)
    assert server.collector.refused == 0


def test_a_line_beyond_the_limit_is_truncated_with_a_note(server: LoggingServer) -> None:
    script = "import sys; sys.stdout.write('{' + 'x' * 5_000_000 + '}\\nnext\\n')"
    assert run_instance(server, script).wait(10) == 0
    long, after = read_entries(server, 2)
    assert long["textPayload"] == "{" + "x" * (MAX_LINE_BYTES - 1) + TRUNCATION_NOTE
    assert after["textPayload"] == "next"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_splitter_gives_the_same_lines_however_they_arrive(size: int) -> None:
    stream = b"a\n\nbcdefghij\nklmnopqrstuvw\nxy"
    splitter = LineSplitter(limit=10)
    found = [
        line
        for start in range(0, len(stream), size)
        for line in splitter.feed(stream[start : start + size])
    ]
    found += splitter.finish()
    assert found == [
        (b"a", False),
        (b"", False),
        (b"bcdefghij", False),
        (b"klmnopqrst", True),
        (b"xy", False),
    ]


@pytest.mark.parametrize(
    "header", [b"hello\n", b"[]\n", b'{"instance": 1}\n', b"\xff\n", b"x" * 600_000]
)
def test_a_connection_without_a_header_is_refused(server: LoggingServer, header: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(server.lines))
        try:
            connection.sendall(header + b"line\n")
            assert connection.recv(1) == b""
        except ConnectionError:
            pass
    wait_until(lambda: server.collector.refused == 1, deadline_s=5, what="the refusal")
    assert len(server.store) == 0


def test_the_sockets_are_for_their_owner_alone(server: LoggingServer) -> None:
    for path in (server.lines, server.access_log):
        assert path.stat().st_mode & 0o777 == 0o600


def test_special_fields_move_to_the_entry() -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {
        "severity": "WARNING",
        "message": "m",
        "time": now,
        "logging.googleapis.com/trace": "projects/p/traces/1",
        "logging.googleapis.com/labels": {"k": "v", "instanceId": "forged"},
        "httpRequest": {"status": 503, "latency": "1s"},
    }
    entry = make_entry(json.dumps(line).encode(), ORIGIN)
    assert entry["jsonPayload"] == {"message": "m"}
    assert entry["timestamp"] == now
    assert entry["trace"] == "projects/p/traces/1"
    assert entry["labels"] == {"k": "v", "instanceId": "instance-7"}
    assert entry["httpRequest"] == {"status": 503, "latency": "1s"}


ACCESS = {
    "time_s": "1795415094",
    "time_ms": "042",
    "revision": HEADER["revision"],
    "server": "s3",
    "method": "GET",
    "path": "/api/v1/pipelines?x=1",
    "status": 503,
    "latency_ms": 185,
    "source": "127.0.0.1",
    "request_bytes": 512,
    "response_bytes": 812,
    "user_agent": "load/1",
    "host": "",
    "trace": "105445aa7843bc8bf206b12000100000/1;o=1",
    "protocol": "HTTP/1.1",
    "termination": "--",
}


def test_a_datagram_becomes_a_request_entry(server: LoggingServer) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(server.access_log))
        sender.send(json.dumps(ACCESS).encode() + b"\n")
        sender.send(b"no JSON")
        sender.send(b'<134>haproxy[1]: {"method":"GET","path":"/","status":"200"}')
    first, second = read_entries(server, 2)
    assert first["logName"].endswith("/run.googleapis.com%2Frequests")
    assert first["timestamp"] == "2026-11-23T06:24:54.042000Z"
    assert first["severity"] == "ERROR"
    assert first["resource"] == RESOURCE
    assert first["trace"].endswith("/traces/105445aa7843bc8bf206b12000100000")
    assert first["httpRequest"] == {
        "requestMethod": "GET",
        "requestUrl": "https://api.cloudact.io/api/v1/pipelines?x=1",
        "status": 503,
        "latency": "0.185s",
        "requestSize": "512",
        "responseSize": "812",
        "userAgent": "load/1",
        "remoteIp": "127.0.0.1",
        "protocol": "HTTP/1.1",
    }
    assert second["httpRequest"]["status"] == 200
    assert server.collector.refused == 1


def test_a_real_haproxy_s_requests_arrive(server: LoggingServer, tmp_path: Path) -> None:
    split, verdicts = tmp_path / "split.map", tmp_path / "verdicts.map"
    split.touch()
    verdicts.touch()
    port = find_free_port()
    config = tmp_path / "haproxy.cfg"
    files = {"admin": tmp_path / "admin.sock", "split": split, "verdicts": verdicts}
    text = render_config(port=port, **files, access_log=server.access_log, addresses=["127.0.0.1"])
    config.write_text(text)
    started = time.time()
    haproxy = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_open(port), deadline_s=10, what="haproxy listens")
        address = f"http://127.0.0.1:{port}"
        for _ in range(20):  # Some of them begin at less than 100 ms of a second.
            agent = {"user-agent": 'say "\x1b[2J"\\'}
            answer = requests.get(f"{address}/a?b=%22%1b", headers=agent, timeout=5)
            assert answer.status_code == 503
            time.sleep(0.03)
        wait_until(lambda: len(server.store) >= 20, deadline_s=5, what="20 requests")
    finally:
        haproxy.kill()
        haproxy.wait(10)
    assert server.collector.refused == 0
    url = f"https://127.0.0.1:{port}/a?b=%22%1b"
    entries = server.read(f'httpRequest.requestUrl="{url}"')["entries"]
    assert len(entries) == 20
    for entry in entries:
        at = parse_timestamp(entry["timestamp"])
        assert at is not None
        assert started - 1 < at / 1e9 < time.time()
        assert at % 10**6 == 0
        assert entry["httpRequest"]["userAgent"].startswith('say "')
        assert "no available instance" in entry["textPayload"]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("change", "severity", "text"),
    [
        ({"status": 200}, "INFO", None),
        ({"status": 404}, "WARNING", None),
        ({"status": 500}, "ERROR", None),
        ({"server": "<NOSRV>", "termination": "SC"}, "ERROR", "no available instance"),
        ({"termination": "SD"}, "ERROR", "malformed or connection"),
    ],
)
def test_severity_and_text_of_a_request(
    change: dict[str, Any], severity: str, text: str | None
) -> None:
    entry = AccessLog(ORIGIN).make_entry(json.dumps(ACCESS | change).encode())
    assert entry["severity"] == severity
    assert text is None if "textPayload" not in entry else str(text) in entry["textPayload"]


@pytest.mark.parametrize("datagram", [b"", b"{", b"[]", b"{}", b'{"status":"x","method":"G"}'])
def test_a_datagram_that_is_no_request(datagram: bytes) -> None:
    with pytest.raises(InvalidEntryError):
        AccessLog(ORIGIN).make_entry(datagram)


def test_random_datagrams_never_break_the_receiver() -> None:
    for seed in range(2_000):
        junk = os.urandom(seed % 64)
        with pytest.raises(InvalidEntryError):
            AccessLog(ORIGIN).make_entry(b"{" + junk)


def test_stop_removes_the_sockets(tmp_path: Path) -> None:
    with serve_logging(tmp_path) as server:
        assert server.lines.exists()
        waiting = run_instance(server, "import time; print('here', flush=True); time.sleep(60)")
        read_entries(server, 1)
    assert not server.lines.exists()
    assert not server.access_log.exists()
    waiting.kill()
    waiting.wait(10)
