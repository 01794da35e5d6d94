"""The verdict on a page: what counts as proven, partly proven, failed and not verified."""

from pathlib import Path
from typing import Any

import pytest

from runbook.pages.proof import judge_by_hand, read_proof, render_badge
from runbook.pages.results import load_results
from tests.docs.sample import ROOT, make_by_hand, make_results, write_results

ALERT = "HighErrorRate"


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """A function that returns the proof of the alert for given results."""

    def read(results: dict[str, Any], **options: Any) -> Any:  # noqa: ANN401
        path = write_results(tmp_path / "verification.json", results)
        monkeypatch.setenv("RUNBOOK_RESULTS", str(path))
        return read_proof(ROOT, ALERT, **options)

    return read


def of_alert(results: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the first scenario of the alert and kind."""
    return next(
        one for one in results["scenarios"] if one["alert"] == ALERT and one["kind"] == kind
    )


def test_everything_passed_is_proven(judge: Any) -> None:  # noqa: ANN401
    """Every loop, every control, every check that the feature promises."""
    proof = judge(make_results())
    assert proof.state == "passed"
    assert proof.count("loop") == proof.count("control")
    assert proof.count("loop")[0] == proof.count("loop")[1] > 0


@pytest.mark.parametrize("kind", ["loop", "control", "other"])
def test_one_failure_is_failed(judge: Any, kind: str) -> None:  # noqa: ANN401
    """A failed control counts as much: it says that the loop cannot fail."""
    results = make_results()
    of_alert(results, kind)["outcome"] = "failed"
    proof = judge(results)
    assert proof.state == "failed"
    assert "<strong>Failed</strong>" in render_badge(proof)


@pytest.mark.parametrize("kind", ["loop", "control", "other"])
def test_a_scenario_that_did_not_run_makes_it_partly_proven(judge: Any, kind: str) -> None:  # noqa: ANN401
    """What the feature promises and the run left out is not green."""
    results = make_results()
    results["scenarios"].remove(of_alert(results, kind))
    assert judge(results).state == "partly"


def test_an_alert_that_was_not_run_is_not_verified(judge: Any) -> None:  # noqa: ANN401
    """Another alert's results prove nothing here."""
    results = make_results()
    results["scenarios"] = [one for one in results["scenarios"] if one["alert"] != ALERT]
    assert judge(results).state == "unverified"


def test_a_scenario_that_passed_once_and_failed_once_is_failed(judge: Any) -> None:  # noqa: ANN401
    """A flaky proof is none."""
    results = make_results()
    results["scenarios"].append({**of_alert(results, "loop"), "outcome": "failed"})
    assert judge(results).state == "failed"


def test_a_mitigation_is_judged_by_its_own_scenarios(judge: Any) -> None:  # noqa: ANN401
    """One broken way out does not taint the other."""
    results = make_results()
    for one in results["scenarios"]:
        if one["alert"] == ALERT and one["mitigation"] == "mitigate.scale-up":
            one["outcome"] = "failed"
    assert judge(results, mitigation="mitigate.scale-up").state == "failed"
    assert judge(results, mitigation="mitigate.rollback").state == "passed"


def test_the_slowest_loop_is_the_time_to_mitigate(judge: Any) -> None:  # noqa: ANN401
    """The page promises no more than the worst case that was measured."""
    results = make_results()
    of_alert(results, "loop")["time_to_mitigate_s"] = 9.9
    assert judge(results).slowest_mitigation == 9.9


@pytest.mark.parametrize(
    ("by_hand", "lines", "outcome", "why"),
    [
        ([make_by_hand("a")], 1, "equal", ""),
        ([make_by_hand("a")], 2, "unverified", "1 of 2 lines were tried"),
        ([make_by_hand("b")], 1, "unverified", "no verification on record"),
        ([make_by_hand("a"), make_by_hand("a", "different", "etag")], 1, "different", "etag"),
        ([make_by_hand("a", "unverified", "no gcloud here")], 1, "unverified", "no gcloud here"),
    ],
)
def test_the_worst_vendor_line_counts(
    tmp_path: Path, by_hand: list[dict[str, Any]], lines: int, outcome: str, why: str
) -> None:
    """A line that was not run is not shown as equal."""
    run = load_results(write_results(tmp_path / "r.json", make_results(by_hand=by_hand)))
    assert judge_by_hand(run, "a", lines) == (outcome, why)


def test_without_a_run_no_line_is_verified() -> None:
    """No results, no claim."""
    assert judge_by_hand(None, "a", 1) == ("unverified", "no verification on record")
