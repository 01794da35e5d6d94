"""Embedded staging: start it, break it on purpose, mend it, work in it by hand."""

from __future__ import annotations

import json as json_module
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from checks.errors import RunbookError, UnreachableError, UsageError
from runbook.report import Report, Table
from runbook.step import step

if TYPE_CHECKING:
    from invoke.context import Context

    from checks.target import Target

REPOSITORY = Path(__file__).resolve().parents[1]
RULES = REPOSITORY / "checks" / "alerts.yml"
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0
CONTROL_DEADLINE_S = 60.0
HTTP_OK = 200
PLATFORMS = {"cloud_run": "Cloud Run", "kubernetes": "Kubernetes"}


@step(
    needs_target=False,
    help={"time_scale": "Divide the durations of rules and platform by this."},
)
def up(c: Context, time_scale: float = 60.0) -> Report:  # noqa: ARG001
    """Start the embedded staging: the service, Cloud Run, logs, Prometheus, under load."""
    if not time_scale > 0:
        raise UsageError(
            f"A time scale of {time_scale:g} makes no sense; it must be above 0.",
            next_step="invoke staging.up --time-scale=60",
        )
    run_staging(
        "up",
        "--rules",
        str(RULES),
        "--time-scale",
        f"{time_scale:g}",
        deadline_s=START_DEADLINE_S,
    )
    target = find_staging()
    return Report(
        "The embedded staging is up: the service is healthy, under load and scraped.",
        level="good",
        evidence=(list_addresses(target),),
        next_steps=("invoke staging.break", "invoke assess", "invoke staging.shell"),
        data={"addresses": addresses(target), "time_scale": target.time_scale},
    )


@step(needs_target=False)
def down(c: Context) -> Report:  # noqa: ARG001
    """Stop the embedded staging and every process of it."""
    run_staging("down", deadline_s=STOP_DEADLINE_S)
    return Report("The embedded staging is down.", level="good", next_steps=("invoke staging.up",))


@step(needs_target=False)
def status(c: Context) -> Report:  # noqa: ARG001
    """Show what the embedded staging is doing: instances, traffic, load, faults."""
    target = find_staging()
    found = ask_control(target, "GET", "/status")
    faults = [str(fault) for fault in found.get("faults", ())]
    state = "ready" if found.get("ready") else "not ready"
    broken = f"; broken by {', '.join(faults)}" if faults else "; nothing is broken on purpose"
    return Report(
        f"The embedded staging is {state} on {runs_on(found)}{broken}.",
        level="warn" if faults or not found.get("ready") else "good",
        evidence=(list_instances(target, found), describe_load(found), list_addresses(target)),
        next_steps=("invoke staging.heal", "invoke assess")
        if faults
        else ("invoke staging.break", "invoke staging.down"),
        data={"status": found, "addresses": addresses(target)},
    )


@step(
    needs_target=False,
    help={"platform": "Where the service runs afterwards: cloud_run or kubernetes."},
)
def reset(c: Context, platform: str = "cloud_run") -> Report:  # noqa: ARG001
    """Bring the clean baseline back: revisions, traffic, scaling, logs, alerts, load."""
    if platform not in PLATFORMS:
        raise UsageError(
            f"There is no platform {platform!r}; there are {', '.join(PLATFORMS)}.",
            next_step="invoke staging.reset --platform=kubernetes",
            subject=platform,
        )
    ask_control(find_staging(), "POST", "/reset", {"platform": platform})
    return Report(
        f"The embedded staging is back at its clean baseline, on {PLATFORMS[platform]}.",
        level="good",
        next_steps=("invoke staging.break",),
        data={"platform": platform},
    )


def names_fault(argv: list[str]) -> bool:
    """Return whether a word that may be a fault follows `staging.break` on the command line."""
    following = argv[argv.index("staging.break") + 1 :] if "staging.break" in argv else []
    return bool(following) and not following[0].startswith("-")


@step(
    name="break",
    needs_target=False,
    # invoke insists on a positional argument, so there is none where the faults are to be listed.
    positional=["fault"] if names_fault(sys.argv) else [],
    example={"fault": "endpoint-errors"},
    help={"fault": "What breaks; without it, the faults are listed."},
)
def break_(c: Context, fault: str | None = None) -> Report:  # noqa: ARG001
    """Break the embedded staging on purpose; without a fault, list the faults."""
    target = find_staging()
    faults = read_faults(target)
    if not fault:
        return Report(
            f"There are {len(faults)} ways to break the embedded staging.",
            evidence=(list_faults(faults),),
            next_steps=(f"invoke staging.break {next(iter(faults), 'FAULT')}",),
            data={"faults": list(faults.values())},
        )
    if fault not in faults:
        raise UsageError(
            f"There is no fault {fault!r}; there are {', '.join(faults)}.",
            next_step="invoke staging.break",
            subject=fault,
        )
    found = ask_control(target, "POST", "/break", {"fault": fault})
    return Report(
        f"The embedded staging is broken: {fault}.",
        level="warn",
        evidence=tuple(filter(None, (str(faults[fault].get("description", "")),))),
        next_steps=("invoke assess", "invoke staging.heal"),
        data={"fault": fault, "answer": found},
    )


@step(needs_target=False)
def heal(c: Context) -> Report:  # noqa: ARG001
    """Take the cause of the faults away, as an engineer's fix would; mitigations stay."""
    ask_control(find_staging(), "POST", "/heal", {})
    return Report(
        "The cause is gone; what a mitigation left in force still is.",
        level="good",
        next_steps=("invoke mitigate", "invoke staging.reset"),
    )


@step(needs_target=False)
def shell(c: Context) -> None:
    """Open a shell in which gcloud, bq, kubectl and curl speak to the embedded staging.

    `invoke staging.shell -- gcloud run services list` runs one command there instead, and
    exits with its code.
    """
    from runbook.render import show_progress
    from runbook.vendors import build_environment

    target = find_staging()
    environment = build_environment(target, folder())
    command = read_remainder(c) or [os.environ.get("SHELL") or "/bin/sh"]
    if len(command) == 1 and sys.stdin.isatty():
        show_progress(f"Every vendor CLI here speaks to {target.environment} alone; exit leaves.")
    try:
        done = subprocess.run(command, env=environment, check=False)
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be run: {error.strerror}.",
            next_step=f"Install {command[0]}, or leave `-- COMMAND` away for a shell.",
            subject=command[0],
        ) from error
    if done.returncode:
        raise Exit(code=done.returncode)


def folder() -> Path:
    """Return the embedded staging's folder, absolute."""
    from checks.target import staging_dir

    return staging_dir().resolve()


def find_staging() -> Target:
    """Return the running embedded staging; raise UnreachableError when it is not running."""
    from checks.target import load_target

    return load_target("local")


def run_staging(verb: str, *arguments: str, deadline_s: float) -> None:
    """Run `python -m staging VERB`, its progress lines on standard error.

    Raises:
        RunbookError: It failed, or took longer than `deadline_s` seconds.
    """
    command = [sys.executable, "-m", "staging", verb, "--dir", str(folder()), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RunbookError(
            f"The embedded staging did not go {verb} within {deadline_s:.0f} s.",
            next_step=f"Look at the logs in {folder()}, then: invoke staging.down",
        ) from error
    if done.returncode:
        raise RunbookError(
            f"The embedded staging did not go {verb}; the reason stands above.",
            next_step=f"Look at the logs in {folder()}, then: invoke staging.down",
        )


def ask_control(
    target: Target, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the answer of the embedded staging's control API.

    Raises:
        UnreachableError: No answer in time.
        RunbookError: It answered with an error; its own sentence and next step are kept.
    """
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    place = urlsplit(target.control or "")
    # A connection of its own, since a proxy set for the machine is not meant for loopback.
    connection = HTTPConnection(
        place.hostname or "127.0.0.1", place.port, timeout=CONTROL_DEADLINE_S
    )
    try:
        sent = None if body is None else json_module.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json_module.loads(answer.read() or b"{}")
    except (OSError, HTTPException, ValueError) as error:
        raise UnreachableError(
            f"The embedded staging's control API gave no answer ({type(error).__name__}).",
            next_step="invoke staging.down, then invoke staging.up",
            subject=path,
        ) from error
    finally:
        connection.close()
    if answer.status != HTTP_OK:
        told = content.get("error") or {}
        raise RunbookError(
            str(told.get("message") or f"{method} {path} was answered with {answer.status}."),
            next_step=str(told.get("next") or "invoke staging.status"),
            subject=path,
        )
    return dict(content)


def read_faults(target: Target) -> dict[str, dict[str, Any]]:
    """Return the faults that the embedded staging knows, by name."""
    found = ask_control(target, "GET", "/faults").get("faults", [])
    return {str(fault["name"]): dict(fault) for fault in found}


def list_faults(faults: dict[str, dict[str, Any]]) -> Table:
    """Return a table of the faults: name, the alert each leads to, what really happens."""
    rows = tuple(
        (name, str(fault.get("alert") or "none"), str(fault.get("description", "")))
        for name, fault in faults.items()
    )
    return Table(("fault", "alert", "what really happens"), rows)


def runs_on(found: dict[str, Any]) -> str:
    """Return the name of the platform that runs the service, as `status` tells it."""
    platform = str(found.get("platform", "cloud_run"))
    return PLATFORMS.get(platform, platform)


def list_instances(target: Target, found: dict[str, Any]) -> Table:
    """Return a table of the instances, as `status` tells them; a name begins with its revision."""
    rows = tuple(
        (
            str(one.get("name", "")).removeprefix(f"{target.service}-"),
            str(one.get("state", "")),
            str(one.get("address", "")),
            str(one.get("pid", "")),
        )
        for one in found.get("instances", ())
    )
    return Table(("instance", "state", "address", "pid"), rows, right=("pid",))


def describe_load(found: dict[str, Any]) -> str:
    """Return load, traffic and memory in a line each."""
    load, traffic = found.get("load", {}), found.get("traffic", {})
    shares = ", ".join(f"{revision} {percent} %" for revision, percent in traffic.items())
    return (
        f"traffic {shares or 'none'} · load {load.get('rps', 0):g} requests/s, "
        f"{load.get('failed', 0)} of {load.get('sent', 0)} failed since the start · "
        f"{found.get('pss_mb', 0):.0f} MB of memory"
    )


def addresses(target: Target) -> dict[str, str]:
    """Return the addresses that the embedded staging listens on, by what answers there."""
    found = {
        "service": target.service_url,
        "Google APIs": target.api,
        "Prometheus": target.prometheus,
        "Alertmanager": target.alertmanager,
    }
    return {name: address for name, address in found.items() if address}


def list_addresses(target: Target) -> Table:
    """Return a table of the addresses."""
    return Table(("what", "address"), tuple(addresses(target).items()))


def read_remainder(c: Context) -> list[str]:
    """Return the words after `--` as they were typed.

    invoke joins them with spaces, which loses the quotes of `logging read 'severity>=ERROR'`, so
    the command line itself is read where it is the one that invoke parsed.
    """
    typed = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    return typed if " ".join(typed) == c.remainder else shlex.split(c.remainder)
