"""Rates from two scrapes: of matching instances only, over a real connection."""

from __future__ import annotations

import itertools

import pytest

from checks.errors import UnreachableError
from checks.scrape import REQUESTS, Scrape, compare_scrapes, parse_metrics, scrape_twice
from checks.traffic import read_rates, read_signs, share_by, share_of_all
from tests.unit.plain_server import Reply, serve_replies
from tests.unit.test_target import make_target

TEXT = """# HELP http_requests_total API requests.
# TYPE http_requests_total counter
http_requests_total{{tenant_id="a\\"b\\\\c",path="/x",status_code="200",revision="api-2"}} {ok}
http_requests_total{{tenant_id="t",path="/x",status_code="500",revision="api-2"}} {bad}
http_requests_created{{tenant_id="t"}} 1.7e9
system_cpu_usage_percent{{revision="api-2"}} 12.5
convergence_instance_info{{instance_id="{name}",revision="api-2"}} 1.0
"""


def test_labels_with_escapes_are_read() -> None:
    scrape = parse_metrics(TEXT.format(ok=5.0, bad=1.0, name="i-1"), 10.0)
    assert (scrape.instance, scrape.revision, scrape.cpu_percent) == ("i-1", "api-2", 12.5)
    assert {dict(labels)["tenant_id"] for labels in scrape.counters[REQUESTS]} == {'a"b\\c', "t"}


def test_an_instance_without_a_name_is_known_by_its_start() -> None:
    text = 'http_requests_total{revision="r"} 1\nprocess_start_time_seconds{revision="r"} 7.5\n'
    assert parse_metrics(text, 0.0).instance == "r@7.5"


def test_only_instances_met_twice_have_rates() -> None:
    key = (("status_code", "200"),)
    scrapes = [
        Scrape("a", "r", 0.0, {REQUESTS: {key: 10.0}}),
        Scrape("b", "r", 0.1, {REQUESTS: {key: 1000.0}}),
        Scrape("a", "r", 2.0, {REQUESTS: {key: 30.0}}),
    ]
    found = compare_scrapes(scrapes)
    assert (found.rates, found.matched, found.seen, found.seconds) == (
        {REQUESTS: {key: 10.0}},
        1,
        2,
        2.0,
    )


def test_a_counter_that_fell_was_reset() -> None:
    key = (("status_code", "200"),)
    scrapes = [Scrape("a", "r", at, {REQUESTS: {key: n}}) for at, n in ((0.0, 90.0), (1.0, 4.0))]
    assert compare_scrapes(scrapes).rates == {REQUESTS: {key: 4.0}}


def test_rates_of_several_instances_add_up_without_prometheus() -> None:
    counter = itertools.count(1)

    def metrics(_: dict[str, str], __: bytes) -> Reply:
        n = next(counter)
        text = TEXT.format(ok=float(n), bad=float(n), name=f"i-{n % 2}")
        return Reply(text.encode(), content_type="text/plain")

    with serve_replies({"/metrics": metrics}) as server:
        rates = read_rates(make_target(service_url=server.url, prometheus="http://127.0.0.1:9"))
    assert rates.source == "two scrapes"
    assert "2 of 2 instances" in rates.note
    assert "connection refused" in rates.note
    whole = share_of_all(rates)
    assert whole.per_second > 0
    assert whole.error_share == pytest.approx(0.5)
    assert [share.name for share in share_by(rates, "revision")] == ["api-2"]


def test_nobody_answers() -> None:
    with pytest.raises(UnreachableError, match="did not answer one of"):
        scrape_twice(make_target(service_url="http://127.0.0.1:9"))


FULL = """http_request_duration_seconds_bucket{{le="1.0",path="/a",revision="r"}} {fast}
http_request_duration_seconds_bucket{{le="+Inf",path="/a",revision="r"}} {all}
http_request_duration_seconds_bucket{{le="2.0",path="/a",revision="r"}} {all}
auth_failures_total{{tenant_id="t",revision="r"}} {all}
rate_limit_hits_total{{tenant_id="t",path="/a",revision="r"}} {fast}
system_memory_usage_bytes{{revision="r"}} 3e9
system_memory_total_bytes{{revision="r"}} 4e9
process_start_time_seconds{{revision="r"}} 5
"""


def test_the_other_symptoms_are_read_from_two_scrapes_as_well() -> None:
    scrapes = [parse_metrics(FULL.format(fast=f, all=a), t) for f, a, t in ((0, 0, 0), (10, 20, 2))]
    signs = read_signs(compare_scrapes(scrapes))
    assert signs.p95_s == pytest.approx(1.9)
    assert signs.memory_share == pytest.approx(0.75)
    assert signs.auth_failures == {"t": 10.0}
    assert signs.limit_hits_per_second == pytest.approx(5.0)
