"""What the tenants see whom a change does not name: measured by their own clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.support.embedded import Embedded


class Others(NamedTuple):
    """Requests, failures (5xx or no answer) and latency, over the last five seconds."""

    requests_per_second: float
    failed_share: float
    p95_ms: float

    def __str__(self) -> str:
        """Return it as a proof shows it."""
        return (
            f"{self.requests_per_second:.0f} requests/s, {self.failed_share:.1%} failed,"
            f" P95 {self.p95_ms:.0f} ms"
        )


def read_others(staging: Embedded, command: list[str]) -> Others:
    """Return what the tenants see that no option of `command` names, weighted by their requests."""
    named = {
        tenant
        for word in command
        if word.startswith(("--tenant=", "--tenants="))
        for tenant in word.partition("=")[2].split(",")
    }
    seen = [
        one
        for tenant, one in staging.read_load()["tenants"].items()
        if tenant not in named and one["rps"] and one["p95_ms"] is not None
    ]
    total = sum(one["rps"] for one in seen)
    if not total:
        return Others(0.0, 0.0, 0.0)
    return Others(
        total,
        sum(one["rps"] * one["failed_share"] for one in seen) / total,
        sum(one["rps"] * one["p95_ms"] for one in seen) / total,
    )
