"""The limits that the service runs with, and who uses how much of them, by Prometheus.

Limits are kept by each instance for itself, so one instance's share of the requests is what meets
them. The metric `convergence_setting` is what an instance read when it started: the configuration
in force, whatever a file says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import dropwhile
from statistics import fmean
from typing import TYPE_CHECKING

from checks import prometheus
from checks.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.prometheus import Sample
    from checks.target import Target

TENANT_LIMIT = "rate_limiting.tenant.requests_per_minute"
RUN_LIMIT = "rate_limiting.endpoints.pipeline_run"
RUN_PATH = "/api/v1/pipelines/run/{pipeline_id}"
PREFIX = "rate_limiting."
NOW = "2m"
_SETTINGS = f'convergence_setting{{job="{prometheus.JOB}",setting=~"rate_limiting[.].+"}}'
_BLOCKED = f'max by (tenant_id) (convergence_tenant_blocked{{job="{prometheus.JOB}"}}) == 1'
_USE = (
    "max by (tenant_id, path) (sum by (tenant_id, path, instance)"
    ' (rate(http_requests_total{{job="{job}"}}[{window}]))) * 60 > 0'
)
_USE_OF_ALL = (
    "max by (tenant_id) (sum by (tenant_id, instance)"
    ' (rate(http_requests_total{{job="{job}"}}[{window}]))) * 60 > 0'
)
_HITS = 'sum by (tenant_id, path) (rate(rate_limit_hits_total{{job="{job}"}}[{window}])) > 0'
_RATE_OF = 'sum(rate(http_requests_total{{job="{job}",tenant_id={tenant}}}[{window}]))'
_PAST_S = 3600.0
_POINTS = 240
_LEAST_POINTS = 4  # a minute of them


@dataclass(frozen=True)
class Setting:
    """A limit in force: its value by how many instances of which revisions have it.

    Attributes:
        values: (value, revision) to instances, the most frequent first.
    """

    name: str
    values: dict[tuple[float, str], int]

    @property
    def value(self) -> float:
        """The value of most instances."""
        return next(iter(self.values))[0]

    @property
    def instances(self) -> int:
        """How many instances tell it."""
        return sum(self.values.values())

    @property
    def differs(self) -> bool:
        """Whether instances run with different values."""
        return len({value for value, _ in self.values}) > 1


@dataclass(frozen=True)
class Use:
    """What a tenant asks of an endpoint; "" stands for all endpoints.

    Attributes:
        per_minute: Requests a minute at the instance that gets most of them, refused ones too.
        hits_per_second: Requests a second that a limit refused, over the fleet.
    """

    tenant: str
    path: str
    per_minute: float
    hits_per_second: float


@dataclass(frozen=True)
class Past:
    """A tenant's requests a second before they grew, and since; None where unknown."""

    before: float | None
    now: float | None

    @property
    def growth(self) -> float | None:
        """How many times as much as before it asks now, or None."""
        return self.now / self.before if self.before and self.now is not None else None


def read_settings(target: Target) -> list[Setting]:
    """Return every limit in force, by name; raises as `prometheus.query`."""
    counts: dict[str, dict[tuple[float, str], int]] = {}
    for sample in prometheus.query(target, _SETTINGS):
        name, revision = sample.labels.get("setting", ""), sample.labels.get("revision", "")
        values = counts.setdefault(name, {})
        values[sample.value, revision] = values.get((sample.value, revision), 0) + 1
    return [
        Setting(name, dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))))
        for name, values in sorted(counts.items())
    ]


def read_blocked(target: Target) -> list[str]:
    """Return the tenants whose requests are refused; raises as `prometheus.query`."""
    return sorted(s.labels.get("tenant_id", "") for s in prometheus.query(target, _BLOCKED))


def read_use(target: Target, window: str = NOW) -> list[Use]:
    """Return the use of limits by tenant and endpoint and by tenant, most hits first.

    Raises as `prometheus.query`.
    """
    fields = {"job": prometheus.JOB, "window": target.window(window)}
    asked = [
        *prometheus.query(target, _USE.format(**fields)),
        *prometheus.query(target, _USE_OF_ALL.format(**fields)),
    ]
    hits: dict[tuple[str, str], float] = {}
    for sample in prometheus.query(target, _HITS.format(**fields)):
        tenant, path = _place(sample)
        for key in ((tenant, path), (tenant, "")):
            hits[key] = hits.get(key, 0.0) + sample.value
    rates = {_place(sample): sample.value for sample in asked}
    uses = [
        Use(tenant, path, rates.get((tenant, path), 0.0), hits.get((tenant, path), 0.0))
        for tenant, path in rates.keys() | hits.keys()
    ]
    return sorted(uses, key=lambda use: (-use.hits_per_second, -use.per_minute, use.tenant))


def read_past(target: Target, tenant: str) -> Past:
    """Return a tenant's usual rate in the past hour and that of now; raises as `query_range`."""
    end, span = time.time(), target.seconds(_PAST_S)
    promql = _RATE_OF.format(
        job=prometheus.JOB, tenant=quote_label(tenant), window=target.window("1m")
    )
    step_s = span / _POINTS
    rates = prometheus.query_range(target, promql, start=end - span, end=end, step_s=step_s)
    return split_past([value for _, value in rates])


def split_past(rates: Sequence[float]) -> Past:
    """Return the mean rate before and since the moment where it grew most clearly.

    That is the cut with the least squares around both means. When somebody first met a limit would
    be no such moment: it takes a window of the limit to be met. Zeros at the start are a time
    without a record, as before the first scrape; without a minute of points before the growth,
    the usual rate is unknown.
    """
    recorded = list(dropwhile(lambda rate: rate <= 0, rates))
    if not recorded:
        return Past(None, None)
    count, whole = len(recorded), sum(recorded)
    best, found = 0.0, Past(fmean(recorded) if count > _LEAST_POINTS else None, fmean(recorded))
    before = 0.0
    for cut in range(1, count):
        before += recorded[cut - 1]
        usual, since = before / cut, (whole - before) / (count - cut)
        weight = cut * (count - cut) * (since - usual) ** 2
        if since > usual and weight > best:
            best, found = weight, Past(usual if cut >= _LEAST_POINTS else None, since)
    return found


def quote_label(text: str) -> str:
    r"""Return `text` as a string of PromQL, which reads `\` as Go does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def require_settings(settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings; raises ApiError when no instance told any."""
    found = list(settings)
    if not found:
        raise ApiError(
            "Prometheus has no convergence_setting of any instance, so nobody can tell the limits"
            " in force.",
            status=200,
            next_step="check that Prometheus scrapes the service (invoke assess.service)",
        )
    return found


def _place(sample: Sample) -> tuple[str, str]:
    return sample.labels.get("tenant_id", ""), sample.labels.get("path", "")
