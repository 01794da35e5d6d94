"""kubectl, the one program that reads run: always at a named cluster, context and namespace.

What a read may ask is a list of verbs; whatever could change something is refused before a program
is started. Its cache is the target's own: kubectl keys it by host and port alone, and would take
one cluster's kinds for another's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from checks.errors import ApiError, RunbookError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.target import Target

DEADLINE_S = 10.0
_READS = frozenset({"get", "top", "describe", "logs"})
_ROLLOUT_READS = frozenset({"status", "history"})
_PROGRAMS = frozenset({"ps", "py-spy"})  # the only ones that a read runs inside a pod
# They would lead to another cluster or person than the target's.
_ELSEWHERE = ("--kubeconfig", "--context", "--cluster", "--server", "--user", "--token", "--as")
_NAMESPACES = ("--namespace", "--all-namespaces")
_SHORT = ("-s", "-n", "-A")
_INSTALL = "./inv sets up a kubectl of its own; or: gcloud components install kubectl"
_NOT_FOUND = 404
_STATUSES = {"(NotFound)": _NOT_FOUND, "(Forbidden)": 403, "(Unauthorized)": 401}
_AWAY = (
    *("connection refused", "was refused", "no such host", "i/o timeout", "Unable to connect"),
    *("deadline exceeded", "network is unreachable", "couldn't get current server API"),
)


class Done(NamedTuple):
    """What a program printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run_kubectl(target: Target, argv: Sequence[str], deadline_s: float = DEADLINE_S) -> str:
    """Return what `kubectl ARGV` prints for the target; `argv` begins with a verb that reads.

    Raises:
        UsageError: The verb may change something, kubectl is missing, or no cluster is named.
        UnreachableError: The cluster does not answer, or not before the deadline.
        ApiError: The cluster refuses, or has no such thing (status 404).
    """
    refuse_change(argv)
    done = execute(command_line(target, argv), environment(target), deadline_s)
    if done.returncode:
        raise explain(done, target)
    return done.stdout


def read_json(
    target: Target, argv: Sequence[str], deadline_s: float = DEADLINE_S
) -> dict[str, Any]:
    """Return the object or List that `kubectl ARGV --output=json` prints; raises as `run_kubectl`.

    Raises:
        ApiError: Also where the output is no JSON object.
    """
    printed = run_kubectl(target, (*argv, "--output=json"), deadline_s)
    try:
        content = json.loads(printed)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ApiError(
            "kubectl printed something else than a JSON object.",
            status=200,
            next_step="check the context in invoke.yaml; something else may answer there",
            subject=target.kube_context,
        )
    return content


def refuse_change(argv: Sequence[str]) -> None:
    """Raise UsageError unless `argv` is one of kubectl's reads, at the target's own cluster."""
    verb, rest = (argv[0] if argv else ""), list(argv[1:])
    if "--" in rest:
        words, inside = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    else:
        words, inside = rest, []
    if verb == "exec":
        allowed = bool(inside) and inside[0] in _PROGRAMS
    elif verb == "rollout":
        allowed = bool(words) and words[0] in _ROLLOUT_READS
    else:
        allowed = verb in _READS
    names = {word.partition("=")[0] for word in words}
    elsewhere = [
        name
        for name in names
        if name.startswith(_ELSEWHERE) or name in _NAMESPACES or name.startswith(_SHORT)
    ]
    if allowed and not elsewhere:
        return
    told = f"kubectl {' '.join(argv[:2])}" if not allowed else f"kubectl's {elsewhere[0]}"
    raise UsageError(
        f"{told} is no read of the target's own cluster.",
        next_step="report this: a read may only get, describe, top, read logs and rollouts",
    )


def command_line(target: Target, argv: Sequence[str]) -> list[str]:
    """Return the whole command, the target's cluster named; raises UsageError as `run_kubectl`."""
    if not target.kubeconfig or not target.kube_context:
        raise UsageError(
            f"Target {target.name!r} names no Kubernetes cluster.",
            next_step="give it `kubeconfig` and `kube_context` in invoke.yaml",
        )
    place = (
        f"--kubeconfig={target.kubeconfig}",
        f"--context={target.kube_context}",
        f"--namespace={target.namespace}",
    )
    return [find_program(), *place, *argv]


def environment(target: Target) -> dict[str, str]:
    """Return kubectl's environment: a cache of the target's own, no aliases, no other cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    return kept | {"KUBECACHEDIR": str(cache_folder(target)), "KUBERC": "off"}


def cache_folder(target: Target) -> Path:
    """Return where kubectl keeps what it knows of the target's cluster; it makes the folder."""
    if target.embedded:
        return Path(target.kubeconfig or "").parent / "kubectl-cache"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "runbook" / "kubectl" / target.name


def find_program() -> str:
    """Return the path of kubectl: the first on PATH, else the one beside this Python.

    Raises:
        UsageError: There is none; the next step says how to install it.
    """
    for folder in (*os.get_exec_path(), str(Path(sys.executable).parent)):
        found = Path(folder) / "kubectl"
        if os.access(found, os.X_OK) and found.is_file():
            return str(found)
    raise UsageError("kubectl is not installed here.", next_step=_INSTALL, subject="kubectl")


def execute(command: Sequence[str], env: Mapping[str, str], deadline_s: float) -> Done:
    """Return what `command` printed; at the deadline it is killed with all that it started.

    Raises:
        UnreachableError: It did not end in time.
        UsageError: It cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be started: {error.strerror}.",
            next_step=_INSTALL,
            subject=command[0],
        ) from error
    started = time.monotonic()
    with process:
        try:
            stdout, stderr = process.communicate(timeout=deadline_s)
        except BaseException as error:
            # Google's kubectl is a dispatcher: the one that waits for the cluster is its child.
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise UnreachableError(
                f"kubectl had no answer within {time.monotonic() - started:.0f} s.",
                next_step="check the context in invoke.yaml and the network, then try again",
                subject=Path(command[0]).name,
            ) from error
    return Done(process.returncode, stdout, stderr)


def explain(done: Done, target: Target) -> RunbookError:
    """Return what kubectl's failure means, in its own words, with what to do next."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    told = lines[-1].strip() if lines else f"kubectl ended with exit code {done.returncode}"
    told = told.removeprefix("error: ").removeprefix("Error from server ")
    place = f"{target.kube_context}, namespace {target.namespace}"
    if any(sign in done.stderr for sign in _AWAY):
        return UnreachableError(
            f"The cluster {target.kube_context} does not answer: {told[:300]}",
            next_step="check the context in invoke.yaml and the network, then try again",
            subject=target.kube_context,
        )
    status = next((code for sign, code in _STATUSES.items() if sign in done.stderr), 400)
    next_step = (
        "check deployment and namespace of the target in invoke.yaml"
        if status == _NOT_FOUND
        else "check that your account may read there: kubectl auth can-i list pods"
    )
    return ApiError(
        f"Kubernetes ({place}): {told[:300]}", status=status, next_step=next_step, subject=place
    )
