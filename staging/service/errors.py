"""Failures that the service answers with a status code of their own."""

from __future__ import annotations


class ServiceError(Exception):
    """A request that cannot be served; `error_type` names the reason in logs and answers."""

    status_code = 500
    error_type = "internal"
    log_message = "request failed"
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed, and ClassVar would bar subclasses


class AuthenticationError(ServiceError):
    """No key, or none that is known; `tenant_id` is the tenant that the key claims."""

    status_code = 401
    error_type = "authentication"
    log_message = "authentication failed"

    def __init__(self, message: str, tenant_id: str) -> None:
        super().__init__(message)
        self.tenant_id = tenant_id


class InvalidRequestError(ServiceError):
    """The request's path, query or body does not fit the interface."""

    status_code = 400
    error_type = "invalid_request"
    log_message = "request refused"


class NotFoundError(ServiceError):
    """The tenant has no such pipeline."""

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
