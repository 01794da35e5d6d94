"""Text that comes from outside, made safe to stand in a page."""

import re
from datetime import UTC, datetime

LONGEST_OUTPUT = 6_000
_INVISIBLE = re.compile(
    r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)

# Markdown reads the text of inline HTML too, so its signs are spelt as entities like HTML's own.
_SIGNS = "&<>\"'[]()*_`{}\\!~^|#=+@$:/"
_ENTITIES = str.maketrans({sign: f"&#{ord(sign)};" for sign in _SIGNS})


class PageError(Exception):
    """The site cannot be built as it stands; the message says what is wrong and where."""


def show_invisible(text: str) -> str:
    r"""Return the text with control characters spelt out, as `\x1b`; line breaks stay."""
    return _INVISIBLE.sub(_spell_out, text.encode("utf-8", "replace").decode("utf-8"))


def _spell_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if match.group() == "\t":
        return "    "
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004


def escape(text: str) -> str:
    """Return the text as HTML that shows exactly it, on one line."""
    return show_invisible(text).replace("\n", " ").translate(_ENTITIES)


def escape_block(text: str) -> str:
    """Return the text as the inside of a `<pre>`; a very long one is cut, and says so.

    No raw line break is left in it: Markdown ends an HTML block at an empty line.
    """
    left_out = len(text) - LONGEST_OUTPUT
    shown = show_invisible(text[:LONGEST_OUTPUT])
    if left_out > 0:
        shown += f"\n… {left_out:,} more characters"
    return shown.translate(_ENTITIES).replace("\n", "&#10;")


def fence(code: str, language: str = "sh") -> str:
    """Return a fenced code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{show_invisible(code)}\n{ticks}"


def iso_time(moment: datetime) -> str:
    """Return the moment as a browser reads it: `2026-11-23T06:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain_time(moment: datetime) -> str:
    """Return the moment as a person reads it, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def seconds(duration: float | None) -> str:
    """Return a duration for a reader: `4.1 s`, `2 min 5 s`, or `not measured`."""
    if duration is None:
        return "not measured"
    if duration < 60:  # noqa: PLR2004
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"
