"""From a syntax tree to a function that says whether an entry matches."""

from __future__ import annotations

import hashlib
import ipaddress
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

from staging.cloud_logging.errors import QueryError
from staging.cloud_logging.patterns import PatternError, compile_pattern
from staging.cloud_logging.reading import (
    PARSERS,
    Entry,
    convert,
    find_leaves,
    find_searchable,
    find_values,
    kind_of,
    make_reader,
)
from staging.cloud_logging.tokens import contains_phrase, split_words
from staging.cloud_logging.tree import (
    And,
    Anywhere,
    Cast,
    Compare,
    Extract,
    InNetwork,
    LogId,
    Node,
    Not,
    Operand,
    Or,
    Present,
    Sample,
    Search,
    Source,
)
from staging.cloud_logging.values import fold, parse_bool, parse_float

Predicate = Callable[[Entry], bool]
Test = Callable[[object], bool]

MAX_PATTERNS: Final = 50

_ORDERINGS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    ":": operator.eq,
}


class Evaluator:
    """Compiles one filter's tree. Raises QueryError where a comparison makes no sense."""

    def __init__(self, text: str) -> None:
        """Take the filter's `text`, for the positions in errors."""
        self._text = text
        self._patterns = 0

    def compile(self, node: Node) -> Predicate:
        """Return the predicate of `node`. Raises QueryError."""
        match node:
            case And(nodes) | Or(nodes):
                parts = [self.compile(part) for part in nodes]
                fold_parts = all if isinstance(node, And) else any
                return lambda entry: fold_parts(part(entry) for part in parts)
            case Not(inner):
                negated = self.compile(inner)
                return lambda entry: not negated(entry)
            case Compare():
                return self._compare(node)
            case Present(field):
                return lambda entry: _is_present(entry, field.path)
            case _:
                return _compile_function(node)

    def _error(self, what: str, offset: int) -> QueryError:
        return QueryError(what, self._text, offset)

    def _pattern(self, pattern: str, offset: int) -> Any:  # noqa: ANN401 - re2 has no types
        self._patterns += 1
        if self._patterns > MAX_PATTERNS:
            raise self._error(f"more than {MAX_PATTERNS} regular expressions", offset)
        try:
            return compile_pattern(pattern)
        except PatternError as error:
            raise self._error(f"a regular expression that RE2 refuses ({error})", offset) from None

    def _check_operand(self, operand: Operand) -> None:
        while isinstance(operand, (Cast, Extract)):
            if isinstance(operand, Extract):
                groups = self._pattern(operand.pattern, operand.offset).groups
                if groups != 1:
                    raise self._error("REGEXP_EXTRACT without exactly one group", operand.offset)
            operand = operand.operand

    def _compare(self, node: Compare) -> Predicate:
        self._check_operand(node.operand)
        test = self._test(node)
        read = make_reader(node.operand)

        def matches(entry: Entry) -> bool:
            return any(test(value) for value in read(entry))

        return matches

    def _test(self, node: Compare) -> Test:
        kind, name, value = kind_of(node.operand), node.operator, node.value
        if kind == "message":
            raise self._error("a comparison of a field that holds several", node.operand.offset)
        if value.text is None:
            if kind != "json":
                raise self._error("NULL_VALUE outside of a JSON payload", value.offset)
            return (lambda v: v is None) if name == "=" else (lambda v: v is not None)
        textual = kind in {"string", "label", "json"}
        if name in {"=~", "!~", ":"} and not textual:
            raise self._error(f"'{name}' with a field of type {kind}", value.offset)
        if name in {"=~", "!~"}:
            return self._regex_test(value.text, value.offset, negated=name == "!~")
        if kind == "json":
            return _make_has(value.text) if name == ":" else _json_test(name, value.text)
        if textual:
            return _string_test(name, value.text)
        right = PARSERS[kind](value.text)
        if right is None:
            raise self._error(f"'{value.text[:80]}', which is no {kind}", value.offset)
        return _typed_test(name, right, kind)

    def _regex_test(self, pattern: str, offset: int, *, negated: bool) -> Test:
        search = self._pattern(pattern, offset).search

        def matches(value: object) -> bool:
            return isinstance(value, str) and (search(value) is None) is negated

        return matches


def _is_present(entry: Entry, path: tuple[str, ...]) -> bool:
    parents = find_values(entry, path[:-1])
    return any(isinstance(parent, Mapping) and path[-1] in parent for parent in parents)


def _typed_test(name: str, right: object, kind: str) -> Test:
    compare = _ORDERINGS[name]

    def matches(value: object) -> bool:
        left = convert(value, kind)
        return left is not None and compare(left, right)

    return matches


def _string_test(name: str, text: str) -> Test:
    right = fold(text)
    if name == ":":
        return lambda value: isinstance(value, str) and right in fold(value)
    compare = _ORDERINGS[name]
    return lambda value: isinstance(value, str) and compare(fold(value), right)


def _json_test(name: str, text: str) -> Test:
    """Compare by the type of the value that the payload holds; other types never match."""
    on_string = _string_test(name, text)
    number, boolean = parse_float(text), parse_bool(text)
    compare = _ORDERINGS[name]

    def matches(value: object) -> bool:
        if isinstance(value, str):
            return on_string(value)
        if isinstance(value, bool):
            return boolean is not None and compare(value, boolean)
        if isinstance(value, (int, float)):
            return number is not None and compare(value, number)
        return False

    return matches


def _make_has(text: str) -> Test:
    """Return the test of ':': a part of a string, equality otherwise, any value of an object."""
    test = _json_test(":", text)

    def matches(value: object) -> bool:
        if isinstance(value, Mapping):
            return any(test(leaf) for leaf in find_leaves(value))
        return test(value)

    return matches


def _compile_function(node: Anywhere | Search | LogId | Source | Sample | InNetwork) -> Predicate:
    match node:
        case Anywhere(text):
            test = _make_has(text)
            return lambda entry: any(test(value) for value in find_searchable(entry))
        case Search():
            return _search(node)
        case LogId(name):
            wanted = fold(name)
            return lambda entry: fold(unquote(entry["logName"].partition("/logs/")[2])) == wanted
        case Source(resource):
            prefix = fold(f"{resource}/logs/")
            return lambda entry: fold(entry["logName"]).startswith(prefix)
        case Sample(field, fraction):
            read = make_reader(field)
            return lambda entry: any(_hash(value) <= fraction for value in read(entry))
        case InNetwork(field, network):
            read_address = make_reader(field)
            return lambda entry: any(_is_inside(value, network) for value in read_address(entry))


def _search(node: Search) -> Predicate:
    words = frozenset(node.words)

    def matches(entry: Entry) -> bool:
        values = find_values(entry, node.field.path) if node.field else find_searchable(entry)
        texts = [leaf for value in values for leaf in find_leaves(value) if isinstance(leaf, str)]
        if words:
            missing = set(words)
            for text in texts:
                missing.difference_update(split_words(text))
                if not missing:
                    break
            if missing:
                return False
        folded = [fold(text) for text in texts] if node.phrases else []
        return all(any(contains_phrase(t, phrase) for t in folded) for phrase in node.phrases)

    return matches


def _hash(value: object) -> float:
    """Return a share from 0 to 1 that depends on the value alone."""
    if not isinstance(value, (str, int, float)):
        return 2.0
    digest = hashlib.blake2b(str(value).encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) / (2**64 - 1)


def _is_inside(value: object, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        address = ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Network) and isinstance(network, ipaddress.IPv4Network):
        return address.subnet_of(network)
    if isinstance(address, ipaddress.IPv6Network) and isinstance(network, ipaddress.IPv6Network):
        return address.subnet_of(network)
    return False
