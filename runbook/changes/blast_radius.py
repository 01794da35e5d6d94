"""Whom a change reaches: revisions and instances and, when Prometheus tells, tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.prometheus import query
from checks.traffic import query_rates, share_by

if TYPE_CHECKING:
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.state import State

_DEADLINE_S = 3.0
_INSTANCES = 'count(up{job="convergence-api"} == 1)'


def find_blast_radius(target: Target, state: State, plan: Plan) -> dict[str, Any]:
    """Return revisions that gain or lose requests, and how many instances and tenants they have.

    Numbers are None, with the reason under `unknown`, when Prometheus does not answer.
    """
    revisions = list(state.serving)
    if plan.patch.revision and plan.patch.revision not in revisions:
        revisions.append(plan.patch.revision)
    for share in plan.patch.traffic or []:
        name = state.latest_ready if share["revision"] == "LATEST" else share["revision"]
        if share["percent"] and name not in revisions:
            revisions.append(name)
    radius: dict[str, Any] = {"revisions": revisions, "instances": None, "tenants": None}
    try:
        radius["instances"] = _count(target, _INSTANCES)
        rates = query_rates(target, deadline_s=_DEADLINE_S)
        radius["tenants"] = len([s for s in share_by(rates, "tenant") if s.name])
    except RunbookError as error:
        radius["unknown"] = str(error)
    return radius


def describe(radius: dict[str, Any]) -> str:
    """Return the blast radius in one line."""
    names = ", ".join(radius["revisions"]) or "none"
    if "unknown" in radius:
        return f"revisions {names}; instances and tenants unknown, for Prometheus does not answer"
    return f"revisions {names}; {radius['instances']} instances; {radius['tenants']} tenants"


def _count(target: Target, promql: str) -> int:
    samples = query(target, promql, deadline_s=_DEADLINE_S)
    return int(samples[0].value) if samples else 0
