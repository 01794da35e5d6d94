"""Attack or accident: the verdict on refused keys, from the failures alone."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.auth import Failure, parse_failure, seconds_between, tally
from checks.auth_verdict import Part, judge
from checks.logs import Entry
from checks.target import duration_seconds

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
TENANTS = ("acme_logistics", "lumen_labs", "vela_motors")


def at(seconds: float) -> str:
    """Return a moment of the log."""
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def guess(
    source: str, count: int, *, tenants: tuple[str, ...] = TENANTS, begin: float = 0.0
) -> list[Failure]:
    """Return guesses of ever new keys from one address."""
    return [
        Failure(
            at(begin + number / 10),
            source,
            tenants[number % len(tenants)],
            "unknown_key",
            f"cda.{tenants[number % len(tenants)]}.{number:04d}",
        )
        for number in range(count)
    ]


def repeat(source: str, tenant: str, reason: str, count: int, key: str = "k3y5") -> list[Failure]:
    """Return a client that repeats the one key that it was given."""
    return [
        Failure(at(number), source, tenant, reason, f"cda.{tenant}.{key}")
        for number in range(count)
    ]


def judge_all(
    failures: list[Failure],
    *known: str,
    checked: bool = True,
    expired: Collection[str] | None = None,
) -> tuple[Part, ...]:
    """Return the verdict; `known` are addresses that had good answers before."""
    sources = tally(failures)
    for source in sources:
        source.last_good = at(-60) if source.address in known else ""
    return judge(sources, checked=checked, expired=expired)


def test_one_stranger_with_many_keys_is_brute_force() -> None:
    [part] = judge_all(guess("203.0.113.66", 500))
    assert part.cause == "brute force"
    assert part.command == "invoke mitigate.block-ip --source=203.0.113.66"
    assert not part.is_accident
    assert any("500 different key prefixes" in reason for reason in part.reasons)


def test_the_evidence_names_the_tenant_that_is_aimed_at() -> None:
    [part] = judge_all(guess("203.0.113.66", 100, tenants=("vela_motors",)))
    assert any("aimed at one tenant, vela_motors" in reason for reason in part.reasons)


def test_sixteen_networks_are_distributed() -> None:
    failures = [one for n in range(16) for one in guess(f"203.0.{n}.66", 30)]
    [part] = judge_all(failures)
    assert part.cause == "distributed brute force"
    assert "set-rate-limit --auth-failures-per-minute=6" in part.command


def test_neighbours_are_denied_as_their_network() -> None:
    failures = [one for n in range(1, 21) for one in guess(f"203.0.113.{n}", 30)]
    [part] = judge_all(failures)
    assert part.command == "invoke mitigate.block-ip --source=203.0.113.0/24"


def test_a_network_with_a_good_client_is_not_gathered() -> None:
    failures = [one for n in range(1, 21) for one in guess(f"203.0.113.{n}", 30)]
    failures += repeat("203.0.113.200", "lumen_labs", "unknown_key", 3)
    [part] = judge_all(failures, "203.0.113.200")
    assert part.cause == "distributed brute force"
    assert "203.0.113.0/24" not in part.command


def test_known_clients_with_unknown_keys_are_a_rollout() -> None:
    failures = [o for n, t in enumerate(TENANTS) for o in repeat(f"8.0.0.{n}", t, "unknown_key", 9)]
    [part] = judge_all(failures, "8.0.0.0", "8.0.0.1", "8.0.0.2")
    assert part.cause == "key rollout gone wrong"
    assert part.command == f"invoke mitigate.issue-api-key --tenants={','.join(part.tenants)}"
    assert set(part.tenants) == set(TENANTS)
    assert any("began at once" in reason for reason in part.reasons)


def test_a_new_address_with_a_known_clients_key_is_a_client_too() -> None:
    failures = repeat("8.0.0.1", "lumen_labs", "unknown_key", 9)
    failures += repeat("8.0.0.2", "lumen_labs", "unknown_key", 9)
    [part] = judge_all(failures, "8.0.0.1")
    assert part.addresses == 2
    [alone] = judge_all(repeat("8.0.0.2", "lumen_labs", "unknown_key", 9))
    assert alone.cause == "brute force"


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("expired_key", "expired keys"), ("inactive_key", "deactivated keys")],
)
def test_the_services_own_reason_decides(reason: str, cause: str) -> None:
    [part] = judge_all(repeat("8.0.0.1", "lumen_labs", reason, 9), expired={"lumen_labs"})
    assert part.cause == cause
    assert part.is_accident


def test_the_key_table_confirms_an_expiry_or_tells_of_another_key() -> None:
    failures = repeat("8.0.0.1", "lumen_labs", "expired_key", 9)
    [confirmed] = judge_all(failures, "8.0.0.1", expired={"lumen_labs"})
    assert "every key of lumen_labs has expired" in " ".join(confirmed.reasons)
    [other] = judge_all(failures, "8.0.0.1", expired=set())
    assert "another key that is good" in " ".join(other.reasons)


def test_a_known_client_that_tries_many_keys_is_an_attacker() -> None:
    [part] = judge_all(guess("8.0.0.1", 200, tenants=("lumen_labs",)), "8.0.0.1")
    assert part.cause == "brute force"
    assert any("now try many keys" in reason for reason in part.reasons)


def test_both_at_once_is_mixed_and_a_trickle_is_not() -> None:
    failures = guess("203.0.113.66", 300)
    failures += repeat("8.0.0.1", "lumen_labs", "expired_key", 200)
    mixed = judge_all(failures, "8.0.0.1")
    assert [part.cause for part in mixed] == ["brute force", "expired keys"]
    [alone] = judge_all([*guess("203.0.113.66", 300), *failures[300:303]], "8.0.0.1")
    assert alone.cause == "brute force"


def test_without_a_request_log_the_keys_alone_decide() -> None:
    [client] = judge_all(repeat("8.0.0.1", "lumen_labs", "unknown_key", 9), checked=False)
    assert client.cause == "key rollout gone wrong"
    [attacker] = judge_all(guess("203.0.113.66", 100), checked=False)
    assert attacker.cause == "brute force"
    assert not any("good answer" in reason for reason in attacker.reasons)


def test_nothing_is_no_cause() -> None:
    assert judge([]) == ()


def test_a_claimed_tenant_cannot_get_into_a_command() -> None:
    for tenant in ("x;reboot", "$(id)", "a b", "a,b", "\x1b[31m", "unknown", ""):
        parts = judge_all(repeat("8.0.0.1", tenant, "expired_key", 9), "8.0.0.1")
        for part in parts:
            assert tenant not in part.tenants
            assert ";" not in part.command
            assert "$" not in part.command


def test_an_address_that_is_none_is_never_denied() -> None:
    [part] = judge_all(guess("1.2.3.4; reboot", 50))
    assert "block-ip" not in part.command


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


FIELDS = st.sampled_from(("source_ip", "tenant_id", "error_type", "key_prefix"))


@given(st.lists(st.dictionaries(FIELDS, JSON)))
def test_whatever_was_logged_is_counted(logged: list[dict[str, Any]]) -> None:
    entries = [Entry(at(0), "WARNING", "authentication failed", "r", fields) for fields in logged]
    sources = tally(map(parse_failure, entries))
    assert sum(source.count for source in sources) == len(entries)
    for part in judge(sources):
        assert part.command.startswith("invoke mitigate.")
        assert len(part.command) < 2000


def test_times_that_are_none_are_no_time_apart() -> None:
    assert seconds_between(at(0), at(5)) == duration_seconds("5s")
    assert seconds_between("", "never") == 0
