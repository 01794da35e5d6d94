"""Changes from clients: patched or replaced, read, completed, checked, and only then kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from staging.kubernetes import schema
from staging.kubernetes.defaults import complete_deployment
from staging.kubernetes.errors import (
    Cause,
    StatusError,
    bad_request,
    conflict,
    invalid,
    unsupported,
)
from staging.kubernetes.kinds import DEPLOYMENT, POD, Kind
from staging.kubernetes.patches import (
    PatchError,
    apply_json_patch,
    merge,
    merge_strategically,
)
from staging.kubernetes.validation import check_deployment, check_labels, list_unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.kubernetes.store import Object, Store

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_SHAPES = {DEPLOYMENT.qualified: schema.DEPLOYMENT, POD.qualified: schema.POD}
# What a client may not change of an object's metadata: the server's own value stays.
_OWN = ("namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp")
_OWN_TOO = ("deletionGracePeriodSeconds", "ownerReferences", "selfLink", "managedFields")


@dataclass
class Options:
    """How a write is meant; `warnings` are what the client is told besides."""

    dry_run: bool = False
    strict: bool = False
    silent: bool = False
    warnings: list[str] = field(default_factory=list)


class Writer:
    """Makes clients' changes."""

    def __init__(self, store: Store) -> None:
        """Write into `store`."""
        self._store = store

    def patch(
        self, kind: Kind, name: str, content_type: str, body: object, options: Options
    ) -> Object:
        """Return the object with the patch applied.

        Raise StatusError: NotFound, BadRequest, Conflict, Invalid, UnsupportedMediaType,
        NotImplemented; nothing has changed then.
        """
        old = self._store.get(kind, name)
        patched = _apply(old, content_type, body)
        strategic = content_type == STRATEGIC_PATCH

        def refuse(error: schema.DecodeError) -> StatusError:
            text = error.strategic if strategic else str(error)
            shown = _go_map(body) if strategic else _compact(patched)
            value = f'Invalid value: "{shown}": {text}'
            return invalid(None, "", [Cause("patch", "FieldValueInvalid", value)])

        return self._replace(kind, old, self._read(patched, kind, options, refuse), options)

    def replace(self, kind: Kind, name: str, body: object, options: Options) -> Object:
        """Return the object that `body` describes, in the old one's place.

        Raise StatusError as `patch` does.
        """
        old = self._store.get(kind, name)

        def refuse(error: schema.DecodeError) -> StatusError:
            return bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
                f" {error}"
            )

        return self._replace(kind, old, self._read(body, kind, options, refuse), options)

    def change(self, kind: Kind, name: str, mutate: Callable[[Object], None]) -> Object:
        """Return the object after `mutate` on a copy, read and checked as a client's is."""
        body = json.loads(json.dumps(self._store.get(kind, name)))
        mutate(body)
        return self.replace(kind, name, body, Options())

    def _read(
        self,
        body: object,
        kind: Kind,
        options: Options,
        refuse: Callable[[schema.DecodeError], StatusError],
    ) -> Object:
        reading = schema.Reading()
        try:
            value: Object = schema.decode(body, _SHAPES[kind.qualified], reading)
        except schema.DecodeError as error:
            raise refuse(error) from None
        told = [f'unknown field "{path}"' for path in reading.unknown]
        if told and options.strict:
            raise refuse(schema.DecodeError(f"strict decoding error: {', '.join(told)}"))
        if not options.silent:
            options.warnings.extend(told)
        if reading.unsupported:
            raise unsupported(", ".join(reading.unsupported))
        return value

    def _replace(self, kind: Kind, old: Object, given: Object, options: Options) -> Object:
        value = _keep_own(kind, old, given)
        if kind is DEPLOYMENT:
            value = _prepare_deployment(old, value)
        else:
            _check_pod(old, value)
        if options.dry_run:
            return value
        return self._store.update(kind, value)


def read_scale(store: Store, name: str) -> Object:
    """Return a deployment's scale. Raise StatusError NotFound."""
    deployment = store.get(DEPLOYMENT, name)
    metadata = deployment["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = deployment["spec"]["selector"]["matchLabels"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept},
        "spec": {"replicas": deployment["spec"]["replicas"]},
        "status": {
            "replicas": deployment["status"].get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def write_scale(
    store: Store, name: str, content_type: str, body: object, options: Options
) -> Object:
    """Return the scale after a patch, or after the whole of it when no patch type is given.

    Raise StatusError as `Writer.patch` does.
    """
    old = read_scale(store, name)
    patched = _apply(old, content_type, body) if content_type else body
    try:
        given = schema.decode(patched, schema.SCALE, schema.Reading())
    except schema.DecodeError as error:
        text = f'Invalid value: "{_compact(patched)}": {error}'
        if not content_type:
            raise bad_request(str(error)) from None
        raise invalid(None, "", [Cause("patch", "FieldValueInvalid", text)]) from None
    replicas = given.get("spec", {}).get("replicas", 0)
    if replicas < 0:
        why = f"Invalid value: {replicas}: must be greater than or equal to 0"
        kind = Kind("autoscaling", "v1", "scales", "Scale", ())
        raise invalid(kind, name, [Cause("spec.replicas", "FieldValueInvalid", why)])
    version = given.get("metadata", {}).get("resourceVersion")
    if version not in (None, "", old["metadata"]["resourceVersion"]):
        raise conflict(DEPLOYMENT, name)
    deployment = store.get(DEPLOYMENT, name)
    value = {**deployment, "spec": {**deployment["spec"], "replicas": replicas}}
    if not options.dry_run:
        store.update(DEPLOYMENT, _count_generation(deployment, value))
        return read_scale(store, name)
    return {**old, "spec": {"replicas": replicas}}


def _apply(old: Object, content_type: str, body: object) -> object:
    try:
        if content_type == JSON_PATCH:
            return apply_json_patch(old, body)
        if content_type not in (MERGE_PATCH, STRATEGIC_PATCH):
            raise StatusError(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include:"
                f" {JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_PATCH}",
            )
        if not isinstance(body, dict):
            raise bad_request("a merge patch must be a JSON object")
        return merge(old, body) if content_type == MERGE_PATCH else merge_strategically(old, body)
    except PatchError as error:
        if content_type == JSON_PATCH:
            raise StatusError(422, "Invalid", f"the server rejected our request: {error}") from None
        raise bad_request(str(error)) from None


def _keep_own(kind: Kind, old: Object, given: Object) -> Object:
    metadata, name = given.get("metadata", {}), old["metadata"]["name"]
    if metadata.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL"
            f" ({name})"
        )
    if metadata.get("namespace", "default") != old["metadata"]["namespace"]:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    uid = metadata.get("uid")
    if uid not in (None, "", old["metadata"]["uid"]):
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
        raise conflict(kind, name, why + old["metadata"]["uid"])
    version = old["metadata"]["resourceVersion"]
    if metadata.get("resourceVersion") not in (None, "", version):
        raise conflict(kind, name)
    own = {key: old["metadata"][key] for key in (*_OWN, *_OWN_TOO) if key in old["metadata"]}
    chosen = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {
        **given,
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **own, **chosen, "resourceVersion": version},
        "status": old.get("status", {}),
    }


def _prepare_deployment(old: Object, value: Object) -> Object:
    value = complete_deployment({"spec": {}, **value})
    causes = list(check_deployment(value, old))
    if causes:
        raise invalid(DEPLOYMENT, old["metadata"]["name"], causes)
    refused = list_unsupported(value["spec"])
    if refused:
        raise unsupported(", ".join(refused))
    return _count_generation(old, value)


def _count_generation(old: Object, value: Object) -> Object:
    generation = old["metadata"]["generation"] + (value["spec"] != old["spec"])
    return {**value, "metadata": {**value["metadata"], "generation": generation}}


def _check_pod(old: Object, value: Object) -> None:
    causes = list(check_labels(value["metadata"], "metadata"))
    if value.get("spec") != old["spec"]:
        why = "Forbidden: pod updates may not change fields here"
        causes.append(Cause("spec", "FieldValueForbidden", why))
    if causes:
        raise invalid(POD, old["metadata"]["name"], causes)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _go_map(value: object) -> str:
    """Return a JSON value as Go prints it with %+v."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go_map(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(_go_map(item) for item in value)}]"
    if value is None:
        return "<nil>"
    return json.dumps(value) if isinstance(value, bool) else str(value)
