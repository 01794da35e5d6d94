"""What the lines by hand of the first questions must have in common with their steps' answers."""

from __future__ import annotations

import json
from datetime import datetime

from tests.support.vendor import ByHand, Comparison, Facts, worst

FAULT = "endpoint-errors"
ALERT = "HighErrorRate"


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


def compare_endpoints(typed: list[ByHand], told: Facts) -> None:
    """The endpoint with the most server errors is the same."""
    most = max(told["endpoints"], key=lambda one: one["errors_per_second"])
    assert worst(typed[0].stdout, "path") == most["name"]


def compare_error_pattern(typed: list[ByHand], told: Facts) -> None:
    """The revision behind most server errors is the same."""
    most = max(told["by_revision"], key=lambda one: one["errors_per_second"])
    assert worst(typed[0].stdout, "revision") == most["name"]


def list_firing(typed: list[ByHand]) -> set[str]:
    """Return the alerts that fire by Prometheus' own list."""
    answers = [one.stdout for one in typed if "/api/v1/alerts" in one.line]
    return {
        alert["labels"]["alertname"]
        for alert in json.loads(answers[0])["data"]["alerts"]
        if alert["state"] == "firing"
    }


def compare_triage(typed: list[ByHand], told: Facts) -> None:
    """Prometheus, asked by hand, says that the same alerts fire; gcloud says who serves."""
    assert list_firing(typed) == {
        one["alert"] for one in told["alerts"] if one["state"] == "firing"
    }
    assert told["serving"] in typed[0].stdout


COMPARISONS: dict[str, Comparison] = {
    "assess.service": compare_service,
    "assess.revisions": compare_revisions,
    "assess.errors": compare_errors,
    "assess.health": compare_health,
    "assess.endpoints": compare_endpoints,
    "assess.error-pattern": compare_error_pattern,
    "assess.triage": compare_triage,
}
