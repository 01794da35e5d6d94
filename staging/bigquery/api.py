"""The requests of BigQuery's REST API v2 that are answered here, whatever the transport."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from staging.bigquery.errors import BigQueryError, invalid, not_found, unsupported
from staging.bigquery.jobs import MOST_ROWS, Jobs, make_job_id
from staging.bigquery.resources import render_dataset, render_rows, render_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from staging.bigquery.store import Store, Table

PREFIX = "/bigquery/v2"
MAX_BODY_BYTES = 10 * 1024**2
_DEFAULT_PAGE = 50


@dataclass(frozen=True)
class Call:
    """One request: the names in its path, its query parameters and its JSON body."""

    names: Mapping[str, str]
    parameters: Mapping[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        """Return a parameter that is a count. Raises BigQueryError `invalid`."""
        return read_count(self.parameters.get(name, ""), name, default)

    def flag(self, name: str) -> bool:
        """Return whether a parameter says true."""
        return self.parameters.get(name, "").lower() == "true"

    @property
    def start(self) -> int:
        """Return the place that a page starts at. Raises BigQueryError `invalid`."""
        token = self.parameters.get("pageToken", "")
        return self.number("pageToken" if token else "startIndex", 0)


@dataclass(frozen=True)
class Method:
    """One method of the API: its request and the function that answers."""

    name: str
    verb: str
    path: str
    answer: Callable[[Call], dict[str, Any]]

    @property
    def pattern(self) -> re.Pattern[str]:
        """Return what matches the path's names."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", PREFIX + self.path))


class BigQuery:
    """One project's BigQuery over a store."""

    def __init__(self, store: Store) -> None:
        """Answer from `store`."""
        self.store = store
        self._jobs = Jobs(store)
        self.methods: Sequence[Method] = (
            Method("datasets.list", "GET", "/projects/{project}/datasets", self._list_datasets),
            Method("datasets.get", "GET", f"{_DATASET}", self._get_dataset),
            Method("tables.list", "GET", f"{_DATASET}/tables", self._list_tables),
            Method("tables.get", "GET", _TABLE, self._get_table),
            Method("tabledata.list", "GET", f"{_TABLE}/data", self._list_rows),
            Method("tabledata.insertAll", "POST", f"{_TABLE}/insertAll", self._insert_rows),
            Method("jobs.query", "POST", _QUERIES, self._query),
            Method("jobs.getQueryResults", "GET", f"{_QUERIES}/{{job}}", self._get_results),
            Method("jobs.insert", "POST", _JOBS, self._insert_job),
            Method("jobs.get", "GET", f"{_JOBS}/{{job}}", self._get_job),
        )
        self._patterns = [(method, method.pattern) for method in self.methods]

    def clear(self) -> None:
        """Empty every table and forget every job."""
        self.store.clear()
        self._jobs.clear()

    def answer(
        self, verb: str, path: str, parameters: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON body of the answer to one request."""
        try:
            method, names = self._find_method(verb, path)
            if names["project"] != self.store.project:
                raise not_found(f"Project {names['project']}")
            return 200, method.answer(Call(names, parameters, _read_body(body)))
        except BigQueryError as error:
            return error.http_status, error.body()

    def _find_method(self, verb: str, path: str) -> tuple[Method, dict[str, str]]:
        for method, pattern in self._patterns:
            match = pattern.fullmatch(path)
            if match and method.verb == verb:
                return method, {name: unquote(part) for name, part in match.groupdict().items()}
        raise unsupported(f"{verb} {path}")

    def _list_datasets(self, call: Call) -> dict[str, Any]:
        names, more = _page(self.store.datasets(), call)
        items = [render_dataset(self.store.project, name, short=True) for name in names]
        return {"kind": "bigquery#datasetList", "etag": "", "datasets": items, **more}

    def _get_dataset(self, call: Call) -> dict[str, Any]:
        name = call.names["dataset"]
        self.store.tables(name)
        return render_dataset(self.store.project, name, short=False)

    def _list_tables(self, call: Call) -> dict[str, Any]:
        tables = self.store.tables(call.names["dataset"])
        shown, more = _page(tables, call)
        items = [render_table(self.store.project, one, rows=0, short=True) for one in shown]
        return {
            "kind": "bigquery#tableList",
            "etag": "",
            "tables": items,
            "totalItems": len(tables),
            **more,
        }

    def _find_table(self, call: Call) -> Table:
        return self.store.find(call.names["dataset"], call.names["table"])

    def _get_table(self, call: Call) -> dict[str, Any]:
        table = self._find_table(call)
        rows = self.store.count(table)
        return render_table(self.store.project, table, rows=rows, short=False)

    def _list_rows(self, call: Call) -> dict[str, Any]:
        table = self._find_table(call)
        limit = min(call.number("maxResults", MOST_ROWS), MOST_ROWS)
        chosen = call.parameters.get("selectedFields", "")
        names = {name.strip().lower() for name in chosen.split(",") if name.strip()}
        for name in names:
            if table.column(name) is None:
                raise invalid(f"Selected field {name} is not in the schema.")
        columns = [one for one in table.columns if not names or one.name.lower() in names]
        total = self.store.count(table)
        found = self.store.rows(table, limit, call.start)
        rows = [[row[one.name] for one in columns] for row in found]
        whole = call.flag("formatOptions.useInt64Timestamp")
        answer: dict[str, Any] = {
            "kind": "bigquery#tableDataList",
            "totalRows": str(total),
            "rows": render_rows(rows, columns, whole_microseconds=whole),
        }
        after = call.start + len(found)
        return answer | ({"pageToken": str(after)} if found and after < total else {})

    def _insert_rows(self, call: Call) -> dict[str, Any]:
        table = self._find_table(call)
        rows = call.body.get("rows")
        if not isinstance(rows, list) or not rows:
            raise invalid("Empty rows")
        if call.body.get("skipInvalidRows") or call.body.get("ignoreUnknownValues"):
            raise unsupported("insertAll with skipInvalidRows or ignoreUnknownValues")
        values = [row["json"] for row in rows if isinstance(row, dict) and "json" in row]
        if len(values) < len(rows) or not all(isinstance(value, dict) for value in values):
            raise invalid("Invalid value for rows: each needs a json object.")
        refused = self.store.insert(table.dataset, table.name, values)
        answer: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
        return answer | ({"insertErrors": _explain(refused, len(rows))} if refused else {})

    def _query(self, call: Call) -> dict[str, Any]:
        settings = {name: value for name, value in call.body.items() if name not in _OF_QUERY}
        dry_run = bool(call.body.get("dryRun"))
        job = self._jobs.run(make_job_id(), settings, dry_run=dry_run)
        found = self._jobs.render_results(
            job,
            start=0,
            limit=min(read_count(call.body.get("maxResults"), "maxResults"), MOST_ROWS),
            whole_microseconds=bool((call.body.get("formatOptions") or {}).get(_WHOLE)),
        )
        return {"kind": "bigquery#queryResponse", **found}

    def _get_results(self, call: Call) -> dict[str, Any]:
        found = self._jobs.render_results(
            self._jobs.find(call.names["job"]),
            start=call.start,
            limit=min(call.number("maxResults", MOST_ROWS), MOST_ROWS),
            whole_microseconds=call.flag(f"formatOptions.{_WHOLE}"),
        )
        return {"kind": "bigquery#getQueryResultsResponse", "etag": "", **found}

    def _insert_job(self, call: Call) -> dict[str, Any]:
        configuration = call.body.get("configuration") or {}
        settings = configuration.get("query") if isinstance(configuration, dict) else None
        if not isinstance(settings, dict):
            raise unsupported("jobs other than queries")
        reference = call.body.get("jobReference") or {}
        job_id = str(reference.get("jobId") or make_job_id())
        dry_run = bool(configuration.get("dryRun"))
        job = self._jobs.run(job_id, settings, dry_run=dry_run)
        if dry_run and job.error:
            raise job.error
        return self._jobs.render(job)

    def _get_job(self, call: Call) -> dict[str, Any]:
        return self._jobs.render(self._jobs.find(call.names["job"]))


_WHOLE = "useInt64Timestamp"
# What is said beside a query in jobs.query: how to answer, not what.
_OF_QUERY = frozenset(
    {
        *("kind", "maxResults", "timeoutMs", "dryRun", "formatOptions", "location", "requestId"),
        *("labels", "jobCreationMode"),
    }
)
_JOBS = "/projects/{project}/jobs"
_QUERIES = "/projects/{project}/queries"
_DATASET = "/projects/{project}/datasets/{dataset}"
_TABLE = f"{_DATASET}/tables/{{table}}"


def read_count(value: object, name: str, default: int = MOST_ROWS) -> int:
    """Return a count, the default when there is none. Raises BigQueryError `invalid`."""
    text = str(default if value in (None, "") else value)
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise invalid(f"Invalid value for {name}: {text}")
    return int(text)


def _page(items: Sequence[Any], call: Call) -> tuple[Sequence[Any], dict[str, str]]:
    end = call.start + (call.number("maxResults", _DEFAULT_PAGE) or _DEFAULT_PAGE)
    more = {"nextPageToken": str(end)} if end < len(items) else {}
    return items[call.start : end], more


def _explain(refused: Sequence[tuple[int, str, str]], rows: int) -> list[dict[str, Any]]:
    """Return insertErrors: what is wrong with some rows, and that the others were stopped."""
    wrong = {index: (column, message) for index, column, message in refused}
    return [
        {
            "index": index,
            "errors": [
                {
                    "reason": "invalid" if index in wrong else "stopped",
                    "location": wrong.get(index, ("", ""))[0],
                    "debugInfo": "",
                    "message": wrong.get(index, ("", ""))[1],
                }
            ],
        }
        for index in range(rows)
    ]


def _read_body(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        raise invalid("Parse Error") from None
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received.")
    return body
