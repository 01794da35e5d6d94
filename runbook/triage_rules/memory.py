"""HighMemoryUsage and CriticalMemoryUsage: a build that leaks, data that grew, or a one-off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.memory import list_full, list_full_again
from runbook.triage_rules import scale
from runbook.triage_rules.deployment import SUSPECT_S, advise_rollback, blame_deployment
from runbook.triage_rules.verdict import RESTART, Advice, State

if TYPE_CHECKING:
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

_PROCESSES = "invoke assess.processes"


class MemoryUsage:
    """An instance uses more of its memory than the threshold."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether an instance that was scraped is above the threshold."""
        if found.rates is None or found.rates.signs is None:
            return "unknown"
        share = found.rates.signs.memory_share
        if share is None:
            return "unknown"
        return "seen" if share > (rule.threshold or 0.0) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:
        """Return how many instances are about to be killed."""
        if not found.lives:
            return "unknown: nobody tells which instances"
        newest = max(life.seen for life in found.lives)
        there = [life for life in found.lives if life.seen == newest]
        full = [life for life in there if life.last > (rule.threshold or 0.0)]
        return f"{len(full)} of {len(there)} instances; requests on one are lost when it is killed"

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:
        """Return the fullest instances, which filled up after others had, and what was killed."""
        full = list_full(found.lives)
        told = []
        if full:
            top = max(full, key=lambda life: life.peak)
            told.append(f"{top.instance} ({top.revision}) reached {top.peak:.0%} of its memory.")
        again = list_full_again(found.lives)
        if again:
            told.append(
                f"{len(again)} instances that were started after that passed "
                f"{rule.threshold or 0.0:.0%} as well."
            )
        killed = [e for e in found.platform_log if "emory limit" in e.message or "OOM" in e.message]
        if killed:
            told.append(f"{len(killed)} times an instance was killed for its memory lately.")
        return tuple(told)

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether no instance that is there now is above the threshold."""
        if not found.lives:
            return False
        newest = max(life.seen for life in found.lives)
        return all(
            life.last <= (rule.threshold or 0.0) for life in found.lives if life.seen == newest
        )

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return a rollback, more memory, or a restart: by who filled up, and when."""
        blame = blame_deployment("The growth", since, target, found, within_s=SUSPECT_S)
        others = [life for life in list_full(found.lives) if life.revision != found.serving]
        if blame and not others:
            return advise_rollback(
                f"{blame}, and no instance of another revision got that full", found
            )
        again = list_full_again(found.lives)
        if again:
            command = scale.enlarge(target, found)
            told = (
                f"{len(again)} instances filled up although they were started after the first had: "
                "a restart gives only a little time, and no deployment brought it"
            )
            if not command:
                return Advice(_PROCESSES, f"{told}; there is no larger instance: look what fills "
                              "it.", "more data than memory")  # fmt: skip
            return Advice(command, f"{told}: they need more memory.", "more data than memory")
        if not found.lives:
            return Advice(_PROCESSES, "Nobody tells how memory grew: look at the processes.")
        return Advice(
            RESTART,
            "No deployment brought it, and no instance started since has filled up: a fresh start "
            "gives the memory back.",
            "memory that was not given back",
        )
