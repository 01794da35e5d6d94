"""Changes of a Deployment: the patch under its version, the lines by hand, and the way back."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from checks.errors import ConcurrentChangeError, RefusedError, UsageError
from runbook.changes import kubernetes_plans, settings
from runbook.changes.kubernetes import Kubernetes, describe_writer, judge_rollout, patch_of
from runbook.changes.kubernetes_patch import DeploymentPatch, make_operations
from runbook.changes.kubernetes_state import DeploymentState
from runbook.changes.plan import Plan
from runbook.changes.settings import Wish
from runbook.timeline import Change, Timeline
from tests.unit.deployment_json import NEW, NUMBER, OLD, TARGET, make_deployment, make_template
from tests.unit.service_json import SERVICE

WHERE = "kubectl --context=embedded --namespace=default"
CACHE = "env." + settings.CACHE_TTL
APP = "/spec/template/spec/containers/1"
STAMP = "2026-11-23T06:12:00Z"
RESTART = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"


def plan_settings(state: DeploymentState, *, force: bool = False, **fields: Any) -> Plan:  # noqa: ANN401
    """Return the plan for these fields; `cache` stands for that variable."""
    named = {CACHE if name == "cache" else name: value for name, value in fields.items()}
    wish = Wish("mitigate.scale-up", named, "Do.", force=force, notes={"emptied": None})
    return kubernetes_plans.plan_settings(TARGET, state, wish, change="a1b2c3")


def lines(plan: Plan) -> list[str]:
    """Return the plan's lines as a shell takes them."""
    return [shlex.join(line) for line in plan.by_hand]


def operations(state: DeploymentState, plan: Plan) -> list[dict[str, Any]]:
    """Return what is sent, without the condition that every patch begins with."""
    condition, *rest = make_operations(state, patch_of(plan))
    assert condition == {"op": "replace", "path": "/metadata/resourceVersion", "value": "901"}
    return rest


def keep(folder: Path, plan: Plan) -> Change:
    """Return the plan's change as the timeline tells it once it is verified."""
    timeline = Timeline(folder / "t.sqlite3", "local")
    for phase in ("planned", "applied", "verified"):
        timeline.append(
            plan.change,
            plan.step,
            phase,
            before=plan.before,
            after=plan.after,
            detail=plan.detail(),
        )
    return timeline.changes()[-1]


def undo(state: DeploymentState, change: Change) -> Plan:
    """Return the plan that takes the change back."""
    return kubernetes_plans.plan_undo(TARGET, state, change, overwritten=frozenset())


def test_a_change_is_on_the_timeline_as_kubernetes_own(tmp_path: Path) -> None:
    """Undo finds the system by that name, and the patch as it was sent."""
    plan = plan_settings(make_deployment(), replicas=10)
    change = keep(tmp_path, plan)
    assert change.system == "kubernetes"
    assert Kubernetes(TARGET).parse_patch(change.intent.detail["patch"]) == plan.patch


def test_scaling() -> None:
    """Only the number is written; fewer pods are refused, unless it is forced."""
    state = make_deployment()
    plan = plan_settings(state, replicas=10)
    assert (plan.before, plan.after) == ({"replicas": 2}, {"replicas": 10})
    assert operations(state, plan) == [{"op": "replace", "path": "/spec/replicas", "value": 10}]
    assert lines(plan) == [f"{WHERE} scale deployment/{SERVICE} --replicas=10"]
    with pytest.raises(RefusedError, match="would lower"):
        plan_settings(state, replicas=1)
    assert plan_settings(state, replicas=1, force=True)


def test_limits_take_equal_requests_along() -> None:
    """The pod keeps its class of service; the container is the service's own, not the sidecar."""
    state = make_deployment()
    plan = plan_settings(state, cpu="4", memory="8Gi")
    size = {"cpu": "4", "memory": "8Gi"}
    [op] = operations(state, plan)
    assert op == {
        "op": "add", "path": f"{APP}/resources", "value": {"limits": size, "requests": size}
    }  # fmt: skip
    flags = "--containers=app --limits=cpu=4,memory=8Gi --requests=cpu=4,memory=8Gi"
    assert lines(plan) == [f"{WHERE} set resources deployment/{SERVICE} {flags}"]


def test_a_smaller_request_stays() -> None:
    """Who asked for less than the limit goes on to."""
    resources = {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"memory": "1Gi"}}
    state = make_deployment(make_template(resources=resources))
    plan = plan_settings(state, memory="8Gi")
    [op] = operations(state, plan)
    assert op["value"] == {
        "limits": {"cpu": "2", "memory": "8Gi"}, "requests": {"memory": "1Gi"}
    }  # fmt: skip
    assert "--requests" not in lines(plan)[0]


def test_a_variable_is_added_changed_and_taken_away(tmp_path: Path) -> None:
    """No other variable's value is in what is sent."""
    bare = make_deployment(make_template(("API_TOKEN", "hunter2")))
    plan = plan_settings(bare, cache="60")
    change = keep(tmp_path, plan)
    item = {"name": settings.CACHE_TTL, "value": "60"}
    assert operations(bare, plan) == [{"op": "add", "path": f"{APP}/env/-", "value": item}]
    assert lines(plan) == [
        f"{WHERE} set env deployment/{SERVICE} --containers=app RESPONSE_CACHE_TTL_SECONDS=60"
    ]
    cached = make_deployment(
        make_template((settings.CACHE_TTL, "60"), ("API_TOKEN", "hunter2")), generation=8
    )
    changed = plan_settings(cached, cache="30")
    assert operations(cached, changed)[0]["path"] == f"{APP}/env/0"
    back = undo(cached, change)
    assert operations(cached, back) == [{"op": "remove", "path": f"{APP}/env/0"}]
    assert lines(back)[0].endswith("RESPONSE_CACHE_TTL_SECONDS-")
    assert "hunter2" not in json.dumps([operations(bare, plan), operations(cached, back)])


def test_the_first_variable_makes_the_list() -> None:
    """A container without `env` gets one."""
    state = make_deployment(make_template(env=None))
    first, second = operations(state, plan_settings(state, cache="60"))
    assert first == {"op": "add", "path": f"{APP}/env", "value": []}
    assert second["path"] == f"{APP}/env/-"


def test_several_variables_are_taken_away_from_the_end() -> None:
    """Each removal would move those behind it."""
    template = make_template(
        (settings.CACHE_TTL, "1"), ("MODE", "x"), (settings.AUTH_FAILURES, "1")
    )
    names = ("env." + settings.CACHE_TTL, "env." + settings.AUTH_FAILURES)
    patch = DeploymentPatch(settings=dict.fromkeys(names))
    _, *ops = make_operations(make_deployment(template), patch)
    assert [op["path"] for op in ops] == [f"{APP}/env/2", f"{APP}/env/0"]


def test_restart_and_its_way_back(tmp_path: Path) -> None:
    """The annotation that kubectl writes; by hand it is taken off again by a patch."""
    plan = kubernetes_plans.plan_restart(TARGET, make_deployment(), change="a1b2c3", stamp=STAMP)
    assert operations(make_deployment(), plan)[0]["path"] == "/spec/template/metadata/annotations"
    assert lines(plan) == [f"{WHERE} rollout restart deployment/{SERVICE}"]
    assert not plan.lasting
    restarted = make_deployment(make_template(stamp=STAMP), generation=8)
    back = undo(restarted, keep(tmp_path, plan))
    assert operations(restarted, back) == [{"op": "remove", "path": RESTART}]
    assert back.by_hand[0][-1] == "--patch=" + json.dumps([{"op": "remove", "path": RESTART}])


def test_rollback_brings_the_whole_template_back() -> None:
    """Without the hash that only the ReplicaSet has; annotations as `rollout undo` leaves them."""
    state = make_deployment()
    plan = kubernetes_plans.plan_rollback(TARGET, state, to=OLD, change="a1b2c3")
    template, annotations = operations(state, plan)
    assert template["value"] == make_template(image="repo/api:1.4.1")
    assert annotations["value"] == {NUMBER: "2", "kubernetes.io/change-cause": "release 1"}
    assert (plan.before, plan.after) == ({"template": NEW}, {"template": OLD})
    assert lines(plan) == [f"{WHERE} rollout undo deployment/{SERVICE} --to-revision=1"]


def test_rollback_to_what_there_is_not_or_is_already() -> None:
    with pytest.raises(UsageError, match="no ReplicaSet"):
        kubernetes_plans.plan_rollback(TARGET, make_deployment(), to="api-1", change="a1b2c3")
    with pytest.raises(RefusedError, match="rolled out already"):
        kubernetes_plans.plan_rollback(TARGET, make_deployment(), to=NEW, change="a1b2c3")


def test_undo_of_a_rollback_wants_its_replica_set(tmp_path: Path) -> None:
    """The history is limited: what has gone cannot come back."""
    plan = kubernetes_plans.plan_rollback(TARGET, make_deployment(), to=OLD, change="a1b2c3")
    change = keep(tmp_path, plan)
    gone = Change(
        tuple(
            type(row)(**{**vars(row), "before": {"template": "x-1"}, "after": {"template": NEW}})
            for row in change.rows
        )
    )
    with pytest.raises(RefusedError, match="keeps no ReplicaSet x-1"):
        undo(make_deployment(), gone)


def test_undo_leaves_what_somebody_changed_since(tmp_path: Path) -> None:
    change = keep(tmp_path, plan_settings(make_deployment(), replicas=10))
    with pytest.raises(ConcurrentChangeError, match="pods is 7"):
        undo(make_deployment(replicas=7), change)
    again = undo(make_deployment(replicas=2), change)
    assert again.patch.empty
    assert again.before == again.after


def test_a_paused_deployment_rolls_nothing_out() -> None:
    """Its pods would stay as they are; their number is another matter."""
    paused = make_deployment(paused=True)
    with pytest.raises(RefusedError, match="are paused"):
        plan_settings(paused, cache="60")
    assert plan_settings(paused, replicas=10)


@pytest.mark.parametrize(
    ("status", "missing", "failure"),
    [
        ({}, "", ""),
        ({"observedGeneration": 6}, "has not seen", ""),
        ({"updatedReplicas": 1}, "1 of 2 pods are of the new", ""),
        ({"replicas": 3}, "1 old pods", ""),
        ({"availableReplicas": 1}, "1 of 2 pods are available", ""),
        (
            {
                "updatedReplicas": 1,
                "conditions": [
                    {
                        "type": "Progressing",
                        "status": "False",
                        "reason": "ProgressDeadlineExceeded",
                        "message": "has timed out progressing",
                    }
                ],
            },
            "1 of 2",
            "has timed out",
        ),
    ],
)
def test_a_rollout_is_judged_as_kubectl_does(
    status: dict[str, Any], missing: str, failure: str
) -> None:
    found = judge_rollout(make_deployment(status=status))
    assert (missing in found[0], bool(found[0])) == (True, bool(missing))
    assert (failure in found[1], bool(found[1])) == (True, bool(failure))


def test_a_template_is_unknown_until_the_controller_has_seen_it() -> None:
    """Else a change would count as in force by the ReplicaSet of before."""
    state = make_deployment(status={"observedGeneration": 6})
    assert state.fields(["template"]) == {"template": ""}


def test_who_wrote_it_is_told_as_far_as_it_is_known() -> None:
    """Status is the controllers' own; the newest other entry counts."""
    state = make_deployment()
    assert describe_writer(state) == "somebody"
    entries = [
        {"manager": "kubectl-set", "time": "2026-11-23T06:00:00Z"},
        {"manager": "kubectl-patch", "time": "2026-11-23T07:00:00Z"},
        {"manager": "controller", "time": "2026-11-23T08:00:00Z", "subresource": "status"},
    ]
    state.cluster.deployment.raw["metadata"]["managedFields"] = entries
    assert describe_writer(state) == "somebody with kubectl-patch at 2026-11-23T07:00:00Z"
    plan = plan_settings(make_deployment(), replicas=10)
    told = Kubernetes(TARGET).describe_conflict(plan, make_deployment(replicas=5, generation=9))
    assert "pods from 2 to 5" in told
    assert "generation 7 to 9" in told
