"""`pods/log`: what a container wrote, as plain text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from staging.kubernetes.errors import StatusError, bad_request
from staging.kubernetes.kinds import POD
from staging.kubernetes.settings import CONTAINER
from staging.kubernetes.store import parse_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request

    from staging.kubernetes.cluster import Cluster
    from staging.kubernetes.container_logs import ContainerRun
    from staging.kubernetes.store import Object

_TRUE = frozenset({"true", "1", "True"})
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})


def answer_log(request: Request, cluster: Cluster) -> Response:
    """Return a pod's log. Raise StatusError NotFound, BadRequest."""
    name, asked = request.path_params["name"], request.query_params
    pod = cluster.store.get(POD, name)
    check_container(name, asked.get("container", CONTAINER))
    previous = asked.get("previous") in _TRUE
    run = cluster.logs.find(name, previous=previous)
    if run is None:
        raise _explain_nothing(pod, previous=previous)
    lines = _select(list(run.lines), asked)
    stamps = asked.get("timestamps") in _TRUE
    text = b"".join(_format(moment, line, stamps=stamps) for moment, line in lines)
    limit = _read_count(asked, "limitBytes")
    if asked.get("follow") in _TRUE and not previous:
        return StreamingResponse(_follow(text, run, stamps=stamps), media_type="text/plain")
    return PlainTextResponse(text if limit is None else text[:limit])


def check_container(pod: str, container: str) -> None:
    """Refuse a container that the pod has not. Raise StatusError BadRequest."""
    if container and container != CONTAINER:
        raise bad_request(f"container {container} is not valid for pod {pod}")


def _explain_nothing(pod: Object, *, previous: bool) -> StatusError:
    name = pod["metadata"]["name"]
    if previous:
        return bad_request(f'previous terminated container "{CONTAINER}" in pod "{name}" not found')
    statuses = pod["status"].get("containerStatuses") or [{}]
    reason = statuses[0].get("state", {}).get("waiting", {}).get("reason", "ContainerCreating")
    if reason in _PULLING:
        reason = "trying and failing to pull image"
    return bad_request(f'container "{CONTAINER}" in pod "{name}" is waiting to start: {reason}')


def _select(
    lines: list[tuple[datetime, bytes]], asked: Mapping[str, str]
) -> list[tuple[datetime, bytes]]:
    since = None
    seconds = _read_count(asked, "sinceSeconds")
    if seconds is not None:
        since = datetime.now(UTC) - timedelta(seconds=seconds)
    elif asked.get("sinceTime"):
        try:
            since = parse_time(asked["sinceTime"])
        except ValueError:
            raise bad_request(f"sinceTime: cannot read {asked['sinceTime']!r}") from None
    if since is not None:
        lines = [entry for entry in lines if entry[0] >= since]
    tail = _read_count(asked, "tailLines")
    if tail is None:
        return lines
    return lines[-tail:] if tail else []


def _read_count(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise bad_request(f"{name}: Invalid value: {text!r}: must be greater than or equal to 0")
    return int(text)


def _format(moment: datetime, line: bytes, *, stamps: bool) -> bytes:
    stamp = f"{moment.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z ".encode() if stamps else b""
    return stamp + line + b"\n"


async def _follow(text: bytes, run: ContainerRun, *, stamps: bool) -> AsyncIterator[bytes]:
    yield text
    async for moment, line in run.follow():
        yield _format(moment, line, stamps=stamps)
