"""Faults of load on a running staging: how much each does, on either platform, and what ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests

from staging.control.faults import FAULTS
from staging.control.memory_pressure import EXPORTING_TENANT
from staging.model import PLATFORMS
from tests.support.embedded import Embedded
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.staging
CPU = 'avg(avg_over_time(system_cpu_usage_percent{job="convergence-api"}[3s]))'
MEMORY = "max(system_memory_usage_bytes / system_memory_total_bytes)"
EXPORT = "/api/v1/pipelines/executions?export=new&rows=8192"


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    """One staging for this module; every test starts from its reset."""
    embedded = Embedded(time_scale=60)
    embedded.start()
    try:
        yield embedded
    finally:
        embedded.stop()


@pytest.fixture
def staging(running: Embedded) -> Embedded:
    running.reset()
    return running


def measure(staging: Embedded, promql: str) -> float:
    """Return what a query with one sample gives, 0 for none."""
    url = f"{staging.endpoints['prometheus']}/api/v1/query?query={quote(promql)}"
    found = requests.get(url, timeout=10).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def look(staging: Embedded) -> dict[str, Any]:
    return staging.control("/status")


def read_pids(staging: Embedded) -> set[int]:
    return {item["pid"] for item in look(staging)["instances"] if item["state"] == "ready"}


def read_p95(staging: Embedded) -> float:
    return float(look(staging)["load"]["latency_ms"]["p95"] or 0)


def break_it(staging: Embedded, fault: str) -> None:
    """Cause a fault, which must be the only one."""
    assert staging.control("/break", {"fault": fault})["fault"] == fault
    assert look(staging)["faults"] == [fault]


def test_every_fault_names_the_platforms_that_have_it(staging: Embedded) -> None:
    listed = {item["name"]: item["platforms"] for item in staging.control("/faults")["faults"]}
    assert set(listed) == set(FAULTS)
    assert {name for name, platforms in listed.items() if platforms != list(PLATFORMS)} == {
        "pinned-to-bad"
    }


def test_fault_that_the_platform_has_not_is_refused(staging: Embedded) -> None:
    staging.control("/reset", {"platform": "kubernetes"})
    url = f"{staging.endpoints['control']}/break"
    refused = requests.post(url, json={"fault": "pinned-to-bad"}, timeout=10)
    assert refused.status_code == 409
    assert "does not exist on kubernetes" in refused.json()["error"]["message"]
    assert look(staging)["faults"] == []


def test_busy_hour_fills_all_instances_and_refuses_nobody(staging: Embedded) -> None:
    break_it(staging, "busy-hour")
    status = look(staging)
    # 0.88 of ten instances of 2 CPU, at 60 requests of 0.02 CPU-seconds a second.
    assert status["load"]["weight_factor"] == pytest.approx(0.88 * 20 / 1.2, abs=0.01)
    assert len(read_pids(staging)) == 10
    wait_until(lambda: 80 < measure(staging, CPU) < 97, deadline_s=15, what="a busy fleet")
    assert look(staging)["load"]["by_outcome"].get("503", 0) < 10
    staging.control("/heal", {})
    assert look(staging)["load"]["weight_factor"] == 1.0


def test_slow_dependencies_make_requests_slow_and_fail_none(staging: Embedded) -> None:
    break_it(staging, "slow-reads")
    wait_until(lambda: read_p95(staging) > 2300, deadline_s=15, what="slow lists")
    assert look(staging)["load"]["latency_ms"]["p99"] < 3500
    staging.control("/break", {"fault": "slow-source"})
    wait_until(lambda: read_p95(staging) > 3900, deadline_s=15, what="slow runs")
    load = look(staging)["load"]
    assert load["failed_share"] < 0.05
    assert load["latency_ms"]["p99"] < 4900
    assert staging.control("/heal", {}) == {"healed": ["slow-reads", "slow-source"]}
    wait_until(lambda: read_p95(staging) < 500, deadline_s=20, what="quick requests")


def test_exports_fill_the_memory_until_the_platform_kills(staging: Embedded) -> None:
    before = read_pids(staging)
    break_it(staging, "export-burst")
    wait_until(lambda: 0.88 < measure(staging, MEMORY) < 0.92, deadline_s=5, what="full memory")
    assert read_pids(staging) >= before
    url = staging.endpoints["service_url"] + EXPORT
    keys = json.loads(Path(staging.endpoints["api_key_file"]).read_text())
    headers = {"x-api-key": keys[EXPORTING_TENANT]}

    def ask_until_killed() -> bool:
        requests.get(url, headers=headers, timeout=10)
        return not read_pids(staging) >= before

    wait_until(ask_until_killed, deadline_s=20, what="an instance killed")
    wait_until(lambda: len(read_pids(staging)) >= 2, deadline_s=10, what="another in its place")
    entries = requests.post(
        f"{staging.endpoints['api']}/v2/entries:list",
        json={
            "resourceNames": ["projects/convergence-local"],
            "filter": 'textPayload:"Memory limit of 4096 MiB exceeded"',
        },
        timeout=10,
    ).json()["entries"]
    assert entries[0]["severity"] == "ERROR"
    assert entries[0]["labels"]["instanceId"]


def test_grown_data_comes_back_after_a_restart(staging: Embedded) -> None:
    before = read_pids(staging)
    break_it(staging, "data-growth")
    wait_until(lambda: not read_pids(staging) & before, deadline_s=10, what="other instances")
    wait_until(lambda: 0.95 < measure(staging, MEMORY) < 1, deadline_s=10, what="full memory")
    staging.control("/heal", {})
    wait_until(lambda: 0.2 < measure(staging, MEMORY) < 0.4, deadline_s=15, what="room")


@pytest.mark.parametrize(
    ("fault", "promql", "lowest", "highest"),
    [
        ("hot-loop", CPU, 97, 100.01),
        ("memory-leak", MEMORY, 0.955, 0.99),
    ],
)
def test_wasteful_build_wastes_on_kubernetes_too(
    staging: Embedded, fault: str, promql: str, lowest: float, highest: float
) -> None:
    staging.control("/reset", {"platform": "kubernetes"})
    break_it(staging, fault)
    wait_until(
        lambda: lowest < measure(staging, promql) < highest, deadline_s=20, what=f"{fault} to show"
    )
    assert look(staging)["load"]["failed_share"] < 0.05
    staging.control("/heal", {})
    wait_until(
        lambda: measure(staging, promql) < lowest / 2, deadline_s=15, what=f"the end of {fault}"
    )
