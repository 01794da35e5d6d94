"""The real gcloud against Cloud Run's Knative v1 face."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.staging.cloud_run_support import (
    PROJECT,
    REGION,
    REPOSITORY,
    SERVICE,
    CloudRunServer,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here"),
]
HOSTS = ("run", "serviceusage", "cloudresourcemanager")


class Gcloud:
    """The real program, set up to take the server for its proxy."""

    def __init__(self, server: CloudRunServer, folder: Path) -> None:
        """Keep gcloud's own settings in `folder`."""
        self._environment = {k: v for k, v in os.environ.items() if "CLOUDSDK" not in k} | {
            "CLOUDSDK_CONFIG": str(folder),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_RUN_REGION": REGION,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_PROXY_TYPE": "http_no_tunnel",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(server.port),
            **{
                f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{host.upper()}": f"http://{host}.googleapis.com/"
                for host in HOSTS
            },
        }

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Return what `gcloud run LINE` printed, without bold type, and its exit code."""
        done = subprocess.run(
            ["gcloud", "run", *line.split()],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        done.stderr = re.sub(r"\x1b\[\d*m", "", done.stderr)
        return done

    def good(self, line: str) -> str:
        """Return the standard output of a line that must succeed."""
        done = self.run(line)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def gcloud(server: CloudRunServer, tmp_path: Path) -> Gcloud:
    return Gcloud(server, tmp_path)


def _first(server: CloudRunServer) -> str:
    items = server.v1("revisions")["items"]
    names = [str(item["metadata"]["name"]) for item in items]
    return next(name for name in names if "-00001-" in name)


def _latest(server: CloudRunServer) -> str:
    status: dict[str, Any] = server.v1()["status"]
    return str(status["latestCreatedRevisionName"])


def test_describe_and_list_show_the_store(server: CloudRunServer, gcloud: Gcloud) -> None:
    described = json.loads(gcloud.good(f"services describe {SERVICE} --format=json"))
    assert described["status"] == server.v1()["status"]
    assert SERVICE in gcloud.good("services list --format=value(metadata.name)")
    revisions = gcloud.good(f"revisions list --service {SERVICE} --format=value(name,active)")
    assert revisions.split() == [_latest(server), "yes", _first(server)]
    one = json.loads(gcloud.good(f"revisions describe {_first(server)} --format=json"))
    assert one["spec"]["containers"][0]["image"] == f"{REPOSITORY}:1.4.1"


def test_update_of_the_template_rolls_out(server: CloudRunServer, gcloud: Gcloud) -> None:
    done = gcloud.run(f"services update {SERVICE} --min-instances=4 --update-env-vars=A=b")
    assert done.returncode == 0, done.stderr
    assert "serving 100 percent of traffic" in done.stderr
    assert server.served() == {_latest(server): 100}
    assert len(server.instances(_latest(server))) == 4
    v2 = server.v2()
    assert v2["template"]["scaling"] == {"minInstanceCount": 4, "maxInstanceCount": 10}
    assert {"name": "A", "value": "b"} in v2["template"]["containers"][0]["env"]
    assert v2["client"] == "gcloud"


def test_service_minimum_makes_no_revision_and_labels_make_one(
    server: CloudRunServer, gcloud: Gcloud
) -> None:
    before = _latest(server)
    gcloud.good(f"services update {SERVICE} --min=3")
    assert _latest(server) == before
    wait_for(lambda: len(server.instances(before)) == 3, "the service-level minimum holds")
    gcloud.good(f"services update {SERVICE} --update-labels=team=data")
    assert "-00003-" in _latest(server)
    assert server.v2()["labels"] == {"team": "data"}


def test_pinned_traffic_gets_no_later_deployment_until_it_is_released(
    server: CloudRunServer, gcloud: Gcloud
) -> None:
    first = _first(server)
    gcloud.good(f"services update-traffic {SERVICE} --to-revisions={first}=100")
    assert server.served() == {first: 100}
    done = gcloud.run(f"services update {SERVICE} --image={REPOSITORY}:1.4.3")
    assert done.returncode == 0, done.stderr
    assert "serving 0 percent of traffic" in done.stderr
    assert server.served() == {first: 100}
    gcloud.good(f"services update-traffic {SERVICE} --to-latest")
    assert server.served() == {_latest(server): 100}


def test_deployment_without_traffic(server: CloudRunServer, gcloud: Gcloud) -> None:
    before = server.served()
    gcloud.good(f"deploy {SERVICE} --image={REPOSITORY}:1.4.3 --no-traffic --tag=green")
    assert {name: share for name, share in server.served().items() if share} == before
    assert server.served()[_latest(server)] == 0


def test_failing_revision_exits_1_with_the_reason(server: CloudRunServer, gcloud: Gcloud) -> None:
    before = server.served()
    done = gcloud.run(f"services update {SERVICE} --image={REPOSITORY}:1.5.0-crash-at-start")
    assert done.returncode == 1
    assert f"Revision '{_latest(server)}' is not ready and cannot serve traffic." in done.stderr
    assert server.served() == before
    rollback = gcloud.run(f"services update-traffic {SERVICE} --to-revisions={_first(server)}=100")
    assert rollback.returncode == 1
    assert server.served() == {_first(server): 100}


def test_impossible_arguments_and_absent_revisions(server: CloudRunServer, gcloud: Gcloud) -> None:
    before = server.v1()
    done = gcloud.run(f"services update {SERVICE} --cpu=8 --memory=512Mi")
    assert done.returncode == 1
    assert "memory must be between 4Gi and 32Gi" in done.stderr
    assert "Cannot find revision [none]" in gcloud.run("revisions describe none").stderr
    assert server.v1() == before


def test_change_between_read_and_write_is_a_conflict(
    server: CloudRunServer, gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_service = server.cloud_run.replace_service

    def change_first(name: str, body: object, **options: Any) -> object:  # noqa: ANN401
        monkeypatch.undo()
        settings = {"labels": {"by": "someone-else"}}
        server.cloud_run.patch_service(settings, "labels")
        return replace_service(name, body, **options)

    monkeypatch.setattr(server.cloud_run, "replace_service", change_first)
    done = gcloud.run(f"services update {SERVICE} --max-instances=20")
    assert done.returncode == 1
    assert "ABORTED: Conflict for resource" in done.stderr
    assert server.v2()["template"]["scaling"]["maxInstanceCount"] == 10


def test_export_edit_and_replace(server: CloudRunServer, gcloud: Gcloud, tmp_path: Path) -> None:
    exported = gcloud.good(f"services describe {SERVICE} --format=export")
    before = _latest(server)
    path = tmp_path / "service.yaml"
    path.write_text(exported, encoding="utf-8")
    gcloud.good(f"services replace {path}")
    assert _latest(server) == before
    path.write_text(exported.replace("timeoutSeconds: 300", "timeoutSeconds: 200"), "utf-8")
    gcloud.good(f"services replace {path}")
    assert server.v2()["template"]["timeout"] == "200s"
