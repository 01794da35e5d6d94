"""What Cloud Run refuses before it starts anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from staging.cloud_run.errors import CloudRunError, invalid, unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from staging.cloud_run.models import Container, ServiceSpec, Template, TrafficTarget

NAME_MAX = 63
MAX_TIMEOUT_S = 3600
MAX_CONCURRENCY = 1000
MAX_INSTANCES = 1000
PERCENT = 100
MAX_PORT = 65535
RESERVED_ENV = ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION")
MIB = 1024**2
GIB = 1024**3
# vCPU -> (least, most) memory in GiB; from Cloud Run's "memory limits" and "CPU limits" pages.
MEMORY_FOR_CPU = {1.0: (0.125, 4), 2.0: (0.125, 8), 4.0: (2, 16), 6.0: (4, 24), 8.0: (4, 32)}
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1024, "Mi": MIB, "Gi": GIB}


def read_cpu(text: str) -> float:
    """Return the vCPUs that a limit such as "2" or "2000m" means.

    Raises:
        CloudRunError: INVALID_ARGUMENT when it is no such number.
    """
    match = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)(m?)", text)
    if match is None:
        raise invalid(f"resources.limits.cpu: cannot read '{text}'.")
    return float(match[1]) / (1000 if match[2] else 1)


def read_memory(text: str) -> int:
    """Return the bytes that a limit such as "512Mi" or "4Gi" means.

    Raises:
        CloudRunError: INVALID_ARGUMENT when it is no such quantity.
    """
    match = re.fullmatch(r"(\d{1,15})(Ki|Mi|Gi|k|M|G|)", text)
    if match is None:
        raise invalid(f"resources.limits.memory: cannot read '{text}'.")
    return int(match[1]) * _FACTORS[match[2]]


def check_spec(spec: ServiceSpec, service: str) -> None:
    """Refuse a spec that Cloud Run would refuse at once.

    Raises:
        CloudRunError: INVALID_ARGUMENT with the field and the reason.
    """
    _check_labels(spec.labels)
    _check_template(spec.template, service)
    _check_traffic(spec.traffic)
    scaling = spec.scaling
    _check_scale(scaling.min_instances, scaling.max_instances, "scaling")
    if not 0 <= scaling.manual_instances <= MAX_INSTANCES:
        raise invalid(f"scaling.manualInstanceCount: must be between 0 and {MAX_INSTANCES}.")
    if scaling.manual and (scaling.min_instances or scaling.max_instances):
        raise invalid("scaling: manual scaling takes no minimum and no maximum.")


def _check_template(template: Template, service: str) -> None:
    name = template.name
    if name and not (
        name.startswith(f"{service}-") and re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name)
    ):
        raise invalid(
            f"template.revision: '{name}' must be lower-case letters, digits and hyphens,"
            f" and start with '{service}-'."
        )
    if len(name) > NAME_MAX:
        raise invalid(f"template.revision: must have at most {NAME_MAX} characters.")
    _check_labels(template.labels)
    _check_scale(template.min_instances, template.max_instances, "template.scaling")
    if not 1 <= template.timeout_s <= MAX_TIMEOUT_S:
        raise invalid(f"template.timeout: must be between 1 and {MAX_TIMEOUT_S} seconds.")
    if not 1 <= template.concurrency <= MAX_CONCURRENCY:
        raise invalid(
            f"template.max_instance_request_concurrency: must be between 1 and {MAX_CONCURRENCY}."
        )
    _check_container(template.container, template.concurrency)


def _check_scale(least: int, most: int, path: str) -> None:
    if least < 0 or most < 0 or max(least, most) > MAX_INSTANCES:
        raise invalid(f"{path}: instance counts must be between 0 and {MAX_INSTANCES}.")
    if most and least > most:
        raise invalid(
            f"{path}: the minimum ({least}) must not be above the maximum ({most}) of instances."
        )


def _check_labels(labels: Iterable[str]) -> None:
    for key in labels:
        if not re.fullmatch(r"([a-z0-9.-]+/)?[a-z][a-z0-9_-]{0,62}", key):
            raise invalid(f"labels: '{key}' is no valid key.")


def _check_container(container: Container, concurrency: int) -> None:
    if not re.fullmatch(r"[a-z0-9][\w./:@-]*", container.image):
        raise invalid(f"containers[0].image: cannot read '{container.image}'.")
    names = [name for name, _ in container.env]
    reserved = sorted(set(names) & set(RESERVED_ENV))
    if reserved:
        raise invalid(
            "spec.template.spec.containers[0].env: The following reserved env names were provided:"
            f" {', '.join(reserved)}. These values are automatically set by the system."
        )
    if len(set(names)) != len(names) or not all(names):
        raise invalid("containers[0].env: names must be present and unique.")
    unknown = sorted(set(container.limits) - {"cpu", "memory"})
    if unknown:
        raise invalid(f"containers[0].resources.limits: unknown resource '{unknown[0]}'.")
    _check_resources(container, concurrency)
    probe = container.probe
    if probe.timeout_s > probe.period_s:
        raise invalid("startup_probe.timeout_seconds: must be less than period_seconds.")
    if not 1 <= container.port <= MAX_PORT:
        raise invalid(f"containers[0].ports: {container.port} is no port.")
    if probe.port != container.port:
        raise unsupported("a startup probe of another port than the container's")


def _check_resources(container: Container, concurrency: int) -> None:
    cpu, memory = read_cpu(container.limits["cpu"]), read_memory(container.limits["memory"])
    if cpu < 1:
        least, most = 0.125, 1
        if concurrency > 1:
            raise invalid(
                "Invalid value specified for cpu. Total cpu < 1 is not supported with"
                " concurrency > 1."
            )
    elif cpu in MEMORY_FOR_CPU:
        least, most = MEMORY_FOR_CPU[cpu]
    else:
        raise invalid(
            "resources.limits.cpu: Invalid value specified for cpu."
            " For the specified value, maximum allowed values are 1, 2, 4, 6 or 8."
        )
    if not least * GIB <= memory <= most * GIB:
        raise invalid(
            "resources.limits.memory: Invalid value specified for container memory."
            f" For {cpu:.1f} CPU, memory must be between {_quantity(least)} and"
            f" {_quantity(most)} inclusive."
        )


def _quantity(gib: float) -> str:
    return f"{gib}Gi" if gib >= 1 else f"{int(gib * 1024)}Mi"


def _check_traffic(traffic: Iterable[TrafficTarget]) -> None:
    targets = list(traffic)
    if any(not 0 <= target.percent <= PERCENT for target in targets):
        raise invalid("traffic: each percent must be between 0 and 100.")
    total = sum(target.percent for target in targets)
    if total != PERCENT:
        raise invalid(f"traffic: percents must sum to 100, got {total}.")
    tags = [target.tag for target in targets if target.tag]
    if len(set(tags)) != len(tags):
        raise invalid("traffic: a tag may stand at one revision only.")
    if any(not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", tag) for tag in tags):
        raise invalid("traffic: a tag must be lower-case letters, digits and hyphens.")


def check_new_name(name: str, taken: Collection[str]) -> None:
    """Refuse a revision name that exists with another configuration.

    Raises:
        CloudRunError: ALREADY_EXISTS, in the words of the real API.
    """
    if name in taken:
        raise CloudRunError(
            "ALREADY_EXISTS",
            f"Revision named '{name}' with different configuration already exists.",
        )
