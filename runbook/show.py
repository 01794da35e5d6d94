"""Runs commands before a visitor's eyes, and keeps what happened as a scenario's steps."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.errors import RunbookError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[1]
COMMAND_DEADLINE_S = 120.0
WAIT_DEADLINE_S = 60.0
POLL_S = 0.25


class Show:
    """A visitor's terminal, a staging of the demo's own, and the steps so far.

    Attributes:
        folder: The folder of that staging.
        results: Where the proof of this demo is written.
        steps: The scenario's steps as results/verification.json keeps them.
    """

    def __init__(self, folder: Path) -> None:
        """Show on this terminal; `folder` holds a staging of the demo's own."""
        from runbook.render import make_console

        self.folder = folder
        self.results = REPOSITORY / "results" / "demo.json"
        self.console = make_console(sys.stdout)
        self.began = time.monotonic()
        self.started = datetime.now(UTC)
        self.steps: list[dict[str, Any]] = []
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNBOOK_", "INVOKE_"))}
        self.environment = kept | {
            "RUNBOOK_TARGET": "local",
            "RUNBOOK_STAGING_DIR": str(folder),
            "RUNBOOK_STATE_DIR": str(folder / "runbook"),
            "RUNBOOK_RESULTS": str(self.results),
            "COLUMNS": str(max(60, min(120, self.console.width - 4))),
        }

    def say(self, text: str, style: str = "") -> None:
        """Print a line of the demo's own."""
        self.console.print(text, style=style, soft_wrap=True)

    def chapter(self, text: str) -> None:
        """Print what happens next and how long the demo has been running."""
        self.console.print()
        self.say(f"[{time.monotonic() - self.began:3.0f} s] {text}", style="bold cyan")

    def run(self, *words: str, quiet: bool = False) -> str:
        """Run `invoke WORDS`, show it and (unless `quiet`) its output, and return the output.

        Raises:
            RunbookError: The command failed, or took longer than two minutes.
        """
        self.say(f"  $ invoke {shlex.join(words)}", style="bold")
        lines = []
        process = subprocess.Popen(
            [sys.executable, "-m", "invoke", *words],
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        alarm = threading.Timer(COMMAND_DEADLINE_S, process.kill)
        alarm.start()
        try:
            for line in process.stdout or ():
                lines.append(line)
                if not quiet:
                    self.show_output(line)
            code = process.wait()
        finally:
            alarm.cancel()
            process.kill()
            process.wait()
        if code:
            self.say("".join(lines) if quiet else "")
            raise RunbookError(
                f"invoke {shlex.join(words)} ended with exit code {code}.",
                next_step="Read its output above; ./inv demo --keep keeps staging and its logs.",
            )
        return "".join(lines)

    def show_output(self, line: str) -> None:
        """Print a line of a command, with nothing in it that could act on the terminal."""
        from rich.text import Text

        from runbook.render import clean_text

        self.console.print(Text(f"    {clean_text(line.rstrip())}", style="dim"))

    def with_dir(self) -> str:
        """Return how a person speaks to this demo's staging."""
        return f"RUNBOOK_STAGING_DIR={self.folder} ./inv"

    @contextmanager
    def step(self, keyword: str, text: str, command: str | None = None) -> Iterator[dict[str, Any]]:
        """Record one step of the scenario; its outcome is whether the block raised."""
        record: dict[str, Any] = {"keyword": keyword, "text": text, "outcome": "failed"}
        record |= {"seconds": 0.0, "command": command, "output": None}
        self.steps.append(record)
        began = time.monotonic()
        try:
            yield record
            record["outcome"] = "passed"
        finally:
            record["seconds"] = round(time.monotonic() - began, 3)

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait with a line of progress until `condition` holds.

        Raises:
            RunbookError: It did not within a minute.
        """
        began = time.monotonic()
        with self.console.status(f"  waiting: {what} ..."):
            if not self.console.is_terminal:
                self.say(f"  waiting: {what} ...")
            while not condition():
                if time.monotonic() - began > WAIT_DEADLINE_S:
                    raise RunbookError(
                        f"After {WAIT_DEADLINE_S:.0f} s it is still not so that {what}.",
                        next_step="./inv demo --keep, then ./inv staging.status",
                    )
                time.sleep(POLL_S)
        self.say(f"  {what}: after {time.monotonic() - began:.1f} s", style="green")

    def endpoints(self) -> dict[str, Any]:
        """Return the addresses of the demo's staging."""
        found: dict[str, Any] = json.loads((self.folder / "endpoints.json").read_text())
        return found

    def alerts(self) -> dict[str, str]:
        """Return the states of the active alerts, by name, as the real Prometheus tells them."""
        from checks.http import get_json

        found = get_json(self.endpoints()["prometheus"] + "/api/v1/alerts")
        return {a["labels"]["alertname"]: str(a["state"]) for a in found["data"]["alerts"]}

    def clear_away(self) -> None:
        """Stop the demo's staging and remove its folder; a second Ctrl-C does not stop this."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.say("Stopping what the demo started ...")
        down = [sys.executable, "-m", "staging", "down", "--dir", str(self.folder)]
        try:
            done = subprocess.run(
                down,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_DEADLINE_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self.say(f"Staging did not stop in time; end it with: {self.with_dir()} staging.down")
            return
        if done.returncode:
            self.say(done.stdout + done.stderr + f"End it with: {self.with_dir()} staging.down")
            return
        shutil.rmtree(self.folder, ignore_errors=True)
