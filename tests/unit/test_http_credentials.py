"""Google credentials as production has them: a real key, and a log-in service over the wire."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from checks import http
from checks.errors import UnreachableError, UsageError
from tests.unit.plain_server import Reply, serve_replies

# No such host exists (RFC 6761), so a request that gets as far as Google's API ends there.
API = "https://run.invalid/v2/x"
SCOPES = "https://www.googleapis.com/auth/"


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read the credentials anew in each test, and ask the log-in service without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    http._google_session.cache_clear()  # noqa: SLF001
    yield
    http._google_session.cache_clear()  # noqa: SLF001


def write_key(folder: Path, log_in: str) -> Path:
    """Write a service account's key whose log-in service is at `log_in`."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    content = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "responder@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": log_in,
    }
    path = folder / "key.json"
    path.write_text(json.dumps(content))
    return path


def test_expired_credentials_are_told_with_the_way_to_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = b'{"error": "invalid_grant", "error_description": "Token has been expired."}'
    with serve_replies({"/token": Reply(refusal, 400)}) as server:
        key = write_key(tmp_path, f"{server.url}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(UsageError, match="have expired") as caught:
            http.get_json(API, google=True)
    assert "gcloud auth application-default login" in caught.value.next_step


def test_a_log_in_service_that_is_away_is_no_expired_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = write_key(tmp_path, "http://127.0.0.1:9/token")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    with pytest.raises(UnreachableError, match="log-in service does not answer"):
        http.get_json(API, google=True, deadline_s=2)


def test_the_scopes_are_read_only_and_such_as_each_api_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Run's reference names run.readonly, Cloud Logging's cloud-platform.read-only."""
    asked: list[str] = []

    def log_in(_: dict[str, str], body: bytes) -> Reply:
        claims = parse_qs(body.decode())["assertion"][0].split(".")[1]
        padded = claims + "=" * (-len(claims) % 4)
        asked.append(json.loads(base64.urlsafe_b64decode(padded))["scope"])
        return Reply(b'{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}')

    with serve_replies({"/token": log_in}) as server:
        key = write_key(tmp_path, f"{server.url}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(UnreachableError):
            http.get_json(API, google=True, deadline_s=2)
    assert asked == [f"{SCOPES}run.readonly {SCOPES}cloud-platform.read-only"]
