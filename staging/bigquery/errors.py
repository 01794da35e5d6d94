"""Refusals of the BigQuery API, in the form that its clients read."""

from __future__ import annotations

from typing import Any

_STATUS = {
    "invalid": 400,
    "invalidQuery": 400,
    "required": 400,
    "accessDenied": 403,
    "notFound": 404,
    "duplicate": 409,
    "notImplemented": 501,
}
_CANONICAL = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    501: "UNIMPLEMENTED",
}


class BigQueryError(Exception):
    """A refusal with BigQuery's own `reason`, and where in the query or the request it lies."""

    def __init__(self, reason: str, message: str, location: str = "") -> None:
        """Keep the reason, the message for a person and the location, "" when there is none."""
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.location = location

    @property
    def http_status(self) -> int:
        """Return the HTTP status code that belongs to the reason."""
        return _STATUS[self.reason]

    def detail(self) -> dict[str, str]:
        """Return the ErrorProto, as it also stands in a failed job's status."""
        place = {"location": self.location, "locationType": "other"} if self.location else {}
        return {"reason": self.reason, "message": self.message} | place

    def body(self) -> dict[str, Any]:
        """Return the error JSON of an HTTP answer."""
        return {
            "error": {
                "code": self.http_status,
                "message": self.message,
                "errors": [{**self.detail(), "domain": "global"}],
                "status": _CANONICAL[self.http_status],
            }
        }


def invalid(message: str) -> BigQueryError:
    """Return the refusal of a request that can never be met."""
    return BigQueryError("invalid", message)


def invalid_query(message: str, place: str = "") -> BigQueryError:
    """Return the refusal of a query; `place` is its line and column, such as `[1:8]`."""
    return BigQueryError("invalidQuery", f"{message} at {place}" if place else message, "query")


def not_found(what: str) -> BigQueryError:
    """Return the refusal of what does not exist, such as `Dataset project:name`."""
    return BigQueryError("notFound", f"Not found: {what}")


def unsupported(what: str) -> BigQueryError:
    """Return the refusal of what BigQuery has and embedded staging has not."""
    return BigQueryError("notImplemented", f"not supported by embedded staging: {what}")
