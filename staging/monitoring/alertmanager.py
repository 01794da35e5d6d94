"""A real Alertmanager on production's routes and inhibitions."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from staging.local_http import LocalHttpError, fetch_json
from staging.monitoring.config import render_alertmanager
from staging.processes import SMALL_GO, ForeignProcess

if TYPE_CHECKING:
    from pathlib import Path


class Alertmanager:
    """The process and its configuration."""

    def __init__(self, directory: Path, *, url: str) -> None:
        """Keep everything in `directory`; serve at `url`."""
        self._data = directory / "alertmanager"
        self._config = directory / "alertmanager.yml"
        self._url = url
        self.process = ForeignProcess(
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={self._config}",
                f"--storage.path={self._data}",
                f"--web.listen-address={urlsplit(url).netloc}",
                f"--web.external-url={url}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            directory / "alertmanager.log",
        )

    async def start(self, routes: str, time_scale: float) -> None:
        """Start on an empty store with production's configuration `routes`, scaled.

        Do not wait for an answer. Raise UnscalableRuleError, ProcessFailedError.
        """
        shutil.rmtree(self._data, ignore_errors=True)
        self._config.write_text(render_alertmanager(routes, time_scale), encoding="utf-8")
        await self.process.start(SMALL_GO)

    async def wait_answering(self, deadline_s: float = 10.0) -> None:
        """Return when the HTTP API answers. Raise ProcessFailedError at the deadline."""
        await self.process.wait_until(self._answers, deadline_s)

    async def resolve_all(self) -> None:
        """End every alert that it holds, as any client may. Raise LocalHttpError."""
        alerts = await fetch_json(f"{self._url}/api/v2/alerts")
        now = datetime.now(UTC).isoformat()
        ended = [{"labels": alert["labels"], "endsAt": now} for alert in alerts]
        await fetch_json(f"{self._url}/api/v2/alerts", method="POST", body=ended)

    async def stop(self) -> None:
        """Stop the process."""
        await self.process.stop()

    async def _answers(self) -> bool:
        try:
            await fetch_json(f"{self._url}/api/v2/status")
        except LocalHttpError:
            return False
        return True
