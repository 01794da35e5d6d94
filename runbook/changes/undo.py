"""Chooses the change that is to be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.errors import RefusedError, UsageError
from runbook.timeline import Change, find_open

if TYPE_CHECKING:
    from collections.abc import Sequence


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
