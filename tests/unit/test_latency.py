"""Latency: quantiles as Prometheus has them, what is slow, and what is said of it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import ApiError
from checks.latency import (
    Dimension,
    Histogram,
    Latency,
    Quantile,
    arrange,
    find_slow,
    list_passed,
    make_histogram,
    read_latencies,
    sum_latencies,
    write_query,
)
from checks.prometheus import Sample
from runbook.assess_load import state_latency, tabulate, tell_seconds, tell_span
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target

INF = math.inf
FAST = {0.1: 9.5, 1.0: 10.0, 5.0: 10.0, INF: 10.0}
SLOW = {0.1: 0.0, 1.0: 1.0, 5.0: 10.0, INF: 10.0}


def latency(
    name: str, now: dict[float, float], before: dict[float, float] | None = None
) -> Latency:
    return Latency(name, make_histogram(now), make_histogram(before or {}))


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [(FAST, 0.95, Quantile(0.1)), (FAST, 0.5, Quantile(0.1 * 5 / 9.5)),
     (SLOW, 0.95, Quantile(1 + 4 * 8.5 / 9)),
     ({1.0: 1.0, 5.0: 1.0, INF: 10.0}, 0.5, Quantile(5.0, beyond=True)),
     ({1.0: 0.0, 5.0: 0.0, INF: 0.0}, 0.5, None), ({}, 0.5, None), ({INF: 4.0}, 0.5, None),
     ({1.0: 4.0, 5.0: 4.0}, 0.5, None)],
)  # fmt: skip
def test_quantiles(counts: dict[float, float], q: float, expected: Quantile | None) -> None:
    found = make_histogram(counts).quantile(q)
    assert (found is None) == (expected is None)
    if found and expected:
        assert found.seconds == pytest.approx(expected.seconds)
        assert found.beyond == expected.beyond


BOUNDS = (0.1, 0.5, 1.0, 5.0, INF)


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5).filter(any), st.floats(0.01, 0.99))
def test_a_quantile_splits_the_requests_at_its_rank(grown: list[int], q: float) -> None:
    """Of all requests the share 1 - q is slower than the quantile, or it lies beyond the bounds."""
    counts = {bound: float(sum(grown[: i + 1])) for i, bound in enumerate(BOUNDS)}
    histogram = make_histogram(counts)
    found = histogram.quantile(q)
    assert found is not None
    if found.beyond:
        assert histogram.share_above(5.0) >= 1 - q - 1e-9
    else:
        assert histogram.share_above(found.seconds) == pytest.approx(1 - q, abs=1e-6)


def test_counts_of_scrapes_a_moment_apart_never_fall() -> None:
    found = make_histogram({0.1: 5.0, 1.0: 4.9, INF: 5.0})
    assert found.buckets == ((0.1, 5.0), (1.0, 5.0), (INF, 5.0))


def test_the_answer_is_told_apart_by_moment_and_name() -> None:
    def sample(path: str, moment: str, le: str, value: float) -> Sample:
        return Sample({"path": path, "moment": moment, "le": le}, value)

    found = arrange(
        [sample("/a", "now", "1", 1.0), sample("/a", "now", "+Inf", 2.0),
         sample("/a", "before", "1", 3.0), sample("/a", "before", "+Inf", 3.0),
         sample("/b", "before", "+Inf", 3.0), sample("/c", "now", "+Inf", 0.0),
         sample("/d", "now", "+Inf", math.nan), sample("/d", "now", "odd", 1.0)],
        "path",
    )  # fmt: skip
    assert [one.name for one in found] == ["/a"]
    assert found[0].now.buckets == ((1.0, 1.0), (INF, 2.0))
    assert found[0].before.buckets == ((1.0, 3.0), (INF, 3.0))


def test_no_past_is_no_change_and_no_zero() -> None:
    one = latency("/a", SLOW)
    assert one.change(0.95) is None
    assert "(" not in tabulate("endpoint", [one]).rows[0][3]
    assert "earlier" not in state_latency(one, {}, {}, [], 1.0)


def test_a_change_is_shown_with_its_sign() -> None:
    rose, fell = latency("/a", SLOW, FAST), latency("/b", FAST, SLOW)
    rows = tabulate("endpoint", [rose, fell]).rows
    assert rows[0][3] == "4.78 (+4.68)"
    assert rows[1][3] == "0.10 (-4.68)"


def test_above_the_highest_bound_is_said_as_such() -> None:
    one = latency("/a", {1.0: 0.0, 5.0: 1.0, INF: 100.0}, FAST)
    quantile = one.now.quantile(0.95)
    assert quantile is not None
    assert tell_seconds(quantile) == "> 5 s"
    assert tabulate("endpoint", [one]).rows[0][3] == "> 5.00 (> +4.90)"
    assert [passed.alert for passed in list_passed(one.now)] == ["HighLatencyP95"]


def test_within_the_lowest_bucket_only_its_bound_is_known() -> None:
    one, slower = latency("/a", {0.1: 10.0, INF: 10.0}, FAST), latency("/b", FAST, SLOW)
    assert tabulate("endpoint", [one]).rows[0][2] == "< 0.1"
    assert tabulate("endpoint", [slower]).rows[0][2] == "< 0.1 (-2.73)"


def test_the_alerts_threshold_is_named_only_when_passed() -> None:
    assert list_passed(make_histogram(SLOW)) == [("HighLatencyP95", 1.0)]
    assert list_passed(make_histogram(FAST)) == []


def test_one_slow_value_is_found_among_fast_ones() -> None:
    rows = [latency("/slow", SLOW), *(latency(f"/{i}", FAST) for i in range(9))]
    found = find_slow(rows, 1.0, 300)
    assert found.names == ("/slow",)
    assert not found.everywhere


def test_everything_slow_is_everywhere() -> None:
    found = find_slow([latency(f"/{i}", SLOW) for i in range(4)], 1.0, 300)
    assert len(found.names) == 4
    assert found.everywhere


def test_a_value_too_rare_to_judge_is_not_taken_for_quick() -> None:
    rare = latency("/rare", {1.0: 0.0, INF: 0.01})
    found = find_slow([latency("/a", SLOW), latency("/b", SLOW), rare], 1.0, 300)
    assert found.names == ("/a", "/b")
    assert found.everywhere


def test_a_handful_of_slow_requests_names_nobody() -> None:
    assert find_slow([latency("/a", {1.0: 0.0, INF: 0.01})], 1.0, 300).names == ()


def test_words_name_the_slow_and_only_where_there_is_a_choice() -> None:
    rows = [latency("/slow", SLOW, FAST), *(latency(f"/{i}", FAST, FAST) for i in range(2))]
    whole = sum_latencies(rows)
    found = {"endpoint": rows, "revision": [whole]}
    slow = {"endpoint": find_slow(rows, 1.0, 300), "revision": find_slow([whole], 1.0, 300)}
    told = state_latency(whole, found, slow, list_passed(whole.now), 1.0)  # type: ignore[arg-type]
    assert told.endswith("above the threshold of HighLatencyP95 (1 s). Slow: one endpoint, /slow.")
    assert ", 1 h earlier 0.10 s" in told


@pytest.mark.parametrize(
    ("seconds", "told"), [(3600, "1 h"), (300, "5 min"), (60, "60 s"), (5, "5 s"), (90, "90 s")]
)
def test_spans(seconds: float, told: str) -> None:
    assert tell_span(seconds) == told


def test_no_request_at_all() -> None:
    whole = sum_latencies([])
    assert "no request" in state_latency(whole, {"endpoint": []}, {}, [], 1.0)


def answer(series: list[dict[str, str]]) -> Reply:
    result = [{"metric": labels, "value": [0, "1.5"]} for labels in series]
    data = {"resultType": "vector", "result": result}
    return Reply(json.dumps({"status": "success", "data": data}).encode())


def test_one_query_a_dimension() -> None:
    asked: list[str] = []

    def reply(query: dict[str, str], _body: bytes) -> Reply:
        asked.append(query["query"])
        labels = {"path": "/a", "revision": "api-1", "tenant_id": "acme"}
        return answer([labels | {"moment": "now", "le": le} for le in ("1", "+Inf")])

    with serve_replies({"/api/v1/query": reply}) as server:
        found = read_latencies(make_target(prometheus=server.url))
    assert len(asked) == 3
    assert [found[name][0].name for name in found] == ["/a", "api-1", "acme"]


NO_VALUE = {"resultType": "vector", "result": [{"metric": {}}]}


@pytest.mark.parametrize("body", [{}, {"status": "success", "data": NO_VALUE}])
def test_something_else_than_prometheus_is_told(body: dict[str, object]) -> None:
    reply = Reply(json.dumps(body).encode())
    with (
        serve_replies({"/api/v1/query": reply}) as server,
        pytest.raises(ApiError, match="not as Prometheus does"),
    ):
        read_latencies(make_target(prometheus=server.url))


def test_prometheus_takes_the_queries(tmp_path: Path) -> None:
    """The real parser of Prometheus accepts each query."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here")
    target = make_target(time_scale=60.0)
    dimensions: tuple[Dimension, ...] = get_args(Dimension)
    rules = [{"record": name, "expr": write_query(target, name)} for name in dimensions]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_histogram_is_no_request() -> None:
    assert Histogram().per_second == 0
    assert Histogram().share_above(1) == 0
