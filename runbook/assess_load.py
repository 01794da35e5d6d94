"""Assess the load: how long requests take, and which of them are the slow ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from invoke.context import Context

    from checks.latency import Dimension, Histogram, Latency, Passed, Quantile, Slow
    from checks.slow_requests import Dimension as SlowDimension
    from checks.slow_requests import SlowGroup, SlowRequest
    from checks.target import Target

_QUANTILES = (0.5, 0.95, 0.99)
_P95 = 0.95
_SHOWN = 8
_NAMED = 3
_FINE_S = 0.1
_ALERT = "HighLatencyP95"
_NOTHING = "none"
_WINDOW_S, _EARLIER_S = 300.0, 3600.0
_MAX_ENTRIES = 20_000
_MAX_MINUTES = 30 * 24 * 60
_MAX_MS = 600_000
_SLOW_BY_HAND = (
    "AND jsonPayload.duration_ms>{slower_than_ms}' --project={project} --freshness={minutes}m"
    " --limit={limit} --format=json"
)


@step(
    alerts=(_ALERT,),
    by_hand="curl --silent --show-error --fail-with-body --max-time 10 --get"
    " {prometheus}/api/v1/query --data-urlencode 'query=histogram_quantile(0.95, sum by (le, path)"
    """ (rate(http_request_duration_seconds_bucket{{job="convergence-api"}}[{window}])))'""",
    original=("C17",),
)
def latency(_c: Context) -> Report:
    """Show P50, P95 and P99 of the fleet, by endpoint, revision and tenant, and what is slow."""
    from checks.latency import find_slow, list_passed, read_latencies, sum_latencies
    from checks.rules import find_alert_rule
    from checks.target import load_target

    target = load_target()
    found = read_latencies(target)
    whole = sum_latencies(found["endpoint"])
    threshold_s = find_alert_rule(_ALERT).threshold or 1.0
    window_s = target.seconds(_WINDOW_S)
    slow = {name: find_slow(rows, threshold_s, window_s) for name, rows in found.items()}
    passed = list_passed(whole.now)
    earlier = tell_span(target.seconds(_EARLIER_S))
    finding = state_latency(whole, found, slow, passed, threshold_s, earlier)
    any_slow = any(one.names for one in slow.values())
    return Report(
        finding=finding,
        level="bad" if passed or not whole.now.per_second else "warn" if any_slow else "good",
        evidence=_show(target, whole, found),
        next_steps=_suggest(slow, passed),
        data={
            "window_s": window_s,
            "threshold_s": threshold_s,
            "passed": [one._asdict() for one in passed],
            "all": latency_as_data(whole),
            "slow": {name: one._asdict() for name, one in slow.items()},
            **{
                f"by_{name}": [latency_as_data(row) for row in rows] for name, rows in found.items()
            },
        },
    )


def state_latency(
    whole: Latency,
    found: Mapping[Dimension, Sequence[Latency]],
    slow: Mapping[Dimension, Slow],
    passed: Sequence[Passed],
    threshold_s: float,
    earlier: str = "1 h",
) -> str:
    """Return in words how slow the fleet is, what it passes, and what is slow."""
    now = whole.now.quantile(_P95)
    if now is None:
        return "Prometheus knows of no request that was answered lately."
    told = f"P95 is {tell_seconds(now)}"
    before = whole.before.quantile(_P95)
    if before:
        told += f", {earlier} earlier {tell_seconds(before)}"
    if passed:
        above = " and ".join(f"{one.alert} ({one.threshold_s:g} s)" for one in passed)
        told += f"; above the threshold of {above}."
    else:
        told += f"; below the threshold of {_ALERT} ({threshold_s:g} s)."
    parts = [_name_slow(name, slow[name], len(found[name])) for name in found]
    named = "; ".join(part for part in parts if part)
    if not named:
        return told
    return f"{told} Slow: {named}." if passed else f"{told} Yet slow: {named}."


def _name_slow(dimension: str, slow: Slow, of: int) -> str:
    if not slow.names or of < 2:  # noqa: PLR2004 - the only value there is says nothing
        return ""
    if slow.everywhere and len(slow.names) > 1:
        return f"every {dimension}" if len(slow.names) == of else f"nearly every {dimension}"
    if len(slow.names) == 1:
        return f"one {dimension}, {slow.names[0]}"
    named = ", ".join(slow.names[:_NAMED])
    more = "" if len(slow.names) <= _NAMED else ", …"
    return f"{len(slow.names)} of {of} {dimension}s ({named}{more})"


def _suggest(slow: Mapping[Dimension, Slow], passed: Sequence[Passed]) -> tuple[str, ...]:
    if not passed and not any(one.names for one in slow.values()):
        return ("invoke assess",)
    return ("invoke assess.slow-endpoints", "invoke assess.cpu", "invoke assess")


def _show(
    target: Target, whole: Latency, found: Mapping[Dimension, Sequence[Latency]]
) -> tuple[Table | str, ...]:
    if not whole.now.per_second:
        return ()
    tables = [
        tabulate(name, [whole, *rows] if name == "endpoint" else rows)
        for name, rows in found.items()
    ]
    told = f"Seconds, over the last {tell_span(target.seconds(_WINDOW_S))}"
    earlier = tell_span(target.seconds(_EARLIER_S))
    if whole.before.quantile(_P95):
        told += f"; in brackets the change against {earlier} earlier."
    else:
        told += f". Prometheus has no data of {earlier} earlier to compare with."
    return (*tables, told)


def tabulate(dimension: str, rows: Sequence[Latency]) -> Table:
    """Return the quantiles of a dimension's slowest values; what is called `all` stands first."""
    from checks.latency import ALL

    ordered = sorted(rows, key=lambda row: (row.name == ALL, _slowness(row)), reverse=True)
    shown = ordered[: _SHOWN + 1]
    columns = (dimension, "requests/s", *(f"P{q * 100:.0f}" for q in _QUANTILES))
    return Table(
        columns=columns,
        rows=tuple(
            (
                row.name or "(without a name)",
                f"{row.now.per_second:.1f}",
                *(_cell(row, q) for q in _QUANTILES),
            )
            for row in shown
        ),
        title="" if len(rows) <= len(shown) else f"The slowest of {len(rows)} {dimension}s",
        right=columns[1:],
    )


def _slowness(row: Latency) -> tuple[float, float]:
    p95 = row.now.quantile(_P95)
    return (p95.seconds if p95 else 0.0, row.now.per_second)


def _cell(row: Latency, q: float) -> str:
    now, before, change = row.now.quantile(q), row.before.quantile(q), row.change(q)
    if now is None:
        return _NOTHING
    lowest = row.now.buckets[0][0]
    told = f"{'> ' if now.beyond else ''}{_digits(now.seconds)}"
    if now.seconds < lowest:
        # Within the lowest bucket nothing tells where: its bound is all that is known.
        told = f"< {lowest:g}"
        change = None if before and before.seconds < lowest else change
    if change is None:
        return told
    open_end = "> " if now.beyond and not (before and before.beyond) else ""
    return f"{told} ({open_end}{change:+.2f})"


def _digits(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < _FINE_S else f"{seconds:.2f}"


def tell_seconds(quantile: Quantile) -> str:
    """Return a quantile in words, such as `0.84 s`, or `> 5 s` above the highest bound."""
    if quantile.beyond:
        return f"> {quantile.seconds:g} s"
    return f"{_digits(quantile.seconds)} s"


def tell_span(seconds: float) -> str:
    """Return a span of time in its largest whole unit, such as `5 min` or `60 s`."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size and seconds % size == 0 and not (unit == "min" and seconds == size):
            return f"{seconds / size:g} {unit}"
    return f"{seconds:.3g} s"


def latency_as_data(row: Latency) -> dict[str, Any]:
    """Return quantiles in seconds; `above_highest` names those that lie above the last bound."""
    return {
        "name": row.name,
        "per_second": round(row.now.per_second, 4),
        **_quantiles_as_data(row.now),
        "before": _quantiles_as_data(row.before),
        "change": {_key(q): _rounded(row.change(q)) for q in _QUANTILES},
    }


def _quantiles_as_data(histogram: Histogram) -> dict[str, Any]:
    found = {q: histogram.quantile(q) for q in _QUANTILES}
    values: dict[str, Any] = {_key(q): _rounded(v.seconds if v else None) for q, v in found.items()}
    return values | {"above_highest": [_key(q) for q, v in found.items() if v and v.beyond]}


def _key(q: float) -> str:
    return f"p{q * 100:.0f}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


@step(
    name="slow-endpoints",
    alerts=(_ALERT,),
    by_hand={
        "cloud_run": "gcloud logging read 'resource.type=cloud_run_revision"
        " AND resource.labels.service_name={service} AND resource.labels.location={region}"
        f" {_SLOW_BY_HAND}",
        "kubernetes": "gcloud logging read 'resource.type=k8s_container"
        " AND resource.labels.namespace_name={namespace} AND resource.labels.location:{region}"
        f""" AND labels."k8s-pod/app"={{deployment}} {_SLOW_BY_HAND}""",
    },
    original=("C18",),
    help={
        "minutes": "How far back to look, in minutes.",
        "slower_than_ms": "A request is slow that takes longer, in milliseconds.",
        "limit": "Read at most this many entries, newest first.",
        "platform": "Look at cloud_run or kubernetes, whatever the target says.",
    },
)
def slow_endpoints(
    _c: Context,
    minutes: int = 60,
    slower_than_ms: int = 1000,
    limit: int = 5000,
    platform: str = "",
) -> Report:
    """Sum up the slow requests in the logs by endpoint, tenant and revision."""
    from checks.inputs import check_count
    from checks.slow_requests import DIMENSIONS, group_slow, read_slow_requests
    from checks.target import load_target

    check_count("--minutes", minutes, minimum=1, maximum=_MAX_MINUTES)
    check_count("--slower-than-ms", slower_than_ms, minimum=1, maximum=_MAX_MS)
    check_count("--limit", limit, minimum=1, maximum=_MAX_ENTRIES)
    target = load_target().on_platform(platform)
    found = read_slow_requests(target, slower_than_ms=slower_than_ms, minutes=minutes, limit=limit)
    groups = {name: group_slow(found, name) for name in DIMENSIONS}
    notes = [f"From the logs of the last {minutes} min, each request once."]
    if len(found) >= limit:
        notes.append(f"These are the newest {limit}; there may be more: raise --limit.")
    return Report(
        finding=state_slow(found, groups, minutes, slower_than_ms),
        level="bad" if found else "good",
        evidence=(*(_tabulate_slow(name, rows) for name, rows in groups.items()), " ".join(notes)),
        next_steps=("invoke assess.latency", "invoke assess") if found else ("invoke assess",),
        data={
            "minutes": minutes,
            "slower_than_ms": slower_than_ms,
            "requests": len(found),
            "complete": len(found) < limit,
            **{f"by_{name}": [asdict(one) for one in rows] for name, rows in groups.items()},
        },
    )


def state_slow(
    found: Sequence[SlowRequest],
    groups: Mapping[SlowDimension, Sequence[SlowGroup]],
    minutes: int,
    slower_than_ms: int,
) -> str:
    """Return in words how many requests were slow, and what most of them share."""
    from checks.slow_requests import find_most

    limit = f"{slower_than_ms / 1000:g} s"
    if not found:
        return f"No request took longer than {limit} in the last {minutes} min."
    first = groups["endpoint"][0]
    told = f"{len(found)} requests took longer than {limit} in the last {minutes} min;"
    told += f" {first.count} of them {first.name}"
    told += f" (median {_seconds(first.median_ms)}, worst {_seconds(first.worst_ms)})"
    shared = [
        f"{name} {most.name}"
        for name, rows in groups.items()
        if name != "endpoint" and len(rows) > 1 and (most := find_most(rows))
    ]
    tenants = len(groups["tenant"])
    told += f"; {tenants} tenants" if tenants > 1 else f"; one tenant, {groups['tenant'][0].name}"
    return f"{told}; mostly {' and '.join(shared)}." if shared else f"{told}."


def _tabulate_slow(dimension: str, groups: Sequence[SlowGroup]) -> Table:
    return Table(
        columns=(dimension, "slow requests", "median", "worst"),
        rows=tuple(
            (one.name, str(one.count), _seconds(one.median_ms), _seconds(one.worst_ms))
            for one in groups[:_SHOWN]
        ),
        title="" if len(groups) <= _SHOWN else f"The {_SHOWN} first of {len(groups)} {dimension}s",
        right=("slow requests", "median", "worst"),
    )


def _seconds(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.2f} s"
