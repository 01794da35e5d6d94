"""A line on what is being waited for: in place at a terminal, else one line a few seconds."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from runbook.render import clean_text, show_progress

if TYPE_CHECKING:
    from rich.status import Status

_EVERY_S = 5.0


class Progress:
    """Shows the newest message on standard error for as long as the context lasts."""

    def __init__(self) -> None:
        """Count from now."""
        self._started = time.monotonic()
        self._shown = ""
        self._shown_at = 0.0
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Begin; a terminal gets a spinner."""
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True, markup=False).status("")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()

    def show(self, message: str) -> None:
        """Show `message` with the seconds that have passed."""
        now = time.monotonic()
        line = clean_text(f"{message} ({now - self._started:.0f} s)")
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(line))
        elif message != self._shown or now - self._shown_at >= _EVERY_S:
            show_progress(line)
            self._shown, self._shown_at = message, now
