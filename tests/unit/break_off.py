"""Runs a command of the runbook and sends itself a signal at one point of a change.

Usage: python tests/unit/break_off.py SIGNAL before|after FUNCTION ARGUMENT...

FUNCTION is one of the engine's own (`runbook.changes.change`): make_plan, record, apply,
verify_effect; or send_patch, after which the change is made and nothing has been written about it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


def wrap(function: Callable[..., Any], number: signal.Signals, moment: str) -> Callable[..., Any]:
    """Return `function` with the signal sent to this process before or after it runs."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the function takes
        if moment == "before":
            os.kill(os.getpid(), number)
        result = function(*args, **kwargs)
        if moment == "after":
            os.kill(os.getpid(), number)
        return result

    return wrapped


def main() -> None:
    """Wrap the function and run invoke in this process."""
    number, moment, name, *arguments = sys.argv[1:]
    sys.path.insert(0, str(REPOSITORY))
    os.chdir(REPOSITORY)
    from invoke.main import program  # noqa: PLC0415 - the path to the repository is set above

    from runbook.changes import change, cloud_run_requests, kubernetes_requests  # noqa: PLC0415

    sent = name == "send_patch"
    for module in (cloud_run_requests, kubernetes_requests) if sent else (change,):
        setattr(module, name, wrap(getattr(module, name), signal.Signals[number], moment))
    program.run(["invoke", *arguments])


if __name__ == "__main__":
    main()
