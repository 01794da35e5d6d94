"""How many requests the fleet answers, and how many with a server error, by any label.

One query gives every dimension at once; without Prometheus two scrapes give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from checks import prometheus
from checks.errors import RunbookError
from checks.http import DEADLINE_S
from checks.target import duration_seconds

if TYPE_CHECKING:
    from checks.scrape import Difference
    from checks.target import Target

Dimension = Literal["tenant", "path", "revision", "status"]
_LABELS: dict[str, Dimension] = {
    "tenant_id": "tenant",
    "path": "path",
    "revision": "revision",
    "status_code": "status",
}
_P95 = 0.95
_RATES = (
    'sum by (tenant_id, path, revision, status_code) (rate(http_requests_total{{job="{job}"}}'
    "[{window}])) > 0"
)


@dataclass(frozen=True)
class Rate:
    """Requests a second of one tenant, path, revision and status."""

    tenant: str
    path: str
    revision: str
    status: str
    per_second: float

    @property
    def is_error(self) -> bool:
        """Whether the status is a server error (5xx)."""
        return self.status.startswith("5")


@dataclass(frozen=True)
class Signs:
    """What two scrapes show besides the requests: the symptoms of the other alerts.

    Attributes:
        p95_s: The 95th percentile of all requests' duration in seconds; None without requests.
        memory_share: Memory of the fullest instance as a share of its limit, or None.
        auth_failures: Refused keys a second by tenant.
        limit_hits_per_second: Requests a second that a rate limit refused.
    """

    p95_s: float | None
    memory_share: float | None
    auth_failures: dict[str, float]
    limit_hits_per_second: float


@dataclass(frozen=True)
class Rates:
    """The fleet's rates and where they come from.

    Attributes:
        source: `Prometheus`, or `two scrapes`.
        window_s: The time that the rates are taken over, in seconds of the target's clock.
        note: What limits them, in one sentence, or an empty string.
        cpu_percents: CPU use of the instances that were scraped; Prometheus is asked for it apart.
        signs: Symptoms other than errors, of two scrapes; Prometheus tells them by its alerts.
    """

    rows: tuple[Rate, ...]
    source: str
    window_s: float
    note: str = ""
    cpu_percents: tuple[float, ...] = ()
    signs: Signs | None = None


@dataclass(frozen=True)
class Share:
    """Requests and server errors a second of one value of a dimension."""

    name: str
    per_second: float
    errors_per_second: float

    @property
    def error_share(self) -> float:
        """The share of requests that end in a server error, 0 to 1."""
        return self.errors_per_second / self.per_second if self.per_second > 0 else 0.0


def read_rates(
    target: Target, window: str = "5m", *, deadline_s: float = DEADLINE_S, scrape: bool = True
) -> Rates:
    """Return the fleet's rates over `window` from Prometheus, else from two scrapes.

    Raises:
        RunbookError: Prometheus does not answer, and no scrape did either, or `scrape` is False.
    """
    try:
        return query_rates(target, window, deadline_s=deadline_s)
    except RunbookError as error:
        if not scrape:
            raise
        return scrape_rates(target, why=str(error))


def query_rates(target: Target, window: str = "5m", *, deadline_s: float = DEADLINE_S) -> Rates:
    """Return the fleet's rates over `window` from Prometheus; raises as `prometheus.query`."""
    promql = _RATES.format(job=prometheus.JOB, window=target.window(window))
    samples = prometheus.query(target, promql, deadline_s=deadline_s)
    rows = tuple(_as_rate(sample.labels, sample.value) for sample in samples)
    return Rates(rows, "Prometheus", target.seconds(duration_seconds(window)))


def scrape_rates(target: Target, *, why: str = "") -> Rates:
    """Return the rates of the instances that two rounds of scrapes reached; raises as those."""
    from checks.scrape import REQUESTS, scrape_twice

    found = scrape_twice(target)
    requests = found.rates.get(REQUESTS, {})
    rows = tuple(_as_rate(dict(labels), rate) for labels, rate in requests.items() if rate > 0)
    note = f"{why} " if why else ""
    note += (
        f"Rates of {found.matched} of {found.seen} instances seen, from two scrapes "
        f"{found.seconds:.1f} s apart; instances that were not met are missing."
    )
    cpu_percents = tuple(found.cpu_percent.values())
    return Rates(rows, "two scrapes", found.seconds, note, cpu_percents, read_signs(found))


def read_signs(found: Difference) -> Signs:
    """Return what the difference of two scrapes shows of latency, memory, keys and limits."""
    from checks.latency import make_histogram
    from checks.scrape import AUTH_FAILURES, DURATIONS, LIMIT_HITS

    buckets: dict[float, float] = {}
    for labels, rate in found.rates.get(DURATIONS, {}).items():
        bound = float(dict(labels).get("le", "inf"))
        buckets[bound] = buckets.get(bound, 0.0) + rate
    p95 = make_histogram(buckets).quantile(_P95)
    failures: dict[str, float] = {}
    for labels, rate in found.rates.get(AUTH_FAILURES, {}).items():
        tenant = dict(labels).get("tenant_id", "")
        failures[tenant] = failures.get(tenant, 0.0) + rate
    return Signs(
        p95_s=p95.seconds if p95 else None,
        memory_share=max(found.memory_share.values(), default=None),
        auth_failures=failures,
        limit_hits_per_second=sum(found.rates.get(LIMIT_HITS, {}).values()),
    )


def share_by(rates: Rates, dimension: Dimension) -> list[Share]:
    """Return requests and errors for each value of `dimension`, most errors first."""
    total: dict[str, float] = {}
    errors: dict[str, float] = {}
    for row in rates.rows:
        key = getattr(row, dimension)
        total[key] = total.get(key, 0.0) + row.per_second
        if row.is_error:
            errors[key] = errors.get(key, 0.0) + row.per_second
    shares = [Share(key, value, errors.get(key, 0.0)) for key, value in total.items()]
    return sorted(shares, key=lambda s: (-s.errors_per_second, -s.per_second, s.name))


def share_of_all(rates: Rates) -> Share:
    """Return requests and errors of the whole fleet."""
    return Share(
        "all",
        sum(row.per_second for row in rates.rows),
        sum(row.per_second for row in rates.rows if row.is_error),
    )


def _as_rate(labels: dict[str, str], value: float) -> Rate:
    named = {field: labels.get(label, "") for label, field in _LABELS.items()}
    return Rate(per_second=value, **named)
