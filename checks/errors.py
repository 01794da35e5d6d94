"""What can go wrong, each with the exit code that a responder and a script can rely on.

Exit codes: 0 done, 1 failed and nothing changed, 2 wrong usage, 3 changed but not verified,
4 refused. 130 is the shell's own code for Ctrl-C.
"""

from __future__ import annotations


class RunbookError(Exception):
    """A failure that is told in one sentence, with the step that comes next.

    Attributes:
        next_step: What the responder does now: a command, or a short instruction.
        subject: What it is about (a revision, a URL, a tenant), or an empty string.
        exit_code: The code that the command exits with.
    """

    exit_code = 1

    def __init__(self, message: str, *, next_step: str, subject: str = "") -> None:
        """Keep `message` as the whole sentence that `str` gives back."""
        super().__init__(message)
        self.next_step = next_step
        self.subject = subject


class UsageError(RunbookError):
    """The arguments or the configuration make no sense; nothing was asked or changed."""

    exit_code = 2


class NotVerifiedError(RunbookError):
    """A change was made, and its effect could not be confirmed in time."""

    exit_code = 3


class RefusedError(RunbookError):
    """The change would be unsafe, so nothing was changed."""

    exit_code = 4


class ConcurrentChangeError(RefusedError):
    """Someone else changed the service between the plan and the change."""


class ProtectedTargetError(RefusedError):
    """The target is protected and nobody confirmed the change."""


class UnreachableError(RunbookError):
    """No answer: connection refused, name unknown, or the deadline passed."""


class ApiError(RunbookError):
    """An answer that is an error, or that is not what the API promises.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, *, status: int, next_step: str, subject: str = "") -> None:
        """Keep the HTTP status beside the sentence."""
        super().__init__(message, next_step=next_step, subject=subject)
        self.status = status
