"""The supervisor's process: its directory held, its progress told, its end reported."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from staging.addresses import NoAddressError
from staging.monitoring.scale import UnscalableRuleError, scale_rules
from staging.processes import ProcessFailedError
from staging.supervisor import Settings, Supervisor
from staging.supervisor_directory import AlreadyRunningError, StagingDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# It lies beside the alert rules.
ROUTES = "alertmanager.yml"
_LOG = logging.getLogger(__name__)


def run_supervisor(
    directory: StagingDirectory,
    rules: Path,
    time_scale: float,
    progress_fd: int | None,
    seed: int = 0,
) -> int:
    """Run a staging in this process until it is told to stop; return the exit code.

    Progress goes to the pipe `progress_fd`, and to standard output without one.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    report = _make_report(progress_fd)
    try:
        directory.hold()
        text = rules.read_text(encoding="utf-8")
        scale_rules(text, time_scale)
        routes = rules.with_name(ROUTES).read_text(encoding="utf-8")
        asyncio.run(_run(Settings(directory, text, routes, time_scale, seed), report))
    except AlreadyRunningError as error:
        report(f"error: {error}")
    except (UnscalableRuleError, NoAddressError, ProcessFailedError, OSError) as error:
        report(f"error: {error}")
    except Exception as error:  # noqa: BLE001 - logged here, reported to whoever started this
        _LOG.exception("staging failed")
        report(f"error: {type(error).__name__}: {error}")
    else:
        return 0
    return 1


async def _run(settings: Settings, report: Callable[[str], None]) -> None:
    try:
        await Supervisor(settings, report).run()
    finally:
        settings.directory.remove_socket_folder()


def _make_report(progress_fd: int | None) -> Callable[[str], None]:
    descriptor = sys.stdout.fileno() if progress_fd is None else progress_fd

    def report(line: str) -> None:
        # The one who started this may be gone by now.
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{line}\n".encode())

    return report
