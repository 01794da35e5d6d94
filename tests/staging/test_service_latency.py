"""What makes the service slow, what it says of it, and what two of its settings spare."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest

from staging.service.cache import ResponseCache
from staging.service.errors import NotFoundError
from staging.service.histogram import LabelledHistogram
from tests.staging.service_support import Rig, serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from staging.model import Instance

TENANT = "acme_logistics"
LIST = "/api/v1/pipelines"
EXECUTIONS = "/api/v1/pipelines/executions"
RUN_TEMPLATE = "/api/v1/pipelines/run/{pipeline_id}"
RUN = f"/api/v1/pipelines/run/{TENANT}-daily_cost"


async def time_answer(rig: Rig, instance: Instance, target: str, tenant: str = TENANT) -> float:
    """Return how many seconds a GET takes; it must be answered 200."""
    started = time.monotonic()
    answer = await rig.ask(instance, target, tenant=tenant)
    assert answer.status == 200
    return time.monotonic() - started


def test_slow_request_is_logged_and_a_quick_one_is_not(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            await rig.ask(instance, LIST, tenant=TENANT)
            # Twice 1.5 CPU-seconds, by an instance of two: the second waits for the first.
            heavy = f"{LIST}?rows=75000"
            await asyncio.gather(*(rig.ask(instance, heavy, tenant=TENANT) for _ in range(3)))
            await wait_until(lambda: bool(rig.find_logs("slow request")), 5, "the log line")
            entries = rig.find_logs("slow request")
            assert 1 <= len(entries) <= 3
            for entry in entries:
                assert entry["severity"] == "WARNING"
                assert (entry["tenant_id"], entry["path"]) == (TENANT, LIST)
                assert entry["duration_ms"] > 1000

    asyncio.run(check())


def test_durations_are_measured_by_path_and_by_tenant(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            before = time.time()
            instance = await rig.start()
            await rig.ask(instance, f"{LIST}?rows=1", tenant=TENANT)
            await rig.ask(instance, RUN, tenant=TENANT, body={"rows": 100_000})
            samples = await rig.scrape(instance)
            name = "http_request_duration_seconds"
            assert sum_samples(samples, f"{name}_count", path=LIST) == 1
            assert sum_samples(samples, f"{name}_bucket", path=LIST, le="0.5") == 1
            assert sum_samples(samples, f"{name}_bucket", path=RUN_TEMPLATE, le="0.4") == 0
            assert sum_samples(samples, f"{name}_bucket", path=RUN_TEMPLATE, le="5.0") == 1
            assert sum_samples(samples, f"{name}_sum", path=RUN_TEMPLATE) > 0.4
            assert sum_samples(samples, f"{name}_count", path=EXECUTIONS) == 0
            tenant = "tenant_request_duration_seconds"
            assert sum_samples(samples, f"{tenant}_count", tenant_id=TENANT) == 2
            bounds = {s.labels["le"] for s in samples if s.name == f"{tenant}_bucket"}
            assert bounds == {"0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"}
            assert before - 1 < sum_samples(samples, "process_start_time_seconds") < time.time() + 1

    asyncio.run(check())


def test_run_waits_for_a_late_source(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            rig.sources.set_delay(1.2)
            started = time.monotonic()
            answer = await rig.ask(instance, RUN, tenant=TENANT, body={})
            assert answer.status == 200
            assert time.monotonic() - started > 1.2
            assert await time_answer(rig, instance, LIST) < 1.0

    asyncio.run(check())


def test_run_beyond_its_time_is_accepted_and_goes_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"REQUEST_TIMEOUT_SECONDS": "1"})
            rig.sources.set_delay(1.6)
            started = time.monotonic()
            answer = await rig.ask(instance, RUN, tenant=TENANT, body={})
            run = json.loads(answer.body)["execution"]
            assert (answer.status, run["status"], run["completed_at"]) == (202, "RUNNING", None)
            assert 0.8 <= time.monotonic() - started < 1.6

            async def list_ids() -> list[str]:
                listed = await rig.ask(instance, EXECUTIONS, tenant=TENANT)
                found = json.loads(listed.body)["executions"]
                return [item["pipeline_logging_id"] for item in found]

            assert await list_ids() == []
            async with asyncio.timeout(10):
                while True:
                    if run["pipeline_logging_id"] in await list_ids():
                        break
                    await asyncio.sleep(0.05)
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "pipeline_executions_total", tenant_id=TENANT) == 1
            assert sum_samples(samples, "http_requests_total", status_code="202") == 1

    asyncio.run(check())


def test_run_whose_source_is_gone_fails(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            await rig.sources.stop()
            answer = await rig.ask(instance, RUN, tenant=TENANT, body={})
            assert (answer.status, json.loads(answer.body)["error_type"]) == (500, "upstream_reset")
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "pipeline_executions_total", status="failed") == 1

    asyncio.run(check())


def test_cache_answers_without_a_read_until_its_time_is_over(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            rig.database.set_read_delay(0.6)
            instance = await rig.start(env={"RESPONSE_CACHE_TTL_SECONDS": "3"})
            for target in (LIST, f"{EXECUTIONS}?status=failed"):
                assert await time_answer(rig, instance, target) > 0.6
                assert await time_answer(rig, instance, target) < 0.4
            assert await time_answer(rig, instance, f"{EXECUTIONS}?status=completed") > 0.6
            await asyncio.sleep(3)
            assert await time_answer(rig, instance, LIST) > 0.6

    asyncio.run(check())


def test_cache_tells_tenants_apart(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"RESPONSE_CACHE_TTL_SECONDS": "60"})
            for tenant in (TENANT, "blue_harbor_bank"):
                answer = await rig.ask(instance, LIST, tenant=tenant)
                assert json.loads(answer.body)["tenant_id"] == tenant

    asyncio.run(check())


def test_without_a_time_to_live_every_answer_is_read_anew(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            rig.database.set_read_delay(0.4)
            assert [await time_answer(rig, instance, LIST) > 0.4 for _ in range(2)] == [True, True]
            # The instance's health does not depend on how long a scan takes.
            assert (await rig.ask(instance, "/health/ready")).status == 200

    asyncio.run(check())


def test_kept_answer_costs_next_to_no_cpu(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"RESPONSE_CACHE_TTL_SECONDS": "60"})
            # 0.6 CPU-seconds each: computed anew, ten would take three seconds.
            heavy = f"{LIST}?rows=30000"
            await time_answer(rig, instance, heavy)
            started = time.monotonic()
            for _ in range(10):
                await time_answer(rig, instance, heavy)
            assert time.monotonic() - started < 1.0

    asyncio.run(check())


def test_cache_fetches_anew_what_is_asked_for_in_its_second_half() -> None:
    now = [0.0]
    computed: list[int] = []

    async def compute() -> dict[str, object]:
        computed.append(len(computed))
        return {"number": computed[-1]}

    async def check() -> None:
        cache = ResponseCache(10.0, lambda: now[0])
        await asyncio.gather(*(cache.fetch("key", compute) for _ in range(5)))
        assert len(computed) == 1
        now[0] = 4.9
        assert cache.find("key", compute) == {"number": 0}
        now[0] = 6.0
        assert cache.find("key", compute) == {"number": 0}
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cache.find("key", compute) == {"number": 1}
        now[0] = 16.1
        assert cache.find("key", compute) is None
        assert cache.find("other", compute) is None

    asyncio.run(check())


def test_cache_keeps_no_failure() -> None:
    async def fail() -> dict[str, object]:
        raise NotFoundError("gone")

    async def check() -> None:
        cache = ResponseCache(10.0)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await cache.fetch("key", fail)
        assert cache.find("key", fail) is None

    asyncio.run(check())


def test_histogram_counts_a_bound_into_its_own_bucket() -> None:
    histogram = LabelledHistogram("taken_seconds", "Time.", "path", (0.5, 1))
    for amount in (0.5, 0.50001, 7):
        histogram.observe("/a", amount)
    lines = histogram.render(lambda labels: str(sorted(labels.items())))
    assert lines[2:] == [
        "taken_seconds_bucket[('le', '0.5'), ('path', '/a')] 1.0",
        "taken_seconds_bucket[('le', '1.0'), ('path', '/a')] 2.0",
        "taken_seconds_bucket[('le', '+Inf'), ('path', '/a')] 3.0",
        "taken_seconds_sum[('path', '/a')] 8.00001",
        "taken_seconds_count[('path', '/a')] 3.0",
    ]
