"""HighLatencyP95: requests take too long; for want of CPU, or for what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import latency, symptoms
from runbook.triage_rules import cpu
from runbook.triage_rules.availability import describe_answers
from runbook.triage_rules.deployment import advise_rollback, blame_deployment
from runbook.triage_rules.verdict import CACHE, TIMEOUT, Advice, State, name_some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

LOOK_CLOSER = "invoke assess.slow-endpoints"
# The service waits up to 80 % of its time-out for a tenant's source before it answers 202.
SECONDS = 1
_WINDOW_S = 300.0


class HighLatency:
    """The fleet's P95 lies above the threshold."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether the P95 of two scrapes lies above the threshold."""
        if found.rates is None or found.rates.signs is None:
            return "unknown"
        p95 = found.rates.signs.p95_s
        return "unknown" if p95 is None else "seen" if p95 > (rule.threshold or 0.0) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:
        """Return which tenants and endpoints are slow."""
        if not found.latencies:
            return "unknown: no latencies"
        tenants = found.latencies.get("tenant", [])
        slow = latency.find_slow(tenants, rule.threshold or 0.0, _WINDOW_S)
        who = "all tenants" if slow.everywhere else f"{len(slow.names)} of {len(tenants)} tenants"
        if slow.names and not slow.everywhere:
            who += f" ({name_some(list(slow.names))})"
        paths = list_slow_paths(rule, found)
        if paths and len(paths) < len(found.latencies.get("endpoint", [])):
            return f"{who}; endpoints {', '.join(paths)}"
        return who

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:
        """Return the P95, the slow endpoints' own, and how busy the instances are."""
        told = describe_answers(found)
        endpoints = (found.latencies or {}).get("endpoint", [])
        whole = latency.sum_latencies(endpoints).now.quantile(0.95) if endpoints else None
        if whole is not None:
            told.append(f"P95 of all requests: {_tell(whole)}.")
        slow = set(list_slow_paths(rule, found))
        for one in endpoints:
            quantile = one.now.quantile(0.95)
            if one.name in slow and quantile is not None:
                told.append(f"{one.name}: P95 {_tell(quantile)}.")
        return (*told, *cpu.describe_use(found))

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether the P95 of the last two minutes is below the threshold."""
        return found.recent_p95 is not None and found.recent_p95 <= (rule.threshold or 0.0)

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:
        """Return what mends the slowness: by where the CPU is, then by which endpoints are slow."""
        if symptoms.is_at_capacity(found.cpu_percents):
            return cpu.advise_on_cpu("Requests wait for CPU", since, target, found)
        blame = blame_deployment("The slowness", since, target, found)
        if blame:
            return advise_rollback(blame, found)
        paths = list_slow_paths(rule, found)
        idle = f"the instances have CPU to spare ({cpu.tell_mean(found)})"
        verbs = {verb for path in paths for verb in found.methods.get(path, ())}
        if paths and verbs == {"GET"}:
            return Advice(
                CACHE,
                f"Reads alone are slow ({', '.join(paths)}), and {idle}: they wait for the store; "
                "answers that were read once need no second query.",
                "slow reads",
            )
        if paths and verbs == {"POST"}:
            return Advice(
                f"{TIMEOUT} --seconds={SECONDS}",
                f"Only {', '.join(paths)} is slow, and {idle}: runs wait for something outside; "
                "with a shorter time-out they are answered at once and go on in the background.",
                "slow runs",
            )
        failing = [name for name, works in (found.health.checks if found.health else {}).items()
                   if not works]  # fmt: skip
        if failing:
            return Advice(
                "invoke assess.errors",
                f"The service says that {', '.join(failing)} does not work: requests wait for it.",
            )
        return Advice(
            LOOK_CLOSER,
            f"No deployment explains it, and {idle}: look at what the slow requests share."
            if found.cpu_percents
            else "Nobody tells how busy the instances are: look at what the slow requests share.",
        )


def list_slow_paths(rule: AlertRule, found: Snapshot) -> Sequence[str]:
    """Return the endpoints whose own P95 lies above the threshold, most slow requests first."""
    endpoints = (found.latencies or {}).get("endpoint", [])
    return latency.find_slow(endpoints, rule.threshold or 0.0, _WINDOW_S).names


def _tell(quantile: latency.Quantile) -> str:
    return f"{'above ' if quantile.beyond else ''}{quantile.seconds:.2g} s"
