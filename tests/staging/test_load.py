"""The load generator: open loop, steerable, and unimpressed by what becomes of its requests."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import time
from collections import Counter
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from staging.load.arrivals import Arrivals
from staging.load.load import Load, LoadError
from staging.load.profile import LARGEST_SHARE, Profile
from staging.load.sender import MAX_OUTSTANDING
from staging.service.keys import create_api_keys
from staging.service.tenants import LARGEST_TENANT
from tests.staging.service_support import is_alive, serve_rig, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def serve_load(url: str, keys: Path) -> AsyncIterator[Load]:
    """Run a load against `url`."""
    load = Load(url, keys)
    await load.open()
    try:
        yield load
    finally:
        await load.close()


def test_same_seed_draws_the_same_requests(tmp_path: Path) -> None:
    keys = create_api_keys(tmp_path / "keys.json")
    one, two, other = (Profile(keys, random.Random(seed)) for seed in (1, 1, 2))  # noqa: S311 - a test
    drawn = [one.draw(1.0) for _ in range(50)]
    assert drawn == [two.draw(1.0) for _ in range(50)]
    assert drawn != [other.draw(1.0) for _ in range(50)]


def test_largest_tenant_has_its_share(tmp_path: Path) -> None:
    keys = create_api_keys(tmp_path / "keys.json")
    profile = Profile(keys, random.Random(1))  # noqa: S311 - a test
    counts = Counter(profile.draw(1.0).headers["x-api-key"] for _ in range(10_000))
    assert len(counts) == 24
    assert counts.most_common(1)[0][0] == keys[LARGEST_TENANT]
    assert abs(counts[keys[LARGEST_TENANT]] / 10_000 - LARGEST_SHARE) < 0.02


def test_requests_arrive_at_the_rate_and_are_served(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            url = f"http://{instance.address}"
            async with serve_load(url, tmp_path / "api-keys.json") as load:
                await asyncio.sleep(3)
                status = load.status()
            # 180 are expected; four standard deviations of a Poisson count are 54.
            assert 120 <= status["sent"] <= 240
            assert status["failed"] <= 8, status
            assert status["by_origin"] == {"service": status["ok"] + status["failed"]}
            assert status["latency_ms"]["p50"] < 100

    asyncio.run(check())


def test_heavier_requests_overload_the_service(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            url = f"http://{instance.address}"
            async with serve_load(url, tmp_path / "api-keys.json") as load:
                await load.set_weight_factor(10)

                def is_refused() -> bool:
                    return bool(load.status()["by_outcome"].get("503", 0) > 20)

                await wait_until(is_refused, 10, "503s of an overloaded instance")
                await wait_until(lambda: rig.fleet.usage(instance) > 0.9, 5, "a busy CPU")

                def is_slow() -> bool:
                    return bool(load.status()["latency_ms"]["p95"] > 1000)

                await wait_until(is_slow, 10, "latency of queued requests")

    asyncio.run(check())


def test_vanished_service_is_counted_and_found_again(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path, slots=1) as rig:
            instance = await rig.start()
            url = f"http://{instance.address}"
            async with serve_load(url, tmp_path / "api-keys.json") as load:
                await wait_until(lambda: load.status()["ok"] > 5, 5, "answers")
                await rig.fleet.kill(instance)

                def is_missed() -> bool:
                    return bool(load.status()["by_outcome"].get("unreachable", 0) > 10)

                await wait_until(is_missed, 5, "refused connections")
                before = load.status()["ok"]
                await rig.start()
                await wait_until(lambda: load.status()["ok"] > before + 5, 5, "answers again")

    asyncio.run(check())


def test_silent_service_does_not_pile_up_requests(tmp_path: Path) -> None:
    async def check() -> None:
        create_api_keys(tmp_path / "keys.json")
        # The kernel accepts for a socket that nobody reads from.
        silent = socket.create_server(("127.0.0.1", 0), backlog=2 * MAX_OUTSTANDING)
        port = silent.getsockname()[1]
        load_url = f"http://127.0.0.1:{port}"
        with silent:
            async with serve_load(load_url, tmp_path / "keys.json") as load:
                await load.set_rate(1000)

                def is_shed() -> bool:
                    return bool(load.status()["by_outcome"].get("shed", 0) > 50)

                await wait_until(is_shed, 10, "requests that were not sent")
                assert load.status()["outstanding"] <= MAX_OUTSTANDING
                await load.set_rate(0)
                sent = load.status()["sent"]
                assert not await load.drain(deadline_s=0.3)
                assert load.status()["sent"] == sent

    asyncio.run(check())


def test_drain_pauses_and_reset_goes_back_to_the_usual(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            url = f"http://{instance.address}"
            async with serve_load(url, tmp_path / "api-keys.json") as load:
                await load.set_weight_factor(3)
                await wait_until(lambda: load.status()["ok"] > 5, 5, "answers")
                assert await load.drain()
                paused = load.status()
                assert (paused["paused"], paused["outstanding"]) == (True, 0)
                await load.reset()
                usual = load.status()
                assert (usual["rate"], usual["weight_factor"]) == (60.0, 1.0)
                assert (usual["paused"], usual["ok"]) == (False, 0)
                await wait_until(lambda: load.status()["ok"] > 5, 5, "answers again")

    asyncio.run(check())


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    async def check() -> None:
        create_api_keys(tmp_path / "keys.json")
        async with serve_load("http://127.0.0.1:9", tmp_path / "keys.json") as load:
            for wrong in (-1.0, float("nan"), float("inf")):
                with pytest.raises(LoadError):
                    await load.set_rate(wrong)
                with pytest.raises(LoadError):
                    await load.set_weight_factor(wrong)
            assert load.status()["rate"] == 60.0

    asyncio.run(check())


def test_killed_generator_is_noticed(tmp_path: Path) -> None:
    async def check() -> None:
        create_api_keys(tmp_path / "keys.json")
        async with serve_load("http://127.0.0.1:9", tmp_path / "keys.json") as load:
            pid = load.pid
            assert pid is not None
            os.kill(pid, 9)
            await wait_until(lambda: load.pid is None, 5, "the exit")
            assert not is_alive(pid)
            with pytest.raises(LoadError):
                await load.pause()

    asyncio.run(check())


def test_even_arrivals_vary_less_than_chance_has_it() -> None:
    async def measure(evenness: int) -> float:
        moments: list[float] = []
        arrivals = Arrivals(lambda: moments.append(time.monotonic()), random.Random(1), 60.0)  # noqa: S311 - a test
        arrivals.set_evenness(evenness)
        running = asyncio.create_task(arrivals.run())
        await asyncio.sleep(2)
        running.cancel()
        gaps = [after - before for before, after in pairwise(moments)]
        return statistics.stdev(gaps) / statistics.mean(gaps)

    assert asyncio.run(measure(16)) < 0.6 < asyncio.run(measure(1))
