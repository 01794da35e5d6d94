"""Verifying a change: what is served decides, and what nobody can tell is said, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.api_core import operation as api_core_operation
from google.cloud import run_v2
from google.longrunning import operations_pb2  # type: ignore[import-untyped]

from checks.target import Target
from runbook.changes import cloud_run_requests, planners, verify
from runbook.changes.cloud_run import CloudRun
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.plan import Plan
from runbook.changes.planners_settings import plan_settings
from runbook.changes.settings import Wish
from runbook.changes.state import State
from runbook.changes.system import Outcome
from tests.unit.plain_server import Answer, PlainServer, Reply, serve_replies
from tests.unit.service_json import (
    BAD,
    GOOD,
    TARGET,
    by_name,
    make_revision,
    make_state,
    make_template,
)

OPERATION = "projects/p/locations/us-central1/operations/o"
BEFORE = make_state(created=BAD, ready=BAD, served={BAD: 100})
AFTER = make_state(traffic=[by_name(GOOD)], created=BAD, ready=BAD, served={GOOD: 100})
ROLLBACK = planners.plan_rollback(
    TARGET, BEFORE, {GOOD: make_revision(GOOD, make_template())}, to=GOOD, change="a1b2c3"
)


def answer_query(query: dict[str, str], _: bytes) -> Reply:
    """Answer as a Prometheus that measures requests and knows no instances by revision."""
    sample = {"metric": {"status_code": "200"}, "value": [0, "5"]}
    result = [] if "convergence_instance_info" in query["query"] else [sample]
    data = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return Reply(json.dumps(data).encode())


@pytest.fixture
def server() -> Iterator[PlainServer]:
    """Return a healthy service with its Prometheus, and an API that forbids to ask."""
    forbidden = b'{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no get"}}'
    replies: dict[str, Answer] = {
        "/health/ready": Reply(b"{}"),
        "/api/v1/query": answer_query,
        f"/v2/{OPERATION}": Reply(forbidden, 403),
    }
    with serve_replies(replies) as found:
        yield found


def target_at(server: PlainServer, **more: Any) -> Target:  # noqa: ANN401
    """Return a target whose service and API answer at the server."""
    return replace(TARGET, api=server.url, service_url=server.url, time_scale=60.0, **more)


def watch(target: Target, plan: Plan, outcome: Outcome, states: list[State]) -> verify.Findings:
    """Return what a verification finds while the service goes through these states."""
    left = iter(states)
    last = states[-1]
    return verify.watch(CloudRun(target), plan, outcome, lambda _: None, lambda: next(left, last))


def test_an_operation_that_may_not_be_asked_for_has_not_failed(server: PlainServer) -> None:
    """Forbidden to ask is no news of the change; the wait goes on by what is served."""
    target = target_at(server)
    client = run_v2.ServicesClient(**cloud_run_requests._client_options(target))  # noqa: SLF001
    pending = api_core_operation.from_gapic(  # type: ignore[no-untyped-call]
        operations_pb2.Operation(name=OPERATION),
        client.transport.operations_client,
        run_v2.Service,
        metadata_type=run_v2.Service,
    )
    outcome = cloud_run_requests.wait_for_operation(target, pending, 10)
    assert "no get" in outcome.failure
    assert not outcome.finished
    found = watch(target, ROLLBACK, outcome, [BEFORE, BEFORE, AFTER])
    assert found.missing == []


def test_an_operation_that_failed_ends_the_wait(server: PlainServer) -> None:
    """Traffic that did not move will not move any more."""
    found = watch(target_at(server), ROLLBACK, Outcome(failure="it did not start"), [BEFORE])
    assert found.missing
    assert "it did not start" in found.notes[-1]


def test_instances_that_nobody_counts_by_revision_are_not_missed(server: PlainServer) -> None:
    """A Prometheus without that metric must not leave every scale-up unverified."""
    plan = plan_settings(
        TARGET,
        make_state(),
        {GOOD: make_revision(GOOD, make_template())},
        Wish("mitigate.scale-up", {"scaling": {"min": 10, "max": 20}}, "Scale."),
        change="a1b2c3",
    )
    scaled = make_state(
        template=make_template(scaling={"minInstanceCount": 10, "maxInstanceCount": 20})
    )
    found = watch(target_at(server, prometheus=server.url), plan, Outcome(), [scaled])
    assert found.missing == []
    assert found.instances is None
    assert "was not judged" in found.notes[-1]


@pytest.mark.parametrize(("pinned", "waits"), [(False, True), (True, False)])
def test_an_undo_waits_for_its_revision_where_that_serves(pinned: bool, waits: bool) -> None:
    """Under LATEST a revision that is not ready leaves the old one serving: nothing is undone."""
    traffic = [by_name(GOOD)] if pinned else None
    state = make_state(created=BAD, ready=GOOD, traffic=traffic)
    undo = Plan(
        step="mitigate.undo",
        change="a1b2c3",
        version="",
        generation=7,
        before={},
        after={},
        patch=RunPatch(scaling={"min": 2, "max": 10}),
        by_hand=(),
        summary="",
        mends=False,
        undoes="a1b2c3",
    )
    found = verify.Findings()
    verify.look(CloudRun(TARGET), undo, found, lambda: state)
    assert bool(found.missing) is waits
