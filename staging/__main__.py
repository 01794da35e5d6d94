"""Embedded staging as a program: `python -m staging up|down|status|bench`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from staging import supervisor_client as client
from staging.local_http import LocalHttpError
from staging.supervisor_directory import StagingDirectory


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed, 2 usage."""
    options = _build_parser().parse_args(arguments)
    directory = StagingDirectory(options.dir)
    try:
        return _run(options, directory)
    except (client.StagingError, LocalHttpError) as error:
        sys.stderr.write(f"staging: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, directory: StagingDirectory) -> int:
    if options.command == "down":
        client.stop(directory, _say)
        return 0
    if options.command == "status":
        status = client.read_status(directory)
        _say(json.dumps(status) if options.json else client.describe(status))
        return 0
    if options.command == "bench":
        # Imported late, as is the supervisor: `down` and `status` need neither.
        from staging.supervisor_bench import run_bench  # noqa: PLC0415

        return run_bench(directory, options.rules, options.time_scale, _say)
    if options.foreground:
        from staging.supervisor_run import run_supervisor  # noqa: PLC0415

        return run_supervisor(
            directory, options.rules, options.time_scale, options.progress_fd, options.seed
        )
    client.start(directory, options.rules, options.time_scale, _say, options.seed)
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m staging", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("up", "start, and wait until it is healthy, under load and scraped"),
        ("down", "stop everything; ok when nothing runs"),
        ("status", "say what runs"),
        ("bench", "start, reset and stop a staging of its own, and print what that takes"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument(
            "--dir",
            type=Path,
            default=Path(os.environ.get("RUNBOOK_STAGING_DIR") or ".staging"),
            help="where everything is kept (default: $RUNBOOK_STAGING_DIR or .staging)",
        )
        if name in {"up", "bench"}:
            command.add_argument("--rules", type=Path, default=Path("checks/alerts.yml"))
            command.add_argument("--time-scale", type=_positive, default=60.0)
        if name == "up":
            command.add_argument("--seed", type=int, default=0, help="what chance the load has")
            command.add_argument("--foreground", action="store_true", help="do not detach")
            command.add_argument("--progress-fd", type=int, help=argparse.SUPPRESS)
        if name == "status":
            command.add_argument("--json", action="store_true")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 1000:  # noqa: PLR2004 - beyond, a window is shorter than a scrape
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 1000")
    return value


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
