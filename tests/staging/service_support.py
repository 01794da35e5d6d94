"""A fleet of real instances with a log collector and a database, for tests over the wire."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from staging.addresses import claim_addresses
from staging.control.key_table import KeyTable
from staging.model import Instance, InstanceSpec
from staging.service.builds import REPOSITORY
from staging.service.database_server import DatabaseServer
from staging.service.fleet import FleetSettings, ProcessFleet
from staging.service.http_client import HttpClient, HttpResponse
from staging.service.keys import KEYS_DATASET, KEYS_TABLE, create_admin_key, create_api_keys
from staging.service.settings import EMBEDDED_LIMITS
from staging.service.sources_server import SourcesServer
from staging.service.tenants import list_tenants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from prometheus_client.samples import Sample

PROJECT = "convergence-local"
REVISION = "convergence-data-pipeline-00002-abc"
READY_DEADLINE_S = 10.0


@dataclass
class Rig:
    """What a test talks to."""

    fleet: ProcessFleet
    database: DatabaseServer
    sources: SourcesServer
    keys: dict[str, str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    async def start(
        self,
        tag: str = "1.4.2",
        *,
        env: Mapping[str, str] | None = None,
        concurrency: int = 100,
    ) -> Instance:
        """Start an instance of an image tag and return it once it is ready or gone."""
        spec = replace(make_spec(tag), env=env or {}, concurrency=concurrency)
        instance = await self.fleet.start(spec)
        await self.fleet.wait_ready(instance, READY_DEADLINE_S)
        return instance

    async def ask(
        self,
        instance: Instance,
        target: str,
        *,
        tenant: str | None = None,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        method: str = "",
    ) -> HttpResponse:
        """Return the answer to a GET, or to a POST when there is a body, as `tenant` if given."""
        host, _, port = instance.address.partition(":")
        client = HttpClient(host, int(port))
        keys = {"x-api-key": self.keys[tenant]} if tenant else {}
        method = method or ("GET" if body is None else "POST")
        data = b"" if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(15):
                return await client.request(method, target, {**keys, **(headers or {})}, data)
        finally:
            client.close()

    def update_key(self, tenant: str, **columns: str) -> None:
        """Change a tenant's rows of the key table."""
        changed = self.database.store.update(
            KEYS_DATASET, KEYS_TABLE, {"tenant_id": tenant}, columns
        )
        assert changed

    async def wait_for_status(
        self, instance: Instance, target: str, status: int, *, tenant: str
    ) -> None:
        """Return once a GET is answered with `status`; raise TimeoutError after 5 s."""
        give_up = time.monotonic() + 5
        while (await self.ask(instance, target, tenant=tenant)).status != status:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{target} does not answer {status}")
            await asyncio.sleep(0.05)

    async def scrape(self, instance: Instance) -> list[Sample]:
        """Return every sample of `/metrics`, read by Prometheus' own parser."""
        text = (await self.ask(instance, "/metrics")).body.decode()
        return [s for family in text_string_to_metric_families(text) for s in family.samples]

    def find_logs(self, message: str) -> list[dict[str, Any]]:
        """Return the JSON log entries whose message begins so."""
        entries = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [e for e in entries if str(e.get("message", "")).startswith(message)]


def make_spec(tag: str = "1.4.2") -> InstanceSpec:
    """Return the specification of one instance of an image tag."""
    image = f"{REPOSITORY}:{tag}"
    return InstanceSpec(revision=REVISION, service="convergence-data-pipeline", image=image)


@asynccontextmanager
async def serve_rig(folder: Path, slots: int = 40, reset_share: float = 0.0) -> AsyncIterator[Rig]:
    """Run an empty fleet with its collector and database in `folder`.

    `reset_share` of its requests fail by nature; a test that expects answers wants none.
    """
    addresses = claim_addresses()
    keys = create_api_keys(folder / "api-keys.json")
    database = DatabaseServer(PROJECT, list_tenants())
    KeyTable(database.store, keys, folder).restore()
    sources = SourcesServer(list_tenants())
    environment = {
        **EMBEDDED_LIMITS,
        "BIGQUERY_ENDPOINT": await database.start(),
        "SOURCES_ENDPOINT": await sources.start(),
        "ADMIN_KEY_FILE": str(create_admin_key(folder / "admin-key")),
        "METADATA_LOG_FLUSH_INTERVAL_SECONDS": "0.2",
        "UPSTREAM_RESET_SHARE": str(reset_share),
    }
    settings = FleetSettings(
        addresses.block, folder / "logs.sock", PROJECT, "us-central1", environment, slots
    )
    rig = Rig(ProcessFleet(settings), database, sources, keys, folder)

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            rig.lines.append(line.decode().rstrip("\n"))
        writer.close()

    collector = await asyncio.start_unix_server(collect, folder / "logs.sock")
    await rig.fleet.open()
    try:
        yield rig
    finally:
        await rig.fleet.close()
        await database.stop()
        await sources.stop()
        collector.close()
        await collector.wait_closed()
        addresses.release()


async def wait_until(condition: Callable[[], bool], deadline_s: float, what: str) -> float:
    """Return the seconds until `condition` held; raise TimeoutError at the deadline."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > deadline_s:
            raise TimeoutError(f"not within {deadline_s:g} s: {what}")
        await asyncio.sleep(0.002)
    return time.monotonic() - started


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists and is no zombie."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a path of the kernel's
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def sum_samples(samples: Iterable[Sample], name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that carry these labels."""
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
