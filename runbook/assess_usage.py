"""Assess the instances: what CPU and memory each one uses, and which processes run in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from invoke.context import Context

    from checks.processes import Process
    from checks.target import Target
    from checks.usage import Usage

ON_CLUSTER = "kubectl --kubeconfig={kubeconfig} --context={kube_context} --namespace={namespace}"
_GIB = 2**30
_MIB = 2**20
_SHOWN = 20
_MAX_PROCESSES = 100
_PS_DEADLINE_S = 10.0
_PS_COUNTS = (
    "It counts CPU over a process' whole life: one that is busy since a minute ago ranks low;"
    " assess.cpu tells the last minutes."
)


@step(
    alerts=("HighCPUUsage", "CriticalCPUUsage", "HighMemoryUsage", "CriticalMemoryUsage"),
    by_hand={
        "cloud_run": "curl --silent --show-error --fail-with-body --max-time 10 --get"
        " {prometheus}/api/v1/query --data-urlencode 'query=avg by (instance, revision)"
        """ (avg_over_time(system_cpu_usage_percent{{job="convergence-api"}}[{window}]))'""",
        "kubernetes": f"{ON_CLUSTER} top pods --selector=app={{deployment}}",
    },
    original=("C42",),
    help={"platform": "Look at cloud_run or kubernetes, whatever the target says."},
)
def cpu(_c: Context, platform: str = "") -> Report:
    """Show each instance's or pod's CPU and memory: even or not, and which revision's."""
    from checks.rules import find_alert_rule
    from checks.target import load_target
    from checks.usage import average_cpu, is_uneven, read_usage

    target = load_target().on_platform(platform)
    usages = read_usage(target)
    average = average_cpu(usages)
    memory = max((one.memory_percent or 0.0 for one in usages), default=0.0)
    high_cpu = find_alert_rule("HighCPUUsage").threshold or 80.0
    high_memory = 100 * (find_alert_rule("HighMemoryUsage").threshold or 0.85)
    busy = (average or 0.0) > high_cpu or any((one.cpu_percent or 0) > high_cpu for one in usages)
    return Report(
        finding=f"{state_cpu(usages)} {state_memory(usages)}".strip(),
        level="bad" if busy or memory > high_memory or not usages else "good",
        evidence=(_tabulate_usage(usages), _describe_source(target)),
        next_steps=_suggest(busy=busy, full=memory > high_memory),
        data={
            "platform": target.platform,
            "average_cpu_percent": None if average is None else round(average, 1),
            "highest_memory_percent": round(memory, 1),
            "uneven": is_uneven(usages),
            "at_capacity": is_at_capacity(usages),
            "instances": [usage_as_data(one) for one in usages],
        },
    )


def state_cpu(usages: Sequence[Usage]) -> str:
    """Return in words how busy the instances are, how evenly, and of which revision."""
    from checks.usage import average_cpu, group_by_revision, is_uneven

    known = [one for one in usages if one.cpu_percent is not None]
    average = average_cpu(known)
    if not usages:
        return "No instance tells what it uses."
    if average is None:
        return f"None of {len(usages)} instances tells its CPU."
    least, most = (pick(one.cpu_percent or 0.0 for one in known) for pick in (min, max))
    who = f"{len(known)} instances" if len(known) > 1 else known[0].name
    capacity = "at capacity" if is_at_capacity(usages) else "not at capacity"
    told = f"{who} use {average:.0f}% of their CPU: {capacity}"
    if len(known) == 1:
        told = f"{who} uses {average:.0f}% of its CPU: {capacity}"
    elif is_uneven(known):
        told += f", unevenly ({least:.0f} to {most:.0f}%)"
        hottest = _hot_revision(group_by_revision(known))
        told += f", {hottest} by far the most" if hottest else f", {known[0].name} the most"
    else:
        told += f", evenly ({least:.0f} to {most:.0f}%)"
    revisions = {one.revision for one in known}
    if len(revisions) == 1 and known[0].revision:
        told += f", all of {known[0].revision}" if len(known) > 1 else f", of {known[0].revision}"
    return f"{told}."


def _hot_revision(groups: dict[str, list[Usage]]) -> str:
    """Return the revision whose instances are all busier than any other's, or nothing."""
    from checks.usage import average_cpu, is_uneven

    ranked = sorted(groups.items(), key=lambda item: -(average_cpu(item[1]) or 0.0))
    if len(ranked) < 2:  # noqa: PLR2004 - nothing to compare with
        return ""
    (name, first), (_, second) = ranked[:2]
    apart = is_uneven([first[-1], second[0]]) and not is_uneven(first)
    return name if apart and (first[-1].cpu_percent or 0) > (second[0].cpu_percent or 0) else ""


def state_memory(usages: Sequence[Usage]) -> str:
    """Return in words how full the fullest instance's memory is."""
    known = [one for one in usages if one.memory_percent is not None]
    if not known:
        return ""
    fullest = max(known, key=lambda one: one.memory_percent or 0.0)
    percent = fullest.memory_percent or 0.0
    least = min(one.memory_percent or 0.0 for one in known)
    told = f"Memory: {percent:.0f}% of its limit at most, in {fullest.name}"
    return f"{told}; {least:.0f}% at least." if len(known) > 1 else f"{told}."


def is_at_capacity(usages: Sequence[Usage]) -> bool:
    """Return whether the instances use 85 % of their CPU or more on average."""
    from checks.symptoms import is_at_capacity as are_busy

    return are_busy([one.cpu_percent for one in usages if one.cpu_percent is not None])


def _suggest(*, busy: bool, full: bool) -> tuple[str, ...]:
    if busy:
        return ("invoke assess.profile", "invoke assess.processes", "invoke assess")
    if full:
        return ("invoke assess.processes", "invoke assess")
    return ("invoke assess",)


def _tabulate_usage(usages: Sequence[Usage]) -> Table:
    shown = usages[:_SHOWN]
    several = len({one.revision for one in usages}) > 1
    return Table(
        columns=("instance", "CPU", "memory", "used", *(("revision",) if several else ())),
        rows=tuple(
            (
                one.short_name,
                _percent(one.cpu_percent),
                f"{_gib(one.memory_bytes)} of {_gib(one.memory_limit_bytes)} GiB",
                _percent(one.memory_percent),
                *((one.revision,) if several else ()),
            )
            for one in shown
        ),
        title="" if len(usages) <= _SHOWN else f"The {_SHOWN} busiest of {len(usages)}",
        right=("CPU", "memory", "used"),
    )


def _describe_source(target: Target) -> str:
    from checks.target import KUBERNETES
    from runbook.assess_load import tell_span

    if target.platform == KUBERNETES:
        return "From kubectl top, in percent of the container's limits."
    return f"From Prometheus: CPU over the last {tell_span(target.seconds(300))}, memory now."


def usage_as_data(one: Usage) -> dict[str, Any]:
    """Return what an instance uses as data: percentages and bytes, None where unknown."""
    return {
        "instance": one.name,
        "address": one.address,
        "revision": one.revision,
        "cpu_percent": None if one.cpu_percent is None else round(one.cpu_percent, 1),
        "memory_bytes": one.memory_bytes,
        "memory_limit_bytes": one.memory_limit_bytes,
        "memory_percent": None if one.memory_percent is None else round(one.memory_percent, 1),
    }


@step(
    alerts=("HighCPUUsage", "CriticalCPUUsage"),
    # On Cloud Run there is no such line: nobody gets into an instance.
    by_hand={
        "kubernetes": f"{ON_CLUSTER} exec deployment/{{deployment}} --container=app"
        " -- ps aux --sort=-%cpu",
    },
    original=("C44",),
    help={
        "instance": "The instance or pod, or the end of its name; the busiest one by default.",
        "limit": "Show at most this many processes.",
        "platform": "Look at cloud_run or kubernetes, whatever the target says.",
    },
)
def processes(_c: Context, instance: str = "", limit: int = 10, platform: str = "") -> Report:
    """Show the processes of the busiest instance, or of the one that is named."""
    from checks.inputs import check_count
    from checks.target import KUBERNETES, load_target
    from checks.usage import read_usage
    from runbook.profile_sampling import check_instance, pick_instance

    check_count("--limit", limit, minimum=1, maximum=_MAX_PROCESSES)
    check_instance(instance)
    target = load_target().on_platform(platform)
    usages = read_usage(target)
    picked = pick_instance(usages, instance)
    if target.platform == KUBERNETES:
        return report_processes(picked, _list_in_pod(target, picked), limit, where="in the pod")
    if target.embedded:
        found, owners = _list_here([picked] if instance else usages)
        where = "on this machine, of the instances alone"
        return report_processes(picked, found, limit, where=where, owners=owners)
    return Report(
        finding="Cloud Run lets nobody into an instance: its processes cannot be listed."
        f" {state_cpu(usages)}",
        level="info",
        evidence=(_tabulate_usage(usages), _describe_source(target)),
        next_steps=("open Cloud Profiler in the console", "invoke assess.cpu"),
        data={"processes": None, "instances": [usage_as_data(one) for one in usages]},
    )


def _list_in_pod(target: Target, pod: Usage) -> list[Process]:
    from checks.errors import ApiError, UsageError
    from checks.kubectl import run_kubectl
    from checks.processes import parse_ps
    from runbook.profile_sampling import CONTAINER

    argv = ("exec", pod.name, f"--container={CONTAINER}", "--", "ps", "aux", "--sort=-%cpu")
    try:
        return parse_ps(run_kubectl(target, argv, _PS_DEADLINE_S))
    except ApiError as error:
        if "executable file not found" not in str(error):
            raise
        raise UsageError(
            f"ps is not installed in the container of {pod.name}.",
            next_step="put procps into the image, or add it for now:"
            f" kubectl debug {pod.name} --target={CONTAINER} --image=busybox -it",
            subject=pod.name,
        ) from error


def _list_here(usages: Sequence[Usage]) -> tuple[list[Process], dict[int, str]]:
    from checks.instances import read_pids
    from checks.processes import parse_ps
    from runbook.programs import find_program, run_program

    pids = read_pids(one.address for one in usages)
    if not pids:
        return [], {}
    program = find_program("ps", install="apt-get install procps")
    named = ",".join(str(pid) for pid in pids.values())
    argv = (program, "ww", "u", "--sort=-%cpu", "-p", named)
    owners = {pids[one.address]: one.short_name for one in usages if one.address in pids}
    return parse_ps(run_program(argv, deadline_s=_PS_DEADLINE_S).stdout), owners


def report_processes(
    picked: Usage,
    found: Sequence[Process],
    limit: int,
    *,
    where: str,
    owners: Mapping[int, str] | None = None,
) -> Report:
    """Return the processes as a report, the busiest first; `owners` names instances by process."""
    owners = owners or {}
    if not found:
        return Report(
            finding=f"No process of {picked.name} could be found.",
            level="bad",
            next_steps=("invoke assess.cpu", "invoke assess"),
            data={"instance": picked.name, "processes": []},
        )
    ordered = sorted(found, key=lambda one: -one.cpu_percent)
    first = ordered[0]
    finding = (
        f"Process {first.pid} of {owners.get(first.pid, picked.name)} took the most CPU:"
        f" {first.cpu_percent:g}% of a vCPU over its life,"
        f" {first.resident_bytes / _MIB:.0f} MiB resident."
    )
    return Report(
        finding=finding,
        level="info",
        evidence=(_tabulate_processes(ordered[:limit], owners), f"From ps {where}. {_PS_COUNTS}"),
        next_steps=("invoke assess.profile", "invoke assess.cpu"),
        data={
            "instance": picked.name,
            "total": len(found),
            "processes": [
                asdict(one) | {"instance": owners.get(one.pid)} for one in ordered[:limit]
            ],
        },
    )


def _tabulate_processes(shown: Sequence[Process], owners: Mapping[int, str]) -> Table:
    return Table(
        columns=("pid", "CPU", "memory", "state", "started", "CPU time", "command"),
        rows=tuple(
            (
                str(one.pid),
                f"{one.cpu_percent:g}%",
                f"{one.resident_bytes / _MIB:.0f} MiB",
                one.state,
                one.started,
                one.cpu_time,
                f"instance {owners[one.pid]}" if one.pid in owners else one.command,
            )
            for one in shown
        ),
        right=("pid", "CPU", "memory", "CPU time"),
    )


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}%"


def _gib(value: float | None) -> str:
    return "?" if value is None else f"{value / _GIB:.2f}"
