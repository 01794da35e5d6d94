"""Long-running operations: what PATCH answers with, and what clients poll until it is done."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from staging.cloud_run.errors import RPC_CODE, not_found

if TYPE_CHECKING:
    from staging.cloud_run.models import Place

KEPT = 500
TYPE = "type.googleapis.com/google.cloud.run.v2.Service"


@dataclass
class Operation:
    """One change under way; done when its generation was observed, with a service or an error."""

    name: str
    generation: int
    service: dict[str, Any]
    error: dict[str, Any] | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def done(self) -> bool:
        """Return whether the change succeeded or failed for good."""
        return self.finished.is_set()

    def succeed(self, service: dict[str, Any]) -> None:
        """Finish with the service as it is now."""
        self.service = service
        self.finished.set()

    def fail(self, status: str, message: str) -> None:
        """Finish with a google.rpc.Status of the canonical `status` name."""
        self.error = {"code": RPC_CODE[status], "message": message}
        self.finished.set()


class Operations:
    """The newest operations by name."""

    def __init__(self, place: Place) -> None:
        """Start with none."""
        self._place = place
        self._items: OrderedDict[str, Operation] = OrderedDict()

    def open(self, generation: int, service: dict[str, Any]) -> Operation:
        """Return a new operation that will be done when `generation` was rolled out."""
        parent = f"projects/{self._place.project}/locations/{self._place.region}"
        operation = Operation(f"{parent}/operations/{uuid.uuid4()}", generation, service)
        self._items[operation.name] = operation
        while len(self._items) > KEPT:
            self._items.popitem(last=False)
        return operation

    def find(self, identifier: str) -> Operation:
        """Return an operation by the last part of its name. Raise NOT_FOUND."""
        for name, operation in self._items.items():
            if name.rsplit("/", 1)[-1] == identifier:
                return operation
        raise not_found("OPERATION", identifier, self._place.region, self._place.project)

    def pending(self, generation: int) -> list[Operation]:
        """Return the operations not done yet of all generations up to `generation`."""
        return [
            item for item in self._items.values() if not item.done and item.generation <= generation
        ]

    def clear(self) -> None:
        """Forget every operation; waiters of unfinished ones are told that they were aborted."""
        for operation in self._items.values():
            if not operation.done:
                operation.fail("ABORTED", "Embedded staging was reset.")
        self._items.clear()
