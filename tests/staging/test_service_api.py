"""The service over the wire: its interface, its log lines, its dependency, its limits."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest

from staging.service.http_client import HttpClient
from staging.service.tenants import LARGEST_TENANT
from tests.staging.service_support import serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TENANT = "acme_logistics"
PIPELINE = f"{TENANT}-daily_cost"
RUN = f"/api/v1/pipelines/run/{PIPELINE}"


def test_run_is_executed_and_found_among_the_executions(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            answer = await rig.ask(instance, RUN, tenant=TENANT, body={})
            run = json.loads(answer.body)["execution"]
            assert answer.status == 200
            assert run["status"] in ("COMPLETED", "FAILED")
            target = f"/api/v1/pipelines/executions?status={run['status'].lower()}"
            async with asyncio.timeout(5):
                while True:
                    listed = await rig.ask(instance, target, tenant=TENANT)
                    if run in json.loads(listed.body)["executions"]:
                        break
                    await asyncio.sleep(0.05)
            other = await rig.ask(instance, target, tenant=LARGEST_TENANT)
            assert json.loads(other.body)["executions"] == []

    asyncio.run(check())


def test_retry_is_counted(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            target = f"/api/v1/pipelines/{PIPELINE}/retry"
            statuses = [(await rig.ask(instance, target, tenant=TENANT, body={})).status] * 3
            assert set(statuses) <= {200, 500}
            samples = await rig.scrape(instance)
            ended = sum_samples(samples, "pipeline_executions_total", pipeline_id=PIPELINE)
            assert ended == sum_samples(samples, "pipeline_retries_total")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("key", "claimed"), [("", "unknown"), ("nonsense", "unknown"), (f"cda.{TENANT}.guess", TENANT)]
)
def test_refused_key_is_counted_and_logged(tmp_path: Path, key: str, claimed: str) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            headers = {"x-api-key": key, "x-forwarded-for": "10.9.9.9, 127.0.0.66"}
            answer = await rig.ask(instance, "/api/v1/pipelines", headers=headers)
            assert answer.status == 401
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "auth_failures_total", tenant_id=claimed) == 1
            await wait_until(lambda: bool(rig.find_logs("authentication failed")), 5, "a log line")
            [entry] = rig.find_logs("authentication failed")
            assert entry["source_ip"] == "127.0.0.66"
            assert (entry["tenant_id"], entry["status_code"]) == (claimed, 401)
            assert key == "" or key not in json.dumps(entry)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/api/v1/pipelines?rows=0", None, 400),
        ("/api/v1/pipelines?rows=many", None, 400),
        ("/api/v1/pipelines/executions?status=lost", None, 400),
        (RUN, {"rows": -1}, 400),
        ("/api/v1/pipelines/run/a%3Bb%0Ac", {}, 400),
        (f"/api/v1/pipelines/run/{LARGEST_TENANT}-daily_cost", {}, 404),
        ("/nowhere", None, 404),
        (RUN, None, 405),
    ],
)
def test_bad_request_is_refused(
    tmp_path: Path, target: str, body: dict[str, object] | None, status: int
) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            answer = await rig.ask(instance, target, tenant=TENANT, body=body)
            assert answer.status == status
            assert "traceback" not in answer.body.decode().lower()

    asyncio.run(check())


def test_lost_database_shows_and_heals(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            ready = await rig.ask(instance, "/health/ready")
            assert (ready.status, json.loads(ready.body)["status"]) == (200, "ready")
            await rig.database.stop()
            await asyncio.sleep(0.35)  # the last check holds for 0.3 s
            ready = await rig.ask(instance, "/health/ready")
            expected = {"status": "not_ready", "checks": {"shutdown": True, "bigquery": False}}
            assert (ready.status, json.loads(ready.body)) == (503, expected)
            answer = await rig.ask(instance, RUN, tenant=TENANT, body={})
            assert json.loads(answer.body)["error_type"] == "bigquery_unreachable"
            assert (await rig.ask(instance, "/health/live")).status == 200
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "bigquery_errors_total") >= 1
            assert sum_samples(samples, "http_requests_total", status_code="503") == 1

    asyncio.run(check())


def test_instance_that_cannot_reach_a_database_starts_and_says_so(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"BIGQUERY_ENDPOINT": "http://127.0.0.1:9"})
            assert instance.state == "ready"
            assert (await rig.ask(instance, "/health/ready")).status == 503
            assert (await rig.ask(instance, "/api/v1/pipelines", tenant=TENANT)).status == 503

    asyncio.run(check())


def test_metrics_bear_production_names_and_the_revision(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            samples = await rig.scrape(instance)
            assert {s.labels.get("revision") for s in samples} == {instance.spec.revision}
            assert sum_samples(samples, "convergence_instance_info", instance_id=instance.name) == 1
            assert sum_samples(samples, "system_memory_total_bytes") == instance.spec.memory_bytes
            used = sum_samples(samples, "system_memory_usage_bytes")
            assert 0.25 < used / instance.spec.memory_bytes < 0.45
            # A rate needs the sample at 0 before the first error.
            created = {
                (s.labels["tenant_id"], s.labels["path"], s.labels["status_code"])
                for s in samples
                if s.name == "http_requests_total"
            }
            assert (LARGEST_TENANT, "/api/v1/pipelines", "500") in created
            assert len(created) == 24 * 4 * 3

    asyncio.run(check())


def test_request_in_work_is_finished_at_shutdown(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            body: dict[str, object] = {"rows": 40_000}
            asking = asyncio.create_task(rig.ask(instance, RUN, tenant=TENANT, body=body))
            await wait_until(lambda: rig.fleet.usage(instance) > 0, 5, "the request in work")
            await rig.fleet.stop(instance, grace_s=10)
            assert (await asking).status in (200, 500)
            assert instance.exit_status == 0
            await wait_until(lambda: any("stopped" in x for x in rig.lines), 5, "the last line")

    asyncio.run(check())


def test_work_beyond_the_longest_wait_is_refused(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            heavy = "/api/v1/pipelines?rows=1000000"
            first = asyncio.create_task(rig.ask(instance, heavy, tenant=TENANT))
            await wait_until(lambda: rig.fleet.usage(instance) > 0.5, 5, "CPU use")
            answer = await rig.ask(instance, "/api/v1/pipelines", tenant=TENANT)
            assert (answer.status, json.loads(answer.body)["error_type"]) == (503, "overloaded")
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "system_cpu_usage_percent") > 50
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(check())


def test_chance_differs_from_instance_to_instance(tmp_path: Path) -> None:
    """They are forked from one parent, and would inherit its random numbers."""

    async def check() -> None:
        async with serve_rig(tmp_path, reset_share=0.005) as rig:

            async def list_failures() -> list[int]:
                unlimited = {"RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "1000000"}
                host, _, port = (await rig.start(env=unlimited)).address.partition(":")
                client, headers = HttpClient(host, int(port)), {"x-api-key": rig.keys[TENANT]}
                target = "/api/v1/pipelines?rows=1"
                answers = [await client.request("GET", target, headers) for _ in range(1000)]
                client.close()
                return [n for n, answer in enumerate(answers) if answer.status == 500]

            one, two = await list_failures(), await list_failures()
            assert one != two

    asyncio.run(check())


def test_requests_beyond_the_concurrency_are_refused(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(concurrency=2)
            target = "/api/v1/pipelines?rows=20000"
            answers = await asyncio.gather(
                *(rig.ask(instance, target, tenant=TENANT) for _ in range(5))
            )
            assert sum(answer.status == 503 for answer in answers) == 3

    asyncio.run(check())


def test_instance_without_a_collector_serves(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            (tmp_path / "logs.sock").unlink()
            instance = await rig.start()
            assert (await rig.ask(instance, "/health/live")).status == 200
            assert (await rig.ask(instance, "/api/v1/pipelines")).status == 401

    asyncio.run(check())


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            assert stat.S_IMODE((tmp_path / "api-keys.json").stat().st_mode) == 0o600
            assert len(set(rig.keys.values())) == 24

    asyncio.run(check())
