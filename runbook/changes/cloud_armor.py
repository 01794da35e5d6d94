"""Cloud Armor as a system that mitigations change: the rules of one security policy.

A rule is known by its priority, and the API refuses a second one of the same: no other version is
needed. Source: https://cloud.google.com/compute/docs/reference/rest/v1/securityPolicies
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.addresses import match_source, read_users
from checks.errors import ApiError, ConcurrentChangeError, RunbookError
from checks.target import is_loopback
from runbook.changes.cloud_armor_rules import (
    EVERYWHERE,
    ArmorPatch,
    Policies,
    describe_rule,
    parse_policy,
    render_rule,
)
from runbook.changes.door import read_json, request_json
from runbook.changes.system import Outcome, UncertainError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.addresses import Network
    from checks.target import Target
    from runbook.changes.plan import Plan
    from runbook.changes.verify import Findings
    from runbook.timeline import Change

_HOST = "https://compute.googleapis.com"
_SETTLE_S = 60.0
_LEAST_SETTLE_S = 2.0
_LOG_DEADLINE_S = 5.0
_COUNT_AT_MOST = 1000
_DENIED = 403


@dataclass
class CloudArmor:
    """The target's security policy; see runbook.changes.system for what each part does."""

    target: Target
    name = "cloud_armor"
    title = "Cloud Armor"
    _in_force_since: float | None = field(default=None, repr=False)

    def read(self) -> Policies:
        """Return the project's policies as they are now; raises RunbookError."""
        url = f"{self._root()}/securityPolicies"
        found = read_json(url, google=True)
        try:
            policies = [parse_policy(raw) for raw in found.get("items", [])]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ApiError(
                f"{url} answered with JSON that is no list of security policies.",
                status=200,
                next_step="check `api` of the target in invoke.yaml; something else answers there",
            ) from error
        return Policies({policy.name: policy for policy in policies})

    def parse_patch(self, detail: Mapping[str, Any]) -> ArmorPatch:
        """Return the patch that the timeline keeps."""
        return ArmorPatch(tuple(detail.get("add", ())), tuple(detail.get("remove", ())))

    def send(self, plan: Plan) -> list[str]:
        """Add or remove the rules; return the operations' names.

        When a later one of several rules is refused, those added before are taken back.
        """
        patch = patch_of(plan)
        self._check_unchanged(plan, patch)
        sent: list[str] = []
        for position, rule in enumerate(patch.add):
            try:
                sent.append(self._add(rule))
            except ApiError as error:
                self._take_back(patch.add[:position])
                if "same priorit" in str(error) or "already" in str(error):
                    raise ConcurrentChangeError(str(error), next_step="plan it again") from error
                raise
        sent += [self._remove(rule) for rule in patch.remove]
        return sent

    def wait(self, handle: list[str], deadline_s: float) -> Outcome:
        """Return how the operations ended: rules reach the edge after a while."""
        end = time.monotonic() + deadline_s
        pause = 0.1 if is_loopback(self._host()) else 1.0
        for name in handle:
            while True:
                try:
                    found = read_json(f"{self._root()}/operations/{name}", google=True)
                except RunbookError as error:
                    return Outcome(failure=str(error), finished=False)
                if found.get("status") == "DONE":
                    break
                if time.monotonic() > end:
                    return Outcome(finished=False)
                time.sleep(pause)
            if found.get("error"):
                return Outcome(failure=_tell_errors(found["error"]))
        return Outcome()

    def describe_handle(self, handle: list[str]) -> str:
        """Return the operations' names."""
        return ", ".join(handle)

    def look(self, plan: Plan, reading: Policies, found: Findings) -> None:
        """Add rules that are not in force, and requests that still come through."""
        now = reading.fields(plan.after)
        wrong = [name for name, value in plan.after.items() if now[name] != value]
        if wrong:
            found.missing.append(f"{', '.join(wrong)} is not what was asked for")
            self._in_force_since = None
            return
        if not plan.mends:
            return
        if self._in_force_since is None:
            self._in_force_since = time.time()
        ranges = [text for rule in plan.after.values() for text in rule["ranges"]]
        if EVERYWHERE not in ranges:
            networks = [ipaddress.ip_network(text) for text in ranges]
            self._look_at_requests(networks, self._in_force_since, found)

    def describe_conflict(self, plan: Plan, now: Policies) -> str:
        """Return which rules are not as they were planned for."""
        changed = [
            f"{name} is {self.describe_field(name, value)}"
            for name, value in now.fields(plan.before).items()
            if value != plan.before[name]
        ]
        what = "; ".join(changed) or "a rule was taken by somebody else"
        return (
            f"Somebody changed the policy after the plan was made: {what}. Nothing was changed by"
            " this command."
        )

    def blast_radius(self, reading: Policies, plan: Plan) -> dict[str, Any]:
        """Return the ranges, and who else sent good requests from them in the last hour."""
        patch = patch_of(plan)
        ranges = [text for rule in (*patch.add, *patch.remove) for text in rule["ranges"]]
        del reading
        radius: dict[str, Any] = {"ranges": ranges, "users": None}
        listed = ", ".join(ranges)
        if not ranges:
            return radius | {"summary": "nobody: every rule stays as it is"}
        try:
            networks = [ipaddress.ip_network(text) for text in ranges]
            users = read_users(self.target, networks, deadline_s=_LOG_DEADLINE_S)
        except RunbookError as error:
            told = f"{listed}; who else sends from there is unknown"
            return radius | {"unknown": str(error), "summary": told}
        radius["users"] = [vars(user) | {"tenants": list(user.tenants)} for user in users]
        if not users:
            told = f"{listed}; nobody there had a good answer in the last hour"
            return radius | {"summary": told}
        named = "; ".join(describe_user(user) for user in users[:5])
        return radius | {"summary": f"{listed}; {len(users)} addresses with good keys: {named}"}

    def plan_undo(
        self, reading: Policies, change: Change, *, attempt: str, overwritten: frozenset[str]
    ) -> Plan:
        """Return the plan that removes exactly the rules that `change` added."""
        from runbook.changes.cloud_armor_plans import plan_undo

        del attempt  # rules are named by their priority, so there is nothing new to name
        return plan_undo(self.target, reading, change, overwritten)

    def name_field(self, name: str) -> str:
        """Return what people call a field."""
        return name

    def describe_field(self, name: str, value: Any) -> str:  # noqa: ANN401 - a field's value
        """Return a rule in words."""
        del name
        return describe_rule(value)

    def _host(self) -> str:
        return (self.target.api or _HOST).rstrip("/")

    def _root(self) -> str:
        return f"{self._host()}/compute/v1/projects/{self.target.project}/global"

    def _add(self, rule: Mapping[str, Any]) -> str:
        return self._post(rule, "addRule", body=render_rule(rule))

    def _remove(self, rule: Mapping[str, Any]) -> str:
        return self._post(rule, "removeRule", params={"priority": rule["priority"]})

    def _post(
        self,
        rule: Mapping[str, Any],
        verb: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, int] | None = None,
    ) -> str:
        url = f"{self._root()}/securityPolicies/{rule['policy']}/{verb}"
        answer = request_json("POST", url, body, params=params, google=True)
        name = answer.get("name")
        if not isinstance(name, str) or "/" in name:
            raise UncertainError("Cloud Armor named no operation")
        return name

    def _check_unchanged(self, plan: Plan, patch: ArmorPatch) -> None:
        # removeRule knows a rule by its priority alone, so what stands there is looked at last.
        if not patch.remove:
            return
        now = self.read()
        if now.fields(plan.before) != plan.before:
            raise ConcurrentChangeError(
                self.describe_conflict(plan, now), next_step="invoke mitigate, then again"
            )

    def _take_back(self, rules: Sequence[Mapping[str, Any]]) -> None:
        for rule in rules:
            try:
                self._remove(rule)
            except RunbookError as error:
                raise UncertainError(
                    f"rule {rule['priority']} was added and could not be taken back: {error}"
                ) from error

    def _look_at_requests(self, networks: Sequence[Network], since: float, found: Findings) -> None:
        settle_s = max(self.target.seconds(_SETTLE_S), _LEAST_SETTLE_S)
        if time.time() - since < settle_s:
            found.missing.append("too short a time since the rule is in force to see its effect")
            return
        try:
            through, denied = self._count_requests(networks, settle_s)
        except RunbookError as error:
            found.notes.append(f"Whether requests still come through was not judged: {error}")
            return
        if through:
            found.missing.append(
                f"{through} requests from there reached the service in the last {settle_s:.0f} s"
            )
        elif denied:
            found.notes.append(f"{denied} requests from there ended in 403 at the edge.")
        else:
            found.notes.append("No request came from there since: nothing to see the effect by.")

    def _count_requests(self, networks: Sequence[Network], settle_s: float) -> tuple[int, int]:
        from checks.auth import MESSAGE
        from checks.logs import edge_filter, quote, read_entries, service_filter

        minutes = settle_s / 60
        refused = service_filter(
            self.target,
            f"jsonPayload.message={quote(MESSAGE)}",
            match_source("jsonPayload.source_ip", networks),
            minutes=minutes,
        )
        requests = edge_filter(
            self.target,
            match_source("httpRequest.remoteIp", networks),
            minutes=minutes,
            denied=True,
        )
        failures, logged = (
            read_entries(self.target, expression, _COUNT_AT_MOST, deadline_s=_LOG_DEADLINE_S)
            for expression in (refused, requests)
        )
        denied = sum(1 for entry in logged if entry.request.get("status") == _DENIED)
        return max(len(failures), len(logged) - denied), denied


def patch_of(plan: Plan) -> ArmorPatch:
    """Return the plan's patch; raises TypeError for a plan of another system."""
    if not isinstance(plan.patch, ArmorPatch):
        raise TypeError(f"a plan of {plan.system} was given to Cloud Armor")
    return plan.patch


def describe_user(user: Any) -> str:  # noqa: ANN401 - checks.addresses.User
    """Return who sends from an address in words."""
    who = f" ({', '.join(user.tenants)})" if user.tenants else ""
    return f"{user.address}{who}: {user.requests} requests"


def _tell_errors(error: Any) -> str:  # noqa: ANN401 - JSON
    listed = error.get("errors", []) if isinstance(error, dict) else []
    told = [str(one.get("message", "")) for one in listed if isinstance(one, dict)]
    return " ".join(told)[:400] or "the operation failed"
