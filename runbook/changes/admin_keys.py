"""The service's administration of API keys: list, issue and deactivate, with the admin key.

The admin key comes from RUNBOOK_ADMIN_KEY or from the target's file, and is told to nobody.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.errors import ApiError, RunbookError, UnreachableError, UsageError
from runbook.changes.door import read_json, request_json
from runbook.changes.key_files import read_secret
from runbook.changes.system import UncertainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.target import Target

VARIABLE = "RUNBOOK_ADMIN_KEY"
_KEY = re.compile(r"[\x21-\x7e]{8,512}")
_SECRET = re.compile(r"[\x21-\x7e]{8,512}")
_NAME = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_MAX_FILE = 4096
_HIDDEN = 16
_CHEAP_READ = "/api/v1/pipelines/executions?status=failed"
_UNAUTHORIZED, _NOT_FOUND = 401, 404


@dataclass(frozen=True)
class ListedKey:
    """One key of a tenant, without what opens anything; `created_at` as the service tells it."""

    key_id: str
    prefix: str
    active: bool
    created_at: str


@dataclass(frozen=True)
class IssuedKey:
    """A new key; only `write_secret` may touch `secret`."""

    tenant: str
    key_id: str
    prefix: str
    secret: str

    def __repr__(self) -> str:
        """Return the key without its secret: a trace must not tell it."""
        return f"IssuedKey({self.tenant!r}, {self.key_id!r}, {self.prefix!r})"


def list_keys(target: Target, tenant: str) -> list[ListedKey]:
    """Return a tenant's keys.

    Raises:
        ApiError: The service refuses it, such as for a tenant that it does not know.
        UnreachableError: It gives no usable answer.
        UsageError: This machine has no admin key.
    """
    url = _url(target, tenant)
    try:
        content = read_json(url, headers=_headers(target))
        return [_parse_key(raw) for raw in content["api_keys"]]
    except ApiError as error:
        raise _explain(error, tenant) from error
    except (KeyError, TypeError) as error:
        raise UnreachableError(
            f"The service gave no usable list of {tenant}'s keys.",
            next_step="invoke assess.health; then try again",
            subject=tenant,
        ) from error


def issue_key(target: Target, tenant: str) -> IssuedKey:
    """Make a new key of a tenant and return it: the service tells its secret this once.

    Raises:
        ApiError, UnreachableError, UsageError: It was refused or never sent; there is no new key.
        UncertainError: It was sent and no usable answer came.
    """
    try:
        content = request_json("POST", _url(target, tenant), {}, headers=_headers(target))
    except ApiError as error:
        raise _explain(error, tenant) from error
    key_id, secret = content.get("key_id"), content.get("api_key")
    if not isinstance(key_id, str) or not _NAME.fullmatch(key_id):
        raise UncertainError("the service named no key")
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise UncertainError(f"the service answered without the secret of {key_id}")
    prefix = str(content.get("key_prefix", ""))
    # A prefix is shown, so it must leave enough of the secret to guess.
    return IssuedKey(tenant, key_id, prefix if len(prefix) <= len(secret) - _HIDDEN else "", secret)


def deactivate_key(target: Target, tenant: str, key_id: str) -> None:
    """Make a key open nothing any more.

    Raises as `issue_key`; a key that is not there any more is no error.
    """
    if not _NAME.fullmatch(key_id):
        raise UsageError(f"{key_id!r} is no key's id.", next_step="invoke assess.api-keys")
    try:
        request_json("DELETE", f"{_url(target, tenant)}/{key_id}", headers=_headers(target))
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise _explain(error, tenant) from error


def try_key(target: Target, file: str) -> bool:
    """Return whether the service accepts the key in a file: any answer but 401 to a cheap read."""
    secret = read_secret(file)
    if not _SECRET.fullmatch(secret):
        return False
    url = f"{target.service_url.rstrip('/')}{_CHEAP_READ}"
    try:
        read_json(url, headers={"x-api-key": secret})
    except ApiError as error:
        return error.status != _UNAUTHORIZED
    except RunbookError:
        return False
    return True


def _url(target: Target, tenant: str) -> str:
    return f"{target.service_url.rstrip('/')}/admin/tenants/{tenant}/api-keys"


def _headers(target: Target) -> dict[str, str]:
    return {"x-admin-key": _read_admin_key(target)}


def _read_admin_key(target: Target) -> str:
    key = os.environ.get(VARIABLE, "").strip()
    where = VARIABLE
    if not key and target.admin_key_file:
        where = target.admin_key_file
        try:
            with Path(where).open("rb") as file:
                key = file.read(_MAX_FILE).decode("ascii", "replace").strip()
        except OSError as error:
            told = f"The admin key's file {where} cannot be read: {error.strerror}."
            raise _no_key(told) from error
    if not key:
        raise _no_key("There is no admin key on this machine.")
    if not _KEY.fullmatch(key):
        raise _no_key(f"What {where} holds is no admin key.")
    return key


def _no_key(told: str) -> UsageError:
    return UsageError(
        f"{told} Nothing was changed.",
        next_step=f"put the service's admin key into {VARIABLE}, or name its file as"
        " `admin_key_file` of the target in invoke.yaml",
    )


def _explain(error: ApiError, tenant: str) -> ApiError:
    told = {
        401: ("The service does not accept the admin key.", f"check {VARIABLE} or the key's file"),
        404: (f"The service knows no tenant {tenant}.", "invoke assess.api-keys lists them"),
        429: ("The service limits calls of its administration.", "wait a minute, then try again"),
    }
    if error.status not in told:
        return error
    sentence, next_step = told[error.status]
    return ApiError(
        f"{sentence} Nothing was changed.",
        status=error.status,
        next_step=next_step,
        subject=tenant,
    )


def _parse_key(raw: Mapping[str, Any]) -> ListedKey:
    return ListedKey(
        key_id=str(raw["key_id"]),
        prefix=str(raw.get("key_prefix") or ""),
        active=str(raw["is_active"]).lower() == "true",
        created_at=str(raw.get("created_at") or ""),
    )
