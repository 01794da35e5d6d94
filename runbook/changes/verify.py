"""Verifies a change by what is in force, by real requests, and by its symptom."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.rules import find_alert_rule
from checks.service import check_health
from checks.target import is_loopback
from checks.traffic import query_rates, share_of_all
from runbook.changes import symptoms

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.system import Outcome, Reading, System

DEADLINE_S = 300.0
# Processes start and requests travel in real time, however fast the target's rules run.
LEAST_DEADLINE_S = 45.0
_SETTLE_S = 60.0
_LEAST_SETTLE_S = 1.5
_JUDGED_OVER = "1m"
_PROBE_DEADLINE_S = 5.0
HEALTHY_IN_A_ROW = 3


@dataclass
class Findings:
    """What is known so far; `missing` names what still stands in the way."""

    missing: list[str] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    healthy_in_a_row: int = 0
    served_since: float | None = None
    error_share: float | None = None
    instances: int | None = None
    symptoms: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Return the findings as `--json` gives them; the share is a fraction of 1."""
        return {
            "served": self.served,
            "healthy_requests": self.healthy_in_a_row,
            "error_share": self.error_share,
            "instances": self.instances,
            "symptoms": self.symptoms,
            "missing": self.missing,
            "notes": self.notes,
        }


def deadline_s(target: Target) -> float:
    """Return how long a verification may take: 5 minutes of the target, 45 s at least."""
    return max(target.seconds(DEADLINE_S), LEAST_DEADLINE_S)


def watch(
    system: System,
    plan: Plan,
    outcome: Outcome,
    show: Callable[[str], None],
    read: Callable[[], Reading],
) -> Findings:
    """Return the findings once nothing is missing, or as they are when the deadline has passed.

    An operation that ended in failure ends the wait early when what is served does not follow the
    plan.
    """
    found, target = Findings(), system.target
    pause = 0.2 if target.api and is_loopback(target.api) else 2.0
    end = time.monotonic() + deadline_s(target)
    while True:
        look(system, plan, found, read)
        if not found.missing:
            return found
        gave_up = bool(outcome.failure) and outcome.finished and found.served_since is None
        if gave_up or time.monotonic() >= end:
            if outcome.failure:
                found.notes.append(f"{system.title}: {outcome.failure}")
            return found
        show(f"waiting: {found.missing[0]}")
        time.sleep(pause)


def look(system: System, plan: Plan, found: Findings, read: Callable[[], Reading]) -> None:
    """Take one look at everything and bring `found` up to date."""
    found.missing, found.notes = [], []
    try:
        reading = read()
    except RunbookError as error:
        found.missing.append(f"{system.title}'s state: {error}")
        return
    system.look(plan, reading, found)
    if found.missing:
        found.served_since = None
        return
    if found.served_since is None:
        found.served_since = time.monotonic()
    if plan.mends:
        _look_at_requests(system.target, found)
        _look_at_symptoms(system.target, plan, found)


def _look_at_requests(target: Target, found: Findings) -> None:
    try:
        ready = check_health(target, deadline_s=_PROBE_DEADLINE_S).ready
    except RunbookError:
        ready = False
    found.healthy_in_a_row = found.healthy_in_a_row + 1 if ready else 0
    if found.healthy_in_a_row < HEALTHY_IN_A_ROW:
        found.missing.append("the service does not answer /health/ready with 200 every time")


def _look_at_symptoms(target: Target, plan: Plan, found: Findings) -> None:
    if target.prometheus is None:
        found.notes.append("No Prometheus: only requests to /health/ready were judged.")
        return
    try:
        rates = query_rates(target, _JUDGED_OVER, deadline_s=_PROBE_DEADLINE_S)
    except RunbookError:
        found.notes.append("Prometheus does not answer: only /health/ready was judged.")
        return
    if found.served_since is None or time.monotonic() - found.served_since < _settle_s(target):
        found.missing.append("too few requests since the change to judge the symptom by")
        return
    if not rates.rows:
        found.notes.append("No requests were measured: only /health/ready was judged.")
        return
    found.error_share = share_of_all(rates).error_share
    limit = find_alert_rule("HighErrorRate").threshold or 0.0
    if found.error_share > limit:
        found.missing.append(f"{found.error_share:.1%} of requests still end in a server error")
    for name in plan.symptoms:
        if name != symptoms.ERRORS:
            _look_at_symptom(target, name, found)


def _look_at_symptom(target: Target, name: str, found: Findings) -> None:
    try:
        measured = symptoms.measure(target, name)
    except RunbookError as error:
        found.notes.append(f"Whether {name} receded could not be asked: {error}")
        return
    if measured is None:
        return
    found.symptoms[name] = measured.value
    if measured.present:
        found.missing.append(f"still, {measured.told}")


def _settle_s(target: Target) -> float:
    # Older samples must have left the window, or the error share would be that of the past.
    return max(target.seconds(_SETTLE_S), _LEAST_SETTLE_S)
