"""Tells attack from accident: what lies behind refused keys, with the evidence."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from checks.addresses import is_address, network_of
from checks.auth import seconds_between
from checks.inputs import is_tenant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from checks.auth import Source

Cause = Literal[
    "brute force",
    "distributed brute force",
    "key rollout gone wrong",
    "expired keys",
    "deactivated keys",
]
# A rule of Cloud Armor holds ten ranges; beyond that a limit for each address is the better door.
FEW_SOURCES = 8
OWN_PREFIXES = 5  # a client tries the keys that it was given, an attacker one after the other
_ONE_TENANT = 0.95
_MOST = 0.9
_NOTABLE = 0.15
_TOGETHER = 3
AUTH_LIMIT_PER_MINUTE = 6
_ACCIDENTS: dict[str, Cause] = {
    "expired_key": "expired keys",
    "inactive_key": "deactivated keys",
}


@dataclass(frozen=True)
class Part:
    """One cause and what it accounts for.

    Attributes:
        count: Failures of it, of those read.
        sources: Its addresses, or the ranges that hold them, most failures first.
        addresses: How many addresses it comes from.
        tenants: The tenants that it claims, most first.
        reasons: The evidence, in sentences.
        command: The command that mends it.
    """

    cause: Cause
    count: int
    sources: tuple[str, ...]
    addresses: int
    tenants: tuple[str, ...]
    reasons: tuple[str, ...]
    command: str

    @property
    def is_accident(self) -> bool:
        """Whether tenants' own clients are refused, and nobody attacks."""
        return not self.cause.endswith("brute force")

    @property
    def preposition(self) -> str:
        """Whether failures are `of` tenants or come `from` addresses."""
        return "of" if self.is_accident else "from"

    def as_data(self) -> dict[str, Any]:
        """Return the part as `--json` gives it."""
        return asdict(self)


def judge(
    sources: Sequence[Source], *, checked: bool = True, expired: Collection[str] | None = None
) -> tuple[Part, ...]:
    """Return the causes, the largest first; more than one means that the case is mixed.

    Args:
        sources: The failures by address.
        checked: Whether `last_good` could be read; otherwise the keys alone decide.
        expired: Tenants whose every key has expired by the key table; None when unknown.
    """
    total = sum(source.count for source in sources)
    own_prefixes = _find_own_prefixes(sources)
    own: dict[Cause, list[Source]] = {}
    strangers = []
    for source in sources:
        if _is_own(source, own_prefixes, checked=checked):
            reason = source.reasons.most_common(1)[0][0]
            own.setdefault(_ACCIDENTS.get(reason, "key rollout gone wrong"), []).append(source)
        else:
            strangers.append(source)
    parts = [_describe_accident(cause, found, expired) for cause, found in own.items()]
    if strangers:
        parts.append(_describe_attack(strangers, sources, checked=checked))
    parts.sort(key=lambda part: -part.count)
    return tuple(part for part in parts if part is parts[0] or part.count >= _NOTABLE * total)


def _find_own_prefixes(sources: Sequence[Source]) -> frozenset[str]:
    known = (s for s in sources if s.last_good and len(s.prefixes) <= OWN_PREFIXES)
    return frozenset(prefix for source in known for prefix in source.prefixes if prefix)


def _is_own(source: Source, own_prefixes: frozenset[str], *, checked: bool) -> bool:
    """Return whether it looks like a tenant's own client: one tenant, few keys, known before.

    A key that the service once issued, or one that a known client tries too, speaks for a client
    as well: tenants get new addresses.
    """
    [(tenant, count)] = source.tenants.most_common(1)
    if not is_tenant(tenant) or count < _ONE_TENANT * source.count:
        return False
    if len(source.prefixes) > OWN_PREFIXES:
        return False
    [(reason, _)] = source.reasons.most_common(1)
    issued_once = reason in _ACCIDENTS
    return bool(source.last_good) or issued_once or _is_shared(source, own_prefixes, checked)


def _is_shared(source: Source, own_prefixes: frozenset[str], checked: bool) -> bool:
    return not checked or bool(own_prefixes.intersection(source.prefixes))


def _describe_accident(
    cause: Cause, sources: Sequence[Source], expired: Collection[str] | None
) -> Part:
    count = sum(source.count for source in sources)
    tenants = _most_first(sources)
    known = [source for source in sources if source.last_good]
    prefixes = {prefix for source in sources for prefix in source.prefixes}
    tried = _count(prefixes, "key prefix", "key prefixes")
    reasons = [
        f"{len(known)} of {len(sources)} addresses had good answers before; each names one tenant.",
        f"{tried} for {_count(tenants, 'tenant', 'tenants')}: clients that repeat a key.",
    ]
    if cause == "expired keys":
        reasons.append("The service says why: expired_key.")
        reasons += _tell_expiry(tenants, expired)
    elif cause == "deactivated keys":
        reasons.append("The service says why: inactive_key; somebody deactivated these keys.")
    else:
        reasons.append("The service knows none of these keys (unknown_key).")
        reasons += _tell_onset(sources)
    return Part(
        cause,
        count,
        tuple(source.address for source in sources),
        len(sources),
        tenants,
        tuple(reasons),
        f"invoke mitigate.issue-api-key --tenants={','.join(tenants)}",
    )


def _tell_expiry(tenants: Sequence[str], expired: Collection[str] | None) -> list[str]:
    if expired is None:
        return []
    confirmed = [tenant for tenant in tenants if tenant in expired]
    if confirmed:
        return [f"By the key table every key of {', '.join(confirmed)} has expired."]
    return ["By the key table these tenants have another key that is good: they use the old one."]


def _tell_onset(sources: Sequence[Source]) -> list[str]:
    first = min(source.first for source in sources)
    spread = seconds_between(first, max(source.first for source in sources))
    if len(sources) == 1:
        return [f"It began at {first[:19]}Z."]
    return [f"It began at once: the first failures lie {spread:.0f} s apart, from {first[:19]}Z."]


def _describe_attack(
    strangers: Sequence[Source], everybody: Sequence[Source], *, checked: bool
) -> Part:
    count = sum(source.count for source in strangers)
    heavy = _find_heavy(strangers, count)
    known = {network_of(source.address) for source in everybody if source.last_good}
    blockable = _gather(heavy, known)
    few = bool(blockable) and len(blockable) <= FEW_SOURCES
    tenants = _most_first(strangers)
    reasons = _tell_attack(strangers, heavy, count, tenants, checked=checked)
    if few:
        command = f"invoke mitigate.block-ip --source={','.join(blockable)}"
    else:
        command = (
            "invoke mitigate.set-rate-limit"
            f" --auth-failures-per-minute={AUTH_LIMIT_PER_MINUTE} --for=60m"
        )
        reasons.append(
            f"{len(heavy)} addresses in {len(_networks(heavy))} networks are too many to deny one"
            " by one; a limit on each address's failures stops them all, and no tenant."
        )
    cause: Cause = "brute force" if few else "distributed brute force"
    named = blockable if few else [source.address for source in heavy]
    return Part(cause, count, tuple(named), len(strangers), tenants, tuple(reasons), command)


def _tell_attack(
    strangers: Sequence[Source],
    heavy: Sequence[Source],
    count: int,
    tenants: Sequence[str],
    *,
    checked: bool,
) -> list[str]:
    share = sum(source.count for source in heavy) / count
    prefixes = {prefix for source in strangers for prefix in source.prefixes}
    claimed: Counter[str] = sum((source.tenants for source in strangers), Counter())
    [(most, most_count)] = claimed.most_common(1)
    reasons = [
        f"{_count(heavy, 'address', 'addresses')} made {share:.0%} of it.",
        f"{_count(prefixes, 'key prefix was', 'different key prefixes were')} tried.",
    ]
    if most_count >= _MOST * count and is_tenant(most):
        reasons.append(f"{most_count / count:.0%} of it is aimed at one tenant, {most}.")
    else:
        reasons.append(f"It is spread over {_count(tenants, 'tenant', 'tenants')}.")
    known = sum(1 for source in strangers if source.last_good)
    if checked and not known:
        reasons.append("Nothing from there had a good answer of the API before.")
    elif checked:
        reasons.append(f"{known} of them had good answers before, and now try many keys.")
    return reasons


def _find_heavy(strangers: Sequence[Source], count: int) -> list[Source]:
    """Return the fewest addresses that make up nine tenths of the failures."""
    heavy: list[Source] = []
    seen = 0
    for source in strangers:
        heavy.append(source)
        seen += source.count
        if seen >= _MOST * count:
            break
    return heavy


def _gather(heavy: Sequence[Source], known: Collection[str]) -> list[str]:
    """Return the addresses to deny, three or more neighbours as their network.

    A network with an address that had good answers before is not gathered.
    """
    sizes = Counter(network_of(source.address) for source in heavy)
    found: dict[str, None] = {}
    for source in heavy:
        if not is_address(source.address):
            continue
        network = network_of(source.address)
        gathered = sizes[network] >= _TOGETHER and network not in known
        found[network if gathered else str(ipaddress.ip_address(source.address))] = None
    return list(found)


def _networks(sources: Sequence[Source]) -> set[str]:
    return {network_of(source.address) for source in sources}


def _most_first(sources: Sequence[Source]) -> tuple[str, ...]:
    counts: Counter[str] = sum((source.tenants for source in sources), Counter())
    return tuple(name for name, _ in counts.most_common() if is_tenant(name))


def _count(things: Collection[object], one: str, many: str) -> str:
    return f"{len(things):,} {one if len(things) == 1 else many}"
