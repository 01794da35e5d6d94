"""BigQuery's API on a port of its own, for tests over the wire."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from staging.addresses import Addresses, claim_addresses
from staging.bigquery.api import BigQuery
from staging.bigquery.routes import routes
from staging.bigquery.store import KEYS_TABLE, METADATA_DATASET, RUNS_TABLE, Store
from staging.door import Door
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

PROJECT = "convergence-local"
KEYS = f"{METADATA_DATASET}.{KEYS_TABLE}"
TENANTS = ("acme_logistics", "willow_press")
DAY_S = 86_400
DEADLINE_S = 20.0
_Result = TypeVar("_Result")


class BigQueryServer:
    """A store and its door, in an event loop of their own."""

    def __init__(self) -> None:
        """Create the tables, empty."""
        self.store = Store(PROJECT, TENANTS)
        self._addresses: Addresses = claim_addresses()
        self.port = self._addresses.ports["api"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.base = f"{self.url}/bigquery/v2/projects/{PROJECT}"
        self._bigquery = BigQuery(self.store)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = LocalServer(
            Door({r"bigquery\.googleapis\.com": routes(self._bigquery)}), self.port
        )

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self.run(self._server.start())

    def stop(self) -> None:
        """Close everything and end the loop's thread."""
        self.run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
        self.store.close()
        self._addresses.release()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine in the server's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def fill(self) -> float:
        """Bring six keys of two tenants in, one inactive, two expired; return the time of it."""

        async def work() -> float:
            self._bigquery.clear()
            now = time.time()
            rows = [make_key(number, now) for number in range(6)]
            assert not self.store.insert(METADATA_DATASET, KEYS_TABLE, rows)
            run = {
                "pipeline_logging_id": "r-1",
                "pipeline_id": "daily_cost",
                "tenant_id": TENANTS[0],
                "started_at": "2026-11-23T06:12:00.5Z",
                "retry_attempt": "2",
            }
            assert not self.store.insert(TENANTS[0], RUNS_TABLE, [run])
            return now

        return self.run(work())

    def client(self) -> bigquery.Client:
        """Return Google's own client, which speaks to this server."""
        return bigquery.Client(
            PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": self.url},
        )

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Return the answer to one request in the project."""
        return requests.request(method, f"{self.base}{path}", timeout=DEADLINE_S, **options)

    def query(self, text: str, **body: Any) -> requests.Response:  # noqa: ANN401
        """Return the answer to jobs.query; unqualified tables are those of `metadata`."""
        dataset = {"datasetId": METADATA_DATASET}
        settings = {"query": text, "useLegacySql": False, "defaultDataset": dataset, **body}
        return self.ask("POST", "/queries", json=settings)

    def rows(self, text: str, **body: Any) -> list[tuple[str | None, ...]]:  # noqa: ANN401
        """Return the rows of a query that must succeed, as texts."""
        answer = self.query(text, **body)
        assert answer.status_code == 200, answer.text
        return [tuple(cell["v"] for cell in row["f"]) for row in answer.json().get("rows", [])]

    def refusal(self, text: str, **body: Any) -> tuple[int, str, str]:  # noqa: ANN401
        """Return status, reason and message of a query that must be refused."""
        answer = self.query(text, **body)
        error: Mapping[str, Any] = answer.json()["error"]
        assert (error["code"], error["errors"][0]["message"]) == (
            answer.status_code,
            error["message"],
        )
        return answer.status_code, error["errors"][0]["reason"], error["message"]


def make_key(number: int, now: float) -> dict[str, object]:
    """Return the row of a key: the tenants take turns, 4 is inactive, 5 never expires."""
    return {
        "tenant_id": TENANTS[number % 2],
        "key_id": f"key-{number}",
        "key_hash": f"{number:064x}",
        "key_prefix": None if number == 3 else f"cda.{number}",
        "is_active": number != 4,
        "created_at": now - number * DAY_S,
        "expires_at": None if number == 5 else now + (number - 1.5) * DAY_S,
    }
