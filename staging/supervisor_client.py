"""Start a staging in the background, stop it, and ask how it is."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staging.local_http import LocalHttpError, request_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from staging.supervisor_directory import StagingDirectory

START_DEADLINE_S = 35.0
_STOP_DEADLINE_S = 15.0
_KILL_DEADLINE_S = 2.0
_ROOT = Path(__file__).resolve().parents[1]


class StagingError(Exception):
    """The command could not be carried out."""


def start(
    directory: StagingDirectory,
    rules: Path,
    time_scale: float,
    say: Callable[[str], None],
    seed: int = 0,
) -> None:
    """Start a supervisor in the background and return when it is ready; ok when one runs already.

    Raise StagingError when it is not ready in time, or fails; then nothing is left running.
    """
    directory.prepare()
    pid = directory.find_supervisor()
    if pid:
        _wait_for_other(directory)
        say(f"staging runs already in {directory.path} (process {pid})")
        return
    reading, writing = os.pipe()
    arguments = [
        *("up", "--foreground", "--dir", str(directory.path), "--rules", str(rules.resolve())),
        *("--time-scale", f"{time_scale:g}", "--seed", str(seed)),
        *("--progress-fd", str(writing)),
    ]
    with directory.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "staging", *arguments],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    with open(reading, "rb", buffering=0) as progress:  # noqa: PTH123 - a descriptor, not a path
        _follow(progress.fileno(), process, directory, say)


def _follow(
    progress: int,
    process: subprocess.Popen[bytes],
    directory: StagingDirectory,
    say: Callable[[str], None],
) -> None:
    failure = f"not ready after {START_DEADLINE_S:g} s"
    deadline = time.monotonic() + START_DEADLINE_S
    for line in _read_lines(progress, deadline):
        if line.startswith("error: "):
            failure = line.removeprefix("error: ")
            break
        say(line)
        if directory.read_endpoints() is not None:
            # It goes on without us; a later wait for it would be somebody else's.
            process.returncode = 0
            return
    else:
        if time.monotonic() < deadline:
            failure = f"it ended: {_last_line(directory)}"
    process.terminate()
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    raise StagingError(f"staging did not start: {failure}; its log: {directory.log}")


def _last_line(directory: StagingDirectory) -> str:
    lines = directory.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def _read_lines(descriptor: int, deadline: float) -> Iterator[str]:
    """Yield lines until the end of the stream or the deadline."""
    selector = selectors.DefaultSelector()
    selector.register(descriptor, selectors.EVENT_READ)
    pending = b""
    while selector.select(max(deadline - time.monotonic(), 0)):
        data = os.read(descriptor, 65536)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)


def _wait_for_other(directory: StagingDirectory) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while directory.read_endpoints() is None:
        if not directory.find_supervisor():
            raise StagingError(f"another start failed meanwhile; its log: {directory.log}")
        if time.monotonic() > deadline:
            raise StagingError(f"a staging in {directory.path} does not become ready")
        time.sleep(0.05)


def stop(directory: StagingDirectory, say: Callable[[str], None]) -> None:
    """Stop the staging and return when it is gone; ok when none runs.

    Raise StagingError when it cannot be stopped.
    """
    pid = directory.find_supervisor()
    if not pid:
        directory.remove_endpoints()
        say(f"no staging runs in {directory.path}")
        return
    for number, deadline_s in ((signal.SIGTERM, _STOP_DEADLINE_S), (signal.SIGKILL, 2.0)):
        _signal(directory, pid, number)
        if _is_gone(directory, pid, deadline_s):
            directory.remove_endpoints()
            say("staging is down")
            return
    raise StagingError(f"process {pid} does not end")


def _signal(directory: StagingDirectory, pid: int, number: signal.Signals) -> None:
    """Signal the process that holds the directory, and no later one with the same id."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if directory.find_supervisor() == pid:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _is_gone(directory: StagingDirectory, pid: int, deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while directory.find_supervisor() == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def read_status(directory: StagingDirectory) -> dict[str, Any]:
    """Return what the control API says. Raise StagingError when no staging runs or answers."""
    endpoints = directory.read_endpoints()
    if endpoints is None or not directory.find_supervisor():
        raise StagingError(f"no staging runs in {directory.path}; start one: python -m staging up")
    try:
        status = request_json(f"{endpoints['control']}/status")
    except LocalHttpError as error:
        raise StagingError(str(error)) from error
    return {**status, "endpoints": endpoints}


def describe(status: dict[str, Any]) -> str:
    """Return a status in a few lines for a person."""
    endpoints = status["endpoints"]
    load = status["load"]
    lines = [
        f"staging at time scale {status['time_scale']:g}, up for {status['uptime_s']:.0f} s",
        f"platform: {status['platform']}",
        f"{len(status['processes'])} processes with {status['pss_mb']:.0f} MB",
        f"faults: {', '.join(status['faults']) or 'none'}",
        "traffic: " + ", ".join(f"{name} {share} %" for name, share in status["traffic"].items()),
        f"load: {load}",
        *(
            f"instance {item['name']} at {item['address']}, process {item['pid']}, {item['state']}"
            for item in status["instances"]
        ),
        *(
            f"{name}: {endpoints[name]}"
            for name in ("api", "service_url", "prometheus", "alertmanager", "control")
        ),
    ]
    return "\n".join(lines)
