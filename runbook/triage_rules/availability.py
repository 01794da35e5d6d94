"""ServiceDown and HighErrorRate: requests are not answered, or with a server error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import symptoms, traffic
from checks.evidence import HEALTHY_ERROR_SHARE
from runbook.triage_rules import scale
from runbook.triage_rules.deployment import advise_release, advise_rollback, blame_deployment
from runbook.triage_rules.verdict import CAPACITY, NAMED_TENANTS, RESTART, Advice, State

if TYPE_CHECKING:
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

LOOK_CLOSER = "invoke assess.error-pattern"


class ServiceDown:
    """No instance answers."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:  # noqa: ARG002 - a Judge's
        """Return `seen` when neither Prometheus nor the service's address reaches anyone."""
        if found.up is not None:
            return "seen" if found.up == 0 else "quiet"
        if found.health is not None and found.health.ready:
            return "quiet"
        if found.rates is not None:
            return "quiet"
        # When the platform does not answer either, it may be our own network that is down.
        return "unknown" if found.health is None and found.service is None else "seen"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:  # noqa: ARG002 - a Judge's
        """Return everyone."""
        return "all tenants"

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:  # noqa: ARG002 - a Judge's
        """Return who answers, and how containers ended."""
        return (*describe_answers(found), *_describe_ends(found))

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:  # noqa: ARG002 - a Judge's
        """Return whether instances answer again, and not just between two deaths."""
        if not found.open_changes and symptoms.list_ended(found.platform_log, found.serving):
            return False
        return bool(found.up) and found.health is not None and found.health.ready

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return a rollback where containers die or cannot start, else a restart."""
        release = advise_release(found)
        if release is not None:
            return release
        serving = found.serving
        ended = symptoms.list_ended(found.platform_log, serving)
        unstarted = symptoms.list_not_started(found.platform_log, serving)
        if ended or unstarted:
            cause = (unstarted or ended)[0].message
            told = f"Containers of {serving} cannot keep running ({cause[:160]})"
            return advise_rollback(told, found)
        status = found.health.status if found.health else None
        if symptoms.is_silent(status, deadline_passed=found.health_timed_out):
            return Advice(
                RESTART,
                f"Instances of {serving or 'the service'} take connections and do not answer, none "
                "ended by itself: they hang.",
            )
        return Advice(RESTART, "No instance answers, and nothing shows that one of them ended.")


class HighErrorRate:
    """Many requests end in a server error."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether the share of errors lies above the threshold."""
        if found.rates is None:
            return "unknown"
        share = traffic.share_of_all(found.rates).error_share
        return "seen" if symptoms.exceeds(share, rule.threshold) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:
        """Return which tenants and endpoints have the errors."""
        if found.rates is None:
            return "unknown: no rates"
        tenants = [share for share in traffic.share_by(found.rates, "tenant") if share.name]
        paths = traffic.share_by(found.rates, "path")
        threshold = rule.threshold or 0.0
        confined = symptoms.find_confined(tenants)
        if confined is not None:
            who = f"one tenant: {confined.name}"
        else:
            hit = symptoms.list_affected(tenants, threshold)
            named = ", ".join(share.name for share in hit[:NAMED_TENANTS])
            more = ", …" if len(hit) > NAMED_TENANTS else ""
            everyone = tenants and len(hit) == len(tenants)
            who = "all tenants" if everyone else f"{len(hit)} of {len(tenants)} tenants"
            who += f" ({named}{more})" if named and not everyone else ""
        bad = symptoms.list_affected(paths, threshold)
        if paths and 0 < len(bad) < len(paths):
            return f"{who}; endpoints {', '.join(share.name for share in bad)}"
        return who

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:  # noqa: ARG002 - a Judge's
        """Return who answers, what share fails, of which revisions, and how containers ended."""
        told = describe_answers(found)
        if found.rates is not None:
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
        return (*told, *_describe_ends(found))

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:  # noqa: ARG002 - a Judge's
        """Return whether nearly all requests of the last two minutes succeeded."""
        if found.recent is None:
            return False
        now = traffic.share_of_all(found.recent)
        return now.per_second > 0 and now.error_share <= HEALTHY_ERROR_SHARE

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return a rollback where a deployment brought it, or more capacity, or where to look."""
        release = advise_release(found)
        if release is not None:
            return release
        blame = blame_deployment("The errors", since, target, found)
        if blame:
            return advise_rollback(blame, found)
        full = found.rates is not None and symptoms.is_mostly_unavailable(found.rates)
        if full and symptoms.is_at_capacity(found.cpu_percents):
            mean = sum(found.cpu_percents) / len(found.cpu_percents)
            return Advice(
                scale.widen(target, found),
                f"Most errors are 503 with {len(found.cpu_percents)} instances at {mean:.0f} % of "
                "their CPU: there is more work than they can do, and no deployment brought it.",
                CAPACITY,
            )
        failing = [name for name, works in (found.health.checks if found.health else {}).items()
                   if not works]  # fmt: skip
        if failing:
            return Advice(
                "invoke assess.errors",
                f"The service says that {', '.join(failing)} does not work, and no deployment came "
                "with it: a rollback would not help.",
            )
        return Advice(
            LOOK_CLOSER, "No deployment and no lack of capacity explains it: look closer."
        )


def describe_answers(found: Snapshot) -> list[str]:
    """Return how many instances answer Prometheus, and what /health/ready says."""
    told = []
    if found.up is not None:
        told.append(f"{found.up} instances answer Prometheus.")
    if found.health is not None:
        told.append(f"GET /health/ready answers {found.health.status}.")
    elif "health" in found.silent:
        told.append(f"GET /health/ready: {found.silent['health']}")
    return told


def _describe_ends(found: Snapshot) -> list[str]:
    serving = found.serving
    told = []
    for kind, entries in (
        ("ended by themselves", symptoms.list_ended(found.platform_log, serving)),
        ("could not start", symptoms.list_not_started(found.platform_log, serving)),
    ):
        if entries:
            told.append(f"Containers of {serving} {kind} {len(entries)} times lately.")
    return told
