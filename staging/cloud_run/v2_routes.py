"""The requests of google.cloud.run.v2: Services, Revisions, Operations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from staging.cloud_run.errors import invalid, unsupported
from staging.cloud_run.messages import encode_enums
from staging.cloud_run.operations import TYPE, Operation
from staging.cloud_run.paging import take_page
from staging.cloud_run.v2 import render_revision, render_service
from staging.cloud_run.v2_schema import REVISION, SERVICE

if TYPE_CHECKING:
    from starlette.requests import Request

    from staging.cloud_run.control_plane import CloudRun
    from staging.cloud_run.models import Revision, Service

LONGEST_WAIT_S = 30.0


def _wants_numbers(request: Request) -> bool:
    parameters = request.query_params
    return "enum-encoding=int" in parameters.get("$alt", "") + parameters.get("alt", "")


def _read_flag(request: Request, *names: str) -> bool:
    for name in names:
        value = request.query_params.get(name)
        if value is not None:
            if value.lower() not in ("true", "false", "1", "0"):
                raise invalid(f"Invalid value at '{name}' (type: bool): '{value}'.")
            return value.lower() in ("true", "1")
    return False


class V2Handlers:
    """Answers v2 requests as plain JSON values; refusals are raised as CloudRunError."""

    def __init__(self, cloud_run: CloudRun) -> None:
        """Answer from this Cloud Run."""
        self._cloud_run = cloud_run
        self._store = cloud_run.store

    def _service(self, request: Request, service: Service) -> dict[str, Any]:
        message = render_service(service, self._cloud_run.place)
        return encode_enums(message, SERVICE) if _wants_numbers(request) else message

    def _revision(self, request: Request, revision: Revision) -> dict[str, Any]:
        message = render_revision(
            revision,
            self._cloud_run.conditions_of(revision),
            self._cloud_run.place,
            self._store.service.name,
        )
        return encode_enums(message, REVISION) if _wants_numbers(request) else message

    def _operation(self, request: Request, operation: Operation) -> dict[str, Any]:
        service = operation.service
        if _wants_numbers(request):
            service = encode_enums(service, SERVICE)
        typed = {"@type": TYPE, **service}
        answer = {"name": operation.name, "metadata": typed, "done": operation.done}
        if operation.error is not None:
            return {**answer, "error": operation.error}
        return {**answer, "response": typed} if operation.done else answer

    async def list_services(self, request: Request) -> dict[str, Any]:
        """Return the services of the region; there is one."""
        page, token = self._page(request, self._store.list_services())
        return {"services": [self._service(request, item) for item in page], **token}

    def _page(self, request: Request, items: list[Any]) -> tuple[list[Any], dict[str, str]]:
        given = request.query_params
        page, token = take_page(items, given.get("pageSize", ""), given.get("pageToken", ""))
        return list(page), {"nextPageToken": token} if token else {}

    async def get_service(self, request: Request) -> dict[str, Any]:
        """Return a service. Raise NOT_FOUND."""
        return self._service(request, self._store.find_service(request.path_params["service"]))

    async def patch_service(self, request: Request) -> dict[str, Any]:
        """Change a service and return the operation. Raise what CloudRun.patch_service raises."""
        if _read_flag(request, "allowMissing"):
            raise unsupported("services.patch with allowMissing, which may create a service")
        self._store.find_service(request.path_params["service"])
        given = request.query_params
        operation = self._cloud_run.patch_service(
            request.state.body,
            given.get("updateMask", given.get("update_mask", "")),
            validate_only=_read_flag(request, "validateOnly", "validate_only"),
        )
        return self._operation(request, operation)

    async def list_revisions(self, request: Request) -> dict[str, Any]:
        """Return the revisions of a service, newest first; "-" stands for every service."""
        if request.path_params["service"] != "-":
            self._store.find_service(request.path_params["service"])
        page, token = self._page(request, self._store.newest_first())
        return {"revisions": [self._revision(request, item) for item in page], **token}

    async def get_revision(self, request: Request) -> dict[str, Any]:
        """Return a revision. Raise NOT_FOUND."""
        self._store.find_service(request.path_params["service"])
        return self._revision(request, self._store.find_revision(request.path_params["revision"]))

    async def get_operation(self, request: Request) -> dict[str, Any]:
        """Return an operation as it is now. Raise NOT_FOUND."""
        operation = self._cloud_run.operations.find(request.path_params["operation"])
        return self._operation(request, operation)

    async def wait_operation(self, request: Request) -> dict[str, Any]:
        """Return an operation when it is done, or after the body's `timeout` (30 s at most)."""
        operation = self._cloud_run.operations.find(request.path_params["operation"])
        body = request.state.body
        text = body.get("timeout", f"{LONGEST_WAIT_S}s") if isinstance(body, dict) else ""
        try:
            seconds = float(str(text).removesuffix("s"))
        except ValueError:
            raise invalid(f"Invalid value at 'timeout' (type: Duration): '{text}'.") from None
        with contextlib.suppress(TimeoutError):
            limit = min(max(seconds, 0.0), LONGEST_WAIT_S)
            await asyncio.wait_for(operation.finished.wait(), limit)
        return self._operation(request, operation)
