"""What a snapshot means: which alert comes first, whom it hits, and what the page recommends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checks import symptoms, traffic
from checks.errors import RefusedError
from checks.evidence import HEALTHY_ERROR_SHARE
from checks.inputs import DEFAULT_MAX_INSTANCES, MAX_INSTANCES
from checks.rules import AlertRule, find_alert_rule, read_alert_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.cloud_run import Revision
    from checks.evidence import Evidence
    from checks.prometheus import Alert
    from checks.target import Target
    from runbook.triage_probes import Snapshot

DEPLOYMENT_S = 900.0
SUSPECT_S = 3600.0
_STATES = ("firing", "pending", "seen", "unknown", "quiet")
_QUIET = frozenset({"quiet", "unknown"})
_NAMED_TENANTS = 4

ROLLBACK = "invoke mitigate.rollback"
RESTART = "invoke mitigate.restart"
RELEASE = "invoke mitigate.release-traffic"
LOOK_CLOSER = "invoke assess.error-pattern"


@dataclass(frozen=True)
class Advice:
    """The command that the page recommends, and why; an empty command means wait."""

    command: str
    why: str


@dataclass(frozen=True)
class Verdict:
    """One alert, as triage sees it.

    Attributes:
        state: `firing`, `pending`, `seen` (the symptom is there, Prometheus does not say so),
            `unknown` (nobody could be asked) or `quiet`.
        since: When it became pending, RFC 3339, or an empty string.
        hits: Whom it hits, in words.
        evidence: What this rests on, a sentence each.
    """

    rule: AlertRule
    state: str
    since: str
    hits: str
    evidence: tuple[str, ...]
    advice: Advice

    @property
    def is_quiet(self) -> bool:
        """Whether nothing needs to be done about it."""
        return self.state in _QUIET


def find_state(rule: AlertRule, found: Snapshot) -> tuple[str, str]:
    """Return the alert's state and since when: from Prometheus, else from the symptom itself."""
    alert = _find_alert(rule.name, found)
    if alert is not None:
        return alert.state, alert.active_since
    loaded = next((one for one in found.rules or () if one.name == rule.name), None)
    if loaded is not None:  # its state counts: the list of alerts may be what gave no answer
        return (loaded.state if loaded.state in {"firing", "pending"} else "quiet"), ""
    return _SYMPTOMS[rule.name](found), ""


def has_symptom(found: Snapshot) -> bool:
    """Return whether any alert is firing, pending, or to be seen by its symptom."""
    return any(find_state(rule, found)[0] not in _QUIET for rule in read_alert_rules())


def judge(target: Target, found: Snapshot) -> list[Verdict]:
    """Return a verdict for each alert of `checks/alerts.yml`, the most urgent first."""
    verdicts = []
    for rule in read_alert_rules():
        state, since = find_state(rule, found)
        quiet = state in _QUIET
        verdicts.append(
            Verdict(
                rule=rule,
                state=state,
                since=since,
                hits="" if quiet else describe_hits(rule.name, found),
                evidence=() if quiet else collect_evidence(rule.name, found),
                advice=Advice("", "") if quiet else advise(rule.name, since, target, found),
            )
        )
    return sorted(verdicts, key=lambda v: (_STATES.index(v.state), v.rule.priority))


def advise(name: str, since: str, target: Target, found: Snapshot) -> Advice:
    """Return what the page recommends for the alert in the state at hand."""
    if is_recovering(name, found):
        done = f"Traffic is pinned to {found.serving}"
        if found.open_changes:
            done = f"{found.open_changes[0]['step']} is in force"
        return Advice("", f"{done} and requests succeed again: wait for it to clear.")
    if should_release(found):
        assert found.service is not None  # noqa: S101 - should_release read it
        return Advice(
            RELEASE,
            f"Traffic is pinned to {found.serving}, which fails, while the newer "
            f"{found.service.latest_ready} is ready, gets no traffic, and is not known to fail.",
        )
    if name == "ServiceDown":
        return advise_service_down(found)
    return advise_high_error_rate(since, target, found)


def is_recovering(name: str, found: Snapshot) -> bool:
    """Return whether something was done and the symptom is gone, so that the alert only lags.

    A pin counts too: it is what a rollback by hand, or from another machine, leaves.
    """
    if not found.open_changes and not found.pinned:
        return False
    if name == "ServiceDown":
        # Instances that keep dying come up for a moment between two deaths.
        if not found.open_changes and symptoms.list_ended(found.platform, found.serving):
            return False
        return bool(found.up) and found.health is not None and found.health.ready
    if found.recent is None:
        return False
    now = traffic.share_of_all(found.recent)
    return now.per_second > 0 and now.error_share <= HEALTHY_ERROR_SHARE


def should_release(found: Snapshot) -> bool:
    """Return whether traffic is pinned to what fails while the latest revision may well be good.

    Not after a rollback of ours: that one pinned the traffic away from the latest on purpose.
    """
    service = found.service
    if service is None or not found.pinned or service.latest_ready in {"", found.serving}:
        return False
    if _is_rolled_back(found) or "latest" in found.silent:
        return False
    latest = found.find_revision(service.latest_ready)
    serving = found.find_revision(found.serving)
    if latest is None or serving is None or latest.created <= serving.created:
        return False
    measured = found.latest_evidence
    failed_before = measured is not None and measured.error_share > HEALTHY_ERROR_SHARE
    return not failed_before and not symptoms.list_ended(found.platform, latest.name)


def advise_service_down(found: Snapshot) -> Advice:
    """Return the advice for a service of which no instance answers."""
    serving = found.serving
    ended = symptoms.list_ended(found.platform, serving)
    unstarted = symptoms.list_not_started(found.platform, serving)
    if ended or unstarted:
        cause = (unstarted or ended)[0].message
        told = f"Containers of {serving} cannot keep running ({cause[:160]})"
        return _advise_rollback(told, found)
    status = found.health.status if found.health else None
    if symptoms.is_silent(status, deadline_passed=found.health_timed_out):
        return Advice(
            RESTART,
            f"Instances of {serving or 'the service'} take connections and do not answer, none "
            "ended by itself: they hang.",
        )
    return Advice(RESTART, "No instance answers, and nothing shows that one of them ended.")


def advise_high_error_rate(since: str, target: Target, found: Snapshot) -> Advice:
    """Return the advice for a service that answers many requests with a server error."""
    revision = found.find_revision(found.serving)
    blame = _blame_deployment(since, revision, target) if revision else ""
    if blame:
        return _advise_rollback(blame, found)
    full = found.rates is not None and symptoms.is_mostly_unavailable(found.rates)
    if full and symptoms.is_at_capacity(found.cpu_percents):
        mean = sum(found.cpu_percents) / len(found.cpu_percents)
        return Advice(
            _scale_up(found),
            f"Most errors are 503 with {len(found.cpu_percents)} instances at {mean:.0f} % of "
            "their CPU: there is more work than they can do, and no deployment brought it.",
        )
    failing = [name for name, works in (found.health.checks if found.health else {}).items()
               if not works]  # fmt: skip
    if failing:
        return Advice(
            "invoke assess.errors",
            f"The service says that {', '.join(failing)} does not work, and no deployment came "
            "with it: a rollback would not help.",
        )
    return Advice(LOOK_CLOSER, "No deployment and no lack of capacity explains it: look closer.")


def describe_hits(name: str, found: Snapshot) -> str:
    """Return whom the alert hits: everyone, or which tenants and endpoints."""
    if name == "ServiceDown":
        return "all tenants"
    if found.rates is None:
        return "unknown: no rates"
    tenants = [share for share in traffic.share_by(found.rates, "tenant") if share.name]
    paths = traffic.share_by(found.rates, "path")
    threshold = find_alert_rule(name).threshold or 0.0
    confined = symptoms.find_confined(tenants)
    if confined is not None:
        who = f"one tenant: {confined.name}"
    else:
        hit = symptoms.list_affected(tenants, threshold)
        named = ", ".join(share.name for share in hit[:_NAMED_TENANTS])
        more = ", …" if len(hit) > _NAMED_TENANTS else ""
        everyone = tenants and len(hit) == len(tenants)
        who = "all tenants" if everyone else f"{len(hit)} of {len(tenants)} tenants"
        who += f" ({named}{more})" if named and not everyone else ""
    bad = symptoms.list_affected(paths, threshold)
    if paths and 0 < len(bad) < len(paths):
        return f"{who}; endpoints {', '.join(share.name for share in bad)}"
    return who


def collect_evidence(name: str, found: Snapshot) -> tuple[str, ...]:
    """Return what is known about the symptom, a sentence each."""
    told = []
    if found.up is not None:
        told.append(f"{found.up} instances answer Prometheus.")
    if found.health is not None:
        told.append(f"GET /health/ready answers {found.health.status}.")
    elif "health" in found.silent:
        told.append(f"GET /health/ready: {found.silent['health']}")
    if name != "ServiceDown" and found.rates is not None:
        whole = traffic.share_of_all(found.rates)
        told.append(
            f"{whole.error_share:.1%} of {whole.per_second:.0f} requests a second fail "
            f"({found.rates.source}, {found.rates.window_s:.3g} s)."
        )
        told += [
            f"{share.name}: {share.error_share:.0%} of its requests fail."
            for share in traffic.share_by(found.rates, "revision")
            if share.errors_per_second > 0 and share.name
        ]
    told += _describe_ends(found)
    return tuple(told)


def _describe_ends(found: Snapshot) -> list[str]:
    serving = found.serving
    told = []
    for kind, entries in (
        ("ended by themselves", symptoms.list_ended(found.platform, serving)),
        ("could not start", symptoms.list_not_started(found.platform, serving)),
    ):
        if entries:
            told.append(f"Containers of {serving} {kind} {len(entries)} times lately.")
    return told


def _describe_before(before: Evidence) -> str:
    return (
        f"{before.revision} last served healthily ({before.error_share:.1%} of {before.requests} "
        f"requests failed, by {before.source})"
    )


def _describe_no_evidence(found: Snapshot) -> str:
    silent = found.silent.get("evidence")
    if silent is None or isinstance(silent, RefusedError):
        return "no other revision is known to have served healthily"
    return f"which one served healthily nobody could tell ({silent})"


def _is_rolled_back(found: Snapshot) -> bool:
    return any(change["step"] == "mitigate.rollback" for change in found.open_changes)


def _advise_rollback(why: str, found: Snapshot) -> Advice:
    before = found.healthy_before
    if before is None:
        choose = f"choose one, then {ROLLBACK} --to=REVISION"
        told = f"{why}, and {_describe_no_evidence(found)}: {choose}."
        return Advice("invoke assess.revisions", told)
    # While a rollback is in force, the bare command stays where it is: only a name goes further.
    command = f"{ROLLBACK} --to={before.revision}" if _is_rolled_back(found) else ROLLBACK
    return Advice(command, f"{why}; {_describe_before(before)}.")


def _scale_up(found: Snapshot) -> str:
    revision = found.find_revision(found.serving)
    most = revision.max_instances if revision else 0
    most = min(most or DEFAULT_MAX_INSTANCES, MAX_INSTANCES)
    wider = min(2 * most, MAX_INSTANCES)
    return f"invoke mitigate.scale-up --min-instances={most} --max-instances={wider}"


def _blame_deployment(since: str, revision: Revision, target: Target) -> str:
    """Return how the deployment explains the errors, or "" when it does not.

    Where nobody tells since when there are errors, only a recent deployment is suspected.
    """
    if since:
        came = symptoms.came_with(since, revision.created, target.seconds(DEPLOYMENT_S))
        return f"The errors came with {revision.name}, deployed just before" if came else ""
    now = datetime.now(UTC).isoformat()
    if not symptoms.came_with(now, revision.created, target.seconds(SUSPECT_S)):
        return ""
    return f"{revision.name} was deployed lately, and since when there are errors nobody tells"


def _find_alert(name: str, found: Snapshot) -> Alert | None:
    alerts = [alert for alert in found.alerts if alert.name == name]
    return min(alerts, key=lambda alert: _STATES.index(alert.state)) if alerts else None


def _see_service_down(found: Snapshot) -> str:
    if found.up is not None:
        return "seen" if found.up == 0 else "quiet"
    if found.health is not None and found.health.ready:
        return "quiet"
    if found.rates is not None:
        return "quiet"
    # When Cloud Run does not answer either, it may be our own network that is down.
    return "unknown" if found.health is None and found.service is None else "seen"


def _see_high_error_rate(found: Snapshot) -> str:
    if found.rates is None:
        return "unknown"
    share = traffic.share_of_all(found.rates).error_share
    return (
        "seen" if symptoms.exceeds(share, find_alert_rule("HighErrorRate").threshold) else "quiet"
    )


_SYMPTOMS: dict[str, Callable[[Snapshot], str]] = {
    "ServiceDown": _see_service_down,
    "HighErrorRate": _see_high_error_rate,
}
