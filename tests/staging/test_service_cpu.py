"""Builds that waste CPU: the share shows, requests still pass, and the real thread is found."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from staging.service.capacity import Capacity
from tests.staging.service_support import Rig, serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from staging.model import Instance

TENANT = "acme_logistics"
LOWEST_PRIORITY = 19


async def read_cpu(rig: Rig, instance: Instance) -> float:
    return sum_samples(await rig.scrape(instance), "system_cpu_usage_percent")


async def wait_for_cpu(rig: Rig, instance: Instance, lowest: float) -> float:
    async with asyncio.timeout(10):
        while True:
            cpu = await read_cpu(rig, instance)
            if cpu >= lowest:
                return cpu
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("tag", "lowest", "highest", "function"),
    [
        ("1.5.0-busy-poll", 82, 94, "poll_schedules"),
        ("1.5.0-hot-loop", 99, 100, "compact_journal"),
    ],
)
def test_wasteful_build_is_busy_and_still_serves(
    tmp_path: Path, tag: str, lowest: float, highest: float, function: str
) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(tag)
            assert lowest <= await wait_for_cpu(rig, instance, lowest) <= highest + 0.01
            await wait_until(lambda: rig.fleet.usage(instance) >= lowest / 100, 5, "the usage")
            for _ in range(10):
                answer = await rig.ask(instance, "/api/v1/pipelines?rows=1000", tenant=TENANT)
                assert answer.status == 200
            assert await read_cpu(rig, instance) >= lowest
            assert find_named_thread(instance.pid) == function[:15]

    asyncio.run(check())


def find_named_thread(pid: int) -> str:
    """Return the name of the thread of lowest priority, which must really have used CPU."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for thread in psutil.Process(pid).threads():
            folder = Path(f"/proc/{pid}/task/{thread.id}")
            niceness = int((folder / "stat").read_text().rpartition(")")[2].split()[16])
            if niceness == LOWEST_PRIORITY and thread.user_time + thread.system_time > 0.01:
                return (folder / "comm").read_text().strip()
        time.sleep(0.05)
    raise AssertionError("no thread of the lowest priority used any CPU")


def test_waste_costs_the_host_little(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start("1.5.0-hot-loop")
            await wait_for_cpu(rig, instance, 99)
            process = psutil.Process(instance.pid)
            before = process.cpu_times()
            await asyncio.sleep(2)
            after = process.cpu_times()
            burnt = after.user + after.system - before.user - before.system
            assert 0.01 < burnt < 0.5

    asyncio.run(check())


def test_good_build_is_idle_without_requests(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            await asyncio.sleep(0.5)
            assert await read_cpu(rig, instance) == 0

    asyncio.run(check())


def test_background_work_takes_what_requests_leave_and_ends_with_its_thread() -> None:
    now = [100.0]

    async def check() -> None:
        capacity = Capacity(2.0, 100, lambda: now[0])
        assert capacity.measure_busy_share() == 0
        capacity.take_idle(0.8, 1.0)
        assert capacity.measure_busy_share() == pytest.approx(0.8)
        working = asyncio.create_task(capacity.work(0.1))
        await asyncio.sleep(0)
        # The interpreter's lock costs an eighth: 0.05 s become 0.057.
        now[0] += 0.5
        requests = 0.05 / (1 - 0.15 * 0.8)
        assert capacity.measure_busy_share() == pytest.approx(requests + (1 - requests) * 0.8)
        now[0] += 5
        assert capacity.measure_busy_share() == 0
        working.cancel()

    asyncio.run(check())
