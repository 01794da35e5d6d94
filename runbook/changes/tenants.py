"""Who a tenant is before it is shut out: its traffic, its keys, and who would be left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.errors import RefusedError, RunbookError

if TYPE_CHECKING:
    from checks.target import Target
    from checks.traffic import Share

_DEADLINE_S = 5.0


def check_block(target: Target, tenant: str, *, force: bool) -> str:
    """Return how much of the traffic is the tenant's, in a sentence.

    Raises:
        RefusedError: It has neither traffic nor a key (`force` overrides that), or nobody would be
            left to serve.
    """
    shares, unread = _read_shares(target)
    keys, unread_keys = _read_owners(target)
    known = {share.name for share in shares} | keys
    if tenant not in known and not force:
        told = unread or unread_keys
        reason = f"could not be found, for {told}" if told else "has neither traffic nor a key"
        raise RefusedError(
            f"{tenant} {reason}. Nothing was changed.",
            next_step="invoke assess.rate-limited-tenants names them; --force blocks it anyway",
            subject=tenant,
        )
    blocked = _read_blocked(target)
    if known and not known - blocked - {tenant}:
        raise RefusedError(
            f"No tenant would be left: {tenant} is the last one that is served. Nothing was"
            " changed.",
            next_step="invoke mitigate.scale-up, or invoke mitigate.set-rate-limit",
            subject=tenant,
        )
    return _describe(tenant, shares) if not unread else f"How much it sends is unknown: {unread}"


def _describe(tenant: str, shares: list[Share]) -> str:
    everything = sum(share.per_second for share in shares)
    own = next((share.per_second for share in shares if share.name == tenant), 0.0)
    if own <= 0:
        return "It sends nothing now."
    return f"It sends {own:.1f} requests a second, {own / everything:.0%} of all."


def _read_shares(target: Target) -> tuple[list[Share], str]:
    from checks.traffic import query_rates, share_by

    try:
        rates = query_rates(target, deadline_s=_DEADLINE_S)
    except RunbookError as error:
        return [], str(error)
    return [share for share in share_by(rates, "tenant") if share.name], ""


def _read_owners(target: Target) -> tuple[set[str], str]:
    from checks.keys import read_keys

    try:
        return {key.tenant for key in read_keys(target, deadline_s=_DEADLINE_S)}, ""
    except RunbookError as error:
        return set(), str(error)


def _read_blocked(target: Target) -> set[str]:
    from checks.limits import read_blocked

    try:
        return set(read_blocked(target))
    except RunbookError:
        return set()
