"""Cloud Armor before a real haproxy and a server behind it, for tests over the wire."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from starlette.applications import Starlette

from staging.addresses import INSTANCE_PORT, Addresses, claim_addresses
from staging.cloud_armor.control_plane import POLICY, PROPAGATION_S, CloudArmor
from staging.cloud_armor.routes import routes
from staging.ingress.balancer import Ingress
from staging.model import Instance, InstanceSpec
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

PROJECT = "convergence-local"
TIME_SCALE = 60.0
DEADLINE_S = 20.0
_Result = TypeVar("_Result")


class _From(HTTPAdapter):
    """Connects from one loopback address, as a client that has it."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, **options, source_address=(self._source, 0))


class CloudArmorServer:
    """The API, the ingress and one instance, in an event loop of their own."""

    propagation_s = PROPAGATION_S / TIME_SCALE

    def __init__(self, directory: Path) -> None:
        """Keep haproxy's files in `directory`."""
        self._directory = directory
        self._addresses: Addresses = claim_addresses()
        self.port = self._addresses.ports["api"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.base = f"{self.url}/compute/v1/projects/{PROJECT}/global"
        self.service = self._addresses.url("service")
        self.served: list[str] = []
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sockets = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Bring everything up."""
        self._thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        sockets = Path(self._sockets.name)
        self.log.bind(str(sockets / "access.sock"))
        self.log.settimeout(5)
        self._ingress = Ingress(
            self._directory,
            sockets,
            port=self._addresses.ports["service"],
            addresses=self._addresses.instances,
        )
        await self._ingress.start(sockets / "access.sock")
        self._ingress.set_split({"one": 100})
        address = self._addresses.instances[0]
        self._instance = await asyncio.start_server(self._answer, address, INSTANCE_PORT)
        spec = InstanceSpec("one", "convergence", "image")
        self._ingress.follow_instance(Instance("i", spec, 0, address, pid=0, state="ready"))
        self._armor = CloudArmor(
            project=PROJECT, time_scale=TIME_SCALE, enforce=self._ingress.enforce
        )
        await self._armor.reset()
        self._api = LocalServer(Starlette(routes=routes(self._armor)), self.port)
        await self._api.start()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.served.append(head.decode("latin-1"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    def stop(self) -> None:
        """Close everything and end the loop's thread."""
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
        self.log.close()
        self._sockets.cleanup()
        self._addresses.release()

    async def _stop(self) -> None:
        await self._api.stop()
        await self._armor.stop()
        await self._ingress.stop()
        self._instance.close()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine in the server's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def reset(self) -> None:
        """Go back to the baseline."""
        self.run(self._armor.reset())

    def clear_log(self) -> None:
        """Forget what was logged and served so far."""
        self.served.clear()
        self.log.setblocking(False)
        try:
            while self.log.recv(65536):
                pass
        except BlockingIOError:
            self.log.settimeout(5)

    def status_for(self, source: str) -> int:
        """Return the status that a client with this address gets from the service."""
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", _From(source))
            return session.get(f"{self.service}/", timeout=5).status_code

    def ask(self, method: str, path: str) -> requests.Response:
        """Return the answer to a request for something global in the project."""
        return requests.request(method, f"{self.base}/{path}", timeout=DEADLINE_S)

    def post(self, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        """Return the answer to a POST."""
        return requests.post(f"{self.base}/{path}", json=body, timeout=DEADLINE_S)

    def change(self, call: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the operation that a change of the policy answers with."""
        answer = self.post(f"securityPolicies/{POLICY}/{call}", body)
        assert answer.status_code == 200, answer.text
        operation: dict[str, Any] = answer.json()
        return operation

    def wait(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """Return an operation as it is when `wait` answers."""
        path = urlsplit(str(operation["selfLink"])).path
        answer = requests.post(f"{self.url}{path}/wait", timeout=DEADLINE_S)
        assert answer.status_code == 200, answer.text
        done: dict[str, Any] = answer.json()
        return done

    def put(self, rule: Mapping[str, Any]) -> None:
        """Add a rule and return when it is in force."""
        assert self.wait(self.change("addRule", rule))["status"] == "DONE"
