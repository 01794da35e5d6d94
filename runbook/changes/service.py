"""The service's API keys as a system that mitigations change.

A field is one tenant's key of one change, so no change overwrites another's. Which key that is, the
timeline tells: its id is written down before its secret is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError
from runbook.changes.admin_keys import deactivate_key, issue_key, list_keys, try_key
from runbook.changes.key_files import open_secret
from runbook.changes.system import Outcome, UncertainError
from runbook.timeline import open_timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.target import Target
    from runbook.changes.admin_keys import ListedKey
    from runbook.changes.plan import Plan
    from runbook.changes.verify import Findings
    from runbook.timeline import Change

ACTIVE = "active"
STEP = "mitigate.issue-api-key"
_IN_A_ROW = 3


@dataclass(frozen=True)
class KeyPatch:
    """Keys to be issued, tenant to the file of its secret; and keys to be deactivated.

    Attributes:
        revoke: Tenant to key id.
    """

    issue: Mapping[str, str] = field(default_factory=dict)
    revoke: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not self.issue and not self.revoke

    def as_detail(self) -> dict[str, Any]:
        """Return what the timeline keeps of it: names, never a secret."""
        return {"issue": dict(self.issue), "revoke": dict(self.revoke)}


@dataclass(frozen=True)
class Issued:
    """What the timeline knows of an issued key."""

    key_id: str
    prefix: str
    file: str


@dataclass
class Keys:
    """One reading: the keys of some tenants; those of others are read when they are asked for."""

    target: Target
    listed: dict[str, list[ListedKey]]
    version: str = ""

    @property
    def generation(self) -> int:
        """How many keys there are: it grows when somebody issues one."""
        return sum(len(keys) for keys in self.listed.values())

    def of(self, tenant: str) -> list[ListedKey]:
        """Return a tenant's keys; raises RunbookError."""
        if tenant not in self.listed:
            self.listed[tenant] = list_keys(self.target, tenant)
        return self.listed[tenant]

    def fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return `active` or None for each field; raises RunbookError for an unread tenant."""
        found: dict[str, Any] = {}
        for name in names:
            tenant, change = parse_field(name)
            issued = read_issued(self.target, change).get(tenant)
            opens = issued and any(k.key_id == issued.key_id and k.active for k in self.of(tenant))
            found[name] = ACTIVE if opens else None
        return found


@dataclass(frozen=True)
class Service:
    """The service's administration; see runbook.changes.system for what each part does."""

    target: Target
    tenants: tuple[str, ...] = ()
    name = "service"
    title = "The service"

    def read(self) -> Keys:
        """Return the keys of the tenants in question; raises RunbookError."""
        wanted = set(self.tenants)
        for change in open_timeline(self.target.name).changes():
            if change.system == self.name and change.open:
                wanted |= {parse_field(name)[0] for name in change.intent.after}
        return Keys(self.target, {t: list_keys(self.target, t) for t in sorted(wanted)})

    def parse_patch(self, detail: Mapping[str, Any]) -> KeyPatch:
        """Return the patch that the timeline keeps."""
        return KeyPatch(dict(detail.get("issue", {})), dict(detail.get("revoke", {})))

    def send(self, plan: Plan) -> list[str]:
        """Issue or deactivate tenant by tenant; return what went wrong, which ends it.

        What fails for the first tenant is raised: then nothing was changed.
        """
        patch = patch_of(plan)
        for done, (tenant, file) in enumerate(patch.issue.items()):
            try:
                self._issue(plan, tenant, file)
            except (RunbookError, UncertainError) as error:
                if isinstance(error, UncertainError):
                    self._find_lost(plan, tenant)
                lost = tenant in read_issued(self.target, plan.change)
                if not done and not lost:
                    raise
                return [_tell_stop(patch, tenant, done, error, lost=lost)]
        for tenant, key_id in patch.revoke.items():
            deactivate_key(self.target, tenant, key_id)
        return []

    def wait(self, handle: list[str], deadline_s: float) -> Outcome:
        """Return what `send` met: the service has carried out whatever it answered."""
        del deadline_s
        return Outcome(failure=" ".join(handle))

    def describe_handle(self, handle: list[str]) -> str:
        """Return "": the service's requests have no names."""
        del handle
        return ""

    def look(self, plan: Plan, reading: Keys, found: Findings) -> None:
        """Add keys that are not as planned, or that the service does not accept yet."""
        now = reading.fields(plan.after)
        for name, value in plan.after.items():
            if now[name] != value:
                found.missing.append(f"the {name} is not {self.describe_field(name, value)}")
        if plan.undoes:
            return
        for tenant, issued in read_issued(self.target, plan.change).items():
            where = f"its secret is in {issued.file}" if issued.file else "its secret is lost"
            found.notes.append(f"{tenant}: key {issued.prefix}..., {where}.")
            if not found.missing and not self._is_accepted(issued.file):
                found.missing.append(f"the service does not accept {tenant}'s new key yet")

    def describe_conflict(self, plan: Plan, now: Keys) -> str:
        """Return that keys were made meanwhile, as far as the lists tell."""
        del now
        tenants = ", ".join(patch_of(plan).issue or patch_of(plan).revoke)
        return (
            f"The keys of {tenants} changed after the plan was made: somebody else's doing, or a"
            " request of this command whose answer was lost. Compare invoke assess.api-keys."
        )

    def blast_radius(self, reading: Keys, plan: Plan) -> dict[str, Any]:
        """Return the tenants with the files of their secrets; nobody else is reached."""
        del reading
        patch = patch_of(plan)
        tenants = list(patch.issue or patch.revoke)
        return {
            "tenants": tenants,
            "files": dict(patch.issue),
            "summary": f"the keys of {', '.join(tenants) or 'nobody'}; their old keys stay as they"
            " are",
        }

    def plan_undo(
        self, reading: Keys, change: Change, *, attempt: str, overwritten: frozenset[str]
    ) -> Plan:
        """Return the plan that deactivates the keys that `change` issued."""
        from runbook.changes.service_plans import plan_undo

        del attempt, overwritten  # a field is one change's own
        return plan_undo(self.target, reading, change)

    def name_field(self, name: str) -> str:
        """Return what people call a field."""
        return name

    def describe_field(self, name: str, value: Any) -> str:  # noqa: ANN401 - a field's value
        """Return a field's value in words."""
        del name
        return str(value or "-")

    def _issue(self, plan: Plan, tenant: str, file: str) -> None:
        with open_secret(file) as secret:
            key = issue_key(self.target, tenant)
            # First the record: a key that nobody knows of could not be taken back.
            self._record(plan, tenant, Issued(key.key_id, key.prefix, file))
            secret.write(key.secret)

    def _record(self, plan: Plan, tenant: str, issued: Issued) -> None:
        open_timeline(self.target.name).append(
            plan.change,
            plan.step,
            "applied",
            before=plan.before,
            after=plan.after,
            detail={"issued": {"tenant": tenant} | vars(issued)},
        )

    def _find_lost(self, plan: Plan, tenant: str) -> None:
        """Put a key on record that was made without an answer, so that an undo can take it back."""
        known = set(plan.notes.get("known", {}).get(tenant, ()))
        try:
            made = [key for key in list_keys(self.target, tenant) if key.key_id not in known]
        except RunbookError:
            return
        if len(made) == 1:
            self._record(plan, tenant, Issued(made[0].key_id, made[0].prefix, ""))

    def _is_accepted(self, file: str) -> bool:
        return bool(file) and all(try_key(self.target, file) for _ in range(_IN_A_ROW))


def name_field(tenant: str, change: str) -> str:
    """Return the name of the field that is a tenant's key of a change."""
    return f"key {change} of {tenant}"


def parse_field(name: str) -> tuple[str, str]:
    """Return tenant and change of a field that `name_field` named."""
    _, change, _, tenant = name.split(" ", 3)
    return tenant, change


def read_issued(target: Target, change: str) -> dict[str, Issued]:
    """Return the keys that a change issued, by tenant, as its rows in the timeline tell."""
    found: dict[str, Issued] = {}
    for row in open_timeline(target.name).rows():
        issued = row.detail.get("issued")
        if row.change == change and isinstance(issued, dict):
            found[issued["tenant"]] = Issued(issued["key_id"], issued["prefix"], issued["file"])
    return found


def patch_of(plan: Plan) -> KeyPatch:
    """Return the plan's patch; raises TypeError for a plan of another system."""
    if not isinstance(plan.patch, KeyPatch):
        raise TypeError(f"a plan of {plan.system} was given to the service")
    return plan.patch


def _tell_stop(patch: KeyPatch, tenant: str, done: int, error: Exception, *, lost: bool) -> str:
    tenants = list(patch.issue)
    told = f"It stopped at {tenant}: {error}"
    if lost:
        told += " A key was made meanwhile and its secret is lost: undo deactivates it."
    left = tenants[done:]
    return f"{told} Issued: {', '.join(tenants[:done]) or 'none'}; not issued: {', '.join(left)}."
