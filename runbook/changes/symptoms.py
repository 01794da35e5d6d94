"""The symptom of each kind of trouble over the last minute, as the alert's own rule measures it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from checks import prometheus
from checks.errors import RunbookError
from checks.rules import find_alert_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks.target import Target

ERRORS = "errors"
LATENCY, CPU, MEMORY = "latency", "cpu", "memory"
AUTH_FAILURES, RATE_LIMIT_HITS = "auth-failures", "rate-limit-hits"
LOAD = (LATENCY, CPU, MEMORY)
_WINDOW = "1m"
_DEADLINE_S = 5.0
_JOB = f'job="{prometheus.JOB}"'


@dataclass(frozen=True)
class Symptom:
    """What is measured, and the alert whose threshold it is compared with.

    Attributes:
        promql: The expression, with `{window}`.
        told: A sentence's end with the value, such as `P95 is {value:.2f} s`.
    """

    alert: str
    promql: str
    told: str


_SYMPTOMS = {
    ERRORS: Symptom(
        "HighErrorRate",
        f'sum(rate(http_requests_total{{{_JOB},status_code=~"5.."}}[{{window}}]))'
        f" / sum(rate(http_requests_total{{{_JOB}}}[{{window}}]))",
        "{value:.1%} of requests end in a server error",
    ),
    LATENCY: Symptom(
        "HighLatencyP95",
        "histogram_quantile(0.95, sum by (le)"
        f" (rate(http_request_duration_seconds_bucket{{{_JOB}}}[{{window}}])))",
        "the P95 of requests is {value:.2f} s",
    ),
    CPU: Symptom(
        "HighCPUUsage",
        "max(avg by (revision) (avg_over_time("
        f"system_cpu_usage_percent{{{_JOB}}}[{{window}}]) and system_cpu_usage_percent))",
        "instances use {value:.0f} % of their CPU",
    ),
    MEMORY: Symptom(
        "HighMemoryUsage",
        f"max(system_memory_usage_bytes{{{_JOB}}} / system_memory_total_bytes{{{_JOB}}})",
        "an instance holds {value:.0%} of its memory",
    ),
    AUTH_FAILURES: Symptom(
        "HighAuthFailureRate",
        f"sum(rate(auth_failures_total{{{_JOB}}}[{{window}}]))",
        "{value:.1f} keys a second are refused",
    ),
    RATE_LIMIT_HITS: Symptom(
        "RateLimitExceeded",
        f"sum(rate(rate_limit_hits_total{{{_JOB}}}[{{window}}]))",
        "limits refuse {value:.1f} requests a second",
    ),
}


@dataclass(frozen=True)
class Measured:
    """A symptom's value; `present` says that it lies above its alert's threshold."""

    name: str
    value: float
    present: bool
    told: str


def measure(target: Target, name: str) -> Measured | None:
    """Return a symptom over the last minute of the target's time; None when nothing was measured.

    Raises:
        KeyError: There is no such symptom.
        RunbookError: Prometheus does not answer or refuses.
    """
    symptom = _SYMPTOMS[name]
    promql = symptom.promql.replace("{window}", target.window(_WINDOW))
    samples = prometheus.query(target, promql, deadline_s=_DEADLINE_S)
    values = [sample.value for sample in samples if not isnan(sample.value)]
    if not values:
        return None
    value = max(values)
    limit = find_alert_rule(symptom.alert).threshold
    return Measured(
        name, value, limit is not None and value > limit, symptom.told.format(value=value)
    )


def find_present(target: Target, names: Iterable[str] = LOAD) -> tuple[str, ...]:
    """Return those of the symptoms that are there now; none when Prometheus does not answer."""
    found = []
    for name in names:
        try:
            measured = measure(target, name)
        except RunbookError:
            return ()
        if measured is not None and measured.present:
            found.append(name)
    return tuple(found)
