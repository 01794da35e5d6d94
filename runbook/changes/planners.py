"""Works out each mitigation from the state at hand; nothing here reads or writes anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError, UsageError
from checks.inputs import DEFAULT_MAX_INSTANCES, check_revision_name
from runbook.changes import by_hand
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.plan import Plan
from runbook.changes.state import (
    LATEST,
    RESTART_LABEL,
    State,
    describe_traffic,
    direct_all,
    is_all_on,
    parse_scaling,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.cloud_run import Revision
    from checks.target import Target

_MAX_NAME = 63
_PINNED = (
    "Traffic is then pinned to {to}: later deployments get none until"
    " `invoke mitigate.release-traffic`."
)
_COPIED = (
    "The service's template is that of {template}; the new revision is made from {base}, which"
    " serves."
)
_BY_TAG = (
    "The digest of {base}'s image is unknown: what {image} means by now is what will run, which may"
    " be other code."
)
_SCALED = (
    "Run {min} to {max} instances of what serves ({base}, now {least} to {most}), by way of a new"
    " revision."
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
    return _plan(
        "mitigate.rollback",
        state,
        change,
        after={"traffic": after},
        patch=RunPatch(traffic=after),
        by_hand=(by_hand.traffic_line(target, *by_hand.traffic_flags(after)),),
        summary=f"Send all requests to {to} (now: {describe_served(state)}).",
        warnings=(_PINNED.format(to=to),),
        lasting=("traffic",),
        notes={"left": list(state.serving), **(notes or {})},
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
    return _plan(
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
    if _needs_copy(state, base):
        patch = RunPatch(
            copy_of=base.name, revision=name_revision(state, f"restart-{change}"), image=image
        )
        return _plan_copy(
            target, state, base, patch, step="mitigate.restart", change=change, summary=summary
        )
    return _plan(
        "mitigate.restart",
        state,
        change,
        after={"restarted_at": stamp},
        patch=RunPatch(restarted_at=stamp, image=image),
        by_hand=(by_hand.update_line(target, f"--update-labels={RESTART_LABEL}={stamp}"),),
        summary=summary,
        warnings=_warn_of_tag(base, image),
    )


def plan_scaling(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    *,
    scaling: Mapping[str, int],
    change: str,
    image: str = "",
    force: bool = False,
) -> Plan:
    """Return the plan that gives what serves `scaling` instances, by way of a new revision.

    Raises RefusedError when several revisions share the traffic, or when the range would lower a
    limit in force (`force` overrides the latter).
    """
    base = find_base(state, revisions, "mitigate.scale-up")
    have = parse_scaling(base.raw)
    wanted = dict(scaling)
    if not force:
        _refuse_lower(base, have, wanted)
    summary = _SCALED.format(**wanted, base=base.name, least=have["min"], most=have["max"])
    if _needs_copy(state, base) and have != wanted:
        name = name_revision(state, f"scale-{change}")
        patch = RunPatch(copy_of=base.name, revision=name, scaling=wanted, image=image)
        step = "mitigate.scale-up"
        return _plan_copy(target, state, base, patch, step=step, change=change, summary=summary)
    plan = _plan(
        "mitigate.scale-up",
        state,
        change,
        after={"scaling": wanted},
        patch=RunPatch(scaling=wanted, image=image),
        by_hand=(by_hand.update_line(target, *by_hand.scaling_flags(wanted)),),
        summary=summary,
        warnings=_warn_of_tag(base, image),
        lasting=("scaling",),
        notes={"base": base.name},
    )
    return replace(plan, before={"scaling": have})


def find_base(state: State, revisions: Mapping[str, Revision], step: str) -> Revision:
    """Return the one revision that serves; restart and scale-up act on it, not on the template.

    Raises:
        RefusedError: None serves, or several do.
    """
    serving = state.serving
    if len(serving) != 1 or serving[0] not in revisions:
        raise RefusedError(
            f"{step} acts on the one revision that serves, and the traffic now goes to:"
            f" {describe_served(state)}. Nothing was changed.",
            next_step="invoke mitigate.rollback --to=REVISION, or invoke mitigate.release-traffic",
        )
    return revisions[serving[0]]


def name_revision(state: State, suffix: str) -> str:
    """Return the revision's name as gcloud makes it of `--revision-suffix`."""
    return f"{state.service[: _MAX_NAME - len(suffix) - 1]}-{suffix}"


def describe_served(state: State) -> str:
    """Return the served split in words."""
    return ", ".join(f"{state.served[r]} % {r}" for r in state.serving) or "no revision"


def copy_lines(
    target: Target,
    state: State,
    base: Revision,
    patch: RunPatch,
    traffic: list[dict[str, Any]] | None,
) -> tuple[list[str], ...]:
    """Return the lines that make a revision out of `base` while the template is another's."""
    want = dict(base.raw)
    if patch.image:
        first, *others = base.raw["containers"]
        want["containers"] = [first | {"image": patch.image}, *others]
    template = state.raw["template"]
    flags = by_hand.template_flags(template, want)
    scaling = patch.scaling or parse_scaling(base.raw)
    if scaling != parse_scaling(template):
        flags += by_hand.scaling_flags(scaling)
    suffix = patch.revision.removeprefix(f"{state.service}-")
    lines = [by_hand.update_line(target, *flags, f"--revision-suffix={suffix}")]
    if traffic:
        lines.append(by_hand.traffic_line(target, *by_hand.traffic_flags(traffic)))
    return tuple(lines)


def _warn_of_tag(base: Revision, digest: str) -> tuple[str, ...]:
    if digest or "@sha256:" in base.image:
        return ()
    return (_BY_TAG.format(base=base.name, image=base.image),)


def _needs_copy(state: State, base: Revision) -> bool:
    # A revision made from the template would be the wrong one, or would get no traffic.
    return state.pinned or state.template != base.name


def _plan_copy(
    target: Target,
    state: State,
    base: Revision,
    patch: RunPatch,
    *,
    step: str,
    change: str,
    summary: str,
) -> Plan:
    traffic = direct_all(state.traffic, patch.revision) if state.pinned else None
    after: dict[str, Any] = {"traffic": traffic} if traffic else {}
    warnings = [_COPIED.format(template=state.template, base=base.name)]
    warnings += _warn_of_tag(base, patch.image)
    if traffic:
        warnings.append(f"Traffic stays pinned: it moves from {base.name} to {patch.revision}.")
    left_out = by_hand.find_unprintable(state.raw["template"], base.raw)
    if left_out:
        warnings.append(
            f"The lines by hand leave out: {', '.join(left_out)}. What they make keeps the"
            " template's instead."
        )
    return _plan(
        step,
        state,
        change,
        after={**after, "template": patch.revision},
        patch=RunPatch(**{**vars(patch), "traffic": traffic}),
        by_hand=copy_lines(target, state, base, patch, traffic),
        summary=summary,
        warnings=tuple(warnings),
        lasting=(("traffic",) if traffic else ()) + (("template",) if patch.scaling else ()),
        notes={"base": base.name},
    )


def _plan(
    step: str,
    state: State,
    change: str,
    *,
    after: dict[str, Any],
    **more: Any,  # noqa: ANN401 - Plan's own fields
) -> Plan:
    return Plan(
        step=step,
        change=change,
        version=state.etag,
        generation=state.generation,
        before=state.fields(after),
        after=after,
        **more,
    )


def _refuse_lower(base: Revision, have: dict[str, int], wanted: dict[str, int]) -> None:
    most = have["max"] or DEFAULT_MAX_INSTANCES
    if wanted["min"] < have["min"] or wanted["max"] < most:
        raise RefusedError(
            f"{base.name} runs {have['min']} to {most} instances; {wanted['min']} to"
            f" {wanted['max']} would lower a limit. Nothing was changed.",
            next_step="Name a wider range, or add --force to lower it.",
            subject=base.name,
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
