"""Undo: from what is really there, field by field, whatever happened in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checks.cloud_run import Revision
from checks.errors import ConcurrentChangeError, RefusedError, UsageError
from checks.target import Target
from runbook.changes import planners
from runbook.changes.cloud_run import patch_of
from runbook.changes.cloud_run_undo import plan_undo
from runbook.changes.plan import Plan
from runbook.changes.planners_settings import plan_settings
from runbook.changes.settings import Wish
from runbook.changes.state import State
from runbook.changes.undo import choose_change
from runbook.timeline import UNDO, Change, Timeline
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

NEWER = f"{SERVICE}-00009-new"
BROKEN = make_template("repo/api:broken")
REVISIONS = {
    GOOD: make_revision(GOOD, make_template()),
    BAD: make_revision(BAD, BROKEN),
}
BAD_SERVES = make_state(template=BROKEN, created=BAD, ready=BAD, served={BAD: 100})
PINNED = make_state(
    template=BROKEN, traffic=[by_name(GOOD)], created=BAD, ready=BAD, served={GOOD: 100}
)


def plan_scaling(
    target: Target,
    state: State,
    revisions: dict[str, Revision],
    *,
    scaling: dict[str, int],
    change: str,
) -> Plan:
    """Return the plan to scale to this range."""
    wish = Wish("mitigate.scale-up", {"scaling": scaling}, "Scale.")
    return plan_settings(target, state, revisions, wish, change=change)


def keep(tmp_path: Path, plan: Plan, *phases: str) -> Change:
    """Return the plan's change as the timeline tells it after these phases."""
    timeline = Timeline(tmp_path / "t.sqlite3", "local")
    for phase in ("planned", *phases):
        timeline.append(
            plan.undoes or plan.change,
            plan.step,
            phase,  # type: ignore[arg-type]
            before=plan.before,
            after=plan.after,
            detail=plan.detail(),
        )
    return timeline.changes()[-1]


def undo(
    state: State, change: Change, revisions: dict[str, Revision] | None = None, attempt: str = "ddd"
) -> Plan:
    """Return the plan to undo `change` in `state`."""
    return plan_undo(
        TARGET,
        state,
        revisions or REVISIONS,
        change,
        attempt=attempt,
        read_digest=lambda name: f"digest-of-{name}",
    )


@pytest.fixture
def rollback(tmp_path: Path) -> Change:
    """Return a rollback from BAD to GOOD that was verified."""
    plan = planners.plan_rollback(TARGET, BAD_SERVES, REVISIONS, to=GOOD, change="aaaaaa")
    return keep(tmp_path, plan, "applied", "verified")


@pytest.fixture
def pinned_scaling(tmp_path: Path) -> Change:
    """Return a scale-up to 10..20 while traffic was pinned to GOOD."""
    scaling = {"min": 10, "max": 20}
    plan = plan_scaling(TARGET, PINNED, REVISIONS, scaling=scaling, change="bbbbbb")
    return keep(tmp_path, plan, "applied", "verified")


def after_pinned_scaling(**more: Any) -> State:  # noqa: ANN401 - JSON
    """Return the state that the pinned scale-up left."""
    name = f"{SERVICE}-scale-bbbbbb"
    return make_state(
        **{"created": name, "ready": name, "traffic": [by_name(name)], "served": {name: 100}} | more
    )


def test_rollback_is_taken_back(rollback: Change) -> None:
    """Traffic follows the latest again, and the plan says which revision that is."""
    plan = undo(PINNED, rollback)
    assert patch_of(plan).traffic == [{"revision": "LATEST", "percent": 100}]
    assert plan.undoes == "aaaaaa"
    assert not plan.mends
    assert BAD in plan.warnings[0]


def test_a_change_that_was_never_applied_needs_nothing(rollback: Change) -> None:
    """Killed between record and apply: the state is the recorded one already."""
    plan = undo(BAD_SERVES, rollback)
    assert plan.patch.empty
    assert plan.before == plan.after


def test_a_field_that_somebody_changed_since_is_not_touched(rollback: Change) -> None:
    """The refusal says what the traffic is now."""
    state = make_state(traffic=[by_name(NEWER)], served={NEWER: 100})
    with pytest.raises(ConcurrentChangeError, match=NEWER):
        undo(state, rollback)


def test_scaling_is_taken_back(tmp_path: Path) -> None:
    """The old range, by a new revision of the same code."""
    planned = plan_scaling(
        TARGET, make_state(), REVISIONS, scaling={"min": 10, "max": 20}, change="cccccc"
    )
    change = keep(tmp_path, planned, "applied")
    scaled = make_state(
        template=make_template(scaling={"minInstanceCount": 10, "maxInstanceCount": 20}),
        created=NEWER,
        ready=NEWER,
        served={NEWER: 100},
    )
    plan = undo(scaled, change)
    assert patch_of(plan).scaling == {"min": 2, "max": 10}
    assert patch_of(plan).image == f"digest-of-{NEWER}"
    assert plan.by_hand[0][-2:] == ["--min-instances=2", "--max-instances=10"]


def test_scaling_under_a_later_pin(tmp_path: Path) -> None:
    """Pinned to what has it, the pin moves to a copy; pinned elsewhere, nothing would serve it."""
    planned = plan_scaling(
        TARGET, make_state(), REVISIONS, scaling={"min": 10, "max": 20}, change="cccccc"
    )
    change = keep(tmp_path, planned, "applied", "verified")
    wide = make_template(scaling={"minInstanceCount": 10, "maxInstanceCount": 20})
    revisions = REVISIONS | {NEWER: make_revision(NEWER, wide)}
    pinned = make_state(
        template=wide, created=NEWER, ready=NEWER, traffic=[by_name(NEWER)], served={NEWER: 100}
    )
    plan = undo(pinned, change, revisions)
    assert patch_of(plan).copy_of == NEWER
    assert patch_of(plan).scaling == {"min": 2, "max": 10}
    assert patch_of(plan).traffic == [{"revision": f"{SERVICE}-undo-ddd", "percent": 100}]
    elsewhere = make_state(
        template=wide,
        created=NEWER,
        ready=NEWER,
        traffic=[by_name(GOOD)],
        base=make_template(),
    )
    with pytest.raises(RefusedError, match="pinned after"):
        undo(elsewhere, change, revisions)


def test_restart_is_taken_back(tmp_path: Path) -> None:
    """The label goes; by hand it is removed."""
    planned = planners.plan_restart(
        TARGET, make_state(), REVISIONS, change="cccccc", stamp="20261123t061200z"
    )
    change = keep(tmp_path, planned, "applied", "verified")
    state = make_state(template=make_template(labels={"restarted-at": "20261123t061200z"}))
    plan = undo(state, change)
    assert patch_of(plan).restarted_at == ""
    assert plan.by_hand[0][-1] == "--remove-labels=restarted-at"


def test_pinned_scaling_is_taken_back_whole(pinned_scaling: Change) -> None:
    """Traffic to where it was, template to the recorded one, in one request."""
    plan = undo(after_pinned_scaling(), pinned_scaling)
    assert patch_of(plan).traffic == [{"revision": GOOD, "percent": 100}]
    assert patch_of(plan).copy_of == BAD
    assert patch_of(plan).revision == f"{SERVICE}-undo-ddd"
    assert plan.after["template"] == f"{SERVICE}-undo-ddd"


def test_a_template_that_never_became_ready_is_no_state_to_go_back_to(
    pinned_scaling: Change,
) -> None:
    """What served before the change gives the template instead."""
    revisions = REVISIONS | {BAD: make_revision(BAD, BROKEN, ready=False)}
    plan = undo(after_pinned_scaling(), pinned_scaling, revisions)
    assert patch_of(plan).copy_of == GOOD


def test_a_later_deployment_keeps_its_template(pinned_scaling: Change) -> None:
    """Only the traffic goes back; whoever deployed since does not lose it."""
    plan = undo(after_pinned_scaling(created=NEWER, ready=NEWER), pinned_scaling)
    assert patch_of(plan).copy_of == ""
    assert patch_of(plan).traffic == [{"revision": GOOD, "percent": 100}]
    assert NEWER in plan.warnings[0]


def test_an_interrupted_undo_goes_on(tmp_path: Path, pinned_scaling: Change) -> None:
    """Killed after its request, an undo finds its own effect and sends nothing again."""
    first = undo(after_pinned_scaling(), pinned_scaling)
    assert first.step == UNDO
    change = keep(tmp_path, first)
    state = make_state(
        template=BROKEN,
        traffic=[by_name(GOOD)],
        created=patch_of(first).revision,
        ready=patch_of(first).revision,
    )
    again = undo(state, change, attempt="eee")
    assert again.patch.empty
    assert again.before == again.after


def test_choice_of_the_change(tmp_path: Path, rollback: Change) -> None:
    """The newest open one, or the one that is named; others are refused in words."""
    assert choose_change([], None) is None
    assert choose_change([rollback], None) is rollback
    assert choose_change([rollback], "aaaaaa") is rollback
    for name in ("", "ffffff", "x; rm -rf /", "$(id)", "a\nb"):
        with pytest.raises(UsageError, match="no change"):
            choose_change([rollback], name)
    undone = keep(tmp_path, undo(PINNED, rollback), "undone")
    assert choose_change([undone], None) is None
    with pytest.raises(RefusedError, match="undone already"):
        choose_change([undone], "aaaaaa")


def test_after_a_release_only_the_scaling_is_taken_back(pinned_scaling: Change) -> None:
    """Traffic follows the latest by now: the bad template must not come back and serve."""
    state = make_state(
        created=f"{SERVICE}-scale-bbbbbb", ready=f"{SERVICE}-scale-bbbbbb", served={GOOD: 100}
    )
    plan = plan_undo(
        TARGET,
        state,
        REVISIONS,
        pinned_scaling,
        attempt="ddd",
        read_digest=lambda _: "",
        overwritten=frozenset({"traffic"}),
    )
    assert patch_of(plan).traffic is None
    assert patch_of(plan).copy_of == GOOD
