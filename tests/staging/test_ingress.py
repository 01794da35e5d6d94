"""The ingress, a real haproxy, before real servers: who gets which request, what is logged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from staging.addresses import INSTANCE_PORT, Addresses, claim_addresses
from staging.ingress.balancer import Ingress
from staging.ingress.config import POOLS
from staging.ingress.pools import NoPoolError, Pools, split_entries
from staging.model import Instance, InstanceSpec

OLD, NEW = "convergence-00001-aaa", "convergence-00002-bbb"


class Plant:
    """An ingress, the access log it writes, and the servers a test puts behind it."""

    def __init__(self, ingress: Ingress, addresses: Addresses, log: socket.socket) -> None:
        """Hold what a test needs at hand."""
        self.ingress = ingress
        self.addresses = addresses
        self.log = log
        self.servers: list[asyncio.Server] = []
        self.requests: list[str] = []
        self.cut = asyncio.Event()

    async def serve(self, slot: int, revision: str, timeout_s: float = 300.0) -> Instance:
        """Start a server that answers with its slot, and tell the ingress of it.

        A request for `/slow` is never answered; when the connection ends, `cut` is set.
        """
        address = self.addresses.instances[slot]

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while request := await reader.readuntil(b"\r\n\r\n"):
                    self.requests.append(request.decode("latin-1").lower())
                    if request.startswith(b"GET /slow "):
                        with contextlib.suppress(ConnectionError):
                            await reader.read()
                        self.cut.set()
                        break
                    body = str(slot).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    writer.write(head + body)
            writer.close()

        self.servers.append(await asyncio.start_server(answer, address, INSTANCE_PORT))
        spec = InstanceSpec(revision, "convergence", "image", timeout_s=timeout_s)
        instance = Instance(f"i{slot}", spec, slot, address, pid=0, state="ready")
        self.ingress.follow_instance(instance)
        await self.ingress.settle()
        return instance

    async def get(
        self, path: str = "/", *, source: str = "127.0.0.1", headers: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Return status and body of one request through the ingress."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.addresses.ports["service"], local_addr=(source, 0)
        )
        lines = (f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", "")
        writer.write("\r\n".join(lines).encode("latin-1"))
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode(errors="replace")

    async def tally(self, requests: int) -> Counter[tuple[int, str]]:
        """Return how often each answer came."""
        return Counter([await self.get() for _ in range(requests)])


@contextlib.asynccontextmanager
async def running_plant() -> AsyncIterator[Plant]:
    addresses = claim_addresses()
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log,
    ):
        directory = Path(folder)
        log.bind(str(directory / "access.sock"))
        log.settimeout(2)
        ingress = Ingress(
            directory, directory, port=addresses.ports["service"], addresses=addresses.instances
        )
        plant = Plant(ingress, addresses, log)
        await ingress.start(directory / "access.sock")
        try:
            yield plant
        finally:
            await ingress.stop()
            for server in plant.servers:
                server.close()
            addresses.release()


def run(scenario: Callable[[Plant], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running_plant() as plant:
            await asyncio.wait_for(scenario(plant), 30)

    asyncio.run(main())


def test_without_a_server_the_ingress_answers_503_itself() -> None:
    async def scenario(plant: Plant) -> None:
        assert (await plant.get())[0] == 503
        plant.ingress.set_split({OLD: 100})
        await plant.ingress.settle()
        assert (await plant.get())[0] == 503

    run(scenario)


def test_an_instance_serves_from_ready_until_it_stops() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        first = await plant.serve(0, OLD)
        assert await plant.tally(20) == {(200, "0"): 20}
        await plant.serve(7, OLD)
        assert set(await plant.tally(40)) == {(200, "0"), (200, "7")}
        first.state = "stopping"
        plant.ingress.follow_instance(first)
        await plant.ingress.settle()
        assert await plant.tally(20) == {(200, "7"): 20}

    run(scenario)


def test_the_split_is_kept_whatever_the_number_of_instances() -> None:
    async def scenario(plant: Plant) -> None:
        await plant.serve(0, OLD)
        for slot in (1, 2, 3):
            await plant.serve(slot, NEW)
        plant.ingress.set_split({OLD: 90, NEW: 10})
        await plant.ingress.settle()
        tally = await plant.tally(1500)
        # 150 expected of 1500; five standard deviations of a binomial are 58.
        assert 92 <= 1500 - tally[(200, "0")] <= 208
        plant.ingress.set_split({NEW: 100})
        await plant.ingress.settle()
        assert (200, "0") not in await plant.tally(100)

    run(scenario)


def test_a_dead_server_costs_no_error_once_the_checks_have_seen_it() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        await plant.serve(0, OLD)
        await plant.serve(1, OLD)
        plant.servers[0].close()
        # `retries 1` and `redispatch` cover the time until then.
        assert await plant.tally(50) == {(200, "1"): 50}

    run(scenario)


@pytest.mark.parametrize(("timeout_s", "after_s"), [(300.0, 5.0), (1.0, 1.0)])
def test_a_server_that_says_nothing_is_cut_off_with_504_in_its_revisions_time(
    timeout_s: float, after_s: float
) -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 50, NEW: 50})
        for slot, revision in enumerate((OLD, NEW)):
            await plant.serve(slot, revision, timeout_s)
        started = time.monotonic()
        assert (await plant.get("/slow"))[0] == 504
        assert after_s - 0.1 < time.monotonic() - started < after_s + 0.9
        await asyncio.wait_for(plant.cut.wait(), 1)

    run(scenario)


def test_the_longest_range_around_a_source_decides_whether_it_gets_in() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        await plant.serve(0, OLD)

        async def ask(source: str) -> int:
            return (await plant.get(source=source))[0]

        assert await ask("127.0.0.66") == 200
        await plant.ingress.enforce(
            {
                "127.0.0.66/32": "403:1000",
                "127.0.100.0/24": "404:1001",
                "127.0.100.9/32": "allow:900",
                "127.0.101.0/24": "502:7",
                "0.0.0.0/0": "allow:2147483647",
                "::/0": "403:1",
            }
        )
        sources = ("127.0.0.66", "127.0.100.66", "127.0.100.9", "127.0.101.1", "127.0.0.67")
        assert [await ask(source) for source in sources] == [403, 404, 200, 502, 200]
        # What is refused never gets to the service.
        assert len(plant.requests) == 3
        entries = [json.loads(plant.log.recv(65536)) for _ in range(6)]
        assert [(one["source"], one["status"], one["verdict"]) for one in entries[1:3]] == [
            ("127.0.0.66", 403, "403:1000"),
            ("127.0.100.66", 404, "404:1001"),
        ]
        await plant.ingress.enforce({})
        assert await ask("127.0.0.66") == 200

    run(scenario)


def test_an_open_connection_is_refused_from_the_next_request_on() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        await plant.serve(0, OLD)
        port = plant.addresses.ports["service"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def ask() -> bytes:
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)

        assert b" 200 " in await ask()
        await reader.readexactly(1)
        await plant.ingress.enforce({"127.0.0.1/32": "403:1"})
        assert b" 403 " in await ask()
        writer.close()

    run(scenario)


def test_each_request_is_logged_as_json_with_its_revision() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        await plant.serve(4, OLD)
        await plant.get('/a/b?x="]\\%ff')
        entry = json.loads(plant.log.recv(65536))
        assert entry["revision"] == OLD
        assert entry["server"] == "s5"
        assert (entry["method"], entry["status"], entry["protocol"]) == ("GET", 200, "HTTP/1.1")
        assert entry["path"] == '/a/b?x="]\\%ff'
        assert entry["source"] == "127.0.0.1"
        assert abs(entry["time_s"] - time.time()) < 5
        assert entry["latency_ms"] >= 0

    run(scenario)


def test_the_service_is_told_the_address_that_a_client_really_has() -> None:
    async def scenario(plant: Plant) -> None:
        plant.ingress.set_split({OLD: 100})
        await plant.serve(0, OLD)
        await plant.get(source="127.0.10.3")
        claims = ("X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 198.51.100.8")
        await plant.get(source="127.0.0.66", headers=claims)
        told = [
            [line.partition(": ")[2] for line in lines.split("\r\n") if line.startswith("x-forw")]
            for lines in plant.requests
        ]
        assert told == [["127.0.10.3"], ["198.51.100.8,127.0.0.66"]]

    run(scenario)


def test_a_revision_without_a_pool_is_served_once_another_one_has_gone() -> None:
    async def scenario(plant: Plant) -> None:
        served = [await plant.serve(slot, f"r-{slot}") for slot in range(POOLS)]
        late = asyncio.create_task(plant.serve(POOLS, "late"))
        await asyncio.sleep(0.3)
        assert not late.done()
        served[0].state = "stopping"
        plant.ingress.follow_instance(served[0])
        await late
        plant.ingress.set_split({"late": 100})
        await plant.ingress.settle()
        assert await plant.get() == (200, str(POOLS))

    run(scenario)


def test_pools_are_lent_anew_only_when_nobody_needs_them() -> None:
    pools = Pools(2)
    first = pools.lend({"a"})
    assert pools.lend({"a", "b"})["a"] == first["a"]
    assert set(pools.lend({"a", "c"})) == {"a", "c"}
    assert pools.lend({"a"})["a"] == first["a"]
    with pytest.raises(NoPoolError):
        pools.lend({"a", "b", "c"})
    assert POOLS >= 4


@pytest.mark.parametrize("split", [{"a": 50}, {"a": 101}, {"a": 150, "b": -50}])
def test_a_split_that_does_not_add_up_is_refused(split: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="adds up"):
        split_entries(split, {"a": "p", "b": "q"}, {"a": 1, "b": 2})
