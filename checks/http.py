"""The thin door that every read goes through: deadlines, a size limit, one kind of failure.

Reads use JSON over HTTP and no client library: importing google-cloud-run alone costs half a
second, which is more than a whole triage may take.
"""

from __future__ import annotations

import contextlib
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from checks.errors import ApiError, RunbookError, UnreachableError, UsageError
from checks.target import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

DEADLINE_S = 10.0
MAX_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024
# Cloud Run takes no cloud-platform.read-only and Cloud Logging no run.readonly, so both.
_SCOPES = (
    "https://www.googleapis.com/auth/run.readonly",
    "https://www.googleapis.com/auth/cloud-platform.read-only",
)
_LOG_IN = "gcloud auth application-default login, then the same command again"


class Answer(NamedTuple):
    """An HTTP answer of any status; `seconds` counts from the request to the last byte."""

    status: int
    content_type: str
    body: bytes
    seconds: float


def fetch(
    url: str,
    *,
    params: Mapping[str, str | int] | None = None,
    payload: Mapping[str, Any] | None = None,
    deadline_s: float = DEADLINE_S,
    google: bool = False,
) -> Answer:
    """Return the answer to a GET, or to a POST where there is a `payload`, whatever its status.

    Redirects are not followed. `google` adds the caller's own credentials, except on loopback.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: The answer is larger than 64 MiB.
        UsageError: There are no Google credentials on this machine, or they have expired.
    """
    start = time.monotonic()
    google = google and not is_loopback(url)
    session = _google_session() if google else _plain_session(url)
    try:
        with session.request(
            "GET" if payload is None else "POST",
            url,
            params=params,
            json=payload,
            timeout=deadline_s,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _read_body(response, url, start + deadline_s)
            content_type = response.headers.get("content-type", "")
            return Answer(response.status_code, content_type, body, time.monotonic() - start)
    except _failures(google=google) as error:
        raise _explain(error, url, deadline_s) from error


def get_json(
    url: str,
    *,
    params: Mapping[str, str | int] | None = None,
    deadline_s: float = DEADLINE_S,
    google: bool = False,
) -> dict[str, Any]:
    """Return the JSON object that a GET answers with.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error status, or an answer that is no JSON object.
    """
    answer = fetch(url, params=params, deadline_s=deadline_s, google=google)
    return _read_object(url, answer, google=google)


def post_json(
    url: str,
    payload: Mapping[str, Any],
    *,
    deadline_s: float = DEADLINE_S,
    google: bool = False,
) -> dict[str, Any]:
    """Return the JSON object that a POST answers with; only for APIs that read by POST.

    Raises:
        UnreachableError: No answer before the deadline.
        ApiError: An error status, or an answer that is no JSON object.
    """
    answer = fetch(url, payload=payload, deadline_s=deadline_s, google=google)
    return _read_object(url, answer, google=google)


@cache
def _plain_session_for(host_is_local: bool) -> requests.Session:
    import requests

    session = requests.Session()
    # A proxy of the environment must not stand between us and this machine.
    session.trust_env = not host_is_local
    return session


def _plain_session(url: str) -> requests.Session:
    return _plain_session_for(is_loopback(url))


@cache
def _google_session() -> requests.Session:
    import google.auth
    from google.auth.credentials import with_scopes_if_required
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        # A person's own log-in has its scopes already; asked for others, it may be refused.
        found, _ = google.auth.default()
        credentials = with_scopes_if_required(found, _SCOPES)  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        raise UsageError(
            "There are no Google credentials on this machine.", next_step=_LOG_IN
        ) from error
    session: requests.Session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    return session


def _failures(*, google: bool) -> tuple[type[Exception], ...]:
    import requests

    if not google:
        return (requests.RequestException,)
    from google.auth.exceptions import GoogleAuthError

    return (requests.RequestException, GoogleAuthError)


def _explain(error: Exception, url: str, deadline_s: float) -> RunbookError:
    import requests

    if isinstance(error, requests.Timeout):
        return _silent(url, deadline_s)
    if isinstance(error, requests.RequestException):
        return _away(url, error)
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError):
        return UnreachableError(
            "Google's log-in service does not answer, so no request can be signed.",
            next_step="check the network, then the same command again",
        )
    return UsageError("Your Google credentials have expired or were withdrawn.", next_step=_LOG_IN)


def iterate_arrived(response: requests.Response) -> Iterator[bytes]:
    """Yield of a streamed body what has come so far, as it comes.

    `iter_content` waits for a full chunk, for ever if a server sends a byte at a time.

    Raises:
        requests.RequestException: The body broke off, or nothing more came in time.
    """
    import requests
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            yield chunk
    except ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except HTTPError as error:
        raise requests.ConnectionError(error) from error


def _read_body(response: requests.Response, url: str, deadline: float) -> bytes:
    body = bytearray()
    for chunk in iterate_arrived(response):
        body += chunk
        if len(body) > MAX_BYTES:
            raise ApiError(
                f"{_place(url)} sends more than {MAX_BYTES // 2**20} MiB; the rest was left.",
                status=response.status_code,
                next_step="ask for less: a shorter time or a smaller --limit",
                subject=_place(url),
            )
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{_place(url)} began to answer and did not finish in time.",
                next_step="try again; if it stays slow, go on by hand",
                subject=_place(url),
            )
    return bytes(body)


def _read_object(url: str, answer: Answer, *, google: bool) -> dict[str, Any]:
    content: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(answer.body)
    if answer.status >= 300:  # noqa: PLR2004 - redirects and errors
        raise _failure(url, answer, content, google=google)
    if not isinstance(content, dict):
        kind = answer.content_type.partition(";")[0] or "an unnamed type"
        what = f"{len(answer.body):,} bytes of {kind}" if answer.body.strip() else "nothing at all"
        raise ApiError(
            f"{_place(url)} answered {answer.status} with {what} instead of JSON.",
            status=answer.status,
            next_step="check the address in invoke.yaml; something else answers there",
            subject=_place(url),
        )
    return content


def _failure(url: str, answer: Answer, content: Any, *, google: bool) -> ApiError:  # noqa: ANN401
    told = ""
    if isinstance(content, dict):
        error = content.get("error")
        told = str(error.get("message", "")) if isinstance(error, dict) else str(error or "")
    message = f"{_place(url)} answered {answer.status}"
    message += f": {' '.join(told.split())[:300]}" if told else _meaning(answer.status)
    return ApiError(
        message if message.endswith(".") else message + ".",
        status=answer.status,
        next_step=_next_step(answer.status, google=google),
        subject=_place(url),
    )


def _meaning(status: int) -> str:
    meanings = {
        401: " (not logged in)",
        403: " (not allowed)",
        404: " (not found)",
        429: " (too many requests)",
        503: " (unavailable)",
    }
    return meanings.get(status, "")


def _next_step(status: int, *, google: bool) -> str:
    if not google and status in {401, 403}:
        return "ask it in a browser: it wants a log-in that the runbook has not; go on without it"
    steps = {
        400: "report this: the runbook asked for something that the API does not take",
        401: _LOG_IN,
        403: "ask for the roles roles/run.viewer and roles/logging.viewer on the project",
        404: "check project, region, service and addresses in invoke.yaml",
        429: "wait a minute, then try again",
    }
    return steps.get(status, "try again; if it stays, look at the provider's status page")


def _silent(url: str, deadline_s: float) -> UnreachableError:
    return UnreachableError(
        f"{_place(url)} did not answer within {deadline_s:g} s.",
        next_step="try again; if it stays silent, look at the provider's status page",
        subject=_place(url),
    )


def _away(url: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"{_place(url)} does not answer: {_reason(error)}.",
        next_step="check the address in invoke.yaml and the network, then try again",
        subject=_place(url),
    )


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _reason(error: Exception) -> str:
    told = str(error)
    known = {
        "Connection refused": "connection refused",
        "Name or service not known": "its name is unknown",
        "Failed to resolve": "its name is unknown",
        "Remote end closed": "it closed the connection without an answer",
        "Connection reset": "it broke the connection off",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
    }
    for sign, reason in known.items():
        if sign in told:
            return reason
    return type(error).__name__
