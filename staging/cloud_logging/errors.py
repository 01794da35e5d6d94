"""What Cloud Logging answers when it refuses: google.rpc.Status as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HTTP_CODES: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "UNIMPLEMENTED": 501,
}


class LoggingError(Exception):
    """A request that is refused, with the status that Google's API would give it."""

    def __init__(self, status: str, message: str, details: tuple[object, ...] = ()) -> None:
        """Take `status` as google.rpc.Code names it, and `details` as JSON objects."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details

    @property
    def code(self) -> int:
        """Return the HTTP status code of the answer."""
        return _HTTP_CODES[self.status]

    def body(self) -> dict[str, object]:
        """Return the answer's JSON body in the form of AIP-193."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "status": self.status,
        }
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


class InvalidEntryError(Exception):
    """A log entry that entries.write refuses; the text says which field and why."""


class QueryError(LoggingError):
    """A filter that is no query, or that uses what embedded staging does not have."""

    def __init__(self, what: str, text: str, offset: int) -> None:
        """Say `what` is wrong at `offset` (in characters) of the filter `text`."""
        line = text.count("\n", 0, offset) + 1
        column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        super().__init__(
            "INVALID_ARGUMENT", f"Unparseable filter: {what} at line {line}, column {column}"
        )
        self.line = line
        self.column = column
