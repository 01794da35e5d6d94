"""Settings of what serves: one new revision with them, and the exact way back."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from checks.cloud_run import Revision
from checks.errors import RefusedError, UsageError
from runbook.changes import capacity, limits, settings
from runbook.changes.cloud_run import patch_of
from runbook.changes.cloud_run_undo import plan_undo
from runbook.changes.plan import Plan
from runbook.changes.planners_settings import plan_settings
from runbook.changes.settings import Wish
from runbook.changes.state import State
from runbook.timeline import Change, Timeline
from tests.unit.service_json import (
    BAD,
    GOOD,
    SERVICE,
    TARGET,
    by_name,
    make_revision,
    make_state,
    make_template,
)

PER_MINUTE = "env." + settings.TENANT_PER_MINUTE
NEWER = f"{SERVICE}-00009-new"


def with_env(*items: tuple[str, str], **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a template with these environment variables and no others."""
    container = {
        "image": "repo/api:1.4.2",
        "env": [{"name": name, "value": value} for name, value in items],
        "resources": {"limits": {"cpu": "2", "memory": "4Gi"}},
    }
    return make_template(containers=[container], **changes)


def serve(template: dict[str, Any], name: str = GOOD, **more: Any) -> State:  # noqa: ANN401
    """Return the state in which a revision of this template serves everything."""
    return make_state(template=template, created=name, ready=name, served={name: 100}, **more)


def plan(
    state: State, fields: dict[str, Any], revisions: dict[str, Revision] | None = None
) -> Plan:
    """Return the plan for these fields."""
    known = revisions or {GOOD: make_revision(GOOD, dict(state.raw["template"]))}
    wish = Wish("mitigate.set-rate-limit", fields, "Set.", notes={"emptied": None})
    return plan_settings(TARGET, state, known, wish, change="a1b2c3", image="repo/api@sha256:1")


def keep(folder: Path, made: Plan) -> Change:
    """Return the plan's change as the timeline tells it once it is verified."""
    timeline = Timeline(folder / "t.sqlite3", "local")
    for phase in ("planned", "applied", "verified"):
        timeline.append(
            made.change,
            made.step,
            phase,
            before=made.before,
            after=made.after,
            detail=made.detail(),
        )
    return timeline.changes()[-1]


def undo(
    state: State,
    change: Change,
    revisions: dict[str, Revision] | None = None,
    overwritten: frozenset[str] = frozenset(),
) -> Plan:
    """Return the plan that takes the change back."""
    return plan_undo(
        TARGET,
        state,
        revisions or {},
        change,
        attempt="ddd",
        read_digest=lambda _: "repo/api@sha256:1",
        overwritten=overwritten,
    )


def test_a_setting_is_one_line_and_one_field() -> None:
    """Before is what was set, or None where nothing was; nothing else is written."""
    made = plan(make_state(), {PER_MINUTE: "1200"})
    assert made.before == {PER_MINUTE: None}
    assert made.after == {PER_MINUTE: "1200"}
    assert made.lasting == (PER_MINUTE,)
    [line] = made.by_hand
    assert line[-1] == f"--update-env-vars={settings.TENANT_PER_MINUTE}=1200"
    assert patch_of(made).as_detail()["settings"] == {PER_MINUTE: "1200"}


@pytest.mark.parametrize("value", [None, "360"])
def test_undo_restores_the_value_or_its_absence(tmp_path: Path, value: str | None) -> None:
    """A variable that was not there is taken away, not emptied."""
    items = [(settings.TENANT_PER_MINUTE, value)] if value else []
    change = keep(tmp_path, plan(serve(with_env(*items)), {PER_MINUTE: "1200"}))
    back = undo(serve(with_env((settings.TENANT_PER_MINUTE, "1200"))), change)
    assert patch_of(back).settings == {PER_MINUTE: value}
    expected = "--remove-env-vars=" if value is None else "--update-env-vars="
    assert back.by_hand[0][-1].startswith(expected + settings.TENANT_PER_MINUTE)


def test_a_setting_behind_a_pin_is_made_from_what_serves() -> None:
    """The copy has it, the pin moves, and what is recorded is what served, not the template."""
    pinned = make_state(
        template=with_env(("MODE", "broken")),
        traffic=[by_name(GOOD)],
        created=BAD,
        ready=BAD,
        served={GOOD: 100},
    )
    good = make_revision(GOOD, with_env((settings.AUTH_FAILURES, "60")))
    field = "env." + settings.AUTH_FAILURES
    made = plan(pinned, {field: "6"}, {GOOD: good, BAD: make_revision(BAD, make_template())})
    assert made.before[field] == "60"
    assert patch_of(made).copy_of == GOOD
    assert set(made.after) == {field, "traffic", "template"}
    assert f"--update-env-vars={settings.AUTH_FAILURES}=6" in shlex.join(made.by_hand[0])


def test_an_older_setting_behind_a_pin_is_taken_back_alone(tmp_path: Path) -> None:
    """A newer one made the copy that serves; it keeps its own, and the pin moves once more."""
    pinned = make_state(traffic=[by_name(GOOD)], served={GOOD: 100})
    change = keep(tmp_path, plan(pinned, {PER_MINUTE: "1200"}))
    both = with_env((settings.TENANT_PER_MINUTE, "1200"), (settings.CACHE_TTL, "60"))
    state = serve(both, NEWER, traffic=[by_name(NEWER)])
    back = undo(
        state,
        change,
        {NEWER: make_revision(NEWER, both)},
        overwritten=frozenset({"traffic", "template"}),
    )
    assert patch_of(back).copy_of == NEWER
    assert patch_of(back).settings == {PER_MINUTE: None}
    assert patch_of(back).traffic == [{"revision": f"{SERVICE}-undo-ddd", "percent": 100}]


def test_a_newer_setting_goes_back_after_an_older_one_went(tmp_path: Path) -> None:
    """Its own copy is gone by then, and its value is there: in the copy that the undo made."""
    pinned = make_state(traffic=[by_name(GOOD)], served={GOOD: 100})
    change = keep(tmp_path, plan(pinned, {PER_MINUTE: "1200"}))
    left = with_env((settings.TENANT_PER_MINUTE, "1200"))
    state = serve(left, NEWER, traffic=[by_name(NEWER)])
    back = undo(state, change, {NEWER: make_revision(NEWER, left)})
    assert patch_of(back).copy_of == NEWER
    assert patch_of(back).settings == {PER_MINUTE: None}


def test_two_blocked_tenants_are_taken_back_in_any_order(tmp_path: Path) -> None:
    """The list is shared, the changes are not."""
    first = keep(tmp_path, plan(serve(with_env()), {"blocked.acme": True}))
    one = (settings.BLOCKED_TENANTS, "acme")
    second_plan = plan(serve(with_env(one)), {"blocked.willow": True})
    assert second_plan.by_hand[0][-1].endswith("BLOCKED_TENANTS=acme,willow")
    both = with_env((settings.BLOCKED_TENANTS, "acme,willow"))
    listed = "env." + settings.BLOCKED_TENANTS
    assert patch_of(undo(serve(both), first)).settings == {listed: "willow"}
    last = with_env((settings.BLOCKED_TENANTS, "acme"))
    assert patch_of(undo(serve(last), first)).settings == {listed: None}


@pytest.mark.parametrize(
    "item",
    [
        {"name": settings.TENANT_PER_MINUTE, "value": "postgres://api:hunter2@db/prod"},
        {
            "name": settings.TENANT_PER_MINUTE,
            "valueSource": {"secretKeyRef": {"secret": "hunter2"}},
        },
    ],
)
def test_what_no_step_would_set_is_neither_read_nor_replaced(item: dict[str, Any]) -> None:
    """It may be a secret, and could not be brought back."""
    template = make_template(containers=[{"image": "repo/api:1.4.2", "env": [item]}])
    with pytest.raises(RefusedError, match="could not be brought back") as caught:
        plan(serve(template), {PER_MINUTE: "1200"})
    assert "hunter2" not in str(caught.value)
    assert serve(template).fields([PER_MINUTE]) == {PER_MINUTE: settings.HIDDEN}


def test_no_other_variable_reaches_plan_or_timeline() -> None:
    """The allowlist holds what steps set; nothing else of the environment is kept."""
    template = with_env(("API_TOKEN", "hunter2"), ("MODE", "prod"))
    made = plan(serve(template), {PER_MINUTE: "1200"})
    kept = json.dumps([made.before, made.after, made.detail(), made.as_data({})])
    assert "hunter2" not in kept
    assert "prod" not in kept
    assert serve(template).fields(["env.API_TOKEN"]) == {"env.API_TOKEN": settings.HIDDEN}


def typed(platform: str = "cloud_run", **options: str) -> dict[str, Any]:
    """Return what was typed as scale-up sees it."""
    given = dict.fromkeys(("least", "most", "replicas", "cpu", "memory")) | options
    return capacity.check_typed(platform, **given)


def test_without_an_option_the_number_of_instances_grows() -> None:
    """With one, only what is named changes."""
    assert typed() == {"min": 10, "max": 20}
    assert typed("kubernetes") == {"replicas": 10}
    assert typed(cpu="4", memory="8192Mi") == {"cpu": "4", "memory": "8Gi"}
    wish = capacity.make_wish("cloud_run", typed(least="5", cpu="4"), make_template())
    assert wish.fields == {"cpu": "4", "scaling": {"min": 5, "max": 10}}


@pytest.mark.parametrize(
    "options",
    [
        {"cpu": "3"}, {"cpu": "8", "memory": "2Gi"}, {"memory": "16Gi"}, {"least": "11"},
        {"cpu": "1", "memory": "8Gi"},
    ],
)  # fmt: skip
def test_sizes_that_cloud_run_has_not(options: dict[str, str]) -> None:
    """A combination is judged with what serves: 2 vCPU and 4Gi."""
    with pytest.raises(UsageError):
        capacity.make_wish("cloud_run", typed(**options), make_template(), force=True)


@pytest.mark.parametrize(
    "options",
    [
        {"cpu": ""}, {"cpu": "0"}, {"cpu": "-1"}, {"cpu": "2.5"}, {"cpu": "ten"}, {"cpu": "2\n"},
        {"memory": "8GB"}, {"memory": "8G"}, {"memory": "0Gi"}, {"memory": "9999999Gi"},
        {"memory": "8Gi; id"}, {"least": "ten"}, {"least": "1e3"}, {"most": "0"},
        {"most": "\u0661"}, {"replicas": "2"}, {"least": "12", "most": "4"},
    ],
)  # fmt: skip
def test_capacity_that_is_none(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        typed(**options)
    with pytest.raises(UsageError):
        typed("kubernetes", least="2")


def test_smaller_is_refused_unless_forced() -> None:
    """Scaling up that makes instances smaller is a slip."""
    with pytest.raises(RefusedError, match="would lower it"):
        capacity.make_wish("kubernetes", typed("kubernetes", memory="2Gi"), make_template())
    wish = capacity.make_wish(
        "kubernetes", typed("kubernetes", memory="2Gi"), make_template(), force=True
    )
    assert wish.fields == {"memory": "2Gi"}


def test_the_limit_an_hour_is_told_where_it_is_met_first() -> None:
    """1200 a minute under 1000 an hour is over after a minute."""
    setting = limits.make_setting("1200", None, None, None)
    assert setting.symptoms == ("errors", "rate-limit-hits")
    told = setting.make_wish("cloud_run", with_env(), "").warnings
    assert "after 1 min" in told[-1]
    enough = with_env((settings.TENANT_PER_HOUR, "100000"))
    assert setting.make_wish("cloud_run", enough, "").warnings == ()
    assert limits.make_setting("1200", "72000", None, None).make_wish(
        "cloud_run", with_env(), ""
    ).warnings == ()  # fmt: skip


@pytest.mark.parametrize(
    "values", [(None,) * 4, ("0", None, None, None), (None, None, None, "-1"), ("x",) * 4]
)
def test_limits_that_are_none(values: tuple[str | None, ...]) -> None:
    with pytest.raises(UsageError):
        limits.make_setting(*values)
