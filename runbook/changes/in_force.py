"""Which recorded changes are still in force, as the service itself shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.target import CLOUD_RUN
from runbook.changes.state import describe_traffic, read_state
from runbook.changes.system import Reading, open_system
from runbook.timeline import Change, find_open, open_timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.target import Target

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def find_in_force(target: Target) -> tuple[list[dict[str, Any]], str]:
    """Return the open changes and a note when a system could not be asked.

    Those that are past their time come first, then the newest.

    A change counts while at least one field has the value that it left; one that was broken off
    before it did anything, or was overtaken by hand, is left out.
    """
    changes = find_open(open_timeline(target.name).changes())
    if not changes:
        return [], ""
    readings, note = _read_all(target, {change.system for change in changes})
    found = []
    for change in changes:
        reading = readings.get(change.system)
        if reading is None or _in_force(change, reading):
            found.append(_describe(change, reading))
    return sorted(found, key=lambda one: not one["expired"]), note


def find_left(changes: Sequence[Change]) -> dict[str, str]:
    """Return the revisions that rollbacks in force moved traffic away from, and when.

    So do copies of them: undoing a scale-up behind a pin brings the bad template back by another
    name.
    """
    left = {
        revision: change.intent.at
        for change in find_open(changes)
        for revision in change.intent.detail.get("left", [])
    }
    for change in changes:
        for row in change.rows:
            patch = row.detail.get("patch", {})
            if patch.get("copy_of") in left and patch.get("revision"):
                left[patch["revision"]] = left[patch["copy_of"]]
    return left


def find_unrecorded_pin(target: Target) -> tuple[str, str]:
    """Return the split that traffic is pinned to, or "", and a note when nobody could tell.

    For a service that no change on record acts on: the timeline of this machine does not know what
    was done by hand, or from another machine.
    """
    if target.platform != CLOUD_RUN:
        return "", ""
    try:
        state = read_state(target)
    except RunbookError as error:
        return "", f"Whether traffic is pinned could not be asked: {error}"
    return describe_traffic(state.traffic) if state.pinned else "", ""


def describe_age(seconds: float) -> str:
    """Return a duration in its largest whole unit and the next: `2 h 5 min`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def _read_all(target: Target, names: set[str]) -> tuple[dict[str, Reading], str]:
    found: dict[str, Reading] = {}
    notes = []
    for name in sorted(names):
        title = name
        try:
            system = open_system(target, name)
            title = system.title
            found[name] = system.read()
        except RunbookError as error:
            notes.append(f"{title} could not be asked, so this is the timeline alone: {error}")
    return found, " ".join(notes)


def _in_force(change: Change, reading: Reading) -> bool:
    left, found = change.intent.after, change.intent.before
    now = reading.fields(left)
    return any(now[name] == left[name] != found[name] for name in left)


def _describe(change: Change, reading: Reading | None) -> dict[str, Any]:
    begun = datetime.fromisoformat(change.intent.at)
    seconds = (datetime.now(UTC) - begun).total_seconds()
    words = {"verified": "in force", "not-verified": "not verified"}
    left_s = _left_s(change)
    return {
        "change": change.id,
        "step": change.step,
        "system": change.system,
        "state": words.get(change.last.phase, "broken off"),
        "since": change.intent.at,
        "expires_at": change.expires_at or None,
        "expired": left_s is not None and left_s <= 0,
        "ends": _describe_end(left_s),
        "seconds": round(seconds, 1),
        "for": describe_age(seconds),
        "who": change.intent.who,
        "summary": str(change.intent.detail.get("summary", "")),
        "after": change.intent.after,
        "checked": reading is not None,
        "undo": f"invoke mitigate.undo --change={change.id}",
    }


def _left_s(change: Change) -> float | None:
    if not change.expires_at:
        return None
    return (datetime.fromisoformat(change.expires_at) - datetime.now(UTC)).total_seconds()


def _describe_end(left_s: float | None) -> str:
    if left_s is None:
        return "-"
    return f"in {describe_age(left_s)}" if left_s > 0 else f"{describe_age(-left_s)} ago: expired"
