r"""What a person may type, checked at the edge: before anything is asked or changed.

Patterns are matched against the whole text, so a trailing newline does not pass.
Source: Cloud Run's resource names (RFC 1035 labels) and its limits on instances.
"""

from __future__ import annotations

import re

from checks.errors import UsageError

MAX_INSTANCES = 1000  # Cloud Run's upper limit of a revision's instances
DEFAULT_MAX_INSTANCES = 100  # its limit where a revision names none

_RESOURCE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
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
    shown = repr(value if len(value) <= 80 else value[:77] + "...")  # noqa: PLR2004 - one line
    told = f"{shown} cannot be {what}." if value else f"An empty text cannot be {what}."
    raise UsageError(told, next_step=next_step, subject=value)
