"""Cloud Run as a system that mitigations change: one service, its template and its traffic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.prometheus import query
from runbook.changes import blast_radius, cloud_run_requests, settings, state
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.state import LATEST, State
from runbook.changes.system import request_deadline_s
from runbook.timeline import find_open, open_timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.cloud_run import Revision
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.settings import Wish
    from runbook.changes.system import Outcome
    from runbook.changes.verify import Findings
    from runbook.timeline import Change

_PROBE_DEADLINE_S = 5.0
_INSTANCES = "count by (revision) (convergence_instance_info)"
_UNCOUNTED = "Prometheus tells no instances by revision: how many answer was not judged."
_NAMES = {
    "traffic": "traffic",
    "scaling": "instances",
    "restarted_at": "restarted at",
    "template": "template",
}


@dataclass(frozen=True)
class CloudRun:
    """The target's Cloud Run service; see runbook.changes.system for what each part does."""

    target: Target
    name = "cloud_run"
    title = "Cloud Run"

    def read(self) -> State:
        """Return the service as it is now; raises RunbookError."""
        return state.read_state(self.target)

    def parse_patch(self, detail: Mapping[str, Any]) -> RunPatch:
        """Return the patch that the timeline keeps."""
        return RunPatch(**detail)

    def send(self, plan: Plan) -> Any:  # noqa: ANN401 - api_core's Operation is untyped
        """Send the patch under the plan's etag; return its long-running operation."""
        return cloud_run_requests.send_patch(self.target, patch_of(plan), plan.version)

    def wait(self, handle: Any, deadline_s: float) -> Outcome:  # noqa: ANN401 - as `send`
        """Return how the operation ended."""
        return cloud_run_requests.wait_for_operation(self.target, handle, deadline_s)

    def describe_handle(self, handle: Any) -> str:  # noqa: ANN401 - as `send`
        """Return the operation's name."""
        return str(handle.operation.name)

    def look(self, plan: Plan, reading: State, found: Findings) -> None:
        """Add what is not in force yet: fields, the new revision, the served split, instances."""
        _look_at_split(plan, reading, found)
        if not found.missing and plan.mends:
            _look_at_instances(self.target, plan, reading, found)

    def describe_conflict(self, plan: Plan, now: State) -> str:
        """Return who changed what between the plan and `now`."""
        changed = [
            f"{name} from {plan.before[name]} to {value}"
            for name, value in now.fields(plan.before).items()
            if value != plan.before[name]
        ]
        who = now.raw.get("lastModifier") or "someone"
        client = f" with {now.raw['client']}" if now.raw.get("client") else ""
        when = f" at {now.raw['updateTime']}" if now.raw.get("updateTime") else ""
        what = "; ".join(changed) or "another field"
        return (
            f"{who}{client} changed {now.service}{when}, after the plan was made (generation"
            f" {plan.generation} to {now.generation}): {what}. Nothing was changed by this command."
        )

    def blast_radius(self, reading: State, plan: Plan) -> dict[str, Any]:
        """Return revisions that gain or lose requests, and their instances and tenants."""
        patch = patch_of(plan)
        revisions = list(reading.serving)
        if patch.revision and patch.revision not in revisions:
            revisions.append(patch.revision)
        for share in patch.traffic or []:
            name = reading.latest_ready if share["revision"] == LATEST else share["revision"]
            if share["percent"] and name not in revisions:
                revisions.append(name)
        return blast_radius.measure(self.target, "revisions", revisions)

    def plan_undo(
        self, reading: State, change: Change, *, attempt: str, overwritten: frozenset[str]
    ) -> Plan:
        """Return the plan that brings the recorded fields back."""
        from runbook.changes.cloud_run_undo import plan_undo

        return plan_undo(
            self.target,
            reading,
            self.read_revisions(),
            change,
            attempt=attempt,
            read_digest=lambda revision: state.read_digest(self.target, revision),
            overwritten=overwritten,
        )

    def name_field(self, name: str) -> str:
        """Return what people call a field."""
        return _NAMES.get(name) or settings.name_field(name)

    def describe_field(self, name: str, value: Any) -> str:  # noqa: ANN401 - a field's value
        """Return a field's value in words."""
        return state.describe_field(name, value)

    def serving_template(self, reading: State) -> Mapping[str, Any]:
        """Return the template of what is to serve."""
        return reading.base

    def plan_settings(self, reading: State, wish: Wish, *, change: str) -> Plan:
        """Return the plan that makes one new revision with these settings."""
        from runbook.changes.planners_settings import plan_settings

        image = self._read_serving_digest(reading)
        revisions = self.read_revisions()
        return plan_settings(self.target, reading, revisions, wish, change=change, image=image)

    def plan_restart(self, reading: State, *, change: str) -> Plan:
        """Return the plan that replaces every serving instance by a new revision, else the same."""
        from runbook.changes.planners import plan_restart

        return plan_restart(
            self.target,
            reading,
            self.read_revisions(),
            change=change,
            stamp=f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}",
            image=self._read_serving_digest(reading),
        )

    def plan_rollback(self, reading: State, *, to: str, change: str, force: bool) -> Plan:
        """Return the plan that pins all traffic to `to`, or to what last served healthily."""
        from runbook.changes.planners import plan_rollback

        revisions = self.read_revisions()
        notes: dict[str, Any] = {}
        chosen = to or self._find_pinned(reading)
        if not chosen:
            chosen, notes = _find_healthy(self.target, reading, revisions)
        return plan_rollback(
            self.target, reading, revisions, to=chosen, change=change, force=force, notes=notes
        )

    def _find_pinned(self, reading: State) -> str:
        """Return the revision that a rollback in force has sent all traffic to, or ""."""
        for change in find_open(open_timeline(self.target.name).changes()):
            after = change.intent.after
            mine = change.step == "mitigate.rollback" and change.system == self.name
            if mine and reading.fields(after) == after:
                return str(after["traffic"][0]["revision"])
        return ""

    def read_revisions(self) -> dict[str, Revision]:
        """Return the service's revisions by name; raises RunbookError."""
        from checks.cloud_run import list_revisions

        listed = list_revisions(self.target, deadline_s=request_deadline_s())
        return {revision.name: revision for revision in listed}

    def _read_serving_digest(self, reading: State) -> str:
        """Return the image that serves by digest, or "" when nobody tells."""
        serving = reading.serving
        return state.read_digest(self.target, serving[0]) if serving else ""


def patch_of(plan: Plan) -> RunPatch:
    """Return the plan's patch; raises TypeError for a plan of another system."""
    if not isinstance(plan.patch, RunPatch):
        raise TypeError(f"a plan of {plan.system} was given to Cloud Run")
    return plan.patch


def _find_healthy(
    target: Target, reading: State, revisions: Mapping[str, Revision]
) -> tuple[str, dict[str, Any]]:
    from checks.cloud_run import parse_service
    from checks.evidence import find_last_healthy
    from runbook.changes.platform import note_evidence

    found = find_last_healthy(target, parse_service(dict(reading.raw)), list(revisions.values()))
    return found.revision, {"evidence": note_evidence(found)}


def _look_at_split(plan: Plan, now: State, found: Findings) -> None:
    found.served = dict(now.served)
    wanted: dict[str, int] = {}
    for share in now.traffic:
        name = now.latest_ready if share["revision"] == LATEST else share["revision"]
        if share["percent"]:
            wanted[name] = wanted.get(name, 0) + share["percent"]
    fields = now.fields(plan.after)
    changed = [
        _NAMES.get(name) or settings.name_field(name)
        for name, value in plan.after.items()
        if fields[name] != value
    ]
    if changed:
        found.missing.append(f"{', '.join(changed)} of {now.service} is not what was asked for")
    # A revision that an undo makes behind a pin serves nobody, so nothing waits for it.
    awaited = patch_of(plan).makes_revision and not (plan.undoes and now.pinned)
    if awaited and now.latest_ready != now.template:
        found.missing.append(f"the new revision {now.template} is not ready")
    if now.served != wanted:
        shares = ", ".join(f"{share} % {name}" for name, share in now.served.items())
        found.missing.append(f"the traffic that is served is {shares or 'none'}")


def _look_at_instances(target: Target, plan: Plan, now: State, found: Findings) -> None:
    least = (patch_of(plan).scaling or {}).get("min", 0)
    if target.prometheus is None or not least:
        return
    try:
        samples = query(target, _INSTANCES, deadline_s=_PROBE_DEADLINE_S)
    except RunbookError:
        return
    counts = {s.labels["revision"]: int(s.value) for s in samples if s.labels.get("revision")}
    if not counts:
        found.notes.append(_UNCOUNTED)
        return
    found.instances = counts.get(now.template, 0)
    if found.instances < least:
        found.missing.append(f"{found.instances} of {least} instances of {now.template} answer")
