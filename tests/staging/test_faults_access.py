"""Faults of access on a running staging: how much each does, to whom, and what ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests

from staging.control.faults_access import (
    GUESSED_TENANT,
    POLLING_TENANT,
    ROLLOUT_TENANTS,
)
from staging.local_http import LocalHttpError, request_json
from staging.service.keys import make_key
from staging.service.tenants import LARGEST_TENANT
from staging.supervisor_directory import StagingDirectory
from tests.support.waiting import hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.staging
# Prometheus' windows here: long enough for Poisson's chance, short enough to leave the start out.
WINDOW_S = 2
HITS = "rate_limit_hits_total"


class Staging:
    """A running staging, as a test asks it."""

    def __init__(self, endpoints: dict[str, Any]) -> None:
        """Take what endpoints.json says."""
        self.endpoints = endpoints

    def control(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the control API's answer."""
        url = f"{self.endpoints['control']}{path}"
        answer: dict[str, Any] = request_json(url, method=method, body=body, timeout_s=60)
        return answer

    def load(self) -> dict[str, Any]:
        """Return the load's status."""
        load: dict[str, Any] = self.control("GET", "/status")["load"]
        return load

    def measure(self, metric: str, by: str = "") -> dict[str, float]:
        """Return a counter's rate a second, by a label or all together (then under "")."""
        query = f"sum by ({by}) (rate({metric}[{WINDOW_S}s]))"
        url = f"{self.endpoints['prometheus']}/api/v1/query?query={quote(query)}"
        found = request_json(url)["data"]["result"]
        return {one["metric"].get(by, ""): float(one["value"][1]) for one in found}

    def fails(self) -> float:
        """Return the refused keys a second."""
        return self.measure("auth_failures_total").get("", 0.0)

    def hits(self) -> float:
        """Return the rate limits' refusals a second."""
        return self.measure(HITS).get("", 0.0)


def wait_for(what: Callable[[], object], deadline_s: float = 20.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staging]:
    """One staging for this module; every test starts from its reset."""
    folder = tmp_path_factory.mktemp("access")
    command = [sys.executable, "-m", "staging"]
    options = ["--dir", str(folder)]
    try:
        subprocess.run(
            [*command, "up", "--seed", "7", *options], cwd=REPOSITORY, timeout=60, check=True
        )
        endpoints = StagingDirectory(folder).read_endpoints()
        assert endpoints is not None
        yield Staging(endpoints)
    finally:
        subprocess.run([*command, "down", *options], cwd=REPOSITORY, timeout=60, check=True)


@pytest.fixture
def staging(running: Staging) -> Staging:
    running.control("POST", "/reset")
    return running


def find_limited(staging: Staging) -> set[str]:
    """Return the tenants that meet their limits more than by chance."""
    return {tenant for tenant, rate in staging.measure(HITS, "tenant_id").items() if rate > 1}


def engage(staging: Staging, fault: str) -> None:
    staging.control("POST", "/break", {"fault": fault})


@pytest.mark.parametrize(
    ("faults", "tenant"),
    [
        (("credential-spray", "distributed-spray"), ""),
        (("brute-force", "distributed-brute-force"), GUESSED_TENANT),
    ],
)
def test_an_attack_is_refused_and_disturbs_nobody(
    staging: Staging, faults: tuple[str, str], tenant: str
) -> None:
    for fault, sources in zip(faults, (1, 16), strict=True):
        engage(staging, fault)
        wait_for(lambda: staging.fails() > 40)
        attacker = staging.load()["attacker"]
        assert len(attacker["sources"]) == sources
        assert set(attacker["by_outcome"]) == {"401"}
        by_tenant = staging.measure("auth_failures_total", "tenant_id")
        most = max(by_tenant, key=lambda one: by_tenant[one])
        assert (most == tenant and by_tenant[most] > 20) if tenant else by_tenant[most] < 10
    # The refusals are the attacker's alone.
    assert not {"401", "429"} & set(staging.load()["by_outcome"])
    staging.control("POST", "/heal")
    wait_for(lambda: staging.fails() == 0)


@pytest.mark.parametrize("fault", ["key-rollout", "expired-keys"])
def test_wrong_keys_are_refused_until_they_are_right(staging: Staging, fault: str) -> None:
    engage(staging, fault)
    wait_for(lambda: staging.fails() > 8)
    assert staging.fails() < 20
    by_tenant = staging.measure("auth_failures_total", "tenant_id")
    assert {tenant for tenant, rate in by_tenant.items() if rate} == set(ROLLOUT_TENANTS)
    assert max(by_tenant.values()) < 9
    staging.control("POST", "/heal")
    wait_for(lambda: staging.fails() == 0)


def test_a_key_from_a_file_ends_a_tenants_part(staging: Staging, tmp_path: Path) -> None:
    engage(staging, "key-rollout")
    wait_for(lambda: staging.fails() > 8)
    for tenant in ROLLOUT_TENANTS:
        url = f"{staging.endpoints['service_url']}/admin/tenants/{tenant}/api-keys"
        admin_key = Path(staging.endpoints["admin_key_file"]).read_text()
        issued = requests.post(url, headers={"x-admin-key": admin_key}, timeout=5).json()
        file = tmp_path / f"{tenant}.key"
        file.write_text(issued["api_key"])
        staging.control("POST", "/keys", {"tenant": tenant, "file": str(file)})
    wait_for(lambda: staging.fails() == 0)
    assert staging.control("GET", "/status")["faults"] == ["key-rollout"]


def test_senseless_keys_are_refused(staging: Staging, tmp_path: Path) -> None:
    file = tmp_path / "right.key"
    file.write_text(make_key("lumen_labs"))
    for body in (
        {},
        {"tenant": "nobody", "file": str(file)},
        {"tenant": "lumen_labs", "file": str(tmp_path / "none")},
        {"tenant": "lumen_labs", "file": "right.key"},
    ):
        with pytest.raises(LocalHttpError) as refused:
            staging.control("POST", "/keys", body)
        assert refused.value.status == 400


def test_a_tenant_that_grows_meets_its_limit_and_tries_again(staging: Staging) -> None:
    engage(staging, "tenant-spike")
    # Its clients try again what was refused: more refusals than requests above the limit.
    wait_for(lambda: staging.hits() > 20, 30)
    assert find_limited(staging) == {LARGEST_TENANT}
    # Over its endpoints, of which one is asked seldom.
    assert sum(rate > 0 for rate in staging.measure(HITS, "path").values()) >= 3
    engage(staging, "abusive-tenant")
    wait_for(lambda: staging.measure(HITS, "tenant_id")[POLLING_TENANT] > 30, 30)
    staging.control("POST", "/heal")
    wait_for(lambda: staging.hits() < 1, 30)


def test_a_reset_leaves_nothing(staging: Staging) -> None:
    for fault in ("credential-spray", "key-rollout", "expired-keys", "abusive-tenant"):
        engage(staging, fault)
    wait_for(lambda: staging.fails() > 50)
    staging.control("POST", "/reset")
    hold(lambda: staging.fails() == 0, seconds=WINDOW_S, what="no key is refused")
    assert staging.load()["attacker"]["rate"] == 0
    assert not {"401", "429"} & set(staging.load()["by_outcome"])
