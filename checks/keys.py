"""The API keys that the service knows, out of BigQuery's `metadata.x_meta_api_keys`.

Hashes are never asked for. Source: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError, UnreachableError
from checks.http import DEADLINE_S, get_json, post_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from checks.target import Target

TABLE = "metadata.x_meta_api_keys"
SOON = timedelta(days=7)
_HOST = "https://bigquery.googleapis.com"
_MAX_KEYS = 100_000
_PAGE = 5000
_COLUMNS = ("tenant_id", "key_id", "key_prefix", "is_active", "created_at", "expires_at")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM `{TABLE}`"  # noqa: S608 - constants
_OF_TENANT = " WHERE tenant_id = @tenant"
_ORDER = " ORDER BY tenant_id, created_at"


@dataclass(frozen=True)
class Key:
    """One key as the table has it, without its hash; `expires_at` is None for one that lasts."""

    tenant: str
    key_id: str
    prefix: str
    active: bool
    created_at: datetime
    expires_at: datetime | None

    def is_expired(self, now: datetime) -> bool:
        """Return whether its time has passed."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True)
class TenantKeys:
    """How a tenant's keys stand: a usable one is active and has not expired.

    Attributes:
        usable, expired, inactive: How many keys; an expired one that is also inactive counts as
            inactive.
        expiring: Usable keys that expire within seven days.
        last_issued: When the newest key was made.
        next_expiry: When the next usable key expires, or None.
    """

    tenant: str
    usable: int
    expired: int
    inactive: int
    expiring: int
    last_issued: datetime
    next_expiry: datetime | None

    def as_data(self) -> dict[str, Any]:
        """Return the same with times as ISO 8601."""
        return vars(self) | {
            "last_issued": self.last_issued.isoformat(),
            "next_expiry": self.next_expiry.isoformat() if self.next_expiry else None,
        }


def read_keys(target: Target, tenant: str = "", *, deadline_s: float = DEADLINE_S) -> list[Key]:
    """Return every tenant's keys, or those of one tenant.

    Raises:
        UnreachableError: BigQuery does not answer, or does not finish before the deadline.
        ApiError: It refuses the query, or answers with something else.
    """
    parameters = {"tenant": tenant} if tenant else {}
    sql = _SELECT + (_OF_TENANT if tenant else "") + _ORDER
    rows = query(target, sql, parameters, deadline_s=deadline_s)
    try:
        return [_parse_key(row) for row in rows]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ApiError(
            f"BigQuery's rows of {TABLE} are not what the service writes.",
            status=200,
            next_step=f"compare the columns of {TABLE} with {', '.join(_COLUMNS)}",
            subject=TABLE,
        ) from error


def summarise_keys(keys: Iterable[Key], now: datetime | None = None) -> list[TenantKeys]:
    """Return the keys by tenant: those without a usable key first, then the next to expire."""
    now = now or datetime.now(UTC)
    grouped: dict[str, list[Key]] = {}
    for key in keys:
        grouped.setdefault(key.tenant, []).append(key)
    found = [_summarise(tenant, members, now) for tenant, members in grouped.items()]
    last = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda one: (one.usable > 0, one.next_expiry or last, one.tenant))


def query(
    target: Target,
    sql: str,
    parameters: Mapping[str, str],
    *,
    deadline_s: float = DEADLINE_S,
) -> list[dict[str, Any]]:
    """Return the rows of one SELECT (`jobs.query`); text goes in as named parameters only.

    Values are as the API writes them: strings, or None. The credentials are read-only, and BigQuery
    refuses a statement that writes. Raises as `read_keys`, and ValueError for no SELECT.
    """
    if not sql.startswith("SELECT ") or ";" in sql:
        raise ValueError("only one SELECT is ever asked here")
    end = time.monotonic() + deadline_s
    host = (target.api or _HOST).rstrip("/")
    url = f"{host}/bigquery/v2/projects/{target.project}/queries"
    payload = _describe_query(sql, parameters, deadline_s)
    page = post_json(url, payload, deadline_s=deadline_s, google=True)
    rows = _read_rows(page)
    while not page.get("jobComplete") or page.get("pageToken"):
        left_s = end - time.monotonic()
        if left_s <= 0 or len(rows) > _MAX_KEYS:
            raise UnreachableError(
                "BigQuery did not finish the query in time.",
                next_step="try again; if it stays slow, look at BigQuery's job list",
                subject=TABLE,
            )
        page = _read_next(url, page, left_s)
        rows += _read_rows(page)
    return rows


def _describe_query(sql: str, parameters: Mapping[str, str], deadline_s: float) -> dict[str, Any]:
    return {
        "query": sql,
        "useLegacySql": False,
        "parameterMode": "NAMED",
        "queryParameters": [
            {
                "name": name,
                "parameterType": {"type": "STRING"},
                "parameterValue": {"value": value},
            }
            for name, value in parameters.items()
        ],
        "timeoutMs": round(deadline_s * 1000),
        "maxResults": _PAGE,
    }


def _read_next(url: str, page: Mapping[str, Any], left_s: float) -> dict[str, Any]:
    job = page.get("jobReference") or {}
    if not job.get("jobId"):
        raise _malformed()
    params: dict[str, str | int] = {"maxResults": _PAGE, "timeoutMs": round(left_s * 1000)}
    if page.get("pageToken"):
        params["pageToken"] = str(page["pageToken"])
    if job.get("location"):
        params["location"] = str(job["location"])
    return get_json(f"{url}/{job['jobId']}", params=params, deadline_s=left_s, google=True)


def _read_rows(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        columns = [str(field["name"]) for field in (page.get("schema") or {}).get("fields", [])]
        return [
            {name: cell["v"] for name, cell in zip(columns, row["f"], strict=True)}
            for row in page.get("rows", [])
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed() from error


def _malformed() -> ApiError:
    return ApiError(
        "BigQuery answered with JSON that is no query result.",
        status=200,
        next_step="check `api` of the target in invoke.yaml; something else answers there",
    )


def _parse_key(row: Mapping[str, Any]) -> Key:
    expires = row["expires_at"]
    return Key(
        tenant=str(row["tenant_id"]),
        key_id=str(row["key_id"]),
        prefix=str(row["key_prefix"] or ""),
        active=str(row["is_active"]).lower() == "true",
        created_at=_parse_time(row["created_at"]),
        expires_at=None if expires is None else _parse_time(expires),
    )


def _parse_time(value: Any) -> datetime:  # noqa: ANN401 - JSON
    """Return a TIMESTAMP of the REST API: seconds since 1970 as a text, such as `1.7E9`."""
    return datetime.fromtimestamp(float(value), UTC)


def _summarise(tenant: str, keys: Sequence[Key], now: datetime) -> TenantKeys:
    usable = [key for key in keys if key.active and not key.is_expired(now)]
    expiries = [key.expires_at for key in usable if key.expires_at is not None]
    return TenantKeys(
        tenant=tenant,
        usable=len(usable),
        expired=sum(1 for key in keys if key.active and key.is_expired(now)),
        inactive=sum(1 for key in keys if not key.active),
        expiring=sum(1 for moment in expiries if moment <= now + SOON),
        last_issued=max(key.created_at for key in keys),
        next_expiry=min(expiries, default=None),
    )
