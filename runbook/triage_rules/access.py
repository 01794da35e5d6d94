"""PotentialBruteForce, HighAuthFailureRate and RateLimitExceeded: whom the door turns away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbook.triage_rules.verdict import Advice, State, name_some

if TYPE_CHECKING:
    from checks.rules import AlertRule
    from checks.target import Target
    from runbook.triage_probes import Snapshot

_SOURCES = "invoke assess.auth-sources"
_TENANTS = "invoke assess.rate-limited-tenants"
_OFTEN = 3


class AuthFailures:
    """Keys are refused: over all tenants, or of one."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether two scrapes counted more refused keys a second than the threshold."""
        if found.rates is None or found.rates.signs is None:
            return "unknown"
        rates = found.rates.signs.auth_failures
        now = max(rates.values(), default=0.0) if _is_per_tenant(rule) else sum(rates.values())
        return "seen" if now > (rule.threshold or 0.0) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:  # noqa: ARG002 - a Judge's
        """Return whose keys are refused or guessed."""
        if not found.auth_parts:
            return "unknown: nobody could tell whose keys"
        part = found.auth_parts[0]
        if not part.tenants:
            return "nobody that is known: the keys name no tenant"
        many = len(part.tenants) > 1
        who = f"{len(part.tenants)} tenants" if many else "one tenant"
        told = f"{who}: {name_some(list(part.tenants))}"
        return f"{told}, whose own clients are refused" if part.is_accident else told

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:  # noqa: ARG002 - a Judge's
        """Return what lies behind the refused keys, largest first, with its reasons."""
        told = []
        if found.auth_failures_recent is not None:
            told.append(f"{found.auth_failures_recent:.1f} keys a second are refused now.")
        for part in found.auth_parts:
            told.append(f"{part.cause}: {part.count} refused keys, {part.addresses} addresses.")
            told += part.reasons
        return tuple(told)

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether fewer keys than the threshold were refused in the last two minutes."""
        now = found.auth_failures_recent
        return now is not None and now <= (rule.threshold or 0.0)

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return the command against the largest cause."""
        if not found.auth_parts:
            why = found.silent.get("refused keys")
            told = f" ({why})" if why else ""
            return Advice(_SOURCES, f"Whose keys are refused nobody could tell{told}: look there.")
        part, *others = found.auth_parts
        told = f"{part.cause[:1].upper()}{part.cause[1:]}: {' '.join(part.reasons[:_OFTEN])}"
        if others:
            told += f" Beside it: {', '.join(f'{o.cause} ({o.command})' for o in others)}."
        return Advice(part.command, told, f"{part.cause} by {', '.join(part.sources)}")


class RateLimited:
    """Requests are refused by a rate limit."""

    def see(self, rule: AlertRule, found: Snapshot) -> State:
        """Return whether two scrapes counted more refused requests a second than the threshold."""
        if found.rates is None or found.rates.signs is None:
            return "unknown"
        now = found.rates.signs.limit_hits_per_second
        return "seen" if now > (rule.threshold or 0.0) else "quiet"

    def describe_hits(self, rule: AlertRule, found: Snapshot) -> str:  # noqa: ARG002 - a Judge's
        """Return who meets the limit."""
        names = [one.tenant for one in found.limited]
        if not names:
            return "unknown: nobody could tell which tenants"
        return f"{'one tenant' if len(names) == 1 else f'{len(names)} tenants'}: {name_some(names)}"

    def collect_evidence(self, rule: AlertRule, found: Snapshot) -> tuple[str, ...]:  # noqa: ARG002 - a Judge's
        """Return what each limited tenant is up to, with the reasons."""
        told = []
        if found.limit_hits_recent is not None:
            told.append(f"{found.limit_hits_recent:.1f} requests a second are refused now.")
        for one in found.limited:
            told.append(f"{one.tenant}: {one.verdict}.")
            told += one.reasons
        return tuple(told)

    def has_receded(self, rule: AlertRule, found: Snapshot) -> bool:
        """Return whether fewer requests than the threshold were refused in the last two minutes."""
        now = found.limit_hits_recent
        return now is not None and now <= (rule.threshold or 0.0)

    def advise(self, rule: AlertRule, since: str, target: Target, found: Snapshot) -> Advice:  # noqa: ARG002 - a Judge's
        """Return a higher limit for a tenant's growth, a block for abuse, or where to look."""
        if not found.limited:
            why = found.silent.get("limited tenants")
            told = f" ({why})" if why else ""
            return Advice(_TENANTS, f"Who meets the limit nobody could tell{told}: look there.")
        first = found.limited[0]
        told = f"{first.tenant}: {first.verdict}. {' '.join(first.reasons[:_OFTEN])}"
        if first.verdict == "unclear" or not first.commands:
            return Advice(_TENANTS, f"{told} That can be either: look closer.")
        return Advice(first.commands[0], told, f"{first.verdict} of {first.tenant}")


def _is_per_tenant(rule: AlertRule) -> bool:
    return "by (tenant_id)" in rule.expression
