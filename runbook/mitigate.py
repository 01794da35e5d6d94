"""Mitigate: stop the bleeding. Every change is planned, recorded, verified, and can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

    from checks.cloud_run import Revision
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.state import State
    from runbook.timeline import Change

_SERVICE = "{service} --project={project} --region={region}"
_HELP = {
    "dry_run": "Show the plan, the lines by hand and whom it reaches; change nothing.",
    "yes": "Do not ask; a protected target accepts it only while an incident is open.",
    "force": "Go on where the step would refuse because it looks useless or harmful.",
}


def _help(*names: str, **own: str) -> dict[str, str]:
    return own | {name: _HELP[name] for name in ("dry_run", "yes", *names)}


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    by_hand=f"gcloud run services update-traffic {_SERVICE} --to-revisions={{to}}=100",
    changes="cloud_run",
    example={"to": "convergence-data-pipeline-00001-abc"},
    original=("C04", "C05", "C15"),
    help=_help("force", to="Revision to go to; default: the one that last served healthy."),
)
def rollback(
    _c: Context,
    to: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Send all traffic to the revision that last served healthy, by evidence.

    It pins the traffic: later deployments get none until mitigate.release-traffic. Typed again
    while that pin is in force, it looks whether it helped; `--to` goes further back.
    """
    from checks.inputs import check_revision_name
    from checks.target import load_target
    from runbook.changes import planners
    from runbook.changes.change import run_change
    from runbook.changes.cloud_run import CloudRun

    target = load_target()
    system = CloudRun(target)
    named = "" if to is None else check_revision_name(to)

    def plan(state: State, change: str) -> Plan:
        revisions = system.read_revisions()
        notes: dict[str, Any] = {}
        chosen = named or _find_pinned(target, state)
        if not chosen:
            chosen, notes = _find_healthy(target, state, revisions)
        return planners.plan_rollback(
            target, state, revisions, to=chosen, change=change, force=force, notes=notes
        )

    def resumes(change: Change) -> bool:
        pinned = change.intent.after.get("traffic", [{}])[0].get("revision")
        return change.step == "mitigate.rollback" and named in ("", pinned)

    return run_change(system, plan, dry_run=dry_run, yes=yes, resumes=resumes)


@step(
    alerts=("ServiceDown",),
    by_hand=f"gcloud run services update {_SERVICE} --update-labels=restarted-at={{at}}",
    changes="cloud_run",
    example={"at": "20261123t061200z"},
    original=("C07",),
    help=_help(),
)
def restart(_c: Context, dry_run: bool = False, yes: bool = False) -> Report:
    """Replace every instance that serves by a new revision with nothing else changed.

    While traffic is pinned, or the newest deployment failed, the new revision is made from the
    one that serves, and a pin moves along with it.
    """
    from datetime import UTC, datetime

    from checks.target import load_target
    from runbook.changes import planners
    from runbook.changes.change import run_change
    from runbook.changes.cloud_run import CloudRun

    target = load_target()
    system = CloudRun(target)

    def plan(state: State, change: str) -> Plan:
        return planners.plan_restart(
            target,
            state,
            system.read_revisions(),
            change=change,
            stamp=f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}",
            image=system.read_serving_digest(state),
        )

    return run_change(
        system,
        plan,
        dry_run=dry_run,
        yes=yes,
        resumes=lambda change: change.step == "mitigate.restart",
    )


@step(
    alerts=("HighErrorRate",),
    by_hand=f"gcloud run services update {_SERVICE}"
    " --min-instances={min_instances} --max-instances={max_instances}",
    changes="cloud_run",
    example={"min_instances": 10, "max_instances": 20},
    original=("C16",),
    help=_help(
        "force",
        min_instances="Instances that always run, 0 to 1000.",
        max_instances="Instances at most, 1 to 1000.",
    ),
)
def scale_up(
    _c: Context,
    min_instances: int = 10,
    max_instances: int = 20,
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Give what serves more instances, by way of a new revision that is otherwise the same.

    While traffic is pinned, or the newest deployment failed, the new revision is made from the
    one that serves, and a pin moves along with it.
    """
    from checks.inputs import check_instance_bounds
    from checks.target import load_target
    from runbook.changes import planners
    from runbook.changes.change import run_change
    from runbook.changes.cloud_run import CloudRun

    least, most = check_instance_bounds(min_instances, max_instances)
    target = load_target()
    system = CloudRun(target)

    def plan(state: State, change: str) -> Plan:
        return planners.plan_scaling(
            target,
            state,
            system.read_revisions(),
            scaling={"min": least, "max": most},
            change=change,
            image=system.read_serving_digest(state),
            force=force,
        )

    def resumes(change: Change) -> bool:
        asked = change.intent.detail.get("patch", {}).get("scaling")
        return change.step == "mitigate.scale-up" and asked == {"min": least, "max": most}

    return run_change(system, plan, dry_run=dry_run, yes=yes, resumes=resumes)


@step(
    alerts=("HighErrorRate",),
    by_hand=f"gcloud run services update-traffic {_SERVICE} --to-latest",
    changes="cloud_run",
    help=_help("force"),
)
def release_traffic(
    _c: Context, dry_run: bool = False, yes: bool = False, force: bool = False
) -> Report:
    """Let traffic follow the latest ready revision again, which ends a rollback's pin."""
    from checks.target import load_target
    from runbook.changes import planners
    from runbook.changes.change import run_change
    from runbook.changes.cloud_run import CloudRun
    from runbook.changes.in_force import find_left
    from runbook.timeline import open_timeline

    target = load_target()
    system = CloudRun(target)
    left = find_left(open_timeline(target.name).changes())

    def plan(state: State, change: str) -> Plan:
        return planners.plan_release(target, state, change=change, left=left, force=force)

    return run_change(
        system,
        plan,
        dry_run=dry_run,
        yes=yes,
        resumes=lambda change: change.step == "mitigate.release-traffic",
    )


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    changes="cloud_run",
    help=_help(change="The change to take back, as `invoke mitigate` lists it; default: newest."),
)
def undo(
    _c: Context, change: str | None = None, dry_run: bool = False, yes: bool = False
) -> Report:
    """Take back the newest change that is in force or was broken off, or the named one.

    It looks at what is really there first, so it can be repeated, also after a crash.
    """
    from checks.target import load_target
    from runbook.changes.change import run_change
    from runbook.changes.system import open_system
    from runbook.changes.undo import choose_change
    from runbook.timeline import find_overwritten, open_timeline

    target = load_target()
    changes = open_timeline(target.name).changes()
    chosen = choose_change(changes, change)
    if chosen is None:
        return Report(
            "Nothing is in force and nothing was broken off, so there is nothing to undo.",
            level="good",
            next_steps=("invoke mitigate.undo --change=ID takes back a finished change",),
            data={"change": None, "status": "unchanged"},
        )

    system = open_system(target, chosen.system)
    overwritten = frozenset(find_overwritten(changes, chosen))

    def plan(reading: Any, attempt: str) -> Plan:  # noqa: ANN401 - a Reading of that system
        return system.plan_undo(reading, chosen, attempt=attempt, overwritten=overwritten)

    return run_change(system, plan, dry_run=dry_run, yes=yes)


@step(default=True, name="open")
def open_(_c: Context) -> Report:
    """List the changes that are still in force or were broken off, and how to take them back."""
    from checks.target import load_target
    from runbook.changes.in_force import find_in_force, find_unrecorded_pin

    target = load_target()
    found, note = find_in_force(target)
    if not found:
        pinned, unasked = find_unrecorded_pin(target)
        if pinned:
            return _report_pin(pinned)
        note = note or unasked
    rows = tuple(
        (one["change"], one["step"], one["state"], one["for"], one["summary"], one["undo"])
        for one in found
    )
    finding = f"{len(found)} changes are in force." if len(found) != 1 else "1 change is in force."
    columns = ("change", "step", "state", "for", "what", "to take it back")
    table = (Table(columns, rows),) if rows else ()
    return Report(
        finding if found else "No change is in force.",
        level="warn" if found else "good",
        evidence=(*table, *([note] if note else [])),
        next_steps=(found[0]["undo"],) if found else ("invoke assess",),
        data={"open": found, "note": note},
    )


def _report_pin(pinned: str) -> Report:
    return Report(
        f"Traffic is pinned ({pinned}), and no change on record here did it: by hand, or from"
        " another machine. Deployments get no traffic.",
        level="warn",
        next_steps=("invoke assess", "invoke mitigate.release-traffic, when the latest is good"),
        data={"open": [], "note": f"Traffic is pinned: {pinned}."},
    )


def _find_pinned(target: Target, state: State) -> str:
    """Return the revision that a rollback in force has sent all traffic to, or ""."""
    from runbook.timeline import find_open, open_timeline

    for change in find_open(open_timeline(target.name).changes()):
        after = change.intent.after
        if change.step == "mitigate.rollback" and state.fields(after) == after:
            return str(after["traffic"][0]["revision"])
    return ""


def _find_healthy(
    target: Target,
    state: State,
    revisions: dict[str, Revision],
) -> tuple[str, dict[str, Any]]:
    from checks.cloud_run import parse_service
    from checks.evidence import find_last_healthy

    found = find_last_healthy(target, parse_service(dict(state.raw)), list(revisions.values()))
    evidence = {
        "source": found.source,
        "requests": found.requests,
        "error_share": found.error_share,
        "last_served": str(found.last_served),
    }
    return found.revision, {"evidence": evidence}
