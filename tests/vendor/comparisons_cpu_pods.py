"""What kubectl top, ps and py-spy in a pod, run by hand, share with their steps' answers."""

from __future__ import annotations

from checks.processes import parse_ps
from checks.usage import parse_top
from runbook.profile_stacks import list_functions, parse_raw
from tests.support.vendor import ByHand, Comparison, Facts

PLATFORM = "kubernetes"
FAULT = "hot-loop"
ALERT = "CriticalCPUUsage"
_POINTS = 25.0
_CPUS = 2.0  # of a container, in the baseline's template


def compare_cpu(typed: list[ByHand], told: Facts) -> None:
    """Kubectl top lists the same pods with about the same CPU."""
    by_hand = {pod: 100 * cpus / _CPUS for pod, (cpus, _) in parse_top(typed[0].stdout).items()}
    ours = {one["instance"]: one["cpu_percent"] for one in told["instances"]}
    assert by_hand
    assert set(ours) == set(by_hand)
    for pod, percent in by_hand.items():
        assert abs(percent - ours[pod]) < _POINTS


def compare_processes(typed: list[ByHand], told: Facts) -> None:
    """Ps, run in any pod by hand, shows the same processes: all pods are alike."""
    by_hand = parse_ps(typed[0].stdout)
    assert by_hand
    assert [one.pid for one in by_hand] == [one["pid"] for one in told["processes"]]
    assert [one.command for one in by_hand] == [one["command"] for one in told["processes"]]


def compare_profile(typed: list[ByHand], told: Facts) -> None:
    """Py-spy, run by hand, meets the same function most often."""
    first = list_functions(parse_raw(typed[0].stdout))[0]
    assert first.function == told["hottest"]["function"]


COMPARISONS: dict[str, Comparison] = {
    "assess.cpu": compare_cpu,
    "assess.processes": compare_processes,
    "assess.profile": compare_profile,
}
