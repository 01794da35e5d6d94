"""Plans that make a revision out of the one that serves, whatever the service's template is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError
from runbook.changes import by_hand, settings
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.plan import Plan
from runbook.changes.state import State, direct_all, parse_scaling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.cloud_run import Revision
    from checks.target import Target

_MAX_NAME = 63
_COPIED = (
    "The service's template is that of {template}; the new revision is made from {base}, which"
    " serves."
)
_BY_TAG = (
    "The digest of {base}'s image is unknown: what {image} means by now is what will run, which may"
    " be other code."
)


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
    want = settings.apply_settings(want, patch.settings or {})
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


def warn_of_tag(base: Revision, digest: str) -> tuple[str, ...]:
    """Return the warning that the image is known by a tag alone, if it is."""
    if digest or "@sha256:" in base.image:
        return ()
    return (_BY_TAG.format(base=base.name, image=base.image),)


def needs_copy(state: State, base: Revision) -> bool:
    """Return whether what serves has to be copied: its template is not the service's."""
    # A revision made from the template would be the wrong one, or would get no traffic.
    return state.pinned or state.template != base.name


def plan_copy(
    target: Target,
    state: State,
    base: Revision,
    patch: RunPatch,
    *,
    step: str,
    change: str,
    summary: str,
) -> Plan:
    """Return the plan that makes a revision out of `base`; a pin moves along with it."""
    traffic = direct_all(state.traffic, patch.revision) if state.pinned else None
    after: dict[str, Any] = {"traffic": traffic} if traffic else {}
    warnings = [_COPIED.format(template=state.template, base=base.name)]
    warnings += warn_of_tag(base, patch.image)
    if traffic:
        warnings.append(f"Traffic stays pinned: it moves from {base.name} to {patch.revision}.")
    left_out = by_hand.find_unprintable(state.raw["template"], base.raw)
    if left_out:
        warnings.append(
            f"The lines by hand leave out: {', '.join(left_out)}. What they make keeps the"
            " template's instead."
        )
    return make_plan(
        step,
        state,
        change,
        after={**after, "template": patch.revision},
        patch=RunPatch(**{**vars(patch), "traffic": traffic}),
        by_hand=copy_lines(target, state, base, patch, traffic),
        summary=summary,
        warnings=tuple(warnings),
        lasting=("traffic",) if traffic else (),
        notes={"base": base.name},
    )


def make_plan(
    step: str,
    state: State,
    change: str,
    *,
    after: dict[str, Any],
    **more: Any,  # noqa: ANN401 - Plan's own fields
) -> Plan:
    """Return a plan for the fields in `after`, out of the state at hand."""
    return Plan(
        step=step,
        change=change,
        version=state.etag,
        generation=state.generation,
        before=state.fields(after),
        after=after,
        **more,
    )
