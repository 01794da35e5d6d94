"""The revision to go back to is found by what was measured, over real connections."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from checks.cloud_run import Revision, Service, parse_revision, parse_service
from checks.errors import RefusedError, RunbookError
from checks.evidence import find_last_healthy, find_record
from checks.kubernetes import parse_cluster
from checks.target import Target
from tests.unit.kubernetes_json import (
    cluster_api,
    raw_deployment,
    raw_pod,
    raw_set,
    target_in,
)
from tests.unit.plain_server import Answer, Reply, serve_replies
from tests.unit.test_cloud_run_reading import LATEST, PATH, by_name, raw_revision, raw_service
from tests.unit.test_target import make_target

QUERY = "/api/v1/query"
LOGS = "/v2/entries:list"
# revision: when it last served (Unix time), requests, errors
Measured = dict[str, tuple[float, float, float]]


def vector(*series: tuple[dict[str, str], float]) -> Reply:
    """Return a Prometheus answer."""
    result = [{"metric": labels, "value": [0, str(value)]} for labels, value in series]
    content = {"status": "success", "data": {"resultType": "vector", "result": result}}
    return Reply(json.dumps(content).encode())


def prometheus(measured: Measured) -> Answer:
    """Answer the evidence's own queries as Prometheus would for these measurements."""

    def answer(query: dict[str, str], _: bytes) -> Reply:
        promql = query["query"]
        if "max_over_time" in promql:
            return vector(*(({"revision": name}, last) for name, (last, _, _) in measured.items()))
        revision = re.search(r'revision="([^"]+)"', promql)
        assert revision is not None
        last, requests, errors = measured[revision[1]]
        assert float(query["time"]) == last
        return vector(({}, errors if "5.." in promql else requests))

    return answer


def request_logs(statuses: dict[str, list[int]]) -> Answer:
    """Answer entries.list with request entries of the revision that the filter names."""

    def answer(_: dict[str, str], body: bytes) -> Reply:
        expression = json.loads(body)["filter"]
        found = [
            {"timestamp": f"2026-11-2{i}T00:00:00Z", "httpRequest": {"status": status}}
            for i, (name, listed) in enumerate(statuses.items())
            for status in listed
            if f'revision_name="{name}"' in expression
        ]
        return Reply(json.dumps({"entries": found}).encode())

    return answer


def service(**changes: Any) -> Service:  # noqa: ANN401
    """Return a service whose newest revision, api-3, has all traffic."""
    newest = f"{PATH}/revisions/api-3"
    return parse_service(
        raw_service(latestReadyRevision=newest, latestCreatedRevision=newest, **changes)
    )


def revisions(failed: str = "") -> list[Revision]:
    """Return api-3, api-2 and api-1."""
    return [
        parse_revision(raw_revision(name, "FAILED" if name == failed else "SUCCEEDED"))
        for name in ("api-3", "api-2", "api-1")
    ]


def target_at(url: str, *, prometheus_url: str | None = None) -> Target:
    """Return a target whose Prometheus and logs are at `url`."""
    return make_target(api=url, prometheus=prometheus_url or url)


def test_the_one_that_served_last_and_healthily_is_found() -> None:
    measured = {
        "api-1": (100.0, 500.0, 1.0),
        "api-2": (200.0, 500.0, 2.0),
        "api-3": (300.0, 9.0, 9.0),
    }
    with serve_replies({QUERY: prometheus(measured)}) as server:
        found = find_last_healthy(target_at(server.url), service(), revisions())
    assert (found.revision, found.source, found.requests) == ("api-2", "metrics", 500)
    assert found.error_share == pytest.approx(0.004)


def test_a_bad_one_in_between_is_passed_over() -> None:
    measured = {"api-1": (100.0, 500.0, 1.0), "api-2": (200.0, 500.0, 400.0)}
    with serve_replies({QUERY: prometheus(measured)}) as server:
        found = find_last_healthy(target_at(server.url), service(), revisions())
    assert found.revision == "api-1"


def test_too_few_requests_prove_nothing() -> None:
    measured = {"api-1": (100.0, 500.0, 0.0), "api-2": (200.0, 3.0, 0.0)}
    with serve_replies({QUERY: prometheus(measured)}) as server:
        found = find_last_healthy(target_at(server.url), service(), revisions())
    assert found.revision == "api-1"


def test_one_that_cannot_start_is_no_way_back() -> None:
    measured = {"api-1": (100.0, 500.0, 0.0), "api-2": (200.0, 500.0, 0.0)}
    with serve_replies({QUERY: prometheus(measured)}) as server:
        found = find_last_healthy(target_at(server.url), service(), revisions(failed="api-2"))
    assert found.revision == "api-1"


def test_the_one_with_all_traffic_is_no_way_back_however_well_it_did() -> None:
    measured = {"api-3": (300.0, 500.0, 0.0)}
    replies = {QUERY: prometheus(measured), LOGS: request_logs({})}
    with serve_replies(replies) as server, pytest.raises(RefusedError, match="No other revision"):
        find_last_healthy(target_at(server.url), service(), revisions())


def dying(name: str, at: float, times: int) -> Answer:
    """Answer entries.list with the deaths of a revision's containers, a second apart."""

    def answer(_: dict[str, str], body: bytes) -> Reply:
        if f'revision_name="{name}"' not in json.loads(body)["filter"]:
            return Reply(b"{}")
        entry = {
            "textPayload": "Container terminated on signal 11.",
            "resource": {"labels": {"revision_name": name}},
        }
        moments = [datetime.fromtimestamp(at + n, UTC).isoformat() for n in range(times)]
        found = [entry | {"timestamp": moment} for moment in moments]
        return Reply(json.dumps({"entries": found}).encode())

    return answer


@pytest.mark.parametrize(
    ("at", "times", "chosen"), [(200.0, 5, "api-1"), (200.0, 1, "api-2"), (90.0, 5, "api-2")]
)
def test_one_that_kept_dying_is_no_way_back(at: float, times: int, chosen: str) -> None:
    """A dead process counts no failed request; one death, or deaths long before, are no sign."""
    measured = {"api-1": (100.0, 500.0, 0.0), "api-2": (200.0, 500.0, 0.0)}
    replies = {QUERY: prometheus(measured), LOGS: dying("api-2", at, times)}
    with serve_replies(replies) as server:
        found = find_last_healthy(target_at(server.url), service(), revisions())
    assert found.revision == chosen


def test_of_a_split_the_healthy_half_counts() -> None:
    split = [by_name("api-2", 90), LATEST | {"percent": 10}]
    measured = {"api-2": (300.0, 900.0, 2.0), "api-3": (300.0, 100.0, 60.0)}
    with serve_replies({QUERY: prometheus(measured)}) as server:
        found = find_last_healthy(
            target_at(server.url), service(trafficStatuses=split), revisions()
        )
    assert found.revision == "api-2"


def test_request_logs_answer_when_prometheus_does_not() -> None:
    logged = {"api-1": [200] * 50, "api-2": [500] * 40 + [200] * 10, "api-3": [200] * 50}
    with serve_replies({LOGS: request_logs(logged)}) as server:
        target = target_at(server.url, prometheus_url="http://127.0.0.1:9")
        found = find_last_healthy(target, service(), revisions())
    assert (found.revision, found.source, found.requests) == ("api-1", "logs", 50)


def test_nothing_known_is_refused_with_the_way_to_name_one() -> None:
    with (
        serve_replies({QUERY: vector(), LOGS: request_logs({})}) as server,
        pytest.raises(RefusedError) as caught,
    ):
        find_last_healthy(target_at(server.url), service(), revisions())
    assert "--to=REVISION" in caught.value.next_step
    assert caught.value.exit_code == 4


def test_nobody_to_ask_is_a_failure_and_no_refusal() -> None:
    with pytest.raises(RunbookError, match="connection refused") as caught:
        find_last_healthy(target_at("http://127.0.0.1:9"), service(), revisions())
    assert caught.value.exit_code == 1


def test_the_record_of_one_revision_is_looked_up_in_the_logs_too() -> None:
    """Metrics reach back a day; a revision that was left last week must not look untried."""
    logged = {"api-2": [500] * 40 + [200] * 10}
    with serve_replies({QUERY: vector(), LOGS: request_logs(logged)}) as server:
        found = find_record(target_at(server.url), "api-2")
        untried = find_record(target_at(server.url), "api-3")
    assert found is not None
    assert found.error_share == pytest.approx(0.8)
    assert untried is None


def test_a_record_that_nobody_can_look_up_is_no_clean_one() -> None:
    with serve_replies({QUERY: vector()}) as server, pytest.raises(RunbookError):
        find_record(target_at(server.url), "api-2")


def restarts(name: str, at: float, count: int) -> dict[str, object]:
    """Return the event that the kubelet writes each time it waits before a restart."""
    seen = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"kind": "Pod", "name": f"{name}-x"}
    return {"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "type": "Warning",
            "reason": "BackOff", "count": count, "lastTimestamp": seen,
            "involvedObject": about}  # fmt: skip


@pytest.mark.parametrize(("at", "count", "chosen"), [(200.0, 5, "api-1"), (200.0, 1, "api-2"),
                                                     (90.0, 5, "api-2")])  # fmt: skip
def test_of_replica_sets_one_that_kept_crashing_is_no_way_back(
    at: float, count: int, chosen: str, tmp_path: Path
) -> None:
    measured = {"api-1": (100.0, 500.0, 0.0), "api-2": (200.0, 500.0, 0.0)}
    items = [raw_set(3, ready=2, replicas=2), raw_set(2), raw_set(1), raw_pod(3)]
    cluster = parse_cluster(raw_deployment(), items)
    events = {"kind": "EventList", "apiVersion": "v1", "items": [restarts("api-2", at, count)]}
    replies = {QUERY: prometheus(measured),
               **cluster_api({"/api/v1/namespaces/default/events": events})}  # fmt: skip
    with serve_replies(replies) as server:
        target = target_in(tmp_path, server.url)
        found = find_last_healthy(target, cluster.deployment, cluster.revisions)
    assert found.revision == chosen
