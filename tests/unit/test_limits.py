"""Limits in force, a tenant's own past, and the verdict: a spike or abuse."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from checks.errors import ApiError
from checks.limit_verdict import Case, Limits, Logged, compute_limit, judge, tally
from checks.limits import (
    RUN_PATH,
    Past,
    Use,
    quote_label,
    read_settings,
    read_use,
    require_settings,
    split_past,
)
from checks.logs import Entry
from checks.traffic import Rate
from tests.unit.plain_server import Answer, Reply, serve_replies
from tests.unit.service_json import TARGET

PATHS = ("/api/v1/pipelines", "/api/v1/pipelines/executions", RUN_PATH)
LIMITS = Limits(tenant=360.0, runs=360.0, instances=2)


def make_case(
    *,
    growth: float | None = 2.0,
    paths: tuple[str, ...] = PATHS,
    answered: float = 0.8,
    rank: int = 1,
    tenant: str = "northwind_retail",
) -> Case:
    """Return a limited tenant that usually asks 10 times a second."""
    now = 10.0 * (growth or 1.0)
    each = now / len(paths)
    rates = [Rate(tenant, path, "r", "200", each * answered) for path in paths]
    rates += [Rate(tenant, path, "r", "429", each * (1 - answered)) for path in paths]
    return Case(
        tenant=tenant,
        uses=(Use(tenant, "", now * 30, 5.0),),
        rates=tuple(rates),
        past=Past(None if growth is None else 10.0, now),
        others=tuple([20.0] * (rank - 1) + [1.0] * (24 - rank)),
        logged=Logged(Counter({"tenant_requests_per_minute": 9}), Counter({"127.0.10.1": 9})),
    )


def test_a_large_tenant_that_doubles_is_a_spike() -> None:
    found = judge(make_case(), LIMITS)
    assert found.verdict == "legitimate spike"
    # 20 a second are 600 a minute for each of two instances, and half as much again.
    [command] = found.commands
    assert "--requests-per-minute=900" in command


def test_a_small_one_that_asks_one_endpoint_all_the_time_is_abuse() -> None:
    case = make_case(growth=20.0, paths=PATHS[:1], answered=0.1, rank=24, tenant="willow_press")
    found = judge(case, LIMITS)
    assert found.verdict == "abuse"
    assert found.commands == ("invoke mitigate.block-tenant --tenant=willow_press --for=60m",)
    told = " ".join(found.reasons)
    assert "20.0 times" in told
    assert "100% of its requests go to one endpoint" in told
    assert "number 24 of 24 tenants: a small one" in told


def test_a_spike_whose_retries_are_refused_stays_one() -> None:
    assert judge(make_case(growth=3.3, answered=0.2), LIMITS).verdict == "legitimate spike"


def test_who_could_be_either_gets_both_commands() -> None:
    found = judge(make_case(growth=None, answered=0.1, rank=10), LIMITS)
    assert found.verdict == "unclear"
    assert len(found.commands) == 2


def test_a_limit_on_pipeline_runs_is_raised_with_it() -> None:
    case = make_case()
    by_runs = replace(case, logged=Logged(Counter({"pipeline_run_per_minute": 9})))
    [command] = judge(by_runs, LIMITS).commands
    assert "--pipeline-runs-per-minute=400" in command
    [without] = judge(case, replace(LIMITS, runs=1000.0)).commands
    assert "--pipeline-runs" not in without


def test_a_tenant_that_is_none_gets_no_command() -> None:
    assert judge(make_case(tenant="x; reboot"), LIMITS).commands == ()


@pytest.mark.parametrize(
    ("asked", "limit", "wanted"),
    [(600, 360, 900), (601, 360, 1000), (10, 360, 400), (0, 360, 400), (1e12, 360, 1_000_000)],
)
def test_the_limit_is_never_lowered(asked: float, limit: float, wanted: int) -> None:
    assert compute_limit(asked, limit) == wanted


def test_the_past_is_what_came_before_the_growth() -> None:
    found = split_past([0.0] * 10 + [4.0] * 40 + [8.0] + [12.0] * 30)
    assert found.before == pytest.approx(4.0, abs=0.2)
    assert found.now == pytest.approx(12.0, abs=0.2)
    assert found.growth == pytest.approx(3.0, abs=0.2)


def test_a_short_past_and_a_long_growth_are_told_apart() -> None:
    assert split_past([2.0] * 6 + [60.0] * 200).growth == pytest.approx(30.0)
    assert split_past([2.0] * 200 + [60.0] * 3).growth == pytest.approx(30.0)


def test_quiet_moments_of_a_small_tenant_count() -> None:
    rates = [2.0 if n % 4 == 0 else 0.0 for n in range(40)]
    assert split_past([*rates, *[30.0] * 10]).before == pytest.approx(0.5)


def test_a_tenant_that_asks_as_ever_or_less_has_not_grown() -> None:
    assert split_past([5.0] * 100).growth == pytest.approx(1.0)
    assert split_past([9.0] * 50 + [3.0] * 50).growth == pytest.approx(1.0)


def test_a_past_without_a_record_is_unknown() -> None:
    assert split_past([]) == Past(None, None)
    assert split_past([0.0, 0.0]) == Past(None, None)
    assert split_past([9.0, 9.0]).growth is None
    assert split_past([1.0, 1.0, 60.0, 60.0]).growth is None


def test_whatever_was_logged_is_tallied() -> None:
    fields: list[dict[str, Any]] = [
        {"tenant_id": 7, "error_type": ["x"]},
        {},
        {"tenant_id": "a" * 500},
    ]
    found = tally([Entry("", "WARNING", "m", "r", one) for one in fields])
    assert set(found) == {"", "a" * 64}
    assert found[""].reasons.total() == 2


def test_a_label_cannot_end_its_string() -> None:
    assert quote_label('a"} or vector(1) or {x="\\') == '"a\\"} or vector(1) or {x=\\"\\\\"'
    assert "\n" not in quote_label("a\nb")


def answer_with(series: list[dict[str, object]]) -> Reply:
    """Return Prometheus' answer with these series."""
    data = {"status": "success", "data": {"resultType": "vector", "result": series}}
    return Reply(json.dumps(data).encode())


def setting(value: str, revision: str, instance: str) -> dict[str, object]:
    """Return one instance's setting."""
    name = "rate_limiting.tenant.requests_per_minute"
    labels = {"setting": name, "revision": revision, "instance": instance}
    return {"metric": labels, "value": [0, value]}


def test_instances_that_differ_are_told() -> None:
    series = [setting("360", "r1", "a"), setting("360", "r1", "b"), setting("1200", "r2", "c")]
    replies: dict[str, Answer] = {"/api/v1/query": answer_with(series)}
    with serve_replies(replies) as server:
        [found] = read_settings(replace(TARGET, prometheus=server.url))
    assert found.differs
    assert found.value == 360
    assert found.values == {(360.0, "r1"): 2, (1200.0, "r2"): 1}


def test_no_settings_at_all_is_no_answer() -> None:
    with pytest.raises(ApiError):
        require_settings([])


def test_use_is_by_endpoint_and_over_all() -> None:
    def answer(query: dict[str, str], _: bytes) -> Reply:
        labels = {"tenant_id": "a", "path": "/x"}
        if "rate_limit_hits" in query["query"]:
            return answer_with([{"metric": labels, "value": [0, "3"]}])
        if "by (tenant_id, path)" in query["query"]:
            return answer_with([{"metric": labels, "value": [0, "100"]}])
        return answer_with([{"metric": {"tenant_id": "a"}, "value": [0, "120"]}])

    with serve_replies({"/api/v1/query": answer}) as server:
        found = read_use(replace(TARGET, prometheus=server.url))
    assert found == [Use("a", "", 120.0, 3.0), Use("a", "/x", 100.0, 3.0)]
