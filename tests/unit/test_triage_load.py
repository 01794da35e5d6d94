"""What triage recommends for slowness, CPU and memory, also when answers are missing."""

from __future__ import annotations

from typing import Any

import pytest

from checks.cost import Cost, Costs, compare
from checks.errors import UnreachableError
from checks.kubernetes import parse_cluster
from checks.latency import Latency, make_histogram
from checks.logs import Entry
from checks.memory import Life, list_full_again, list_lives
from checks.prometheus import Alert, Series
from runbook.triage import build_report, name_platform
from runbook.triage_probes import Snapshot
from runbook.triage_rules.registry import judge
from tests.unit.kubernetes_json import raw_deployment, raw_pod, raw_set
from tests.unit.test_target import make_target
from tests.unit.test_triage_rules import NEW, OLD, SINCE, revision, service_on, snapshot

READS = ("/api/v1/pipelines", "/api/v1/pipelines/executions")
RUN = "/api/v1/pipelines/run/{pipeline_id}"
METHODS = {**dict.fromkeys(READS, frozenset({"GET"})), RUN: frozenset({"POST"})}
ENOUGH, BUSY = [20.0, 30.0], [97.0, 99.0]
WIDER = "invoke mitigate.scale-up --min-instances=10 --max-instances=20"
LARGER = "invoke mitigate.scale-up --cpu=4 --memory=8Gi"
ON_OLD = {"service": service_on(OLD)}
DEARER = Costs(Cost(20.0, 10.0), Cost(95.0, 10.0))
MORE_WORK = Costs(Cost(20.0, 10.0), Cost(95.0, 60.0))
CPU, CRITICAL_CPU = "HighCPUUsage", "CriticalCPUUsage"
MEMORY, CRITICAL_MEMORY = "HighMemoryUsage", "CriticalMemoryUsage"
LATENCY = "HighLatencyP95"
CHANGED = [{"step": "mitigate.scale-up", "since": "2026-11-23T05:00:00Z", "who": "a", "undo": "u"}]


def latency_of(path: str, seconds: float) -> Latency:
    """Return the latency of an endpoint all of whose requests take about `seconds`."""
    buckets = {0.01: 0.0, 0.5: 0.0, 1.0: 0.0, 2.0: 0.0, 5.0: 0.0, float("inf"): 50.0}
    return Latency(path, make_histogram({b: 50.0 if b > seconds else 0.0 for b in buckets}))


def slow(*paths: str) -> dict[str, Any]:
    """Return the answers on latency when `paths` are slow and all others are not."""
    endpoints = [latency_of(path, 1.8 if path in paths else 0.02) for path in METHODS]
    tenants = [latency_of(f"t{i}", 1.8) for i in range(3)]
    return {"latencies": {"endpoint": endpoints, "tenant": tenants}, "methods": METHODS,
            "recent_p95": 1.8, "cpu_percents": ENOUGH}  # fmt: skip


def life(number: int, started: float, share: float, passed: float | None = None,
         revision: str = OLD) -> Life:  # fmt: skip
    """Return a process that is still there at 100."""
    return Life(f"i-{number}", revision, started, share, share, 100.0, passed)


def large(name: str = OLD) -> Any:  # noqa: ANN401
    """Return a revision of 2 CPU and 4 GiB."""
    found = revision(name)
    limits = {"containers": [{"resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}]}
    found.raw.update(limits)
    return found


ONE_FULL = [life(1, 0, 0.9, 50), life(2, 0, 0.3)]
FULL_AGAIN = [life(1, 0, 0.97, 50), life(2, 60, 0.97, 80), life(3, 61, 0.3)]
NEW_FULL = [life(1, 0, 0.97, 50, NEW), life(2, 60, 0.97, 80, NEW)]

CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "slow, no CPU left": (LATENCY, {**ON_OLD, **slow(*METHODS), "cpu_percents": BUSY}, WIDER),
    "slow reads": (LATENCY, {**ON_OLD, **slow(*READS)}, "invoke mitigate.enable-caching"),
    "slow runs": (LATENCY, {**ON_OLD, **slow(RUN)}, "invoke mitigate.set-timeout --seconds=1"),
    "slow throughout, with CPU to spare": (
        LATENCY, {**ON_OLD, **slow(*METHODS)}, "invoke assess.slow-endpoints"),
    "slow, came with a deployment": (LATENCY, slow(*READS), "invoke mitigate.rollback"),
    "slow for a deployment that burns CPU": (
        LATENCY, {**slow(*METHODS), "cpu_percents": BUSY, "costs": DEARER},
        "invoke mitigate.rollback"),
    "slow for more work just after a deployment": (
        LATENCY, {**slow(*METHODS), "cpu_percents": BUSY, "costs": MORE_WORK}, WIDER),
    "slow, nobody knows where": (
        LATENCY, {**ON_OLD, "latencies": None}, "invoke assess.slow-endpoints"),
    "slow, nobody knows which verbs": (
        LATENCY, {**ON_OLD, **slow(*READS), "methods": {}}, "invoke assess.slow-endpoints"),
    "was slow, a change of ours helped": (
        LATENCY, {**ON_OLD, **slow(*READS), "recent_p95": 0.2, "open_changes": CHANGED}, ""),
    "busy with work": (CPU, {**ON_OLD, "cpu_percents": BUSY}, WIDER),
    "busy, a deployment made requests dearer": (
        CPU, {"cpu_percents": BUSY, "costs": DEARER}, "invoke mitigate.rollback"),
    "busy, more requests just after a deployment": (
        CRITICAL_CPU, {"cpu_percents": BUSY, "costs": MORE_WORK}, WIDER),
    "busy just after a deployment, costs unknown": (
        CRITICAL_CPU, {"cpu_percents": BUSY}, "invoke mitigate.rollback"),
    "busy after a change of scale": (
        CPU, {"cpu_percents": BUSY,
              "revisions": [revision(NEW, image="repo/x"), revision(OLD, image="repo/x")]},
        WIDER),
    "busy, nowhere to go back to": (
        CPU, {"cpu_percents": BUSY, "costs": DEARER, "healthy_before": None},
        "invoke assess.revisions"),
    "was busy, a change of ours helped": (
        CPU, {**ON_OLD, "cpu_percents": ENOUGH, "open_changes": CHANGED}, ""),
    "one instance full": (MEMORY, {**ON_OLD, "lives": ONE_FULL}, "invoke mitigate.restart"),
    "full again after a restart": (
        CRITICAL_MEMORY, {**ON_OLD, "lives": FULL_AGAIN, "revisions": [large()]}, LARGER),
    "full again, and no one knows the limit": (
        CRITICAL_MEMORY, {**ON_OLD, "lives": FULL_AGAIN}, "invoke assess.processes"),
    "a deployment leaks": (CRITICAL_MEMORY, {"lives": NEW_FULL}, "invoke mitigate.rollback"),
    "full since a deployment, and so was the one before": (
        CRITICAL_MEMORY,
        {"lives": [life(0, -9, 0.97, 40, OLD), *NEW_FULL], "revisions": [large(NEW), large()]},
        LARGER),
    "full, nobody knows who": (MEMORY, ON_OLD, "invoke assess.processes"),
    "was full, restarted": (
        MEMORY, {**ON_OLD, "lives": [life(2, 60, 0.3)], "open_changes": CHANGED}, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recommendation(case: str) -> None:
    alert, changes, command = CASES[case]
    found = snapshot(alert, **({"rates": None} | changes))
    verdict = judge(make_target(), found)[0]
    assert verdict.rule.name == alert
    assert verdict.advice.command == command, verdict.advice.why
    assert verdict.advice.why


def test_consequences_are_told_once_and_mended_by_one_command() -> None:
    alerts = [Alert(name, "firing", {}, {}, SINCE, 1.0) for name in (CPU, CRITICAL_CPU, LATENCY)]
    found = snapshot("", alerts=alerts, **{**ON_OLD, **slow(*METHODS), "cpu_percents": BUSY})
    first, *others = judge(make_target(), found)[:3]
    assert (first.rule.name, first.advice.command) == (LATENCY, WIDER)
    assert [other.advice.command for other in others] == ["", ""]
    assert all("same cause as HighLatencyP95" in other.advice.why for other in others)


def test_another_cause_keeps_its_own_command() -> None:
    alerts = [Alert(name, "firing", {}, {}, SINCE, 1.0) for name in (MEMORY, LATENCY)]
    found = snapshot("", alerts=alerts, **ON_OLD, **slow(*READS), lives=ONE_FULL)
    assert [one.advice.command for one in judge(make_target(), found)[:2]] == [
        "invoke mitigate.enable-caching", "invoke mitigate.restart"]  # fmt: skip


def on_kubernetes(**changes: Any) -> Snapshot:  # noqa: ANN401
    """Return a snapshot of a Deployment with three replicas that all serve."""
    items = [raw_set(1, ready=3, replicas=3), *(raw_pod(1, name) for name in "abc")]
    template = items[0]["spec"]["template"]["spec"]["containers"][0]
    template["resources"] = {"limits": {"cpu": "2", "memory": "4Gi"}}
    cluster = parse_cluster(raw_deployment(replicas=3), items)
    return snapshot(CPU, service=cluster.deployment, revisions=cluster.revisions, rates=None,
                    **changes)  # fmt: skip


def test_on_kubernetes_replicas_are_doubled() -> None:
    found = on_kubernetes(cpu_percents=BUSY)
    found.alerts[0] = Alert(CPU, "firing", {}, {}, "2026-11-23T09:00:00Z", 1.0)
    verdict = judge(make_target(platform="kubernetes"), found)[0]
    assert verdict.advice.command == "invoke mitigate.scale-up --replicas=6"


def test_commands_for_another_platform_than_the_targets_name_it() -> None:
    verdicts = judge(make_target(), snapshot(CPU, **ON_OLD, cpu_percents=BUSY))
    [first, *_] = name_platform(verdicts, "cloud_run")
    assert first.advice.command == f"{WIDER} --platform=cloud_run"


def test_on_kubernetes_memory_is_doubled_beyond_what_cloud_run_has() -> None:
    lives = [life(1, 0, 0.97, 50, "api-1"), life(2, 60, 0.97, 80, "api-1")]
    found = on_kubernetes(lives=lives)
    found.alerts[0] = Alert(CRITICAL_MEMORY, "firing", {}, {}, "2026-11-23T09:00:00Z", 1.0)
    found.revisions[0].raw["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "limits": {"cpu": "4", "memory": "32Gi"}
    }
    verdict = judge(make_target(platform="kubernetes"), found)[0]
    assert verdict.advice.command == "invoke mitigate.scale-up --cpu=8 --memory=64Gi"


def test_a_deployment_without_a_ready_pod_is_still_blamed() -> None:
    """Nobody serves; the ReplicaSet that should is the one whose containers end."""
    pods = [raw_pod(2, name, ready=False, waiting="CrashLoopBackOff", ended=("Error", 139))
            for name in "ab"]  # fmt: skip
    cluster = parse_cluster(raw_deployment(), [raw_set(1), raw_set(2, replicas=2), *pods])
    ended = [Entry(SINCE, "WARNING", "Container ended: Error", "api-2")]
    found = snapshot("ServiceDown", service=cluster.deployment, revisions=cluster.revisions,
                     up=0, rates=None, health=None, platform_log=ended)  # fmt: skip
    verdict = judge(make_target(platform="kubernetes"), found)[0]
    assert found.serving == "api-2"
    assert verdict.advice.command == "invoke mitigate.rollback"


@pytest.mark.parametrize(("left", "steps"), [(1, ("invoke mitigate.rollback",)), (2, ())])
def test_a_roll_out_that_is_stuck_is_taken_back_where_replicas_are_missing(
    left: int, steps: tuple[str, ...]
) -> None:
    stuck = raw_pod(2, "z", ready=False, waiting="CrashLoopBackOff", ended=("Error", 1))
    items = [raw_set(1, ready=left, replicas=left), raw_set(2, replicas=2), stuck,
             *(raw_pod(1, name) for name in "ab"[:left])]  # fmt: skip
    raw = raw_deployment("ReplicaSetUpdated")
    raw["status"]["readyReplicas"] = left
    cluster = parse_cluster(raw, items)
    found = snapshot("", service=cluster.deployment, revisions=cluster.revisions, rates=None)
    report = build_report(found, judge(make_target(platform="kubernetes"), found), "kubernetes")
    assert report.next_steps == (*steps, "invoke assess.errors")
    assert ("only 1 of 2 replicas" in report.finding) is (left == 1)


def test_answers_that_failed_leave_a_place_to_look() -> None:
    silent = {"memory": UnreachableError("Prometheus is away.", next_step="wait")}
    found = snapshot(MEMORY, **ON_OLD, rates=None, silent=silent)
    verdict = judge(make_target(), found)[0]
    assert verdict.advice.command == "invoke assess.processes"
    assert verdict.hits.startswith("unknown")


def test_the_busiest_of_several_before_is_compared() -> None:
    costs = compare("c", {"a": 10.0, "b": 40.0}, {"a": 1.0, "b": 20.0}, {"c": 90.0}, {"c": 20.0})
    assert costs.before == Cost(40.0, 20.0)
    assert costs.grew_by_itself
    assert compare("c", {"c": 10.0}, {}, {"c": 90.0}, {}).grew_by_itself is None


def test_one_address_may_be_two_processes() -> None:
    labels = {"instance": "a:1", "revision": "r"}
    shares = [Series(labels, ((1.0, 0.5), (2.0, 0.96), (3.0, 0.1), (4.0, 0.97)))]
    starts = [Series(labels, ((1.0, 0.5), (2.0, 0.5), (3.0, 2.5), (4.0, 2.5)))]
    lives = list_lives(shares, starts, 0.95)
    assert [(one.started, one.peak, one.passed) for one in lives] == [
        (0.5, 0.96, 2.0), (2.5, 0.97, 4.0)]  # fmt: skip
    assert list_full_again(lives) == [lives[1]]
    assert list_full_again(lives[:1]) == []


@pytest.mark.parametrize(
    ("now", "grew"),
    [
        (Cost(92.0, 10.0), True),
        (Cost(92.0, 13.0), True),  # a little more load does not explain it
        (Cost(80.0, 40.0), False),
        (Cost(92.0, 40.0), False),
        (Cost(21.0, 5.0), False),
        (Cost(92.0, 0.0), True),
    ],
)
def test_cpu_that_grew_by_itself_grew_faster_than_the_load(now: Cost, grew: bool) -> None:
    assert Costs(Cost(20.0, 10.0), now).grew_by_itself is grew


def test_without_a_load_before_nothing_is_blamed() -> None:
    assert Costs(Cost(20.0, 0.0), Cost(92.0, 10.0)).grew_by_itself is False
    assert Costs(None, Cost(92.0, 10.0)).grew_by_itself is None
