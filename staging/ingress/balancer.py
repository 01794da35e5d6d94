"""The ingress: requests reach the instances of the revisions that the traffic split names."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from staging.ingress.config import POOLS, RESPONSE_TIMEOUT_MS, render_config
from staging.ingress.pools import NoPoolError, Pools, split_entries
from staging.ingress.runtime import IngressError, RuntimeApi
from staging.processes import ForeignProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from staging.model import Instance

_LOG = logging.getLogger(__name__)


class Ingress:
    """A haproxy whose servers follow the fleet and whose split follows Cloud Run's traffic.

    What haproxy should do is worked out anew after every change and compared with what it was
    told last, so a change that arrives while another is on its way is never lost.
    """

    def __init__(
        self, directory: Path, sockets: Path, *, port: int, addresses: Sequence[str]
    ) -> None:
        """Keep configuration and output in `directory`, the admin socket in `sockets`."""
        self._config = directory / "haproxy.cfg"
        self._split_map = directory / "split.map"
        self._verdicts_map = directory / "verdicts.map"
        self._admin = sockets / "haproxy.sock"
        self._port = port
        self._addresses = list(addresses)
        self._server_names = {address: f"s{n}" for n, address in enumerate(addresses, start=1)}
        self.process = ForeignProcess(
            "haproxy",
            ["haproxy", "-db", "-f", str(self._config)],
            directory / "haproxy.log",
        )
        self._runtime = RuntimeApi(self._admin)
        self._pools = Pools(POOLS)
        self._split: dict[str, int] = {}
        self._timeouts_ms: dict[str, int] = {}
        self._verdicts: dict[str, str] = {}
        self._servers: dict[str, str] = {}
        self._told_servers: set[str] = set()
        self._told_entries: dict[str, str] = {}
        self._told_verdicts: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    async def start(self, access_log: Path, deadline_s: float = 5.0) -> None:
        """Start haproxy, logging requests to the datagram socket `access_log`.

        Raise ProcessFailedError when it does not answer in time.
        """
        self._split_map.write_text("", encoding="utf-8")
        self._verdicts_map.write_text("", encoding="utf-8")
        self._admin.unlink(missing_ok=True)
        self._config.write_text(
            render_config(
                port=self._port,
                admin=self._admin,
                split=self._split_map,
                verdicts=self._verdicts_map,
                access_log=access_log,
                addresses=self._addresses,
            ),
            encoding="utf-8",
        )
        await self.process.start()
        await self.process.wait_until(self._answers, deadline_s)
        self._follower = asyncio.create_task(self._follow(), name="ingress")

    async def stop(self) -> None:
        """Stop following and stop haproxy; open connections are cut after a second."""
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
        await self.process.stop(grace_s=1.0)

    def set_split(self, split: Mapping[str, int]) -> None:
        """Share the requests out: revision → whole percent; takes effect within milliseconds.

        Raise ValueError when the percents do not add up to 100 (or to 0).
        """
        wanted = {revision: percent for revision, percent in split.items() if percent}
        split_entries(wanted, dict.fromkeys(wanted, ""), dict.fromkeys(wanted, 0))
        self._split = wanted
        self._mark_changed()

    async def enforce(self, verdicts: Mapping[str, str]) -> None:
        """Let sources in or not: address range → `allow:<priority>` or `<status>:<priority>`.

        The longest range around an address counts; an address in no range is let in. Return when
        it is in force; raise IngressError when that takes too long.
        """
        self._verdicts = dict(verdicts)
        self._mark_changed()
        await self.settle()

    def follow_instance(self, instance: Instance) -> None:
        """Take an instance in when it is ready, else out; takes effect within milliseconds.

        The time that its requests may take is its revision's, or 5 s if that is longer.
        """
        timeout_ms = min(RESPONSE_TIMEOUT_MS, int(instance.spec.timeout_s * 1000))
        self._timeouts_ms[instance.spec.revision] = timeout_ms
        server = self._server_names[instance.address.partition(":")[0]]
        if instance.state == "ready":
            self._servers[server] = instance.spec.revision
        elif instance.state != "starting":
            self._servers.pop(server, None)
        self._mark_changed()

    async def settle(self, deadline_s: float = 5.0) -> None:
        """Return when haproxy was told everything. Raise IngressError when that takes too long."""
        try:
            await asyncio.wait_for(self._settled.wait(), deadline_s)
        except TimeoutError:
            raise IngressError("haproxy was not told of the last change in time") from None

    def _mark_changed(self) -> None:
        self._settled.clear()
        self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
            except (IngressError, NoPoolError):
                if not self.process.running:
                    return
                _LOG.exception("haproxy was not told of a change; trying again")
                self._changed.set()
                await asyncio.sleep(0.1)
            if not self._changed.is_set():
                self._settled.set()

    async def _tell(self) -> None:
        if self._verdicts != self._told_verdicts:
            verdicts = self._verdicts
            await self._runtime.replace_map(self._verdicts_map, verdicts)
            self._told_verdicts = verdicts
        pools = self._pools.lend({*self._split, *self._servers.values()})
        servers = {f"{pools[revision]}/{server}" for server, revision in self._servers.items()}
        timeouts = {name: self._timeouts_ms.get(name, RESPONSE_TIMEOUT_MS) for name in self._split}
        entries = split_entries(self._split, pools, timeouts)
        # First in, then the split, then out: at no moment is a share sent where nobody serves.
        await self._runtime.set_states((name, "ready") for name in servers - self._told_servers)
        if entries != self._told_entries:
            await self._runtime.replace_map(self._split_map, entries)
            self._told_entries = entries
        await self._runtime.set_states((name, "maint") for name in self._told_servers - servers)
        self._told_servers = servers

    async def _answers(self) -> bool:
        try:
            return bool(await self._runtime.run("show version"))
        except IngressError:
            return False
