"""Temporary changes: listed with their end, first once that has passed, and taken back at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbook.timeline import Timeline
from tests.unit.hostile_api import serve, write_endpoints
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.service_json import make_template
from tests.unit.test_mitigate_again import HOST_PATH, list_revisions, make_service
from tests.unit.test_mitigate_bad_input import Responder, assert_refused

LIMIT = "RATE_LIMIT_TENANT_REQUESTS_PER_MINUTE"
CACHE = "RESPONSE_CACHE_TTL_SECONDS"


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[Responder]:
    """Return a responder whose service runs with both settings."""
    env = [{"name": LIMIT, "value": "1200"}, {"name": CACHE, "value": "60"}]
    container = {"image": "repo/api:1.4.2", "env": env}
    service = make_service(template=make_template(containers=[container]))
    replies = {
        f"/v2/{HOST_PATH}": Reply(json.dumps(service).encode()),
        f"/v2/{HOST_PATH}/revisions": list_revisions(),
    }
    with serve_replies(replies) as server:
        write_endpoints(tmp_path / "target", os.getpid(), server.url)
        yield Responder(tmp_path)


def record(responder: Responder, change: str, name: str, value: str, ends: float | None) -> None:
    """Put a setting in force on the timeline that ends in so many seconds, or never."""
    timeline = Timeline(responder.state / "local.sqlite3", "local")
    field = f"env.{name}"
    detail: dict[str, Any] = {"lasting": [field], "summary": "Set.", "patch": {}}
    if ends is not None:
        moment = datetime.now(UTC) + timedelta(seconds=ends)
        detail["expires_at"] = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    for phase in ("planned", "applied", "verified"):
        timeline.append(
            change,
            "mitigate.set-rate-limit",
            phase,
            before={field: None},
            after={field: value},
            detail=detail,
        )


def read_list(responder: Responder) -> dict[str, Any]:
    """Return what `invoke mitigate` lists."""
    done = responder.run("mitigate", "--json", RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_has_expired_comes_first(responder: Responder) -> None:
    """The older one is over, the newer one is not: the older one leads, and is to be undone."""
    record(responder, "aaaaaa", LIMIT, "1200", ends=-7200)
    record(responder, "bbbbbb", CACHE, "60", ends=3600)
    told = read_list(responder)
    listed = told["data"]["open"]
    assert [(one["change"], one["expired"]) for one in listed] == [
        ("aaaaaa", True),
        ("bbbbbb", False),
    ]
    assert "2 h 0 min ago: expired" in listed[0]["ends"]
    assert listed[1]["ends"].startswith("in 59 min")
    shown = responder.run("mitigate", RUNBOOK_API_DEADLINE_S="10")
    assert "1 of them is past the time" in shown.stdout
    assert "Next: invoke mitigate.undo --expired" in shown.stdout


def test_what_has_not_expired_is_not_taken_back(responder: Responder) -> None:
    """Neither what still has time nor what has no end."""
    record(responder, "aaaaaa", LIMIT, "1200", ends=60)
    record(responder, "bbbbbb", CACHE, "60", ends=None)
    done = responder.run("mitigate.undo", "--expired", "--json", RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["undone"] == []


def test_all_expired_are_planned_the_newest_first(responder: Responder) -> None:
    """A dry run names each of them and changes nothing."""
    record(responder, "aaaaaa", LIMIT, "1200", ends=-60)
    record(responder, "bbbbbb", CACHE, "60", ends=-60)
    arguments = ("mitigate.undo", "--expired", "--dry-run", "--json")
    done = responder.run(*arguments, RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 0, done.stdout + done.stderr
    undone = json.loads(done.stdout)["undone"]
    assert [one["change"] for one in undone] == ["bbbbbb", "aaaaaa"]
    assert all("from " in one["told"] for one in undone)


def test_one_that_fails_does_not_keep_the_others(responder: Responder) -> None:
    """The exit code is the worst of all; each has its own sentence."""
    record(responder, "aaaaaa", LIMIT, "1200", ends=-60)
    record(responder, "bbbbbb", CACHE, "60", ends=-60)
    done = responder.run("mitigate.undo", "--expired", "--json", RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 1, done.stdout + done.stderr
    undone = json.loads(done.stdout)["undone"]
    assert [one["exit_code"] for one in undone] == [1, 1]
    assert all("othing was changed" in one["told"] for one in undone)


@pytest.mark.parametrize(
    "arguments",
    [
        ["mitigate.undo", "--expired", "--change=aaaaaa"],
        ["mitigate.enable-caching", "--for=60"],
        ["mitigate.enable-caching", "--for=-60m"],
        ["mitigate.enable-caching", "--for=99999d"],
        ["mitigate.enable-caching", "--ttl-seconds=0"],
        ["mitigate.set-timeout", "--seconds=3601"],
        ["mitigate.set-timeout", "--platform=nomad"],
        ["mitigate.set-rate-limit"],
        ["mitigate.set-rate-limit", "--requests-per-minute=$(id)"],
        ["mitigate.scale-up", "--memory=8GB"],
        ["mitigate.scale-up", "--replicas=3"],
        ["mitigate.restart", "--platform=kubernetes; id"],
        ["mitigate.block-tenant", "--tenant=x"],
        ["mitigate.block-tenant", '--tenant=a"} or vector(1)'],
        ["mitigate.block-tenant", "--tenant=a,b,c"],
    ],
)
def test_what_makes_no_sense_is_usage(arguments: list[str], tmp_path: Path) -> None:
    """One sentence, one next step; nothing is asked of anybody."""
    responder = Responder(tmp_path)
    with serve("503") as api:
        write_endpoints(tmp_path / "target", os.getpid(), api.url)
        assert_refused(responder.run(*arguments), 2)
        assert api.writes == 0
    assert not responder.state.exists()


def test_a_tenant_that_nobody_knows_is_not_blocked(tmp_path: Path) -> None:
    """No traffic and no key: a slip of the finger, or a guess."""
    responder = Responder(tmp_path)
    with serve("503") as api:
        write_endpoints(tmp_path / "target", os.getpid(), api.url)
        assert_refused(responder.run("mitigate.block-tenant", "--tenant=nobody_known"), 4)
        assert api.writes == 0


def test_a_cluster_that_is_not_named_is_usage(tmp_path: Path) -> None:
    """`--platform=kubernetes` on a target without a cluster changes nothing."""
    responder = Responder(tmp_path)
    with serve("503") as api:
        write_endpoints(tmp_path / "target", os.getpid(), api.url)
        done = responder.run("mitigate.restart", "--platform=kubernetes")
        assert_refused(done, 2)
        assert "names no Kubernetes cluster" in done.stderr
