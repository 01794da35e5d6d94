"""A log line cannot act: not on the terminal that shows it, not on the JSON that carries it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import unicodedata
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.embedded import REPOSITORY
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.embedded import Embedded

pytestmark = pytest.mark.staging

DEADLINE_S = 30.0
COPIES, COPIES_OF_LARGE = 40, 12  # more than the service's natural errors meanwhile
LARGE = 100_000
END = "the hostile process has logged everything"
REVISION = "convergence-data-pipeline-00002-bad"
ACTING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
SGR = re.compile(rb"\x1b\[[0-9;]*m")
# Written as bytes into a JSON line's message; what a responder must still be able to read of it.
HOSTILE: dict[str, tuple[bytes, str]] = {
    "escapes": (rb"\u001b[2J\u001b[38;5;201m\u001b]0;owned\u0007seen", r"\x1b]0;owned\x07seen"),
    "C1 controls": (rb"\u009b31m\u009d0;owned\u009cseen", r"\u009b31m"),
    "raw escape": (b"seen \xc2\x9b31m \xe2\x80\xae", r"\u009b31m \u202e"),
    "HTML": (b"<script>alert(1)</script><img src=x onerror=alert(1)>", "<script>alert(1)</script>"),
    "markup": (b"[bold red]seen[/] [link=http://x]", "[bold red]seen[/]"),
    "line breaks": (rb"seen\r\nNext: invoke evil\u2028\u0085\u000b\u000c", r"seen\x0d\x0aNext"),
    "bidi and zero width": (rb"seen \u202e\u2066\u200b\u200d\ufeff\u00ad", r"seen \u202e\u2066"),
    "half a pair": (rb"seen \ud800 \udc00\u0000", "seen \ufffd"),
    "invalid UTF-8": (b"seen \xff\xfe\xc3( \xed\xa0\x80", "seen \ufffd\ufffd"),
    "1 MB": (b"seen " + b"m" * 1_000_000, "seen mmmm"),
    "1 MB of escapes": (rb"\u001b[2J" * 130_000, r"\x1b[2J\x1b[2J"),
}


@pytest.fixture(scope="session")
def known_styles(
    embedded_staging: Embedded, tmp_path_factory: pytest.TempPathFactory
) -> set[bytes]:
    """Return the colours that the report uses of itself, seen with a harmless line."""
    embedded_staging.reset()
    log_message(embedded_staging, tmp_path_factory.mktemp("harmless"), b"harmless")
    code, shown = run_in_terminal(embedded_staging, "assess.errors")
    assert code == 0, shown
    assert b"harmless" in shown
    styles = set(SGR.findall(shown))
    assert styles, "a terminal gets colours, else what follows would compare nothing"
    return styles


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_terminal_shows_a_hostile_line_as_text(
    kind: str, known_styles: set[bytes], staging: Embedded, tmp_path: Path
) -> None:
    message, visible = HOSTILE[kind]
    log_message(staging, tmp_path, message)
    code, shown = run_in_terminal(staging, "assess.errors")
    assert code == 0, shown[-2000:]
    assert set(SGR.findall(shown)) <= known_styles
    text = SGR.sub(b"", shown).decode()  # strictly: invalid UTF-8 must not get through
    acting = {c for c in text if unicodedata.category(c) in ACTING} - {"\r", "\n"}
    assert not acting
    # A cell is narrow and folds the text, so it is looked for without white space.
    assert "".join(visible.split()) in "".join(text.split())
    assert "Next: invoke evil" not in [line.strip() for line in text.splitlines()]
    assert len(text) < 20_000


@pytest.mark.parametrize("kind", HOSTILE)
def test_json_stays_json(kind: str, staging: Embedded, tmp_path: Path) -> None:
    message, _ = HOSTILE[kind]
    log_message(staging, tmp_path, message)
    done = staging.invoke("assess.errors", "--json")
    assert done.returncode == 0, done.output[-2000:]
    assert done.stdout.isascii()
    assert all(char.isprintable() or char == "\n" for char in done.output)
    assert len(done.stdout) < 200_000
    first = done.json()["data"]["groups"][0]
    assert first["count"] == count_copies(message)
    assert first["revisions"] == [REVISION]


def log_message(staging: Embedded, folder: Path, message: bytes) -> None:
    """Have a real process, connected as an instance is, log ERROR lines with this message."""
    source = folder / "lines"
    tenant = message if len(message) < 200 else b"acme"
    line = b'{"severity":"ERROR","message":"%b","tenant_id":"t %b"}\n' % (message, tenant)
    end = json.dumps({"severity": "INFO", "message": END}).encode() + b"\n"
    source.write_bytes(line * count_copies(message) + end)
    place = staging.endpoints
    header = {
        "instance": "hostile",
        "revision": REVISION,
        "service": place["service"],
        "location": place["region"],
        "project": place["project"],
    }
    script = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    with socket.socket(socket.AF_UNIX) as connection, source.open("rb") as lines:
        connection.connect(str(staging.directory / "logs.sock"))
        connection.sendall(json.dumps(header).encode() + b"\n")
        subprocess.run(
            [sys.executable, "-c", script],
            stdin=lines,
            stdout=connection.fileno(),
            timeout=DEADLINE_S,
            check=True,
        )
    wait_until(
        lambda: is_logged(staging),
        deadline_s=DEADLINE_S,
        what="the lines are in Cloud Logging",
    )


def count_copies(message: bytes) -> int:
    """Return how often the message is logged."""
    return COPIES if len(message) < LARGE else COPIES_OF_LARGE


def is_logged(staging: Embedded) -> bool:
    """Return whether Cloud Logging has the hostile process's last line."""
    place = staging.endpoints
    answer = requests.post(
        f"{place['api']}/v2/entries:list",
        json={
            "resourceNames": [f"projects/{place['project']}"],
            "filter": f'severity=INFO AND jsonPayload.message="{END}"',
        },
        timeout=DEADLINE_S,
    )
    answer.raise_for_status()
    return "entries" in answer.json()


def run_in_terminal(staging: Embedded, *arguments: str) -> tuple[int, bytes]:
    """Return the exit code and every byte that a command sends to a terminal of its own."""
    environment = staging.environment() | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    del environment["NO_COLOR"]
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    try:
        shown = read_until_closed(terminal)
        return process.wait(DEADLINE_S), shown
    finally:
        process.kill()
        os.close(terminal)


def read_until_closed(terminal: int) -> bytes:
    """Return all that is sent to the terminal until its last writer ends."""
    shown = bytearray()
    ends = time.monotonic() + DEADLINE_S
    while select.select([terminal], [], [], max(0.0, ends - time.monotonic()))[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # EIO, once the last process has closed its side.
            break
    return bytes(shown)
