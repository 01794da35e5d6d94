"""Staging's Alertmanager routes and inhibits as production's does, on the shorter clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from staging.monitoring.config import render_alertmanager
from staging.monitoring.scale import UnscalableRuleError

CONFIG = Path(__file__).parents[2] / "checks" / "alertmanager.yml"


def test_routes_and_inhibitions_stay_and_times_are_divided() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    before, after = yaml.safe_load(text), yaml.safe_load(render_alertmanager(text, 60))
    assert after["inhibit_rules"] == before["inhibit_rules"]
    assert [one["name"] for one in after["receivers"]] == [
        one["name"] for one in before["receivers"]
    ]
    assert after["route"]["group_interval"] == "1000ms"
    assert after["route"]["routes"][0]["repeat_interval"] == "60000ms"
    for scaled, real in zip(after["route"]["routes"], before["route"]["routes"], strict=True):
        assert scaled["matchers"] == real["matchers"]
        assert scaled["receiver"] == real["receiver"]


def test_nothing_that_could_reach_a_person_is_left() -> None:
    scaled = yaml.safe_load(render_alertmanager(CONFIG.read_text(encoding="utf-8"), 60))
    assert set(scaled) == {"route", "inhibit_rules", "receivers"}
    assert all(set(receiver) == {"name"} for receiver in scaled["receivers"])


def test_a_time_in_an_unknown_form_is_refused() -> None:
    text = "{route: {receiver: a, group_wait: soon}, receivers: [{name: a}]}"
    with pytest.raises(UnscalableRuleError, match="soon"):
        render_alertmanager(text, 60)
