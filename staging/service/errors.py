"""Failures that the service answers with a status code of their own."""

from __future__ import annotations

import math


class ServiceError(Exception):
    """A request that cannot be served; `error_type` names the reason in logs and answers."""

    status_code = 500
    error_type = "internal"
    log_message = "request failed"
    # Messages that alerts and people look for stand alone; others end in the error's type.
    log_names_type = True

    def headers(self) -> dict[str, str]:
        """Return the headers that the answer bears besides the usual ones."""
        return {}

    def log_fields(self) -> dict[str, str]:
        """Return what the log line says besides the usual fields."""
        return {}


class AuthenticationError(ServiceError):
    """A key that opens nothing; `tenant_id` is the tenant that it claims.

    `error_type` is `unknown_key` (none at all, too), `inactive_key` or `expired_key`.
    """

    status_code = 401
    log_message = "authentication failed"
    log_names_type = False

    def __init__(self, error_type: str, tenant_id: str, key_prefix: str) -> None:
        super().__init__("the API key is missing, unknown, inactive or expired")
        self.error_type = error_type
        self.tenant_id = tenant_id
        self.key_prefix = key_prefix

    def log_fields(self) -> dict[str, str]:
        """Return the key's prefix, which identifies it and opens nothing."""
        return {"key_prefix": self.key_prefix}


class TenantBlockedError(ServiceError):
    """The tenant is in BLOCKED_TENANTS."""

    status_code = 403
    error_type = "tenant_blocked"
    log_message = "request refused"


class RateLimitedError(ServiceError):
    """A limit is used up; `error_type` names it, `limit` and `remaining` are a minute's."""

    status_code = 429
    log_message = "rate limit exceeded"
    log_names_type = False

    def __init__(self, error_type: str, limit: int, remaining: int, retry_after_s: float) -> None:
        super().__init__(f"{error_type} is limited to {limit}")
        self.error_type = error_type
        self._limit = limit
        self._remaining = remaining
        self._retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """Return the tenant's limit, what is left of it, and when to try again."""
        return {
            "retry-after": str(max(1, math.ceil(self._retry_after_s))),
            "x-ratelimit-tenant-limit": str(self._limit),
            "x-ratelimit-tenant-remaining": str(self._remaining),
        }


class AuthThrottledError(ServiceError):
    """The source address had too many keys refused; this one was not looked at."""

    status_code = 429
    error_type = "auth_throttled"
    log_message = "authentication throttled"
    log_names_type = False

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many refused keys from this address")
        self._retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        """Return when to try again."""
        return {"retry-after": str(max(1, math.ceil(self._retry_after_s)))}


class InvalidRequestError(ServiceError):
    """The request's path, query or body does not fit the interface."""

    status_code = 400
    error_type = "invalid_request"
    log_message = "request refused"


class NotFoundError(ServiceError):
    """There is no such pipeline, tenant or key."""

    status_code = 404
    error_type = "not_found"
    log_message = "request refused"


class OverloadedError(ServiceError):
    """The instance would have to let the request wait too long, or holds too many already."""

    status_code = 503
    error_type = "overloaded"


class DatabaseUnreachableError(ServiceError):
    """BigQuery did not answer, or answered with an error of its own."""

    status_code = 503
    error_type = "bigquery_unreachable"


class UpstreamResetError(ServiceError):
    """A tenant's source closed the connection half-way: the failures of a normal day."""

    status_code = 500
    error_type = "upstream_reset"
