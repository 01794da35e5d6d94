"""The functions of the query language: their arguments, checked where they are parsed.

Source: "Functions" in https://cloud.google.com/logging/docs/view/logging-query-language
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, Protocol, cast, get_args

from staging.cloud_logging.tokens import split_phrases
from staging.cloud_logging.tree import (
    Cast,
    CastType,
    Extract,
    Field,
    InNetwork,
    LogId,
    Node,
    Operand,
    Sample,
    Search,
    Source,
)
from staging.cloud_logging.values import parse_float

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from staging.cloud_logging.errors import QueryError
    from staging.cloud_logging.fields import FieldKind
    from staging.cloud_logging.lexer import Token

_OPERAND_FUNCTIONS: Final = frozenset({"cast", "regexp_extract"})
_RESOURCE: Final = re.compile(r"(projects|folders|organizations|billingAccounts)/[\w:.-]+")


class TokenReader(Protocol):
    """What a parser offers to the functions' arguments."""

    def error(self, what: str, token: Token) -> QueryError:
        """Return the error to raise at `token`."""

    def peek(self, ahead: int = 0) -> Token:
        """Return a coming token."""

    def take(self) -> Token:
        """Return the next token and pass it."""

    def expect(self, kind: str) -> Token:
        """Pass a token of this kind or raise QueryError."""

    def enter(self, token: Token) -> None:
        """Count one more level of nesting or raise QueryError."""

    def leave(self) -> None:
        """Count one level of nesting less."""

    def field(self) -> Field:
        """Pass a field's path and return it, or raise QueryError."""

    def kind_of(self, field: Field) -> FieldKind:
        """Return the field's type or raise QueryError."""


def is_function(name: str) -> bool:
    """Return whether the language has a function of this name, in any letter case."""
    return name.lower() in _OPERAND_FUNCTIONS or name.lower() in _PREDICATES


def is_operand(name: str) -> bool:
    """Return whether the function gives a value to compare, rather than true or false."""
    return name.lower() in _OPERAND_FUNCTIONS


def parse_operand(reader: TokenReader) -> Operand:
    """Return the field, CAST or REGEXP_EXTRACT that comes next. Raises QueryError."""
    name, opening = reader.peek(), reader.peek(1)
    if opening.kind != "(":
        field = reader.field()
        if reader.kind_of(field) == "message":
            raise reader.error(f"'{name.text}', which is no single value", name)
        return field
    if not is_operand(name.text) or opening.spaced:
        raise reader.error(f"'{name.text}' where a field belongs", name)
    reader.take()
    reader.enter(reader.take())
    inner = parse_operand(reader)
    reader.expect(",")
    operand = (
        _finish_cast(reader, name, inner)
        if name.text.lower() == "cast"
        else _finish_extract(reader, name, inner)
    )
    reader.expect(")")
    reader.leave()
    return operand


def parse_predicate(reader: TokenReader) -> Node:
    """Return the node of the true-or-false function that comes next. Raises QueryError."""
    name = reader.take()
    reader.expect("(")
    node = _PREDICATES[name.text.lower()](reader)
    reader.expect(")")
    return node


def _finish_cast(reader: TokenReader, name: Token, inner: Operand) -> Cast:
    token = reader.take()
    kind = token.text.upper()
    if token.kind != "word" or kind not in get_args(CastType):
        raise reader.error(f"CAST to '{token.text}'", token)
    if reader.peek().kind == ",":
        raise reader.error("an option of CAST, as TIMEZONE(...)", reader.peek())
    if kind == "STRING" and isinstance(inner, Field):
        type_ = reader.kind_of(inner)
        if type_ in {"timestamp", "duration", "severity"}:
            raise reader.error(f"CAST of a {type_} to STRING, whose text form is not known", name)
    return Cast(inner, cast("CastType", kind), name.offset)


def _finish_extract(reader: TokenReader, name: Token, inner: Operand) -> Extract:
    return Extract(inner, _string(reader, "a regular expression"), name.offset)


def _string(reader: TokenReader, what: str) -> str:
    token = reader.take()
    if token.kind != "string":
        raise reader.error(f"{what} without double quotation marks", token)
    return token.text


def _text(reader: TokenReader, what: str) -> tuple[str, Token]:
    token = reader.take()
    if token.kind not in {"string", "word"} or not token.text:
        raise reader.error(f"'{token.text or 'nothing'}' where {what} belongs", token)
    return token.text, token


def _parse_search(reader: TokenReader) -> Node:
    field = None
    if reader.peek().kind == "word":
        token = reader.peek()
        field = reader.field()
        if reader.kind_of(field) not in {"string", "json", "label"}:
            raise reader.error(f"SEARCH in '{token.text}', which is no text", token)
        reader.expect(",")
    token = reader.peek()
    words, phrases = split_phrases(_string(reader, "the words of SEARCH"))
    if not words and not phrases:
        raise reader.error("SEARCH without a word", token)
    return Search(field, words, phrases)


def _parse_log_id(reader: TokenReader) -> Node:
    return LogId(_text(reader, "a log's name")[0])


def _parse_source(reader: TokenReader) -> Node:
    text, token = _text(reader, "a project, folder or organization")
    if not _RESOURCE.fullmatch(text):
        raise reader.error(f"source() of '{text}', which is no resource", token)
    return Source(text)


def _parse_sample(reader: TokenReader) -> Node:
    token = reader.peek()
    field = reader.field()
    if reader.kind_of(field) not in {"string", "int", "json", "label"}:
        raise reader.error(f"sample() of '{token.text}', which is no text or number", token)
    reader.expect(",")
    text, number = _text(reader, "a fraction")
    fraction = parse_float(text)
    if fraction is None or not 0.0 < fraction <= 1.0:
        raise reader.error("a fraction that is not above 0 and at most 1", number)
    return Sample(field, fraction)


def _parse_network(reader: TokenReader) -> Node:
    token = reader.peek()
    field = reader.field()
    if reader.kind_of(field) not in {"string", "json", "label"}:
        raise reader.error(f"ip_in_net() of '{token.text}', which is no text", token)
    reader.expect(",")
    subnet = reader.peek()
    text = _string(reader, "a subnet")
    try:
        return InNetwork(field, ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise reader.error(f"the subnet '{text}', which is none", subnet) from None


_PREDICATES: Final[Mapping[str, Callable[[TokenReader], Node]]] = {
    "search": _parse_search,
    "log_id": _parse_log_id,
    "source": _parse_source,
    "sample": _parse_sample,
    "ip_in_net": _parse_network,
}
