"""Which module judges which alert, and the order of what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from checks.rules import AlertRule, read_alert_rules
from runbook.triage_rules.access import AuthFailures, RateLimited
from runbook.triage_rules.availability import HighErrorRate, ServiceDown
from runbook.triage_rules.cpu import CpuUsage
from runbook.triage_rules.latency import HighLatency
from runbook.triage_rules.memory import MemoryUsage
from runbook.triage_rules.verdict import QUIET, STATES, Advice, Judge, Verdict

if TYPE_CHECKING:
    from checks.prometheus import Alert
    from checks.target import Target
    from runbook.triage_probes import Snapshot

JUDGES: dict[str, Judge] = {
    "ServiceDown": ServiceDown(),
    "HighErrorRate": HighErrorRate(),
    "PotentialBruteForce": AuthFailures(),
    "HighAuthFailureRate": AuthFailures(),
    "HighLatencyP95": HighLatency(),
    "CriticalMemoryUsage": MemoryUsage(),
    "HighMemoryUsage": MemoryUsage(),
    "CriticalCPUUsage": CpuUsage(),
    "HighCPUUsage": CpuUsage(),
    "RateLimitExceeded": RateLimited(),
}


def find_state(rule: AlertRule, found: Snapshot) -> tuple[str, str]:
    """Return the alert's state and since when: from Prometheus, else from the symptom itself."""
    alert = _find_alert(rule.name, found)
    if alert is not None:
        return alert.state, alert.active_since
    loaded = next((one for one in found.rules or () if one.name == rule.name), None)
    if loaded is not None:  # its state counts: the list of alerts may be what gave no answer
        return (loaded.state if loaded.state in {"firing", "pending"} else "quiet"), ""
    return JUDGES[rule.name].see(rule, found), ""


def list_loud(found: Snapshot) -> list[AlertRule]:
    """Return the rules of the alerts that are firing, pending, or seen by their symptom."""
    return [rule for rule in read_alert_rules() if find_state(rule, found)[0] not in QUIET]


def judge(target: Target, found: Snapshot) -> list[Verdict]:
    """Return a verdict for each alert of `checks/alerts.yml`, the most urgent first.

    Among equals the file's order decides. An alert that has the cause of a more urgent one is told
    as its consequence, and recommends nothing of its own.
    """
    verdicts = [_judge_one(rule, target, found) for rule in read_alert_rules()]
    ranked = sorted(verdicts, key=lambda v: (STATES.index(v.state), v.rule.priority))
    by_cause: dict[str, str] = {}
    told = []
    for verdict in ranked:
        cause = verdict.advice.cause
        first = by_cause.setdefault(cause, verdict.rule.name) if cause else verdict.rule.name
        told.append(verdict if first == verdict.rule.name else _as_consequence(verdict, first))
    return told


def _judge_one(rule: AlertRule, target: Target, found: Snapshot) -> Verdict:
    state, since = find_state(rule, found)
    if state in QUIET:
        return Verdict(rule, state, since, "", (), Advice("", ""))
    kind = JUDGES[rule.name]
    # A pin counts too: it is what a rollback by hand, or from another machine, leaves.
    if (found.open_changes or found.pinned) and kind.has_receded(rule, found):
        done = f"Traffic is pinned to {found.serving}"
        if found.open_changes:
            done = f"{found.open_changes[0]['step']} is in force"
        advice = Advice("", f"{done} and the symptom is gone: wait for the alert to clear.")
    else:
        advice = kind.advise(rule, since, target, found)
    return Verdict(
        rule=rule,
        state=state,
        since=since,
        hits=kind.describe_hits(rule, found),
        evidence=kind.collect_evidence(rule, found),
        advice=advice,
    )


def _as_consequence(verdict: Verdict, first: str) -> Verdict:
    advice = Advice("", f"It has the same cause as {first}: {verdict.advice.cause}.",
                    verdict.advice.cause)  # fmt: skip
    return replace(verdict, evidence=(), advice=advice)


def _find_alert(name: str, found: Snapshot) -> Alert | None:
    alerts = [alert for alert in found.alerts if alert.name == name]
    return min(alerts, key=lambda alert: STATES.index(alert.state)) if alerts else None
