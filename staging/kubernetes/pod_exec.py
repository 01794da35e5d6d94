"""`pods/exec` over a websocket: subprotocols v5.channel.k8s.io and v4.channel.k8s.io.

The first byte of a message is its channel: 0 in, 1 out, 2 err, 3 the Status at the end, 4 the
terminal's size, 255 (v5) an end of a channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import psutil
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from staging.kubernetes.errors import StatusError, bad_request, unsupported
from staging.kubernetes.kinds import NAMESPACE, POD
from staging.kubernetes.pod_logs import check_container
from staging.kubernetes.programs import Program, RefusedError, prepare

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from staging.kubernetes.cluster import Cluster

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_OUT, _ERR, _STATUS = b"\x01", b"\x02", b"\x03"
_CHUNK = 65536
_KILL_S = 5.0


async def serve_exec(socket: WebSocket, cluster: Cluster) -> None:
    """Run a program in a pod and send what it says, and at last how it ended."""
    offered = socket.scope.get("subprotocols", [])
    protocol = next((name for name in _PROTOCOLS if name in offered), None)
    try:
        if protocol is None:
            raise bad_request(f"exec needs the subprotocol {_PROTOCOLS[0]}")
        program = _find_program(socket, cluster)
    except StatusError as error:
        await _refuse(socket, error)
        return
    except RefusedError as error:
        await socket.accept(subprotocol=protocol)
        await _end(socket, _failure("InternalError", str(error)))
        return
    await socket.accept(subprotocol=protocol)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await _run(socket, program)


def answer_without_websocket(request: Request, cluster: Cluster) -> Response:
    """Return why an exec is refused: kubectl asks in this older way when its websocket was.

    Raise StatusError.
    """
    try:
        _find_program(request, cluster)
    except RefusedError as error:
        raise bad_request(str(error)) from None
    raise unsupported("exec over SPDY; kubectl from 1.30 on uses websockets")


def _find_program(socket: HTTPConnection, cluster: Cluster) -> Program:
    name, asked = socket.path_params["name"], socket.query_params
    if socket.path_params["namespace"] != NAMESPACE:
        raise StatusError(404, "NotFound", f'pods "{name}" not found')
    cluster.store.get(POD, name)
    check_container(name, asked.get("container", ""))
    worker = cluster.pods.find(name)
    if worker is None or worker.instance is None:
        raise bad_request('container not found ("app")')
    return prepare(asked.getlist("command"), worker.instance)


async def _refuse(socket: WebSocket, error: StatusError) -> None:
    await socket.send_denial_response(JSONResponse(error.body(), error.code))


async def _run(socket: WebSocket, program: Program) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(program.pid).ppid()
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        listener = asyncio.create_task(_listen(socket, process))
        try:
            async with asyncio.timeout(program.deadline_s):
                said, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await asyncio.wait_for(process.wait(), _KILL_S)
            await _end(socket, _failure("Timeout", f"it took over {program.deadline_s:.0f} s"))
            return
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        for channel, output in ((_OUT, said), (_ERR, errors)):
            text = program.translate(output, parent)
            for start in range(0, len(text), _CHUNK):
                await socket.send_bytes(channel + text[start : start + _CHUNK])
        await _end(socket, _describe_exit(process.returncode or 0))
        return
    await _end(socket, _failure("InternalError", "the container has ended"))


async def _listen(socket: WebSocket, process: asyncio.subprocess.Process) -> None:
    """Kill the program when the client goes; what the client types is not passed on."""
    try:
        while True:
            await socket.receive_bytes()
    except (WebSocketDisconnect, RuntimeError, KeyError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _describe_exit(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": 500,
    }


async def _end(socket: WebSocket, status: dict[str, Any]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_bytes(_STATUS + json.dumps(status).encode())
        await socket.close()
