"""What Prometheus says: instant queries, alerts and rules, over its HTTP API v1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError, UnreachableError
from checks.http import DEADLINE_S, get_json

if TYPE_CHECKING:
    from checks.target import Target

JOB = "convergence-api"


@dataclass(frozen=True)
class Sample:
    """One series of an instant query with its value."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """One series of a range query with its (Unix time, value) points."""

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Alert:
    """An alert that is pending or firing; `active_since` is an RFC 3339 time."""

    name: str
    state: str
    labels: dict[str, str]
    annotations: dict[str, str]
    active_since: str
    value: float


@dataclass(frozen=True)
class Rule:
    """An alerting rule as Prometheus has loaded it; `for_s` is its hold time in seconds."""

    name: str
    state: str
    query: str
    for_s: float
    labels: dict[str, str]
    annotations: dict[str, str]


def query(
    target: Target, promql: str, *, at: float | None = None, deadline_s: float = DEADLINE_S
) -> list[Sample]:
    """Return the series of an instant query, now or at the Unix time `at`; empty if none.

    Raises:
        UnreachableError: No Prometheus is named for the target, or it does not answer.
        ApiError: Prometheus refuses the query, or answers with something else.
    """
    params: dict[str, str | int] = {"query": promql}
    if at is not None:
        params["time"] = f"{at:.3f}"
    data = _get(target, "query", params, deadline_s)
    try:
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(entry["metric"], float(entry["value"][1])) for entry in data["result"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _malformed(target) from error


def query_range(
    target: Target,
    promql: str,
    *,
    start: float,
    end: float,
    step_s: float,
    deadline_s: float = DEADLINE_S,
) -> list[tuple[float, float]]:
    """Return (Unix time, value) of the first series from `start` to `end`; empty if there is none.

    Raises as `query`.
    """
    found = query_series(target, promql, start=start, end=end, step_s=step_s, deadline_s=deadline_s)
    return list(found[0].points) if found else []


def query_series(
    target: Target,
    promql: str,
    *,
    start: float,
    end: float,
    step_s: float,
    deadline_s: float = DEADLINE_S,
) -> list[Series]:
    """Return every series of a range query from `start` to `end`; raises as `query`."""
    params: dict[str, str | int] = {
        "query": promql,
        "start": f"{start:.3f}",
        "end": f"{end:.3f}",
        "step": f"{step_s:.3f}",
    }
    data = _get(target, "query_range", params, deadline_s)
    try:
        return [
            Series(one["metric"], tuple((float(at), float(value)) for at, value in one["values"]))
            for one in data["result"]
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _malformed(target) from error


def read_alerts(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Alert]:
    """Return the alerts that are pending or firing, from GET /api/v1/alerts; raises as `query`."""
    data = _get(target, "alerts", {}, deadline_s)
    try:
        return [
            Alert(
                name=entry["labels"]["alertname"],
                state=entry["state"],
                labels=entry["labels"],
                annotations=entry.get("annotations", {}),
                active_since=entry.get("activeAt", ""),
                value=float(entry.get("value") or "nan"),
            )
            for entry in data["alerts"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(target) from error


def read_rules(target: Target, *, deadline_s: float = DEADLINE_S) -> list[Rule]:
    """Return the alerting rules that are loaded, from GET /api/v1/rules; raises as `query`."""
    data = _get(target, "rules", {"type": "alert"}, deadline_s)
    try:
        return [
            Rule(
                name=entry["name"],
                state=entry.get("state", "unknown"),
                query=entry["query"],
                for_s=float(entry.get("duration", 0)),
                labels=entry.get("labels", {}),
                annotations=entry.get("annotations", {}),
            )
            for group in data["groups"]
            for entry in group["rules"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(target) from error


def _get(
    target: Target, endpoint: str, params: dict[str, str | int], deadline_s: float
) -> dict[str, Any]:
    if target.prometheus is None:
        raise UnreachableError(
            f"Target {target.name!r} names no Prometheus.",
            next_step="name one as `prometheus` in invoke.yaml",
        )
    url = f"{target.prometheus.rstrip('/')}/api/v1/{endpoint}"
    content = get_json(url, params=params, deadline_s=deadline_s)
    data = content.get("data")
    if content.get("status") != "success" or not isinstance(data, dict):
        raise _malformed(target)
    return data


def _malformed(target: Target) -> ApiError:
    return ApiError(
        f"{target.prometheus} answers, but not as Prometheus does.",
        status=200,
        next_step="check `prometheus` of the target in invoke.yaml",
        subject=target.prometheus or "",
    )
