"""Refused keys: who was refused, with what, and which of those addresses had good keys before.

Source: the service's own log entries `authentication failed` and its counter
`auth_failures_total`. What a client sent is text of anybody's choice, so it is cut and never
trusted to be of any type.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from checks import prometheus
from checks.addresses import answered_well, is_address, network_of
from checks.errors import RunbookError
from checks.logs import edge_filter, quote, read_entries, service_filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.logs import Entry
    from checks.target import Target

MESSAGE = "authentication failed"
READ_AT_MOST = 20_000
CHECKED_ADDRESSES = 40
_MAX_TEXT = 64
_LOOK_BACK_MIN = 60.0  # how long before its first failure an address may have been answered well
_ROUNDS = 5
_PAGE = 1000
_TOTALS = 'sum by (tenant_id) (increase(auth_failures_total{{job="{job}"}}[{seconds}s]))'
_RATE = 'sum(rate(auth_failures_total{{job="{job}"}}[{window}]))'


class Failure(NamedTuple):
    """One refused request; a text that was missing or no text is empty."""

    at: str
    source: str
    tenant: str
    reason: str
    key_prefix: str


@dataclass
class Source:
    """An address, and what was refused from it.

    Attributes:
        tenants, prefixes, reasons: How often each was claimed, tried or given.
        first, last: RFC 3339 times of its first and last failure.
        last_good: When it was last answered well before its first failure; "" when it never was.
    """

    address: str
    count: int = 0
    tenants: Counter[str] = field(default_factory=Counter)
    prefixes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    last_good: str = ""


@dataclass(frozen=True)
class Failures:
    """What was refused within the window.

    Attributes:
        sources: By address, most failures first.
        read: How many entries were read.
        complete: Whether that is all of them.
        totals: Failures by tenant from Prometheus over the same time, or None when it is silent.
        per_second: The rate that the alerts judge, over their five minutes, or None.
        checked: Whether addresses could be compared with the request log.
        notes: What limits the answer, in sentences.
    """

    sources: tuple[Source, ...]
    read: int
    complete: bool
    totals: dict[str, float] | None = None
    per_second: float | None = None
    checked: bool = True
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many failures there were: those read, or Prometheus' total where more were logged."""
        if self.complete or self.totals is None:
            return self.read
        return max(self.read, round(sum(self.totals.values())))

    @property
    def tenants(self) -> Counter[str]:
        """Failures by claimed tenant, of those read."""
        return sum((source.tenants for source in self.sources), Counter())

    @property
    def networks(self) -> Counter[str]:
        """Failures by /24, or /64 of IPv6, of those read."""
        counts: Counter[str] = Counter()
        for source in self.sources:
            counts[network_of(source.address)] += source.count
        return counts

    @property
    def prefixes(self) -> Counter[str]:
        """Failures by key prefix, of those read."""
        return sum((source.prefixes for source in self.sources), Counter())

    @property
    def reasons(self) -> Counter[str]:
        """Failures by the service's reason, of those read."""
        return sum((source.reasons for source in self.sources), Counter())


def read_failures(target: Target, minutes: float, limit: int = READ_AT_MOST) -> Failures:
    """Return the failures of the last `minutes` of real time, at most the newest `limit`.

    Raises:
        UnreachableError, ApiError: Cloud Logging gives no usable answer. A request log or a
            Prometheus that gives none is told in `notes`.
    """
    notes = []
    expression = service_filter(target, f"jsonPayload.message={quote(MESSAGE)}", minutes=minutes)
    entries = read_entries(target, expression, limit)
    complete = len(entries) < limit
    sources = tally(map(parse_failure, entries))
    checked = True
    try:
        known = find_known(target, sources[:CHECKED_ADDRESSES], minutes)
        for source in sources:
            source.last_good = known.get(source.address, "")
        checked = bool(known) or not sources or _has_requests(target, minutes)
        if not checked:
            notes.append("No request log was found, so no address could be told from a stranger's.")
    except RunbookError as error:
        checked = False
        notes.append(f"Which addresses had good keys before could not be read: {error}")
    totals, per_second = _read_totals(target, minutes, notes)
    if not complete:
        notes.insert(0, _tell_limit(limit, totals))
    return Failures(
        tuple(sources), len(entries), complete, totals, per_second, checked, tuple(notes)
    )


def parse_failure(entry: Entry) -> Failure:
    """Return what an entry tells; whatever is no text counts as missing."""
    texts = (entry.fields.get(n) for n in ("source_ip", "tenant_id", "error_type", "key_prefix"))
    return Failure(
        entry.timestamp, *(t[:_MAX_TEXT].strip() if isinstance(t, str) else "" for t in texts)
    )


def tally(failures: Iterable[Failure]) -> list[Source]:
    """Return the failures by address, most first."""
    found: dict[str, Source] = {}
    for one in failures:
        source = found.setdefault(one.source, Source(one.source, first=one.at, last=one.at))
        source.count += 1
        source.tenants[one.tenant] += 1
        source.prefixes[one.key_prefix] += 1
        source.reasons[one.reason] += 1
        source.first = min(source.first, one.at)
        source.last = max(source.last, one.at)
    return sorted(found.values(), key=lambda source: (-source.count, source.address))


def find_known(target: Target, sources: Sequence[Source], minutes: float) -> dict[str, str]:
    """Return when each address was answered well before its first failure; others are left out.

    From the request log, an hour further back than the window. Only requests to the API count: a
    health check wants no key.

    Raises:
        UnreachableError, ApiError: Cloud Logging gives no usable answer.
    """
    left = {s.address: s.first for s in sources if is_address(s.address)}
    known: dict[str, str] = {}
    for _ in range(_ROUNDS):
        if not left:
            break
        before = " OR ".join(
            f"(httpRequest.remoteIp={quote(address)} AND timestamp<{quote(first)})"
            for address, first in left.items()
        )
        expression = edge_filter(
            target,
            answered_well(),
            before,
            minutes=minutes + _LOOK_BACK_MIN,
        )
        found = read_entries(target, expression, _PAGE)
        for entry in found:
            address = str(entry.request.get("remoteIp", ""))
            if left.pop(address, ""):
                known[address] = entry.timestamp
        if len(found) < _PAGE:
            break
    return known


def find_breaches(target: Target, sources: Sequence[Source], minutes: float) -> dict[str, int]:
    """Return how many requests of each address were answered well since it first failed.

    For addresses that were strangers before: a success of theirs may be a key that was guessed.
    Raises as `find_known`.
    """
    since = {s.address: s.first for s in sources if is_address(s.address) and not s.last_good}
    if not since:
        return {}
    after = " OR ".join(
        f"(httpRequest.remoteIp={quote(address)} AND timestamp>={quote(first)})"
        for address, first in since.items()
    )
    expression = edge_filter(target, answered_well(), after, minutes=minutes)
    entries = read_entries(target, expression, _PAGE)
    return dict(Counter(str(entry.request.get("remoteIp", "")) for entry in entries))


def seconds_between(first: str, last: str) -> float:
    """Return the seconds between two RFC 3339 times; 0 where one of them is no time."""
    try:
        between: timedelta = _moment(last) - _moment(first)
    except ValueError:
        return 0.0
    return between.total_seconds()


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _read_totals(
    target: Target, minutes: float, notes: list[str]
) -> tuple[dict[str, float] | None, float | None]:
    totals = _TOTALS.format(job=prometheus.JOB, seconds=max(1, round(minutes * 60)))
    rate = _RATE.format(job=prometheus.JOB, window=target.window("5m"))
    try:
        by_tenant = {
            sample.labels.get("tenant_id", ""): sample.value
            for sample in prometheus.query(target, totals)
            if sample.value > 0
        }
        rates = prometheus.query(target, rate)
    except RunbookError as error:
        notes.append(f"Prometheus was no help: {error}")
        return None, None
    return by_tenant, rates[0].value if rates else 0.0


def _has_requests(target: Target, minutes: float) -> bool:
    """Return whether the request log has any good answer; without one, nobody looks known."""
    good = edge_filter(target, answered_well(), minutes=minutes + _LOOK_BACK_MIN)
    return bool(read_entries(target, good, 1))


def _tell_limit(limit: int, totals: dict[str, float] | None) -> str:
    told = (
        f"More than {limit:,} failures are logged; addresses and keys are of the newest {limit:,}"
    )
    if totals is None:
        return f"{told}, and nobody could tell how many there are in all."
    return f"{told}, totals by tenant are Prometheus' (auth_failures_total)."
