"""Rules of a security policy: read from requests, shown in answers, and what they come to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staging.cloud_armor.errors import ComputeError, invalid, unknown_name, unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

DEFAULT_PRIORITY = 2**31 - 1
MOST_RANGES = 10
EVERYWHERE = "*"
ACTIONS = ("allow", "deny(403)", "deny(404)", "deny(502)")
_OTHER_ACTIONS = frozenset({"throttle", "rate_based_ban", "redirect", "redirect_to_recaptcha"})
_FIELDS = frozenset({"kind", "priority", "action", "description", "preview", "match"})
# Of the API, and not understood here.
_OTHER_FIELDS = frozenset(
    {
        *("headerAction", "networkMatch", "preconfiguredWafConfig"),
        *("rateLimitOptions", "redirectOptions"),
    }
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Rule:
    """One rule: which source addresses it is about, and what becomes of their requests."""

    priority: int
    action: str
    ranges: tuple[str, ...]
    description: str = ""
    preview: bool = False

    def render(self) -> dict[str, Any]:
        """Return the rule as the API shows it."""
        return {
            "kind": "compute#securityPolicyRule",
            "description": self.description,
            "priority": self.priority,
            "match": {
                "versionedExpr": "SRC_IPS_V1",
                "config": {"srcIpRanges": list(self.ranges)},
            },
            "action": self.action,
            "preview": self.preview,
        }

    def networks(self) -> list[Network]:
        """Return the address ranges; `*` is every address of both families."""
        if EVERYWHERE in self.ranges:
            return [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        return [ipaddress.ip_network(text) for text in self.ranges]


DEFAULT_RULE = Rule(
    DEFAULT_PRIORITY, "allow", (EVERYWHERE,), "Default rule, higher priority overrides it"
)


def read_rule(body: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Rule:
    """Return the rule of a request; what it leaves out comes from `base`, a rendered rule.

    Raises:
        ComputeError: a field is unknown, wrong or missing, or is not understood here.
    """
    _check_names(body, _FIELDS, "", _OTHER_FIELDS)
    given = {**(base or {}), **body}
    for name in ("priority", "match", "action"):
        if name not in given:
            raise ComputeError("required", f"Required field 'resource.{name}' not specified")
    ranges = _read_match(given["match"])
    priority = _read_priority(given["priority"])
    if priority == DEFAULT_PRIORITY and ranges != (EVERYWHERE,):
        field = "resource.match.config.srcIpRanges"
        raise invalid(field, ranges[0], "The default rule must match all addresses, as '*' does.")
    return Rule(
        priority=priority,
        action=_read_action(given["action"]),
        ranges=ranges,
        description=_read_text(given.get("description", "")),
        preview=_read_preview(given.get("preview", False)),
    )


def clear_fields(rendered: Mapping[str, Any], mask: str) -> dict[str, Any]:
    """Return a rendered rule without the fields that an `updateMask` names, in either spelling.

    gcloud names those of other actions with each change of the action; here they are never set.
    Raises ComputeError for a field that cannot be cleared.
    """
    cleared = dict(rendered)
    for path in filter(None, mask.split(",")):
        first, *rest = path.strip().partition(".")[0].split("_")
        name = first + "".join(part.capitalize() for part in rest)
        if name not in {*_OTHER_FIELDS, "description", "preview"}:
            raise invalid("updateMask", path, "This field cannot be cleared.")
        cleared.pop(name, None)
    return cleared


def decide(rules: Sequence[Rule]) -> dict[str, str]:
    """Return address range → `<status or allow>:<priority>` for a look-up by the longest range.

    Rules count in the order of their priority, the first that matches decides, and a preview
    decides nothing. For addresses that lie in a range and in no smaller one, exactly those rules
    match that have a range around it: so the longest range can carry the whole answer.
    """
    enforced = sorted((rule for rule in rules if not rule.preview), key=lambda one: one.priority)
    networks = [(network, rule) for rule in enforced for network in rule.networks()]
    return {
        str(network): next(
            f"{_status(rule)}:{rule.priority}"
            for around, rule in networks
            if _contains(around, network)
        )
        for network, _ in networks
    }


def _contains(around: Network, network: Network) -> bool:
    return around.prefixlen <= network.prefixlen and network.network_address in around


def _status(rule: Rule) -> str:
    return "allow" if rule.action == "allow" else rule.action[5:8]


def _check_names(
    message: object, known: Collection[str], path: str, others: Collection[str] = ()
) -> None:
    if not isinstance(message, dict):
        raise ComputeError("invalid", f"Invalid value at '{path}': an object is expected.")
    for name in message:
        if name in others:
            raise unsupported(f"{path}.{name}" if path else name)
        if name not in known:
            raise unknown_name(name, path)


def _read_match(match: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    _check_names(match, {"versionedExpr", "config"}, "match", {"expr", "exprOptions"})
    version = match.get("versionedExpr")
    if version != "SRC_IPS_V1":
        raise invalid("resource.match.versionedExpr", version or "", "It must be SRC_IPS_V1.")
    config = match.get("config", {})
    _check_names(config, {"srcIpRanges"}, "match.config")
    field, ranges = "resource.match.config.srcIpRanges", config.get("srcIpRanges")
    if not isinstance(ranges, list) or not ranges:
        raise invalid(field, "", "At least one source IP range must be given.")
    if len(ranges) > MOST_RANGES:
        why = f"There are {len(ranges)} source IP ranges; at most {MOST_RANGES} are allowed."
        raise invalid(field, ",".join(map(str, ranges)), why)
    if EVERYWHERE in ranges and len(ranges) > 1:
        raise invalid(field, EVERYWHERE, "'*' cannot stand beside other ranges.")
    for text in ranges:
        _check_range(text, field)
    return tuple(ranges)


def _check_range(text: object, field: str) -> None:
    try:
        # `ip_network` would take a number for an address.
        valid = isinstance(text, str) and (text == EVERYWHERE or bool(ipaddress.ip_network(text)))
    except ValueError:
        valid = False
    if not valid:
        raise invalid(field, text, "It must be an IP address or a CIDR range, or '*' for all.")


def _read_priority(value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, str) and re.fullmatch(r"-?\d{1,20}", value, re.ASCII)):
        raise ComputeError("invalid", f"Invalid value at 'priority' (TYPE_INT32), {value}")
    number = int(str(value))
    if not -(2**31) <= number < 2**31:
        raise ComputeError("invalid", f"Invalid value at 'priority' (TYPE_INT32), {value}")
    if number < 0:
        raise invalid("resource.priority", number, "Must be greater than or equal to 0")
    return number


def _read_action(value: object) -> str:
    if value in _OTHER_ACTIONS:
        raise unsupported(f"the action {value}")
    if not isinstance(value, str) or value not in ACTIONS:
        raise invalid("resource.action", value, f"It must be one of {', '.join(ACTIONS)}.")
    return value


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ComputeError("invalid", f"Invalid value at 'description' (TYPE_STRING), {value}")
    return value


def _read_preview(value: object) -> bool:
    if not isinstance(value, bool):
        raise ComputeError("invalid", f"Invalid value at 'preview' (TYPE_BOOL), {value}")
    return value
