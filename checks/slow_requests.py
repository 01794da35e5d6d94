"""The slow requests that the service logged, summed up by endpoint, tenant and revision."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from checks.logs import read_entries, service_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.logs import Entry
    from checks.target import Target

Dimension = Literal["endpoint", "tenant", "revision"]
DIMENSIONS: tuple[Dimension, ...] = ("endpoint", "tenant", "revision")
_MOST = 0.8


@dataclass(frozen=True)
class SlowRequest:
    """One request that took long; `timestamp` is RFC 3339, `duration_ms` in milliseconds."""

    endpoint: str
    tenant: str
    revision: str
    duration_ms: float
    timestamp: str


@dataclass(frozen=True)
class SlowGroup:
    """The slow requests of one endpoint, tenant or revision; durations in milliseconds."""

    name: str
    count: int
    median_ms: float
    worst_ms: float


def read_slow_requests(
    target: Target, *, slower_than_ms: int, minutes: float, limit: int
) -> list[SlowRequest]:
    """Return the newest requests that took longer, at most `limit`, page by page.

    Raises:
        RunbookError: As `checks.logs.read_entries`.
    """
    clause = f"jsonPayload.duration_ms>{slower_than_ms}"
    return pick_slow(read_entries(target, service_filter(target, clause, minutes=minutes), limit))


def pick_slow(entries: Iterable[Entry]) -> list[SlowRequest]:
    """Return the requests in the entries; one that failed as well is logged twice and counts once.

    Entries that tell no duration are left out.
    """
    found: list[SlowRequest] = []
    seen: set[str] = set()
    for entry in entries:
        duration = entry.fields.get("duration_ms")
        known = isinstance(duration, int | float) and math.isfinite(duration)
        request = str(entry.fields.get("request_id") or "")
        if not known or request in seen:
            continue
        if request:
            seen.add(request)
        found.append(
            SlowRequest(
                endpoint=str(entry.fields.get("path") or "(no path)"),
                tenant=str(entry.fields.get("tenant_id") or "(no tenant)"),
                revision=entry.revision or "(no revision)",
                duration_ms=float(duration or 0.0),
                timestamp=entry.timestamp,
            )
        )
    return found


def group_slow(requests: Iterable[SlowRequest], dimension: Dimension) -> list[SlowGroup]:
    """Return the requests summed up by `dimension`, most requests first."""
    durations: dict[str, list[float]] = {}
    for request in requests:
        durations.setdefault(getattr(request, dimension), []).append(request.duration_ms)
    groups = [
        SlowGroup(name, len(values), statistics.median(values), max(values))
        for name, values in durations.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.name))


def find_most(groups: Sequence[SlowGroup]) -> SlowGroup | None:
    """Return the group with at least 80 % of all slow requests, or None where there is none."""
    total = sum(group.count for group in groups)
    return groups[0] if groups and groups[0].count >= _MOST * total else None
