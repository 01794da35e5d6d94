"""Kubernetes as a system that mitigations change: one Deployment and its pods."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.target import is_loopback
from runbook.changes import blast_radius, kubernetes_plans, kubernetes_requests
from runbook.changes.kubernetes_patch import DeploymentPatch
from runbook.changes.kubernetes_state import DeploymentState, read_deployment
from runbook.changes.system import Outcome
from runbook.timeline import find_open, open_timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.settings import Wish
    from runbook.changes.verify import Findings
    from runbook.timeline import Change

_PAUSE_S, _PAUSE_HERE_S = 2.0, 0.2
_OWN_STATUS = "status"  # managedFields: what controllers wrote, nobody asked for it


@dataclass(frozen=True)
class Kubernetes:
    """The target's Deployment; see runbook.changes.system for what each part does."""

    target: Target
    name = kubernetes_plans.NAME
    title = "Kubernetes"

    def read(self) -> DeploymentState:
        """Return the Deployment as it is now; raises RunbookError."""
        return read_deployment(self.target)

    def parse_patch(self, detail: Mapping[str, Any]) -> DeploymentPatch:
        """Return the patch that the timeline keeps."""
        return DeploymentPatch(**detail)

    def send(self, plan: Plan) -> int:
        """Patch the Deployment; return the generation that it has from then on."""
        patch = patch_of(plan)
        return kubernetes_requests.send_patch(self.target, patch, plan.generation, plan.before)

    def wait(self, handle: int, deadline_s: float) -> Outcome:
        """Return how the roll-out of this generation ended."""
        end = time.monotonic() + deadline_s
        api = self.target.control or ""
        pause = _PAUSE_HERE_S if api and is_loopback(api) else _PAUSE_S
        while True:
            try:
                state = self.read()
            except RunbookError as error:
                return Outcome(failure=str(error), finished=False)
            if state.generation > handle:
                return Outcome(failure="it was changed again meanwhile", finished=False)
            missing, failure = judge_rollout(state)
            if failure or not missing:
                return Outcome(failure=failure)
            if time.monotonic() >= end:
                return Outcome(finished=False)
            time.sleep(pause)

    def describe_handle(self, handle: int) -> str:
        """Return the generation that the change made."""
        return f"generation {handle}"

    def look(self, plan: Plan, reading: DeploymentState, found: Findings) -> None:
        """Add what is not in force yet: fields, and pods of the new template."""
        found.served = dict(reading.cluster.deployment.shares)
        found.instances = int(reading.status.get("readyReplicas") or 0)
        fields = reading.fields(plan.after)
        changed = [
            self.name_field(name) for name, value in plan.after.items() if fields[name] != value
        ]
        if changed:
            found.missing.append(f"{', '.join(changed)} of {reading.name} is not as asked for")
        missing, failure = judge_rollout(reading)
        found.missing += [one for one in (missing, failure) if one]

    def describe_conflict(self, plan: Plan, now: DeploymentState) -> str:
        """Return who changed what between the plan and `now`, by managedFields."""
        changed = [
            f"{self.name_field(name)} from {plan.before[name]} to {value}"
            for name, value in now.fields(plan.before).items()
            if value != plan.before[name]
        ]
        what = "; ".join(changed) or "another field"
        return (
            f"{describe_writer(now)} changed {now.name}, after the plan was made (generation"
            f" {plan.generation} to {now.generation}): {what}. Nothing was changed by this command."
        )

    def blast_radius(self, reading: DeploymentState, _plan: Plan) -> dict[str, Any]:
        """Return the pods, and instances and tenants when Prometheus tells."""
        names = [pod.name for pod in reading.cluster.pods]
        return blast_radius.measure(self.target, "pods", names)

    def plan_undo(
        self,
        reading: DeploymentState,
        change: Change,
        *,
        attempt: str,
        overwritten: frozenset[str],
    ) -> Plan:
        """Return the plan that brings the recorded fields back; nothing new needs a name."""
        del attempt
        return kubernetes_plans.plan_undo(self.target, reading, change, overwritten=overwritten)

    def name_field(self, name: str) -> str:
        """Return what people call a field."""
        return kubernetes_plans.name_field(name)

    def describe_field(self, name: str, value: Any) -> str:  # noqa: ANN401 - a field's value
        """Return a field's value in words."""
        return kubernetes_plans.describe_field(name, value)

    def serving_template(self, reading: DeploymentState) -> Mapping[str, Any]:
        """Return the pod template's spec."""
        return reading.pod_spec

    def plan_settings(self, reading: DeploymentState, wish: Wish, *, change: str) -> Plan:
        """Return the plan that gives the pods these settings, or their number."""
        return kubernetes_plans.plan_settings(self.target, reading, wish, change=change)

    def plan_restart(self, reading: DeploymentState, *, change: str) -> Plan:
        """Return the plan that replaces every pod."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return kubernetes_plans.plan_restart(self.target, reading, change=change, stamp=stamp)

    def plan_rollback(self, reading: DeploymentState, *, to: str, change: str, force: bool) -> Plan:
        """Return the plan that brings `to` back, or what last served healthily."""
        notes: dict[str, Any] = {}
        chosen = to or self._find_restored(reading)
        again = chosen and not to
        if not chosen:
            chosen, notes = self._find_healthy(reading)
        return kubernetes_plans.plan_rollback(
            self.target, reading, to=chosen, change=change, force=force or bool(again), notes=notes
        )

    def _find_restored(self, reading: DeploymentState) -> str:
        """Return the ReplicaSet that a rollback in force has brought back, or ""."""
        for change in find_open(open_timeline(self.target.name).changes()):
            after = change.intent.after
            mine = change.step == "mitigate.rollback" and change.system == self.name
            if mine and reading.fields(after) == after:
                return str(after["template"])
        return ""

    def _find_healthy(self, reading: DeploymentState) -> tuple[str, dict[str, Any]]:
        from checks.evidence import find_last_healthy
        from runbook.changes.platform import note_evidence

        cluster = reading.cluster
        found = find_last_healthy(self.target, cluster.deployment, cluster.revisions)
        return found.revision, {"evidence": note_evidence(found)}


def patch_of(plan: Plan) -> DeploymentPatch:
    """Return the plan's patch; raises TypeError for a plan of another system."""
    if not isinstance(plan.patch, DeploymentPatch):
        raise TypeError(f"a plan of {plan.system} was given to Kubernetes")
    return plan.patch


def judge_rollout(state: DeploymentState) -> tuple[str, str]:
    """Return what the roll-out still lacks, and why it failed; both "" once it is complete.

    As `kubectl rollout status` judges it.
    """
    status, wanted = state.status, state.replicas
    if not state.observed:
        return "the controller has not seen the change", ""
    conditions = {one.get("type"): one for one in status.get("conditions") or []}
    progressing = conditions.get("Progressing") or {}
    updated, total, available = (
        int(status.get(name) or 0) for name in ("updatedReplicas", "replicas", "availableReplicas")
    )
    failure = ""
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        failure = str(progressing.get("message") or "the roll-out exceeded its progress deadline")
    if updated < wanted:
        return f"{updated} of {wanted} pods are of the new template", failure
    if total > updated:
        return f"{total - updated} old pods are still there", failure
    if available < updated:
        return f"{available} of {updated} pods are available", failure
    return "", ""


def describe_writer(state: DeploymentState) -> str:
    """Return who last wrote what is asked for, and when, by managedFields; or "somebody"."""
    written = [
        entry
        for entry in state.raw["metadata"].get("managedFields") or []
        if entry.get("subresource") != _OWN_STATUS and entry.get("manager")
    ]
    if not written:
        return "somebody"
    last = max(written, key=lambda entry: str(entry.get("time", "")))
    when = f" at {last['time']}" if last.get("time") else ""
    return f"somebody with {last['manager']}{when}"
