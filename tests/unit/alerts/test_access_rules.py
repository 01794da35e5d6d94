"""The rules on refused keys and rate limits, unscaled: when they fire and when they clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.alerts.promtool import expect, run_rules

FAILURES = 'auth_failures_total{job="convergence-api",instance="%s",tenant_id="%s"}'
HITS = 'rate_limit_hits_total{job="convergence-api",instance="%s",tenant_id="%s",path="/p"}'
# 15 s a sample: 90 more a sample is six a second.


def test_auth_failures_fire_above_five_a_second_over_all_tenants(tmp_path: Path) -> None:
    """Two tenants with three a second each: no single one stands out."""
    summary = "6 API keys a second are refused"
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+45x60", FAILURES % ("b", "blue"): "0+45x60"},
        [
            expect("HighAuthFailureRate", "6m", None),
            expect("HighAuthFailureRate", "8m", {}, summary),
            expect("PotentialBruteForce", "10m", None),
        ],
    )


def test_auth_failures_stay_silent_at_five_a_second(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+75x80"},
        [expect("HighAuthFailureRate", f"{minute}m", None) for minute in (3, 8, 20)],
    )


def test_five_failures_a_minute_page_nobody(tmp_path: Path) -> None:
    """The other unit in which the threshold was once written down."""
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+2x80"},
        [expect("HighAuthFailureRate", "15m", None)],
    )


def test_auth_failures_clear_when_the_attack_has_left_the_window(tmp_path: Path) -> None:
    summary = "6 API keys a second are refused"
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+90x40 3600x60"},
        [
            expect("HighAuthFailureRate", "10m", {}, summary),
            expect("HighAuthFailureRate", "16m", None),
        ],
    )


def test_brute_force_fires_for_the_one_tenant_whose_keys_are_guessed(tmp_path: Path) -> None:
    summary = "12 API keys a second are refused for tenant acme"
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+180x40", FAILURES % ("a", "blue"): "0+150x40"},
        [
            expect("PotentialBruteForce", "1m", None),
            expect("PotentialBruteForce", "3m", {"tenant_id": "acme"}, summary),
        ],
    )


def test_brute_force_clears_within_two_minutes(tmp_path: Path) -> None:
    summary = "12 API keys a second are refused for tenant acme"
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0+180x20 3600x40"},
        [
            expect("PotentialBruteForce", "5m", {"tenant_id": "acme"}, summary),
            expect("PotentialBruteForce", "7m", None),
        ],
    )


def test_brute_force_forgives_a_burst_shorter_than_a_minute(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {FAILURES % ("a", "acme"): "0x20 0+300x2 900x40"},
        [expect("PotentialBruteForce", f"{second}s", None) for second in range(300, 480, 15)],
    )


@pytest.mark.parametrize("tenants", [1, 4])
def test_rate_limit_fires_above_ten_hits_a_second(tmp_path: Path, tenants: int) -> None:
    summary = "12 requests a second are refused by a rate limit"
    series = {HITS % ("a", f"tenant-{n}"): f"0+{180 // tenants}x80" for n in range(tenants)}
    run_rules(
        tmp_path,
        series,
        [
            expect("RateLimitExceeded", "9m", None),
            expect("RateLimitExceeded", "10m", {}, summary),
        ],
    )


def test_rate_limit_stays_silent_at_ten_hits_a_second(tmp_path: Path) -> None:
    run_rules(
        tmp_path,
        {HITS % ("a", "acme"): "0+150x80"},
        [expect("RateLimitExceeded", f"{minute}m", None) for minute in (6, 12, 20)],
    )


def test_rate_limit_clears_when_the_hits_have_left_the_window(tmp_path: Path) -> None:
    summary = "12 requests a second are refused by a rate limit"
    run_rules(
        tmp_path,
        {HITS % ("a", "acme"): "0+180x60 10800x60"},
        [
            expect("RateLimitExceeded", "15m", {}, summary),
            expect("RateLimitExceeded", "21m", None),
        ],
    )
