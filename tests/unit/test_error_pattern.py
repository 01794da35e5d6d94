"""The pattern of errors in words: who, where, since when, and with which deployment."""

from __future__ import annotations

import pytest

from checks.traffic import Rate, Rates
from runbook.assess_errors import Onset, describe_pattern, find_start

NOW = 1_795_413_600.0  # 2026-11-23T06:00:00Z


def points(values: str) -> list[tuple[float, float]]:
    """Return a share every second up to now: `#` is above the threshold, `.` is not."""
    first = NOW - len(values) + 1
    return [(first + i, 0.5 if mark == "#" else 0.0) for i, mark in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "began"),
    [("....####", "2026-11-23T05:59:57.000Z"), ("##......................", ""), ("", ""),
     ("#..........###.##", "2026-11-23T05:59:55.000Z"), ("########", "2026-11-23T05:59:53.000Z")],
)  # fmt: skip
def test_the_newest_run_of_errors_is_dated(values: str, began: str) -> None:
    assert find_start(points(values), 0.05) == began


def rates(*rows: tuple[str, str, str, float]) -> Rates:
    """Return rates by tenant, path, status."""
    return Rates(tuple(Rate(t, p, "api-2", s, n) for t, p, s, n in rows), "Prometheus", 5.0)


FINE = [(f"t{i}", "/a", "200", 5.0) for i in range(9)] + [("t1", "/b", "200", 5.0)]


def test_one_tenant_is_named() -> None:
    told = describe_pattern(rates(*FINE, ("big", "/a", "500", 5.0), ("big", "/b", "500", 5.0)),
                            Onset("2026-11-23T06:00:00.000Z", "api-2"))  # fmt: skip
    assert "one tenant, big" in told
    assert "several endpoints" in told
    assert told.endswith("Since 2026-11-23T06:00:00Z, right after api-2 was deployed.")


def test_all_tenants_of_one_endpoint() -> None:
    bad = [(f"t{i}", "/b", "500", 2.0) for i in range(9)]
    told = describe_pattern(rates(*FINE, *bad), Onset("2026-11-23T06:00:00.000Z", ""))
    assert "tenants across the board" in told
    assert "one endpoint, /b" in told
    assert told.endswith("no deployment came just before.")


def test_a_few_natural_errors_are_no_incident() -> None:
    told = describe_pattern(rates(*FINE, ("t1", "/a", "500", 0.1)), Onset("", ""))
    assert "not above the alert's threshold" in told


def test_many_errors_without_a_known_start_are_not_belittled() -> None:
    """Without Prometheus nothing tells since when; the share itself is known all the same."""
    told = describe_pattern(rates(*FINE, ("t1", "/a", "500", 50.0)), Onset("", ""))
    assert told.endswith("Nobody could tell since when.")
    assert "threshold" not in told


def test_no_errors_and_no_requests_are_told_apart() -> None:
    assert describe_pattern(rates(*FINE), Onset("", "")) == "No request fails now."
    assert describe_pattern(rates(), Onset("", "")) == "No instance reports requests."
