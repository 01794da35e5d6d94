"""The door that writes go through where no client library is used: JSON over HTTP, asked once.

A request is never repeated. What went wrong says whether anything can have changed: a refusal and
a server that was never reached changed nothing, everything else is uncertain.
"""

from __future__ import annotations

import contextlib
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from checks.errors import ApiError, RunbookError, UnreachableError, UsageError
from checks.http import iterate_arrived
from checks.target import is_loopback
from runbook.changes.system import UncertainError, request_deadline_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_MAX_BYTES = 4 * 1024 * 1024
_REDIRECT, _SERVER_ERROR = 300, 500
_NEVER_SENT = ("NewConnectionError", "NameResolutionError", "ProxyError")


def request_json(
    method: str,
    url: str,
    payload: Mapping[str, Any] | None = None,
    *,
    params: Mapping[str, str | int] | None = None,
    headers: Mapping[str, str] | None = None,
    google: bool = False,
) -> dict[str, Any]:
    """Return the JSON object that one request answers with; {} for no content.

    `google` adds the caller's own credentials, except on loopback. Headers are never told.

    Raises:
        ApiError: It was refused (4xx), so nothing was changed.
        UnreachableError: It was never sent, so nothing was changed.
        UsageError: There are no Google credentials on this machine, or they have expired.
        UncertainError: It was sent and no usable answer came.
    """
    import requests

    remote = google and not is_loopback(url)
    session = _google_session() if remote else _session(is_loopback(url))
    request = requests.Request(method, url, headers=headers, json=payload, params=params)
    deadline_s = request_deadline_s()
    end = time.monotonic() + deadline_s
    try:
        with _send(session, request, deadline_s) as response:
            return _read(response, url, end)
    except requests.RequestException as error:
        raise _explain(url, error) from error
    except Exception as error:
        if remote and _is_log_in(error):
            raise _log_in("Your Google credentials have expired or were withdrawn.") from error
        raise


def read_json(
    url: str, *, headers: Mapping[str, str] | None = None, google: bool = False
) -> dict[str, Any]:
    """Return the JSON object that a GET answers with, by the credentials of a write.

    Compute Engine takes no read-only scope of the whole platform, and the service's administration
    wants its key for a list, too. Raises as `request_json`, but UnreachableError for all silence.
    """
    try:
        return request_json("GET", url, headers=headers, google=google)
    except UncertainError as error:
        raise UnreachableError(
            f"{error}.", next_step="try again; if it stays so, go on by hand", subject=_place(url)
        ) from error


def _send(
    session: requests.Session, request: requests.Request, deadline_s: float
) -> requests.Response:
    return session.request(
        request.method or "",
        request.url or "",
        headers=dict(request.headers),
        json=request.json,
        params=request.params,
        timeout=deadline_s,
        allow_redirects=False,
        stream=True,
    )


def _explain(url: str, error: Exception) -> RunbookError | UncertainError:
    import requests

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _unsent(url, f"no connection within {request_deadline_s():g} s")
    told = repr(error)
    if isinstance(error, requests.ConnectionError) and any(sign in told for sign in _NEVER_SENT):
        return _unsent(url, "no connection")
    return UncertainError(f"{_place(url)} broke off: {type(error).__name__}")


def _read(response: requests.Response, url: str, end: float) -> dict[str, Any]:
    body = bytearray()
    for chunk in iterate_arrived(response):
        body += chunk
        if time.monotonic() > end:
            raise UncertainError(f"{_place(url)} began to answer and did not finish in time")
        if len(body) > _MAX_BYTES:
            raise UncertainError(f"{_place(url)} sends more than {_MAX_BYTES // 2**20} MiB")
    content: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(body)
    if response.status_code >= _SERVER_ERROR:
        raise UncertainError(f"{_place(url)} answered {response.status_code}")
    if response.status_code >= _REDIRECT:
        told = _find_message(content)
        raise ApiError(
            f"{_place(url)} answered {response.status_code}{f': {told}' if told else ''}."
            " Nothing was changed.",
            status=response.status_code,
            next_step="mend what it names and run the command again",
            subject=_place(url),
        )
    if not body.strip():
        return {}
    if not isinstance(content, dict):
        raise UncertainError(f"{_place(url)} answered {response.status_code} without JSON")
    return content


def _find_message(content: Any) -> str:  # noqa: ANN401 - JSON
    if not isinstance(content, dict):
        return ""
    error = content.get("error")
    told = error.get("message", "") if isinstance(error, dict) else error or content.get("detail")
    return " ".join(str(told or "").split())[:300].rstrip(".")


@cache
def _session(host_is_local: bool) -> requests.Session:
    import requests

    session = requests.Session()
    # A proxy of the environment must not stand between us and this machine.
    session.trust_env = not host_is_local
    return session


@cache
def _google_session() -> requests.Session:
    import google.auth
    from google.auth.credentials import with_scopes_if_required
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        found, _ = google.auth.default()
        credentials = with_scopes_if_required(found, (_SCOPE,))  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        raise _log_in("There are no Google credentials on this machine.") from error
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return session


def _is_log_in(error: Exception) -> bool:
    from google.auth.exceptions import GoogleAuthError

    return isinstance(error, GoogleAuthError)


def _log_in(told: str) -> UsageError:
    return UsageError(
        f"{told} Nothing was changed.",
        next_step="gcloud auth application-default login, then the same command again",
    )


def _unsent(url: str, why: str) -> UnreachableError:
    return UnreachableError(
        f"{_place(url)} was not reached: {why}. Nothing was changed.",
        next_step="check the address in invoke.yaml and the network, then try again",
        subject=_place(url),
    )


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
