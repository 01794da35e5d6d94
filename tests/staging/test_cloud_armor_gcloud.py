"""The real gcloud against Cloud Armor's API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from staging.cloud_armor.control_plane import POLICY
from tests.staging.cloud_armor_support import PROJECT, CloudArmorServer

pytestmark = [
    pytest.mark.vendor,
    pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here"),
]
ATTACKER, OTHER = "127.0.0.66", "127.0.10.1"


class Gcloud:
    """The real program, set up to take the server for its proxy."""

    def __init__(self, server: CloudArmorServer, folder: Path) -> None:
        """Keep gcloud's own settings in `folder`."""
        self._environment = {k: v for k, v in os.environ.items() if "CLOUDSDK" not in k} | {
            "CLOUDSDK_CONFIG": str(folder),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_PROXY_TYPE": "http_no_tunnel",
            "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
            "CLOUDSDK_PROXY_PORT": str(server.port),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": (
                "http://compute.googleapis.com/compute/v1/"
            ),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Return what `gcloud compute security-policies ...` printed, and its exit code."""
        return subprocess.run(
            ["gcloud", "compute", "security-policies", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rules(self, verb: str, priority: int, *flags: str, policy: str = POLICY) -> str:
        """Return the standard output of `rules VERB`, which must succeed."""
        done = self.run("rules", verb, str(priority), f"--security-policy={policy}", *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, verb: str, priority: int, *flags: str, policy: str = POLICY) -> str:
        """Return the standard error of `rules VERB`, which must fail."""
        done = self.run("rules", verb, str(priority), f"--security-policy={policy}", *flags)
        assert done.returncode == 1
        return done.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudArmorServer]:
    server = CloudArmorServer(tmp_path_factory.mktemp("cloud-armor"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running: CloudArmorServer) -> CloudArmorServer:
    running.reset()
    return running


@pytest.fixture
def gcloud(server: CloudArmorServer, tmp_path: Path) -> Gcloud:
    return Gcloud(server, tmp_path)


def test_describe_and_list_show_the_policy(server: CloudArmorServer, gcloud: Gcloud) -> None:
    policy = server.ask("GET", f"securityPolicies/{POLICY}").json()
    described = gcloud.run("describe", POLICY, "--format=json")
    assert json.loads(described.stdout) == [policy]
    assert gcloud.run("list", "--format=value(name)").stdout.split() == [POLICY]


def test_a_rule_is_created_described_updated_and_deleted(
    server: CloudArmorServer, gcloud: Gcloud
) -> None:
    ranges = f"--src-ip-ranges={ATTACKER},2001:db8::/32"
    gcloud.rules("create", 1000, ranges, "--action=deny-403", "--description=sprays keys")
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [403, 200]
    rule = json.loads(gcloud.rules("describe", 1000, "--format=json"))[0]
    assert (rule["action"], rule["description"]) == ("deny(403)", "sprays keys")
    assert rule["match"]["config"]["srcIpRanges"] == [ATTACKER, "2001:db8::/32"]
    gcloud.rules("update", 1000, "--action=deny-404", "--src-ip-ranges=127.0.0.0/24")
    assert server.status_for("127.0.0.67") == 404
    gcloud.rules("update", 1000, "--preview")
    assert server.status_for(ATTACKER) == 200
    gcloud.rules("update", 1000, "--no-preview")
    assert server.status_for(ATTACKER) == 404
    gcloud.rules("delete", 1000)
    assert server.status_for(ATTACKER) == 200


def test_refusals_are_told_in_the_apis_words(server: CloudArmorServer, gcloud: Gcloud) -> None:
    deny = "--action=deny-403"
    gcloud.rules("create", 1000, f"--src-ip-ranges={ATTACKER}", deny)
    taken = gcloud.refusal("create", 1000, f"--src-ip-ranges={OTHER}", deny)
    assert "Cannot have rules with the same priorities." in taken
    assert "does not contain a rule at priority 7" in gcloud.refusal("delete", 7)
    absent = gcloud.refusal("create", 7, f"--src-ip-ranges={OTHER}", deny, policy="other")
    assert "securityPolicies/other' was not found" in absent
    many = ",".join(f"10.0.0.{n}" for n in range(11))
    assert "at most 10" in gcloud.refusal("create", 7, f"--src-ip-ranges={many}", deny)
    assert "'127.0.0.300'" in gcloud.refusal("create", 7, "--src-ip-ranges=127.0.0.300", deny)
    assert "2147483648" in gcloud.refusal("create", 2**31, f"--src-ip-ranges={OTHER}", deny)
    assert [server.status_for(source) for source in (ATTACKER, OTHER)] == [403, 200]
