"""Text from outside: shown as it is, never acted on."""

import html

import pytest
from markdown import Markdown  # type: ignore[import-untyped]  # it has no types

from runbook.pages.text import LONGEST_OUTPUT, escape, escape_block, fence, seconds

ATTACKS = [
    "<b>bold</b>",
    "[link](javascript:alert(1))",
    "![image](https://example.org/x.png)",
    "`code` **strong** _em_ ~~gone~~",
    "https://example.org/",
    "{: onclick=alert(1) }",
    "\x02wzxhzdk:0\x03",
    "&lt;script&gt;",
    "a\\*b",
    "</span></p><script>",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_escaped_text_survives_markdown_as_text(text: str) -> None:
    """Inside inline HTML, where Markdown still reads, no element comes of it."""
    page = Markdown(extensions=["attr_list"]).convert(f"<span>{escape(text)}</span>")
    assert page.count("<") == 4, page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb", "a\\x0db"),
        ("a\x00b", "a\\x00b"),
        ("\ud800", "?"),
        ("two\nlines", "two lines"),
        ("grün ✓", "grün ✓"),
    ],
)
def test_control_characters_are_spelt_out(text: str, shown: str) -> None:
    """No escape sequence and no change of direction reaches a reader."""
    assert html.unescape(escape(text)) == shown


def test_a_long_output_is_cut_and_says_so() -> None:
    """A megabyte of log does not become a megabyte of page."""
    shown = escape_block("x" * 1_000_000)
    assert len(shown) < LONGEST_OUTPUT + 100
    assert f"{1_000_000 - LONGEST_OUTPUT:,} more characters" in shown


def test_a_block_has_no_empty_line() -> None:
    """An empty line would end the HTML block and begin Markdown again."""
    assert "\n" not in escape_block("a\n\n\nb")


def test_a_fence_is_longer_than_any_inside() -> None:
    """Backticks in an output cannot close its block."""
    page = Markdown(extensions=["pymdownx.superfences"]).convert(fence("a\n```\n````\n<b>", "text"))
    assert page.count("<pre>") == 1
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(None, "not measured"), (0.04, "0.0 s"), (59.9, "59.9 s"), (125, "2 min 5 s")],
)
def test_durations_are_for_people(duration: float | None, shown: str) -> None:
    """Tenths of a second, then minutes."""
    assert seconds(duration) == shown
