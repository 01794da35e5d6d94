"""The real bq against BigQuery's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.staging.bigquery_support import PROJECT, TENANTS, BigQueryServer

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(shutil.which("bq") is None, reason="bq is not installed here"),
]
KEYS_BY_TENANT = (
    "SELECT tenant_id, COUNT(*) as key_count FROM `metadata.x_meta_api_keys`"
    " WHERE is_active = true GROUP BY tenant_id ORDER BY tenant_id"
)


class Bq:
    """The real program, set up to speak to the server alone."""

    def __init__(self, server: BigQueryServer, folder: Path) -> None:
        """Keep the settings of gcloud and bq in `folder`."""
        self._environment = {k: v for k, v in os.environ.items() if "CLOUDSDK" not in k} | {
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{server.url}/",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return what bq printed, and its exit code."""
        return subprocess.run(
            # Given here, and not in the environment, the token saves bq a call of gcloud.
            ["bq", "--oauth_access_token=none-is-needed-here", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def good(self, *arguments: str) -> str:
        """Return the standard output of a line that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def bq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bq]:
    server = BigQueryServer()
    server.start()
    server.fill()
    yield Bq(server, tmp_path_factory.mktemp("bq"))
    server.stop()


def test_query_counts_the_keys_of_each_tenant(bq: Bq) -> None:
    shown = bq.good("query", "--use_legacy_sql=false", "--format=json", KEYS_BY_TENANT)
    assert json.loads(shown) == [
        {"tenant_id": TENANTS[0], "key_count": "2"},
        {"tenant_id": TENANTS[1], "key_count": "3"},
    ]


def test_query_takes_parameters_and_shows_times(bq: Bq) -> None:
    text = (
        "SELECT key_id, TIMESTAMP_TRUNC(created_at, DAY) < created_at AS later"
        " FROM metadata.x_meta_api_keys WHERE tenant_id = @tenant"
        " AND expires_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY) ORDER BY 1"
    )
    parameter = f"--parameter=tenant:STRING:{TENANTS[0]}"
    shown = bq.good("query", "--use_legacy_sql=false", "--format=json", parameter, text)
    assert json.loads(shown) == [
        {"key_id": "key-2", "later": "true"},
        {"key_id": "key-4", "later": "true"},
    ]
    started = "SELECT started_at FROM acme_logistics.x_meta_pipeline_runs"
    shown = bq.good("query", "--use_legacy_sql=false", "--format=csv", started)
    assert shown.split("\n")[1] == "2026-11-23 06:12:00"


def test_wrong_query_exits_1_with_the_reason(bq: Bq) -> None:
    done = bq.run("query", "--use_legacy_sql=false", "SELECT nope FROM metadata.x_meta_api_keys")
    assert done.returncode == 1
    # bq breaks long lines.
    assert "Unrecognized name: nope at [1:8]" in " ".join(done.stdout.split())


def test_dry_run_tells_the_size(bq: Bq) -> None:
    shown = bq.good("query", "--use_legacy_sql=false", "--dry_run", KEYS_BY_TENANT)
    assert "Query successfully validated" in shown


def test_ls_show_and_head(bq: Bq) -> None:
    assert {"metadata", *TENANTS} <= set(bq.good("ls").split())
    assert "x_meta_api_keys" in bq.good("ls", "metadata")
    table = json.loads(bq.good("show", "--format=json", "metadata.x_meta_api_keys"))
    assert (table["numRows"], table["schema"]["fields"][4]["type"]) == ("6", "BOOLEAN")
    rows = json.loads(bq.good("head", "--format=json", "-n", "2", "metadata.x_meta_api_keys"))
    assert [row["key_id"] for row in rows] == ["key-5", "key-4"]
    assert "Not found: Table" in bq.run("show", "metadata.nope").stdout
