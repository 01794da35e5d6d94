"""The tenants that meet a limit now, and what each of them is up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks import limit_verdict, limits
from checks.errors import RunbookError
from checks.logs import quote, read_entries, service_filter
from checks.traffic import share_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.limits import Setting
    from checks.target import Target
    from checks.traffic import Rates


@dataclass(frozen=True)
class LogRange:
    """How far back refused requests are read, and how many of them at most."""

    minutes: float
    entries: int


@dataclass(frozen=True)
class Limited:
    """The limited tenants, most refused first, with a judgement of each.

    Attributes:
        notes: What could not be told, or was left out.
    """

    cases: tuple[limit_verdict.Case, ...] = ()
    judged: tuple[limit_verdict.Judgement, ...] = ()
    notes: tuple[str, ...] = ()


def judge_limited(
    target: Target, rates: Rates, in_force: Iterable[Setting], log: LogRange, *, most: int
) -> Limited:
    """Return what the `most` tenants with most refused requests are up to.

    `rates` are everybody's requests now, `in_force` the settings that the instances run with.

    Raises:
        RunbookError: Prometheus does not tell who is refused.
    """
    uses = limits.read_use(target)
    hit = [use.tenant for use in uses if not use.path and use.hits_per_second > 0]
    if not hit:
        return Limited()
    sizes = {share.name: share.per_second for share in share_by(rates, "tenant")}
    logged, notes = _read_log(target, log)
    if len(hit) > most:
        notes.append(f"Only the {most} most limited of {len(hit)} tenants were judged.")
    cases = tuple(
        limit_verdict.Case(
            tenant=tenant,
            uses=tuple(use for use in uses if use.tenant == tenant),
            rates=tuple(rate for rate in rates.rows if rate.tenant == tenant),
            past=limits.read_past(target, tenant),
            others=tuple(value for name, value in sizes.items() if name not in (tenant, "unknown")),
            logged=logged.get(tenant, limit_verdict.Logged()),
        )
        for tenant in hit[:most]
    )
    known = limit_verdict.make_limits({one.name: one for one in in_force})
    judged = tuple(limit_verdict.judge(case, known) for case in cases)
    return Limited(cases, judged, tuple(notes))


def _read_log(
    target: Target, log: LogRange
) -> tuple[Mapping[str, limit_verdict.Logged], list[str]]:
    clause = f"jsonPayload.message={quote(limit_verdict.MESSAGE)}"
    expression = service_filter(target, clause, minutes=log.minutes)
    try:
        entries = read_entries(target, expression, log.entries)
    except RunbookError as error:
        return {}, [f"Which limit was met is not known, for the logs were no help: {error}"]
    return limit_verdict.tally(entries), []
