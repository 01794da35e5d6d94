"""Takes changes back: the newest, a named one, or all whose time has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError, RunbookError, UsageError
from runbook.report import Report, Table
from runbook.timeline import Change, find_open, find_overwritten, open_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.target import Target
    from runbook.changes.plan import Plan


def choose_change(changes: Sequence[Change], named: str | None) -> Change | None:
    """Return the change called `named`, else the newest that is open; None when none is.

    Raises:
        UsageError: No change is called so.
        RefusedError: The named change never was, or is undone already.
    """
    if named is None:
        return next(iter(find_open(changes)), None)
    for change in changes:
        if change.id == named:
            if change.last.phase in {"undone", "failed"}:
                state = "is undone already" if change.last.phase == "undone" else "never took place"
                raise RefusedError(
                    f"Change {named} ({change.step}) {state}. Nothing was changed.",
                    next_step="invoke mitigate",
                    subject=named,
                )
            return change
    known = ", ".join(change.id for change in list(changes)[-5:]) or "none"
    raise UsageError(
        f"There is no change {named!r} on this target's timeline. Nothing was changed.",
        next_step=f"invoke mitigate (the newest changes: {known})",
        subject=named,
    )


def undo_change(target: Target, chosen: Change, *, dry_run: bool, yes: bool) -> Report:
    """Take one change back on its own system; raises as `run_change`."""
    from runbook.changes.change import run_change
    from runbook.changes.system import open_system

    changes = open_timeline(target.name).changes()
    overwritten = frozenset(find_overwritten(changes, chosen))
    system = open_system(target, chosen.system)

    def plan(reading: Any, attempt: str) -> Plan:  # noqa: ANN401 - a Reading of that system
        return system.plan_undo(reading, chosen, attempt=attempt, overwritten=overwritten)

    return run_change(system, plan, dry_run=dry_run, yes=yes)


def undo_expired(target: Target, *, dry_run: bool, yes: bool) -> Report:
    """Take back every temporary change in force whose time has passed, the newest first.

    One that fails does not keep the others; the report's exit code is the worst of all.
    """
    from runbook.changes.in_force import find_in_force

    listed = {one["change"]: one for one in find_in_force(target)[0] if one["expired"]}
    known = {change.id: change for change in open_timeline(target.name).changes()}
    done: list[dict[str, Any]] = []
    for name, one in sorted(listed.items(), key=lambda item: item[1]["since"], reverse=True):
        try:
            report = undo_change(target, known[name], dry_run=dry_run, yes=yes)
            told, code = report.finding, report.exit_code
        except RunbookError as error:
            told, code = str(error), error.exit_code
        done.append({"change": name, "step": one["step"], "told": told, "exit_code": code})
    return _report_all(done, dry_run=dry_run)


def _report_all(done: list[dict[str, Any]], *, dry_run: bool) -> Report:
    if not done:
        return Report(
            "No temporary change in force is past its time, so there is nothing to undo.",
            level="good",
            next_steps=("invoke mitigate",),
            data={"undone": []},
        )
    failed = [one for one in done if one["exit_code"]]
    verb = "would be" if dry_run else "were"
    finding = f"{len(done) - len(failed)} of {len(done)} expired changes {verb} taken back."
    rows = tuple((one["change"], one["step"], one["told"]) for one in done)
    return Report(
        finding,
        level="bad" if failed else "info" if dry_run else "good",
        evidence=(Table(("change", "step", "what came of it"), rows),),
        next_steps=("invoke mitigate",),
        data={"undone": done},
        exit_code=max(one["exit_code"] for one in done),
    )
