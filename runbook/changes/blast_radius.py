"""Whom a change reaches: revisions or pods, instances and, when Prometheus tells, tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from checks.prometheus import query
from checks.traffic import query_rates, share_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.target import Target

_DEADLINE_S = 3.0
_INSTANCES = 'count(up{job="convergence-api"} == 1)'


def measure(target: Target, kind: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the names under their kind, such as `revisions`, with all instances and tenants.

    Numbers are None, with the reason under `unknown`, when Prometheus does not answer; `summary`
    is the same in one line.
    """
    radius: dict[str, Any] = {kind: list(names), "instances": None, "tenants": None}
    listed = ", ".join(names) or "none"
    try:
        radius["instances"] = _count(target, _INSTANCES)
        rates = query_rates(target, deadline_s=_DEADLINE_S)
        radius["tenants"] = len([s for s in share_by(rates, "tenant") if s.name])
    except RunbookError as error:
        radius["unknown"] = str(error)
        told = f"{kind} {listed}; instances and tenants unknown, for Prometheus does not answer"
        return radius | {"summary": told}
    told = f"{kind} {listed}; {radius['instances']} instances; {radius['tenants']} tenants"
    return radius | {"summary": told}


def _count(target: Target, promql: str) -> int:
    samples = query(target, promql, deadline_s=_DEADLINE_S)
    return int(samples[0].value) if samples else 0
