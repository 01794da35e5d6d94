"""Samples an instance's process with py-spy: in its pod, or on this machine.

py-spy halts the process for each sample, about a third of a millisecond, so that stacks are
whole: at 100 samples a second some 3 % of its time. Its `--nonblocking` costs nothing and tears
one stack in twenty, which is more than the answer can bear.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from checks.errors import RunbookError, UsageError
from checks.target import KUBERNETES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.target import Target
    from checks.usage import Usage

INSTALL = "./inv sets up a py-spy of its own; or: pip install py-spy"
CONTAINER = "app"
_GRACE_S = 20.0
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,127}")


def check_instance(text: str) -> str:
    """Return `text` if it may name an instance, a pod or an address; raises UsageError."""
    if not text or _INSTANCE.fullmatch(text):
        return text
    raise UsageError(
        f"{text[:80]!r} cannot be an instance's name.",
        next_step="invoke assess.cpu lists the instances",
        subject=text,
    )


def pick_instance(usages: Sequence[Usage], wanted: str) -> Usage:
    """Return the instance called `wanted`, else the one that uses most CPU.

    A name may be shortened to its end, as long as only one instance ends so.

    Raises:
        UsageError: No instance is called so, or several are.
        RunbookError: There is no instance at all.
    """
    if not usages:
        raise RunbookError("No instance runs that could be asked.", next_step="invoke assess")
    if not wanted:
        return usages[0]
    exact = [one for one in usages if wanted in {one.name, one.address}]
    found = exact or [one for one in usages if one.name.endswith(f"-{wanted}")]
    if len(found) == 1:
        return found[0]
    raise UsageError(
        f"{'No' if not found else 'More than one'} instance is called {wanted!r}.",
        next_step="invoke assess.cpu lists the instances",
        subject=wanted,
    )


def sample(target: Target, instance: Usage, *, seconds: int, rate: int) -> tuple[int, str]:
    """Return the process id and its stacks over `seconds`, in py-spy's raw format.

    Raises:
        UsageError: Nothing can look into an instance there, or py-spy is missing.
        RunbookError: The process cannot be sampled, or has ended.
        UnreachableError: No answer before the deadline.
    """
    if target.platform == KUBERNETES:
        return 1, _sample_pod(target, instance, seconds=seconds, rate=rate)
    if not target.embedded:
        raise UsageError(
            "Cloud Run lets nobody into an instance, so its process cannot be sampled from here.",
            next_step="open Cloud Profiler in the console (it samples from within, if the service"
            " starts its agent), or sample the same revision on Kubernetes or in staging",
            subject=instance.name,
        )
    return _sample_here(instance, seconds=seconds, rate=rate)


def record_words(pid: int, *, seconds: int, rate: int) -> tuple[str, ...]:
    """Return py-spy's arguments: stacks with whole file names to standard output."""
    return (
        *("record", f"--pid={pid}", "--format=raw", "--full-filenames"),
        *(f"--duration={seconds}", f"--rate={rate}", "--output=/dev/stdout"),
    )


def _sample_here(instance: Usage, *, seconds: int, rate: int) -> tuple[int, str]:
    from checks.instances import read_pid
    from runbook.programs import find_program, run_program

    program = find_program("py-spy", install=INSTALL)
    pid = read_pid(instance.address)
    words = record_words(pid, seconds=seconds, rate=rate)
    done = run_program((program, *words), deadline_s=seconds + _GRACE_S)
    if done.returncode:
        raise _explain(done.stderr, instance)
    return pid, done.stdout


def _sample_pod(target: Target, pod: Usage, *, seconds: int, rate: int) -> str:
    from checks import kubectl

    inside = ("py-spy", *record_words(1, seconds=seconds, rate=rate))
    argv = ("exec", pod.name, f"--container={CONTAINER}", "--", *inside)
    kubectl.refuse_change(argv)
    command = kubectl.command_line(target, argv)
    done = kubectl.execute(command, kubectl.environment(target), seconds + _GRACE_S)
    if not done.returncode:
        return done.stdout
    if "command terminated" in done.stderr or "executable file not found" in done.stderr:
        raise _explain(done.stderr, pod)
    raise kubectl.explain(done, target)


def _explain(stderr: str, instance: Usage) -> RunbookError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("Error")), lines[-1] if lines else "")
    if "executable file not found" in stderr:
        return UsageError(
            f"py-spy is not installed in the container of {instance.name}.",
            next_step="put py-spy into the image, or add it for now:"
            f" kubectl debug {instance.name} --target={CONTAINER} --image=python:3.11 -it",
            subject=instance.name,
        )
    if "ermission" in stderr or "EPERM" in stderr:
        return RunbookError(
            f"py-spy may not look into {instance.name}: {told[:200]}",
            next_step="give the container the capability SYS_PTRACE, or run as root here",
            subject=instance.name,
        )
    return RunbookError(
        f"py-spy could not sample {instance.name}: {told[:200] or 'it did not say why'}",
        next_step="invoke assess.cpu shows whether it still runs; then try again",
        subject=instance.name,
    )
