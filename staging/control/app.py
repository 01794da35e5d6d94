"""The control API: look at staging, break it, heal it, reset it, stop it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from staging.cloud_run.errors import CloudRunError
from staging.control.baseline import reset
from staging.control.faults import FAULTS
from staging.control.metrics import render_metrics
from staging.control.status import MemoryMeter, read_status
from staging.ingress.runtime import IngressError
from staging.load.load import LoadError
from staging.local_http import LocalHttpError
from staging.model import PLATFORMS, WorkloadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from staging.control.plant import Plant

_LOG = logging.getLogger(__name__)
_ANSWER_FIRST_S = 0.05
_RESET_EXAMPLE = 'POST /reset {"platform": "kubernetes"}'
_KEY_EXAMPLE = 'POST /keys {"tenant": TENANT, "file": PATH}'
_LOAD_EXAMPLE = 'POST /load {"rate": REQUESTS_PER_SECOND}'


class ControlError(Exception):
    """A request that cannot be met; `next_step` says what to do instead."""

    def __init__(self, message: str, next_step: str, status: int) -> None:
        """Keep what the caller is told."""
        super().__init__(message)
        self.next_step = next_step
        self.status = status


class Control:
    """Serves the control API over a plant; one change at a time."""

    def __init__(self, plant: Plant, stop: Callable[[], None]) -> None:
        """Take the plant, and `stop`, which ends the staging."""
        self._plant = plant
        self._stop = stop
        self._started = time.monotonic()
        self._changing = asyncio.Lock()
        self._meter = MemoryMeter()
        self.ready = False

    def build_app(self) -> Starlette:
        """Return the ASGI app."""
        return Starlette(
            routes=[
                _route("/status", "GET", self._status),
                _route("/faults", "GET", self._faults),
                _route("/break", "POST", self._break),
                _route("/heal", "POST", self._heal),
                _route("/reset", "POST", self._reset),
                _route("/keys", "POST", self._use_key),
                _route("/load", "POST", self._steer_load),
                _route("/stop", "POST", self._stop_soon),
                Route("/metrics", self._metrics, methods=["GET"]),
            ]
        )

    async def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "ready": self.ready,
            "uptime_s": round(time.monotonic() - self._started, 3),
            **await read_status(self._plant, self._meter),
        }

    async def _faults(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "faults": [
                {
                    "name": fault.name,
                    "alert": fault.alert,
                    "description": fault.description,
                    "platforms": list(fault.platforms),
                }
                for fault in FAULTS.values()
            ]
        }

    async def _break(self, body: dict[str, Any]) -> dict[str, Any]:
        fault = FAULTS.get(str(body.get("fault", "")))
        if fault is None:
            names = ", ".join(FAULTS)
            raise ControlError(f"there is no such fault; there are {names}", "GET /faults", 400)
        async with self._changing:
            platform = self._plant.workload.platform
            if platform not in fault.platforms:
                raise ControlError(
                    f"{fault.name} does not exist on {platform}",
                    f'POST /reset {{"platform": "{fault.platforms[0]}"}}',
                    409,
                )
            self._plant.faults.append(fault.name)
            started = time.monotonic()
            await fault.engage(self._plant)
            return {
                "fault": fault.name,
                "alert": fault.alert,
                "seconds": round(time.monotonic() - started, 3),
            }

    async def _heal(self, _: dict[str, Any]) -> dict[str, Any]:
        async with self._changing:
            healed = list(dict.fromkeys(self._plant.faults))
            # Two faults may have the same cure; one deployment is enough.
            for cure in dict.fromkeys(FAULTS[name].heal for name in healed):
                await cure(self._plant)
            self._plant.faults.clear()
            return {"healed": healed}

    async def _steer_load(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            rate = float(body["rate"])
        except (KeyError, TypeError, ValueError):
            raise ControlError("the rate must be a number", _LOAD_EXAMPLE, 400) from None
        async with self._changing:
            try:
                await self._plant.load.set_rate(rate)
            except LoadError as error:
                raise ControlError(f"the clients refuse: {error}", _LOAD_EXAMPLE, 400) from error
        return {"rate": rate}

    async def _use_key(self, body: dict[str, Any]) -> dict[str, Any]:
        tenant, file = str(body.get("tenant", "")), Path(str(body.get("file", "")))
        if not file.is_absolute():
            raise ControlError("the file's path must be absolute", _KEY_EXAMPLE, 400)
        async with self._changing:
            try:
                await self._plant.load.use_key(tenant, file)
            except LoadError as error:
                raise ControlError(f"the clients refuse: {error}", _KEY_EXAMPLE, 400) from error
        return {"tenant": tenant}

    async def _reset(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = body.get("platform", PLATFORMS[0])
        platform = next((name for name in PLATFORMS if name == wanted), None)
        if platform is None:
            names = ", ".join(PLATFORMS)
            raise ControlError(
                f"there is no platform {wanted!r}; there are {names}", _RESET_EXAMPLE, 400
            )
        async with self._changing:
            return {"platform": platform, "seconds": round(await reset(self._plant, platform), 3)}

    async def _stop_soon(self, _: dict[str, Any]) -> dict[str, Any]:
        asyncio.get_running_loop().call_later(_ANSWER_FIRST_S, self._stop)
        return {"stopping": True}

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(render_metrics(self._plant))


def _route(
    path: str, method: str, answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await answer(await _read_body(request)))
        except ControlError as error:
            return _refuse(str(error), error.next_step, error.status)
        except CloudRunError as error:
            return _refuse(f"Cloud Run refused: {error}", "POST /reset", 409)
        except WorkloadError as error:
            return _refuse(str(error), "POST /reset", 409)
        except (TimeoutError, LocalHttpError, LoadError, IngressError) as error:
            _LOG.exception("%s %s failed", method, path)
            return _refuse(f"a part of staging failed: {error}", "stop it and start anew", 500)

    return Route(path, endpoint, methods=[method])


async def _read_body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ControlError("the body must be a JSON object", 'POST {"fault": NAME}', 400)
    return body


def _refuse(message: str, next_step: str, status: int) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "next": next_step}}, status)
