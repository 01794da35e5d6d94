"""HighCPUUsage and CriticalCPUUsage: a build that burns CPU, or more work than there is CPU for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import traffic
from runbook.triage_rules import scale
from runbook.triage_rules.deployment import SUSPECT_S, advise_rollback, blame_deployment
from runbook.triage_rules.verdict import CAPACITY, Advice, State

if TYPE_CHECKING:
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot


class CpuUsage:
    """The instances of a revision use more of their CPU than the threshold."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether the instances that were scraped use more than the threshold."""
        if not found.cpu_percents:
            return "unknown"
        mean = sum(found.cpu_percents) / len(found.cpu_percents)
        return "seen" if mean > (rule.threshold or 0.0) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:  # noqa: ARG002 - a Judge's
        """Return everyone: each request waits for the same CPUs."""
        return f"all tenants, through {found.serving}" if found.serving else "all tenants"

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:  # noqa: ARG002 - a Judge's
        """Return how busy the instances are, and with how many requests."""
        return tuple(describe_use(found))

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether the instances use less than the threshold now."""
        if not found.cpu_percents:
            return False
        mean = sum(found.cpu_percents) / len(found.cpu_percents)
        return mean <= (rule.threshold or 0.0)

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return a rollback where a deployment made requests dearer, else more capacity."""
        return advise_on_cpu("The instances are busy", since, target, found)


def advise_on_cpu(what: str, since: str, target: Target, found: Snapshot) -> Advice:
    """Return the advice for instances without CPU to spare; `what` is the symptom in words.

    What requests cost decides where it is known; else whether a deployment came just before.
    """
    costs = found.costs
    if costs is not None and costs.before is not None and costs.now is not None:
        blame = blame_deployment("The CPU use", since, target, found, within_s=SUSPECT_S)
        if blame and costs.grew_by_itself:
            before, now = costs.before, costs.now
            return advise_rollback(
                f"{blame}: an instance uses {now.cpu_percent:.0f} % of its CPU for "
                f"{now.per_second:.1f} requests a second, where {before.cpu_percent:.0f} % were "
                f"enough for {before.per_second:.1f} before",
                found,
            )
        reason = "no instance gets by with as little as before the last deployment"
        reason = "the load grew with it" if blame else "no deployment brought it"
    else:
        blame = blame_deployment("The CPU use", since, target, found)
        if blame:
            return advise_rollback(blame, found)
        reason = "no deployment brought it"
    return Advice(
        scale.widen(target, found),
        f"{what}: {len(found.cpu_percents)} instances use {tell_mean(found)} of their CPU, and "
        f"{reason}: there is more work than they can do.",
        CAPACITY,
    )


def describe_use(found: Snapshot) -> list[str]:
    """Return how busy the instances are and how many requests they answer."""
    if not found.cpu_percents:
        return []
    told = f"{len(found.cpu_percents)} instances use {tell_mean(found)} of their CPU on average"
    if found.rates is not None:
        told += f", for {traffic.share_of_all(found.rates).per_second:.0f} requests a second"
    return [f"{told}."]


def tell_mean(found: Snapshot) -> str:
    """Return the average CPU use in words."""
    if not found.cpu_percents:
        return "an unknown share"
    return f"{sum(found.cpu_percents) / len(found.cpu_percents):.0f} %"
