"""Staging's clock is shorter than production's; the rules must mean the same on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from staging.monitoring.scale import (
    UnscalableRuleError,
    scale_duration,
    scale_expression,
    scale_rules,
)

RULES = Path(__file__).parents[2] / "checks" / "alerts.yml"


@pytest.mark.parametrize(
    ("duration", "scale", "expected"),
    [("5m", 60, "5000ms"), ("1m", 120, "500ms"), ("1h30m", 60, "90000ms"), ("0s", 60, "0ms")],
)
def test_durations_are_divided(duration: str, scale: float, expected: str) -> None:
    assert scale_duration(duration, scale) == expected


@pytest.mark.parametrize("duration", ["", "5", "m", "5 m", "1.5m", "-5m", "$__range", "1ms"])
def test_what_is_no_duration_or_vanishes_is_refused(duration: str) -> None:
    with pytest.raises(UnscalableRuleError):
        scale_duration(duration, 60)


def test_only_ranges_change_in_an_expression() -> None:
    expression = """
        sum by (le) (rate(a_offset:x{path="/x[5m]", note='it\\'s [1h] @ offset'}[10m]))  # [5m] @
        > 300 or `[5m]` == 5 and rate(b[ 1h ])"""
    assert scale_expression(expression, 60) == expression.replace("}[10m]", "}[10000ms]").replace(
        "[ 1h ]", "[60000ms]"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "rate(a[5m] offset 5m)",
        "a OFFSET 1h",
        "a @ 1600000000",
        "max_over_time(rate(a[5m])[1h:1m])",
        "time() - last_success > 7200",
        "time () - last_success > 7200",
        "predict_linear(a[1h], 3600) > 1",
        "hour() > 8",
    ],
)
def test_a_form_whose_meaning_would_change_is_refused(expression: str) -> None:
    with pytest.raises(UnscalableRuleError):
        scale_expression(expression, 60)


@pytest.mark.parametrize(
    "text",
    [
        "groups: [{name: g, interval: 1m, rules: []}]",
        "groups: [{name: g, rules: [{alert: A, expr: a, unknown_for: 5m}]}]",
        "{groups: [], more: 1}",
    ],
)
def test_a_key_that_may_hold_a_duration_is_refused(text: str) -> None:
    with pytest.raises(UnscalableRuleError):
        scale_rules(text, 60)


@pytest.mark.parametrize("scale", [60, 120])
def test_productions_rules_keep_all_but_their_durations(scale: float) -> None:
    before = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    after = yaml.safe_load(scale_rules(RULES.read_text(encoding="utf-8"), scale))

    def divide(minutes: str) -> str:
        return f"{int(minutes) * 60000 / scale:.0f}ms"

    for group in before["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"(?<=\[)(\d+)m(?=\])", lambda m: divide(m[1]), rule["expr"])
            for key in {"for", "keep_firing_for"} & rule.keys():
                rule[key] = divide(rule[key].removesuffix("m"))
    assert after == before
