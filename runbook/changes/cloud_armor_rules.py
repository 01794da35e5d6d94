"""Cloud Armor's policies and rules as plain data: read, named, compared and rendered.

Source: https://cloud.google.com/compute/docs/reference/rest/v1/securityPolicies
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checks.addresses import Network

DENY = "deny(403)"
EVERYWHERE = "*"


@dataclass(frozen=True)
class ArmorPatch:
    """Rules to be added, and rules to be removed as they are: each with policy and priority."""

    add: tuple[dict[str, Any], ...] = ()
    remove: tuple[dict[str, Any], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.add and not self.remove

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it."""
        return {"add": list(self.add), "remove": list(self.remove)}


@dataclass(frozen=True)
class Policy:
    """One security policy: its rules by priority."""

    name: str
    rules: Mapping[int, dict[str, Any]]

    def decides(self, network: Network) -> tuple[int, dict[str, Any]] | None:
        """Return the first rule that matches all of a range, or None; previews decide nothing."""
        for priority, rule in sorted(self.rules.items()):
            if not rule["preview"] and any(_covers(text, network) for text in rule["ranges"]):
                return priority, rule
        return None


@dataclass(frozen=True)
class Policies:
    """One reading of the project's policies, by name."""

    policies: Mapping[str, Policy]
    version: str = ""
    generation: int = 0

    def named(self, name: str) -> Policy:
        """Return the policy called so; raises UsageError."""
        if name in self.policies:
            return self.policies[name]
        raise UsageError(
            f"There is no security policy {name!r}. Nothing was changed.",
            next_step=f"name one of: {', '.join(self.policies) or 'none'}",
            subject=name,
        )

    def fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return rules by their field's name, None where there is none."""
        found: dict[str, Any] = {}
        for name in names:
            policy, priority = parse_field(name)
            rules = self.policies[policy].rules if policy in self.policies else {}
            found[name] = rules.get(priority)
        return found


def name_rule(policy: str, priority: int) -> str:
    """Return the name of a rule's field."""
    return f"rule {priority} of {policy}"


def parse_field(name: str) -> tuple[str, int]:
    """Return policy and priority of a field that `name_rule` named."""
    _, number, _, policy = name.split(" ", 3)
    return policy, int(number)


def make_rule(ranges: Sequence[str], description: str) -> dict[str, Any]:
    """Return a rule that denies these ranges, as the timeline keeps it."""
    return {
        "action": DENY,
        "ranges": list(ranges),
        "description": description,
        "preview": False,
    }


def render_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule and its priority as the API takes it."""
    return {
        "priority": rule["priority"],
        "action": rule["action"],
        "description": rule["description"],
        "preview": rule["preview"],
        "match": {"versionedExpr": "SRC_IPS_V1", "config": {"srcIpRanges": rule["ranges"]}},
    }


def describe_rule(rule: Mapping[str, Any] | None) -> str:
    """Return a rule in words."""
    if rule is None:
        return "none"
    what = ", ".join(rule["ranges"]) or "an expression"
    return f"{rule['action']} {what}{' (preview)' if rule['preview'] else ''}"


def parse_policy(raw: Mapping[str, Any]) -> Policy:
    """Return a policy of the API; raises KeyError, TypeError or ValueError for anything else."""
    rules = {int(rule["priority"]): _parse_rule(rule) for rule in raw.get("rules", [])}
    return Policy(str(raw["name"]), rules)


def _parse_rule(raw: Mapping[str, Any]) -> dict[str, Any]:
    config = (raw.get("match") or {}).get("config") or {}
    return {
        "action": str(raw["action"]),
        "ranges": [str(text) for text in config.get("srcIpRanges", [])],
        "description": str(raw.get("description", "")),
        "preview": bool(raw.get("preview", False)),
    }


def _covers(text: str, network: Network) -> bool:
    if text == EVERYWHERE:
        return True
    try:
        outer = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return (
        outer.version == network.version
        and outer.prefixlen <= network.prefixlen
        and network.network_address in outer
    )
