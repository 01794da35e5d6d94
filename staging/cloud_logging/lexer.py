"""Tokens of the Logging query language.

Unquoted text may hold anything but the characters that the language reserves, which its page lists
under "Values and conversions". Where that page leaves a case open, the text is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from staging.cloud_logging.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["word", "string", "operator", "(", ")", ",", "*", "-", "end"]

KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})
MAX_LENGTH: Final = 20_000

_OPERATORS: Final = ("<=", ">=", "!=", "=~", "!~", "=", "<", ">", ":")
_MARKS: Final[Mapping[str, Kind]] = {"(": "(", ")": ")", ",": ",", "*": "*"}
_RESERVED: Final = frozenset('~=():><,"*!\\')
_ESCAPES: Final = {
    '"': '"',
    "\\": "\\",
    "'": "'",
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_HEX_ESCAPES: Final = {"x": 2, "u": 4, "U": 8}
_HIGHEST_CODE_POINT: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, with its offset in the filter (characters from 0).

    `text` is the token as written, for strings without quotes and escapes. `path` holds the parts
    of a word between its dots; `quoted` says that at least one of them stood in quotes. `spaced`
    says that white space, a comment or the filter's beginning comes directly before.
    """

    kind: Kind
    text: str
    offset: int
    spaced: bool
    path: tuple[str, ...] = ()
    quoted: bool = False


class Lexer:
    """Reads one filter from its beginning to its end."""

    def __init__(self, text: str) -> None:
        """Read from `text`; raise QueryError when it is longer than the API allows."""
        if len(text) > MAX_LENGTH:
            raise QueryError(f"the filter has more than {MAX_LENGTH} characters", text, MAX_LENGTH)
        self._text = text
        self._at = 0

    def tokens(self) -> list[Token]:
        """Return the filter's tokens, an `end` token last. Raises QueryError."""
        found: list[Token] = []
        while True:
            spaced = self._skip_space() or not found
            after_operator = bool(found) and found[-1].kind == "operator"
            token = self._next(spaced=spaced, after_operator=after_operator)
            found.append(token)
            if token.kind == "end":
                return found

    def _error(self, what: str, offset: int) -> QueryError:
        return QueryError(what, self._text, offset)

    def _skip_space(self) -> bool:
        start = self._at
        text = self._text
        while self._at < len(text):
            if text[self._at].isspace():
                self._at += 1
            elif text.startswith("--", self._at):
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            else:
                break
        return self._at > start

    def _next(self, *, spaced: bool, after_operator: bool) -> Token:
        text, start = self._text, self._at
        if start == len(text):
            return Token("end", "", start, spaced)
        for operator in _OPERATORS:
            if text.startswith(operator, start):
                self._at += len(operator)
                return Token("operator", operator, start, spaced)
        char = text[start]
        if char in _MARKS:
            self._at += 1
            return Token(_MARKS[char], char, start, spaced)
        if char == '"':
            return Token("string", self._read_string(), start, spaced, quoted=True)
        if char == "-" and not after_operator:
            self._at += 1
            return Token("-", "-", start, spaced)
        return self._read_word(spaced=spaced)

    def _read_word(self, *, spaced: bool) -> Token:
        start = self._at
        self._refuse_start(start)
        parts = [""]
        quoted = False
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"' and parts[-1] == "" and len(parts) > 1:
                parts[-1] = self._read_string()
                quoted = True
                if not parts[-1]:
                    raise self._error("an empty field name", start)
                if self._text[self._at : self._at + 1] != ".":
                    break
            elif char.isspace() or char in _RESERVED:
                break
            elif self._text.startswith("--", self._at):
                raise self._error("'--' inside unquoted text; put the text in quotes", self._at)
            elif not char.isprintable():
                raise self._error(f"the unquoted control character {char!r}", self._at)
            elif char == ".":
                parts.append("")
                self._at += 1
            else:
                parts[-1] += char
                self._at += 1
        return self._finish_word(start, tuple(parts), quoted=quoted, spaced=spaced)

    def _finish_word(
        self, start: int, parts: tuple[str, ...], *, quoted: bool, spaced: bool
    ) -> Token:
        word = self._text[start : self._at]
        if self._text[self._at : self._at + 1] in {"\\", '"'}:
            raise self._error("a quotation mark or escape in unquoted text", self._at)
        if "" in parts:
            raise self._error(f"nothing on one side of a '.' in '{word}'; quote the text", start)
        if not any(char.isalnum() or char == "_" for char in word):
            raise self._error(f"the unquoted text '{word}'; put it in quotes", start)
        return Token("word", word, start, spaced, parts, quoted)

    def _refuse_start(self, start: int) -> None:
        char = self._text[start]
        if char in "+.":
            raise self._error(f"unquoted text that begins with '{char}'; put it in quotes", start)
        if char == "'":
            raise self._error("a single quotation mark; strings stand in double ones", start)
        if char in _RESERVED:
            raise self._error(f"an unexpected '{char}'", start)

    def _read_string(self) -> str:
        start = self._at
        parts: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return "".join(parts)
            if char == "\n":
                raise self._error("a line break inside a string; write it as \\n", self._at)
            parts.append(self._read_escape() if char == "\\" else char)
            if char != "\\":
                self._at += 1
        raise self._error("a string without its closing quotation mark", start)

    def _read_escape(self) -> str:
        start = self._at
        name = self._text[start + 1 : start + 2]
        if name in _HEX_ESCAPES:
            return self._read_code_point(start, _HEX_ESCAPES[name])
        if not name or name not in _ESCAPES:
            raise self._error(
                f"the unknown escape '\\{name}'; a backslash itself is written '\\\\'", start
            )
        self._at += 2
        return _ESCAPES[name]

    def _read_code_point(self, start: int, digits: int) -> str:
        literal = self._text[start + 2 : start + 2 + digits]
        valid = len(literal) == digits and all(d in "0123456789abcdefABCDEF" for d in literal)
        code = int(literal, 16) if valid else -1
        if not 0 <= code <= _HIGHEST_CODE_POINT or code in _SURROGATES:
            raise self._error("an escape that names no character", start)
        self._at += 2 + digits
        return chr(code)
