"""The summary of a verification counts honestly: what is missing, red or unverified shows."""

from __future__ import annotations

from typing import Any

import pytest

from checks.errors import RefusedError, UsageError
from runbook.verify import choose_results, find_target, is_proven, summarise


def scenario(kind: str, outcome: str, **times: float) -> dict[str, Any]:
    """Return one scenario of HighErrorRate as the suite records it."""
    unknown = {"time_to_detect_s": None, "time_to_mitigate_s": None}
    return {"alert": "HighErrorRate", "kind": kind, "outcome": outcome, "seconds": 10.0} | (
        unknown | times
    )


def verification(scenarios: list[dict[str, Any]], *outcomes: str) -> dict[str, Any]:
    """Return results with these scenarios and these outcomes of lines by hand."""
    return {
        "target": "local",
        "commit": "c0ffee",
        "started": "2026-01-01T00:00:00Z",
        "seconds": 20.0,
        "scenarios": scenarios,
        "by_hand": [{"outcome": outcome} for outcome in outcomes],
    }


WHOLE = [
    scenario("loop", "passed", time_to_detect_s=4.0, time_to_mitigate_s=6.0),
    scenario("loop", "passed", time_to_detect_s=6.0, time_to_mitigate_s=9.0),
    scenario("control", "passed"),
]


def test_summary_is_the_contract_for_scripts() -> None:
    """Counts, and medians of the passed loops' times, per alert."""
    found = summarise(verification(WHOLE, "equal", "unverified"))
    assert found["loops"] == {"passed": 2, "total": 2}
    assert found["controls"] == {"red": 1, "total": 1}
    assert found["by_hand"] == {"equal": 1, "total": 2, "unverified": 1}
    assert found["alerts"]["HighErrorRate"] == {
        "loops": {"passed": 2, "total": 2},
        "controls": {"red": 1, "total": 1},
        "seconds": 30.0,
        "time_to_detect_s": 5.0,
        "time_to_mitigate_s": 7.5,
    }
    assert is_proven(found)


@pytest.mark.parametrize(
    "results",
    [
        verification([*WHOLE, scenario("loop", "failed")], "equal"),
        verification([*WHOLE, scenario("control", "failed")], "equal"),
        verification(WHOLE, "equal", "different"),
        verification(WHOLE[:2], "equal"),
        verification([], "equal"),
        verification(WHOLE),
    ],
    ids=["loop open", "control green", "line differs", "no control", "nothing ran", "no line"],
)
def test_anything_less_is_not_proven(results: dict[str, Any]) -> None:
    """A failed loop, a control that cleared, a differing line or an empty run is no proof."""
    assert not is_proven(summarise(results))


def test_part_of_the_alerts_never_replaces_the_whole() -> None:
    """The results of one alert go where the caller says, never over those of all."""
    with pytest.raises(UsageError, match="alone"):
        choose_results("HighErrorRate", "")
    with pytest.raises(UsageError, match="no feature"):
        choose_results("Nonsense", "results/one.json")


def test_a_target_without_fault_injection_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Production is never broken on purpose."""
    monkeypatch.setenv("RUNBOOK_TARGET", "production")
    with pytest.raises(RefusedError, match="production"):
        find_target()


def test_an_empty_target_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere else: an empty variable names nothing."""
    monkeypatch.setenv("RUNBOOK_TARGET", "")
    assert find_target()["target"] == "local"
