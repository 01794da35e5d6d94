"""Triage's second questions: the dear ones, each asked only where an alert that rings wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks import prometheus
from checks.errors import RunbookError
from runbook.triage_probes import PROBE_DEADLINE_S, ask_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from checks.auth_verdict import Part
    from checks.cost import Costs
    from checks.limit_verdict import Judgement
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

# Real seconds at scale 1: how far back refused keys and requests are read.
_LOOK_BACK_S = 1800.0
_FAILURES = 3000
_REFUSED = 1000
_LIMITED_TENANTS = 2
_JOB = f'job="{prometheus.JOB}"'
_METHODS = f"sum by (path, method) (rate(http_requests_total{{{{{_JOB}}}}}[{{window}}])) > 0"
_P95 = (
    "histogram_quantile(0.95, sum by (le)"
    f" (rate(http_request_duration_seconds_bucket{{{{{_JOB}}}}}[{{window}}])))"
)
_FAILURES_BY_TENANT = f"sum by (tenant_id) (rate(auth_failures_total{{{{{_JOB}}}}}[{{window}}]))"
_HITS = f"sum(rate(rate_limit_hits_total{{{{{_JOB}}}}}[{{window}}]))"
_NOW = "2m"
_LATENCY = frozenset({"HighLatencyP95"})
_CPU = frozenset({"HighCPUUsage", "CriticalCPUUsage", "HighLatencyP95"})
_MEMORY = frozenset({"HighMemoryUsage", "CriticalMemoryUsage"})
_AUTH = frozenset({"HighAuthFailureRate", "PotentialBruteForce"})
_LIMITS = frozenset({"RateLimitExceeded"})
_DEPLOYED = frozenset({"ServiceDown", "HighErrorRate"}) | _CPU | _MEMORY


def ask_more(target: Target, found: Snapshot, loud: Iterable[AlertRule]) -> None:
    """Ask what the alerts that ring want to know, all at once, and fill it in."""
    rules = {rule.name: rule for rule in loud}
    probes: dict[str, Callable[[], Any]] = {}
    if rules.keys() & _DEPLOYED:
        probes |= _ask_for_deployments(target, found)
    if rules.keys() & _LATENCY:
        probes |= _ask_for_latency(target)
    if rules.keys() & _CPU:
        probes["costs"] = lambda: _read_costs(target, found)
    if memory := [rules[name] for name in rules.keys() & _MEMORY]:
        threshold = min(rule.threshold or 0.0 for rule in memory)
        probes["memory"] = lambda: _read_lives(target, threshold)
    if rules.keys() & _AUTH:
        probes["refused keys"] = lambda: _read_auth(target)
        probes["refused now"] = lambda: _read_refused_now(target)
    if rules.keys() & _LIMITS:
        probes["limited tenants"] = lambda: _read_limited(target, found)
        probes["limited now"] = lambda: _read_number(target, _HITS)
    _fill_in(found, ask_all(probes, found.silent))


def _fill_in(found: Snapshot, answers: dict[str, Any]) -> None:
    found.healthy_before = answers.get("evidence")
    found.latest_evidence = answers.get("latest")
    found.latencies = answers.get("latencies")
    found.methods = answers.get("methods") or {}
    found.recent_p95 = answers.get("latency now")
    found.costs = answers.get("costs")
    found.lives = answers.get("memory") or []
    found.auth_parts = answers.get("refused keys") or ()
    found.auth_failures_recent = answers.get("refused now")
    found.limited = answers.get("limited tenants") or ()
    found.limit_hits_recent = answers.get("limited now")


def _ask_for_deployments(target: Target, found: Snapshot) -> dict[str, Callable[[], Any]]:
    from checks import evidence

    service = found.service
    if service is None:
        return {}
    probes: dict[str, Callable[[], Any]] = {
        "evidence": lambda: evidence.find_last_healthy(target, service, found.revisions),
    }
    if found.pinned:  # only then may traffic be let go to the latest
        probes["latest"] = lambda: evidence.find_record(target, service.latest_ready)
    return probes


def _ask_for_latency(target: Target) -> dict[str, Callable[[], Any]]:
    from checks.latency import read_latencies

    return {
        "latencies": lambda: read_latencies(target, deadline_s=PROBE_DEADLINE_S),
        "methods": lambda: _read_methods(target),
        "latency now": lambda: _read_number(target, _P95),
    }


def _read_methods(target: Target) -> dict[str, frozenset[str]]:
    promql = _METHODS.format(window=target.window("5m"))
    found: dict[str, frozenset[str]] = {}
    for sample in prometheus.query(target, promql, deadline_s=PROBE_DEADLINE_S):
        path, method = sample.labels.get("path", ""), sample.labels.get("method", "")
        found[path] = found.get(path, frozenset()) | {method}
    return found


def _read_number(target: Target, template: str) -> float | None:
    """Return the one value of a query over the last two minutes; None where there is none."""
    promql = template.format(window=target.window(_NOW))
    samples = prometheus.query(target, promql, deadline_s=PROBE_DEADLINE_S)
    value = samples[0].value if samples else None
    return value if value == value else None  # noqa: PLR0124 - NaN: a quantile of no requests


def _read_costs(target: Target, found: Snapshot) -> Costs | None:
    from checks.cost import read_costs

    revision = found.find_revision(found.serving)
    if revision is None:
        return None
    return read_costs(target, revision.name, revision.created, deadline_s=PROBE_DEADLINE_S)


def _read_lives(target: Target, threshold: float) -> Any:  # noqa: ANN401 - list[Life]
    from checks.memory import read_lives

    return read_lives(target, threshold, deadline_s=PROBE_DEADLINE_S)


def _read_auth(target: Target) -> tuple[Part, ...]:
    from checks.auth import read_failures
    from checks.auth_verdict import judge

    failures = read_failures(target, target.seconds(_LOOK_BACK_S) / 60, _FAILURES)
    return judge(failures.sources, checked=failures.checked) if failures.sources else ()


def _read_refused_now(target: Target) -> float:
    """Return the refused keys a second of the tenant with most; of all where none stands out."""
    promql = _FAILURES_BY_TENANT.format(window=target.window(_NOW))
    samples = prometheus.query(target, promql, deadline_s=PROBE_DEADLINE_S)
    return sum(sample.value for sample in samples)


def _read_limited(target: Target, found: Snapshot) -> tuple[Judgement, ...]:
    """Return what the tenants with most refused requests are up to."""
    from checks.limited import LogRange, judge_limited
    from checks.limits import read_settings

    if found.rates is None:
        raise RunbookError("Nobody told the rates.", next_step="go on without them")
    log = LogRange(minutes=target.seconds(_LOOK_BACK_S) / 60, entries=_REFUSED)
    in_force = read_settings(target)
    return judge_limited(target, found.rates, in_force, log, most=_LIMITED_TENANTS).judged
