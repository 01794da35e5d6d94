"""Source addresses: what may be denied at the edge, and who else sends from there.

Sources: RFC 4291 (IPv6), and the ranges that Google's load balancers and health checks come from,
https://cloud.google.com/load-balancing/docs/health-checks#fw-rule
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from checks.errors import UsageError
from checks.http import DEADLINE_S
from checks.logs import edge_filter, quote, read_entries, service_filter
from checks.target import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checks.target import Target

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_SOURCES = 100
WIDEST = {4: 16, 6: 32}  # a shorter prefix shuts out whole providers
NEIGHBOURS = {4: 24, 6: 64}  # what one owner usually holds
LOAD_BALANCER = ("130.211.0.0/22", "35.191.0.0/16")
_MAX_TEXT = 60
_HOUR_MIN = 60.0
_READ_AT_MOST = 1000
_CLAUSES_AT_MOST = 100


class Obstacle(NamedTuple):
    """A reason not to deny a range; `forcible` ones give way to --force."""

    network: str
    why: str
    forcible: bool


@dataclass(frozen=True)
class User:
    """An address whose requests were answered well in the last hour, so it holds a good key.

    Attributes:
        requests: How many of the requests that were read came from it.
        tenants: The tenants that the service's own log names for it; often none, for the request
            log knows no tenant.
    """

    address: str
    requests: int
    tenants: tuple[str, ...]


def parse_sources(text: str) -> tuple[Network, ...]:
    """Return the addresses and ranges of a comma-separated list, none within another.

    Raises:
        UsageError: One is no address and no range in CIDR notation, or there are too many.
    """
    parts = text.split(",")
    if len(parts) > MAX_SOURCES:
        raise UsageError(
            f"{len(parts)} sources are too many for one change; at most {MAX_SOURCES}.",
            next_step="name the ranges that they share, or make several changes",
        )
    found = sorted({_parse_source(part) for part in parts}, key=_sort_key)
    return tuple(one for one in found if not any(_is_within(one, o) for o in found if o != one))


def find_obstacles(networks: Iterable[Network], target: Target) -> list[Obstacle]:
    """Return what speaks against denying these ranges at the edge of `target`, worst first."""
    found = [obstacle for network in networks for obstacle in _judge(network, target)]
    return sorted(found, key=lambda obstacle: obstacle.forcible)


def network_of(address: str) -> str:
    """Return the /24 or /64 that an address lies in; a text that is no address is itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, NEIGHBOURS[ip.version]), strict=False))


def is_address(text: str) -> bool:
    """Return whether `text` is one IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def lies_in(address: str, networks: Iterable[Network]) -> bool:
    """Return whether `address` is an address within one of the ranges."""
    return is_address(address) and any(
        ipaddress.ip_address(address) in network for network in networks
    )


def match_source(field: str, networks: Sequence[Network]) -> str:
    """Return the clause of the Logging query language that `field` lies in one of the ranges."""
    return " OR ".join(f"ip_in_net({field}, {quote(str(network))})" for network in networks)


def read_users(
    target: Target, networks: Sequence[Network], *, deadline_s: float = DEADLINE_S
) -> list[User]:
    """Return who got good answers of the API from these ranges in the last hour, most first.

    Of the newest thousand such requests; raises as `logs.read_entries`.
    """
    answered = edge_filter(
        target,
        answered_well(),
        match_source("httpRequest.remoteIp", networks[:_CLAUSES_AT_MOST]),
        minutes=_HOUR_MIN,
    )
    counts: dict[str, int] = {}
    for entry in read_entries(target, answered, _READ_AT_MOST, deadline_s=deadline_s):
        address = str(entry.request.get("remoteIp", ""))[:_MAX_TEXT]
        counts[address] = counts.get(address, 0) + 1
    if not counts:
        return []
    names = _read_names(target, networks, deadline_s)
    users = [User(one, count, tuple(sorted(names.get(one, ())))) for one, count in counts.items()]
    return sorted(users, key=lambda user: (-user.requests, user.address))


def answered_well() -> str:
    """Return the clause that the API, not a health check, answered a request with success."""
    return 'httpRequest.status<300 AND httpRequest.requestUrl:"/api/"'


def _read_names(
    target: Target, networks: Sequence[Network], deadline_s: float
) -> Mapping[str, set[str]]:
    """Return the tenants that the service's log names by address, refused keys' claims left out."""
    logged = service_filter(
        target,
        'jsonPayload.tenant_id:* AND NOT jsonPayload.message="authentication failed"',
        match_source("jsonPayload.source_ip", networks[:_CLAUSES_AT_MOST]),
        minutes=_HOUR_MIN,
    )
    names: dict[str, set[str]] = {}
    for entry in read_entries(target, logged, _READ_AT_MOST, deadline_s=deadline_s):
        address, tenant = entry.fields.get("source_ip"), entry.fields.get("tenant_id")
        if isinstance(address, str) and isinstance(tenant, str) and tenant:
            names.setdefault(address, set()).add(tenant[:_MAX_TEXT])
    return names


def _parse_source(text: str) -> Network:
    text = text.strip()
    if not text or len(text) > _MAX_TEXT or "%" in text:
        raise _no_source(text, "an address such as 203.0.113.7, or a range such as 203.0.113.0/24")
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise _no_source(text, _suggest(text)) from error
    if network.version == 6 and network.network_address.ipv4_mapped:  # noqa: PLR2004 - IPv6
        raise _no_source(text, f"its IPv4 form, {network.network_address.ipv4_mapped}")
    return network


def _suggest(text: str) -> str:
    try:
        return f"the range's first address: {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        return "an address such as 203.0.113.7, or a range such as 203.0.113.0/24"


def _no_source(text: str, wanted: str) -> UsageError:
    shown = repr(text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "...")
    told = f"{shown} is no address and no range." if text else "An empty text is no address."
    return UsageError(f"{told} Nothing was changed.", next_step=f"give --source {wanted}")


def _judge(network: Network, target: Target) -> list[Obstacle]:
    name = str(network)
    widest = WIDEST[network.version]
    if network.prefixlen < widest:
        return [Obstacle(name, f"it is wider than a /{widest}, which is never one attacker", False)]
    named = [(what, known) for what, ranges in target.known_addresses.items() for known in ranges]
    named += [("the load balancer and its health checks", known) for known in LOAD_BALANCER]
    named += [("this machine, from which you work", own) for own in _find_own(target)]
    found = [
        Obstacle(name, f"it holds {known}, known as: {what}", True)
        for what, known in named
        if _overlaps(network, ipaddress.ip_network(known))
    ]
    # Embedded staging is on loopback, so there alone such an address can be an attacker's.
    if not is_loopback(target.service_url) and not _is_public(network):
        found.append(
            Obstacle(name, "it is private or reserved: no client on the internet has it", True)
        )
    return found


def _find_own(target: Target) -> list[str]:
    """Return the address by which this machine reaches the service; nothing is sent for it."""
    parts = urlsplit(target.service_url)
    try:
        [(family, *_, place), *_] = socket.getaddrinfo(
            parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM
        )
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return [str(probe.getsockname()[0]).partition("%")[0]]
    except (OSError, ValueError):
        return []


def _is_public(network: Network) -> bool:
    return network.is_global and not network.is_multicast


def _overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def _sort_key(network: Network) -> tuple[int, int, int]:
    return (network.version, int(network.network_address), network.prefixlen)
