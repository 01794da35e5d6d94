"""Works out which rules deny a source, and how they are taken back; nothing here writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checks.errors import ConcurrentChangeError, RefusedError, UsageError
from runbook.changes.cloud_armor_rules import (
    ArmorPatch,
    Policies,
    Policy,
    describe_rule,
    make_rule,
    name_rule,
    parse_field,
)
from runbook.changes.plan import Plan
from runbook.timeline import UNDO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.addresses import Network
    from checks.target import Target
    from runbook.timeline import Change

RANGES_PER_RULE = 10  # Cloud Armor's own limit for a rule with SRC_IPS_V1
FIRST_PRIORITY = 1000
LAST_PRIORITY = 2_147_483_646  # the one after it is the default rule's
_ALLOWED = (
    "Rule {priority} of {policy} decides about {network} first: {rule}. One with a higher number"
    " would have no effect."
)


@dataclass(frozen=True)
class Block:
    """What a responder asked to deny.

    Attributes:
        priority: The rule's number; 0 takes the first free ones from 1000 up.
        policy: The policy's name; "" is the target's own.
        expires_at: When it is to be taken back, RFC 3339; "" for no end.
    """

    networks: tuple[Network, ...]
    priority: int = 0
    policy: str = ""
    expires_at: str = ""


def plan_block(
    target: Target,
    policies: Policies,
    block: Block,
    *,
    change: str,
    warnings: Sequence[str] = (),
) -> Plan:
    """Return the plan that denies these ranges; those that are denied already are left out.

    Raises:
        UsageError: There is no such policy, or no rule can have the priority.
        RefusedError: The priority is taken, or another rule would decide first.
    """
    policy = policies.named(block.policy or target.security_policy)
    networks = block.networks
    denied = {network: rule for network in networks if (rule := _find_denial(policy, network))}
    wanted = [network for network in networks if network not in denied]
    listed = ", ".join(map(str, networks))
    if not wanted:
        in_force = {
            name_rule(policy.name, n): policy.rules[n] for n in sorted(set(denied.values()))
        }
        return _plan(target, change, in_force, in_force, f"Deny {listed} with 403.")
    rules = _make_rules(policy, wanted, block.priority, f"runbook {change}: denied in an incident")
    numbers = ", ".join(str(parse_field(name)[1]) for name in rules)
    known = [f"{one} is denied already, by rule {rule}." for one, rule in denied.items()]
    return _plan(
        target,
        change,
        dict.fromkeys(rules),
        rules,
        f"Deny {', '.join(map(str, wanted))} with 403 at the edge, by rule {numbers} of"
        f" {policy.name}.",
        expires_at=block.expires_at,
        warnings=(*warnings, *known),
    )


def _make_rules(
    policy: Policy, networks: Sequence[Network], priority: int, description: str
) -> dict[str, Any]:
    groups = [networks[i : i + RANGES_PER_RULE] for i in range(0, len(networks), RANGES_PER_RULE)]
    priorities = find_priorities(policy, len(groups), priority)
    _refuse_useless(policy, networks, priorities[-1])
    return {
        name_rule(policy.name, number): make_rule([str(one) for one in group], description)
        for number, group in zip(priorities, groups, strict=True)
    }


def plan_undo(
    target: Target, policies: Policies, change: Change, overwritten: Iterable[str]
) -> Plan:
    """Return the plan that removes the rules that `change` added, and no other.

    Raises:
        ConcurrentChangeError: Another rule stands in the place of one of them.
    """
    names = [name for name in change.intent.after if name not in set(overwritten)]
    now = policies.fields(names)
    added = {n: v for n, v in change.intent.after.items() if change.intent.before[n] != v}
    foreign = {n: v for n, v in now.items() if n in added and v not in (None, added[n])}
    if foreign:
        told = "; ".join(f"{name} is {describe_rule(value)}" for name, value in foreign.items())
        raise ConcurrentChangeError(
            f"{change.id} ({change.step}) was overtaken: {told}, which this change did not leave."
            " Nothing was changed.",
            next_step="look at the policy; remove the rule by hand if it is not wanted",
            subject=change.id,
        )
    gone = [name for name, value in now.items() if name in added and value is not None]
    removed = tuple(_place(name) | added[name] for name in gone)
    listed = ", ".join(text for rule in removed for text in rule["ranges"])
    return Plan(
        step=UNDO,
        change=change.id,
        system="cloud_armor",
        version=policies.version,
        generation=policies.generation,
        before=now,
        after=now | dict.fromkeys(gone),
        patch=ArmorPatch(remove=removed),
        by_hand=tuple(_delete_line(target, rule) for rule in removed),
        summary=f"Let {listed} in again: remove {', '.join(gone)}."
        if gone
        else f"{change.step} {change.id} leaves nothing to take back.",
        mends=False,
        undoes=change.id,
    )


def find_priorities(policy: Policy, count: int, asked: int = 0) -> list[int]:
    """Return so many free priorities: from `asked` on when given, else the first from 1000 up.

    Raises:
        UsageError: The asked one is none that a rule can have.
        RefusedError: The asked one is taken.
    """
    if asked and not 0 < asked <= LAST_PRIORITY:
        raise UsageError(
            f"--priority must be between 1 and {LAST_PRIORITY}, not {asked}.",
            next_step="leave --priority out: a free one from 1000 up is found",
        )
    if asked in policy.rules:
        raise RefusedError(
            f"Priority {asked} of {policy.name} is taken: {describe_rule(policy.rules[asked])}."
            " Nothing was changed.",
            next_step="leave --priority out: a free one is found",
            subject=str(asked),
        )
    found: list[int] = []
    number = asked or FIRST_PRIORITY
    while len(found) < count:
        if number not in policy.rules:
            found.append(number)
        number += 1
    return found


def _plan(
    target: Target,
    change: str,
    before: dict[str, Any],
    after: dict[str, Any],
    summary: str,
    *,
    expires_at: str = "",
    warnings: tuple[str, ...] = (),
) -> Plan:
    added = tuple(_place(name) | v for name, v in after.items() if before[name] != v)
    return Plan(
        step="mitigate.block-ip",
        change=change,
        system="cloud_armor",
        version="",
        generation=0,
        before=before,
        after=after,
        patch=ArmorPatch(add=added),
        by_hand=tuple(_create_line(target, rule) for rule in added),
        summary=summary,
        warnings=warnings,
        lasting=tuple(after),
        symptoms=("errors", "auth-failures"),
        expires_at=expires_at,
    )


def _find_denial(policy: Policy, network: Network) -> int:
    """Return the priority of the rule that denies all of a range already, or 0."""
    decided = policy.decides(network)
    return decided[0] if decided and decided[1]["action"].startswith("deny") else 0


def _refuse_useless(policy: Policy, networks: Sequence[Network], last: int) -> None:
    for network in networks:
        decided = policy.decides(network)
        if decided and decided[0] < last:
            told = _ALLOWED.format(
                priority=decided[0],
                policy=policy.name,
                network=network,
                rule=describe_rule(decided[1]),
            )
            raise RefusedError(
                f"{told} Nothing was changed.",
                next_step=f"--priority=N with a number below {decided[0]}, if that rule may yield",
                subject=str(network),
            )


def _place(name: str) -> dict[str, Any]:
    policy, priority = parse_field(name)
    return {"policy": policy, "priority": priority}


def _create_line(target: Target, rule: dict[str, Any]) -> list[str]:
    return [
        *("gcloud", "compute", "security-policies", "rules", "create", str(rule["priority"])),
        f"--security-policy={rule['policy']}",
        f"--src-ip-ranges={','.join(rule['ranges'])}",
        "--action=deny-403",
        f"--description={rule['description']}",
        f"--project={target.project}",
    ]


def _delete_line(target: Target, rule: dict[str, Any]) -> list[str]:
    return [
        *("gcloud", "compute", "security-policies", "rules", "delete", str(rule["priority"])),
        f"--security-policy={rule['policy']}",
        f"--project={target.project}",
    ]
