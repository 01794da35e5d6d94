"""From a filter's text to its syntax tree.

expression = term { ["AND"] term } ; term = factor { "OR" factor } ; factor = ["NOT" | "-"] simple.
So NOT binds tightest, then OR, then AND, which may be left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from staging.cloud_logging import functions
from staging.cloud_logging.errors import QueryError
from staging.cloud_logging.fields import LOG_ENTRY, FieldKind, UnknownFieldError, resolve
from staging.cloud_logging.lexer import KEYWORDS, Lexer, Token
from staging.cloud_logging.tree import (
    And,
    Anywhere,
    Compare,
    Field,
    Node,
    Not,
    Operand,
    Operator,
    Or,
    Present,
    Value,
)
from staging.cloud_logging.values import parse_float

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH: Final = 40
MAX_COMPARISONS: Final = 500


def parse(text: str) -> Node:
    """Return the syntax tree of the filter `text`; the empty filter is an empty And.

    Raises QueryError with the position and the construct that is wrong or not supported.
    """
    return Parser(text).parse()


class Parser:
    """Recursive descent over the tokens of one filter, of bounded depth and size."""

    def __init__(self, text: str) -> None:
        """Read `text` into tokens. Raises QueryError."""
        self._text = text
        self._tokens = Lexer(text).tokens()
        self._at = 0
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Node:
        """Return the tree of the whole filter. Raises QueryError."""
        if self.peek().kind == "end":
            return And(())
        node = self._expression(self._simple)
        if self.peek().kind != "end":
            raise self.error(f"an unexpected '{self.peek().text}'", self.peek())
        return node

    def error(self, what: str, token: Token) -> QueryError:
        """Return the error to raise: `what` is wrong at `token`."""
        return QueryError(what, self._text, token.offset)

    def peek(self, ahead: int = 0) -> Token:
        """Return the token `ahead` of the next one; the last one is `end`."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and pass it."""
        token = self.peek()
        self._at += 1
        return token

    def expect(self, kind: str) -> Token:
        """Pass a token of this kind. Raises QueryError when another one stands there."""
        token = self.peek()
        if token.kind != kind:
            raise self.error(f"'{token.text or 'the end'}' where '{kind}' belongs", token)
        return self.take()

    def enter(self, token: Token) -> None:
        """Count one more level of nesting. Raises QueryError beyond the limit."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} levels of brackets", token)

    def leave(self) -> None:
        """Count one level of nesting less."""
        self._depth -= 1

    def kind_of(self, field: Field) -> FieldKind:
        """Return the field's type. Raises QueryError for a field that no entry can have."""
        try:
            return resolve(field.path)
        except UnknownFieldError as error:
            raise QueryError(str(error), self._text, field.offset) from None

    def _is_keyword(self, *names: str) -> bool:
        token = self.peek()
        return token.kind == "word" and token.text in names

    def _is_separate(self) -> bool:
        token = self.peek()
        return token.spaced or token.kind == "(" or self.peek(-1).kind == ")"

    def _expression(self, simple: Callable[[], Node]) -> Node:
        nodes = [self._term(simple)]
        while True:
            if self._is_keyword("AND"):
                self.take()
            elif self.peek().kind in {"end", ")", ","} or self._is_keyword("OR"):
                break
            elif not self._is_separate():
                raise self.error(f"an unexpected '{self.peek().text}'", self.peek())
            nodes.append(self._term(simple))
        return nodes[0] if len(nodes) == 1 else And(tuple(nodes))

    def _term(self, simple: Callable[[], Node]) -> Node:
        nodes = [self._factor(simple)]
        while self._is_keyword("OR"):
            self.take()
            nodes.append(self._factor(simple))
        return nodes[0] if len(nodes) == 1 else Or(tuple(nodes))

    def _factor(self, simple: Callable[[], Node]) -> Node:
        if self._is_keyword("NOT"):
            self.take()
            return Not(simple())
        if self.peek().kind == "-":
            minus = self.take()
            if self.peek().spaced or self.peek().kind == "end":
                raise self.error("a '-' with nothing directly after it", minus)
            return Not(simple())
        return simple()

    def _group(self, simple: Callable[[], Node]) -> Node:
        opening = self.expect("(")
        self.enter(opening)
        node = self._expression(simple)
        if self.peek().kind != ")":
            raise self.error("a '(' without its ')'", opening)
        self.take()
        self.leave()
        return node

    def _count(self, token: Token) -> None:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self.error(f"more than {MAX_COMPARISONS} comparisons", token)

    def _simple(self) -> Node:
        token = self.peek()
        if token.kind == "(":
            return self._group(self._simple)
        self._count(token)
        if token.kind not in {"word", "string"}:
            raise self.error(f"'{token.text or 'the end'}' where a comparison belongs", token)
        if token.kind == "word" and token.text in KEYWORDS:
            raise self.error(f"'{token.text}' where a comparison belongs", token)
        if token.kind == "word" and self.peek(1).kind == "(":
            return self._call()
        if self.peek(1).kind == "operator":
            return self._comparison(self.field())
        return self._anywhere()

    def _call(self) -> Node:
        name, opening = self.peek(), self.peek(1)
        if not functions.is_function(name.text):
            if opening.spaced:
                return self._anywhere()
            raise self.error(f"the unknown function '{name.text}'", name)
        if opening.spaced:
            raise self.error(f"a space between '{name.text}' and its bracket", opening)
        if functions.is_operand(name.text):
            operand = functions.parse_operand(self)
            if self.peek().kind != "operator":
                raise self.error(f"'{name.text}(...)' without a comparison", name)
            return self._comparison(operand)
        return functions.parse_predicate(self)

    def _anywhere(self) -> Node:
        token = self.take()
        if token.kind == "word":
            if token.quoted or (len(token.path) > 1 and token.path[0] in LOG_ENTRY):
                raise self.error(f"the field '{token.text}' without a comparison", token)
            self._refuse_null(token)
        return Anywhere(token.text)

    def _refuse_null(self, token: Token) -> None:
        if token.kind == "word" and token.text == "NULL_VALUE":
            raise self.error("NULL_VALUE where it means nothing; it follows '=' or '!='", token)

    def field(self) -> Field:
        """Pass a field's path and return it. Raises QueryError when none stands here."""
        token = self.take()
        if token.kind != "word" or token.text in KEYWORDS:
            raise self.error(f"'{token.text or 'the end'}' where a field belongs", token)
        return Field(token.path, token.offset)

    def _comparison(self, operand: Operand) -> Node:
        if isinstance(operand, Field):
            self.kind_of(operand)
        operator = self.take()
        following = self.peek()
        if following.kind == "*":
            return self._presence(operand, operator)
        if following.kind == "(":
            return self._group(lambda: self._grouped(operand, operator))
        return self._compare(operand, operator)

    def _presence(self, operand: Operand, operator: Token) -> Node:
        star = self.take()
        if operator.text != ":" or not isinstance(operand, Field):
            raise self.error("a '*', which only stands after 'field:'", star)
        if not self.peek().spaced and self.peek().kind in {"word", "string", "*"}:
            raise self.error("a '*' inside a value; there are no wildcards", star)
        return Present(operand)

    def _grouped(self, operand: Operand, operator: Token) -> Node:
        if self.peek().kind == "(":
            return self._group(lambda: self._grouped(operand, operator))
        self._count(self.peek())
        return self._compare(operand, operator)

    def _compare(self, operand: Operand, operator: Token) -> Node:
        value = self._value(operator)
        return Compare(operand, cast("Operator", operator.text), value)

    def _value(self, operator: Token) -> Value:
        token = self.take()
        if token.kind == "string":
            return Value(token.text, token.offset)
        if token.kind != "word" or token.text in KEYWORDS:
            raise self.error(
                f"'{token.text or 'the end'}' where the value of '{operator.text}' belongs", token
            )
        if self.peek().kind == "(" and not self.peek().spaced:
            raise self.error("a function on the right of a comparison", token)
        if token.quoted:
            raise self.error("a field name on the right of a comparison", token)
        if operator.text in {"=~", "!~"}:
            raise self.error("a regular expression without double quotation marks", token)
        if token.text.startswith("-") and parse_float(token.text) is None:
            raise self.error("unquoted text that begins with '-'; put it in quotes", token)
        if token.text == "NULL_VALUE":
            if operator.text not in {"=", "!="}:
                self._refuse_null(token)
            return Value(None, token.offset)
        return Value(token.text, token.offset)
