"""Denying sources, against a plain server that keeps a policy as Cloud Armor does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from checks.addresses import parse_sources
from checks.errors import ApiError, ConcurrentChangeError, RefusedError, RunbookError, UsageError
from checks.target import Target
from runbook.changes.change import run_change
from runbook.changes.cloud_armor import CloudArmor
from runbook.changes.cloud_armor_plans import Block, find_priorities, plan_block
from runbook.changes.cloud_armor_rules import Policies, parse_policy
from runbook.changes.plan import Plan
from runbook.report import Report
from runbook.timeline import open_timeline
from tests.unit.plain_server import Answer, Reply, serve_replies
from tests.unit.service_json import TARGET

NAME = "convergence-security-policy"
ROOT = "/compute/v1/projects/p/global"
DEFAULT = {
    "priority": 2147483647,
    "action": "allow",
    "match": {"versionedExpr": "SRC_IPS_V1", "config": {"srcIpRanges": ["*"]}},
}


def rule(priority: int, *ranges: str, action: str = "deny(403)", **more: object) -> dict[str, Any]:
    """Return a rule as the API shows it."""
    match = {"versionedExpr": "SRC_IPS_V1", "config": {"srcIpRanges": list(ranges)}}
    return {"priority": priority, "action": action, "match": match} | more


def policies(*rules: dict[str, Any]) -> Policies:
    """Return a reading with one policy."""
    return Policies({NAME: parse_policy({"name": NAME, "rules": [*rules, DEFAULT]})})


def plan(reading: Policies, text: str, priority: int = 0) -> Plan:
    """Return the plan to deny these sources."""
    return plan_block(TARGET, reading, Block(parse_sources(text), priority), change="a1b2c3")


@dataclass
class Armor:
    """A policy behind a server; `meanwhile` is what somebody adds after the next reading."""

    rules: dict[int, dict[str, Any]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    meanwhile: list[dict[str, Any]] = field(default_factory=list)
    refused: frozenset[int] = frozenset()
    target: Target = TARGET

    def read(self, _: dict[str, str], __: bytes) -> Reply:
        """Answer securityPolicies.list."""
        content = {"items": [{"name": NAME, "rules": [*self.rules.values(), DEFAULT]}]}
        while self.meanwhile:
            late = self.meanwhile.pop()
            self.rules[late["priority"]] = late
        return Reply(json.dumps(content).encode())

    def add(self, _: dict[str, str], body: bytes) -> Reply:
        """Answer addRule."""
        added = json.loads(body)
        self.writes.append(f"add {added['priority']}")
        if added["priority"] in self.rules:
            told = "Invalid value for field. Cannot have rules with the same priorities."
            return Reply(json.dumps({"error": {"message": told}}).encode(), 400)
        if added["priority"] in self.refused:
            return Reply(b'{"error": {"message": "Quota exceeded"}}', 403)
        self.rules[added["priority"]] = added
        return Reply(b'{"name": "operation-1", "status": "RUNNING"}')

    def remove(self, query: dict[str, str], _: bytes) -> Reply:
        """Answer removeRule."""
        self.writes.append(f"remove {query['priority']}")
        del self.rules[int(query["priority"])]
        return Reply(b'{"name": "operation-2", "status": "RUNNING"}')

    def block(self, text: str) -> Report:
        """Deny these sources, as the step does once it has checked them."""
        block = Block(parse_sources(text))

        def make(reading: Policies, change: str) -> Plan:
            return plan_block(self.target, reading, block, change=change)

        return run_change(CloudArmor(self.target), make, dry_run=False, yes=False)

    def undo(self) -> Report:
        """Take the newest change back."""
        system = CloudArmor(self.target)
        change = open_timeline(self.target.name).changes()[-1]

        def make(reading: Policies, attempt: str) -> Plan:
            return system.plan_undo(reading, change, attempt=attempt, overwritten=frozenset())

        return run_change(system, make, dry_run=False, yes=False)


@contextmanager
def serve_armor(armor: Armor, **more: Answer) -> Iterator[Armor]:
    """Serve the policy until the context ends."""
    done = Reply(b'{"name": "operation", "status": "DONE"}')
    replies: dict[str, Answer] = {
        f"{ROOT}/securityPolicies": armor.read,
        f"{ROOT}/securityPolicies/{NAME}/addRule": armor.add,
        f"{ROOT}/securityPolicies/{NAME}/removeRule": armor.remove,
        f"{ROOT}/operations/operation-1": done,
        f"{ROOT}/operations/operation-2": done,
        "/v2/entries:list": Reply(b"{}"),
        "/v2/entries:write": Reply(b"{}"),
        "/health/ready": Reply(b"{}"),
    }
    with serve_replies(replies | {name.replace("_", "/"): a for name, a in more.items()}) as server:
        url = server.url
        armor.target = replace(TARGET, api=url, service_url=url, time_scale=60.0)
        yield armor


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the timeline of these tests in a folder of their own."""
    monkeypatch.setenv("RUNBOOK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RUNBOOK_API_DEADLINE_S", "2")


def test_the_first_free_priorities_from_1000_are_taken() -> None:
    [policy] = policies(rule(1000, "1.1.1.1"), rule(1002, "2.2.2.2")).policies.values()
    assert find_priorities(policy, 3) == [1001, 1003, 1004]
    assert find_priorities(policy, 2, 900) == [900, 901]


@pytest.mark.parametrize(("asked", "kind"), [(1000, RefusedError), (-1, UsageError)])
def test_a_priority_that_is_taken_or_none_is_refused(asked: int, kind: type[RunbookError]) -> None:
    with pytest.raises(kind):
        plan(policies(rule(1000, "1.1.1.1")), "8.8.8.8", priority=asked)


def test_more_than_ten_ranges_are_split_over_rules() -> None:
    made = plan(policies(), ",".join(f"8.8.{n}.8" for n in range(21)))
    assert [len(one["ranges"]) for one in made.after.values()] == [10, 10, 1]
    assert [f"rule {n} of {NAME}" for n in (1000, 1001, 1002)] == list(made.after)
    assert len(made.by_hand) == 3


def test_what_is_denied_already_is_left_out_or_nothing_is_left() -> None:
    reading = policies(rule(1000, "8.8.8.0/24"))
    made = plan(reading, "8.8.8.8,9.9.9.9")
    assert [one["ranges"] for one in made.after.values()] == [["9.9.9.9/32"]]
    assert "8.8.8.8/32 is denied already, by rule 1000." in made.warnings
    nothing = plan(reading, "8.8.8.8")
    assert nothing.before == nothing.after
    assert nothing.patch.empty


def test_a_preview_denies_nothing() -> None:
    made = plan(policies(rule(1000, "8.8.8.0/24", preview=True)), "8.8.8.8")
    assert not made.patch.empty


def test_a_rule_behind_one_that_allows_is_refused_as_useless() -> None:
    reading = policies(rule(500, "8.8.0.0/16", action="allow"))
    with pytest.raises(RefusedError, match="Rule 500"):
        plan(reading, "8.8.8.8")
    assert not plan(reading, "8.8.8.8", priority=400).patch.empty


def test_no_such_policy_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="no-such"):
        plan_block(
            TARGET, policies(), Block(parse_sources("8.8.8.8"), policy="no-such"), change="a"
        )


def test_a_rule_is_added_verified_and_taken_back_alone() -> None:
    with serve_armor(Armor({7: rule(7, "9.9.9.9")})) as armor:
        done = armor.block("8.8.8.8")
        assert done.exit_code == 0, done.finding
        assert armor.rules[1000]["match"]["config"]["srcIpRanges"] == ["8.8.8.8/32"]
        undone = armor.undo()
        assert undone.exit_code == 0, undone.finding
        assert set(armor.rules) == {7}
        assert armor.writes == ["add 1000", "remove 1000"]
        again = armor.undo()
        assert again.exit_code == 0
        assert armor.writes == ["add 1000", "remove 1000"]


def test_requests_that_still_come_through_leave_it_unverified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = {"jsonPayload": {"message": "authentication failed", "source_ip": "8.8.8.8"}}
    logged = Reply(json.dumps({"entries": [entry]}).encode())
    monkeypatch.setattr("runbook.changes.verify.LEAST_DEADLINE_S", 4.0)
    with serve_armor(Armor(), **{"_v2_entries:list": logged}) as armor:
        done = armor.block("8.8.8.8")
    assert done.exit_code == 3
    assert "reached the service" in done.finding


def test_a_priority_that_somebody_took_meanwhile_changes_nothing() -> None:
    with serve_armor(Armor(meanwhile=[rule(1000, "9.9.9.9")])) as armor:
        with pytest.raises(ConcurrentChangeError, match=r"rule 1000 of .* is deny\(403\) 9.9.9.9"):
            armor.block("8.8.8.8")
        assert set(armor.rules) == {1000}
        [change] = open_timeline(TARGET.name).changes()
        assert not change.open


def test_a_later_rule_that_is_refused_takes_the_earlier_ones_back() -> None:
    with serve_armor(Armor(refused=frozenset({1001}))) as armor:
        with pytest.raises(ApiError, match="Quota exceeded"):
            armor.block(",".join(f"8.8.{n}.8" for n in range(11)))
        assert armor.writes == ["add 1000", "add 1001", "remove 1000"]
        assert armor.rules == {}


def test_an_answer_that_is_lost_is_looked_up() -> None:
    with serve_armor(Armor()) as armor:
        add = armor.add

        def lose(query: dict[str, str], body: bytes) -> Reply:
            add(query, body)
            return Reply(b"<html>", 502)

        path = f"_compute_v1_projects_p_global_securityPolicies_{NAME}_addRule"
        with serve_armor(armor, **{path: lose}):
            done = armor.block("8.8.8.8")
    assert done.exit_code == 0, done.finding
    assert armor.writes == ["add 1000"]


def test_another_rule_in_our_place_is_not_removed() -> None:
    with serve_armor(Armor()) as armor:
        armor.block("8.8.8.8")
        armor.rules[1000] = rule(1000, "9.9.9.9")
        with pytest.raises(ConcurrentChangeError, match="did not leave"):
            armor.undo()
        assert armor.writes == ["add 1000"]


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"items": [{}]}', b'{"items": 7}'])
def test_an_api_that_answers_nonsense_changes_nothing(body: bytes) -> None:
    path = "_compute_v1_projects_p_global_securityPolicies"
    with serve_armor(Armor(), **{path: Reply(body)}) as armor:
        with pytest.raises(RunbookError):
            armor.block("8.8.8.8")
        assert armor.writes == []
