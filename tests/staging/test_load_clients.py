"""The load's clients: whose address and key they have, how they grow, retry, poll, and attack."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from staging.load.load import Load, LoadError
from staging.load.profile import Attack, Profile
from staging.load.sources import ATTACKER, DISTRIBUTED_ATTACKER, find_address
from staging.service.keys import create_api_keys, make_key
from staging.service.tenants import LARGEST_TENANT, list_tenants
from tests.staging.service_support import serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from staging.model import Instance
    from tests.staging.service_support import Rig

TENANT = "willow_press"
UNLIMITED = {
    "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "1000000",
    "RATE_LIMIT_PIPELINE_RUN_PER_MINUTE": "1000000",
}


@asynccontextmanager
async def serve_loaded(
    folder: Path, env: dict[str, str]
) -> AsyncIterator[tuple[Rig, Instance, Load]]:
    """Run an instance under load."""
    async with serve_rig(folder) as rig:
        instance = await rig.start(env=env)
        load = Load(f"http://{instance.address}", folder / "api-keys.json", seed=3)
        await load.open()
        try:
            yield rig, instance, load
        finally:
            await load.close()


def count_outcomes(load: Load, outcome: str, where: str = "") -> int:
    """Return how many requests ended so, the tenants' or those of `where`."""
    status = load.status()
    found: dict[str, Any] = status[where] if where else status
    return int(found["by_outcome"].get(outcome, 0))


def test_each_tenant_sends_from_its_own_address(tmp_path: Path) -> None:
    async def check() -> None:
        limits = {"RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "1"}
        async with serve_loaded(tmp_path, limits) as (rig, _, load):
            await load.set_rate(300)

            def find_sources() -> set[tuple[str, str]]:
                found = rig.find_logs("rate limit exceeded")
                return {(e["tenant_id"], e["source_ip"]) for e in found}

            await wait_until(lambda: len(find_sources()) == len(list_tenants()), 10, "refusals")
            assert find_sources() == {(t, find_address(t)) for t in list_tenants()}

    asyncio.run(check())


def test_addresses_are_the_tenants_own() -> None:
    assert find_address(LARGEST_TENANT) == "127.0.10.1"
    assert find_address(TENANT) == "127.0.10.24"
    addresses = {*map(find_address, list_tenants()), ATTACKER, *DISTRIBUTED_ATTACKER}
    assert len(addresses) == 24 + 1 + 16


def test_statistics_tell_tenants_apart(tmp_path: Path) -> None:
    async def check() -> None:
        blocked = {**UNLIMITED, "BLOCKED_TENANTS": TENANT}
        async with serve_loaded(tmp_path, blocked) as (_, _, load):
            await load.set_tenant_rate(TENANT, 30)
            await wait_until(lambda: count_outcomes(load, "403") > 30, 10, "refusals")
            tenants = load.status()["tenants"]
            # A refusal is an answer, and no failure of the service.
            assert tenants[TENANT]["failed_share"] == 0
            assert tenants[LARGEST_TENANT]["rps"] > 0
            assert 0 < tenants[LARGEST_TENANT]["p95_ms"] < 1000
            await load.set_weight_factor(100)

            def fails() -> bool:
                tenants = load.status()["tenants"]
                return bool(tenants.get(LARGEST_TENANT, {}).get("failed_share", 0) > 0.3)

            await wait_until(fails, 10, "failures of the largest tenant")
            assert load.status()["tenants"][TENANT]["failed_share"] == 0

    asyncio.run(check())


def test_refused_requests_are_tried_again_by_those_who_do(tmp_path: Path) -> None:
    async def check() -> None:
        limits = {**UNLIMITED, "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "1"}
        async with serve_loaded(tmp_path, limits) as (rig, instance, load):

            async def measure() -> float:
                """Return the largest tenant's refusals per request that it meant to send."""
                before = await count_hits()
                await load.set_tenant_rate(LARGEST_TENANT, 20)
                await load.resume()
                await asyncio.sleep(0.7)
                await load.drain()
                return await count_hits() - before

            async def count_hits() -> float:
                samples = await rig.scrape(instance)
                return sum_samples(samples, "rate_limit_hits_total", tenant_id=LARGEST_TENANT)

            await load.drain()
            once = await measure()
            await load.set_retries(LARGEST_TENANT, on=True)
            assert 3 < await measure() / once < 5

    asyncio.run(check())


def test_a_tenant_grows_alone(tmp_path: Path) -> None:
    keys = create_api_keys(tmp_path / "keys.json")
    profile = Profile(keys, random.Random(1))  # noqa: S311 - a test
    profile.set_factor(LARGEST_TENANT, 2)
    assert profile.volume == pytest.approx(1.15)
    counts = Counter(profile.draw(1.0).tenant for _ in range(20_000))
    assert counts[LARGEST_TENANT] / 20_000 == pytest.approx(0.3 / 1.15, abs=0.02)
    profile.reset()
    assert profile.volume == pytest.approx(1.0)


def test_a_client_polls_whatever_it_is_answered(tmp_path: Path) -> None:
    async def check() -> None:
        limits = {**UNLIMITED, "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE": "60"}
        async with serve_loaded(tmp_path, limits) as (rig, instance, load):
            await load.set_rate(0)
            await load.set_polling(TENANT, 60)
            await wait_until(lambda: count_outcomes(load, "429") > 50, 15, "refusals")
            assert set(load.status()["tenants"]) == {TENANT}
            samples = await rig.scrape(instance)
            polled = {"tenant_id": TENANT, "path": "/api/v1/pipelines/executions"}
            assert sum_samples(samples, "rate_limit_hits_total", **polled) > 40
            await load.set_polling(TENANT, 0)
            assert await load.drain()
            sent = load.status()["sent"]
            await load.resume()
            await asyncio.sleep(0.5)
            assert load.status()["sent"] == sent

    asyncio.run(check())


@pytest.mark.parametrize("tenant", ["", TENANT])
def test_an_attacker_guesses_keys(tmp_path: Path, tenant: str) -> None:
    async def check() -> None:
        async with serve_loaded(tmp_path, UNLIMITED) as (rig, instance, load):
            await load.set_attack(DISTRIBUTED_ATTACKER, tenant=tenant, rate=200)
            await wait_until(lambda: count_outcomes(load, "401", "attacker") > 100, 10, "refusals")
            assert load.status()["attacker"]["rate"] == 200
            await load.end_attack()
            await load.drain()
            # The tenants' clients are none of it.
            assert count_outcomes(load, "401") == 0
            refused = rig.find_logs("authentication failed")
            assert {e["source_ip"] for e in refused} == set(DISTRIBUTED_ATTACKER)
            claimed = {e["tenant_id"] for e in refused}
            assert claimed == {tenant} if tenant else len(claimed) > 15
            assert len({e["key_prefix"] for e in refused}) > 90
            samples = await rig.scrape(instance)
            failures = sum_samples(samples, "auth_failures_total")
            assert failures == count_outcomes(load, "401", "attacker")

    asyncio.run(check())


def test_no_guess_is_made_twice() -> None:
    attack = Attack([ATTACKER], "", random.Random(1))  # noqa: S311 - a test
    drawn = [attack.draw() for _ in range(1000)]
    assert len({planned.headers["x-api-key"] for planned in drawn}) == 1000
    assert {planned.source for planned in drawn} == {ATTACKER}


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_tenants_clients_use_the_key_in_a_file(tmp_path: Path, form: str) -> None:
    async def check() -> None:
        key = make_key(TENANT)
        file = tmp_path / "new.key"
        file.write_text(f"{key}\n" if form == "text" else json.dumps({"api_key": key}))
        async with serve_loaded(tmp_path, UNLIMITED) as (rig, _, load):
            await load.set_rate(200)
            await load.set_tenant_rate(TENANT, 5)
            await wait_until(lambda: TENANT in load.status()["tenants"], 5, "answers")
            await load.use_key(TENANT, file)
            await wait_until(lambda: count_outcomes(load, "401") > 10, 10, "refusals")
            [prefix] = {e["key_prefix"] for e in rig.find_logs("authentication failed")}
            assert key.startswith(prefix)
            assert {e["tenant_id"] for e in rig.find_logs("authentication failed")} == {TENANT}
            await load.use_key(TENANT, None)
            await load.drain()
            await load.reset()
            await wait_until(lambda: load.status()["ok"] > 60, 10, "answers")
            assert count_outcomes(load, "401") == 0

    asyncio.run(check())


def test_an_attack_changes_nothing_in_what_tenants_draw(tmp_path: Path) -> None:
    keys = create_api_keys(tmp_path / "keys.json")
    one, two = (Profile(keys, random.Random("1/requests")) for _ in range(2))  # noqa: S311 - a test
    attack = Attack([ATTACKER], "", random.Random("1/guesses"))  # noqa: S311 - a test
    for _ in range(20):
        attack.draw()
        assert one.draw(1.0) == two.draw(1.0)


def test_senseless_orders_are_refused_and_change_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        create_api_keys(tmp_path / "keys.json")
        (tmp_path / "bad.key").write_text("a\nb")
        load = Load("http://127.0.0.1:9", tmp_path / "keys.json")
        await load.open()
        try:
            orders: tuple[Callable[[], Awaitable[None]], ...] = (
                lambda: load.set_tenant_rate("nobody", 2),
                lambda: load.set_tenant_rate(TENANT, -1),
                lambda: load.set_tenant_rate(TENANT, float("nan")),
                lambda: load.set_polling("nobody", 1),
                lambda: load.set_polling(TENANT, -1),
                lambda: load.set_attack([], tenant=""),
                lambda: load.set_attack([ATTACKER], tenant="nobody"),
                lambda: load.use_key("nobody", None),
                lambda: load.use_key(TENANT, tmp_path / "none.key"),
                lambda: load.use_key(TENANT, tmp_path / "bad.key"),
            )
            for order in orders:
                with pytest.raises(LoadError):
                    await order()
            assert load.status()["rate"] == 60.0
            assert load.status()["attacker"]["rate"] == 0
        finally:
            await load.close()

    asyncio.run(check())
