"""Works out each mitigation from the state at hand; nothing here reads or writes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError, UsageError
from checks.inputs import check_revision_name
from runbook.changes import by_hand
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.copies import (
    describe_served,
    find_base,
    make_plan,
    name_revision,
    needs_copy,
    plan_copy,
    warn_of_tag,
)
from runbook.changes.state import (
    LATEST,
    RESTART_LABEL,
    State,
    describe_traffic,
    direct_all,
    is_all_on,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.cloud_run import Revision
    from checks.target import Target
    from runbook.changes.plan import Plan

_PINNED = (
    "Traffic is then pinned to {to}: later deployments get none until"
    " `invoke mitigate.release-traffic`."
)


def plan_rollback(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    *,
    to: str,
    change: str,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> Plan:
    """Return the plan that pins all traffic to the revision `to`.

    Raises:
        UsageError: There is no such revision.
        RefusedError: The revision is not ready, or already serves everything; `force` overrides.
    """
    found = revisions.get(check_revision_name(to))
    if found is None:
        raise UsageError(
            f"{state.service} has no revision {to}. Nothing was changed.",
            next_step=f"invoke assess.revisions (there are {_name_some(revisions)})",
            subject=to,
        )
    after = direct_all(state.traffic, to)
    if not force and not is_all_on(state.traffic, to):
        _refuse_useless(state, found)
    return make_plan(
        "mitigate.rollback",
        state,
        change,
        after={"traffic": after},
        patch=RunPatch(traffic=after),
        by_hand=(by_hand.traffic_line(target, *by_hand.traffic_flags(after)),),
        summary=f"Send all requests to {to} (now: {describe_served(state)}).",
        warnings=(_PINNED.format(to=to),),
        lasting=("traffic",),
        notes={"to": to, "left": list(state.serving), **(notes or {})},
    )


def plan_release(
    target: Target,
    state: State,
    *,
    change: str,
    left: Mapping[str, str] | None = None,
    force: bool = False,
) -> Plan:
    """Return the plan that lets traffic follow the latest ready revision again.

    `left` holds the revisions that a rollback in force moved traffic away from, and when.

    Raises:
        RefusedError: The latest revision is not ready, or was rolled back from; `force` overrides.
    """
    after = direct_all(state.traffic, LATEST)
    pinned_now = not is_all_on(state.traffic, LATEST)
    if pinned_now and not force:
        _refuse_bad_latest(state, left or {})
    return make_plan(
        "mitigate.release-traffic",
        state,
        change,
        after={"traffic": after},
        patch=RunPatch(traffic=after),
        by_hand=(by_hand.traffic_line(target, *by_hand.traffic_flags(after)),),
        summary=f"Send all requests to the latest ready revision, {state.latest_ready}"
        f" (now: {describe_traffic(state.traffic)}).",
        warnings=("From then on every deployment that becomes ready gets all traffic at once.",),
    )


def plan_restart(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    *,
    change: str,
    stamp: str,
    image: str = "",
) -> Plan:
    """Return the plan that replaces every serving instance: a new revision, else unchanged.

    `stamp` becomes the value of the restart label, such as `20261123t061200z`; `image` is the
    serving revision's image by digest, or "" when unknown.

    Raises:
        RefusedError: Several revisions share the traffic.
    """
    base = find_base(state, revisions, "mitigate.restart")
    summary = f"Replace every instance of {base.name} by a new revision, else the same."
    if needs_copy(state, base):
        patch = RunPatch(
            copy_of=base.name, revision=name_revision(state, f"restart-{change}"), image=image
        )
        return plan_copy(
            target, state, base, patch, step="mitigate.restart", change=change, summary=summary
        )
    return make_plan(
        "mitigate.restart",
        state,
        change,
        after={"restarted_at": stamp},
        patch=RunPatch(restarted_at=stamp, image=image),
        by_hand=(by_hand.update_line(target, f"--update-labels={RESTART_LABEL}={stamp}"),),
        summary=summary,
        warnings=warn_of_tag(base, image),
    )


def _refuse_useless(state: State, found: Revision) -> None:
    if not found.ready:
        raise RefusedError(
            f"{found.name} is not ready and cannot serve: {found.message or 'no reason given'}"
            " Nothing was changed.",
            next_step="invoke assess.revisions, then choose one that served healthy",
            subject=found.name,
        )
    if state.serving == (found.name,):
        raise RefusedError(
            f"{found.name} already serves every request, so a rollback to it mends nothing."
            " Nothing was changed.",
            next_step="invoke mitigate.rollback without --to finds the last healthy one;"
            " --force pins this one.",
            subject=found.name,
        )


def _refuse_bad_latest(state: State, left: Mapping[str, str]) -> None:
    latest = state.latest_ready
    if state.template != latest:
        raise RefusedError(
            f"The latest revision, {state.template}, is not ready; all traffic would go to"
            f" {latest}. Nothing was changed.",
            next_step="Deploy a revision that becomes ready first;"
            f" or add --force to send traffic to {latest}.",
            subject=state.template,
        )
    if latest in left and latest not in state.serving:
        raise RefusedError(
            f"The latest revision, {latest}, is the one that was rolled back from at"
            f" {left[latest]}. Nothing was changed.",
            next_step="Deploy a mended revision first; or add --force to send traffic to it again.",
            subject=latest,
        )


def _name_some(revisions: Mapping[str, Revision]) -> str:
    names = sorted(revisions, reverse=True)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")  # noqa: PLR2004 - enough to see
