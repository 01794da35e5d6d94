"""A real Prometheus on production's rules."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from staging.local_http import LocalHttpError, fetch_json
from staging.monitoring.config import render_prometheus
from staging.monitoring.scale import scale_rules
from staging.processes import SMALL_GO, ForeignProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Prometheus:
    """The process, its scaled rules, and what staging asks of its HTTP API (v1)."""

    def __init__(self, directory: Path, *, url: str, addresses: Sequence[str]) -> None:
        """Keep everything in `directory`; serve at `url`; scrape every slot in `addresses`."""
        self._directory = directory
        self._data = directory / "prometheus"
        self._config = directory / "prometheus.yml"
        # By turns: under another file name, rules inherit nothing of the alerts before.
        self._rules = itertools.cycle([directory / f"alerts.scaled.{n}.yml" for n in (1, 2)])
        self._scaled = ""
        self._peers: dict[str, str] = {}
        self._addresses = addresses
        self._url = url
        self.process = ForeignProcess(
            "prometheus",
            [
                "prometheus",
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self._data}",
                "--storage.tsdb.retention.time=2h",
                # Every instance that ever ran leaves some hundred series in memory until a block
                # is written; at the default, after two hours, that is more than everything else.
                "--storage.tsdb.min-block-duration=2m",
                "--storage.tsdb.max-block-duration=20m",
                f"--web.listen-address={urlsplit(url).netloc}",
                f"--web.external-url={url}",
                "--web.enable-admin-api",
                "--web.enable-lifecycle",
                "--rules.alert.resend-delay=1s",
                # The default, 5 minutes, would be five hours on staging's clock.
                "--query.lookback-delta=2s",
                "--log.level=warn",
            ],
            directory / "prometheus.log",
        )

    async def start(
        self, *, rules: str, time_scale: float, exporter: str, alertmanager: str
    ) -> None:
        """Start on an empty store, without rules so far; do not wait for an answer.

        `load_rules` loads the rule text `rules`, scaled. Raise UnscalableRuleError for rules that
        cannot be scaled, ProcessFailedError.
        """
        self._scaled = scale_rules(rules, time_scale)
        self._peers = {
            "exporter": urlsplit(exporter).netloc,
            "alertmanager": urlsplit(alertmanager).netloc,
        }
        # Samples of an earlier run could fire an alert in this one.
        shutil.rmtree(self._data, ignore_errors=True)
        self._write_config([])
        await self.process.start(SMALL_GO)

    async def load_rules(self) -> None:
        """Load the rules, from the second time on anew: no alert is pending or firing then.

        Before the first scrape they would fire: that comes after 5 s, and then the service has
        been gone for five minutes of staging's clock. Raise LocalHttpError.
        """
        rules = next(self._rules)
        rules.write_text(self._scaled, encoding="utf-8")
        self._write_config([str(rules)])
        await fetch_json(f"{self._url}/-/reload", method="POST")

    def _write_config(self, rules: list[str]) -> None:
        text = render_prometheus(addresses=self._addresses, rules=rules, **self._peers)
        self._config.write_text(text, encoding="utf-8")

    async def wait_answering(self, deadline_s: float = 10.0) -> None:
        """Return when the HTTP API answers. Raise ProcessFailedError at the deadline."""
        await self.process.wait_until(self._answers, deadline_s)

    async def stop(self) -> None:
        """Stop the process; its store goes with the next start."""
        await self.process.stop()

    async def read_alerts(self) -> list[dict[str, Any]]:
        """Return the pending and firing alerts (GET /api/v1/alerts). Raise LocalHttpError."""
        answer = await fetch_json(f"{self._url}/api/v1/alerts")
        return list(answer["data"]["alerts"])

    async def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query (GET /api/v1/query). Raise LocalHttpError."""
        parameters = urlencode({"query": promql})
        answer = await fetch_json(f"{self._url}/api/v1/query?{parameters}")
        return list(answer["data"]["result"])

    async def read_up(self) -> set[str]:
        """Return the targets of job convergence-api (`host:port`) whose last scrape succeeded."""
        samples = await self.query('up{job="convergence-api"} == 1')
        return {sample["metric"]["instance"] for sample in samples}

    async def forget_service(self) -> None:
        """Delete every sample of job convergence-api and of its alerts (admin API, delete_series).

        The next evaluation of a rule then sees nothing of the time before.
        """
        parameters = urlencode(
            {"match[]": ['{job="convergence-api"}', '{__name__=~"ALERTS.*"}']}, doseq=True
        )
        await fetch_json(f"{self._url}/api/v1/admin/tsdb/delete_series?{parameters}", method="POST")

    async def wait_clean(self, up: set[str], deadline_s: float) -> None:
        """Return when exactly the targets `up` answer scrapes and every rule loaded is inactive.

        A rule that was not evaluated yet is not inactive. Raise TimeoutError at the deadline,
        naming what is not so.
        """
        deadline = asyncio.get_running_loop().time() + deadline_s
        while True:
            seen, states = await asyncio.gather(self.read_up(), self._read_states())
            if seen == up and set(states.values()) <= {"inactive"}:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"Prometheus sees {sorted(seen)}, not {sorted(up)}; {states}")
            await asyncio.sleep(0.02)

    async def _read_states(self) -> dict[str, str]:
        """Return name → state of every alerting rule: its health unless that is `ok`."""
        answer = await fetch_json(f"{self._url}/api/v1/rules?type=alert")
        rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
        return {
            rule["name"]: rule["state"] if rule["health"] == "ok" else rule["health"]
            for rule in rules
        }

    async def _answers(self) -> bool:
        try:
            await self.read_alerts()
        except LocalHttpError:
            return False
        return True
