"""Works out each mitigation of a Deployment, and the lines that a person would type instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from checks.errors import ConcurrentChangeError, RefusedError, UsageError
from runbook.changes import settings
from runbook.changes.kubernetes_patch import DeploymentPatch, find_template, follows_limit
from runbook.changes.kubernetes_state import RESTARTED_AT
from runbook.changes.plan import Plan
from runbook.timeline import UNDO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.target import Target
    from runbook.changes.kubernetes_state import DeploymentState
    from runbook.changes.settings import Wish
    from runbook.timeline import Change

NAME = "kubernetes"
_NUMBER = "deployment.kubernetes.io/revision"
_NO_PIN = "Nothing pins it: the next deployment rolls out as ever."


def plan_settings(target: Target, state: DeploymentState, wish: Wish, *, change: str) -> Plan:
    """Return the plan that gives the pods these settings, or their number.

    Raises:
        RefusedError: A setting in force could not be brought back, the number of pods would be
            lowered (`wish.force` overrides that), or roll-outs are paused.
    """
    wanted = dict(wish.fields)
    replicas = wanted.get("replicas")
    if replicas is not None and replicas < state.replicas and not wish.force:
        raise RefusedError(
            f"{state.name} runs {state.replicas} pods; {replicas} would lower that. Nothing was"
            " changed.",
            next_step="Name more, or add --force to lower it.",
            subject=state.name,
        )
    patch = _make_patch(state, wanted)
    return _make_plan(
        target,
        state,
        wish.step,
        change,
        after=wanted,
        patch=patch,
        summary=wish.summary,
        warnings=wish.warnings,
        lasting=tuple(wanted),
        symptoms=wish.symptoms,
        expires_at=wish.expires_at,
        notes=dict(wish.notes),
    )


def plan_restart(target: Target, state: DeploymentState, *, change: str, stamp: str) -> Plan:
    """Return the plan that replaces every pod, a few at a time; raises RefusedError when paused."""
    return _make_plan(
        target,
        state,
        "mitigate.restart",
        change,
        after={"restarted_at": stamp},
        patch=DeploymentPatch(restarted_at=stamp),
        summary=f"Replace every pod of {state.name}, else the same.",
    )


def plan_rollback(
    target: Target,
    state: DeploymentState,
    *,
    to: str,
    change: str,
    force: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> Plan:
    """Return the plan that brings a ReplicaSet's pod template back.

    Raises:
        UsageError: There is no such ReplicaSet.
        RefusedError: It is the one in force, and that is not what an earlier rollback left.
    """
    _require_known(state, to)
    if to == state.template and not force:
        raise RefusedError(
            f"{to} is what is rolled out already, so a rollback to it mends nothing. Nothing was"
            " changed.",
            next_step="invoke mitigate.rollback without --to finds the last healthy one",
            subject=to,
        )
    return _make_plan(
        target,
        state,
        "mitigate.rollback",
        change,
        after={"template": to},
        patch=DeploymentPatch(template=to),
        summary=f"Roll out {to} again (now: {state.template or 'a roll-out under way'}).",
        warnings=(_NO_PIN,),
        lasting=("template",),
        notes={"to": to, "left": [state.template], **(notes or {})},
    )


def plan_undo(
    target: Target, state: DeploymentState, change: Change, *, overwritten: frozenset[str]
) -> Plan:
    """Return the plan that brings the fields of `change` back; a repeated undo changes nothing.

    Raises:
        RefusedError: Somebody changed a field again, or what it ran before is gone.
    """
    before, after = change.intent.before, change.intent.after
    now = state.fields(name for name in after if name not in overwritten)
    foreign = [name for name in now if now[name] not in (after[name], before[name])]
    if foreign:
        told = "; ".join(f"{name_field(n)} is {describe_field(n, now[n])}" for n in foreign)
        raise ConcurrentChangeError(
            f"{change.id} ({change.step}) was overtaken: {told}, which is neither what it found"
            " nor what it left. Nothing was changed.",
            next_step="invoke mitigate shows what is in force; undo the newest change first",
            subject=change.id,
        )
    wanted = {n: before[n] for n, value in now.items() if value == after[n] != before[n]}
    if "template" in wanted:
        _require_template(state, wanted["template"])
    patch = _make_patch(state, wanted, emptied=change.intent.detail.get("emptied"))
    return _make_plan(
        target,
        state,
        UNDO,
        change.id,
        after=now | wanted,
        patch=patch,
        summary=_summarise_undo(change, now, wanted),
        mends=False,
        undoes=change.id,
    )


def _summarise_undo(change: Change, now: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    if not wanted:
        return f"{change.step} {change.id} leaves nothing to take back."
    told = "; ".join(
        f"{name_field(n)} from {describe_field(n, now[n])} to {describe_field(n, value)}"
        for n, value in wanted.items()
    )
    return f"Take back {change.step} {change.id}: {told}."


def name_field(name: str) -> str:
    """Return what people call a field."""
    names = {"replicas": "pods", "restarted_at": "restarted at", "template": "ReplicaSet"}
    return names.get(name) or settings.name_field(name)


def describe_field(name: str, value: Any) -> str:  # noqa: ANN401 - a field of the timeline
    """Return a field's value in words."""
    if settings.is_setting(name):
        return settings.describe_value(name, value)
    return str(value) if value not in (None, "") else "-"


def kubectl_line(target: Target, *words: str) -> list[str]:
    """Return a line of kubectl for the target's own cluster as an argument list."""
    file = [f"--kubeconfig={target.kubeconfig}"] if target.embedded and target.kubeconfig else []
    place = [f"--context={target.kube_context}", f"--namespace={target.namespace}"]
    return ["kubectl", *file, *place, *words]


def make_lines(
    target: Target, state: DeploymentState, patch: DeploymentPatch
) -> tuple[list[str], ...]:
    """Return the lines by hand that leave what the patch leaves."""
    name = f"deployment/{state.name}"
    lines: list[list[str]] = []
    if patch.template:
        raw = find_template(state, patch.template)
        number = (raw["metadata"].get("annotations") or {}).get(_NUMBER, "")
        lines.append(["rollout", "undo", name, f"--to-revision={number}"])
    if patch.replicas is not None:
        lines.append(["scale", name, f"--replicas={patch.replicas}"])
    lines += _settings_lines(name, state, patch.settings or {})
    if patch.restarted_at:
        lines.append(["rollout", "restart", name])
    elif patch.restarted_at is not None:
        path = "/spec/template/metadata/annotations/" + RESTARTED_AT.replace("/", "~1")
        ops = json.dumps([{"op": "remove", "path": path}])
        lines.append(["patch", name, "--type=json", f"--patch={ops}"])
    return tuple(kubectl_line(target, *words) for words in lines)


def _settings_lines(
    name: str, state: DeploymentState, parts: Mapping[str, str | None]
) -> list[list[str]]:
    container = settings.first_container(state.pod_spec)
    own = f"--containers={container['name']}"
    limits = {n: value for n in settings.LIMITS if (value := parts.get(n))}
    lines = []
    if limits:
        asked = {n: value for n, value in limits.items() if follows_limit(container, n)}
        flags = [f"--limits={_pairs(limits)}", *([f"--requests={_pairs(asked)}"] if asked else [])]
        lines.append(["set", "resources", name, own, *flags])
    variables = {n.removeprefix("env."): v for n, v in parts.items() if n.startswith("env.")}
    if variables:
        words = [f"{n}-" if value is None else f"{n}={value}" for n, value in variables.items()]
        lines.append(["set", "env", name, own, *words])
    return lines


def _pairs(values: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in values.items())


def _make_patch(
    state: DeploymentState, fields: Mapping[str, Any], *, emptied: str | None = None
) -> DeploymentPatch:
    wanted = {name: value for name, value in fields.items() if settings.is_setting(name)}
    parts = settings.to_write(state.pod_spec, wanted, emptied=emptied)
    return DeploymentPatch(
        replicas=fields.get("replicas"),
        settings=parts or None,
        restarted_at=fields.get("restarted_at"),
        template=fields.get("template", ""),
    )


def _make_plan(
    target: Target,
    state: DeploymentState,
    step: str,
    change: str,
    *,
    after: dict[str, Any],
    patch: DeploymentPatch,
    **more: Any,  # noqa: ANN401 - Plan's own fields
) -> Plan:
    moves_pods = patch.settings or patch.template or patch.restarted_at is not None
    if state.cluster.deployment.paused and moves_pods:
        raise RefusedError(
            f"Roll-outs of {state.name} are paused: the pods would stay as they are. Nothing was"
            " changed.",
            next_step=f"kubectl rollout resume deployment/{state.name}, when that may go on",
            subject=state.name,
        )
    return Plan(
        step=step,
        change=change,
        system=NAME,
        version=state.version,
        generation=state.generation,
        before=state.fields(after),
        after=after,
        patch=patch,
        by_hand=make_lines(target, state, patch),
        **more,
    )


def _require_known(state: DeploymentState, name: str) -> None:
    names = [revision.name for revision in state.cluster.revisions]
    if name not in names:
        raise UsageError(
            f"{state.name} has no ReplicaSet {name}. Nothing was changed.",
            next_step=f"invoke assess.revisions (there are {', '.join(names[:5])})",
            subject=name,
        )


def _require_template(state: DeploymentState, name: str) -> None:
    try:
        find_template(state, name)
    except KeyError as error:
        raise RefusedError(
            f"{state.name} keeps no ReplicaSet {name} any more, so there is no template to go back"
            " to. Nothing was changed.",
            next_step="invoke mitigate.rollback",
            subject=name,
        ) from error
