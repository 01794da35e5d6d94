"""API keys over the wire: which open, which do not and why, and their administration."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

from staging.control.key_table import KeyTable
from tests.staging.service_support import serve_rig, sum_samples, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from staging.model import Instance
    from staging.service.http_client import HttpResponse
    from tests.staging.service_support import Rig

TENANT = "acme_logistics"
TARGET = "/api/v1/pipelines"
KEYS = f"/admin/tenants/{TENANT}/api-keys"


async def ask_admin(
    rig: Rig,
    instance: Instance,
    target: str = KEYS,
    *,
    method: str = "GET",
    body: dict[str, object] | None = None,
) -> HttpResponse:
    """Return the answer to an administrator."""
    headers = {"x-admin-key": (rig.folder / "admin-key").read_text()}
    return await rig.ask(instance, target, method=method, body=body, headers=headers)


async def try_key(rig: Rig, instance: Instance, key: str) -> int:
    """Return the status of the answer to this key."""
    return (await rig.ask(instance, TARGET, headers={"x-api-key": key})).status


async def wait_for_key(rig: Rig, instance: Instance, key: str, status: int) -> float:
    """Return the seconds until the key is answered so."""
    started = time.monotonic()
    while await try_key(rig, instance, key) != status:
        if time.monotonic() - started > 5:
            raise TimeoutError(f"the key is not answered {status}")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def find_refusals(rig: Rig) -> list[dict[str, Any]]:
    """Return the log entries of refused keys."""
    return rig.find_logs("authentication failed")


def test_refused_keys_say_why_and_show_only_their_prefix(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            right = rig.keys[TENANT]
            rig.update_key(TENANT, is_active="false")
            rig.update_key("lumen_labs", expires_at="2026-01-01T00:00:00Z")
            await wait_for_key(rig, instance, right, 401)
            await wait_for_key(rig, instance, rig.keys["lumen_labs"], 401)
            rig.lines.clear()
            for key in (right, rig.keys["lumen_labs"], f"{right}x", "cda.nobody.guess", "x.y", ""):
                assert await try_key(rig, instance, key) == 401
            await wait_until(lambda: len(find_refusals(rig)) == 6, 5, "log lines")
            start = right.split(".")[2][:4]
            expected = [
                ("inactive_key", TENANT, f"cda.{TENANT}.{start}"),
                ("expired_key", "lumen_labs", rig.keys["lumen_labs"][: len("cda.lumen_labs.") + 4]),
                ("unknown_key", TENANT, f"cda.{TENANT}.{start}"),
                ("unknown_key", "unknown", "cda.nobody.gues"),
                ("unknown_key", "unknown", "malformed"),
                ("unknown_key", "unknown", "none"),
            ]
            found = find_refusals(rig)
            assert [(e["error_type"], e["tenant_id"], e["key_prefix"]) for e in found] == expected
            assert not any(key in line for line in rig.lines for key in rig.keys.values())

    asyncio.run(check())


def test_change_of_the_table_is_in_force_within_half_a_second(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            key = rig.keys[TENANT]
            assert await try_key(rig, instance, key) == 200
            rig.update_key(TENANT, is_active="false")
            assert await wait_for_key(rig, instance, key, 401) < 0.6
            rig.update_key(TENANT, is_active="true")
            assert await wait_for_key(rig, instance, key, 200) < 0.6

    asyncio.run(check())


def test_keys_known_stay_in_force_while_the_database_is_lost(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            await rig.database.stop()
            await asyncio.sleep(1)
            # The request itself needs the database; its key was right.
            assert await try_key(rig, instance, rig.keys[TENANT]) == 503
            assert await try_key(rig, instance, f"{rig.keys[TENANT]}x") == 401
            without = await rig.start(env={"BIGQUERY_ENDPOINT": "http://127.0.0.1:9"})
            assert await try_key(rig, without, "cda.a.b") == 503

    asyncio.run(check())


def test_key_is_issued_listed_and_revoked(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance, other = await rig.start(), await rig.start()
            body: dict[str, object] = {"expires_in_days": 30}
            answer = await ask_admin(rig, instance, method="POST", body=body)
            issued = json.loads(answer.body)
            assert answer.status == 201
            assert issued["tenant_id"] == TENANT
            assert issued["api_key"].startswith(issued["key_prefix"])
            assert await try_key(rig, instance, issued["api_key"]) == 200
            assert await wait_for_key(rig, other, issued["api_key"], 200) < 0.6
            assert await try_key(rig, other, rig.keys[TENANT]) == 200
            listed = json.loads((await ask_admin(rig, other)).body)["api_keys"]
            assert [key["is_active"] for key in listed] == [True, True]
            assert listed[0]["key_id"] == issued["key_id"]
            assert "key_hash" not in listed[0]
            answer = await ask_admin(rig, other, f"{KEYS}/{issued['key_id']}", method="DELETE")
            assert (answer.status, answer.body) == (204, b"")
            assert await try_key(rig, other, issued["api_key"]) == 401
            assert await wait_for_key(rig, instance, issued["api_key"], 401) < 0.6
            assert await try_key(rig, instance, rig.keys[TENANT]) == 200
            assert not any(issued["api_key"] in line for line in rig.lines)

    asyncio.run(check())


def test_a_wrong_admin_key_is_refused(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            for headers in ({}, {"x-admin-key": "guess"}, {"x-admin-key": rig.keys[TENANT]}):
                answer = await rig.ask(instance, KEYS, body={"a": 1}, headers=headers)
                assert answer.status == 401
            samples = await rig.scrape(instance)
            assert sum_samples(samples, "auth_failures_total", tenant_id="unknown") == 3

    asyncio.run(check())


@pytest.mark.parametrize(
    ("target", "method", "body", "status"),
    [
        (KEYS, "POST", {"expires_in_days": 0}, 400),
        (KEYS, "POST", {"expires_in_days": "soon"}, 400),
        ("/admin/tenants/nobody_here/api-keys", "POST", {}, 404),
        ("/admin/tenants/a%27b%20c/api-keys", "GET", None, 400),
        (f"{KEYS}/key-000000000000", "DELETE", None, 404),
        (f"{KEYS}/x%27%20OR%20TRUE", "DELETE", None, 404),
    ],
)
def test_a_senseless_order_changes_nothing(
    tmp_path: Path, target: str, method: str, body: dict[str, object] | None, status: int
) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            answer = await ask_admin(rig, instance, target, method=method, body=body)
            assert answer.status == status, answer.body
            listed = json.loads((await ask_admin(rig, instance)).body)["api_keys"]
            assert [key["is_active"] for key in listed] == [True]

    asyncio.run(check())


def test_the_baselines_keys_end_and_go_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path) as rig:
            instance = await rig.start()
            table = KeyTable(rig.database.store, rig.keys, tmp_path)
            rig.database.reset()
            table.restore()
            table.set_expiry([TENANT], time.time() - 60)
            await wait_for_key(rig, instance, rig.keys[TENANT], 401)
            assert await try_key(rig, instance, rig.keys["lumen_labs"]) == 200
            table.set_expiry([TENANT], time.time() + 60)
            await wait_for_key(rig, instance, rig.keys[TENANT], 200)

    asyncio.run(check())


def test_the_admin_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def check() -> None:
        async with serve_rig(tmp_path):
            assert stat.S_IMODE((tmp_path / "admin-key").stat().st_mode) == 0o600

    asyncio.run(check())
