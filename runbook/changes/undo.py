"""Plans the way back of a recorded change, from what is really in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import ConcurrentChangeError, RefusedError, UsageError
from runbook.changes import by_hand
from runbook.changes.plan import Patch, Plan
from runbook.changes.planners import copy_lines, name_revision
from runbook.changes.report import describe_field
from runbook.changes.state import LATEST, RESTART_LABEL, State, is_all_on
from runbook.timeline import UNDO, Change, find_open

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from checks.cloud_run import Revision
    from checks.target import Target


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


def plan_undo(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    change: Change,
    *,
    attempt: str,
    read_digest: Callable[[str], str],
) -> Plan:
    """Return the plan that brings the fields of `change` back to their recorded values.

    A field that already has its value is left alone, so an undo can be repeated, also after a
    crash. `attempt` makes the name of a revision that the undo may have to make.

    Raises:
        ConcurrentChangeError: Somebody changed the same field again since.
        RefusedError: Traffic was pinned since, so a new revision would get none.
    """
    recorded = change.intent
    now = state.fields(recorded.after)
    if change.undo is not None and now == change.undo.after:
        restore: list[str] = []  # an earlier undo got this far
        warnings: list[str] = []
    else:
        restore, warnings = _find_differences(state, change, now)
    wanted = {name: recorded.before[name] for name in restore}
    patch = _make_patch(state, revisions, change, wanted, attempt, read_digest)
    if patch.copy_of:
        wanted["template"] = patch.revision
    if is_all_on(wanted.get("traffic", []), LATEST):
        warnings.append(f"All requests then go to the latest ready revision: {state.latest_ready}.")
    return Plan(
        step=UNDO,
        change=change.id,
        etag=state.etag,
        generation=state.generation,
        before=now,
        after=now | wanted,
        patch=patch,
        by_hand=tuple(_lines(target, state, revisions, patch)),
        summary=_summarise(change, now, wanted),
        warnings=tuple(warnings),
        mends=False,
        undoes=change.id,
    )


def _find_differences(
    state: State, change: Change, now: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    before, after = change.intent.before, change.intent.after
    restore = [name for name in after if now[name] == after[name] != before[name]]
    foreign = [name for name in after if now[name] not in (after[name], before[name])]
    warnings = []
    if "template" in foreign:
        foreign.remove("template")
        warnings.append(
            f"{state.template} was deployed since {change.id}; the service's template stays as"
            " that deployment made it."
        )
    if foreign:
        told = "; ".join(f"{name} is {describe_field(name, now[name])}" for name in foreign)
        raise ConcurrentChangeError(
            f"{change.id} ({change.step}) was overtaken: {told}, which is neither what it found"
            " nor what it left. Nothing was changed.",
            next_step="invoke mitigate shows what is in force; undo the newest change first",
            subject=change.id,
        )
    if state.pinned and {"scaling", "restarted_at"} & set(restore):
        raise RefusedError(
            f"Traffic was pinned after {change.id}; undoing it now would make a revision that"
            " gets no requests. Nothing was changed.",
            next_step="invoke mitigate.release-traffic, or undo the newer change first",
            subject=change.id,
        )
    return restore, warnings


def _make_patch(
    state: State,
    revisions: Mapping[str, Revision],
    change: Change,
    wanted: Mapping[str, Any],
    attempt: str,
    read_digest: Callable[[str], str],
) -> Patch:
    source = ""
    if "template" in wanted:
        source = _find_source(revisions, change, wanted["template"])
    makes_revision = bool(source) or "scaling" in wanted or "restarted_at" in wanted
    image = read_digest(source or state.template) if makes_revision else ""
    return Patch(
        traffic=wanted.get("traffic"),
        scaling=wanted.get("scaling"),
        restarted_at=wanted.get("restarted_at"),
        copy_of=source,
        revision=name_revision(state, f"undo-{attempt}") if source else "",
        image=image,
    )


def _find_source(revisions: Mapping[str, Revision], change: Change, recorded: str) -> str:
    # A template that never became ready is no state to go back to: its base is.
    base = str(change.intent.detail.get("base", ""))
    for name in (recorded, base):
        if name in revisions and revisions[name].ready:
            return name
    raise RefusedError(
        f"Neither {recorded} nor {base or 'the revision that served'} can serve any more, so there"
        " is no template to go back to. Nothing was changed.",
        next_step="invoke mitigate.rollback",
        subject=recorded,
    )


def _lines(
    target: Target, state: State, revisions: Mapping[str, Revision], patch: Patch
) -> list[list[str]]:
    if patch.copy_of:
        return list(copy_lines(target, state, revisions[patch.copy_of], patch, patch.traffic))
    flags = by_hand.scaling_flags(patch.scaling) if patch.scaling else []
    if patch.restarted_at:
        flags.append(f"--update-labels={RESTART_LABEL}={patch.restarted_at}")
    elif patch.restarted_at is not None:
        flags.append(f"--remove-labels={RESTART_LABEL}")
    lines = [by_hand.update_line(target, *flags)] if flags else []
    if patch.traffic is not None:
        lines.append(by_hand.traffic_line(target, *by_hand.traffic_flags(patch.traffic)))
    return lines


def _summarise(change: Change, now: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if not wanted:
        return f"{change.step} {change.id} leaves nothing to take back."
    told = "; ".join(
        f"{name} from {describe_field(name, now[name])} to {describe_field(name, value)}"
        for name, value in wanted.items()
    )
    return f"Take back {change.step} {change.id}: {told}."
