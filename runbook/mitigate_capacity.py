"""Mitigate a lack of capacity: more instances, or larger ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from invoke.context import Context

    from runbook.changes.settings import Wish
    from runbook.report import Report

_LIMITS = "--containers=app --limits=cpu={cpu},memory={memory} --requests=cpu={cpu},memory={memory}"
_KUBECTL = "kubectl --kubeconfig={kubeconfig} --context={kube_context} --namespace={namespace}"


@step(
    alerts=(
        *("HighErrorRate", "HighLatencyP95", "HighCPUUsage", "CriticalCPUUsage"),
        "CriticalMemoryUsage",
    ),
    by_hand={
        "cloud_run": "gcloud run services update {service} --project={project} --region={region}"
        " --min-instances={min_instances} --max-instances={max_instances} --cpu={cpu}"
        " --memory={memory}",
        "kubernetes": (
            f"{_KUBECTL} scale deployment/{{deployment}} --replicas={{replicas}}",
            f"{_KUBECTL} set resources deployment/{{deployment}} {_LIMITS}",
        ),
    },
    changes="platform",
    example={"min_instances": 10, "max_instances": 20, "replicas": 10},
    original=("C16", "C20", "C45", "C46", "C47"),
    help={
        "min_instances": "Cloud Run: instances that always run, 0 to 1000.",
        "max_instances": "Cloud Run: instances at most, 1 to 1000. Default: 10 to 20 instances.",
        "cpu": "vCPUs of an instance: 1, 2, 4, 6 or 8 on Cloud Run.",
        "memory": "Memory of an instance, such as 8Gi.",
        "replicas": "Kubernetes: pods, 1 to 1000. Default: 10.",
        "platform": "cloud_run or kubernetes; default: the target's own.",
        "dry_run": "Show the plan, the lines by hand and whom it reaches; change nothing.",
        "yes": "Do not ask; a protected target accepts it only while an incident is open.",
        "force": "Go on where the step would refuse because it would lower a limit.",
    },
)
def scale_up(  # noqa: PLR0913, PLR0917 - an option each
    _c: Context,
    min_instances: str | None = None,
    max_instances: str | None = None,
    cpu: str | None = None,
    memory: str | None = None,
    replicas: str | None = None,
    platform: str = "",
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Report:
    """Give what serves more or larger instances, by a new revision that is otherwise the same.

    Only what is named changes; without any option it is the number of instances. On Cloud Run,
    while traffic is pinned, the pin moves along with it.
    """
    from checks.target import load_target
    from runbook.changes import capacity, symptoms
    from runbook.changes.platform import open_platform, run_settings

    target = load_target()
    system = open_platform(target, platform)
    typed = capacity.check_typed(
        system.name,
        least=min_instances,
        most=max_instances,
        replicas=replicas,
        cpu=cpu,
        memory=memory,
    )

    def make_wish(template: Mapping[str, Any]) -> Wish:
        present = symptoms.find_present(target)
        return capacity.make_wish(system.name, typed, template, symptoms=present, force=force)

    return run_settings(system, "mitigate.scale-up", typed, make_wish, dry_run=dry_run, yes=yes)
