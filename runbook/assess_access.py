"""Assess who is let in: refused keys and where they come from, and the keys by tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbook.assess import PLATFORM_HELP
from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from invoke.context import Context

    from checks.auth import Failures
    from checks.auth_verdict import Part
    from checks.keys import TenantKeys
    from checks.target import Target

_SHOWN = 8
_MAX_MINUTES = 7 * 24 * 60
_MAX_ENTRIES = 20_000
_FAILURES_BY_HAND = (
    'AND jsonPayload.message="authentication failed"\' --project={project}'
    " --freshness={minutes}m --limit={limit} --format='csv[no-heading](jsonPayload.source_ip,"
    "jsonPayload.tenant_id,jsonPayload.error_type,jsonPayload.key_prefix)'"
)


@step(
    alerts=("HighAuthFailureRate", "PotentialBruteForce"),
    by_hand={
        "cloud_run": "gcloud logging read 'resource.type=cloud_run_revision"
        " AND resource.labels.service_name={service} AND resource.labels.location={region}"
        f" {_FAILURES_BY_HAND}",
        "kubernetes": "gcloud logging read 'resource.type=k8s_container"
        " AND resource.labels.namespace_name={namespace} AND resource.labels.location:{region}"
        f""" AND labels."k8s-pod/app"={{deployment}} {_FAILURES_BY_HAND}""",
    },
    original=("C36", "C37"),
    help={
        "minutes": "How far back to look, in minutes of real time.",
        "limit": "Read at most this many failures, newest first.",
        "platform": PLATFORM_HELP,
    },
)
def auth_sources(
    _c: Context, minutes: int = 15, limit: int = _MAX_ENTRIES, platform: str = ""
) -> Report:
    """Tell who is refused and why: brute force, a key rollout gone wrong, or expired keys.

    Every failure of the time is counted by address, network, tenant and key prefix.
    """
    from checks.auth import find_breaches, read_failures
    from checks.auth_verdict import judge
    from checks.inputs import check_count
    from checks.target import load_target

    check_count("--minutes", minutes, minimum=1, maximum=_MAX_MINUTES)
    check_count("--limit", limit, minimum=1, maximum=_MAX_ENTRIES)
    target = load_target().on_platform(platform)
    found = read_failures(target, minutes, limit)
    expired, notes = _find_expired(target, found)
    parts = judge(found.sources, checked=found.checked, expired=expired)
    breaches = find_breaches(target, found.sources[:_SHOWN], minutes) if found.checked else {}
    notes += [*found.notes, *_tell_breaches(breaches)]
    return Report(
        finding=_state_failures(found, parts, minutes),
        level="bad" if parts and _is_high(found) else "warn" if parts else "good",
        evidence=(
            *(reason for part in parts for reason in _tell_part(part, parts)),
            *(_tabulate_failures(found) if parts else ()),
            *notes,
        ),
        next_steps=tuple(part.command for part in parts) or ("invoke assess",),
        data=_failures_as_data(found, parts, minutes) | {"breaches": breaches, "notes": notes},
    )


def _find_expired(target: Target, found: Failures) -> tuple[frozenset[str] | None, list[str]]:
    from checks.errors import RunbookError
    from checks.keys import read_keys, summarise_keys

    if not found.reasons["expired_key"]:
        return None, []
    try:
        listed = summarise_keys(read_keys(target))
    except RunbookError as error:
        return None, [f"The key table was no help: {error}"]
    return frozenset(one.tenant for one in listed if one.expired and not one.usable), []


def _is_high(found: Failures) -> bool:
    from checks.rules import find_alert_rule

    threshold = find_alert_rule("HighAuthFailureRate").threshold or 0.0
    return found.per_second is None or found.per_second > threshold


def _state_failures(found: Failures, parts: Sequence[Part], minutes: int) -> str:
    if not parts:
        return f"No key was refused in the last {minutes} minutes."
    told = f"{found.count:,} refused keys in the last {minutes} minutes"
    if found.per_second is not None:
        told += f", {found.per_second:.1f} a second now"
    if len(parts) > 1:
        return f"Mixed, {' and '.join(part.cause for part in parts)}: {told}."
    [part] = parts
    whose = part.tenants if part.is_accident else part.sources
    who = ", ".join(whose[:3]) + (" and others" if len(whose) > 3 else "")  # noqa: PLR2004
    share = part.count / found.read
    return f"{part.cause.capitalize()}: {told}, {share:.0%} of them {part.preposition} {who}."


def _tell_part(part: Part, parts: Sequence[Part]) -> list[str]:
    if len(parts) == 1:
        return list(part.reasons)
    return [f"{part.cause.capitalize()} ({part.count:,}):", *part.reasons]


def _tell_breaches(breaches: Mapping[str, int]) -> list[str]:
    return [
        f"Look at once: {address} had {count} good answers from the API since its first refused"
        " key. It may have found a key that opens."
        for address, count in breaches.items()
    ]


def _tabulate_failures(found: Failures) -> tuple[Table, ...]:
    rows = tuple(
        (
            source.address or "(none)",
            f"{source.count:,}",
            _name_top(source.tenants),
            str(len(source.prefixes)),
            _name_top(source.reasons),
            source.first[:19],
            source.last_good[:19] or "never",
        )
        for source in found.sources[:_SHOWN]
    )
    columns = (
        "address",
        "failures",
        "tenants",
        "key prefixes",
        "reason",
        "first",
        "last good before",
    )
    count = len(found.sources)
    title = f"The {_SHOWN} busiest of {count:,} addresses" if count > _SHOWN else ""
    return (
        Table(columns, rows, title, right=("failures", "key prefixes")),
        _tabulate_counts("network", found.networks),
        _tabulate_counts("tenant claimed", found.tenants),
        _tabulate_counts("key prefix", found.prefixes),
    )


def _tabulate_counts(name: str, counts: Counter[str]) -> Table:
    rows = tuple((text or "(none)", f"{n:,}") for text, n in counts.most_common(_SHOWN))
    title = f"The {_SHOWN} most of {len(counts):,}" if len(counts) > _SHOWN else ""
    return Table((name, "failures"), rows, title, right=("failures",))


def _name_top(counts: Counter[str]) -> str:
    [(name, _)] = counts.most_common(1)
    return (name or "(none)") if len(counts) == 1 else f"{len(counts)}, most {name or '(none)'}"


def _failures_as_data(found: Failures, parts: Sequence[Part], minutes: int) -> dict[str, Any]:
    return {
        "minutes": minutes,
        "failures": found.count,
        "read": found.read,
        "complete": found.complete,
        "per_second": found.per_second,
        "causes": [part.cause for part in parts],
        "parts": [part.as_data() for part in parts],
        "sources": [
            {
                "address": source.address,
                "failures": source.count,
                "tenants": dict(source.tenants.most_common(_SHOWN)),
                "key_prefixes": len(source.prefixes),
                "reasons": dict(source.reasons),
                "first": source.first,
                "last": source.last,
                "last_good_before": source.last_good or None,
            }
            for source in found.sources
        ],
        "networks": dict(found.networks.most_common()),
        "tenants": dict(found.tenants.most_common()),
        "key_prefixes": dict(found.prefixes.most_common(_SHOWN)),
        "totals": found.totals,
    }


@step(
    alerts=("HighAuthFailureRate", "PotentialBruteForce"),
    by_hand="bq query --project_id={project} --use_legacy_sql=false --format=json --max_rows=1000"
    " 'SELECT tenant_id, COUNT(*) AS key_count FROM `metadata.x_meta_api_keys`"
    " WHERE is_active = true GROUP BY tenant_id'",
    original=("C38",),
    help={"tenant": "Show this tenant's keys alone."},
)
def api_keys(_c: Context, tenant: str | None = None) -> Report:
    """Show each tenant's API keys: usable, expired, about to expire, and when last issued."""
    from checks.inputs import check_tenant
    from checks.keys import read_keys, summarise_keys
    from checks.target import load_target

    named = "" if tenant is None else check_tenant(tenant)
    target = load_target()
    listed = summarise_keys(read_keys(target, named))
    without = [one.tenant for one in listed if not one.usable]
    soon = [one.tenant for one in listed if one.expiring]
    commands = _issue_commands(without, soon)
    return Report(
        finding=_state_keys(listed, without, soon, named),
        level="bad" if without or not listed else "warn" if soon else "good",
        evidence=(_tabulate_keys(listed),) if listed else (),
        next_steps=commands or ("invoke assess.auth-sources",),
        data={
            "tenants": [one.as_data() for one in listed],
            "without_usable": without,
            "expiring": soon,
        },
    )


def _issue_commands(without: Sequence[str], soon: Sequence[str]) -> tuple[str, ...]:
    from checks.inputs import is_tenant

    groups = [[name for name in group if is_tenant(name)] for group in (without, soon)]
    return tuple(f"invoke mitigate.issue-api-key --tenants={','.join(g)}" for g in groups if g)


def _state_keys(
    listed: Sequence[TenantKeys], without: Sequence[str], soon: Sequence[str], named: str
) -> str:
    if not listed:
        return f"There is no key of {named}." if named else "The key table is empty."
    told = f"{len(listed)} tenants have keys, {sum(one.usable for one in listed)} usable ones."
    if without:
        told += f" No usable key: {', '.join(without)}."
    if soon:
        told += f" Expiring within 7 days: {', '.join(soon)}."
    return told


def _tabulate_keys(listed: Sequence[TenantKeys]) -> Table:
    return Table(
        ("tenant", "usable", "expired", "inactive", "expiring", "last issued", "next to expire"),
        tuple(
            (
                one.tenant,
                str(one.usable),
                str(one.expired),
                str(one.inactive),
                str(one.expiring),
                f"{one.last_issued:%Y-%m-%d %H:%M}",
                f"{one.next_expiry:%Y-%m-%d %H:%M}" if one.next_expiry else "-",
            )
            for one in listed
        ),
        right=("usable", "expired", "inactive", "expiring"),
    )
