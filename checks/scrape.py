"""Rates without Prometheus: the service's own /metrics, scraped twice through its address.

The ingress picks an instance for each scrape, so several are asked for and told apart by
`convergence_instance_info`, else by revision and process start. A counter speaks of its instance's
whole life; only the difference of two scrapes of one instance is a rate.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checks.errors import RunbookError, UnreachableError
from checks.http import fetch

if TYPE_CHECKING:
    from checks.target import Target

REQUESTS = "http_requests_total"
DURATIONS = "http_request_duration_seconds_bucket"
AUTH_FAILURES = "auth_failures_total"
LIMIT_HITS = "rate_limit_hits_total"
_COUNTERS = frozenset({REQUESTS, DURATIONS, AUTH_FAILURES, LIMIT_HITS})
SCRAPES_A_ROUND = 12
_PARALLEL = 4
_PAUSE_S = 1.0
_DEADLINE_S = 1.5
_OK = 200
_WANTED = re.compile(
    r"^(http_requests_total|convergence_instance_info|process_start_time_seconds|"
    r"http_request_duration_seconds_bucket|auth_failures_total|rate_limit_hits_total|"
    r"system_memory_usage_bytes|system_memory_total_bytes|system_cpu_usage_percent)"
    r"(?:\{(.*)\})? (\S+)(?: \d+)?$",
    re.MULTILINE,
)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
_ESCAPE = re.compile(r'\\[n"\\]')

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scrape:
    """One instance's metrics at one moment of the monotonic clock, in seconds.

    Attributes:
        counters: By the name of the metric: its value for each set of labels.
        memory_share: Memory in use, as a share of what the container may use.
    """

    instance: str
    revision: str
    at: float
    counters: dict[str, dict[Labels, float]]
    cpu_percent: float | None = None
    memory_share: float | None = None


@dataclass(frozen=True)
class Difference:
    """What the instances did between two scrapes.

    Attributes:
        rates: By metric: what it counted a second for each set of labels, over all matching
            instances.
        matched: Instances that were scraped twice and so have rates.
        seen: Instances that answered at all.
        seconds: The longest time between two scrapes of one instance.
        cpu_percent: Last CPU use of each instance that was seen.
        memory_share: Last memory use of each instance that was seen.
    """

    rates: dict[str, dict[Labels, float]] = field(default_factory=dict)
    matched: int = 0
    seen: int = 0
    seconds: float = 0.0
    cpu_percent: dict[str, float] = field(default_factory=dict)
    memory_share: dict[str, float] = field(default_factory=dict)


def scrape_twice(
    target: Target, *, scrapes: int = SCRAPES_A_ROUND, pause_s: float = _PAUSE_S
) -> Difference:
    """Return rates from two rounds of `scrapes` requests to /metrics, `pause_s` apart.

    Raises:
        UnreachableError: Not one scrape was answered with metrics.
    """
    first = _scrape_round(target, scrapes)
    if not first:
        raise UnreachableError(
            f"{target.service_url}/metrics did not answer one of {scrapes} scrapes.",
            next_step="invoke assess.health",
            subject=target.service_url,
        )
    # Counters need time to move: the pause is what the rate is measured over.
    time.sleep(pause_s)
    return compare_scrapes(first + _scrape_round(target, scrapes))


def parse_metrics(text: str, at: float) -> Scrape:
    """Return the scrape in Prometheus's text format that was taken at `at`."""
    counters: dict[str, dict[Labels, float]] = {}
    gauges: dict[str, str] = {}
    instance = revision = ""
    for name, labels_text, value in _WANTED.findall(text):
        labels = {key: _unescape(raw) for key, raw in _LABEL.findall(labels_text)}
        revision = revision or labels.get("revision", "")
        if name in _COUNTERS:
            counters.setdefault(name, {})[tuple(sorted(labels.items()))] = float(value)
        elif name == "convergence_instance_info":
            instance = labels.get("instance_id", "")
        else:
            gauges[name] = value
    start = gauges.get("process_start_time_seconds", "")
    cpu = gauges.get("system_cpu_usage_percent")
    used = float(gauges.get("system_memory_usage_bytes", 0))
    limit = float(gauges.get("system_memory_total_bytes", 0))
    return Scrape(
        instance or f"{revision}@{start}",
        revision,
        at,
        counters,
        cpu_percent=float(cpu) if cpu else None,
        memory_share=used / limit if used and limit > 0 else None,
    )


def compare_scrapes(scrapes: list[Scrape]) -> Difference:
    """Return the rates between the first and the last scrape of each instance.

    A counter that fell was reset: only what it counted since then is taken.
    """
    by_instance: dict[str, list[Scrape]] = {}
    for scrape in sorted(scrapes, key=lambda scrape: scrape.at):
        by_instance.setdefault(scrape.instance, []).append(scrape)
    rates: dict[str, dict[Labels, float]] = {}
    matched, longest = 0, 0.0
    for taken in by_instance.values():
        first, last = taken[0], taken[-1]
        seconds = last.at - first.at
        if seconds <= 0:
            continue
        matched, longest = matched + 1, max(longest, seconds)
        for name, counted in last.counters.items():
            known, of_metric = first.counters.get(name, {}), rates.setdefault(name, {})
            for labels, value in counted.items():
                before = known.get(labels, 0.0)
                grown = value - before if value >= before else value
                of_metric[labels] = of_metric.get(labels, 0.0) + grown / seconds
    last_of = {name: taken[-1] for name, taken in by_instance.items()}
    cpu = {n: one.cpu_percent for n, one in last_of.items() if one.cpu_percent is not None}
    memory = {n: one.memory_share for n, one in last_of.items() if one.memory_share is not None}
    return Difference(rates, matched, len(by_instance), longest, cpu, memory)


def _scrape_round(target: Target, scrapes: int) -> list[Scrape]:
    url = target.service_url.rstrip("/") + "/metrics"

    def scrape(_: int) -> Scrape | None:
        try:
            answer = fetch(url, deadline_s=_DEADLINE_S)
        except RunbookError:
            return None
        at = time.monotonic()
        if answer.status != _OK:
            return None
        return parse_metrics(answer.body.decode("utf-8", "replace"), at)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = [taken for taken in pool.map(scrape, range(_PARALLEL)) if taken is not None]
        if not found:
            return []  # nobody answers: the other scrapes would only wait as long again
        rest = pool.map(scrape, range(scrapes - _PARALLEL))
        return found + [taken for taken in rest if taken is not None]


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)
