"""Each predicate holds where it should, and does not where it should not."""

from __future__ import annotations

import pytest

from checks import symptoms
from checks.logs import Entry
from checks.rules import find_alert_rule, read_alert_rules
from checks.traffic import Rate, Rates, Share

EVERYWHERE = [Share("a", 10, 5), Share("b", 10, 5), Share("c", 10, 5)]
ONE = [Share("a", 10, 5), Share("b", 30, 0.15), Share("c", 10, 0.05)]


def rates(*statuses: tuple[str, float]) -> Rates:
    """Return rates of one path by status."""
    return Rates(tuple(Rate("t", "/x", "r", s, n) for s, n in statuses), "Prometheus", 5.0)


@pytest.mark.parametrize(
    ("shares", "name"),
    [(ONE, "a"), (EVERYWHERE, None), ([], None), ([Share("a", 10, 5)], None),
     ([Share("a", 10, 5), Share("b", 10, 1)], None), ([Share("a", 9, 0), Share("b", 9, 0)], None)],
)  # fmt: skip
def test_errors_are_confined_to_one(shares: list[Share], name: str | None) -> None:
    found = symptoms.find_confined(shares)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(("share", "above"), [(0.051, True), (0.05, False), (0.0, False)])
def test_the_rules_own_threshold_decides(share: float, above: bool) -> None:
    assert symptoms.exceeds(share, find_alert_rule("HighErrorRate").threshold) is above


def test_a_rule_without_a_threshold_is_never_exceeded() -> None:
    assert find_alert_rule("ServiceDown").threshold is None
    assert not symptoms.exceeds(1.0, None)
    assert {rule.priority for rule in read_alert_rules()} <= {"P1", "P2", "P3", "P4"}


@pytest.mark.parametrize(
    ("found", "answer"),
    [(rates(("503", 5), ("500", 1), ("200", 9)), True), (rates(("503", 1), ("500", 5)), False),
     (rates(("200", 5)), False), (rates(), False)],
)  # fmt: skip
def test_mostly_unavailable(found: Rates, answer: bool) -> None:
    assert symptoms.is_mostly_unavailable(found) is answer


@pytest.mark.parametrize(("percents", "full"), [([100, 80], True), ([84], False), ([], False)])
def test_at_capacity(percents: list[float], full: bool) -> None:
    assert symptoms.is_at_capacity(percents) is full


@pytest.mark.parametrize(
    ("status", "passed", "silent"),
    [(None, True, True), (504, False, True), (503, False, False), (None, False, False)],
)
def test_silence_is_no_refusal(status: int | None, passed: bool, silent: bool) -> None:
    assert symptoms.is_silent(status, deadline_passed=passed) is silent


@pytest.mark.parametrize(
    ("began", "came"),
    [("2026-11-23T06:05:00Z", True), ("2026-11-23T06:00:00Z", True),
     ("2026-11-23T06:20:00Z", False), ("2026-11-23T05:59:59Z", False), ("", False), ("x", False)],
)  # fmt: skip
def test_what_came_with_a_deployment(began: str, came: bool) -> None:
    assert symptoms.came_with(began, "2026-11-23T06:00:00.000Z", 900) is came


def test_affected_values_are_above_the_threshold_worst_first() -> None:
    hit = symptoms.list_affected([Share("a", 10, 1), Share("b", 10, 9), Share("c", 10, 0.1)], 0.05)
    assert [share.name for share in hit] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "ended", "unstarted"),
    [("Container terminated on signal 11.", 1, 0), ("Container called exit(1).", 1, 0),
     ("Image 'x' not found.", 0, 1), ("Starting new instance. Reason: AUTOSCALING", 0, 0)],
)  # fmt: skip
def test_the_platforms_words(text: str, ended: int, unstarted: int) -> None:
    entries = [Entry("t", "WARNING", text, "api-2"), Entry("t", "WARNING", text, "api-1")]
    assert len(symptoms.list_ended(entries, "api-2")) == ended
    assert len(symptoms.list_not_started(entries, "api-2")) == unstarted
