"""Query jobs: run at once, their answers kept for a while."""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from staging.bigquery.errors import BigQueryError, invalid, not_found, unsupported
from staging.bigquery.parameters import read_parameters
from staging.bigquery.resources import LOCATION, make_etag, render_rows, render_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from staging.bigquery.queries import Answer, Statement
    from staging.bigquery.store import Store

KEPT = 50
MOST_ROWS = 10_000
_USER = "anonymous@convergence-local.iam.gserviceaccount.com"
# Of a query; what has no effect here, and what would have one and is refused.
_UNDERSTOOD = frozenset({"query", "useLegacySql", "queryParameters", "parameterMode"})
_HARMLESS = frozenset(
    {"priority", "useQueryCache", "createDisposition", "writeDisposition", "flattenResults"}
)


@dataclass
class Job:
    """One query, done: with an answer, or with an error."""

    job_id: str
    configuration: Mapping[str, Any]
    started: float = field(default_factory=time.time)
    ended: float = 0.0
    statement: Statement | None = None
    answer: Answer | None = None
    error: BigQueryError | None = None


class Jobs:
    """Runs queries over a store."""

    def __init__(self, store: Store) -> None:
        """Keep no job yet."""
        self._store = store
        self._items: OrderedDict[str, Job] = OrderedDict()

    def clear(self) -> None:
        """Forget every job."""
        self._items.clear()

    def find(self, job_id: str) -> Job:
        """Return a job. Raises BigQueryError `notFound`."""
        job = self._items.get(job_id)
        if job is None:
            raise not_found(f"Job {self._store.project}:{job_id}")
        return job

    def run(self, job_id: str, settings: Mapping[str, Any], *, dry_run: bool = False) -> Job:
        """Run a query's `settings` (JobConfigurationQuery) and return the job, well or not.

        Raises BigQueryError when no job can be made of them. A dry run only checks, and is not
        kept.
        """
        if job_id in self._items:
            message = f"Already Exists: Job {self._store.project}:{LOCATION}.{job_id}"
            raise BigQueryError("duplicate", message)
        if not re.fullmatch(r"[\w-]{1,1024}", job_id, re.ASCII):
            raise invalid(f'Invalid job ID "{job_id}"')
        dataset = _check_settings(settings)
        job = Job(job_id, {"jobType": "QUERY", "query": dict(settings), "dryRun": dry_run})
        try:
            self._execute(job, settings, dataset, dry_run=dry_run)
        except BigQueryError as error:
            job.error = error
        job.ended = time.time()
        if not dry_run:
            self._items[job_id] = job
        while len(self._items) > KEPT:
            self._items.popitem(last=False)
        return job

    def _execute(
        self, job: Job, settings: Mapping[str, Any], dataset: str, *, dry_run: bool
    ) -> None:
        # The parser takes memory that a staging without queries need not have.
        from staging.bigquery.queries import Question, prepare, run  # noqa: PLC0415

        question = Question(
            text=str(settings.get("query", "")),
            parameters=read_parameters(settings.get("queryParameters", [])),
            dataset=dataset,
            now_us=time.time_ns() // 1000,
        )
        job.statement = prepare(self._store, question)
        if not dry_run:
            job.answer = run(self._store, job.statement)

    def render(self, job: Job) -> dict[str, Any]:
        """Return the job as jobs.get has it."""
        status: dict[str, Any] = {"state": "DONE"}
        if job.error:
            status |= {"errorResult": job.error.detail(), "errors": [job.error.detail()]}
        started, ended = str(int(job.started * 1000)), str(int(job.ended * 1000))
        return {
            "kind": "bigquery#job",
            "etag": make_etag(job.job_id),
            "id": f"{self._store.project}:{LOCATION}.{job.job_id}",
            "jobReference": self._reference(job),
            "configuration": job.configuration,
            "status": status,
            "statistics": {
                "creationTime": started,
                "startTime": started,
                "endTime": ended,
                "totalBytesProcessed": _count_bytes(job),
                "query": self._render_statistics(job),
            },
            "user_email": _USER,
        }

    def _render_statistics(self, job: Job) -> dict[str, Any]:
        found: dict[str, Any] = {"totalBytesProcessed": _count_bytes(job), "cacheHit": False}
        if job.statement:
            found["statementType"] = job.statement.kind
            found["schema"] = render_schema(job.statement.columns)
        if job.answer and job.answer.affected is not None:
            found["numDmlAffectedRows"] = str(job.answer.affected)
        return found

    def _reference(self, job: Job) -> dict[str, str]:
        return {"projectId": self._store.project, "jobId": job.job_id, "location": LOCATION}

    def render_results(
        self, job: Job, *, start: int, limit: int, whole_microseconds: bool
    ) -> dict[str, Any]:
        """Return a page of a job's rows as getQueryResults has it. Raises the job's error."""
        if job.error:
            raise job.error
        found: dict[str, Any] = {
            "jobReference": self._reference(job),
            "jobComplete": True,
            "cacheHit": False,
            "totalBytesProcessed": _count_bytes(job),
        }
        if not job.statement:
            return found
        found["schema"] = render_schema(job.statement.columns)
        if job.answer is None:
            return found
        if job.answer.affected is not None:
            return found | {"numDmlAffectedRows": str(job.answer.affected), "totalRows": "0"}
        page = job.answer.rows[start : start + limit]
        columns = job.statement.columns
        found["totalRows"] = str(len(job.answer.rows))
        # With a limit of 0 the client asks only whether the job is done.
        if page:
            found["rows"] = render_rows(page, columns, whole_microseconds=whole_microseconds)
        if page and start + limit < len(job.answer.rows):
            found["pageToken"] = str(start + limit)
        return found


def make_job_id() -> str:
    """Return an identifier for a job whose caller gave none."""
    return f"job_{secrets.token_urlsafe(21).replace('-', '_')}"


def _count_bytes(job: Job) -> str:
    return str(job.statement.bytes_processed) if job.statement else "0"


def _check_settings(settings: Mapping[str, Any]) -> str:
    """Return the default dataset, "" when there is none. Raises BigQueryError."""
    if settings.get("useLegacySql") is not False:
        raise unsupported("legacy SQL; set useLegacySql to false")
    for name, value in settings.items():
        known = name in _UNDERSTOOD or name in _HARMLESS or name == "defaultDataset"
        if not known and value not in (None, False, "", {}, []):
            raise unsupported(f"{name} of a query")
    if not settings.get("query"):
        raise BigQueryError("required", "Required parameter is missing: query")
    return str((settings.get("defaultDataset") or {}).get("datasetId", ""))
