"""GoogleSQL's functions, casts, arithmetic and aggregates as SQLite's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from staging.bigquery.errors import invalid_query
from staging.bigquery.typed import NAMES, NUMBERS, Typed, combine, mismatch, only, place_of, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from staging.bigquery.expressions import Compiler
    from staging.bigquery.values import Kind

_UNITS_US = {
    "MICROSECOND": 1,
    "MILLISECOND": 10**3,
    "SECOND": 10**6,
    "MINUTE": 60 * 10**6,
    "HOUR": 3600 * 10**6,
    "DAY": 86_400 * 10**6,
}
_ARITHMETIC: dict[type[Any], tuple[str, str]] = {
    exp.Add: ("+", "bq_add"),
    exp.Sub: ("-", "bq_subtract"),
    exp.Mul: ("*", "bq_multiply"),
    exp.Div: ("/", "bq_divide"),
    exp.SafeDivide: ("SAFE_DIVIDE", "bq_safe_divide"),
    exp.Mod: ("MOD", "bq_modulo"),
}
_TEXT: dict[type[Any], tuple[str, Kind]] = {
    exp.Upper: ("bq_upper", "STRING"),
    exp.Lower: ("bq_lower", "STRING"),
    exp.Length: ("bq_length", "INTEGER"),
}
_TEXT_PAIRS: dict[type[Any], tuple[str, Kind]] = {
    exp.StartsWith: ("bq_starts_with", "BOOLEAN"),
    exp.EndsWith: ("bq_ends_with", "BOOLEAN"),
    exp.DPipe: ("bq_concatenate", "STRING"),
}
_CASTS: dict[tuple[Kind | None, str], str] = {
    ("STRING", "STRING"): "{}",
    ("INTEGER", "STRING"): "CAST({} AS TEXT)",
    ("BOOLEAN", "STRING"): "bq_write_bool({})",
    ("TIMESTAMP", "STRING"): "bq_write_timestamp({})",
    ("INTEGER", "INTEGER"): "{}",
    ("BOOLEAN", "INTEGER"): "{}",
    ("STRING", "INTEGER"): "bq_read_int64({})",
    ("INTEGER", "FLOAT"): "CAST({} AS REAL)",
    ("FLOAT", "FLOAT"): "{}",
    ("TIMESTAMP", "TIMESTAMP"): "{}",
    ("STRING", "TIMESTAMP"): "bq_read_timestamp({})",
}
_TARGETS: dict[str, Kind] = {
    "TEXT": "STRING",
    "BIGINT": "INTEGER",
    "DOUBLE": "FLOAT",
    "TIMESTAMPTZ": "TIMESTAMP",
}


def _text(compiler: Compiler, node: exp.Func) -> Typed:
    function, kind = _TEXT[type(node)]
    (inner,) = compiler.demand(node, node.key.upper(), ["STRING"], node.this)
    return combine(f"{function}({inner.sql})", kind, [inner])


def _text_pair(compiler: Compiler, node: exp.Binary) -> Typed:
    function, kind = _TEXT_PAIRS[type(node)]
    parts = compiler.demand(node, node.key.upper(), ["STRING"], node.this, node.expression)
    return combine(f"{function}({parts[0].sql}, {parts[1].sql})", kind, parts)


def _concatenate(compiler: Compiler, node: exp.Concat) -> Typed:
    parts = compiler.demand(node, "CONCAT", ["STRING"], *node.expressions)
    sql = parts[0].sql
    for part in parts[1:]:
        sql = f"bq_concatenate({sql}, {part.sql})"
    return combine(sql, "STRING", parts)


def _arithmetic(compiler: Compiler, node: exp.Binary) -> Typed:
    name, function = _ARITHMETIC[type(node)]
    if isinstance(node.expression, exp.Interval):
        interval = node.expression
        sign = {"+": 1, "-": -1}.get(name, 0)
        return _shift(compiler, node, interval.this, interval.args.get("unit"), sign)
    parts = compiler.demand(node, name, NUMBERS, node.this, node.expression)
    floats = name in ("/", "SAFE_DIVIDE") or any(part.kind == "FLOAT" for part in parts)
    if name == "MOD" and floats:
        raise mismatch(node, name, parts)
    sql = f"{function}({parts[0].sql}, {parts[1].sql})"
    return combine(sql, "FLOAT" if floats else "INTEGER", parts)


def _negate(compiler: Compiler, node: exp.Neg) -> Typed:
    (inner,) = compiler.demand(node, "-", NUMBERS, node.this)
    return combine(f"bq_subtract(0, {inner.sql})", inner.kind, [inner])


def _now(compiler: Compiler, node: exp.CurrentTimestamp) -> Typed:
    only(node)
    return Typed(compiler.bind(compiler.now_us), "TIMESTAMP")


def _unit(node: exp.Expr, unit: exp.Expr | None) -> int:
    name = str(unit.this).upper() if isinstance(unit, exp.Var) else ""
    if name not in _UNITS_US:
        raise refuse(node, f"the date part {name}")
    return _UNITS_US[name]


def _shift(
    compiler: Compiler,
    node: exp.Expr,
    count: Any,  # noqa: ANN401
    unit: Any,  # noqa: ANN401
    sign: int,
) -> Typed:
    if not sign:
        raise refuse(node)
    # sqlglot keeps the number of an INTERVAL as a text.
    if isinstance(count, exp.Literal) and count.is_string:
        count = exp.Literal.number(str(count.this))
    (moment,) = compiler.demand(node, "TIMESTAMP_ADD", ["TIMESTAMP"], node.this)
    (number,) = compiler.demand(node, "INTERVAL", ["INTEGER"], count)
    sql = f"bq_shift({moment.sql}, {number.sql}, {sign * _unit(node, unit)})"
    return combine(sql, "TIMESTAMP", [moment, number])


def _add_interval(compiler: Compiler, node: exp.TimestampAdd) -> Typed:
    return _shift(compiler, node, node.expression, node.args.get("unit"), 1)


def _subtract_interval(compiler: Compiler, node: exp.TimestampSub) -> Typed:
    return _shift(compiler, node, node.expression, node.args.get("unit"), -1)


def _difference(compiler: Compiler, node: exp.TimestampDiff) -> Typed:
    name = "TIMESTAMP_DIFF"
    parts = compiler.demand(node, name, ["TIMESTAMP"], node.this, node.expression)
    unit = _unit(node, node.args.get("unit"))
    # Whole intervals: both divisions go towards zero.
    return combine(f"(({parts[0].sql} - {parts[1].sql}) / {unit})", "INTEGER", parts)


def _truncate(compiler: Compiler, node: exp.TimestampTrunc) -> Typed:
    only(node, "this", "unit")
    (inner,) = compiler.demand(node, "TIMESTAMP_TRUNC", ["TIMESTAMP"], node.this)
    unit, sql = _unit(node, node.args.get("unit")), inner.sql
    # SQLite's remainder is negative before 1970.
    return combine(f"({sql} - ({sql} % {unit} + {unit}) % {unit})", "TIMESTAMP", [inner])


def _unix_seconds(compiler: Compiler, node: exp.UnixSeconds) -> Typed:
    (inner,) = compiler.demand(node, "UNIX_SECONDS", ["TIMESTAMP"], node.this)
    sql = f"(({inner.sql} - ({inner.sql} % 1000000 + 1000000) % 1000000) / 1000000)"
    return combine(sql, "INTEGER", [inner])


def _timestamp(compiler: Compiler, node: exp.Timestamp) -> Typed:
    only(node, "this", "with_tz")
    return _convert(compiler, node, "TIMESTAMP")


def _cast(compiler: Compiler, node: exp.Cast) -> Typed:
    only(node, "this", "to")
    target = _TARGETS.get(node.to.this.name)
    if target is None:
        raise refuse(node, f"CAST to {node.to.sql('bigquery')}")
    return _convert(compiler, node, target)


def _convert(compiler: Compiler, node: exp.Expr, target: Kind) -> Typed:
    inner = compiler.compile(node.this)
    form = "NULL" if inner.kind is None else _CASTS.get((inner.kind, target))
    if form is None:
        raise refuse(node, f"CAST of {NAMES[inner.kind]} to {NAMES[target]}")
    return combine(form.format(inner.sql), target, [inner])


def _if(compiler: Compiler, node: exp.If) -> Typed:
    (condition,) = compiler.demand(node, "IF", ["BOOLEAN"], node.this)
    otherwise = node.args.get("false")
    chosen = [compiler.compile(node.args["true"])]
    chosen += [compiler.compile(otherwise)] if otherwise else [Typed("NULL", None)]
    yes, no = compiler.align(node, chosen, "IF")
    sql = f"CASE WHEN {condition.sql} THEN {yes.sql} ELSE {no.sql} END"
    return combine(sql, _common(yes, no), [condition, yes, no])


def _case(compiler: Compiler, node: exp.Case) -> Typed:
    only(node, "ifs", "default")
    conditions = [
        compiler.demand(node, "CASE", ["BOOLEAN"], one.this)[0] for one in node.args["ifs"]
    ]
    default = node.args.get("default") or exp.Null()
    chosen = [compiler.compile(one.args["true"]) for one in node.args["ifs"]]
    *values, last = compiler.align(node, [*chosen, compiler.compile(default)], "CASE")
    whens = " ".join(
        f"WHEN {condition.sql} THEN {value.sql}"
        for condition, value in zip(conditions, values, strict=True)
    )
    parts = [*conditions, *values, last]
    return combine(f"CASE {whens} ELSE {last.sql} END", _common(*values, last), parts)


def _coalesce(compiler: Compiler, node: exp.Coalesce) -> Typed:
    chosen = [compiler.compile(one) for one in (node.this, *node.expressions)]
    parts = compiler.align(node, chosen, "COALESCE")
    listed = ", ".join(part.sql for part in parts)
    # SQLite's takes two arguments or more.
    return combine(f"COALESCE({listed}, NULL)", _common(*parts), parts)


def _common(*parts: Typed) -> Kind | None:
    kinds = [part.kind for part in parts if part.kind]
    return "FLOAT" if "FLOAT" in kinds else kinds[0] if kinds else None


def _inside(compiler: Compiler, node: exp.Expr, argument: Any) -> Typed:  # noqa: ANN401
    _check_nesting(compiler, node)
    compiler.in_aggregate = True
    try:
        return compiler.compile(argument)
    finally:
        compiler.in_aggregate = False


def _check_nesting(compiler: Compiler, node: exp.Expr) -> None:
    if compiler.in_aggregate:
        message = "Aggregations of aggregations are not allowed"
        raise invalid_query(message, place_of(node))


def _count(compiler: Compiler, node: exp.Count) -> Typed:
    only(node, "this", "big_int")
    if isinstance(node.this, exp.Star):
        only(node.this)
        _check_nesting(compiler, node)
        return Typed("COUNT(*)", "INTEGER", aggregate=True)
    word, argument = "", node.this
    if isinstance(argument, exp.Distinct):
        if len(argument.expressions) != 1:
            raise refuse(node, "COUNT(DISTINCT) of several expressions")
        word, argument = "DISTINCT ", argument.expressions[0]
    inner = _inside(compiler, node, argument)
    return combine(f"COUNT({word}{inner.sql})", "INTEGER", [inner], aggregate=True)


def _count_if(compiler: Compiler, node: exp.CountIf) -> Typed:
    inner = _inside(compiler, node, node.this)
    if inner.kind not in ("BOOLEAN", None):
        raise mismatch(node, "COUNTIF", [inner])
    sql = f"COUNT(CASE WHEN {inner.sql} THEN 1 END)"
    return combine(sql, "INTEGER", [inner], aggregate=True)


def _extreme(compiler: Compiler, node: exp.Min | exp.Max) -> Typed:
    only(node, "this")
    inner = _inside(compiler, node, node.this)
    sql = f"{node.key.upper()}({inner.sql})"
    return combine(sql, inner.kind, [inner], aggregate=True)


def _total(compiler: Compiler, node: exp.Sum | exp.Avg) -> Typed:
    inner = _inside(compiler, node, node.this)
    name = node.key.upper()
    if inner.kind not in (*NUMBERS, None):
        raise mismatch(node, name, [inner])
    kind: Kind | None = "FLOAT" if isinstance(node, exp.Avg) else inner.kind
    return combine(f"{name}({inner.sql})", kind, [inner], aggregate=True)


CALLS: dict[type[Any], Callable[[Compiler, Any], Typed]] = {
    **dict.fromkeys(_TEXT, _text),
    **dict.fromkeys(_TEXT_PAIRS, _text_pair),
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    exp.Concat: _concatenate,
    exp.Neg: _negate,
    exp.CurrentTimestamp: _now,
    exp.TimestampAdd: _add_interval,
    exp.TimestampSub: _subtract_interval,
    exp.TimestampDiff: _difference,
    exp.TimestampTrunc: _truncate,
    exp.UnixSeconds: _unix_seconds,
    exp.Timestamp: _timestamp,
    exp.Cast: _cast,
    exp.If: _if,
    exp.Case: _case,
    exp.Coalesce: _coalesce,
    exp.Count: _count,
    exp.CountIf: _count_if,
    exp.Min: _extreme,
    exp.Max: _extreme,
    exp.Sum: _total,
    exp.Avg: _total,
}
