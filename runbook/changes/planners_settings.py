"""Plans that change a service's capacity or settings: always one new revision, else the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from checks.errors import RefusedError
from checks.inputs import DEFAULT_MAX_INSTANCES
from runbook.changes import by_hand, settings
from runbook.changes.cloud_run_patch import RunPatch
from runbook.changes.copies import (
    find_base,
    make_plan,
    name_revision,
    needs_copy,
    plan_copy,
    warn_of_tag,
)
from runbook.changes.state import parse_scaling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.cloud_run import Revision
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.settings import Wish
    from runbook.changes.state import State


def plan_settings(
    target: Target,
    state: State,
    revisions: Mapping[str, Revision],
    wish: Wish,
    *,
    change: str,
    image: str = "",
) -> Plan:
    """Return the plan that gives what serves the wished settings, by way of a new revision.

    `image` is the serving revision's image by digest, or "" when unknown.

    Raises:
        RefusedError: Several revisions share the traffic, the wish would lower a limit in force
            (`wish.force` overrides that), or a setting in force could not be brought back.
    """
    base = find_base(state, revisions, wish.step)
    have = read_fields(base.raw, wish.fields)
    if not wish.force and "scaling" in wish.fields:
        _refuse_lower(base, have["scaling"], wish.fields["scaling"])
    patch = make_patch(base.raw, wish.fields, image=image)
    if needs_copy(state, base) and have != wish.fields:
        plan = _plan_copy(target, state, base, patch, wish, change)
    else:
        plan = _plan_directly(target, state, base, patch, wish, change)
    return replace(
        plan,
        before={**have, **plan.before},
        after={**wish.fields, **plan.after},
        lasting=(*wish.fields, *plan.lasting),
        warnings=(*wish.warnings, *plan.warnings),
        symptoms=wish.symptoms,
        expires_at=wish.expires_at,
        notes={**plan.notes, **wish.notes},
    )


def _plan_directly(
    target: Target, state: State, base: Revision, patch: RunPatch, wish: Wish, change: str
) -> Plan:
    return make_plan(
        wish.step,
        state,
        change,
        after={},
        patch=patch,
        by_hand=(by_hand.update_line(target, *setting_flags(patch)),),
        summary=wish.summary,
        warnings=warn_of_tag(base, patch.image),
        notes={"base": base.name},
    )


def _plan_copy(
    target: Target, state: State, base: Revision, patch: RunPatch, wish: Wish, change: str
) -> Plan:
    suffix = wish.step.rpartition(".")[2].partition("-")[0]
    patch = replace(patch, copy_of=base.name, revision=name_revision(state, f"{suffix}-{change}"))
    return plan_copy(
        target, state, base, patch, step=wish.step, change=change, summary=wish.summary
    )


def read_fields(template: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the named fields, scaling and settings, of a template or revision."""
    found: dict[str, Any] = {"scaling": parse_scaling(template)} if "scaling" in names else {}
    return found | settings.read_settings(template, (n for n in names if n != "scaling"))


def make_patch(
    template: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    image: str = "",
    emptied: str | None = None,
) -> RunPatch:
    """Return the patch that gives `template` these fields; raises RefusedError as `to_write`."""
    wanted = {name: value for name, value in fields.items() if settings.is_setting(name)}
    parts = settings.to_write(template, wanted, emptied=emptied)
    return RunPatch(scaling=fields.get("scaling"), settings=parts or None, image=image)


def setting_flags(patch: RunPatch) -> list[str]:
    """Return the flags of `gcloud run services update` for scaling and settings."""
    flags = by_hand.scaling_flags(patch.scaling) if patch.scaling else []
    parts = dict(patch.settings or {})
    flags += [f"--{name}={parts[name]}" for name in ("cpu", "memory") if parts.get(name)]
    variables = {n.removeprefix("env."): v for n, v in parts.items() if n.startswith("env.")}
    flags += by_hand.variable_flags(variables)
    if parts.get("timeout"):
        flags.append(f"--timeout={str(parts['timeout']).removesuffix('s')}")
    return flags


def _refuse_lower(base: Revision, have: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    most = have["max"] or DEFAULT_MAX_INSTANCES
    if wanted["min"] < have["min"] or wanted["max"] < most:
        raise RefusedError(
            f"{base.name} runs {have['min']} to {most} instances; {wanted['min']} to"
            f" {wanted['max']} would lower a limit. Nothing was changed.",
            next_step="Name a wider range, or add --force to lower it.",
            subject=base.name,
        )
