"""A question asked by hand with the real gcloud or curl gets the facts that the step shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from checks.target import load_target
from runbook.catalogue import steps
from tests.support.embedded import Embedded
from tests.support.vendor import ByHand, run_by_hand
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.vendor, pytest.mark.staging]

FIRE_DEADLINE_S = 60.0
Facts = dict[str, Any]


def parse_time(text: str) -> datetime:
    """Return a timestamp of Cloud Logging; it comes with or without a fraction of a second."""
    return datetime.fromisoformat(text)


def compare_service(typed: list[ByHand], told: Facts) -> None:
    """Gcloud's description names the same traffic, image and scaling."""
    [described] = typed
    for revision, percent in told["traffic"].items():
        assert f"{percent}%" in described.stdout
        assert revision in described.stdout
    assert told["settings"]["image"] in described.stdout


def compare_revisions(typed: list[ByHand], told: Facts) -> None:
    """Gcloud lists the same revisions, newest first."""
    names = [one["revision"] for one in told["revisions"]]
    positions = [typed[0].stdout.index(name) for name in names]
    assert positions == sorted(positions)
    assert len(names) == len(typed[0].stdout.splitlines()) - 1


def compare_errors(typed: list[ByHand], told: Facts) -> None:
    """What gcloud read just before is in the step's groups, revision by revision.

    Both read the newest entries only, so what gcloud read before the step's oldest is left out.
    """
    entries = json.loads(typed[0].stdout)
    assert entries
    assert told["entries"] >= len(entries)
    oldest = min(parse_time(group["first_seen"]) for group in told["groups"])
    by_hand = {
        entry["resource"]["labels"]["revision_name"]
        for entry in entries
        if told["complete"] or parse_time(entry["timestamp"]) >= oldest
    }
    assert by_hand
    assert by_hand <= {revision for group in told["groups"] for revision in group["revisions"]}


def compare_health(typed: list[ByHand], told: Facts) -> None:
    """Curl reads the same verdict and the same checks."""
    answer = json.loads(typed[0].stdout)
    assert told["ready"] is (answer["status"] == "ready")
    assert told["checks"] == answer.get("checks", {})


def worst(answer: str, label: str) -> str:
    """Return the label of the series with the highest rate in Prometheus' answer."""
    series = json.loads(answer)["data"]["result"]
    return str(max(series, key=lambda one: float(one["value"][1]))["metric"][label])


def compare_endpoints(typed: list[ByHand], told: Facts) -> None:
    """The endpoint with the most server errors is the same."""
    most = max(told["endpoints"], key=lambda one: one["errors_per_second"])
    assert worst(typed[0].stdout, "path") == most["name"]


def compare_error_pattern(typed: list[ByHand], told: Facts) -> None:
    """The revision behind most server errors is the same."""
    most = max(told["by_revision"], key=lambda one: one["errors_per_second"])
    assert worst(typed[0].stdout, "revision") == most["name"]


def compare_triage(typed: list[ByHand], told: Facts) -> None:
    """Prometheus, asked by hand, says that the same alerts fire; gcloud says who serves."""
    answers = [one.stdout for one in typed if "/api/v1/alerts" in one.line]
    firing = {
        alert["labels"]["alertname"]
        for alert in json.loads(answers[0])["data"]["alerts"]
        if alert["state"] == "firing"
    }
    assert firing == {one["alert"] for one in told["alerts"] if one["state"] == "firing"}
    assert told["serving"] in typed[0].stdout


COMPARISONS: dict[str, Callable[[list[ByHand], Facts], None]] = {
    "assess.service": compare_service,
    "assess.revisions": compare_revisions,
    "assess.errors": compare_errors,
    "assess.health": compare_health,
    "assess.endpoints": compare_endpoints,
    "assess.error-pattern": compare_error_pattern,
    "assess.triage": compare_triage,
}


def test_every_read_has_its_comparison() -> None:
    """No step with a line by hand is left out."""
    reads = {name for name, step in steps().items() if step.by_hand and not step.changes}
    assert reads == set(COMPARISONS)


@pytest.fixture
def broken(embedded_staging: Embedded) -> Embedded:
    """Return a broken staging, so that every question has something to find."""
    if not embedded_staging.is_firing("HighErrorRate"):
        embedded_staging.reset()
        embedded_staging.control("/break", {"fault": "endpoint-errors"})
        wait_until(
            lambda: embedded_staging.is_firing("HighErrorRate"),
            deadline_s=FIRE_DEADLINE_S,
            what="HighErrorRate fires",
        )
    return embedded_staging


@pytest.mark.parametrize("name", COMPARISONS)
def test_by_hand_tells_the_same(
    name: str,
    broken: Embedded,
    by_hand_record: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each line exits 0, and its answer holds what the step's answer holds."""
    for key, value in broken.environment().items():
        monkeypatch.setenv(key, value)
    argv_lines = steps()[name].by_hand_argv(load_target())
    by_hand_record |= {"step": name, "line": "\n".join(map(shlex.join, argv_lines))}
    by_hand_record |= {"outcome": "unverified", "why": "its program is not installed here"}
    typed = [run_by_hand(broken, argv, shlex.join(argv)) for argv in argv_lines]
    by_hand_record |= {"outcome": "different", "why": "a line failed or its answer differs"}
    by_hand_record["seconds"] = round(sum(one.seconds for one in typed), 2)
    for one in typed:
        assert one.returncode == 0, f"{one.line}\n{one.stdout}{one.stderr}"
    done = broken.invoke(name, "--json")
    assert done.returncode == 0, done.output
    COMPARISONS[name](typed, done.json()["data"])
    by_hand_record |= {"outcome": "equal", "why": ""}
