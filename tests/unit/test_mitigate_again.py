"""A change that is typed again: what an earlier one left is known, and old ones are not revived."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runbook.timeline import Timeline
from tests.unit.hostile_api import write_endpoints
from tests.unit.plain_server import Answer, PlainServer, Reply, serve_replies
from tests.unit.service_json import BAD, GOOD, PATH, SERVICE, by_name, make_template, to_latest
from tests.unit.test_mitigate_bad_input import Responder

OLDER = f"{SERVICE}-00001-old"
STAMP = "20261101t030000z"
PINNED = {"traffic": [{"revision": GOOD, "percent": 100}]}
HOST_PATH = PATH.replace("projects/p/", "projects/convergence-local/")


def make_service(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the service as v2 gives it: GOOD serves everything as the latest."""
    return {
        "name": PATH,
        "etag": '"7"',
        "generation": "7",
        "template": make_template(),
        "traffic": [to_latest()],
        "trafficStatuses": [by_name(GOOD)],
        "latestCreatedRevision": f"{PATH}/revisions/{GOOD}",
        "latestReadyRevision": f"{PATH}/revisions/{GOOD}",
        "terminalCondition": {"state": "CONDITION_SUCCEEDED"},
    } | changes


def make_good(name: str = GOOD) -> dict[str, Any]:
    """Return a revision that is ready, as v2 gives it."""
    ready = [{"type": "Ready", "state": "CONDITION_SUCCEEDED"}]
    return {"name": f"{PATH}/revisions/{name}", "conditions": ready, **make_template()}


def list_revisions() -> Reply:
    """Return three revisions that are ready."""
    found = [make_good(name) for name in (BAD, GOOD, OLDER)]
    return Reply(json.dumps({"revisions": found}).encode())


def list_entries(_: dict[str, str], body: bytes) -> Reply:
    """Answer that OLDER served healthily once."""
    entry = {"timestamp": "2026-11-01T00:00:00Z", "httpRequest": {"status": 200}}
    found = [entry] * 50 if f'revision_name="{OLDER}"' in json.loads(body)["filter"] else []
    return Reply(json.dumps({"entries": found}).encode())


@pytest.fixture
def service() -> dict[str, Any]:
    """Return the service that the API tells of; a test may change it."""
    return make_service()


@pytest.fixture
def responder(tmp_path: Path, service: dict[str, Any]) -> Iterator[Responder]:
    """Return a responder whose target is an API that tells of the service."""
    replies: dict[str, Answer] = {
        f"/v2/{HOST_PATH}": lambda *_: Reply(json.dumps(service).encode()),
        f"/v2/{HOST_PATH}/revisions": list_revisions(),
        "/v2/entries:list": list_entries,
        f"/v2/{HOST_PATH}/revisions/{GOOD}": Reply(json.dumps(make_good()).encode()),
    }
    with serve_replies(replies) as server:
        write(server, tmp_path)
        yield Responder(tmp_path)


def write(server: PlainServer, folder: Path) -> None:
    """Name the server as the target's API; nothing else of the target answers."""
    write_endpoints(folder / "target", os.getpid(), server.url)


def record(
    responder: Responder, step: str, *phases: str, before: dict[str, Any], after: dict[str, Any]
) -> Timeline:
    """Put a change on the responder's timeline."""
    timeline = Timeline(responder.state / "local.sqlite3", "local")
    for phase in phases:
        timeline.append(
            "aaaaaa",
            step,
            phase,  # type: ignore[arg-type]
            before=before,
            after=after,
            detail={"lasting": list(after), "summary": "As told.", "patch": {}},
        )
    return timeline


def plan(responder: Responder, *arguments: str) -> dict[str, Any]:
    """Return the dry run of a step as data."""
    done = responder.run(*arguments, "--dry-run", "--json", RUNBOOK_API_DEADLINE_S="10")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["plan"]
    return found


@pytest.mark.parametrize("last", ["verified", "not-verified"])
def test_a_rollback_typed_again_goes_no_further_back(
    last: str, responder: Responder, service: dict[str, Any]
) -> None:
    """Who types it twice wants to see it work, not to run last month's code."""
    service |= make_service(
        traffic=[by_name(GOOD)],
        latestCreatedRevision=f"{PATH}/revisions/{BAD}",
        latestReadyRevision=f"{PATH}/revisions/{BAD}",
    )
    latest = {"traffic": [{"revision": "LATEST", "percent": 100}]}
    record(responder, "mitigate.rollback", "planned", "applied", last, before=latest, after=PINNED)
    found = plan(responder, "mitigate.rollback")
    assert found["before"] == found["after"] == PINNED
    further = plan(responder, "mitigate.rollback", f"--to={OLDER}")
    assert further["after"]["traffic"][0]["revision"] == OLDER


def test_a_pin_that_no_rollback_made_is_rolled_back_from(
    responder: Responder, service: dict[str, Any]
) -> None:
    """Without a rollback on record, evidence decides as ever."""
    service |= make_service(traffic=[by_name(GOOD)])
    assert plan(responder, "mitigate.rollback")["after"]["traffic"][0]["revision"] == OLDER


def test_a_pin_that_is_on_no_record_here_is_told(
    responder: Responder, service: dict[str, Any]
) -> None:
    """Whoever ends the incident must not read that nothing is left in force."""
    service |= make_service(traffic=[by_name(GOOD)])
    done = responder.run("mitigate")
    assert done.returncode == 0, done.stderr
    assert f"Traffic is pinned (100 % {GOOD})" in done.stdout
    assert "No change is in force" not in done.stdout
    service |= make_service()
    assert "No change is in force." in responder.run("mitigate").stdout


@pytest.mark.parametrize("old", [False, True])
def test_only_a_fresh_restart_is_gone_on_with(
    old: bool, responder: Responder, service: dict[str, Any]
) -> None:
    """One that was broken off last week must not keep today's from restarting anything."""
    service["template"] = make_template(labels={"restarted-at": STAMP})
    timeline = record(
        responder,
        "mitigate.restart",
        "planned",
        "applied",
        before={"restarted_at": ""},
        after={"restarted_at": STAMP},
    )
    if old:
        age(timeline)
    summary = plan(responder, "mitigate.restart")["summary"]
    assert summary.startswith("Replace every instance" if old else "Go on with aaaaaa")


def age(timeline: Timeline) -> None:
    """Replace the timeline by one that tells the same of three weeks ago."""
    rows = timeline.rows()
    timeline.path.unlink()
    Timeline(timeline.path, "local").append("0", "mitigate.restart", "failed", before={}, after={})
    with closing(sqlite3.connect(timeline.path)) as database:
        for row in rows:
            values = [row.change, "2026-11-01T03:00:00.000Z", row.who, row.host, row.target]
            states = [json.dumps(part) for part in (row.before, row.after, row.detail)]
            database.execute(
                "INSERT INTO timeline VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [*values, row.step, row.phase, *states],
            )
        database.commit()
