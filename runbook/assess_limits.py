"""Assess the rate limits: those in force, who uses how much of them, and whether that is abuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.assess import PLATFORM_HELP
from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from invoke.context import Context

    from checks.limit_verdict import Case, Judgement
    from checks.limits import Setting, Use

_SHOWN = 10
_JUDGED = 5
_MINUTES = 15.0
_READ_AT_MOST = 5000
_QUERY = (
    "curl --silent --show-error --fail-with-body --max-time 10 --get {prometheus}/api/v1/query"
    " --data-urlencode 'query="
)
_SETTINGS_BY_HAND = (
    _QUERY + """convergence_setting{{job="convergence-api",setting=~"rate_limiting[.].+"}}'"""
)
_HITS_BY_HAND = (
    _QUERY + "sum by (tenant_id, path)"
    """ (rate(rate_limit_hits_total{{job="convergence-api"}}[{window}])) > 0'"""
)
_REFUSED_BY_HAND = (
    'AND jsonPayload.message="rate limit exceeded"\' --project={project}'
    " --freshness=15m --limit=5000"
    " --format='csv[no-heading](jsonPayload.tenant_id,jsonPayload.path,jsonPayload.source_ip)'"
)
_EACH_FOR_ITSELF = (
    "Limits and use are those of one instance: each counts for itself, so the fleet lets through"
    " as many times the limit as it has instances."
)


@step(
    alerts=("RateLimitExceeded",),
    by_hand=(_SETTINGS_BY_HAND, _HITS_BY_HAND),
    original=("C53", "C54"),
)
def rate_limits(_c: Context) -> Report:
    """Show the limits that every instance runs with, who is blocked, and the use against them."""
    from checks.limits import read_blocked, read_settings, read_use, require_settings
    from checks.target import load_target

    target = load_target()
    settings = require_settings(read_settings(target))
    blocked = read_blocked(target)
    uses = read_use(target)
    differing = [setting.name for setting in settings if setting.differs]
    hits = sum(use.hits_per_second for use in uses if not use.path)
    return Report(
        finding=_state_limits(settings, hits, uses, blocked, differing),
        level="bad" if _is_high(hits) else "warn" if hits or blocked or differing else "good",
        evidence=(
            _tabulate_settings(settings),
            _tabulate_use(uses, settings),
            _EACH_FOR_ITSELF,
        ),
        next_steps=("invoke assess.rate-limited-tenants",) if hits else ("invoke assess",),
        data={
            "settings": [_setting_as_data(setting) for setting in settings],
            "differing": differing,
            "blocked": blocked,
            "hits_per_second": round(hits, 3),
            "use": [_use_as_data(use) for use in uses],
        },
    )


def _is_high(hits: float) -> bool:
    from checks.rules import find_alert_rule

    return hits > (find_alert_rule("RateLimitExceeded").threshold or 0.0)


def _state_limits(
    settings: Sequence[Setting],
    hits: float,
    uses: Sequence[Use],
    blocked: Sequence[str],
    differing: Sequence[str],
) -> str:
    from checks.limits import TENANT_LIMIT

    limit = next((one.value for one in settings if one.name == TENANT_LIMIT), None)
    told = "" if limit is None else f"A tenant may ask {limit:g} times a minute of an instance. "
    limited = [use.tenant for use in uses if not use.path and use.hits_per_second > 0]
    if limited:
        told += f"{hits:.1f} requests a second are refused, of {len(limited)} tenants: "
        told += f"{', '.join(limited[:3])}."
    else:
        told += "No request is refused by a limit now."
    if blocked:
        told += f" Blocked: {', '.join(blocked)}."
    if differing:
        told += f" Instances differ in {', '.join(differing)}: a change is under way, or stuck."
    return told


def _tabulate_settings(settings: Sequence[Setting]) -> Table:
    rows = tuple(
        (setting.name.removeprefix("rate_limiting."), f"{value:g}", str(count), revision)
        for setting in settings
        for (value, revision), count in setting.values.items()
    )
    return Table(("limit", "value", "instances", "revision"), rows, right=("value", "instances"))


def _tabulate_use(uses: Sequence[Use], settings: Sequence[Setting]) -> Table:
    limits = {setting.name: setting.value for setting in settings}
    rows = []
    for use in uses[:_SHOWN]:
        limit = _limit_of(use, limits)
        rows.append(
            (
                use.tenant,
                use.path or "all endpoints",
                f"{use.per_minute:.0f}",
                f"{limit:g}" if limit else "-",
                f"{use.per_minute / limit:.0%}" if limit else "-",
                f"{use.hits_per_second:.2f}",
            )
        )
    columns = ("tenant", "endpoint", "asked/min", "limit/min", "use", "refused/s")
    title = f"The {_SHOWN} nearest to a limit" if len(uses) > _SHOWN else ""
    return Table(columns, tuple(rows), title, right=columns[2:])


def _limit_of(use: Use, limits: Mapping[str, float]) -> float:
    from checks.limits import RUN_LIMIT, RUN_PATH, TENANT_LIMIT

    if use.path == RUN_PATH:
        return limits.get(RUN_LIMIT, 0.0)
    return 0.0 if use.path else limits.get(TENANT_LIMIT, 0.0)


def _setting_as_data(setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "value": setting.value,
        "in_force": [
            {"value": value, "revision": revision, "instances": count}
            for (value, revision), count in setting.values.items()
        ],
    }


def _use_as_data(use: Use) -> dict[str, Any]:
    return {
        "tenant": use.tenant,
        "path": use.path or None,
        "per_minute": round(use.per_minute, 2),
        "hits_per_second": round(use.hits_per_second, 4),
    }


@step(
    alerts=("RateLimitExceeded",),
    by_hand={
        "cloud_run": "gcloud logging read 'resource.type=cloud_run_revision"
        " AND resource.labels.service_name={service} AND resource.labels.location={region}"
        f" {_REFUSED_BY_HAND}",
        "kubernetes": "gcloud logging read 'resource.type=k8s_container"
        " AND resource.labels.namespace_name={namespace} AND resource.labels.location:{region}"
        f""" AND labels."k8s-pod/app"={{deployment}} {_REFUSED_BY_HAND}""",
    },
    original=("C55",),
    help={"platform": PLATFORM_HELP},
)
def rate_limited_tenants(_c: Context, platform: str = "") -> Report:
    """Tell of each limited tenant whether it is a legitimate spike or abuse, with the reasons."""
    from checks.limited import LogRange, judge_limited
    from checks.limits import read_settings, require_settings
    from checks.target import load_target
    from checks.traffic import query_rates

    target = load_target().on_platform(platform)
    in_force = require_settings(read_settings(target))
    log = LogRange(minutes=_MINUTES, entries=_READ_AT_MOST)
    found = judge_limited(target, query_rates(target), in_force, log, most=_JUDGED)
    cases, judged = found.cases, found.judged
    return Report(
        finding=_state_cases(cases, judged),
        level="bad" if judged else "good",
        evidence=(
            *(text for one in judged for text in (f"{one.tenant}, {one.verdict}:", *one.reasons)),
            *((_tabulate_cases(cases, judged),) if cases else ()),
            *found.notes,
        ),
        next_steps=tuple(command for one in judged for command in one.commands)
        or ("invoke assess.rate-limits",),
        data={
            "tenants": [_case_as_data(case, one) for case, one in zip(cases, judged, strict=True)],
            "notes": list(found.notes),
        },
    )


def _state_cases(cases: Sequence[Case], judged: Sequence[Judgement]) -> str:
    if not judged:
        return "No tenant meets a limit now."
    told = [
        f"{one.tenant} ({one.verdict}, {case.whole.hits_per_second:.1f} refused a second)"
        for case, one in zip(cases, judged, strict=True)
    ]
    return f"Limited: {', '.join(told)}."


def _tabulate_cases(cases: Sequence[Case], judged: Sequence[Judgement]) -> Table:
    rows = tuple(
        (
            case.tenant,
            one.verdict,
            f"{case.past.growth:.1f} x" if case.past.growth else "?",
            f"{case.top[1]:.0%} {case.top[0]}",
            f"{case.answered_share:.0%}",
            f"{case.whole.per_minute:.0f}",
            f"{case.whole.hits_per_second:.1f}",
        )
        for case, one in zip(cases, judged, strict=True)
    )
    columns = ("tenant", "verdict", "growth", "most asked", "answered", "asked/min", "refused/s")
    return Table(columns, rows, right=("growth", "answered", "asked/min", "refused/s"))


def _case_as_data(case: Case, judged: Judgement) -> dict[str, Any]:
    path, share = case.top
    return {
        "tenant": case.tenant,
        "verdict": judged.verdict,
        "reasons": list(judged.reasons),
        "commands": list(judged.commands),
        "growth": case.past.growth,
        "usual_per_second": case.past.before,
        "top_path": path,
        "top_share": round(share, 4),
        "answered_share": round(case.answered_share, 4),
        "per_minute": round(case.whole.per_minute, 2),
        "hits_per_second": round(case.whole.hits_per_second, 4),
        "limits_met": dict(case.logged.reasons),
        "sources": len(case.logged.sources),
    }
