"""The fleet's promises: slots, exits, frozen processes, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from staging.model import ImageNotFoundError, NoSlotError
from staging.service.zygote_link import FleetClosedError
from tests.staging.service_support import is_alive, make_spec, serve_rig, wait_until

if TYPE_CHECKING:
    from staging.model import Instance

ROOT = Path(__file__).resolve().parents[2]


def test_replacement_takes_another_slot(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path, slots=3) as rig:
            first = await rig.start()
            await rig.fleet.kill(first)
            slots = [(await rig.start()).slot for _ in range(3)]
            assert slots == [2, 3, first.slot]
            with pytest.raises(NoSlotError):
                await rig.start()
            assert len(rig.fleet.instances()) == 3

    asyncio.run(check())


def test_unknown_image_takes_no_slot(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path, slots=1) as rig:
            with pytest.raises(ImageNotFoundError):
                await rig.start("9.9.9")
            assert (await rig.start()).state == "ready"

    asyncio.run(check())


def test_abandoned_start_leaves_neither_process_nor_lost_slot(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path, slots=1) as rig:
            for turns in range(4):
                starting = asyncio.create_task(rig.fleet.start(make_spec()))
                for _ in range(turns):
                    await asyncio.sleep(0)
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)

                async def find_slot() -> Instance:
                    while True:
                        with contextlib.suppress(NoSlotError):
                            return await rig.start()
                        await asyncio.sleep(0.01)

                instance = await asyncio.wait_for(find_slot(), 5)
                assert instance.state == "ready"
                assert rig.fleet.instances() == [instance]
                await rig.fleet.kill(instance)

    asyncio.run(check())


def test_listeners_hear_every_change(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            heard: list[tuple[str, str]] = []

            def listen(instance: Instance) -> None:
                heard.append(("plain", instance.state))

            async def listen_later(instance: Instance) -> None:
                heard.append(("async", instance.name))

            rig.fleet.subscribe(listen)
            rig.fleet.subscribe(listen_later)
            instance = await rig.start()
            await rig.fleet.stop(instance, grace_s=10)
            states = [state for kind, state in heard if kind == "plain"]
            assert states == ["starting", "ready", "stopping", "exited"]
            await asyncio.sleep(0)
            assert heard.count(("async", instance.name)) == 4
            assert rig.fleet.instances() == []

    asyncio.run(check())


def test_kill_is_noticed_at_once_with_its_status(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            seconds = []
            for _ in range(9):
                instance = await rig.start()
                os.kill(instance.pid, signal.SIGKILL)

                def is_noticed(instance: Instance = instance) -> bool:
                    return instance.state == "exited"

                seconds.append(await wait_until(is_noticed, 5, "the exit"))
                assert instance.exit_status == -signal.SIGKILL
            # A busy machine delays any single turn, so the best shows the promised 20 ms, and the
            # median that nothing polls by the second.
            assert min(seconds) < 0.02
            assert sorted(seconds)[len(seconds) // 2] < 0.25

    asyncio.run(check())


def test_frozen_instance_accepts_and_does_not_answer(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            rig.fleet.freeze(instance)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await rig.ask(instance, "/health/live")
            rig.fleet.resume(instance)
            assert (await rig.ask(instance, "/health/live")).status == 200

    asyncio.run(check())


def test_frozen_instance_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            rig.fleet.freeze(instance)
            started = time.monotonic()
            await rig.fleet.stop(instance, grace_s=0.3)
            assert 0.3 <= time.monotonic() - started < 2
            assert instance.exit_status == -signal.SIGKILL

    asyncio.run(check())


def test_usage_follows_the_work(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            assert rig.fleet.usage(instance) < 0.1
            heavy = "/api/v1/pipelines?rows=150000"
            await rig.ask(instance, heavy, tenant="acme_logistics")

            def is_busy() -> bool:
                return rig.fleet.usage(instance) > 0.6

            await wait_until(is_busy, 2, "CPU use")
            rig.fleet.freeze(instance)
            await wait_until(lambda: rig.fleet.usage(instance) == 0, 2, "no use while frozen")

    asyncio.run(check())


def test_all_are_killed_and_replaced_fast(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            for _ in range(10):
                await rig.fleet.start(make_spec())
            pids = [instance.pid for instance in rig.fleet.instances()]
            started = time.monotonic()
            await rig.fleet.kill_all()
            assert not any(is_alive(pid) for pid in pids)
            assert (await rig.start()).state == "ready"
            assert time.monotonic() - started < 1

    asyncio.run(check())


def test_lost_zygote_takes_every_instance_along(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            assert rig.fleet.zygote_pid is not None
            os.kill(rig.fleet.zygote_pid, signal.SIGKILL)
            await wait_until(lambda: instance.state == "exited", 5, "the instance's end")
            await wait_until(lambda: not is_alive(instance.pid), 5, "the process's end")
            with pytest.raises(FleetClosedError):
                await rig.fleet.start(make_spec())

    asyncio.run(check())


def test_two_fleets_run_side_by_side(tmp_path: Path) -> None:
    async def check() -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        async with serve_rig(tmp_path / "a") as one, serve_rig(tmp_path / "b") as two:
            first, second = await one.start(), await two.start()
            assert (first.slot, second.slot) == (1, 1)
            assert first.address != second.address
            for rig, instance in ((one, first), (two, second)):
                assert (await rig.ask(instance, "/health/live")).status == 200

    asyncio.run(check())


_OWNER = """
import asyncio, sys
from pathlib import Path
from tests.staging.service_support import serve_rig

async def main():
    async with serve_rig(Path(sys.argv[1])) as rig:
        pids = [(await rig.start()).pid for _ in range(3)]
        print(*pids, rig.fleet.zygote_pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_killed_owner_leaves_no_process(tmp_path: Path) -> None:
    async def check() -> None:
        owner = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _OWNER, str(tmp_path)),
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert owner.stdout is not None
        async with asyncio.timeout(20):
            pids = [int(word) for word in (await owner.stdout.readline()).split()]
        assert len(pids) == 4
        assert all(is_alive(pid) for pid in pids)
        owner.kill()
        await owner.communicate()
        await wait_until(lambda: not any(is_alive(pid) for pid in pids), 5, "every process's end")

    asyncio.run(check())
