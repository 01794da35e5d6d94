"""What every system that a mitigation can change has in common: Cloud Run, Kubernetes and so on.

The engine (runbook/changes/change.py) knows nothing but this. A system reads itself, sends one
planned change under the version that was planned for, and tells what is in force.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from checks.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.target import Target
    from runbook.changes.plan import Patch, Plan
    from runbook.changes.verify import Findings
    from runbook.timeline import Change

_REQUEST_DEADLINE_S = 15.0
# Module and class by the name that the timeline keeps.
_SYSTEMS = {
    "cloud_run": ("runbook.changes.cloud_run", "CloudRun"),
    "kubernetes": ("runbook.changes.kubernetes", "Kubernetes"),
    "cloud_armor": ("runbook.changes.cloud_armor", "CloudArmor"),
    "service": ("runbook.changes.service", "Service"),
}


class UncertainError(Exception):
    """The request was sent and no usable answer came: it may have been taken or not."""


@dataclass(frozen=True)
class Outcome:
    """What a system said of a change that it took.

    Attributes:
        failure: Why it could not be carried out, such as that a revision did not become ready; or
            "". What is in force decides whether the change worked, not this.
        finished: Whether the change is known to have ended. While it is not, a failure is one of
            asking for it, and says nothing about the change.
    """

    failure: str = ""
    finished: bool = True


class Reading(Protocol):
    """One reading of a system."""

    @property
    def version(self) -> str:
        """What a change must still find: an etag, a resourceVersion, a fingerprint."""

    @property
    def generation(self) -> int:
        """A number that grows when somebody asks for something else; 0 where there is none."""

    def fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the named fields as the timeline keeps them: JSON, never a secret."""


class System(Protocol):
    """A system that can be changed and brought back.

    Attributes:
        name: As the timeline keeps it, such as `cloud_run`.
        title: As sentences name it, such as `Cloud Run`.
    """

    name: str
    title: str

    @property
    def target(self) -> Target:
        """Where it is."""

    def read(self) -> Reading:
        """Return what is there now; raises RunbookError when nobody can tell."""

    def parse_patch(self, detail: Mapping[str, Any]) -> Patch:
        """Return what `Patch.as_detail` put on the timeline, to go on with it."""

    def send(self, plan: Plan) -> Any:  # noqa: ANN401 - each system has its own kind of handle
        """Send the plan's patch in one request under `plan.version`; return a handle for `wait`.

        Raises:
            ConcurrentChangeError: It is no longer as it was planned for; nothing was changed.
            RunbookError: It was refused or never sent; nothing was changed.
            UncertainError: No usable answer came.
        """

    def wait(self, handle: Any, deadline_s: float) -> Outcome:  # noqa: ANN401 - as `send`
        """Return how the change ended, or that it had not after `deadline_s` seconds."""

    def describe_handle(self, handle: Any) -> str:  # noqa: ANN401 - as `send`
        """Return the name by which the system knows the request; "" where it has none."""

    def look(self, plan: Plan, reading: Any, found: Findings) -> None:  # noqa: ANN401 - a Reading
        """Add to `found.missing` what the plan wants and is not in force yet."""

    def describe_conflict(self, plan: Plan, now: Any) -> str:  # noqa: ANN401 - a Reading
        """Return who changed what between the plan and `now`, as far as the system tells."""

    def blast_radius(self, reading: Any, plan: Plan) -> dict[str, Any]:  # noqa: ANN401 - a Reading
        """Return whom the plan reaches as data; `summary` is one line for people."""

    def plan_undo(
        self,
        reading: Any,  # noqa: ANN401 - a Reading
        change: Change,
        *,
        attempt: str,
        overwritten: frozenset[str],
    ) -> Plan:
        """Return the plan that takes `change` back, from what is really there.

        Fields that a later change has `overwritten` are left alone; `attempt` is unique.

        Raises:
            RefusedError: Somebody changed a field since.
        """

    def name_field(self, name: str) -> str:
        """Return what people call a field of the timeline."""

    def describe_field(self, name: str, value: Any) -> str:  # noqa: ANN401 - a field's value
        """Return a field's value in words."""


def open_system(target: Target, name: str) -> System:
    """Return the target's system called `name`; raises UsageError for an unknown one."""
    if name not in _SYSTEMS:
        raise UsageError(
            f"This version of the runbook knows no system {name!r}.",
            next_step="update the runbook; `invoke mitigate` lists what is in force",
            subject=name,
        )
    module, kind = _SYSTEMS[name]
    system: System = getattr(import_module(module), kind)(target)
    return system


def request_deadline_s() -> float:
    """Return how long one request may take, in seconds: RUNBOOK_API_DEADLINE_S, or 15.

    Raises:
        UsageError: The variable holds no number above 0.
    """
    text = os.environ.get("RUNBOOK_API_DEADLINE_S", "")
    try:
        value = float(text or _REQUEST_DEADLINE_S)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(
            "RUNBOOK_API_DEADLINE_S must be a number of seconds above 0.",
            next_step="unset RUNBOOK_API_DEADLINE_S",
        )
    return value
