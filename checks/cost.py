"""What requests cost: CPU of an instance against the requests it gets, before and after.

A deployment that burns CPU raises the use at the load that was there before; more or heavier
requests raise it without a deployment.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from checks import prometheus
from checks.http import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.target import Target

WINDOW = "5m"
_CPU = (
    'avg by (revision) (avg_over_time(system_cpu_usage_percent{{job="{job}"}}[{window}])'
    ' and on (instance, revision) system_cpu_usage_percent{{job="{job}"}})'
)
_REQUESTS = (
    'sum by (revision) (rate(http_requests_total{{job="{job}"}}[{window}]))'
    ' / count by (revision) (system_cpu_usage_percent{{job="{job}"}})'
)
_GREW = 1.25


class Cost(NamedTuple):
    """CPU in percent and requests a second, both of one instance on average."""

    cpu_percent: float
    per_second: float


class Costs(NamedTuple):
    """What a revision's instances cost now, and what others did before it was deployed.

    None where nothing is known.
    """

    before: Cost | None
    now: Cost | None

    @property
    def grew_by_itself(self) -> bool | None:
        """Whether CPU use grew, and by clearly more than an instance's requests did.

        None where one of both is not known.
        """
        if self.before is None or self.now is None:
            return None
        before, now = self.before, self.now
        grew = now.cpu_percent >= _GREW * before.cpu_percent
        # Crosswise, as either may be nothing.
        return grew and (
            now.cpu_percent * before.per_second >= _GREW * before.cpu_percent * now.per_second
        )


def read_costs(
    target: Target, revision: str, created: str, *, deadline_s: float = DEADLINE_S
) -> Costs:
    """Return what `revision` costs now, and the others when it was `created` (RFC 3339).

    Raises:
        RunbookError: As `prometheus.query`.
        ValueError: `created` is no time.
    """
    at = datetime.fromisoformat(created).timestamp()
    fields = {"job": prometheus.JOB, "window": target.window(WINDOW)}

    def ask(template: str, moment: float | None) -> dict[str, float]:
        promql = template.format(**fields)
        found = prometheus.query(target, promql, at=moment, deadline_s=deadline_s)
        return {sample.labels.get("revision", ""): sample.value for sample in found}

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, t, m) for t in (_CPU, _REQUESTS) for m in (at, None)]
        cpu_before, cpu_now, rate_before, rate_now = (one.result() for one in asked)
    return compare(revision, cpu_before, rate_before, cpu_now, rate_now)


def compare(
    revision: str,
    cpu_before: Mapping[str, float],
    rate_before: Mapping[str, float],
    cpu_now: Mapping[str, float],
    rate_now: Mapping[str, float],
) -> Costs:
    """Return the costs out of four answers by revision; of several before, the busiest counts."""
    others = [
        Cost(cpu_before[name], rate_before.get(name, 0.0))
        for name in cpu_before
        if name != revision
    ]
    before = max(others, key=lambda cost: cost.per_second, default=None)
    now = Cost(cpu_now[revision], rate_now.get(revision, 0.0)) if revision in cpu_now else None
    return Costs(before, now)
