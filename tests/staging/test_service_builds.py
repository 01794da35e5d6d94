"""Bad builds fail by themselves, each in its own way, and good ones do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING

import pytest

from staging.model import ImageNotFoundError
from staging.service.builds import REPOSITORY, find_build, list_images
from staging.service.http_client import ProtocolError
from staging.service.tenants import LARGEST_TENANT, list_tenants
from tests.staging.service_support import serve_rig, wait_until

if TYPE_CHECKING:
    from pathlib import Path

OTHER_TENANT = "acme_logistics"


def test_crash_at_start_ends_before_it_listens(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start("1.5.0-crash-at-start")
            assert (instance.state, instance.exit_status) == ("exited", 1)
            await wait_until(lambda: bool(rig.find_logs("container failed")), 5, "the log line")
            assert "KeyError: 'PIPELINE_STATE_BUCKET'" in rig.lines
            assert "Traceback (most recent call last):" in rig.lines

    asyncio.run(check())


def test_crash_at_start_starts_with_what_it_lacks(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            env = {"PIPELINE_STATE_BUCKET": "gs://convergence-state"}
            assert (await rig.start("1.5.0-crash-at-start", env=env)).state == "ready"

    asyncio.run(check())


def test_setting_out_of_its_range_ends_the_start(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"METADATA_LOG_WORKERS": "500"})
            assert instance.exit_status == 1

    asyncio.run(check())


def test_crash_under_traffic_dies_of_a_segmentation_fault(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start("1.5.0-crash-under-traffic")
            served = 0
            with contextlib.suppress(OSError, ProtocolError):
                while served < 100:
                    await rig.ask(instance, "/api/v1/pipelines", tenant=OTHER_TENANT)
                    served += 1
            assert 2 <= served < 100
            await wait_until(lambda: instance.state == "exited", 5, "the exit")
            assert instance.exit_status == -signal.SIGSEGV

    asyncio.run(check())


def test_endpoint_errors_fail_two_endpoints_for_every_tenant(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start("1.5.0-endpoint-errors")
            for tenant in list_tenants()[:3]:
                target = f"/api/v1/pipelines/run/{tenant}-daily_cost"
                answer = await rig.ask(instance, target, tenant=tenant, body={})
                assert answer.status == 500
                retry = f"/api/v1/pipelines/{tenant}-daily_cost/retry"
                body: dict[str, object] = {}
                answers = [
                    await rig.ask(instance, retry, tenant=tenant, body=body) for _ in range(3)
                ]
                assert any(answer.status == 200 for answer in answers)
            await rig.wait_for_status(
                instance, "/api/v1/pipelines/executions", 500, tenant=LARGEST_TENANT
            )
            entries = rig.find_logs("unhandled exception: KeyError")
            assert {entry["severity"] for entry in entries} == {"ERROR"}
            assert any(line.startswith("KeyError: 'pipeline_run_id'") for line in rig.lines)

    asyncio.run(check())


def test_tenant_errors_fail_the_largest_tenant_alone(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start("1.5.0-tenant-errors")
            for _ in range(5):
                answer = await rig.ask(instance, "/api/v1/pipelines", tenant=LARGEST_TENANT)
                assert answer.status == 500
            others = [
                (await rig.ask(instance, "/api/v1/pipelines", tenant=tenant)).status
                for tenant in list_tenants()[1:]
            ]
            assert others.count(200) >= len(others) - 2
            types = {e["error_type"] for e in rig.find_logs("unhandled exception")}
            assert types == {"AttributeError"}

    asyncio.run(check())


@pytest.mark.parametrize("tag", ["1.4.1", "1.4.2", "1.4.3"])
def test_good_build_says_its_version(tmp_path: Path, tag: str) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(tag)
            health = json.loads((await rig.ask(instance, "/health")).body)
            assert (health["version"], health["instance"]) == (tag, instance.name)

    asyncio.run(check())


@pytest.mark.parametrize(
    "image", [f"{REPOSITORY}:9.9.9", f"{REPOSITORY}", "gcr.io/elsewhere/api:1.4.2", "", ":1.4.2"]
)
def test_unknown_image_is_not_found(image: str) -> None:
    with pytest.raises(ImageNotFoundError):
        find_build(image)


def test_every_listed_image_is_found() -> None:
    assert len({find_build(image).version for image in list_images()}) == len(list_images())
