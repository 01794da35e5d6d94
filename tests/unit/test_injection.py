"""No text that a person types gets out of its place: in a filter, a query, a path or a line.

The options are those that the steps have, whatever steps there are: every text option of every
step is tried with any text. Either it is refused with exit code 2 before anything is asked with
it, or all that is asked holds it as one literal.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invoke.program import Program

from checks.limits import quote_label
from checks.logs import quote
from checks.target import PLATFORMS
from runbook.catalogue import collect, steps
from runbook.step import RunbookTask
from staging.cloud_logging.parser import parse
from staging.cloud_logging.tree import Compare
from tests.unit.any_api import AnyApi, serve_any
from tests.unit.hostile_api import write_endpoints
from tests.unit.test_target import make_target

MARK = "zq7"
LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\'(?:[^\'\\]|\\.)*\'')
HOSTILE = (
    *('" or vector(1) or "', '"} or up{job="', "') OR TRUE --", "'; DROP TABLE x; --", '" OR "'),
    *("$(id)", "`id`", ";reboot", "--kubeconfig=/x", "-x", "../../x", "{project}", "{0.__class__}"),
    *("a b", "a\nb", "\\", '\\"', "%0a", "#", "?a=b&c=d", "/", "\x1b[31m", "\u202e", ",", "*"),
)
# A command line holds no NUL, and what is no UTF-8 comes in as surrogates.
ANY = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
PLAIN = st.from_regex(r"[a-z0-9_-]{0,12}", fullmatch=True)
PIECE = st.one_of(ANY, PLAIN, st.sampled_from(HOSTILE))
VALUES = st.builds(lambda before, after: before + MARK + after, PIECE, PIECE)
# What keeps a step from starting anything when the option at hand is taken.
BESIDES = {("verify", "results"): {"alert": "NoSuchAlert"}}
UNFORESEEN = "in a way nobody foresaw"


class Option(NamedTuple):
    """A text option of a step: the flag is `--for` where the parameter is `for_`."""

    step: str
    parameter: str
    flag: str


def list_options(step: RunbookTask) -> list[Option]:
    """Return the step's options that take a text."""
    return [
        Option(
            step.qualified_name,
            argument.attr_name or argument.name,
            f"--{argument.name.strip('_').replace('_', '-')}",
        )
        for argument in step.get_arguments()
        if argument.kind is str and argument.name
    ]


# The steps of development ask a target nothing; they bring stagings of their own up.
OPTIONS = [
    option
    for name, step in steps().items()
    if not name.startswith("dev.")
    for option in list_options(step)
]


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    output: str


def run(*words: str) -> Ended:
    """Run a command line in this process."""
    printed = io.StringIO()
    code = 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            Program(namespace=collect()).run(["invoke", *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, printed.getvalue())


def list_words(option: Option, value: str, platform: str) -> list[str]:
    """Return the command line with the option at `value`; a change only makes its plan."""
    step = steps()[option.step]
    known = {one.parameter: one.flag for one in list_options(step)}
    required = [
        argument.name
        for argument in step.get_arguments()
        if argument.positional or argument.default is None
    ]
    more: dict[str, Any] = dict(BESIDES.get((option.step, option.parameter), {}))
    more |= {n: v for n, v in step.example.items() if n in required and n in known}
    more |= {"platform": platform} if "platform" in known and platform else {}
    more.pop(option.parameter, None)
    words = [option.step, *(f"{known[name]}={text}" for name, text in more.items())]
    words.append(f"{option.flag}={value}")
    flags = [f"--{argument.name}" for argument in step.get_arguments() if argument.name == "force"]
    return [*words, *flags, "--dry-run"] if step.changes else words


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyApi]:
    """Return what every step speaks to: any API, Prometheus, the service, kubectl."""
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch, serve_any(folder) as found:
        names = ("service_url", "prometheus", "alertmanager", "control")
        (folder / "kubeconfig").touch()
        more = {"kubeconfig": str(folder / "kubeconfig"), "kube_context": "embedded"}
        write_endpoints(folder, os.getpid(), found.url, **dict.fromkeys(names, found.url), **more)
        for name in [name for name in os.environ if name.startswith(("RUNBOOK_", "INVOKE_"))]:
            patch.delenv(name)
        patch.setenv("RUNBOOK_STAGING_DIR", str(folder))
        patch.setenv("RUNBOOK_STATE_DIR", str(folder / "state"))
        patch.setenv("RUNBOOK_API_DEADLINE_S", "2")
        patch.setenv("RUNBOOK_ADMIN_KEY", "not-a-key")
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        patch.chdir(folder)
        yield found


def find_loose(text: str, value: str) -> str:
    """Return why `value` is not one literal of `text`, a query or a plain value; or nothing.

    Where an option takes a list, each item of it is a value of its own.
    """
    values = {value, *(item.strip() for item in value.split(","))}
    if text in values or MARK not in text:
        return ""
    if MARK in LITERAL.sub("", text):
        return f"outside any literal: {text!r}"
    held = [one for one in LITERAL.findall(text) if MARK in one]
    whole = [one for one in held if values & {one[1:-1], _unescape(one)}]
    return "" if held == whole else f"not whole: {held!r}"


def _unescape(literal: str) -> str:
    try:
        return str(json.loads(literal, strict=False))
    except ValueError:
        return ""


def test_there_are_text_options() -> None:
    assert {"mitigate.block-tenant", "assess.api-keys", "mitigate.block-ip"} <= {
        option.step for option in OPTIONS
    }


@pytest.mark.parametrize("platform", ["", "kubernetes"])
@pytest.mark.parametrize("option", OPTIONS, ids=[f"{o.step}{o.flag}" for o in OPTIONS])
@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(value=VALUES)
def test_a_text_is_refused_or_stays_one_literal(
    api: AnyApi, option: Option, platform: str, value: str
) -> None:
    api.forget()
    ended = run(*list_words(option, value, platform))
    assert "No idea what" not in ended.output, ended.output  # invoke knows no such flag
    assert UNFORESEEN not in ended.output, ended.output
    assert "Traceback" not in ended.output
    assert ended.code in {0, 1, 2, 4}, ended.output
    loose = [find_loose(text, value) for asked in api.asked for text in asked.texts()]
    assert not any(loose), loose
    for line in api.kubectl_lines():
        assert all(value in word for word in line if MARK in word), line
        assert not [word for word in line if word.startswith(value) and value.startswith("-")]
    if ended.code == 2:
        assert not [one for one in api.asked for text in one.texts() if MARK in text]
        assert not [word for line in api.kubectl_lines() for word in line if MARK in word]


BY_HAND = [
    (option, platform)
    for option in OPTIONS
    for platform in PLATFORMS
    if steps()[option.step].by_platform
]


@pytest.mark.parametrize(
    ("option", "platform"), BY_HAND, ids=[f"{o.step}{o.flag}-{p}" for o, p in BY_HAND]
)
@settings(max_examples=25)
@given(value=VALUES)
def test_a_line_by_hand_keeps_its_words(option: Option, platform: str, value: str) -> None:
    """The same words as with a harmless value, but for the value itself, within its word."""
    step, target = steps()[option.step], make_target(platform=platform)
    arguments = {name: text for name, text in step.example.items() if name != option.parameter}
    plain = step.by_hand_argv(target, **arguments, **{option.parameter: "harmless"})
    typed = step.by_hand_argv(target, **arguments, **{option.parameter: value})
    assert [len(line) for line in typed] == [len(line) for line in plain]
    for ours, harmless in zip(typed, plain, strict=True):
        for word, same in zip(ours, harmless, strict=True):
            assert word == same.replace("harmless", value)
        assert not ours[0].startswith(value)


@given(text=ANY | st.sampled_from(HOSTILE))
def test_a_quoted_text_is_one_string_of_the_logging_language(text: str) -> None:
    tree = parse(f"jsonPayload.path={quote(text)}")
    assert isinstance(tree, Compare)
    assert tree.value.text == text


@given(text=ANY | st.sampled_from(HOSTILE))
def test_a_quoted_label_is_one_string_of_promql(text: str) -> None:
    assert json.loads(quote_label(text), strict=False) == text
    assert "\n" not in quote_label(text)


@pytest.mark.parametrize(
    ("text", "is_loose"),
    [('up{t="zq7"}', False), ("up{t=zq7}", True), ('up{t="a"} or zq7{t=""}', True),
     ('up{t="zq7-and-more"}', True), ("zq7", False), ("/zq7/x", True)],
)  # fmt: skip
def test_the_test_sees_what_is_loose(text: str, is_loose: bool) -> None:
    assert bool(find_loose(text, "zq7")) is is_loose
