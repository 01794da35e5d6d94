"""Limits over the wire, blocked tenants, and the settings that an instance shows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from staging.service.errors import AuthThrottledError, RateLimitedError
from staging.service.limits import RateLimiter, RateLimits, SlidingWindow
from tests.staging.service_support import serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from staging.model import Instance
    from staging.service.http_client import HttpResponse
    from tests.staging.service_support import Rig

TENANT = "acme_logistics"
OTHER = "lumen_labs"
TARGET = "/api/v1/pipelines?rows=1"
RUN = f"/api/v1/pipelines/run/{TENANT}-daily_cost"
RUN_PATH = "/api/v1/pipelines/run/{pipeline_id}"


def name_limits(**values: float | str) -> dict[str, str]:
    """Return variables of the service by the end of their names."""
    return {f"RATE_LIMIT_{name.upper()}": str(value) for name, value in values.items()}


async def ask_often(
    rig: Rig,
    instance: Instance,
    times: int,
    *,
    tenant: str = TENANT,
    headers: Mapping[str, str] | None = None,
) -> Counter[int]:
    """Return the answers' statuses; `headers` instead of the tenant's key if given."""
    key = {"x-api-key": rig.keys[tenant]} if headers is None else dict(headers)
    answers = [await rig.ask(instance, TARGET, headers=key) for _ in range(times)]
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize(
    ("variables", "passed"),
    [
        (name_limits(tenant_requests_per_minute=30), 5),
        (name_limits(tenant_requests_per_hour=36), 6),
        (name_limits(global_requests_per_minute=18), 3),
    ],
)
def test_a_tenant_is_let_through_up_to_each_limit(
    tmp_path: Path, variables: dict[str, str], passed: int
) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env=variables)
            assert await ask_often(rig, instance, 10) == {200: passed, 429: 10 - passed}
            others = await ask_often(rig, instance, 1, tenant=OTHER)
            assert others == {429 if "GLOBAL" in next(iter(variables)) else 200: 1}

    asyncio.run(check())


def test_a_refusal_says_when_to_try_again_and_is_counted_and_logged(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            limits = name_limits(tenant_requests_per_minute=60, window_seconds=2)
            instance = await rig.start(env=limits)
            answers = [await rig.ask(instance, TARGET, tenant=TENANT) for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 429]
            left = [answer.headers["x-ratelimit-tenant-remaining"] for answer in answers]
            assert left == ["30", "0", "0"]
            assert {a.headers["x-ratelimit-tenant-limit"] for a in answers} == {"60"}
            wait_s = int(answers[2].headers["retry-after"])
            assert 1 <= wait_s <= 3
            await wait_until(lambda: bool(rig.find_logs("rate limit exceeded")), 5, "a log line")
            [entry] = rig.find_logs("rate limit exceeded")
            assert entry["message"] == "rate limit exceeded"
            found = (entry["tenant_id"], entry["status_code"], entry["error_type"])
            assert found == (TENANT, 429, "tenant_requests_per_minute")
            samples = await rig.scrape(instance)
            hits = {"tenant_id": TENANT, "path": "/api/v1/pipelines"}
            assert sum_samples(samples, "rate_limit_hits_total", **hits) == 1
            assert sum_samples(samples, "rate_limit_hits_total") == 1
            await asyncio.sleep(wait_s)
            assert (await rig.ask(instance, TARGET, tenant=TENANT)).status == 200

    asyncio.run(check())


def test_runs_have_a_limit_of_their_own(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env=name_limits(pipeline_run_per_minute=12))

            async def run() -> HttpResponse:
                return await rig.ask(instance, RUN, tenant=TENANT, body={"rows": 1})

            answers = [await run() for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 429]
            assert json.loads(answers[2].body)["error_type"] == "pipeline_run_per_minute"
            # The tenant's own limit is far, and that is what the header tells.
            assert int(answers[2].headers["x-ratelimit-tenant-remaining"]) > 300
            assert await ask_often(rig, instance, 3) == {200: 3}
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "rate_limit_hits_total", path=RUN_PATH) == 1

    asyncio.run(check())


def test_the_administration_has_a_limit_an_address(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env=name_limits(admin_tenants_per_minute=12))
            target = f"/admin/tenants/{TENANT}/api-keys"
            key = {"x-admin-key": (tmp_path / "admin-key").read_text()}

            async def ask(source: str) -> int:
                headers = {**key, "x-forwarded-for": source}
                return (await rig.ask(instance, target, headers=headers)).status

            assert [await ask("127.0.0.7") for _ in range(3)] == [200, 200, 429]
            assert await ask("127.0.0.8") == 200

    asyncio.run(check())


def test_an_address_with_too_many_refused_keys_is_not_listened_to(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            limits = name_limits(auth_failures_per_minute=60, window_seconds=3)
            instance = await rig.start(env=limits)
            attacker = {"x-api-key": f"cda.{TENANT}.guess", "x-forwarded-for": "127.0.0.66"}
            assert await ask_often(rig, instance, 8, headers=attacker) == {401: 3, 429: 5}
            right = {**attacker, "x-api-key": rig.keys[TENANT]}
            assert await ask_often(rig, instance, 1, headers=right) == {429: 1}
            elsewhere = {**right, "x-forwarded-for": "127.0.10.2"}
            assert await ask_often(rig, instance, 5, headers=elsewhere) == {200: 5}
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "auth_throttled_total") == 6
            assert sum_samples(samples, "auth_failures_total") == 3
            assert sum_samples(samples, "rate_limit_hits_total") == 0
            await asyncio.sleep(3.1)
            assert await ask_often(rig, instance, 1, headers=right) == {200: 1}

    asyncio.run(check())


def test_without_that_limit_every_key_is_looked_at(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            attacker = {"x-api-key": f"cda.{TENANT}.guess"}
            assert await ask_often(rig, instance, 100, headers=attacker) == {401: 100}
            # A refused key costs nothing.
            assert rig.fleet.usage(instance) == 0

    asyncio.run(check())


def test_a_blocked_tenant_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={"BLOCKED_TENANTS": f"{TENANT}, willow_press"})
            answer = await rig.ask(instance, TARGET, tenant=TENANT)
            assert answer.status == 403
            assert json.loads(answer.body)["error_type"] == "tenant_blocked"
            assert await ask_often(rig, instance, 3, tenant=OTHER) == {200: 3}
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "rate_limit_hits_total") == 0
            blocked = {
                s.labels["tenant_id"] for s in samples if s.name == "convergence_tenant_blocked"
            }
            assert blocked == {TENANT, "willow_press"}

    asyncio.run(check())


def test_the_settings_in_force_are_shown(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            limits = name_limits(tenant_requests_per_minute=77, window_seconds=60)
            variables = {**limits, "RESPONSE_CACHE_TTL_SECONDS": "60", "METADATA_LOG_WORKERS": "7"}
            samples = await rig.scrape(await rig.start(env=variables))
            shown = {
                s.labels["setting"]: s.value for s in samples if s.name == "convergence_setting"
            }
            expected = {
                "rate_limiting.tenant.requests_per_minute": 77,
                "rate_limiting.tenant.requests_per_hour": 100_000,
                "rate_limiting.global.requests_per_minute": 100_000,
                "rate_limiting.auth.failures_per_minute": 0,
                "rate_limiting.window_seconds": 60,
                "response_cache.ttl_seconds": 60,
                "request_timeout_seconds": 300,
                "performance.metadata_log_workers": 7,
            }
            assert {name: shown[name] for name in expected} == expected

    asyncio.run(check())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "0"),
        ("RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE", "many"),
        ("RATE_LIMIT_AUTH_FAILURES_PER_MINUTE", "-1"),
        ("RATE_LIMIT_WINDOW_SECONDS", "nan"),
        ("BLOCKED_TENANTS", "a b"),
    ],
)
def test_a_senseless_setting_keeps_the_container_from_starting(
    tmp_path: Path, name: str, value: str
) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start(env={name: value})
            assert (instance.state, instance.exit_status) == ("exited", 1)

    asyncio.run(check())


def test_a_window_slides() -> None:
    window = SlidingWindow(60.0, phase=0.0)
    for moment in (60.0, 61.0, 119.0):
        window.add(moment)
    assert window.count(119.9) == 3
    assert window.count(150.0) == pytest.approx(1.5)
    assert window.seconds_to_room(150.0, 1) == pytest.approx(10.0)
    assert window.count(160.0) == pytest.approx(1.0)
    window.add(160.0)
    assert window.seconds_to_room(160.0, 1) == pytest.approx(20.0)
    assert window.count(240.0) == 0
    assert window.seconds_to_room(240.0, 1) == 0


@pytest.mark.parametrize(("asked", "limit"), [(18, 14), (60, 14), (7, 14)])
def test_a_limit_lets_its_rate_through_at_any_time(asked: int, limit: int) -> None:
    """A limit that lets bursts through makes an alert on its refusals come and go."""
    now = [1000.0]
    limits = RateLimits(tenant=limit * 60, tenant_hour=10**6, overall=10**6, window_s=10)
    limiter = RateLimiter(limits, clock=lambda: now[0])
    passed: Counter[int] = Counter()
    for number in range(asked * 60):
        now[0] = 1000 + number / asked
        try:
            limiter.admit(TENANT, TARGET)
        except RateLimitedError:
            continue
        passed[int(now[0] - 1000) // 2] += 1
    seldom, most = min(passed[part] for part in range(10, 30)), max(passed.values())
    assert seldom >= 2 * min(asked, limit) - 3
    assert most <= 2 * asked


def test_many_addresses_do_not_try_all_at_once() -> None:
    """Each may try once a window; their tries spread over it."""
    now = [1000.0]
    limiter = RateLimiter(RateLimits(auth_failures=6, window_s=10), clock=lambda: now[0])
    tries: Counter[int] = Counter()
    for number in range(50 * 60):
        now[0] = 1000 + number / 50
        address = f"127.0.{100 + number % 16}.66"
        try:
            limiter.check_source(address)
        except AuthThrottledError:
            continue
        limiter.note_auth_failure(address)
        tries[int(now[0] - 1000) // 2] += 1
    assert all(2 <= tries[part] <= 5 for part in range(10, 30)), tries


def test_addresses_that_went_silent_are_forgotten() -> None:
    """Else an attacker with many addresses fills the memory."""
    now = [0.0]
    limiter = RateLimiter(RateLimits(auth_failures=6), clock=lambda: now[0])
    for number in range(10_000):
        now[0] += 1
        limiter.note_auth_failure(f"10.0.{number // 256}.{number % 256}")
    assert len(limiter) < 400
