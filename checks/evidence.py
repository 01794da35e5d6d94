"""Which revision last served healthily, by what was measured: never by its place in a list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checks import prometheus
from checks.errors import RefusedError, RunbookError
from checks.logs import (
    SYSTEM_LOG,
    is_request,
    log_is,
    read_entries,
    revision_is,
    service_filter,
)
from checks.symptoms import list_ended
from checks.target import KUBERNETES, duration_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.cloud_run import Revision, Service
    from checks.kubernetes import Deployment
    from checks.target import Target

# Half of what HighErrorRate fires at: the natural half percent never comes near it.
HEALTHY_ERROR_SHARE = 0.025
MIN_REQUESTS = 20
_LOOK_BACK = "1d"
_STEP = "5m"
_TAIL = "10m"
_DEADLINE_S = 8.0
_LOG_DAYS = 30
_LOG_SAMPLE = 300
_MOST_REVISIONS = 8
_DEATHS = 3
_DEATHS_MINUTES = 25 * 60  # as far as metrics look back, and the time before that moment
_ALL = 100
_BACK_OFF = "BackOff"  # the reason of the event, written each time that the wait begins


@dataclass(frozen=True)
class Evidence:
    """That a revision served healthily when it last served.

    Attributes:
        source: `metrics` or `logs`.
        requests: Requests that the error share is taken from.
        error_share: Share of them that ended in a server error, 0 to 1.
        last_served: When it last took requests, RFC 3339.
    """

    revision: str
    source: str
    requests: int
    error_share: float
    last_served: str

    @property
    def healthy(self) -> bool:
        """Whether enough requests were served and few enough of them failed."""
        return self.requests >= MIN_REQUESTS and self.error_share <= HEALTHY_ERROR_SHARE


def find_last_healthy(
    target: Target, service: Service | Deployment, revisions: Sequence[Revision]
) -> Evidence:
    """Return the evidence for the revision that most recently served healthily.

    `service` and `revisions` are those of the target's platform. Only revisions that became ready
    count, and never one that has all the traffic now.
    Metrics are asked first; request logs when Prometheus does not answer or has nothing.

    Raises:
        RefusedError: Nothing shows that any of them served healthily.
        RunbookError: Neither metrics nor logs could be read.
    """
    names = _candidates(service, revisions)
    failures: list[RunbookError] = []
    answered = False
    for collect in (collect_from_metrics, collect_from_logs):
        try:
            found = [evidence for evidence in collect(target, names) if evidence.healthy]
        except RunbookError as error:
            failures.append(error)
            continue
        answered = True
        for evidence in sorted(found, key=lambda one: one.last_served, reverse=True):
            if not _kept_dying(target, evidence):
                return evidence
    if not answered:
        raise failures[-1]
    raise RefusedError(
        "No other revision of the service is known to have served healthily.",
        next_step="invoke assess.revisions, then name one: invoke mitigate.rollback --to=REVISION",
        subject=service.name,
    )


def find_record(target: Target, revision: str) -> Evidence | None:
    """Return how one revision did when it last served, or None when it is not known to have.

    Raises:
        RunbookError: Metrics tell nothing, and logs could not be read.
    """
    try:
        found = collect_from_metrics(target, [revision])
    except RunbookError:
        found = []
    found = found or collect_from_logs(target, [revision])
    return found[0] if found else None


def collect_from_metrics(target: Target, revisions: Sequence[str]) -> list[Evidence]:
    """Return how each of the revisions did when it last served, within the last day.

    Raises:
        RunbookError: Prometheus does not answer or refuses.
    """
    if not revisions:
        return []
    served = f"sum by (revision) (rate({_requests()}[{target.window(_STEP)}])) > 0"
    # A subquery looks at round moments only; what served since the last of them counts as well.
    past = f"max_over_time(timestamp({served})[{target.window(_LOOK_BACK)}:{target.window(_STEP)}])"
    last = f"timestamp({served}) or {past}"
    return [
        _judge_by_metrics(target, sample.labels["revision"], sample.value)
        for sample in prometheus.query(target, last, deadline_s=_DEADLINE_S)
        if sample.labels.get("revision") in revisions
    ]


def collect_from_logs(target: Target, revisions: Sequence[str]) -> list[Evidence]:
    """Return how each revision did in the newest entries of its request log, of 30 days.

    On Kubernetes there is none: the load balancer's log does not tell which pod answered.

    Raises:
        RunbookError: Cloud Logging does not answer or refuses.
    """
    if target.platform == KUBERNETES:
        return []
    return [
        evidence
        for revision in revisions[:_MOST_REVISIONS]
        if (evidence := _judge_by_logs(target, revision)) is not None
    ]


def _kept_dying(target: Target, evidence: Evidence) -> bool:
    """Return whether its containers ended by themselves again and again when it last served.

    A process that dies takes the count of its failed requests along, so metrics look healthy.
    """
    if evidence.source != "metrics":
        return False
    try:
        if target.platform == KUBERNETES:
            deaths = _deaths_by_events(target, evidence.revision)
        else:
            deaths = _deaths_by_logs(target, evidence.revision)
    except RunbookError:
        return False
    near, last = target.seconds(duration_seconds(_TAIL)), _as_seconds(evidence.last_served)
    counted = [count for at, count in deaths if abs(_as_seconds(at) - last) <= near]
    return sum(counted) >= _DEATHS


def _deaths_by_logs(target: Target, revision: str) -> list[tuple[str, int]]:
    own = (log_is(target, SYSTEM_LOG), revision_is(target, revision), "severity>=WARNING")
    expression = service_filter(target, *own, minutes=_DEATHS_MINUTES)
    entries = read_entries(target, expression, _LOG_SAMPLE, deadline_s=_DEADLINE_S)
    return [(entry.timestamp, 1) for entry in list_ended(entries, revision)]


def _deaths_by_events(target: Target, revision: str) -> list[tuple[str, int]]:
    """Return when the kubelet last waited before starting a container again, and how often."""
    from checks.kubernetes import read_events

    return [
        (event.last_seen, event.count)
        for event in read_events(target, deadline_s=_DEADLINE_S)
        if event.about.startswith(f"Pod/{revision}-") and event.reason == _BACK_OFF
    ]


def _candidates(service: Service | Deployment, revisions: Sequence[Revision]) -> list[str]:
    alone = {name for name, percent in service.shares.items() if percent >= _ALL}
    return [r.name for r in revisions if r.ready and r.name not in alone]


def _requests(*matchers: str) -> str:
    return "http_requests_total{" + ",".join((f'job="{prometheus.JOB}"', *matchers)) + "}"


def _judge_by_metrics(target: Target, revision: str, last_served: float) -> Evidence:
    tail = target.window(_TAIL)
    own = f'revision="{revision}"'
    total = f"sum(increase({_requests(own)}[{tail}]))"
    errors = f"""sum(increase({_requests(own, 'status_code=~"5.."')}[{tail}])) or vector(0)"""
    requests = _single(target, total, last_served)
    failed = _single(target, errors, last_served)
    return Evidence(
        revision=revision,
        source="metrics",
        requests=round(requests),
        error_share=failed / requests if requests > 0 else 1.0,
        last_served=_as_time(last_served),
    )


def _single(target: Target, promql: str, at: float) -> float:
    samples = prometheus.query(target, promql, at=at, deadline_s=_DEADLINE_S)
    return samples[0].value if samples else 0.0


def _judge_by_logs(target: Target, revision: str) -> Evidence | None:
    own = (is_request(target), revision_is(target, revision))
    expression = service_filter(target, *own, minutes=_LOG_DAYS * 24 * 60)
    entries = read_entries(target, expression, _LOG_SAMPLE, deadline_s=_DEADLINE_S)
    statuses = [int(entry.request.get("status", 0)) for entry in entries]
    if not statuses:
        return None
    failed = sum(status >= 500 for status in statuses)  # noqa: PLR2004 - HTTP's server errors
    return Evidence(
        revision=revision,
        source="logs",
        requests=len(statuses),
        error_share=failed / len(statuses),
        last_served=entries[0].timestamp,
    )


def _as_seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0.0


def _as_time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
