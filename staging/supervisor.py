"""The supervisor: one asyncio process that starts, wires and stops everything in staging."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staging.addresses import Addresses, claim_addresses
from staging.baseline import SERVICE
from staging.bigquery.routes import routes as bigquery_routes
from staging.cloud_armor.control_plane import POLICY, CloudArmor
from staging.cloud_armor.routes import routes as cloud_armor_routes
from staging.cloud_logging.access_log import AccessLog
from staging.cloud_logging.collector import Collector
from staging.cloud_logging.lines import Origin
from staging.cloud_logging.routes import routes as logging_routes
from staging.cloud_logging.store import LogStore
from staging.cloud_run.control_plane import CloudRun
from staging.cloud_run.routes import routes as cloud_run_routes
from staging.control.app import Control
from staging.control.baseline import wait_clean
from staging.control.key_table import KeyTable
from staging.control.plant import Plant
from staging.control.platforms import Platforms
from staging.door import Door
from staging.ingress.balancer import Ingress
from staging.kubernetes.cluster import Cluster
from staging.kubernetes.container_logs import ContainerLogs
from staging.kubernetes.kinds import NAMESPACE
from staging.kubernetes.kubeconfig import CONTEXT, write_kubeconfig
from staging.kubernetes.routes import routes as kubernetes_routes
from staging.load.load import Load
from staging.local_http import LocalHttpError, fetch_json
from staging.monitoring.alertmanager import Alertmanager
from staging.monitoring.prometheus import Prometheus
from staging.processes import ProcessFailedError
from staging.service.builds import list_images
from staging.service.database_server import DatabaseServer
from staging.service.fleet import FleetSettings, ProcessFleet
from staging.service.keys import create_admin_key, create_api_keys
from staging.service.settings import EMBEDDED_LIMITS
from staging.service.sources_server import SourcesServer
from staging.service.tenants import list_tenants
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from staging.model import Platform
    from staging.supervisor_directory import StagingDirectory

PROJECT = "convergence-local"
PROJECT_NUMBER = "123456789012"
REGION = "us-central1"
START_DEADLINE_S = 30.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What `up` was asked for: the texts of the alert rules and of Alertmanager's routes."""

    directory: StagingDirectory
    rules: str
    routes: str
    time_scale: float
    seed: int = 0
    """What chance it is: the same draws the same load."""


class Supervisor:
    """Everything of one staging; `run` returns when it has stopped."""

    def __init__(self, settings: Settings, report: Callable[[str], None]) -> None:
        """Hold `settings`; `report` gets a line for everything that was reached while starting."""
        self._settings = settings
        self._tell = report
        self._reached = ""
        self._stopping = asyncio.Event()
        self._failure = ""
        self._cleanup = contextlib.AsyncExitStack()
        self._platforms: Platforms | None = None
        self._outputs = ContainerLogs()

    async def run(self) -> None:
        """Start everything, stay until told to stop, stop everything.

        Raise ProcessFailedError, OSError when the start fails, and ProcessFailedError when a
        program that the staging cannot do without has ended by itself.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        async with self._cleanup:
            start = asyncio.create_task(self._start_in_time())
            stop = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                start.cancel()
                await asyncio.gather(start, return_exceptions=True)
            else:
                start.result()
            await stop
            self._settings.directory.remove_endpoints()
        if self._failure:
            raise ProcessFailedError(self._failure)

    def stop(self) -> None:
        """Have `run` stop everything and return."""
        self._stopping.set()

    async def _start_in_time(self) -> None:
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                await self._start()
        except TimeoutError as error:
            reached = self._reached or "nothing"
            raise ProcessFailedError(f"not up in time; reached: {reached}; {error}") from error

    def _report(self, line: str) -> None:
        self._reached = line
        self._tell(line)

    async def _start(self) -> None:
        started = time.monotonic()
        addresses = claim_addresses()
        self._cleanup.callback(addresses.release)
        prometheus, alertmanager = await self._start_monitoring(addresses)
        logs, sockets = await self._start_logging(addresses)
        ingress = await self._start_ingress(addresses, sockets)
        database, keys, sources = self._create_backends()
        backends = await self._open_backends(database, sources)
        fleet = await self._open_fleet(addresses, sockets, ingress, backends)
        cloud_run = await self._start_cloud_run(addresses, fleet, ingress, logs)
        cluster = self._open_cluster(fleet, ingress)
        platforms = self._platforms = Platforms(cloud_run, cluster)
        self._report(f"the service serves at {addresses.url('service')}")
        load = await self._start_load(addresses)
        plant = Plant(
            time_scale=self._settings.time_scale,
            addresses=addresses,
            fleet=fleet,
            cloud_run=cloud_run,
            ingress=ingress,
            prometheus=prometheus,
            alertmanager=alertmanager,
            logs=logs,
            load=load,
            database=database,
            sources=sources,
            keys=keys,
            platforms=platforms,
            cloud_armor=await self._start_cloud_armor(ingress),
            publish=lambda: self._settings.directory.write_endpoints(self._describe(addresses)),
        )
        control = await self._open_doors(plant, cluster)
        await self._wait_under_load(plant)
        self._report("the service is under load; waiting for Prometheus to see it")
        await self._wait_watched(plant)
        control.ready = True
        plant.publish()
        self._report(f"staging is up after {time.monotonic() - started:.1f} s")

    async def _start_monitoring(self, addresses: Addresses) -> tuple[Prometheus, Alertmanager]:
        directory = self._settings.directory.path
        prometheus = Prometheus(
            directory, url=addresses.url("prometheus"), addresses=addresses.instances
        )
        alertmanager = Alertmanager(directory, url=addresses.url("alertmanager"))
        self._cleanup.push_async_callback(prometheus.stop)
        # Prometheus takes 5 s to look at its targets for the first time, so it starts first.
        await prometheus.start(
            rules=self._settings.rules,
            time_scale=self._settings.time_scale,
            exporter=addresses.url("control"),
            alertmanager=addresses.url("alertmanager"),
        )
        self._watch(prometheus.process.watch)
        self._cleanup.push_async_callback(alertmanager.stop)
        await alertmanager.start(self._settings.routes, self._settings.time_scale)
        self._watch(alertmanager.process.watch)
        self._report("Prometheus and Alertmanager are starting")
        return prometheus, alertmanager

    async def _start_logging(self, addresses: Addresses) -> tuple[LogStore, Path]:
        sockets = self._settings.directory.find_socket_folder()
        logs = LogStore(PROJECT, PROJECT_NUMBER)
        collector = Collector(logs, self._outputs)
        self._cleanup.push_async_callback(collector.stop)
        origin = Origin("", "", SERVICE, REGION, PROJECT)
        maker = AccessLog(
            origin,
            addresses.url("service"),
            security_policy=POLICY,
            platform_of=lambda: self._platform,
        )
        await collector.start(sockets / "logs.sock", (sockets / "access.sock", maker))
        return logs, sockets

    async def _start_ingress(self, addresses: Addresses, sockets: Path) -> Ingress:
        ingress = Ingress(
            self._settings.directory.path,
            sockets,
            port=addresses.ports["service"],
            addresses=addresses.instances,
        )
        self._cleanup.push_async_callback(ingress.stop)
        await ingress.start(sockets / "access.sock")
        self._watch(ingress.process.watch)
        return ingress

    async def _start_cloud_armor(self, ingress: Ingress) -> CloudArmor:
        cloud_armor = CloudArmor(
            project=PROJECT, time_scale=self._settings.time_scale, enforce=ingress.enforce
        )
        self._cleanup.push_async_callback(cloud_armor.stop)
        await cloud_armor.reset()
        return cloud_armor

    def _create_backends(self) -> tuple[DatabaseServer, KeyTable, SourcesServer]:
        database = DatabaseServer(PROJECT, list_tenants())
        self._cleanup.push_async_callback(database.stop)
        directory = self._settings.directory.path
        plain = create_api_keys(directory / "api-keys.json")
        keys = KeyTable(database.store, plain, directory)
        keys.restore()
        return database, keys, SourcesServer(list_tenants())

    async def _open_backends(
        self, database: DatabaseServer, sources: SourcesServer
    ) -> dict[str, str]:
        """Start what instances depend on, and return their variables with its addresses."""
        endpoint = await sources.start()
        self._cleanup.push_async_callback(sources.stop)
        return {"BIGQUERY_ENDPOINT": await database.start(), "SOURCES_ENDPOINT": endpoint}

    async def _open_fleet(
        self, addresses: Addresses, sockets: Path, ingress: Ingress, backends: dict[str, str]
    ) -> ProcessFleet:
        admin_key = create_admin_key(self._settings.directory.path / "admin-key")
        fleet = ProcessFleet(
            FleetSettings(
                network=addresses.block,
                log_socket=sockets / "logs.sock",
                project=PROJECT,
                region=REGION,
                environment={
                    **EMBEDDED_LIMITS,
                    "ADMIN_KEY_FILE": str(admin_key),
                    **backends,
                },
            )
        )
        fleet.subscribe(ingress.follow_instance)
        self._cleanup.push_async_callback(fleet.close)
        await fleet.open()
        self._watch(fleet.watch)
        return fleet

    async def _start_cloud_run(
        self, addresses: Addresses, fleet: ProcessFleet, ingress: Ingress, logs: LogStore
    ) -> CloudRun:
        cloud_run = CloudRun(
            fleet,
            project=PROJECT,
            project_number=PROJECT_NUMBER,
            region=REGION,
            time_scale=self._settings.time_scale,
            set_split=ingress.set_split,
            log=logs,
            images=list_images(),
            service_url=addresses.url("service"),
        )
        self._cleanup.push_async_callback(cloud_run.stop)
        await cloud_run.start()
        await ingress.settle()
        return cloud_run

    def _open_cluster(self, fleet: ProcessFleet, ingress: Ingress) -> Cluster:
        cluster = Cluster(
            fleet,
            time_scale=self._settings.time_scale,
            set_split=ingress.set_split,
            logs=self._outputs,
            images=list_images(),
        )
        self._cleanup.push_async_callback(cluster.stop)
        return cluster

    @property
    def _platform(self) -> Platform:
        return self._platforms.current if self._platforms else "cloud_run"

    @property
    def _kubeconfig(self) -> Path:
        return self._settings.directory.path / "kubeconfig"

    async def _start_load(self, addresses: Addresses) -> Load:
        keys = self._settings.directory.path / "api-keys.json"
        load = Load(addresses.url("service"), keys, seed=self._settings.seed)
        self._cleanup.push_async_callback(load.close)
        await load.open()
        self._watch(load.watch)
        return load

    async def _open_doors(self, plant: Plant, cluster: Cluster) -> Control:
        door = Door(
            {
                r"kubernetes(?:\.default(?:\.svc)?)?": kubernetes_routes(cluster),
                r"(?:(?:.+-)?run|serviceusage|cloudresourcemanager)\.googleapis\.com": (
                    cloud_run_routes(plant.cloud_run)
                ),
                r"logging\.googleapis\.com": logging_routes(plant.logs),
                r"compute\.googleapis\.com": cloud_armor_routes(plant.cloud_armor),
                r"bigquery\.googleapis\.com": bigquery_routes(plant.database.bigquery),
            }
        )
        write_kubeconfig(self._kubeconfig, plant.addresses.url("api"))
        control = Control(plant, self.stop)
        for name, app in (("api", door), ("control", control.build_app())):
            server = LocalServer(app, plant.addresses.ports[name], websockets=name == "api")
            self._cleanup.push_async_callback(server.stop)
            await server.start()
        return control

    async def _wait_under_load(self, plant: Plant) -> None:
        while True:
            with contextlib.suppress(LocalHttpError):
                await fetch_json(f"{plant.addresses.url('service')}/health/ready", timeout_s=2)
                if plant.load.status().get("ok"):
                    return
            await asyncio.sleep(0.05)

    async def _wait_watched(self, plant: Plant) -> None:
        await plant.prometheus.wait_answering()
        await wait_clean(plant, START_DEADLINE_S)
        await plant.prometheus.load_rules()
        await wait_clean(plant, START_DEADLINE_S)

    def _watch(self, watch: Callable[[Callable[[str], None]], Coroutine[Any, Any, None]]) -> None:
        watcher = asyncio.create_task(watch(self._fail))
        # Clean-up goes backwards: nothing is watched any more when it is stopped.
        self._cleanup.callback(watcher.cancel)

    def _fail(self, sentence: str) -> None:
        _LOG.error(sentence)
        self._failure = self._failure or sentence
        self.stop()

    def _describe(self, addresses: Addresses) -> dict[str, Any]:
        return {
            "format": 1,
            "pid": os.getpid(),
            "time_scale": self._settings.time_scale,
            "project": PROJECT,
            "project_number": PROJECT_NUMBER,
            "region": REGION,
            "service": SERVICE,
            "api": addresses.url("api"),
            "service_url": addresses.url("service"),
            "prometheus": addresses.url("prometheus"),
            "alertmanager": addresses.url("alertmanager"),
            "control": addresses.url("control"),
            "api_key_file": str(self._settings.directory.path / "api-keys.json"),
            "security_policy": POLICY,
            "admin_key_file": str(self._settings.directory.path / "admin-key"),
            "platform": self._platform,
            "kubeconfig": str(self._kubeconfig),
            "kube_context": CONTEXT,
            "namespace": NAMESPACE,
            "deployment": SERVICE,
        }
