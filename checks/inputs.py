r"""What a person may type, checked at the edge: before anything is asked or changed.

Patterns are matched against the whole text, so a trailing newline does not pass.
Source: Cloud Run's resource names (RFC 1035 labels), its limits on instances, CPU and memory, and
Kubernetes' canonical form of quantities.
"""

from __future__ import annotations

import re

from checks.errors import UsageError

MAX_INSTANCES = 1000  # Cloud Run's upper limit of a revision's instances
DEFAULT_MAX_INSTANCES = 100  # its limit where a revision names none
# vCPUs to (least, most) memory in MiB; Cloud Run's pages on CPU limits and memory limits.
MEMORY_FOR_CPU = {
    "1": (128, 4 * 1024),
    "2": (128, 8 * 1024),
    "4": (2 * 1024, 16 * 1024),
    "6": (4 * 1024, 24 * 1024),
    "8": (4 * 1024, 32 * 1024),
}

_RESOURCE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_CPU = re.compile(r"[1-9][0-9]{0,4}m?")
_MEMORY = re.compile(r"[1-9][0-9]{0,6}(Mi|Gi)")
_TENANT = re.compile(r"[a-zA-Z0-9_-]{3,64}")


def check_revision_name(value: str) -> str:
    """Return `value` if Cloud Run could have a revision of that name; raises UsageError."""
    return _match(_RESOURCE, value, "a revision's name", "invoke assess.revisions lists them")


def check_tenant(value: str) -> str:
    """Return `value` if the service could have a tenant of that id; raises UsageError."""
    return _match(_TENANT, value, "a tenant's id", "invoke assess.api-keys lists them")


def is_tenant(value: str) -> bool:
    """Return whether `value`, such as what a refused key claims, could be a tenant's own id."""
    return value != "unknown" and _TENANT.fullmatch(value) is not None


def check_count(name: str, value: int, *, minimum: int, maximum: int) -> int:
    """Return `value` if it lies between the bounds, which are included; raises UsageError."""
    if minimum <= value <= maximum:
        return value
    raise UsageError(
        f"{name} must be between {minimum} and {maximum}, not {value}.",
        next_step=f"give {name} a number from {minimum} to {maximum}",
        subject=str(value),
    )


def check_number(name: str, text: str | None, *, minimum: int, maximum: int) -> int | None:
    """Return the whole number that was typed, or None where none was; raises UsageError."""
    if text is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,10}", text):
        raise UsageError(
            f"{name} wants a whole number, not {_show(text)}.",
            next_step=f"give {name} a number from {minimum} to {maximum}",
            subject=text,
        )
    return check_count(name, int(text), minimum=minimum, maximum=maximum)


def check_cpu(value: str) -> str:
    """Return a CPU limit as both platforms write it: `4`, `500m`; raises UsageError."""
    _match(_CPU, value, "a CPU limit", "give --cpu a number such as 2 or 4")
    thousandths = int(value[:-1]) if value.endswith("m") else int(value) * 1000
    check_count("--cpu", thousandths, minimum=100, maximum=64_000)
    whole, rest = divmod(thousandths, 1000)
    return f"{thousandths}m" if rest else str(whole)


def check_memory(value: str) -> str:
    """Return a memory limit as both platforms write it: `512Mi`, `8Gi`; raises UsageError."""
    _match(_MEMORY, value, "a memory limit", "give --memory an amount such as 512Mi or 8Gi")
    amount = memory_mib(value)
    check_count("--memory in MiB", amount, minimum=128, maximum=512 * 1024)
    return f"{amount // 1024}Gi" if amount % 1024 == 0 else f"{amount}Mi"


def memory_mib(value: str) -> int:
    """Return a memory limit such as `512Mi` or `8Gi` in MiB; raises ValueError."""
    if not _MEMORY.fullmatch(value):
        raise ValueError(value)
    return int(value[:-2]) * (1024 if value.endswith("Gi") else 1)


def check_cloud_run_size(cpu: str, memory: str) -> None:
    """Raise UsageError unless Cloud Run takes these limits together."""
    if cpu not in MEMORY_FOR_CPU:
        raise UsageError(
            f"Cloud Run runs {', '.join(MEMORY_FOR_CPU)} vCPUs an instance, not {cpu}.",
            next_step="give --cpu one of these",
            subject=cpu,
        )
    least, most = MEMORY_FOR_CPU[cpu]
    try:
        amount = memory_mib(memory)
    except ValueError:
        return  # set by hand in another unit; Cloud Run itself decides
    if not least <= amount <= most:
        raise UsageError(
            f"Cloud Run gives {cpu} vCPUs {_amount(least)} to {_amount(most)} of memory, not"
            f" {memory}.",
            next_step="give --cpu and --memory together, such as --cpu=4 --memory=8Gi",
            subject=memory,
        )


def _amount(mib: int) -> str:
    return f"{mib // 1024}Gi" if mib % 1024 == 0 else f"{mib}Mi"


def _show(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")  # noqa: PLR2004 - one line


def check_instance_bounds(min_instances: int, max_instances: int) -> tuple[int, int]:
    """Return both bounds if Cloud Run would take them together; raises UsageError."""
    check_count("--min-instances", min_instances, minimum=0, maximum=MAX_INSTANCES)
    check_count("--max-instances", max_instances, minimum=1, maximum=MAX_INSTANCES)
    if min_instances > max_instances:
        raise UsageError(
            f"--min-instances ({min_instances}) is above --max-instances ({max_instances}).",
            next_step="give a minimum that is at most the maximum",
        )
    return min_instances, max_instances


def _match(pattern: re.Pattern[str], value: str, what: str, next_step: str) -> str:
    if pattern.fullmatch(value):
        return value
    told = f"{_show(value)} cannot be {what}." if value else f"An empty text cannot be {what}."
    raise UsageError(told, next_step=next_step, subject=value)
