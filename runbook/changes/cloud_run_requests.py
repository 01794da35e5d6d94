"""Writes to Cloud Run through google-cloud-run's v2 client, one request a change, under an etag."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError, ConcurrentChangeError
from checks.target import is_loopback
from runbook.changes.state import LATEST, RESTART_LABEL
from runbook.changes.system import Outcome, UncertainError, request_deadline_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.cloud import run_v2

    from checks.target import Target
    from runbook.changes.cloud_run_patch import RunPatch

CLIENT = "convergence-runbook"
NONCE_LABEL = "client.knative.dev/nonce"


def send_patch(target: Target, patch: RunPatch, etag: str) -> Any:  # noqa: ANN401 - api_core's Operation is untyped
    """Send the patch (`services.patch`) under the etag and return its long-running operation.

    Raises:
        ConcurrentChangeError: The service is no longer the one that was planned for; untouched.
        ApiError: Cloud Run refused it; nothing was changed.
        UncertainError: No usable answer came.
    """
    from google.api_core import exceptions

    try:
        client, service, paths = _prepare(target, patch, etag)
    except exceptions.GoogleAPICallError as error:
        raise _refused(error) from error
    except Exception as error:
        raise _unreadable(error) from error
    try:
        return client.update_service(
            request={"service": service, "update_mask": {"paths": paths}},
            timeout=request_deadline_s(),
            retry=None,
        )
    except (exceptions.Conflict, exceptions.Aborted) as error:
        raise ConcurrentChangeError(
            f"Cloud Run refused the change: {_first_line(error)}", next_step="plan it again"
        ) from error
    except exceptions.ClientError as error:
        raise _refused(error) from error
    except Exception as error:
        raise UncertainError(f"{type(error).__name__}: {_first_line(error)}") from error


def wait_for_operation(target: Target, operation: Any, deadline_s: float) -> Outcome:  # noqa: ANN401
    """Return how the operation ended, or that it had not after `deadline_s` seconds."""
    from google.api_core import exceptions
    from google.api_core.future.polling import DEFAULT_POLLING

    polling = DEFAULT_POLLING.with_delay(initial=1.0, maximum=3.0, multiplier=1.5)
    if target.api and is_loopback(target.api):
        polling = polling.with_delay(initial=0.02, maximum=0.2, multiplier=1.5)
    try:
        operation.result(timeout=deadline_s, polling=polling)
    except TimeoutError:
        return Outcome(finished=False)
    except exceptions.GoogleAPICallError as error:
        return Outcome(failure=_first_line(error), finished=bool(operation.operation.done))
    except Exception as error:  # noqa: BLE001 - the state of the service is read next anyway
        return Outcome(failure=f"{type(error).__name__}: {_first_line(error)}", finished=False)
    return Outcome()


def _prepare(
    target: Target, patch: RunPatch, etag: str
) -> tuple[run_v2.ServicesClient, run_v2.Service, list[str]]:
    from google.cloud import run_v2

    options = _client_options(target)
    client = run_v2.ServicesClient(**options)
    name = client.service_path(target.project, target.region, target.service)
    service = run_v2.Service(name=name, etag=etag, client=CLIENT)
    paths = ["client"]
    if patch.traffic is not None:
        service.traffic = [run_v2.TrafficTarget(_as_target(share)) for share in patch.traffic]
        paths.append("traffic")
    if patch.makes_revision:
        current = None
        if patch.restarted_at is not None or patch.image or patch.settings:
            current = client.get_service(name=name, timeout=request_deadline_s(), retry=None)
        revisions = run_v2.RevisionsClient(**options)
        paths += _fill_template(
            service, patch, current, lambda r: _read_revision(revisions, f"{name}/revisions/{r}")
        )
    return client, service, paths


def _fill_template(
    service: run_v2.Service,
    patch: RunPatch,
    current: run_v2.Service | None,
    read_revision: Callable[[str], run_v2.Revision],
) -> list[str]:
    if patch.copy_of:
        service.template = _copy_template(read_revision(patch.copy_of))
        if patch.image:
            service.template.containers[0].image = patch.image
        _set_parts(service.template, patch.settings or {})
        paths = ["template"]
    else:
        # A name left over from an earlier change would make Cloud Run refuse the next revision.
        paths = ["template.revision"]
        if patch.scaling is not None:
            paths.append("template.scaling")
        if current is not None:
            paths += _fill_from_current(service, patch, current)
    service.template.revision = patch.revision
    if patch.scaling is not None:
        service.template.scaling.min_instance_count = patch.scaling["min"]
        service.template.scaling.max_instance_count = patch.scaling["max"]
    return paths


def _fill_from_current(
    service: run_v2.Service, patch: RunPatch, current: run_v2.Service
) -> list[str]:
    paths = []
    if patch.restarted_at is not None:
        service.labels = _relabel(current.labels, patch.restarted_at)
        service.template.labels = _relabel(current.template.labels, patch.restarted_at)
        paths += ["labels", "template.labels"]
    if patch.image and current.template.containers[0].image != patch.image:
        service.template.containers = list(current.template.containers)
        service.template.containers[0].image = patch.image
        paths.append("template.containers")
    if patch.settings:
        if "template.containers" not in paths:
            service.template.containers = list(current.template.containers)
            paths.append("template.containers")
        service.template.timeout = current.template.timeout
        paths += ["template.timeout"] if "timeout" in patch.settings else []
        _set_parts(service.template, patch.settings)
    return paths


def _set_parts(template: run_v2.RevisionTemplate, parts: Mapping[str, str | None]) -> None:
    """Write what `settings.to_write` gave into the service's own container and its template."""
    from google.cloud import run_v2

    container = next((c for c in template.containers if c.name == "app"), template.containers[0])
    for name, value in parts.items():
        if name == "timeout":
            template.timeout = timedelta(seconds=int((value or "0").removesuffix("s")))
        elif not name.startswith("env."):
            container.resources.limits.pop(name, None)
            if value is not None:
                container.resources.limits[name] = value
        else:
            plain = name.removeprefix("env.")
            known = [item for item in container.env if item.name == plain]
            if value is None:
                container.env = [item for item in container.env if item.name != plain]
            elif known:
                known[0].value = value
            else:
                container.env.append(run_v2.EnvVar(name=plain, value=value))


def _relabel(labels: Mapping[str, str], stamp: str) -> dict[str, str]:
    kept = {key: value for key, value in labels.items() if key != RESTART_LABEL}
    return kept | ({RESTART_LABEL: stamp} if stamp else {})


def _copy_template(revision: run_v2.Revision) -> run_v2.RevisionTemplate:
    from google.cloud import run_v2

    known = run_v2.Revision.meta.fields
    shared = [name for name in run_v2.RevisionTemplate.meta.fields if name in known]
    template = run_v2.RevisionTemplate({n: getattr(revision, n) for n in shared if n in revision})
    template.labels.pop(NONCE_LABEL, None)
    return template


def _read_revision(client: run_v2.RevisionsClient, name: str) -> run_v2.Revision:
    return client.get_revision(name=name, timeout=request_deadline_s(), retry=None)


def _as_target(share: Mapping[str, Any]) -> dict[str, Any]:
    from google.cloud import run_v2

    kinds = run_v2.TrafficTargetAllocationType
    named = share["revision"] != LATEST
    return {
        "type_": kinds.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
        if named
        else kinds.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST,
        "revision": share["revision"] if named else "",
        "percent": share["percent"],
        "tag": share.get("tag", ""),
    }


def _client_options(target: Target) -> dict[str, Any]:
    options: dict[str, Any] = {"transport": "rest"}
    if target.api is None:
        return options
    options["client_options"] = {"api_endpoint": target.api}
    if is_loopback(target.api):
        from google.auth.credentials import AnonymousCredentials

        options["credentials"] = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return options


def _refused(error: Exception) -> ApiError:
    return ApiError(
        f"Cloud Run refused the change: {_first_line(error)} Nothing was changed.",
        status=int(getattr(error, "code", None) or 0),
        next_step="Mend what it names and run the command again.",
    )


def _unreadable(error: Exception) -> ApiError:
    return ApiError(
        f"Cloud Run did not give a usable answer: {type(error).__name__}. Nothing was changed.",
        status=0,
        next_step="invoke mitigate, then run the command again",
    )


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "message", "") or error).strip().splitlines()
    return text[0][:400] if text else type(error).__name__
