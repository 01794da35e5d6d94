"""What triage recommends when keys or requests are refused, also when nobody can tell whose."""

from __future__ import annotations

from typing import Any

import pytest

from checks.auth import Failure, tally
from checks.auth_verdict import judge as judge_sources
from checks.errors import UnreachableError
from checks.limit_verdict import Judgement
from checks.prometheus import Alert
from checks.rules import find_alert_rule
from checks.traffic import Rates, Signs
from runbook.triage_rules.registry import find_state, judge
from tests.unit.test_target import make_target
from tests.unit.test_triage_rules import NEW, OLD, SINCE, rates_of, service_on, snapshot

AUTH, BRUTE, LIMITED = "HighAuthFailureRate", "PotentialBruteForce", "RateLimitExceeded"
ON_OLD = {"service": service_on(OLD)}
CHANGED = [{"step": "mitigate.block-ip", "since": "2026-11-23T05:00:00Z", "who": "a", "undo": "u"}]
RAISE = "invoke mitigate.set-rate-limit --requests-per-minute=1200 --for=60m"
BLOCK = "invoke mitigate.block-tenant --tenant=t1 --for=60m"


def attack(addresses: int, tenants: int = 10) -> Any:  # noqa: ANN401
    """Return the parts of an attack with many keys from so many networks."""
    failures = [
        Failure(SINCE, f"127.0.{n % addresses}.66", f"tenant-{n % tenants}", "unknown_key",
                f"cda.tenant-{n % tenants}.{n:04d}")
        for n in range(400)
    ]  # fmt: skip
    return judge_sources(tally(failures))


def accident(reason: str) -> Any:  # noqa: ANN401
    """Return the parts of three tenants whose own clients repeat one key each."""
    sources = tally(
        Failure(SINCE, f"127.0.10.{n % 3}", f"tenant-{n % 3}", reason, f"cda.tenant-{n % 3}.new1")
        for n in range(300)
    )
    for source in sources:
        source.last_good = SINCE
    return judge_sources(sources)


def limited(verdict: Any, *commands: str) -> Judgement:  # noqa: ANN401
    return Judgement("t1", verdict, ("Reasons.",), commands)


KEYS = "invoke mitigate.issue-api-key --tenants=tenant-0,tenant-1,tenant-2"
SLOW_DOWN = "invoke mitigate.set-rate-limit --auth-failures-per-minute=6 --for=60m"
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "one address": (
        AUTH, {"auth_parts": attack(1)}, "invoke mitigate.block-ip --source=127.0.0.66"),
    "one address, one tenant": (
        BRUTE, {"auth_parts": attack(1, 1)}, "invoke mitigate.block-ip --source=127.0.0.66"),
    "many addresses": (AUTH, {"auth_parts": attack(16)}, SLOW_DOWN),
    "many addresses, one tenant": (BRUTE, {"auth_parts": attack(16, 1)}, SLOW_DOWN),
    "unknown keys of known clients": (AUTH, {"auth_parts": accident("unknown_key")}, KEYS),
    "expired keys": (AUTH, {"auth_parts": accident("expired_key")}, KEYS),
    "nobody knows whose": (
        AUTH, {"silent": {"refused keys": UnreachableError("Away.", next_step="wait")}},
        "invoke assess.auth-sources"),
    "denied, and it fell": (
        AUTH, {"auth_parts": attack(1), "auth_failures_recent": 0.3, "open_changes": CHANGED}, ""),
    "denied, and it did not fall": (
        AUTH, {"auth_parts": attack(1), "auth_failures_recent": 50.0, "open_changes": CHANGED},
        "invoke mitigate.block-ip --source=127.0.0.66"),
    "a customer grew": (LIMITED, {"limited": (limited("legitimate spike", RAISE),)}, RAISE),
    "abuse": (LIMITED, {"limited": (limited("abuse", BLOCK),)}, BLOCK),
    "either": (
        LIMITED, {"limited": (limited("unclear", RAISE, BLOCK),)},
        "invoke assess.rate-limited-tenants"),
    "a tenant's name that is none": (
        LIMITED, {"limited": (limited("abuse"),)}, "invoke assess.rate-limited-tenants"),
    "nobody knows who": (LIMITED, {}, "invoke assess.rate-limited-tenants"),
    "blocked, and it fell": (
        LIMITED, {"limited": (limited("abuse", BLOCK),), "limit_hits_recent": 1.0,
                  "open_changes": CHANGED}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recommendation(case: str) -> None:
    alert, changes, command = CASES[case]
    verdict = judge(make_target(), snapshot(alert, **ON_OLD, **changes))[0]
    assert verdict.rule.name == alert
    assert verdict.advice.command == command, verdict.advice.why
    assert verdict.advice.why


def test_a_deployment_just_before_does_not_explain_an_attack() -> None:
    verdict = judge(make_target(), snapshot(AUTH, service=service_on(NEW), auth_parts=attack(1)))[0]
    assert verdict.advice.command.startswith("invoke mitigate.block-ip")


def test_one_attack_behind_both_alerts_is_answered_once() -> None:
    alerts = [Alert(name, "firing", {"tenant_id": "tenant-0"}, {}, SINCE, 1.0)
              for name in (AUTH, BRUTE)]  # fmt: skip
    first, second = judge(make_target(), snapshot("", alerts=alerts, auth_parts=attack(1, 1)))[:2]
    assert (first.rule.name, second.rule.name) == (BRUTE, AUTH)
    assert first.advice.command.startswith("invoke mitigate.block-ip")
    assert second.advice.command == ""
    assert "same cause as PotentialBruteForce" in second.advice.why


def test_whom_it_hits_tells_victims_from_clients() -> None:
    attacked = judge(make_target(), snapshot(BRUTE, **ON_OLD, auth_parts=attack(1, 1)))[0]
    own = judge(make_target(), snapshot(AUTH, **ON_OLD, auth_parts=accident("expired_key")))[0]
    assert attacked.hits == "one tenant: tenant-0"
    assert own.hits == "3 tenants: tenant-0, tenant-1, tenant-2, whose own clients are refused"


@pytest.mark.parametrize(
    ("name", "signs", "state"),
    [
        (AUTH, Signs(0.1, 0.2, {"a": 3.0, "b": 3.0}, 0.0), "seen"),
        (BRUTE, Signs(0.1, 0.2, {"a": 6.0, "b": 6.0}, 0.0), "quiet"),
        (BRUTE, Signs(0.1, 0.2, {"a": 11.0}, 0.0), "seen"),
        (LIMITED, Signs(0.1, 0.2, {}, 11.0), "seen"),
        (LIMITED, Signs(0.1, 0.2, {}, 9.0), "quiet"),
        ("HighLatencyP95", Signs(1.5, 0.2, {}, 0.0), "seen"),
        ("HighLatencyP95", Signs(0.5, 0.2, {}, 0.0), "quiet"),
        ("HighLatencyP95", Signs(None, 0.2, {}, 0.0), "unknown"),
        ("CriticalMemoryUsage", Signs(0.1, 0.96, {}, 0.0), "seen"),
        ("CriticalMemoryUsage", Signs(0.1, 0.9, {}, 0.0), "quiet"),
        ("HighMemoryUsage", Signs(0.1, 0.9, {}, 0.0), "seen"),
        ("HighMemoryUsage", Signs(0.1, None, {}, 0.0), "unknown"),
        ("HighMemoryUsage", None, "unknown"),
        (AUTH, None, "unknown"),
        (LIMITED, None, "unknown"),
    ],
)
def test_without_prometheus_two_scrapes_show_the_symptom(
    name: str, signs: Signs | None, state: str
) -> None:
    rates = Rates(rates_of("200", NEW).rows, "two scrapes", 1.0, signs=signs)
    found = snapshot("", rules=None, up=None, rates=rates)
    assert find_state(find_alert_rule(name), found) == (state, "")
