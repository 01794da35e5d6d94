"""JSON over HTTP to the staging's own programs on loopback."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

# A proxy named in the environment must not see what is asked of 127.0.0.1.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalHttpError(Exception):
    """The program did not answer, or answered with an error; `status` is 0 without an answer."""

    def __init__(self, message: str, status: int = 0, body: str = "") -> None:
        """Keep the answer's status and body beside the message."""
        super().__init__(message)
        self.status = status
        self.body = body


def request_json(
    url: str, *, method: str = "GET", body: object = None, timeout_s: float = 5.0
) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the decoded JSON answer, None when it is empty. Raise LocalHttpError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - callers pass http:// on loopback
        url, data=data, method=method, headers={"Content-Type": "application/json"}
    )
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        detail = error.read().decode(errors="replace")
        raise LocalHttpError(f"{url} answered {error.code}", error.code, detail) from error
    except (OSError, HTTPException) as error:
        raise LocalHttpError(f"{url} did not answer: {error}") from error
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise LocalHttpError(f"{url} did not answer JSON") from error


async def fetch_json(
    url: str, *, method: str = "GET", body: object = None, timeout_s: float = 5.0
) -> Any:  # noqa: ANN401 - as above
    """As `request_json`, without holding up the event loop."""
    return await asyncio.to_thread(request_json, url, method=method, body=body, timeout_s=timeout_s)
