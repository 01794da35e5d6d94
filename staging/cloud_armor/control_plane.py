"""The project's one security policy, its changes, and their operations."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from staging.cloud_armor.errors import ComputeError, invalid, not_found
from staging.cloud_armor.rules import (
    DEFAULT_PRIORITY,
    DEFAULT_RULE,
    Rule,
    clear_fields,
    decide,
    read_rule,
)
from staging.ingress.runtime import IngressError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

POLICY = "convergence-security-policy"
# How long the load balancers take to hear of a rule; minutes in production, by its documentation.
PROPAGATION_S = 20.0
LEAST_PROPAGATION_S = 0.1
WAIT_DEADLINE_S = 120.0
_KEPT_OPERATIONS = 100
_ROOT = "https://www.googleapis.com/compute/v1"


@dataclass
class Operation:
    """One change under way; done when the ingress follows it."""

    name: str
    kind: str
    started: float = field(default_factory=time.time)
    ended: float = 0.0
    number: int = field(default_factory=lambda: secrets.randbits(63))
    error: str = ""
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def finish(self, error: str = "") -> None:
        """End well, or with what went wrong."""
        self.error, self.ended = error, time.time()
        self.finished.set()


class CloudArmor:
    """Keeps the policy, and has the ingress follow it."""

    def __init__(
        self,
        *,
        project: str,
        time_scale: float,
        enforce: Callable[[Mapping[str, str]], Awaitable[None]],
    ) -> None:
        """Keep the baseline; `enforce` takes what `decide` returns and comes back when done.

        When `enforce` raises IngressError, the operation fails. `reset` has it enforced.
        """
        self.project = project
        self._propagation_s = max(LEAST_PROPAGATION_S, PROPAGATION_S / time_scale)
        self._enforce = enforce
        self._created = time.time()
        self._number = secrets.randbits(63)
        self._rules: dict[int, Rule] = {}
        self._version = 0
        self._operations: OrderedDict[str, Operation] = OrderedDict()
        self._propagating: set[asyncio.Task[None]] = set()
        self._forget()

    def _forget(self) -> None:
        self._rules = {DEFAULT_PRIORITY: DEFAULT_RULE}
        self._version += 1
        self._operations.clear()

    async def reset(self) -> None:
        """Go back to the baseline, where everybody may come in; return once that is so."""
        await self.stop()
        self._forget()
        await self._enforce(decide(list(self._rules.values())))

    async def stop(self) -> None:
        """End what is under way."""
        for task in self._propagating:
            task.cancel()
        await asyncio.gather(*self._propagating, return_exceptions=True)

    def render_policy(self, name: str) -> dict[str, Any]:
        """Return the policy with its rules. Raises ComputeError `notFound`."""
        path = f"projects/{self.project}/global/securityPolicies/{name}"
        if name != POLICY:
            raise not_found(path)
        fingerprint = base64.b64encode(self._version.to_bytes(8, "big")).decode()
        return {
            "kind": "compute#securityPolicy",
            "id": str(self._number),
            "creationTimestamp": _format_time(self._created),
            "name": POLICY,
            "description": "Which source addresses reach the Convergence Data Pipeline",
            "rules": [rule.render() for _, rule in sorted(self._rules.items())],
            "fingerprint": fingerprint,
            "labelFingerprint": "42WmSpB8rSM=",
            "selfLink": f"{_ROOT}/{path}",
            "type": "CLOUD_ARMOR",
        }

    def find_rule(self, name: str, priority: int) -> Rule:
        """Return the rule at a priority. Raises ComputeError."""
        self.render_policy(name)
        rule = self._rules.get(priority)
        if rule is None:
            why = f"{POLICY} does not contain a rule at priority {priority}."
            raise invalid("priority", priority, why)
        return rule

    def add_rule(self, name: str, body: Mapping[str, Any]) -> Operation:
        """Add a rule. Raises ComputeError; nothing has changed then."""
        self.render_policy(name)
        rule = read_rule(body)
        if rule.priority in self._rules:
            why = "Cannot have rules with the same priorities."
            raise invalid("resource.priority", rule.priority, why)
        return self._put({rule.priority: rule}, "addRule")

    def patch_rule(
        self, name: str, priority: int, body: Mapping[str, Any], mask: str = ""
    ) -> Operation:
        """Change the fields of a rule that `body` holds, and clear others that `mask` names.

        Raises ComputeError; nothing has changed then.
        """
        before = clear_fields(self.find_rule(name, priority).render(), mask)
        rule = read_rule(body, before)
        if rule.priority != priority:
            why = "It must be the priority of the rule that is patched."
            raise invalid("resource.priority", rule.priority, why)
        return self._put({priority: rule}, "patchRule")

    def remove_rule(self, name: str, priority: int) -> Operation:
        """Take a rule away, other than the default one. Raises ComputeError."""
        self.find_rule(name, priority)
        if priority == DEFAULT_PRIORITY:
            raise invalid("priority", priority, "Cannot remove the default rule.")
        return self._put({priority: None}, "removeRule")

    def _put(self, changes: Mapping[int, Rule | None], kind: str) -> Operation:
        for priority, rule in changes.items():
            if rule is None:
                del self._rules[priority]
            else:
                self._rules[priority] = rule
        self._version += 1
        name = f"operation-{time.time_ns() // 10**6}-{secrets.token_hex(8)}"
        operation = self._operations[name] = Operation(name, kind)
        while len(self._operations) > _KEPT_OPERATIONS:
            self._operations.popitem(last=False)
        task = asyncio.create_task(self._propagate(operation), name=f"cloud armor {name}")
        self._propagating.add(task)
        task.add_done_callback(self._propagating.discard)
        return operation

    async def _propagate(self, operation: Operation) -> None:
        try:
            await asyncio.sleep(self._propagation_s)
            # The rules as they are by now: a later change never gives way to an earlier one.
            await self._enforce(decide(list(self._rules.values())))
        except IngressError as error:
            operation.finish(f"The load balancer did not take the rules: {error}")
        else:
            operation.finish()

    def find_operation(self, name: str) -> Operation:
        """Return an operation. Raises ComputeError `notFound`."""
        operation = self._operations.get(name)
        if operation is None:
            raise not_found(f"projects/{self.project}/global/operations/{name}")
        return operation

    async def wait_operation(self, name: str) -> Operation:
        """Return an operation once it is done, or after two minutes. Raises ComputeError."""
        operation = self.find_operation(name)
        try:
            await asyncio.wait_for(operation.finished.wait(), WAIT_DEADLINE_S)
        except TimeoutError:
            return operation
        return operation

    def render_operation(self, operation: Operation) -> dict[str, Any]:
        """Return an operation as the API shows it."""
        parent = f"{_ROOT}/projects/{self.project}/global"
        done = operation.finished.is_set()
        answer: dict[str, Any] = {
            "kind": "compute#operation",
            "id": str(operation.number),
            "name": operation.name,
            "operationType": operation.kind,
            "targetLink": f"{parent}/securityPolicies/{POLICY}",
            "targetId": str(self._number),
            "status": "DONE" if done else "RUNNING",
            "progress": 100 if done else 0,
            "insertTime": _format_time(operation.started),
            "startTime": _format_time(operation.started),
            "selfLink": f"{parent}/operations/{operation.name}",
        }
        if done:
            answer["endTime"] = _format_time(operation.ended)
        if operation.error:
            answer["error"] = {"errors": [{"code": "INTERNAL_ERROR", "message": operation.error}]}
            answer |= {"httpErrorStatusCode": 500, "httpErrorMessage": "INTERNAL SERVER ERROR"}
        return answer


def read_priority(text: str) -> int:
    """Return the priority of a query parameter, 0 when it is left out. Raises ComputeError."""
    try:
        return int(text or "0")
    except ValueError:
        message = f"Invalid value at 'priority' (TYPE_INT32), {text}"
        raise ComputeError("invalid", message) from None


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
