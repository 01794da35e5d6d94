"""The door for reads against a real server that answers as no API should."""

from __future__ import annotations

import time

import pytest

from checks import http
from checks.errors import ApiError, RunbookError, UnreachableError
from tests.unit.hostile_api import BEHAVIOURS, serve
from tests.unit.plain_server import Reply, serve_replies


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_bad_answer_is_one_sentence(behaviour: str) -> None:
    with serve(behaviour) as api, pytest.raises(RunbookError) as caught:
        http.get_json(f"{api.url}/v2/x", deadline_s=0.5)
    told = str(caught.value)
    assert told.endswith(".")
    assert "\n" not in told
    assert caught.value.next_step
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("behaviour", "status", "words"),
    [("503", 503, "try later"), ("429", 429, "quota"), ("html", 200, "text/html"),
     ("nothing", 200, "nothing at all"), ("not-json", 200, "instead of JSON")],
)  # fmt: skip
def test_what_was_answered_is_told(behaviour: str, status: int, words: str) -> None:
    with serve(behaviour) as api, pytest.raises(ApiError, match=words) as caught:
        http.post_json(f"{api.url}/v2/x", {})
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [("silent", "did not answer within"), ("trickle", "did not finish in time")],
)
def test_waiting_ends_at_the_deadline(behaviour: str, words: str) -> None:
    start = time.monotonic()
    with serve(behaviour) as api, pytest.raises(UnreachableError, match=words):
        http.get_json(api.url, deadline_s=0.3)
    assert time.monotonic() - start < 5


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="connection refused"):
        http.get_json("http://127.0.0.1:9/x")


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serve_replies({"/x": Reply(b'{"a": 1}')}) as server:
        assert http.get_json(f"{server.url}/x") == {"a": 1}


def test_a_body_past_the_limit_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 100_000)
    with (
        serve_replies({"/x": Reply(b'"' + b"a" * 300_000 + b'"')}) as server,
        pytest.raises(ApiError, match="sends more than"),
    ):
        http.get_json(f"{server.url}/x")


def test_a_redirect_is_not_followed() -> None:
    replies = {"/x": Reply(b"", 302, location="/y"), "/y": Reply(b'{"followed": true}')}
    with serve_replies(replies) as server, pytest.raises(ApiError, match="302"):
        http.get_json(f"{server.url}/x")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[]", b"1", b"null", b"\xff\xfe"])
def test_json_that_is_no_object(body: bytes) -> None:
    with (
        serve_replies({"/x": Reply(body)}) as server,
        pytest.raises(ApiError, match="instead of JSON"),
    ):
        http.get_json(f"{server.url}/x")


@pytest.mark.parametrize("status", [401, 403])
def test_only_google_is_logged_in_to_with_gcloud(status: int) -> None:
    """A Prometheus behind a log-in of its own is not opened by Google credentials."""
    told = []
    with serve_replies({"/x": Reply(b"{}", status)}) as server:
        for google in (True, False):
            with pytest.raises(ApiError) as caught:
                http.get_json(f"{server.url}/x", google=google)
            told.append(caught.value.next_step)
    assert ("gcloud" in told[0]) or ("roles/run.viewer" in told[0])
    assert "gcloud" not in told[1]
    assert "roles/" not in told[1]


def test_fetch_gives_any_status_back() -> None:
    with serve_replies({"/x": Reply(b"no", 503)}) as server:
        answer = http.fetch(f"{server.url}/x")
    assert (answer.status, answer.body) == (503, b"no")


def test_secrets_of_an_address_are_not_told() -> None:
    with pytest.raises(UnreachableError) as caught:
        http.fetch("http://user:secret@127.0.0.1:9/x?key=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
