"""Refusals of the Compute Engine API, in the form that gcloud and the client libraries read."""

from __future__ import annotations

from typing import Any

_STATUS = {"invalid": 400, "required": 400, "forbidden": 403, "notFound": 404, "unsupported": 501}


class ComputeError(Exception):
    """A refusal with Compute Engine's own `reason` and a message for a person."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the `reason` and the `message`."""
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def http_status(self) -> int:
        """Return the HTTP status code that belongs to the reason."""
        return _STATUS[self.reason]

    def body(self) -> dict[str, Any]:
        """Return the error JSON of an HTTP answer."""
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        return {
            "error": {"code": self.http_status, "message": self.message, "errors": [detail]},
        }


def invalid(field: str, value: object, why: str) -> ComputeError:
    """Return the refusal of a field's value."""
    return ComputeError("invalid", f"Invalid value for field '{field}': '{value}'. {why}")


def unknown_name(name: str, path: str) -> ComputeError:
    """Return the refusal of a field or parameter that the API does not have."""
    at = f" at '{path}'" if path else ""
    message = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
    return ComputeError("invalid", message)


def not_found(resource: str) -> ComputeError:
    """Return the refusal of a resource that is not there, by its path."""
    return ComputeError("notFound", f"The resource '{resource}' was not found")


def unsupported(what: str) -> ComputeError:
    """Return the refusal of what Cloud Armor has and embedded staging has not."""
    return ComputeError("unsupported", f"not supported by embedded staging: {what}")
