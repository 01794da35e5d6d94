"""CPU and memory of each instance or pod, against what its container may use.

Cloud Run's instances tell it through Prometheus; a pod's is `kubectl top`'s, from the metrics API.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks import prometheus
from checks.errors import ApiError
from checks.http import DEADLINE_S
from checks.kubectl import read_json, run_kubectl
from checks.kubernetes import parse_pod, selector
from checks.target import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.target import Target

WINDOW = "5m"
_NOW = {
    "cpu": "avg_over_time(system_cpu_usage_percent{{{own}}}[{window}])"
    " and on (instance, revision) system_cpu_usage_percent{{{own}}}",
    "memory": "system_memory_usage_bytes{{{own}}}",
    "limit": "system_memory_total_bytes{{{own}}}",
    "name": "convergence_instance_info{{{own}}}",
}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
_UNITS = dict(
    zip(
        ("n", "u", "m", "", "k", "M", "G", "T"),
        (1e-9, 1e-6, 1e-3, 1, 1e3, 1e6, 1e9, 1e12),
        strict=True,
    )
) | {f"{name}i": 2.0 ** (10 * power) for power, name in enumerate("KMGT", 1)}
_UNEVEN_POINTS = 20.0


@dataclass(frozen=True)
class Usage:
    """What an instance uses; None where nothing tells it.

    Attributes:
        name: The instance's or pod's name, else its address.
        address: Host and port that Prometheus scrapes, or the pod's address, or "".
        cpu_percent: CPU in percent of what the container may use.
        memory_bytes: Resident memory.
        memory_limit_bytes: What the container may use before it is killed.
    """

    name: str
    revision: str
    address: str = ""
    cpu_percent: float | None = None
    memory_bytes: float | None = None
    memory_limit_bytes: float | None = None

    @property
    def short_name(self) -> str:
        """The name without the revision that it begins with; `--instance` takes it as well."""
        return self.name.removeprefix(f"{self.revision}-") if self.revision else self.name

    @property
    def memory_percent(self) -> float | None:
        """Memory in percent of the limit."""
        if self.memory_bytes is None or not self.memory_limit_bytes:
            return None
        return 100.0 * self.memory_bytes / self.memory_limit_bytes


def read_usage(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Usage]:
    """Return what each instance uses on the target's platform, most CPU first.

    Raises:
        RunbookError: As `query_usage` on Cloud Run, as `top_pods` on Kubernetes.
    """
    if target.platform == KUBERNETES:
        return top_pods(target, deadline_s=deadline_s)
    return query_usage(target, deadline_s=deadline_s)


def query_usage(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Usage]:
    """Return what Prometheus knows of the instances, most CPU first; raises as its `query`.

    CPU is the average over five minutes, as the alerts have it; memory is the last sample.
    """
    own = f'job="{prometheus.JOB}"'
    window = target.window(WINDOW)

    def ask(promql: str) -> list[prometheus.Sample]:
        wanted = promql.format(own=own, window=window)
        return prometheus.query(target, wanted, deadline_s=deadline_s)

    with ThreadPoolExecutor(len(_NOW)) as pool:
        found = dict(zip(_NOW, pool.map(ask, _NOW.values()), strict=True))
    values = {
        kind: {_key(sample): sample.value for sample in samples} for kind, samples in found.items()
    }
    names = {_key(sample): sample.labels.get("instance_id", "") for sample in found["name"]}
    keys = {key: None for kind in ("cpu", "memory") for key in values[kind]}
    return sort_usage(
        Usage(
            name=names.get(key) or key[0],
            revision=key[1],
            address=key[0],
            cpu_percent=values["cpu"].get(key),
            memory_bytes=values["memory"].get(key),
            memory_limit_bytes=values["limit"].get(key),
        )
        for key in keys
    )


def top_pods(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Usage]:
    """Return what `kubectl top pods` says of the Deployment's pods, most CPU first.

    A pod without metrics, as one that just started, is listed without numbers.

    Raises:
        RunbookError: As `checks.kubectl.run_kubectl`.
    """
    own = selector(target)
    with ThreadPoolExecutor(2) as pool:
        listing = pool.submit(read_json, target, ("get", "pods", own), deadline_s)
        top = pool.submit(_top, target, own, deadline_s)
        pods, used = listing.result().get("items", []), top.result()
    try:
        return sort_usage(_describe_pod(raw, used) for raw in pods)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ApiError(
            "Kubernetes answered with JSON that is no list of pods.",
            status=200,
            next_step="check the context in invoke.yaml; something else may answer there",
            subject=target.kube_context,
        ) from error


def parse_top(text: str) -> dict[str, tuple[float, float]]:
    """Return vCPUs and bytes by pod, of the table that `kubectl top pods` prints."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] != "NAME":  # noqa: PLR2004 - name, CPU, memory
            found[words[0]] = (read_quantity(words[1]), read_quantity(words[2]))
    return found


def read_quantity(text: str) -> float:
    """Return a quantity of Kubernetes, such as `250m` or `4Gi`, as a number; raises ValueError."""
    found = _QUANTITY.fullmatch(text.strip())
    if not found or found[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity such as 250m or 4Gi")
    return float(found[1]) * _UNITS[found[2]]


def sort_usage(usages: Iterable[Usage]) -> list[Usage]:
    """Return the instances, most CPU first, those without a number last."""
    return sorted(
        usages,
        key=lambda one: (-(one.cpu_percent if one.cpu_percent is not None else -1), one.name),
    )


def average_cpu(usages: Sequence[Usage]) -> float | None:
    """Return the average CPU percentage of those that tell one, or None."""
    known = [one.cpu_percent for one in usages if one.cpu_percent is not None]
    return sum(known) / len(known) if known else None


def is_uneven(usages: Sequence[Usage]) -> bool:
    """Return whether the busiest and the idlest instance lie more than 20 points apart."""
    known = [one.cpu_percent for one in usages if one.cpu_percent is not None]
    return bool(known) and max(known) - min(known) > _UNEVEN_POINTS


def group_by_revision(usages: Iterable[Usage]) -> dict[str, list[Usage]]:
    """Return the instances by revision, in the order in which revisions first appear."""
    groups: dict[str, list[Usage]] = {}
    for one in usages:
        groups.setdefault(one.revision, []).append(one)
    return groups


def _top(target: Target, own: str, deadline_s: float) -> dict[str, tuple[float, float]]:
    try:
        return parse_top(run_kubectl(target, ("top", "pods", own), deadline_s))
    except ValueError as error:
        raise ApiError(
            f"kubectl top printed something else than pods with CPU and memory: {error}.",
            status=200,
            next_step="run the line by hand and read what it prints",
            subject=target.kube_context,
        ) from error
    except ApiError as error:
        if error.status == 404 or "metrics not available" in str(error):  # noqa: PLR2004 - HTTP
            return {}
        raise


def _describe_pod(raw: dict[str, Any], used: dict[str, tuple[float, float]]) -> Usage:
    pod = parse_pod(raw)
    limits = ((raw["spec"]["containers"][0].get("resources") or {}).get("limits")) or {}
    cpus, memory = used.get(pod.name, (None, None))
    limit = read_quantity(str(limits["cpu"])) if "cpu" in limits else None
    return Usage(
        name=pod.name,
        revision=pod.revision,
        address=pod.address,
        cpu_percent=100.0 * cpus / limit if cpus is not None and limit else None,
        memory_bytes=memory,
        memory_limit_bytes=read_quantity(str(limits["memory"])) if "memory" in limits else None,
    )


def _key(sample: prometheus.Sample) -> tuple[str, str]:
    return sample.labels.get("instance", ""), sample.labels.get("revision", "")
