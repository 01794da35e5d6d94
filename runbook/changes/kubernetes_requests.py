"""Writes to Kubernetes through kubectl: one patch a change, under the resourceVersion."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError, ConcurrentChangeError, RunbookError, UnreachableError
from runbook.changes.kubernetes_patch import make_operations
from runbook.changes.kubernetes_state import read_deployment
from runbook.changes.system import UncertainError, request_deadline_s

if TYPE_CHECKING:
    from checks.target import Target
    from runbook.changes.kubernetes_patch import DeploymentPatch, Op
    from runbook.changes.kubernetes_state import DeploymentState

MANAGER = "convergence-runbook"
_ATTEMPTS = 3
_CONFLICT = ("(Conflict)", "the object has been modified")


def send_patch(
    target: Target, patch: DeploymentPatch, generation: int, before: dict[str, Any]
) -> int:
    """Send the patch, and return the generation that it made.

    The status of a Deployment moves its resourceVersion all the time, so the plan holds while
    `generation` and the fields in `before` do; the patch goes out under the version read just now.

    Raises:
        ConcurrentChangeError: Somebody asked for something else since the plan; untouched.
        RunbookError: Kubernetes refused it or was not reached; nothing was changed.
        UncertainError: No usable answer came.
    """
    for _ in range(_ATTEMPTS):
        state = read_deployment(target)
        if state.generation != generation or state.fields(before) != before:
            break
        done = _patch(target, state, patch)
        if done is not None:
            return done
    raise ConcurrentChangeError(
        f"{target.deployment_name} was changed since the plan.", next_step="plan it again"
    )


def _patch(target: Target, state: DeploymentState, patch: DeploymentPatch) -> int | None:
    """Return the new generation, or None when somebody was faster."""
    try:
        operations = make_operations(state, patch)
    except KeyError as error:
        raise ApiError(
            f"{state.name} has no ReplicaSet {error} any more. Nothing was changed.",
            status=404,
            next_step="invoke assess.revisions lists what is there",
        ) from error
    try:
        printed = _run(target, state.name, operations)
    except ConcurrentChangeError:
        return None
    try:
        return int(json.loads(printed)["metadata"]["generation"])
    except (ValueError, KeyError, TypeError) as error:
        raise UncertainError(f"kubectl printed no Deployment: {printed[:200]}") from error


def _run(target: Target, name: str, operations: list[Op]) -> str:
    from checks.kubectl import command_line, environment, execute, explain

    # A file that only its owner reads: a template that comes back may hold secrets, and anyone on
    # this machine may read a command line.
    with tempfile.TemporaryDirectory(prefix="runbook-") as folder:
        file = Path(folder) / "patch.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(operations), encoding="utf-8")
        argv = ("patch", "deployment", name, "--type=json", f"--patch-file={file}")
        options = (f"--field-manager={MANAGER}", "--output=json")
        command = command_line(target, (*argv, *options))
        try:
            done = execute(command, environment(target), request_deadline_s())
        except UnreachableError as error:
            raise UncertainError(str(error)) from error
    if not done.returncode:
        return done.stdout
    if any(sign in done.stderr for sign in _CONFLICT):
        raise ConcurrentChangeError("Somebody was faster.", next_step="plan it again")
    told = explain(done, target)
    if isinstance(told, UnreachableError):
        raise UncertainError(str(told))
    raise _refused(told)


def _refused(told: RunbookError) -> ApiError:
    return ApiError(
        f"Kubernetes refused the change. {told} Nothing was changed.",
        status=told.status if isinstance(told, ApiError) else 0,
        next_step="Mend what it names and run the command again.",
    )
