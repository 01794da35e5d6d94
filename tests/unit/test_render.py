"""Text from outside reaches the terminal as text."""

from __future__ import annotations

import json
import sys

import pytest

from runbook.render import clean_text, make_console, report_as_data, show_report
from runbook.report import Line, Report, Table

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
BIDI = "abc\u202edef\u2066\u200b\ufeff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ä 漢 🙂", "plain ä 漢 🙂"), ("\x1b[31m", "\\x1b[31m"), ("a\nb\tc", "a\\x0ab\\x09c"),
     ("\u202e", "\\u202e"), ("\x9b31m", "\\u009b31m"), ("\U000e0041", "\\U000e0041"),
     ("\udc80", "\\udc80"), ("\u2028", "\\u2028"), ("", "")],
)  # fmt: skip
def test_clean_text(text: str, shown: str) -> None:
    assert clean_text(text) == shown


def test_long_text_is_cut_and_says_so() -> None:
    shown = clean_text("x" * 1_000_000, limit=50)
    assert len(shown) < 100
    assert "999,951 more characters" in shown


@pytest.mark.parametrize("width", ["20", "80", "400"])
def test_nothing_acts_on_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    hostile = ESCAPE + BIDI + "<script>" + "y" * 100_000
    report = Report(hostile, "bad", (hostile, Table((hostile[:5],), ((hostile,),))), (hostile,))
    show_report(report, step="x", target="local", as_json=False)
    out = capsys.readouterr().out
    assert not {c for c in out if ord(c) < 32 and c != "\n"}
    assert not set(out) & set("\u202e\u2066\u200b\ufeff\x9b")
    assert len(out) < 60_000


def test_a_line_to_be_copied_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a gcloud command is another command, and a shell runs it at the first line break."""
    monkeypatch.setenv("COLUMNS", "60")
    line = "gcloud run services update api " + " ".join(f"--flag-{n}=value" for n in range(60))
    show_report(Report("Plan.", evidence=(Line(line),)), step="x", target="local", as_json=False)
    assert line in capsys.readouterr().out.splitlines()


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(ESCAPE + BIDI, data={"text": ESCAPE + "\udc80"})
    show_report(report, step="x", target=None, as_json=True)
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out)["data"]["text"] == ESCAPE + "\udc80"


def test_a_reads_data_are_nested_and_a_changes_are_not() -> None:
    report = Report("Done.", data={"change": "abc"})
    assert report_as_data(report, step="x", target="local")["data"] == {"change": "abc"}
    assert report_as_data(report, step="x", target="local", is_change=True)["change"] == "abc"


def test_colour_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_console(sys.stdout).color_system is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    make_console(sys.stdout).print("a", style="bold red")
    assert "31m" not in capsys.readouterr().out


def test_a_narrow_terminal_gets_lines_and_no_squeezed_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(("revision", "image"), (("api-00001-abc", "repo/" + "x" * 60),))
    for width, line in (("40", "revision: api-00001-abc"), ("120", " revision ")):
        monkeypatch.setenv("COLUMNS", width)
        show_report(Report("Seen.", evidence=(table,)), step="x", target=None, as_json=False)
        assert any(shown.startswith(line) for shown in capsys.readouterr().out.splitlines())
