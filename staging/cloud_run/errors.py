"""Refusals of the Cloud Run API, in the shape that every Google API answers with."""

from __future__ import annotations

from typing import Any

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
}
RPC_CODE = {
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "INTERNAL": 13,
}


class CloudRunError(Exception):
    """A refusal with the canonical status of google.rpc.Code and a message for a person."""

    def __init__(self, status: str, message: str) -> None:
        """Keep the canonical `status` name and the `message`."""
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def http_status(self) -> int:
        """Return the HTTP status code that belongs to the canonical status."""
        return HTTP_STATUS[self.status]

    def body(self) -> dict[str, Any]:
        """Return Google's error JSON, which both client libraries and gcloud read."""
        return {"error": {"code": self.http_status, "message": self.message, "status": self.status}}


def invalid(message: str) -> CloudRunError:
    """Return INVALID_ARGUMENT: what was sent can never be accepted."""
    return CloudRunError("INVALID_ARGUMENT", message)


def unknown_name(name: str, path: str) -> CloudRunError:
    """Return the refusal of a field that the API does not have, in Google's own words."""
    at = f" at '{path}'" if path else ""
    return invalid(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')


def unsupported(what: str) -> CloudRunError:
    """Return UNIMPLEMENTED: Cloud Run has this, embedded staging does not."""
    return CloudRunError("UNIMPLEMENTED", f"not supported by embedded staging: {what}")


def not_found(kind: str, name: str, region: str, project: str) -> CloudRunError:
    """Return NOT_FOUND for a resource of `kind` SERVICE, REVISION or OPERATION."""
    return CloudRunError(
        "NOT_FOUND",
        f"Resource '{name}' of kind '{kind}' in region '{region}' in project '{project}'"
        " does not exist.",
    )


def conflict(name: str, given: str, current: str) -> CloudRunError:
    """Return ABORTED: someone changed the service since the caller read it."""
    return CloudRunError(
        "ABORTED",
        f"Conflict for resource '{name}': version '{given}' was specified"
        f" but current version is '{current}'.",
    )
