"""The instance's standard output: JSON lines with the service's field names."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal

Severity = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]
_SEND_TIMEOUT = struct.pack("ll", 1, 0)  # struct timeval: a stuck collector costs a second a line
_CONNECT_TIMEOUT_S = 1.0
_TRACEBACK_FRAMES = 3


def redirect_output(collector: str, header: dict[str, str]) -> None:
    """Make the log collector's unix stream socket this process's standard output and error.

    Sends `header` as the first line. Without a collector both go to /dev/null: logging must not
    keep a container from starting.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_TIMEOUT_S)
    try:
        connection.connect(collector)
        connection.sendall(json.dumps(header).encode() + b"\n")
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        target = connection.detach()
    except OSError:
        connection.close()
        target = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(target, stream)
    if target not in (1, 2):
        os.close(target)


def write_log(severity: Severity, message: str, **fields: str | float | None) -> None:
    """Write one JSON line on standard output; fields that are None are left out."""
    entry: dict[str, str | float | None] = {
        "severity": severity,
        "message": message,
        "time": _format_now(),
    }
    entry |= fields
    present = {name: value for name, value in entry.items() if value is not None}
    _write_line(1, json.dumps(present))


def write_traceback(error: BaseException) -> None:
    """Write an unhandled exception on standard error as the interpreter does, innermost frames."""
    lines = traceback.format_exception(type(error), error, error.__traceback__, -_TRACEBACK_FRAMES)
    _write_line(2, "".join(lines).rstrip("\n"))


def report_unhandled(error: BaseException) -> None:
    """Write a fatal exception with all its frames, as `sys.excepthook` does."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    _write_line(2, "".join(lines).rstrip("\n"))
    sys.stderr.flush()


def _write_line(descriptor: int, line: str) -> None:
    data = line.encode(errors="backslashreplace") + b"\n"
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        # The collector is gone or stuck: a lost line is better than a lost request.
        return


def _format_now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
