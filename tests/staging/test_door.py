"""The door for Google's APIs: by host as gcloud's proxy, by path alone as an endpoint."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route

from staging.door import Door
from staging.serving import LocalServer

if TYPE_CHECKING:
    from starlette.requests import Request


async def _run(_: Request) -> JSONResponse:
    return JSONResponse({"api": "run"})


async def _logging(_: Request) -> JSONResponse:
    return JSONResponse({"api": "logging"})


def ask(*requests: bytes) -> list[tuple[int, dict[str, Any], float]]:
    """Return status, JSON body and seconds of each request, sent to a door of its own."""

    async def exchange(port: int, request: bytes) -> tuple[int, dict[str, Any], float]:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        try:
            content = json.loads(body)
        except ValueError:
            content = {}
        return int(head.split()[1]), content, time.monotonic() - started

    async def main() -> list[tuple[int, dict[str, Any], float]]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        door = Door(
            {
                r"(?:.+-)?run\.googleapis\.com": [Route("/v2/services", _run)],
                r"logging\.googleapis\.com": [Route("/v2/entries", _logging, methods=["POST"])],
            }
        )
        server = LocalServer(door, port)
        await server.start()
        try:
            return [await exchange(port, request) for request in requests]
        finally:
            await server.stop()

    return asyncio.run(main())


def _request(target: str, host: str, method: str = "GET") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    return f"{head}Content-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "host", ["run.googleapis.com", "us-central1-run.googleapis.com", "127.0.0.1:8080", "localhost"]
)
def test_a_host_leads_to_its_api(host: str) -> None:
    assert ask(_request("/v2/services", host))[0][:2] == (200, {"api": "run"})


def test_a_proxys_absolute_address_leads_to_the_same_place() -> None:
    target = "http://us-central1-run.googleapis.com/v2/services?alt=json"
    assert ask(_request(target, "us-central1-run.googleapis.com"))[0][:2] == (200, {"api": "run"})


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        ("GET", "/v2/services", "logging.googleapis.com"),
        ("GET", "/v2/services", "compute.googleapis.com"),
        ("GET", "/v2/services", "run.googleapis.com.example.org"),
        ("DELETE", "/v9/nothing", "127.0.0.1"),
    ],
)
def test_what_is_not_there_is_refused_in_googles_form(method: str, target: str, host: str) -> None:
    status, body, _ = ask(_request(target, host, method))[0]
    message = f"not supported by embedded staging: {method} {target}"
    assert (status, body) == (
        501,
        {"error": {"code": 501, "status": "UNIMPLEMENTED", "message": message}},
    )


def test_a_tunnel_is_refused_at_once() -> None:
    """gcloud, asking for an API without an endpoint override, would else wait for half a minute."""
    request = (
        b"CONNECT oauth2.googleapis.com:443 HTTP/1.1\r\nHost: oauth2.googleapis.com:443\r\n\r\n"
    )
    status, _, seconds = ask(request)[0]
    assert 400 <= status < 600
    assert seconds < 0.5
