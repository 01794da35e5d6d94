"""Assess the errors: what the logs say of them, and what the failing requests have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runbook.assess import PLATFORM_HELP, describe_source, read_revisions, share_as_data
from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from invoke.context import Context

    from checks.cloud_run import Revision
    from checks.logs import Group
    from checks.target import Target
    from checks.traffic import Dimension, Rates, Share

_MAX_ENTRIES = 5000
_MAX_MINUTES = 30 * 24 * 60
_SHOWN = 8
_SAMPLE_CHARACTERS = 300
_LOOK_BACK_S = 3600.0
_STEPS = 240
_DEPLOYMENT_S = 900.0
_GAP_POINTS = 8
_DIMENSIONS: dict[Dimension, str] = {"tenant": "tenant", "path": "endpoint", "revision": "revision"}
_READ_LOGS = "--project={project} --freshness={minutes}m --limit={limit} --format=json"
_SHARE_OVER_TIME = (
    'sum(rate(http_requests_total{{job="convergence-api",status_code=~"5.."}}[{window}]))'
    ' / sum(rate(http_requests_total{{job="convergence-api"}}[{window}]))'
)


@step(
    alerts=("ServiceDown", "HighErrorRate"),
    by_hand={
        "cloud_run": "gcloud logging read 'resource.type=cloud_run_revision"
        " AND resource.labels.service_name={service} AND resource.labels.location={region}"
        f" AND severity>=ERROR' {_READ_LOGS}",
        "kubernetes": "gcloud logging read 'resource.type=k8s_container"
        " AND resource.labels.namespace_name={namespace} AND resource.labels.location:{region}"
        f""" AND labels."k8s-pod/app"={{deployment}} AND severity>=ERROR' {_READ_LOGS}""",
    },
    original=("C03", "C10"),
    help={
        "minutes": "How far back to look, in minutes.",
        "limit": "Read at most this many entries, newest first.",
        "platform": PLATFORM_HELP,
    },
)
def errors(_c: Context, minutes: int = 60, limit: int = 500, platform: str = "") -> Report:
    """Group the service's errors by message: how often, since when, and in which revision."""
    from checks.inputs import check_count
    from checks.logs import group_entries, read_entries, service_filter
    from checks.target import load_target

    check_count("--minutes", minutes, minimum=1, maximum=_MAX_MINUTES)
    check_count("--limit", limit, minimum=1, maximum=_MAX_ENTRIES)
    target = load_target().on_platform(platform)
    expression = service_filter(target, "severity>=ERROR", minutes=minutes)
    entries = read_entries(target, expression, limit)
    groups = group_entries(entries)
    if not entries:
        finding = f"No error was logged in the last {minutes} minutes."
    else:
        first = groups[0]
        finding = (
            f"{len(entries)} errors in the last {minutes} minutes, {len(groups)} kinds; "
            f"{first.count} times: {first.pattern[:200]}"
        )
    notes = []
    if len(entries) >= limit:
        notes.append(f"These are the newest {limit}; there may be more: raise --limit.")
    if groups:
        sample = groups[0].sample.message
        notes.append(f"Newest of the most frequent: {_shorten(sample)}")
    return Report(
        finding=finding,
        level="bad" if entries else "good",
        evidence=(_tabulate_groups(groups), *notes) if groups else (),
        next_steps=("invoke assess.error-pattern",) if entries else ("invoke assess",),
        data={
            "minutes": minutes,
            "entries": len(entries),
            "complete": len(entries) < limit,
            "groups": [_group_as_data(group) for group in groups],
        },
    )


def _tabulate_groups(groups: Sequence[Group]) -> Table:
    return Table(
        columns=("count", "severity", "first seen", "last seen", "revision", "tenants", "message"),
        rows=tuple(
            (
                str(group.count),
                group.severity,
                group.first_seen[:19],
                group.last_seen[:19],
                ", ".join(group.revisions[:2]),
                str(len(group.tenants)) if len(group.tenants) > 1 else "".join(group.tenants),
                _shorten(group.pattern),
            )
            for group in groups[:_SHOWN]
        ),
        title="" if len(groups) <= _SHOWN else f"The {_SHOWN} most frequent of {len(groups)} kinds",
        right=("count",),
    )


def _group_as_data(group: Group) -> dict[str, Any]:
    return {
        "pattern": group.pattern,
        "count": group.count,
        "severity": group.severity,
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "revisions": list(group.revisions),
        "tenants": list(group.tenants),
        "sample": _shorten(group.sample.message),
    }


def _shorten(text: str) -> str:
    return text if len(text) <= _SAMPLE_CHARACTERS else text[: _SAMPLE_CHARACTERS - 1] + "…"


class Onset(NamedTuple):
    """When the errors began, and the deployment that came just before, if one did."""

    began: str
    deployment: str


@step(
    alerts=("HighErrorRate",),
    by_hand="curl --silent --show-error --fail-with-body --max-time 10 --get"
    " {prometheus}/api/v1/query --data-urlencode"
    " 'query=sum by (tenant_id, path, revision)"
    """ (rate(http_requests_total{{job="convergence-api",status_code=~"5.."}}[{window}]))'""",
    original=("C12",),
    help={"platform": PLATFORM_HELP},
)
def error_pattern(_c: Context, platform: str = "") -> Report:
    """Tell what the failing requests share: tenant, endpoint, revision, and since when."""
    from checks.target import load_target
    from checks.traffic import read_rates, share_by, share_of_all

    target = load_target().on_platform(platform)
    rates = read_rates(target)
    whole = share_of_all(rates)
    tables = {name: share_by(rates, dimension) for dimension, name in _DIMENSIONS.items()}
    onset = find_onset(target, *read_revisions(target))
    lead = describe_pattern(rates, onset)
    failing = whole.errors_per_second > 0
    return Report(
        finding=lead,
        level="bad" if failing and (onset.began or _is_high(whole)) else "info",
        evidence=(
            *(_tabulate_shares(name, shares) for name, shares in tables.items()),
            describe_source(rates),
        ),
        next_steps=("invoke assess",),
        data={
            "source": rates.source,
            "note": rates.note,
            "all": share_as_data(whole),
            "began": onset.began or None,
            "deployment": onset.deployment or None,
            "confined_to": _confinements(rates),
            **{f"by_{name}": [share_as_data(s) for s in found] for name, found in tables.items()},
        },
    )


def describe_pattern(rates: Rates, onset: Onset) -> str:
    """Return the pattern in words: how much fails, whose requests, where, and since when."""
    from checks.traffic import share_of_all

    whole = share_of_all(rates)
    if whole.errors_per_second <= 0:
        return "No request fails now." if whole.per_second > 0 else "No instance reports requests."
    confined = _confinements(rates)
    who = (
        f"one tenant, {confined['tenant']}" if "tenant" in confined else "tenants across the board"
    )
    where = f"one endpoint, {confined['path']}" if "path" in confined else "several endpoints"
    told = f"{whole.error_share:.1%} of requests fail: {who}; {where}"
    if "revision" in confined:
        told += f"; only in revision {confined['revision']}"
    if not onset.began and _is_high(whole):
        return f"{told}. Nobody could tell since when."
    if not onset.began:
        return f"{told}. The share is not above the alert's threshold."
    told += f". Since {onset.began[:19]}Z"
    if onset.deployment:
        return f"{told}, right after {onset.deployment} was deployed."
    return f"{told}; no deployment came just before."


def _is_high(whole: Share) -> bool:
    from checks.rules import find_alert_rule
    from checks.symptoms import exceeds

    return exceeds(whole.error_share, find_alert_rule("HighErrorRate").threshold)


def find_onset(target: Target, serving: Collection[str], revisions: Sequence[Revision]) -> Onset:
    """Return when the error share last rose above its threshold, within the last hour.

    `serving` are the names of the revisions that get traffic.

    Without Prometheus nothing tells when, and both fields are empty.
    """
    import time

    from checks import prometheus
    from checks.errors import RunbookError
    from checks.rules import find_alert_rule
    from checks.symptoms import came_with

    threshold = find_alert_rule("HighErrorRate").threshold or 0.0
    end, span = time.time(), target.seconds(_LOOK_BACK_S)
    promql = _SHARE_OVER_TIME.format(window=target.window("1m"))
    try:
        points = prometheus.query_range(
            target, promql, start=end - span, end=end, step_s=span / _STEPS
        )
    except RunbookError:
        return Onset("", "")
    began = find_start(points, threshold)
    within = target.seconds(_DEPLOYMENT_S)
    for revision in revisions:
        if revision.name in serving and came_with(began, revision.created, within):
            return Onset(began, revision.name)
    return Onset(began, "")


def find_start(points: Sequence[tuple[float, float]], threshold: float) -> str:
    """Return when the newest run of points above the threshold began, RFC 3339, or nothing.

    A few points below it do not end a run: the share of a short window is uneven.
    """
    from datetime import UTC, datetime

    began, below = 0.0, 0
    for at, value in reversed(points):
        if value > threshold:
            began, below = at, 0
        else:
            below += 1
            if below > _GAP_POINTS:
                break
    if not began:
        return ""
    return datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _confinements(rates: Rates) -> dict[str, str]:
    from checks.symptoms import find_confined
    from checks.traffic import share_by

    found: dict[str, str] = {}
    for dimension in _DIMENSIONS:
        confined = find_confined(share_by(rates, dimension))
        if confined is not None:
            found[dimension] = confined.name
    return found


def _tabulate_shares(name: str, shares: Sequence[Share]) -> Table:
    return Table(
        columns=(name, "requests/s", "5xx/s", "share"),
        rows=tuple(
            (
                share.name,
                f"{share.per_second:.2f}",
                f"{share.errors_per_second:.2f}",
                f"{share.error_share:.1%}",
            )
            for share in shares[:_SHOWN]
        ),
        right=("requests/s", "5xx/s", "share"),
    )
