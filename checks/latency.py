"""How long requests take: quantiles of the fleet's histograms, by endpoint, revision and tenant.

A query gives the buckets of now and of an hour earlier; every quantile is worked out here, as
Prometheus' `histogram_quantile` does it, so that three quantiles do not cost three queries.
"""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from checks import prometheus
from checks.http import DEADLINE_S
from checks.rules import read_alert_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checks.prometheus import Sample
    from checks.target import Target

Dimension = Literal["endpoint", "revision", "tenant"]
ALL = "all"
WINDOW = "5m"
EARLIER = "1h"
_REQUESTS = "http_request_duration_seconds_bucket"
_SOURCES: dict[Dimension, tuple[str, str]] = {
    "endpoint": (_REQUESTS, "path"),
    "revision": (_REQUESTS, "revision"),
    "tenant": ("tenant_request_duration_seconds_bucket", "tenant_id"),
}
_RATE = 'sum by (le, {label}) (rate({metric}{{job="{job}"}}[{window}]{offset}))'
_MOMENT = "moment"
_LATENCY_ALERT = re.compile(r"HighLatencyP(\d\d)")
_FEWEST_SLOW = 5.0
_NEARLY_ALL = 0.95
_SLOW_SHARE = 0.05  # more of them, and P95 lies above

Buckets = tuple[tuple[float, float], ...]


class Quantile(NamedTuple):
    """A quantile in seconds; `beyond` says that it lies above `seconds`, the highest bound."""

    seconds: float
    beyond: bool = False

    def exceeds(self, threshold_s: float) -> bool:
        """Return whether the quantile certainly lies above `threshold_s`."""
        return self.seconds > threshold_s or (self.beyond and self.seconds >= threshold_s)


@dataclass(frozen=True)
class Histogram:
    """Requests a second up to each bound in seconds, cumulative, the bound +Inf last."""

    buckets: Buckets = ()

    @property
    def per_second(self) -> float:
        """Requests a second, whatever they took."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def quantile(self, q: float) -> Quantile | None:
        """Return the quantile `q` as `histogram_quantile` interpolates it; None without requests.

        Without the bound +Inf nothing tells how many requests there were: None as well.
        """
        if len(self.buckets) < 2 or not math.isinf(self.buckets[-1][0]) or not self.per_second > 0:  # noqa: PLR2004 - +Inf and one more
            return None
        rank, start, below = q * self.per_second, 0.0, 0.0
        for bound, count in self.buckets[:-1]:
            if count >= rank:
                inside = (rank - below) / (count - below) if count > below else 0.0
                return Quantile(start + (bound - start) * inside)
            start, below = bound, count
        return Quantile(self.buckets[-2][0], beyond=True)

    def share_above(self, seconds: float) -> float:
        """Return the share of requests, 0 to 1, that take longer; interpolated within a bucket."""
        if not self.per_second > 0:
            return 0.0
        start = below = 0.0
        for bound, count in self.buckets:
            if seconds < bound:
                inside = 0.0 if math.isinf(bound) else (seconds - start) / (bound - start)
                return 1.0 - (below + (count - below) * inside) / self.per_second
            start, below = bound, count
        return 0.0


@dataclass(frozen=True)
class Latency:
    """The requests of one endpoint, revision or tenant, now and an hour earlier.

    Attributes:
        before: The same window an hour earlier; without buckets where nothing is known of it.
    """

    name: str
    now: Histogram
    before: Histogram = Histogram()

    def change(self, q: float) -> float | None:
        """Return by how many seconds the quantile rose; None where either is not known."""
        now, before = self.now.quantile(q), self.before.quantile(q)
        return now.seconds - before.seconds if now and before else None


class Passed(NamedTuple):
    """An alert rule on latency whose threshold the fleet's quantile passes."""

    alert: str
    threshold_s: float


class Slow(NamedTuple):
    """Which values of a dimension are slow: those above the threshold, slowest first.

    Attributes:
        everywhere: Nearly all requests belong to values that are slow.
    """

    names: tuple[str, ...]
    everywhere: bool


def read_latencies(
    target: Target, *, deadline_s: float = DEADLINE_S
) -> dict[Dimension, list[Latency]]:
    """Return the latencies of each dimension, most requests first; raises as `prometheus.query`.

    One query a dimension, all at once.
    """

    def ask(dimension: Dimension) -> list[Latency]:
        promql = write_query(target, dimension)
        samples = prometheus.query(target, promql, deadline_s=deadline_s)
        return arrange(samples, _SOURCES[dimension][1])

    dimensions = tuple(_SOURCES)
    with ThreadPoolExecutor(len(dimensions)) as pool:
        return dict(zip(dimensions, pool.map(ask, dimensions), strict=True))


def write_query(target: Target, dimension: Dimension) -> str:
    """Return the PromQL for the buckets of `dimension`, now and an hour earlier."""
    metric, label = _SOURCES[dimension]
    offsets = {"now": "", "before": f" offset {target.window(EARLIER)}"}
    parts = (
        f'label_replace({rate}, "{_MOMENT}", "{moment}", "", "")'
        for moment, offset in offsets.items()
        for rate in (
            _RATE.format(
                label=label,
                metric=metric,
                job=prometheus.JOB,
                window=target.window(WINDOW),
                offset=offset,
            ),
        )
    )
    return " or ".join(parts)


def arrange(samples: Iterable[Sample], label: str) -> list[Latency]:
    """Return the latencies in the answer to `write_query`, most requests first.

    A value that has no requests now is left out: it is not slow, it is not there.
    """
    counts: dict[tuple[str, str], dict[float, float]] = {}
    for sample in samples:
        key = sample.labels.get(label, ""), sample.labels.get(_MOMENT, "now")
        bound = _read_bound(sample.labels.get("le", ""))
        if bound is not None and not math.isnan(sample.value):
            counts.setdefault(key, {})[bound] = sample.value
    found = [
        Latency(name, make_histogram(buckets), make_histogram(counts.get((name, "before"), {})))
        for (name, moment), buckets in counts.items()
        if moment == "now"
    ]
    busy = [latency for latency in found if latency.now.per_second > 0]
    return sorted(busy, key=lambda latency: (-latency.now.per_second, latency.name))


def make_histogram(counts: Mapping[float, float]) -> Histogram:
    """Return a histogram whose counts never fall, as rates of scrapes a moment apart may do."""
    highest, buckets = 0.0, []
    for bound, count in sorted(counts.items()):
        highest = max(highest, count)
        buckets.append((bound, highest))
    return Histogram(tuple(buckets))


def sum_latencies(latencies: Sequence[Latency]) -> Latency:
    """Return the latency of all of them together, called ALL."""
    return Latency(
        ALL,
        _sum_histograms([latency.now for latency in latencies]),
        _sum_histograms([latency.before for latency in latencies]),
    )


def list_passed(whole: Histogram) -> list[Passed]:
    """Return the latency alerts whose threshold the quantile of their name passes."""
    passed = []
    for rule in read_alert_rules():
        named = _LATENCY_ALERT.fullmatch(rule.name)
        quantile = whole.quantile(int(named[1]) / 100) if named else None
        if quantile and rule.threshold is not None and quantile.exceeds(rule.threshold):
            passed.append(Passed(rule.name, rule.threshold))
    return passed


def find_slow(latencies: Sequence[Latency], threshold_s: float, window_s: float) -> Slow:
    """Return the values whose own P95 lies above `threshold_s`, by most slow requests.

    Fewer than five slow requests in the window are chance, and name nobody; they do not count as
    quick either.
    """
    slow, quick, requests = [], 0.0, 0.0
    for latency in latencies:
        share = latency.now.share_above(threshold_s)
        rate = latency.now.per_second * share
        requests += latency.now.per_second
        if share <= _SLOW_SHARE:
            quick += latency.now.per_second
        elif rate * window_s >= _FEWEST_SLOW:
            slow.append((-rate, latency.name))
    everywhere = bool(slow) and quick <= (1 - _NEARLY_ALL) * requests
    return Slow(tuple(name for _, name in sorted(slow)), everywhere)


def _sum_histograms(histograms: Iterable[Histogram]) -> Histogram:
    counts: dict[float, float] = {}
    for histogram in histograms:
        for bound, count in histogram.buckets:
            counts[bound] = counts.get(bound, 0.0) + count
    return make_histogram(counts)


def _read_bound(text: str) -> float | None:
    try:
        return float(text)  # Prometheus writes +Inf, which float takes
    except ValueError:
        return None
