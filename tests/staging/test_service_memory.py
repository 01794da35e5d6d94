"""What instances keep in memory really fills them, and the platform kills one that is too full."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from staging.cloud_run.models import Place
from staging.cloud_run.platform_log import PlatformLog
from staging.model import Instance
from staging.service.exports import ROW_BYTES
from staging.service.http_client import HttpClient, ProtocolError
from staging.service.memory import fill_in_slices, read_used_bytes
from tests.staging.service_support import (
    READY_DEADLINE_S,
    Rig,
    make_spec,
    serve_rig,
    sum_samples,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TENANT = "acme_logistics"
LIST = "/api/v1/pipelines?rows=1"
EXPORT = "/api/v1/pipelines/executions?export"
GIB = 1024**3
# Each instance asks its database for keys anew; a tenant's own limit is far away.
ENV = {"RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "100000"}


async def start(rig: Rig, tag: str, memory_bytes: int = 4 * GIB) -> Instance:
    spec = replace(make_spec(tag), env=ENV, memory_bytes=memory_bytes)
    instance = await rig.fleet.start(spec)
    assert await rig.fleet.wait_ready(instance, READY_DEADLINE_S)
    return instance


async def ask_often(rig: Rig, instance: Instance, times: int) -> list[int]:
    """Return the statuses of as many requests as were answered, over one connection."""
    host, _, port = instance.address.partition(":")
    client, headers = HttpClient(host, int(port)), {"x-api-key": rig.keys[TENANT]}
    statuses = []
    try:
        for _ in range(times):
            statuses.append((await client.request("GET", LIST, headers)).status)  # noqa: PERF401
    except (OSError, ProtocolError):
        pass
    finally:
        client.close()
    return statuses


async def read_share(rig: Rig, instance: Instance) -> float:
    samples = await rig.scrape(instance)
    used = sum_samples(samples, "system_memory_usage_bytes")
    return used / sum_samples(samples, "system_memory_total_bytes")


def test_idle_instance_uses_a_good_quarter_as_platform_and_metric_agree(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await start(rig, "1.4.2")
            share = await read_share(rig, instance)
            assert 0.25 <= share <= 0.45
            assert abs(rig.fleet.memory(instance) / (4 * GIB) - share) < 0.01
            await ask_often(rig, instance, 300)
            assert await read_share(rig, instance) - share < 0.03
            await rig.fleet.kill(instance)
            assert rig.fleet.memory(instance) == 0
            assert instance.memory_at_kill is None

    asyncio.run(check())


def test_oversized_cache_fills_nine_tenths_and_stays(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await start(rig, "1.5.0-oversized-cache")
            assert set(await ask_often(rig, instance, 200)) == {200}
            full = await read_share(rig, instance)
            assert 0.88 < full < 0.92
            assert set(await ask_often(rig, instance, 200)) == {200}
            assert abs(await read_share(rig, instance) - full) < 0.01
            assert instance.state == "ready"

    asyncio.run(check())


def test_leaking_instance_is_killed_for_its_memory(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await start(rig, "1.5.0-memory-leak", 2 * GIB)
            served = await ask_often(rig, instance, 200)
            assert len(served) == 200
            assert 0.955 < await read_share(rig, instance) < 1
            served = await ask_often(rig, instance, 5000)
            assert 300 < len(served) < 5000
            await wait_until(lambda: instance.state == "exited", 5, "the exit")
            assert instance.exit_status == -signal.SIGKILL
            assert instance.memory_at_kill is not None
            assert 2 * GIB < instance.memory_at_kill < 2.1 * GIB

    asyncio.run(check())


def test_exports_are_kept_until_they_are_fetched(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await start(rig, "1.4.2")
            before = rig.fleet.memory(instance)
            answer = await rig.ask(instance, f"{EXPORT}=new&rows=32768", tenant=TENANT)
            export = json.loads(answer.body)
            assert (answer.status, export["bytes"]) == (200, 32768 * ROW_BYTES)
            grown = rig.fleet.memory(instance) - before
            assert 0.95 < grown / export["bytes"] < 1.1
            fetch = f"{EXPORT}={export['export_id']}&rows=1"
            assert (await rig.ask(instance, fetch, tenant="blue_harbor_bank")).status == 404
            assert (await rig.ask(instance, fetch, tenant=TENANT)).status == 200
            assert rig.fleet.memory(instance) - before < grown / 2
            assert (await rig.ask(instance, fetch, tenant=TENANT)).status == 404
            assert (await rig.ask(instance, f"{EXPORT}=a/b", tenant=TENANT)).status == 400

    asyncio.run(check())


def test_reference_data_fills_running_and_new_instances_alike(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await start(rig, "1.4.2")
            before = rig.fleet.memory(instance)
            rig.sources.grow_reference(GIB)
            await wait_until(lambda: rig.fleet.memory(instance) - before > 0.95 * GIB, 10, "growth")
            other = await start(rig, "1.4.1")
            await wait_until(lambda: rig.fleet.memory(other) - before > 0.95 * GIB, 10, "growth")
            assert rig.fleet.memory(other) - before < 1.15 * GIB

    asyncio.run(check())


def test_memory_is_filled_in_slices_that_let_others_work() -> None:
    async def check() -> None:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(take_turns())
        before = read_used_bytes()
        kept = await fill_in_slices(GIB)
        others.cancel()
        assert read_used_bytes() - before > 0.9 * GIB
        assert len(kept) > 50
        assert turns >= len(kept)

    asyncio.run(check())


class KeptLog:
    """A sink that keeps what is written to it."""

    def __init__(self) -> None:
        """Start empty."""
        self.entries: list[Mapping[str, object]] = []

    def write(self, entry: Mapping[str, object]) -> None:
        """Keep an entry."""
        self.entries.append(entry)


def test_platform_says_how_much_memory_was_too_much() -> None:
    sink = KeptLog()
    log = PlatformLog(sink, Place("project", "1", "us-central1", 60.0), "service")
    instance = Instance("one", make_spec(), 1, "127.0.0.1:1", 1, "exited", exit_status=-9)
    log.exited(instance)
    assert [entry["textPayload"] for entry in sink.entries] == ["Container terminated on signal 9."]
    instance.memory_at_kill = 4 * GIB + 17 * 1024**2
    sink.entries.clear()
    log.exited(instance)
    assert sink.entries[0]["severity"] == "ERROR"
    assert sink.entries[0]["textPayload"] == (
        "Memory limit of 4096 MiB exceeded with 4113 MiB used. Consider increasing the memory"
        " limit, see https://cloud.google.com/run/docs/configuring/memory-limits"
    )
