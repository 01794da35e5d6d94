"""Refusals of the Kubernetes API: `Status` objects, as every client expects them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from staging.kubernetes.kinds import Kind


@dataclass(frozen=True)
class Cause:
    """One field that is wrong; `reason` is one of Kubernetes' field error types."""

    field: str
    reason: str
    message: str


class StatusError(Exception):
    """A refusal with its HTTP status code and the machine's and the person's reason."""

    def __init__(
        self, code: int, reason: str, message: str, details: dict[str, Any] | None = None
    ) -> None:
        """Keep the parts of the Status object."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def _name(kind: Kind, name: str) -> dict[str, Any]:
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural}


def not_found(kind: Kind, name: str) -> StatusError:
    """Return the refusal for an object that does not exist."""
    return StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found', _name(kind, name))


def no_such_path() -> StatusError:
    """Return the refusal for a path that no resource has."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """Return the refusal of a write that was made on an older version of the object."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try"
        " again"
    )
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _name(kind, name))


def invalid(kind: Kind | None, name: str, causes: Iterable[Cause]) -> StatusError:
    """Return the refusal of an object whose fields have the `causes`; 422 with all of them."""
    found = list(causes)
    lines = [f"{cause.field}: {cause.message}" for cause in found]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    described = f"{kind.kind}.{kind.group}" if kind and kind.group else kind.kind if kind else ""
    details: dict[str, Any] = {
        **({"name": name} if name else {}),
        **({"group": kind.group} if kind and kind.group else {}),
        **({"kind": kind.kind} if kind else {}),
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in found
        ],
    }
    return StatusError(422, "Invalid", f'{described} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    """Return the refusal of a request that cannot be read."""
    return StatusError(400, "BadRequest", message)


def unsupported(what: str) -> StatusError:
    """Return the refusal of what a real cluster may do and this one does not."""
    return StatusError(501, "NotImplemented", f"not supported by embedded staging: {what}")


def not_allowed(method: str, what: str) -> StatusError:
    """Return the refusal of a method on a resource."""
    return StatusError(
        405,
        "MethodNotAllowed",
        f"not supported by embedded staging: {method} of {what}",
    )


def expired(version: str) -> StatusError:
    """Return the refusal of a watch from a version that is no longer remembered."""
    return StatusError(410, "Expired", f"too old resource version: {version}")
