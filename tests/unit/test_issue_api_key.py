"""Issuing keys, against a plain server that keeps them as the service does; no secret is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from checks.errors import ApiError, NotVerifiedError, RunbookError, UsageError
from checks.target import Target
from runbook.changes.admin_keys import VARIABLE
from runbook.changes.change import run_change
from runbook.changes.key_files import choose_folder
from runbook.changes.plan import Plan
from runbook.changes.service import Keys, Service
from runbook.changes.service_plans import plan_issue
from runbook.report import Report
from runbook.timeline import open_timeline
from tests.unit.plain_server import Answer, Reply, serve_replies
from tests.unit.service_json import TARGET

ADMIN = "the-admin-key-of-tests"
ISSUED = "cda.{tenant}.s3cret-that-nobody-may-see"
NOT_FOUND = Reply(b'{"detail": "there is no such tenant"}', 404)


@dataclass
class Admin:
    """The service's keys behind a server; `lose` names tenants whose answer is lost."""

    keys: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    lose: frozenset[str] = frozenset()
    refuse: frozenset[str] = frozenset()
    before_issue: Callable[[], None] = lambda: None
    target: Target = TARGET

    def serve(self, tenant: str) -> Answer:
        """Return the answers to a list and to an issue of this tenant's keys."""

        def answer(_: dict[str, str], body: bytes) -> Reply:
            if not body:
                return Reply(json.dumps({"api_keys": self.keys[tenant]}).encode())
            return self._issue(tenant)

        return answer

    def revoke(self, tenant: str, key_id: str) -> Answer:
        """Return the answer to a deactivation."""

        def answer(_: dict[str, str], __: bytes) -> Reply:
            for key in self.keys[tenant]:
                if key["key_id"] == key_id:
                    key["is_active"] = "false"
            return Reply(b"", 204)

        return answer

    def _issue(self, tenant: str) -> Reply:
        self.before_issue()
        if tenant in self.refuse:
            return Reply(b'{"detail": "no"}', 403)
        self.make(tenant)
        if tenant in self.lose:
            return Reply(b"", 502)
        secret = ISSUED.format(tenant=tenant)
        made = {"key_id": f"key-{tenant}", "key_prefix": secret[:12], "api_key": secret}
        return Reply(json.dumps(made).encode(), 201)

    def make(self, tenant: str, key_id: str = "", *, age_s: float = 0.0) -> None:
        """Make a key of this tenant."""
        made = datetime.now(UTC) - timedelta(seconds=age_s)
        self.keys[tenant].append(
            {
                "key_id": key_id or f"key-{tenant}",
                "key_prefix": f"cda.{tenant}.s3cr",
                "is_active": "true",
                "created_at": made.isoformat(),
            }
        )

    def is_active(self, tenant: str) -> bool:
        """Return whether the key that was issued opens anything."""
        return any(k["is_active"] == "true" for k in self.keys[tenant] if "old" not in k["key_id"])

    def issue(self, *tenants: str, out: str = "", dry_run: bool = False) -> Report:
        """Issue keys, as the step does."""
        folder = choose_folder(self.target, out)

        def make(reading: Keys, change: str) -> Plan:
            return plan_issue(self.target, reading, tenants, folder, change)

        return run_change(Service(self.target, tenants), make, dry_run=dry_run, yes=False)

    def undo(self) -> Report:
        """Take the newest change back."""
        system = Service(self.target)
        change = open_timeline(self.target.name).changes()[-1]

        def make(reading: Keys, attempt: str) -> Plan:
            return system.plan_undo(reading, change, attempt=attempt, overwritten=frozenset())

        return run_change(system, make, dry_run=False, yes=False)


@contextmanager
def serve_admin(admin: Admin, **more: Answer) -> Iterator[Admin]:
    """Serve the keys of three tenants, who have an old one each, until the context ends."""
    replies: dict[str, Answer] = {"/v2/entries:write": Reply(b"{}")}
    replies["/api/v1/pipelines/executions"] = Reply(b"{}")
    for tenant in ("aaa", "bbb", "ccc"):
        admin.keys[tenant] = []
        admin.make(tenant, f"old-{tenant}", age_s=9e6)
        path = f"/admin/tenants/{tenant}/api-keys"
        replies[path] = admin.serve(tenant)
        replies[f"{path}/key-{tenant}"] = admin.revoke(tenant, f"key-{tenant}")
    with serve_replies(replies | {f"/{name}": answer for name, answer in more.items()}) as server:
        admin.target = replace(TARGET, api=server.url, service_url=server.url, time_scale=60.0)
        yield admin


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of these tests' timeline; the admin key is known."""
    monkeypatch.setenv("RUNBOOK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RUNBOOK_API_DEADLINE_S", "2")
    monkeypatch.setenv(VARIABLE, ADMIN)
    monkeypatch.setattr("runbook.changes.verify.LEAST_DEADLINE_S", 4.0)
    return tmp_path / "state"


def told(report: Report) -> str:
    """Return everything that a report says."""
    return repr(report) + json.dumps(report.data)


def test_the_secret_goes_into_a_private_file_and_nowhere_else(state: Path) -> None:
    with serve_admin(Admin()) as admin:
        done = admin.issue("aaa", "bbb")
    assert done.exit_code == 0, done.finding
    for tenant in ("aaa", "bbb"):
        file = Path(done.data["plan"]["blast_radius"]["files"][tenant])
        assert file.read_text() == ISSUED.format(tenant=tenant) + "\n"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent == state / "keys"
        assert file.parent.stat().st_mode & 0o777 == 0o700
    written = told(done) + repr(open_timeline(TARGET.name).rows())
    for secret in ("s3cret-that", ADMIN):
        assert secret not in written
    assert "key-aaa" in written


def test_a_prefix_that_is_the_whole_key_is_not_shown() -> None:
    secret = ISSUED.format(tenant="aaa")
    made = {"key_id": "key-aaa", "key_prefix": secret, "api_key": secret}
    admin = Admin()

    def answer(query: dict[str, str], body: bytes) -> Reply:
        listed = admin.serve("aaa")
        assert callable(listed)
        found = listed(query, body)
        return Reply(json.dumps(made).encode(), 201) if body else found

    with serve_admin(admin, **{"admin/tenants/aaa/api-keys": answer}):
        done = admin.issue("aaa")
    assert "s3cret-that" not in told(done) + repr(open_timeline(TARGET.name).rows())


def test_undo_deactivates_the_new_keys_alone() -> None:
    with serve_admin(Admin()) as admin:
        admin.issue("aaa", "bbb")
        assert admin.is_active("aaa")
        undone = admin.undo()
        assert undone.exit_code == 0, undone.finding
        assert not admin.is_active("aaa")
        assert not admin.is_active("bbb")
        assert admin.keys["aaa"][0]["is_active"] == "true"


def test_a_dry_run_makes_neither_key_nor_file(state: Path) -> None:
    with serve_admin(Admin()) as admin:
        planned = admin.issue("aaa", dry_run=True)
        assert len(admin.keys["aaa"]) == 1
    assert not state.exists()
    [install, curl] = planned.data["plan"]["by_hand"]
    assert install.startswith("install --mode=600 /dev/null ")
    assert "--output" in curl
    assert "--header @" in curl
    assert ADMIN not in told(planned)


def test_it_stops_at_the_first_failure_and_says_what_was_done() -> None:
    with serve_admin(Admin(refuse=frozenset({"bbb"}))) as admin:
        done = admin.issue("aaa", "bbb", "ccc")
        assert done.exit_code == NotVerifiedError.exit_code
        assert "Issued: aaa; not issued: bbb, ccc." in told(done)
        assert len(admin.keys["ccc"]) == 1
        assert admin.undo().exit_code == 0
        assert not admin.is_active("aaa")


def test_a_refusal_of_the_first_changes_nothing_and_leaves_no_file(state: Path) -> None:
    with serve_admin(Admin(refuse=frozenset({"aaa"}))) as admin:
        with pytest.raises(ApiError):
            admin.issue("aaa", "bbb")
        assert len(admin.keys["bbb"]) == 1
    assert list((state / "keys").iterdir()) == []
    [change] = open_timeline(TARGET.name).changes()
    assert not change.open


def test_a_key_whose_secret_was_lost_is_told_and_can_be_taken_back() -> None:
    with serve_admin(Admin(lose=frozenset({"aaa"}))) as admin:
        done = admin.issue("aaa")
        assert done.exit_code == NotVerifiedError.exit_code
        assert "its secret is lost" in told(done)
        assert admin.is_active("aaa")
        assert admin.undo().exit_code == 0
        assert not admin.is_active("aaa")


def test_a_command_that_was_killed_before_it_wrote_the_id_can_be_taken_back() -> None:
    """The intent is on record, the key was made, and nothing else was written."""
    with serve_admin(Admin()) as admin:
        folder = choose_folder(admin.target, "")
        keys = Service(admin.target, ("aaa",)).read()
        plan = plan_issue(admin.target, keys, ("aaa",), folder, "a1b2c3")
        open_timeline(TARGET.name).append(
            plan.change, plan.step, "planned", before=plan.before, after=plan.after,
            detail=plan.detail(),
        )  # fmt: skip
        admin.make("aaa")
        undone = admin.undo()
        assert undone.exit_code == 0, undone.finding
        assert "broke off before it wrote down its key of aaa" in told(undone)
        assert not admin.is_active("aaa")


def test_a_key_that_somebody_made_long_before_is_never_guessed_at() -> None:
    with serve_admin(Admin()) as admin:
        folder = choose_folder(admin.target, "")
        plan = plan_issue(
            admin.target, Service(admin.target, ("aaa",)).read(), ("aaa",), folder, "a1b2c3"
        )
        detail = plan.detail() | {"known": {}}
        open_timeline(TARGET.name).append(
            plan.change, plan.step, "planned", before=plan.before, after=plan.after, detail=detail
        )
        admin.undo()
        assert admin.keys["aaa"][0]["is_active"] == "true"


def test_a_file_that_was_replaced_meanwhile_is_not_trusted(state: Path) -> None:
    """The key cannot be tried with what lies there now; it is known all the same."""

    def take_the_place() -> None:
        for file in (state / "keys").iterdir():
            file.unlink()
            file.symlink_to("/dev/full")

    with serve_admin(Admin(before_issue=take_the_place)) as admin:
        done = admin.issue("aaa")
        assert done.exit_code == NotVerifiedError.exit_code
        assert admin.undo().exit_code == 0
        assert not admin.is_active("aaa")


def test_a_tenant_that_nobody_knows_is_refused() -> None:
    with (
        serve_admin(Admin(), **{"admin/tenants/zzz/api-keys": NOT_FOUND}) as admin,
        pytest.raises(ApiError, match="knows no tenant zzz"),
    ):
        admin.issue("zzz")


@pytest.mark.parametrize("key", ["", " ", "short", "two words are none", "ends\x7fbadly"])
def test_an_admin_key_that_is_none_is_refused_without_being_told(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, key)
    with serve_admin(Admin()) as admin, pytest.raises(UsageError) as refused:
        admin.issue("aaa")
    assert not key.strip() or key not in str(refused.value)


def test_the_admin_key_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    with serve_admin(Admin()) as admin:
        admin.target = replace(admin.target, admin_key_file=str(tmp_path / "none"))
        with pytest.raises(UsageError, match="cannot be read"):
            admin.issue("aaa")
        (tmp_path / "none").write_text(f"{ADMIN}\n")
        assert admin.issue("aaa").exit_code == 0


def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    with serve_admin(Admin()) as admin:
        for out in (str(open_to_all), __file__):
            with pytest.raises(UsageError):
                admin.issue("aaa", out=out)
        assert len(admin.keys["aaa"]) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"api_keys": [7]}', b'{"api_keys": 7}'])
def test_a_service_that_answers_nonsense_changes_nothing(body: bytes) -> None:
    path = "admin/tenants/aaa/api-keys"
    with serve_admin(Admin(), **{path: Reply(body)}) as admin, pytest.raises(RunbookError):
        admin.issue("aaa")
    assert open_timeline(TARGET.name).rows() == []
