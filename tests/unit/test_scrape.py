"""Rates from two scrapes: of matching instances only, over a real connection."""

from __future__ import annotations

import itertools

import pytest

from checks.errors import UnreachableError
from checks.scrape import Scrape, compare_scrapes, parse_metrics, scrape_twice
from checks.traffic import read_rates, share_by, share_of_all
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
    assert {dict(labels)["tenant_id"] for labels in scrape.requests} == {'a"b\\c', "t"}


def test_an_instance_without_a_name_is_known_by_its_start() -> None:
    text = 'http_requests_total{revision="r"} 1\nprocess_start_time_seconds{revision="r"} 7.5\n'
    assert parse_metrics(text, 0.0).instance == "r@7.5"


def test_only_instances_met_twice_have_rates() -> None:
    key = (("status_code", "200"),)
    scrapes = [
        Scrape("a", "r", 0.0, {key: 10.0}),
        Scrape("b", "r", 0.1, {key: 1000.0}),
        Scrape("a", "r", 2.0, {key: 30.0}),
    ]
    found = compare_scrapes(scrapes)
    assert (found.rates, found.matched, found.seen, found.seconds) == ({key: 10.0}, 1, 2, 2.0)


def test_a_counter_that_fell_was_reset() -> None:
    key = (("status_code", "200"),)
    found = compare_scrapes([Scrape("a", "r", 0.0, {key: 90.0}), Scrape("a", "r", 1.0, {key: 4.0})])
    assert found.rates == {key: 4.0}


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
