"""Plans: what each mitigation would write in each state of the service, and the lines by hand."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from checks.errors import RefusedError, UsageError
from runbook.changes import planners
from runbook.changes.cloud_run import patch_of
from runbook.changes.copies import name_revision
from runbook.changes.plan import Plan
from runbook.changes.planners_settings import plan_settings
from runbook.changes.settings import Wish
from runbook.changes.state import State, direct_all, is_all_on
from tests.unit.service_json import (
    BAD,
    GOOD,
    SERVICE,
    TARGET,
    by_name,
    make_revision,
    make_state,
    make_template,
    to_latest,
)

WHERE = f"{SERVICE} --project=p --region=us-central1"
BROKEN = make_template(
    "repo/api:broken",
    timeout="60s",
    containers=[
        {
            "image": "repo/api:broken",
            "env": [{"name": "MODE", "value": "b"}, {"name": "EXTRA", "value": "1"}],
            "resources": {"limits": {"cpu": "1", "memory": "4Gi"}},
        }
    ],
)
REVISIONS = {
    GOOD: make_revision(GOOD, make_template()),
    BAD: make_revision(BAD, BROKEN),
}


def lines(plan: Plan) -> list[str]:
    """Return the plan's lines as a shell takes them."""
    return [shlex.join(line) for line in plan.by_hand]


def make_pinned(**more: Any) -> State:  # noqa: ANN401 - JSON
    """Return the state after a rollback: the template is BAD's, the traffic is GOOD's."""
    return make_state(
        template=BROKEN, traffic=[by_name(GOOD)], created=BAD, ready=BAD, served={GOOD: 100}, **more
    )


def test_rollback_pins_all_traffic() -> None:
    """One field is written, the way back is recorded, and the pin is announced."""
    state = make_state(created=BAD, ready=BAD, served={BAD: 100})
    plan = planners.plan_rollback(TARGET, state, REVISIONS, to=GOOD, change="a1b2c3")
    assert patch_of(plan).traffic == [{"revision": GOOD, "percent": 100}]
    assert not patch_of(plan).makes_revision
    assert plan.before == {"traffic": [{"revision": "LATEST", "percent": 100}]}
    assert plan.version == '"7"'
    assert plan.lasting
    assert plan.notes["left"] == [BAD]
    assert "later deployments get none" in plan.warnings[0]
    assert lines(plan) == [f"gcloud run services update-traffic {WHERE} --to-revisions={GOOD}=100"]


def test_rollback_keeps_tags() -> None:
    """A tagged revision stays reachable under its tag, at 0 percent, as gcloud leaves it."""
    state = make_state(traffic=[to_latest(90), by_name(BAD, 10, tag="canary")])
    assert direct_all(state.traffic, GOOD) == [
        {"revision": GOOD, "percent": 100},
        {"revision": BAD, "percent": 0, "tag": "canary"},
    ]


def test_rollback_refuses_what_cannot_serve() -> None:
    """A revision that is not ready is refused in Cloud Run's words, and forced on demand."""
    revisions = REVISIONS | {GOOD: make_revision(GOOD, make_template(), ready=False)}
    state = make_state(created=BAD, ready=BAD, served={BAD: 100})
    with pytest.raises(RefusedError, match="cannot serve traffic"):
        planners.plan_rollback(TARGET, state, revisions, to=GOOD, change="a1b2c3")
    forced = planners.plan_rollback(TARGET, state, revisions, to=GOOD, change="a1b2c3", force=True)
    assert is_all_on(forced.after["traffic"], GOOD)


def test_rollback_refuses_the_revision_that_fails_now() -> None:
    """Pinning what already serves everything mends nothing."""
    state = make_state(created=BAD, ready=BAD, served={BAD: 100})
    with pytest.raises(RefusedError, match="already serves every request"):
        planners.plan_rollback(TARGET, state, REVISIONS, to=BAD, change="a1b2c3")


def test_rollback_to_the_pinned_revision_changes_nothing() -> None:
    """Run again after a crash, it finds its own effect."""
    plan = planners.plan_rollback(TARGET, make_pinned(), REVISIONS, to=GOOD, change="a1b2c3")
    assert plan.before == plan.after


def test_rollback_to_an_unknown_revision() -> None:
    """The answer names revisions that exist."""
    with pytest.raises(UsageError, match="no revision") as caught:
        planners.plan_rollback(TARGET, make_state(), REVISIONS, to="nope", change="a1b2c3")
    assert GOOD in caught.value.next_step


def test_release_follows_the_latest() -> None:
    """The healthy newer revision gets everything again."""
    state = make_state(traffic=[by_name(BAD)], served={BAD: 100})
    plan = planners.plan_release(TARGET, state, change="a1b2c3")
    assert patch_of(plan).traffic == [{"revision": "LATEST", "percent": 100}]
    assert not plan.lasting
    assert lines(plan) == [f"gcloud run services update-traffic {WHERE} --to-latest"]


def test_release_refuses_a_latest_that_is_not_ready() -> None:
    """LATEST would silently be an older revision."""
    state = make_state(traffic=[by_name(GOOD)], created=BAD, ready=GOOD)
    with pytest.raises(RefusedError, match="is not ready"):
        planners.plan_release(TARGET, state, change="a1b2c3")


def test_release_refuses_what_was_rolled_back_from() -> None:
    """The revision that a rollback in force moved away from is known to fail."""
    left = {BAD: "2026-11-23T06:00:00Z"}
    with pytest.raises(RefusedError, match="rolled back from at 2026"):
        planners.plan_release(TARGET, make_pinned(), change="a1b2c3", left=left)
    assert planners.plan_release(TARGET, make_pinned(), change="a1b2c3", left=left, force=True)


def test_restart_in_the_normal_state() -> None:
    """A label makes the revision; the image is held by digest; the traffic is not touched."""
    plan = planners.plan_restart(
        TARGET, make_state(), REVISIONS, change="a1b2c3", stamp="20261123t061200z", image="repo@sha"
    )
    assert plan.patch.as_detail() == {"restarted_at": "20261123t061200z", "image": "repo@sha"}
    assert plan.after == {"restarted_at": "20261123t061200z"}
    assert not plan.lasting
    assert lines(plan) == [
        f"gcloud run services update {WHERE} --update-labels=restarted-at=20261123t061200z"
    ]


@pytest.mark.parametrize("state", [make_state(), make_pinned()])
def test_an_unknown_digest_is_told(state: State) -> None:
    """A tag may point to other code by now, so the restart may change more than it says."""
    for digest, told in (("", True), ("repo/api@sha256:1", False)):
        plan = planners.plan_restart(
            TARGET, state, REVISIONS, change="a1b2c3", stamp="x", image=digest
        )
        assert any("may be other code" in warning for warning in plan.warnings) is told


def test_restart_while_pinned_copies_what_serves() -> None:
    """Template and pin move in one request; the lines by hand spell out every difference."""
    plan = planners.plan_restart(
        TARGET, make_pinned(), REVISIONS, change="a1b2c3", stamp="x", image="repo/api@sha256:1"
    )
    name = f"{SERVICE}-restart-a1b2c3"
    assert patch_of(plan).copy_of == GOOD
    assert patch_of(plan).revision == name
    assert patch_of(plan).traffic == [{"revision": name, "percent": 100}]
    assert plan.before == {"traffic": [{"revision": GOOD, "percent": 100}], "template": BAD}
    assert plan.after == {"traffic": [{"revision": name, "percent": 100}], "template": name}
    assert plan.lasting
    update, move = lines(plan)
    assert update == (
        f"gcloud run services update {WHERE} --image=repo/api@sha256:1 --cpu=2"
        " --update-env-vars=MODE=a --remove-env-vars=EXTRA"
        " --timeout=300 --revision-suffix=restart-a1b2c3"
    )
    assert "leave out: variable API_TOKEN." in plan.warnings[-1]
    assert move == f"gcloud run services update-traffic {WHERE} --to-revisions={name}=100"


def test_restart_after_a_failed_deployment_copies_too() -> None:
    """Unpinned, with a newest revision that never became ready: its template is avoided."""
    state = make_state(template=BROKEN, created=BAD, ready=GOOD)
    plan = planners.plan_restart(TARGET, state, REVISIONS, change="a1b2c3", stamp="x")
    assert patch_of(plan).copy_of == GOOD
    assert patch_of(plan).traffic is None
    assert set(plan.after) == {"template"}


def test_restart_refuses_a_split() -> None:
    """With two revisions serving, nobody can say which one is meant."""
    state = make_state(traffic=[by_name(GOOD, 60), by_name(BAD, 40)], served={GOOD: 60, BAD: 40})
    with pytest.raises(RefusedError, match=f"60 % {GOOD}, 40 % {BAD}"):
        planners.plan_restart(TARGET, state, REVISIONS, change="a1b2c3", stamp="x")


def plan_scaling(state: State, least: int, most: int, *, force: bool = False) -> Plan:
    """Return the plan to scale to this range."""
    wish = Wish(
        "mitigate.scale-up", {"scaling": {"min": least, "max": most}}, "Scale.", force=force
    )
    return plan_settings(TARGET, state, REVISIONS, wish, change="a1b2c3")


def test_scale_up_in_the_normal_state() -> None:
    """One gcloud command does the same."""
    plan = plan_scaling(make_state(), 10, 20)
    assert plan.before == {"scaling": {"min": 2, "max": 10}}
    assert plan.after == {"scaling": {"min": 10, "max": 20}}
    assert patch_of(plan).traffic is None
    assert plan.lasting
    assert lines(plan) == [
        f"gcloud run services update {WHERE} --min-instances=10 --max-instances=20"
    ]


def test_scale_up_while_pinned_copies_what_serves() -> None:
    """The copy gets the range and the pin; the bad template serves nobody."""
    plan = plan_scaling(make_pinned(), 10, 20)
    assert patch_of(plan).copy_of == GOOD
    assert patch_of(plan).scaling == {"min": 10, "max": 20}
    assert "--min-instances=10 --max-instances=20" in lines(plan)[0]
    assert is_all_on(plan.after["traffic"], f"{SERVICE}-scale-a1b2c3")


@pytest.mark.parametrize(("least", "most"), [(1, 20), (2, 9)])
def test_scale_up_refuses_to_lower(least: int, most: int) -> None:
    """Scaling up that takes instances away is a slip, unless it is forced."""
    with pytest.raises(RefusedError, match="would lower a limit"):
        plan_scaling(make_state(), least, most)
    assert plan_scaling(make_state(), least, most, force=True)


def test_scale_up_knows_the_limit_where_none_is_set() -> None:
    """A revision without a maximum runs up to Cloud Run's own 100: 20 would take 80 away."""
    revisions = {GOOD: make_revision(GOOD, make_template(scaling={}))}
    wish = Wish("mitigate.scale-up", {"scaling": {"min": 10, "max": 20}}, "Scale.")
    with pytest.raises(RefusedError, match="0 to 100 instances"):
        plan_settings(TARGET, make_state(), revisions, wish, change="a1b2c3")


def test_scale_up_to_what_is_there_changes_nothing() -> None:
    """Run again after a crash, it finds its own effect, pinned or not."""
    for state in (make_state(), make_pinned()):
        plan = plan_scaling(state, 2, 10)
        assert plan.before == plan.after


def test_names_fit_cloud_run() -> None:
    """A long service name is cut as gcloud cuts it."""
    state = make_state(name="projects/p/locations/r/services/" + "s" * 63)
    assert len(name_revision(state, "restart-a1b2c3")) == 63


@pytest.mark.parametrize(
    "item",
    [
        {"name": "DATABASE", "value": "postgres://api:hunter2@db/prod"},
        {"name": "SENTRY_DSN", "value": "hunter2"},
        {"name": "DB_PWD", "value": "hunter2"},
        {"name": "ID", "value": "eyJhbGciOiJIUzI1NiJ9.hunter2"},
        {"name": "A", "valueSource": {"secretKeyRef": {"secret": "hunter2", "version": "1"}}},
    ],
)
def test_secrets_stay_out_of_the_lines(item: dict[str, Any]) -> None:
    """They are named as left out: a placeholder in a line would be set as it stands."""
    container = {"image": "repo/api:1.4.2", "env": [item]}
    revisions = REVISIONS | {GOOD: make_revision(GOOD, make_template(containers=[container]))}
    plan = planners.plan_restart(TARGET, make_pinned(), revisions, change="a1b2c3", stamp="x")
    assert "hunter2" not in json.dumps(plan.as_data({})) + json.dumps(plan.detail())
    assert not any("<" in line for line in lines(plan))
    assert f"variable {item['name']}" in plan.warnings[-1]


def test_no_environment_value_reaches_the_timeline() -> None:
    """Neither plan detail nor states hold a variable's value; the lines hide secret ones."""
    for plan in (
        plan_scaling(make_pinned(), 10, 20),
        planners.plan_restart(TARGET, make_pinned(), REVISIONS, change="a1b2c3", stamp="x"),
    ):
        kept = json.dumps([plan.before, plan.after, plan.detail()])
        assert "hidden-value" not in kept + " ".join(lines(plan))
        assert "MODE" not in kept
