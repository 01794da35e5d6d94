"""Mitigate: stop the bleeding. Every change is planned, recorded, verified, and can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

    from runbook.changes.plan import Plan
    from runbook.changes.state import State
    from runbook.timeline import Change

_SERVICE = "{service} --project={project} --region={region}"
_KUBECTL = "kubectl --kubeconfig={kubeconfig} --context={kube_context} --namespace={namespace}"
_HELP = {
    "dry_run": "Show the plan, the lines by hand and whom it reaches; change nothing.",
    "yes": "Do not ask; a protected target accepts it only while an incident is open.",
    "force": "Go on where the step would refuse because it looks useless or harmful.",
    "platform": "cloud_run or kubernetes; default: the target's own.",
}


def _help(*names: str, **own: str) -> dict[str, str]:
    return own | {name: _HELP[name] for name in ("dry_run", "yes", *names)}


@step(
    alerts=(
        *("ServiceDown", "HighErrorRate", "HighCPUUsage", "CriticalCPUUsage"),
        *("HighMemoryUsage", "CriticalMemoryUsage"),
    ),
    by_hand={
        "cloud_run": f"gcloud run services update-traffic {_SERVICE} --to-revisions={{to}}=100",
        "kubernetes": f"{_KUBECTL} rollout undo deployment/{{deployment}} --to-revision={{number}}",
    },
    changes="platform",
    example={"to": "convergence-data-pipeline-00001-abc", "number": 1},
    original=("C04", "C05", "C15"),
    help=_help(
        "force",
        "platform",
        to="Revision or ReplicaSet to go to; default: the one that last served healthy.",
    ),
)
def rollback(
    _c: Context,
    to: str | None = None,
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Go back to the revision that last served healthy, by evidence.

    On Cloud Run it pins the traffic: later deployments get none until mitigate.release-traffic.
    Typed again while that pin is in force, it looks whether it helped; `--to` goes further back.
    """
    from dataclasses import replace

    from checks.inputs import check_revision_name
    from checks.target import load_target
    from runbook.changes import symptoms
    from runbook.changes.change import run_change
    from runbook.changes.platform import open_platform

    target = load_target()
    system = open_platform(target, platform)
    named = "" if to is None else check_revision_name(to)

    def plan(reading: Any, change: str) -> Plan:  # noqa: ANN401 - a Reading of the platform
        made = system.plan_rollback(reading, to=named, change=change, force=force)
        return replace(made, symptoms=("errors", *symptoms.find_present(target)))

    def resumes(change: Change) -> bool:
        return change.step == "mitigate.rollback" and named in ("", change.intent.detail.get("to"))

    return run_change(system, plan, dry_run=dry_run, yes=yes, resumes=resumes)


@step(
    alerts=("ServiceDown", "HighMemoryUsage"),
    by_hand={
        "cloud_run": f"gcloud run services update {_SERVICE} --update-labels=restarted-at={{at}}",
        "kubernetes": f"{_KUBECTL} rollout restart deployment/{{deployment}}",
    },
    changes="platform",
    example={"at": "20261123t061200z"},
    original=("C07", "C08", "C09"),
    help=_help("platform"),
)
def restart(_c: Context, platform: str = "", dry_run: bool = False, yes: bool = False) -> Report:
    """Replace every instance that serves by a new revision with nothing else changed.

    On Cloud Run, while traffic is pinned or the newest deployment failed, the new revision is made
    from the one that serves, and a pin moves along with it.
    """
    from dataclasses import replace

    from checks.target import load_target
    from runbook.changes import symptoms
    from runbook.changes.change import run_change
    from runbook.changes.platform import open_platform

    target = load_target()
    system = open_platform(target, platform)

    def plan(reading: Any, change: str) -> Plan:  # noqa: ANN401 - a Reading of the platform
        made = system.plan_restart(reading, change=change)
        return replace(made, symptoms=("errors", *symptoms.find_present(target)))

    return run_change(
        system,
        plan,
        dry_run=dry_run,
        yes=yes,
        resumes=lambda change: change.step == "mitigate.restart",
    )


@step(
    alerts=("HighErrorRate",),
    by_hand={"cloud_run": f"gcloud run services update-traffic {_SERVICE} --to-latest"},
    changes="cloud_run",
    help=_help("force"),
)
def release_traffic(
    _c: Context, dry_run: bool = False, yes: bool = False, force: bool = False
) -> Report:
    """Let traffic follow the latest ready revision again, which ends a rollback's pin."""
    from checks.errors import UsageError
    from checks.target import CLOUD_RUN, load_target
    from runbook.changes import planners
    from runbook.changes.change import run_change
    from runbook.changes.cloud_run import CloudRun
    from runbook.changes.in_force import find_left
    from runbook.timeline import open_timeline

    target = load_target()
    if target.platform != CLOUD_RUN:
        raise UsageError(
            f"{target.name} runs on {target.platform}, where traffic is never pinned.",
            next_step="invoke mitigate shows what is in force",
        )
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
    alerts=(
        *("ServiceDown", "HighErrorRate", "HighLatencyP95", "HighCPUUsage", "CriticalCPUUsage"),
        *("HighMemoryUsage", "CriticalMemoryUsage", "HighAuthFailureRate"),
        *("PotentialBruteForce", "RateLimitExceeded"),
    ),
    changes="platform",
    help=_help(
        change="The change to take back, as `invoke mitigate` lists it; default: newest.",
        expired="Take back every temporary change whose time has passed, the newest first.",
    ),
)
def undo(
    _c: Context,
    change: str | None = None,
    expired: bool = False,
    dry_run: bool = False,
    yes: bool = False,
) -> Report:
    """Take back the newest change that is in force or was broken off, or the named one.

    It looks at what is really there first, so it can be repeated, also after a crash.
    """
    from checks.errors import UsageError
    from checks.target import load_target
    from runbook.changes import undo as undoing
    from runbook.timeline import open_timeline

    target = load_target()
    if expired and change is not None:
        raise UsageError(
            "--change names one change, --expired takes back several. Nothing was changed.",
            next_step="give one of the two",
        )
    if expired:
        return undoing.undo_expired(target, dry_run=dry_run, yes=yes)
    changes = open_timeline(target.name).changes()
    chosen = undoing.choose_change(changes, change)
    if chosen is None:
        return Report(
            "Nothing is in force and nothing was broken off, so there is nothing to undo.",
            level="good",
            next_steps=("invoke mitigate.undo --change=ID takes back a finished change",),
            data={"change": None, "status": "unchanged"},
        )
    return undoing.undo_change(target, chosen, dry_run=dry_run, yes=yes)


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
        (one["change"], one["step"], one["state"], one["for"], one["ends"], one["summary"])
        for one in found
    )
    over = [one for one in found if one["expired"]]
    columns = ("change", "step", "state", "for", "ends", "what")
    table = (Table(columns, rows),) if rows else ()
    undo_one = tuple(one["undo"] for one in found[:3])
    return Report(
        _count(found, over),
        level="bad" if over else "warn" if found else "good",
        evidence=(*table, *([note] if note else [])),
        next_steps=("invoke mitigate.undo --expired",) if over else undo_one or ("invoke assess",),
        data={"open": found, "note": note},
    )


def _count(found: list[dict[str, Any]], over: list[dict[str, Any]]) -> str:
    if not found:
        return "No change is in force."
    told = f"{len(found)} changes are in force." if len(found) > 1 else "1 change is in force."
    if not over:
        return told
    verb = "are" if len(over) > 1 else "is"
    return f"{len(over)} of them {verb} past the time they were meant for. {told}"


def _report_pin(pinned: str) -> Report:
    return Report(
        f"Traffic is pinned ({pinned}), and no change on record here did it: by hand, or from"
        " another machine. Deployments get no traffic.",
        level="warn",
        next_steps=("invoke assess", "invoke mitigate.release-traffic, when the latest is good"),
        data={"open": [], "note": f"Traffic is pinned: {pinned}."},
    )
