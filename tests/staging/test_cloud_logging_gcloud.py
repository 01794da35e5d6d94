"""The real gcloud against embedded staging's Cloud Logging."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from staging.cloud_logging.values import format_timestamp
from tests.staging.cloud_logging_support import PROJECT, serve_logging, text_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.staging.cloud_logging_support import LoggingServer

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here"),
]

HOSTILE = "\x1b[31m<b>\u202e" + "x" * 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggingServer]:
    with serve_logging(tmp_path_factory.mktemp("logging")) as running:
        now = time.time_ns()
        for minutes in range(8):
            running.store.write(
                text_entry(
                    f"line {minutes}",
                    timestamp=format_timestamp(now - minutes * 60 * 10**9),
                    severity="ERROR" if minutes % 2 else "INFO",
                )
            )
        running.store.write(
            text_entry(HOSTILE, timestamp=format_timestamp(now - 30 * 3600 * 10**9))
        )
        yield running


def run_gcloud(
    server: LoggingServer, tmp_path: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    overrides = {
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": f"{server.url}/",
    }
    return subprocess.run(
        ["gcloud", *arguments],
        env={k: v for k, v in os.environ.items() if not k.startswith("CLOUDSDK_")} | overrides,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_texts(server: LoggingServer, tmp_path: Path, *arguments: str) -> list[str]:
    done = run_gcloud(server, tmp_path, "logging", "read", *arguments, "--format=json")
    assert done.returncode == 0, done.stderr
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    return [entry["textPayload"] for entry in entries]


def test_read_gives_the_newest_of_the_last_day_first(server: LoggingServer, tmp_path: Path) -> None:
    found = read_texts(server, tmp_path, "resource.type=cloud_run_revision")
    assert found == [f"line {n}" for n in range(8)]


def test_read_limit_and_order(server: LoggingServer, tmp_path: Path) -> None:
    filter_ = "resource.type=cloud_run_revision AND severity>=ERROR"
    found = read_texts(server, tmp_path, filter_, "--limit=2", "--order=asc")
    assert found == ["line 7", "line 5"]


def test_read_freshness(server: LoggingServer, tmp_path: Path) -> None:
    found = read_texts(server, tmp_path, "severity>=DEFAULT", "--freshness=150s")
    assert found == ["line 0", "line 1", "line 2"]
    assert read_texts(server, tmp_path, 'textPayload:"<b>"', "--freshness=2d") == [HOSTILE]


def test_read_tells_what_is_wrong_with_a_filter(server: LoggingServer, tmp_path: Path) -> None:
    done = run_gcloud(server, tmp_path, "logging", "read", "severity>=EROR")
    assert done.returncode == 1
    assert "INVALID_ARGUMENT: Unparseable filter: 'EROR', which is no severity" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_services_logs_read_prints_the_oldest_first(
    server: LoggingServer, tmp_path: Path
) -> None:
    done = run_gcloud(
        server,
        tmp_path,
        *("run", "services", "logs", "read", "convergence-data-pipeline"),
        *("--region=us-central1", "--limit=3", "--log-filter=severity>=INFO"),
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" ", 2)[2] for line in done.stdout.splitlines()] == [
        "line 2",
        "line 1",
        "line 0",
    ]


def test_write_then_read(server: LoggingServer, tmp_path: Path) -> None:
    done = run_gcloud(
        server, tmp_path, "logging", "write", "runbook", "by hand", "--severity=NOTICE"
    )
    assert done.returncode == 0, done.stderr
    assert read_texts(server, tmp_path, f"logName=projects/{PROJECT}/logs/runbook") == ["by hand"]
