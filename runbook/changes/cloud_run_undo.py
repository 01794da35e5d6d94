"""Plans the way back of a recorded change of Cloud Run, from what is really in force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from checks.errors import ConcurrentChangeError, RefusedError
from runbook.changes import by_hand, settings
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.copies import copy_lines, find_base, name_revision
from runbook.changes.plan import Plan
from runbook.changes.planners_settings import make_patch, setting_flags
from runbook.changes.state import (
    RESTART_LABEL,
    State,
    describe_field,
    direct_all,
    follows_latest,
    name_base,
    parse_scaling,
)
from runbook.timeline import UNDO, Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checks.cloud_run import Revision
    from checks.target import Target

_LATEST = "All requests then go to the latest ready revision: {latest}."
_DEPLOYED = (
    "{template} was deployed since {change}; the service's template stays as that deployment"
    " made it."
)


def plan_undo(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    change: Change,
    *,
    attempt: str,
    read_digest: Callable[[str], str],
    overwritten: frozenset[str] = frozenset(),
) -> Plan:
    """Return the plan that brings the fields of `change` back; a repeated undo changes nothing.

    Fields that a later change has `overwritten` are left alone; `attempt` names a new revision.
    Raises RefusedError when somebody changed a field again, or pinned the traffic since.
    """
    now = state.fields(_find_own(state, change, overwritten))
    wanted, warnings = _find_wanted(state, change, now)
    latest = follows_latest(wanted.get("traffic", state.traffic))
    source = _find_source(revisions, change, pinned=not latest) if "template" in wanted else ""
    if not {"traffic", "template"} & set(wanted) and _find_settings(wanted):
        patch = _restore_settings(state, revisions, change, wanted, attempt, read_digest)
    else:
        patch = _make_patch(state, wanted, source, attempt, read_digest)
    if source:
        wanted["template"] = patch.revision
    if wanted and latest and not patch.makes_revision:
        warnings.append(_LATEST.format(latest=state.latest_ready))
    lines = _lines(target, state, revisions, patch)
    return _make_plan(state, change, now, now | wanted, patch, lines, warnings)


def _make_plan(
    state: State,
    change: Change,
    now: dict[str, Any],
    after: dict[str, Any],
    patch: RunPatch,
    lines: list[list[str]],
    warnings: list[str],
) -> Plan:
    wanted = {name: value for name, value in after.items() if value != now[name]}
    return Plan(
        step=UNDO,
        change=change.id,
        version=state.etag,
        generation=state.generation,
        before=now,
        after=after,
        patch=patch,
        by_hand=tuple(lines),
        summary=_summarise(change, now, wanted),
        warnings=tuple(warnings),
        mends=False,
        undoes=change.id,
    )


def _find_own(state: State, change: Change, overwritten: frozenset[str]) -> list[str]:
    """Return the fields to look at: a copy that was itself copied since leaves its settings."""
    after = change.intent.after
    own = [name for name in after if name not in overwritten]
    if "template" not in after or not _find_settings(after):
        return own
    now = state.fields(("template", *(n for n in ("traffic",) if n in after)))
    if any(value == after[name] for name, value in now.items()):
        return own
    return [name for name in own if name not in now]


def _find_settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {n: v for n, v in fields.items() if n == "scaling" or settings.is_setting(n)}


def _restore_settings(
    state: State,
    revisions: Mapping[str, Revision],
    change: Change,
    wanted: Mapping[str, Any],
    attempt: str,
    read_digest: Callable[[str], str],
) -> RunPatch:
    """Return the patch that brings settings of what serves back, in a copy where that is needed."""
    fields, emptied = _find_settings(wanted), change.intent.detail.get("emptied")
    if not state.pinned and not name_base(state):
        image = read_digest(state.template)
        patch = make_patch(state.raw["template"], fields, image=image, emptied=emptied)
        return replace(patch, restarted_at=wanted.get("restarted_at"))
    base = find_base(state, revisions, change.step)
    patch = make_patch(base.raw, fields, image=read_digest(base.name), emptied=emptied)
    name = name_revision(state, f"undo-{attempt}")
    traffic = direct_all(state.traffic, name) if state.pinned else None
    return replace(patch, copy_of=base.name, revision=name, traffic=traffic)


def _find_wanted(
    state: State, change: Change, now: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    earlier = change.undo
    if earlier is not None and now == {name: earlier.after.get(name) for name in now}:
        return {}, []  # an undo that was broken off got this far
    before, after = change.intent.before, change.intent.after
    foreign = [name for name in now if now[name] not in (after[name], before[name])]
    warnings = []
    if "template" in foreign:
        foreign.remove("template")
        warnings.append(_DEPLOYED.format(template=state.template, change=change.id))
    if foreign:
        told = "; ".join(f"{name} is {describe_field(name, now[name])}" for name in foreign)
        raise ConcurrentChangeError(
            f"{change.id} ({change.step}) was overtaken: {told}, which is neither what it found"
            " nor what it left. Nothing was changed.",
            next_step="invoke mitigate shows what is in force; undo the newest change first",
            subject=change.id,
        )
    wanted = {n: before[n] for n, value in now.items() if value == after[n] != before[n]}
    if state.pinned and ("restarted_at" in wanted or _is_behind_pin(state, change, now)):
        raise RefusedError(
            f"Traffic was pinned after {change.id}; undoing it now would make a revision that"
            " gets no requests. Nothing was changed.",
            next_step="invoke mitigate.release-traffic, or undo the newer change first",
            subject=change.id,
        )
    return wanted, warnings


def _is_behind_pin(state: State, change: Change, now: Mapping[str, Any]) -> bool:
    """Return whether the template, which comes back with the next release, still has the change."""
    if "template" in change.intent.after:
        return False
    template = state.raw["template"]
    left = settings.read_settings(template, filter(settings.is_setting, now))
    left |= {"scaling": parse_scaling(template)} if "scaling" in now else {}
    after = change.intent.after
    return any(value == after[name] != now[name] for name, value in left.items())


def _make_patch(
    state: State,
    wanted: Mapping[str, Any],
    source: str,
    attempt: str,
    read_digest: Callable[[str], str],
) -> RunPatch:
    patch = RunPatch(
        traffic=wanted.get("traffic"),
        scaling=wanted.get("scaling"),
        restarted_at=wanted.get("restarted_at"),
        copy_of=source,
        revision=name_revision(state, f"undo-{attempt}") if source else "",
    )
    if not patch.makes_revision:
        return patch
    return replace(patch, image=read_digest(source or state.template))


def _find_source(revisions: Mapping[str, Revision], change: Change, *, pinned: bool) -> str:
    # While traffic is pinned the recorded template serves nobody, so it may come back, unless it
    # never became ready. Under LATEST it would serve at once: then only what served will do.
    recorded = change.intent.before["template"]
    base = str(change.intent.detail.get("base", ""))
    for name in (recorded, base) if pinned else (base,):
        if name in revisions and revisions[name].ready:
            return name
    raise RefusedError(
        f"Neither {recorded} nor {base or 'the revision that served'} can serve any more, so there"
        " is no template to go back to. Nothing was changed.",
        next_step="invoke mitigate.rollback",
        subject=recorded,
    )


def _lines(
    target: Target, state: State, revisions: Mapping[str, Revision], patch: RunPatch
) -> list[list[str]]:
    if patch.copy_of:
        return list(copy_lines(target, state, revisions[patch.copy_of], patch, patch.traffic))
    flags = setting_flags(patch)
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
        f"{settings.name_field(n)} from {describe_field(n, now[n])} to {describe_field(n, value)}"
        for n, value in wanted.items()
    )
    return f"Take back {change.step} {change.id}: {told}."
