"""What a query costs, read from its own text: scans, rows kept in memory, columns, parsing. Pure.

The syntax tree of Microsoft's parser is followed as the service runs it. A ``let`` of a table is
run anew wherever it is named, unless it is in ``materialize``; functions are put in where they are
called. A scan is as long as the span that ``TimeGenerated`` is held to, since the service finds
data by that column alone. Nothing is run, and how many rows there are is not known: a rule's cost
is said as how often it reads the long window, and where it keeps each record of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from mailvigil.compiler.parser import SyntaxNode
from mailvigil.rules.durations import duration, is_duration

LONG = timedelta(days=3)
"""A window above this is long: those that rules judge are of one to three days."""

FOREVER = timedelta.max
"""The span of a scan that nothing limits."""

SMALL_TABLES = frozenset({"M365FeedHealth_CL", "M365CallerBaseline_CL"})
"""Tables of a few rows an hour, or of a row for each caller: all of their rows may be kept."""

ACTIONS = frozenset({"Operation", "ActionType", "OperationName"})
"""Columns that say what was done. A filter on one leaves a small part of a table of records."""

_MOST_RECORDS = frozenset({"mailitemsaccessed", "send", "create", "update", "softdelete"})
"""Operations that most records are of: a filter on one leaves many rows."""

_SUBJECTS = frozenset(
    {
        "Caller", "SessionId", "UniqueTokenId", "ClientAddress", "UserId", "Mailbox",
        "MailboxOwnerUPN", "UserPrincipalName", "ObjectId",
    }
)  # fmt: skip
"""Columns that say who or what it was about. A filter on one value leaves few rows."""

_RECORD_KEYS = frozenset({"RecordId", "OfficeId", "ReportId"})
"""Columns that have another value in each record: groups by one are as many as the records."""

_TIMES = frozenset({"TimeGenerated", "Timestamp"})
_EVENT_TIMES = _TIMES | {"EventTime", "Arrived"}
"""Columns by which a filter leaves fewer rows, though the service finds none by them."""

_PARSERS = frozenset({"parse_json", "todynamic", "parse_xml"})
_LATER = ("GreaterThanExpression", "GreaterThanOrEqualExpression")
_EQUAL = ("EqualExpression", "EqualTildeExpression", "InExpression", "InCsExpression")
_NARROWING = frozenset({"inner", "innerunique", "leftsemi"})
_ROW_BY_ROW = frozenset(
    {
        "ExtendOperator", "ProjectOperator", "ProjectAwayOperator", "ProjectRenameOperator",
        "ProjectKeepOperator", "ProjectReorderOperator", "MvExpandOperator", "ParseOperator",
        "ParseWhereOperator",
    }
)  # fmt: skip
_SMALL = frozenset({"DataTableExpression", "PrintOperator", "RangeOperator"})


class UnknownCostError(Exception):
    """The query has a construct whose cost is not known here."""


@dataclass(slots=True)
class TableScan:
    """One reading of a table.

    ``by_action``: only rows of named operations are read on. ``rare``: those are operations that
    few records are of, which the service finds by its index.
    """

    table: str
    span: timedelta
    by_action: bool = False
    rare: bool = False


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows that an operator keeps in memory.

    ``each``: one for each record of ``span``, else one for each group. ``matched``: only those
    that a filter on rare operations or a join with few rows has left.
    """

    operator: str
    span: timedelta
    columns: int
    each: bool
    matched: bool

    @property
    def is_whole_window(self) -> bool:
        """Whether these are all records of a long window."""
        return self.each and self.span > LONG and not self.matched


@dataclass(frozen=True, slots=True)
class QueryCost:
    """The cost of one query. ``parsed``: dynamic values read of rows of every operation."""

    scans: tuple[TableScan, ...]
    rows_kept: tuple[KeptRows, ...]
    parsed: int

    @property
    def window(self) -> timedelta:
        """The longest span that is scanned."""
        return max((scan.span for scan in self.scans), default=timedelta(0))

    @property
    def long_scans(self) -> int:
        """How often the long window of a table is scanned, of the table where it is most."""
        return _most([s for s in self.scans if s.span > LONG and not s.rare])

    @property
    def short_scans(self) -> int:
        """The same of windows that are not long."""
        return _most([s for s in self.scans if s.span <= LONG and not s.rare])

    @property
    def whole_windows(self) -> tuple[KeptRows, ...]:
        """Where each record of the long window is kept in memory."""
        return tuple(rows for rows in self.rows_kept if rows.is_whole_window)

    @property
    def columns(self) -> int:
        """How many columns the widest rows have that are kept one for each record."""
        return max((rows.columns for rows in self.rows_kept if rows.each), default=0)


def _most(scans: Sequence[TableScan]) -> int:
    return max(Counter(scan.table for scan in scans).values(), default=0)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What an expression gives: its open scans, and what its rows are.

    ``scans`` are those that a later filter still limits, because only row-by-row steps lie between.
    """

    scans: tuple[TableScan, ...] = ()
    span: timedelta = timedelta(0)
    columns: int = 0
    each: bool = False
    matched: bool = False

    def closed(self) -> _Rows:
        return replace(self, scans=())


@dataclass(slots=True)
class _Let:
    """A name of a query: an expression in the scope of its own, or what it gave when it was run."""

    node: SyntaxNode
    scope: _Scope
    rows: _Rows | None = None


_Scope = Mapping[str, _Let]


@dataclass(slots=True)
class _Walk:
    """Follows one query and notes what it costs."""

    tables: Mapping[str, int]
    unlimited: timedelta
    scans: list[TableScan] = field(default_factory=list)
    rows_kept: list[KeptRows] = field(default_factory=list)
    parsed: int = 0

    def block(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        """Follow statements, and return what the last one gives."""
        known = dict(scope)
        result = _Rows()
        for statement in node.children:
            if statement.kind == "LetStatement":
                name, value = statement.children
                known[_name(name)] = _Let(value, dict(known))
                if value.kind in {"ToScalarExpression", "MaterializeExpression"}:
                    known[_name(name)].rows = self._once(value, known)
            elif statement.kind == "ExpressionStatement":
                result = self.table(statement.children[0], known)
            elif statement.kind != "FunctionParameters":
                result = self.table(statement, known)
        return result

    def _once(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        rows = self.table(node.children[0], scope)
        if node.kind == "MaterializeExpression":
            self._keep("materialize", rows, rows.columns)
        return rows.closed()

    def table(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        """Follow an expression that stands for a table."""
        steps: Mapping[str, Callable[[SyntaxNode, _Scope], _Rows]] = {
            "PipeExpression": self._piped,
            "ParenthesizedExpression": self._inner,
            "NameReference": self._named,
            "FunctionCallExpression": self._called,
            "MaterializeExpression": self._once,
            "ToScalarExpression": self._once,
            "UnionOperator": self._begun_by_union,
        }
        if node.kind in _SMALL:
            return _Rows(columns=node.columns)
        if node.kind not in steps:
            raise UnknownCostError(node.kind)
        return steps[node.kind](node, scope)

    def _piped(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        source, operator = node.children
        rows = self._operator(operator, self.table(source, scope), scope)
        return replace(rows, columns=node.columns)

    def _inner(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        return self.table(node.children[0], scope)

    def _begun_by_union(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        return replace(self._union(node, None, scope), columns=node.columns)

    def _named(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        name = _name(node)
        if name in scope:
            let = scope[name]
            return let.rows if let.rows is not None else self.table(let.node, let.scope)
        if name not in self.tables:
            raise UnknownCostError(f"the name {name}")
        scan = TableScan(name, self.unlimited)
        self.scans.append(scan)
        return _Rows((scan,), scan.span, self.tables[name], each=name not in SMALL_TABLES)

    def _called(self, node: SyntaxNode, scope: _Scope) -> _Rows:
        name, arguments = _name(node.children[0]), node.children[1].children
        if name == "_GetWatchlist":
            return _Rows(columns=node.columns)
        let = scope.get(name)
        if let is None or let.node.kind != "FunctionDeclaration":
            raise UnknownCostError(f"the function {name}")
        parameters, body = let.node.children
        known = dict(let.scope)
        for number, parameter in enumerate(parameters.children):
            default = parameter.below("DefaultValueDeclaration")
            given = number < len(arguments)
            value = arguments[number] if given else default[0].children[0]
            known[_name(parameter.children[0])] = _Let(value, scope if given else {})
        return self.block(body, known)

    def _operator(self, node: SyntaxNode, rows: _Rows, scope: _Scope) -> _Rows:
        self._nested(node, scope)
        if node.kind in _ROW_BY_ROW:
            self._parse(node, rows)
            return rows
        steps: Mapping[str, Callable[[SyntaxNode, _Rows, _Scope], _Rows]] = {
            "FilterOperator": self._filter,
            "SummarizeOperator": self._summarize,
            "DistinctOperator": self._distinct,
            "JoinOperator": self._join,
            "LookupOperator": self._join,
            "UnionOperator": self._union,
            "SortOperator": self._sort,
            "TopOperator": self._few,
            "TakeOperator": self._few,
            "CountOperator": self._few,
        }
        if node.kind not in steps:
            raise UnknownCostError(node.kind)
        return steps[node.kind](node, rows, scope)

    def _nested(self, node: SyntaxNode, scope: _Scope) -> None:
        """Follow tables that a filter's condition or a column's value names."""
        if node.kind in {"JoinOperator", "LookupOperator", "UnionOperator"}:
            return
        for child in node.children:
            if child.kind == "ToScalarExpression":
                self._once(child, scope)
            elif child.kind == "PipeExpression" or (
                child.kind == "NameReference" and _is_table(_name(child), scope)
            ):
                rows = self.table(child, scope)
                self._keep("in", rows, rows.columns)
            else:
                self._nested(child, scope)

    def _parse(self, node: SyntaxNode, rows: _Rows) -> None:
        if rows.each and any(not scan.by_action for scan in rows.scans):
            self.parsed += _dynamic_values(node)

    def _filter(self, node: SyntaxNode, rows: _Rows, scope: _Scope) -> _Rows:
        self._parse(node, rows)
        for condition in _conjuncts(node.children[-1], scope):
            rows = self._limited(condition, rows, scope)
        return rows

    def _limited(self, condition: SyntaxNode, rows: _Rows, scope: _Scope) -> _Rows:
        column, span = _since(condition, scope)
        if column in _TIMES:
            for scan in rows.scans:
                scan.span = min(scan.span, span)
        if column in _EVENT_TIMES:
            return replace(rows, span=min(rows.span, span))
        named = _actions(condition, scope)
        if named is None:
            return replace(rows, matched=rows.matched or _is_about_one(condition))
        rare = bool(named) and named.isdisjoint(_MOST_RECORDS)
        for scan in rows.scans:
            scan.by_action, scan.rare = True, scan.rare or rare
        return replace(rows, matched=rows.matched or rare)

    def _summarize(self, node: SyntaxNode, rows: _Rows, _scope: _Scope) -> _Rows:
        by = {_name(n) for c in node.below("SummarizeByClause") for n in _keys(c)}
        star = any(n.kind == "StarExpression" for n in node.walk())
        each = rows.each and bool(by & _RECORD_KEYS)
        name = "summarize *" if star else "summarize"
        self._keep(name, replace(rows, each=each), node.columns)
        return replace(rows.closed(), each=each)

    def _distinct(self, node: SyntaxNode, rows: _Rows, _scope: _Scope) -> _Rows:
        by = {_name(n) for n in _keys(node)}
        each = rows.each and bool(by & _RECORD_KEYS)
        self._keep("distinct", replace(rows, each=each), len(by))
        return replace(rows.closed(), each=each)

    def _join(self, node: SyntaxNode, rows: _Rows, scope: _Scope) -> _Rows:
        lookup = node.kind == "LookupOperator"
        parameters = [p.text.replace(" ", "") for p in node.below("NamedParameter")]
        kinds = [p.removeprefix("kind=") for p in parameters if p.startswith("kind=")]
        kind = kinds[0] if kinds else "leftouter" if lookup else "innerunique"
        [right_node] = [
            c for c in node.children if c.kind not in {"NamedParameter", "JoinOnClause"}
        ]
        right = self.table(right_node, scope)
        self._keep(f"{'lookup' if lookup else 'join'} {kind}", right, right.columns)
        few = right.matched or right.span <= LONG
        matched = rows.matched or (kind in _NARROWING and few)
        # What the left side is limited to later is limited before the join: the scans stay open.
        return replace(rows, matched=matched)

    def _union(self, node: SyntaxNode, rows: _Rows | None, scope: _Scope) -> _Rows:
        legs = [self.table(n, scope) for n in node.children if n.kind != "NamedParameter"]
        legs += [rows] if rows else []
        full = [leg for leg in legs if leg.span]
        return _Rows(
            scans=tuple(scan for leg in legs for scan in leg.scans),
            span=max((leg.span for leg in full), default=timedelta(0)),
            each=any(leg.each for leg in full),
            matched=bool(full) and all(leg.matched for leg in full),
        )

    def _sort(self, _node: SyntaxNode, rows: _Rows, _scope: _Scope) -> _Rows:
        self._keep("order by", rows, rows.columns)
        return rows.closed()

    def _few(self, _node: SyntaxNode, rows: _Rows, _scope: _Scope) -> _Rows:
        return replace(rows.closed(), each=False, matched=True)

    def _keep(self, operator: str, rows: _Rows, columns: int) -> None:
        if rows.span:
            self.rows_kept.append(KeptRows(operator, rows.span, columns, rows.each, rows.matched))


def query_cost(
    query: SyntaxNode,
    functions: Sequence[SyntaxNode],
    tables: Mapping[str, Mapping[str, str]],
    unlimited: timedelta = FOREVER,
) -> QueryCost:
    """Return what *query* costs.

    Args:
        query: Its syntax tree.
        functions: Trees of the stored functions, each a statement ``let <name> = (…) {…};``.
        tables: The tables that there are, with their columns.
        unlimited: The span of a scan that the text does not limit: a rule's query period.

    Raises:
        UnknownCostError: It has a construct whose cost is not known.

    """
    walk = _Walk({name: len(columns) for name, columns in tables.items()}, unlimited)
    stored: dict[str, _Let] = {}
    for function in functions:
        for statement in function.below("LetStatement"):
            stored[_name(statement.children[0])] = _Let(statement.children[1], stored)
    walk.block(query, stored)
    return QueryCost(tuple(walk.scans), tuple(walk.rows_kept), walk.parsed)


def _name(node: SyntaxNode) -> str:
    """Return the name that a reference, a declaration or a named expression gives."""
    while node.children and not node.text:
        node = node.children[0]
    return node.text


def _keys(node: SyntaxNode) -> list[SyntaxNode]:
    return [child for child in node.children if child.kind != "NamedParameter"]


def _is_table(name: str, scope: _Scope) -> bool:
    let = scope.get(name)
    return let is not None and let.node.kind in {
        "PipeExpression", "MaterializeExpression", "UnionOperator", "DataTableExpression",
    }  # fmt: skip


def _dynamic_values(node: SyntaxNode) -> int:
    """Return how many dynamic values are parsed or read; ``a.b.c`` is one."""
    if node.kind in {"PathExpression", "ElementExpression"}:
        return 1
    below = sum(_dynamic_values(child) for child in node.children)
    parses = node.kind == "FunctionCallExpression" and _name(node.children[0]) in _PARSERS
    return below + parses


def _conjuncts(node: SyntaxNode, scope: _Scope) -> list[SyntaxNode]:
    """Return conditions that must all hold; those that a parameter's value settles are left out."""
    if node.kind == "ParenthesizedExpression":
        return _conjuncts(node.children[0], scope)
    if node.kind == "AndExpression":
        return [c for child in node.children for c in _conjuncts(child, scope)]
    if node.kind == "OrExpression":
        left, right = node.children
        settled = _settled(left, scope)
        if settled is not None:
            return [] if settled else _conjuncts(right, scope)
    return [node]


def _settled(node: SyntaxNode, scope: _Scope) -> bool | None:
    """Return whether ``isnull(p)`` or ``array_length(p) == 0`` holds, or None for anything else."""
    call = node.children[0] if node.kind == "EqualExpression" else node
    if call.kind != "FunctionCallExpression" or not call.children[1].children:
        return None
    name, given = _name(call.children[0]), call.children[1].children[0]
    value = _value(given, scope)
    if name == "isnull" and value.text == "timespan(null)":
        return True
    if name == "isnull" and _span(given, scope) is not None:
        return False
    if name == "array_length" and value.kind == "DynamicExpression":
        return not _texts(value)
    return None


def _value(node: SyntaxNode, scope: _Scope) -> SyntaxNode:
    """Return the expression that a name stands for, else the node itself."""
    while node.kind == "NameReference" and _name(node) in scope:
        let = scope[_name(node)]
        node, scope = let.node, let.scope
    return node


def _since(condition: SyntaxNode, scope: _Scope) -> tuple[str, timedelta]:
    """Return the column that is held to the time since ``ago(…)``, and the span; else ``""``."""
    if condition.kind == "BetweenExpression":
        column, start = condition.children[0], condition.children[1].children[0]
    elif condition.kind in _LATER:
        column, start = condition.children
    else:
        return "", FOREVER
    if start.kind != "FunctionCallExpression" or _name(start.children[0]) != "ago":
        return "", FOREVER
    span = _span(start.children[1].children[0], scope)
    return (_name(column), span) if span is not None else ("", FOREVER)


def _span(node: SyntaxNode, scope: _Scope) -> timedelta | None:
    """Return the value of an expression of timespans, or None."""
    if node.kind == "NameReference" and _name(node) in scope:
        let = scope[_name(node)]
        return _span(let.node, let.scope)
    if node.kind == "ParenthesizedExpression":
        return _span(node.children[0], scope)
    if node.kind in {"AddExpression", "SubtractExpression"}:
        left, right = (_span(child, scope) for child in node.children)
        if left is None or right is None:
            return None
        return left + right if node.kind == "AddExpression" else left - right
    if node.kind == "TimespanLiteralExpression" and is_duration(node.text):
        return duration(node.text)
    return None


def _actions(condition: SyntaxNode, scope: _Scope) -> frozenset[str] | None:
    """Return the operations that a filter names, in small letters; None if it is not such one."""
    if condition.kind not in _EQUAL or _name(condition.children[0]) not in ACTIONS:
        return None
    values = condition.children[1:]
    if values[0].kind == "ExpressionList":
        values = values[0].children
    return frozenset(text.lower() for v in values for text in _texts(_value(v, scope)))


def _is_about_one(condition: SyntaxNode) -> bool:
    """Return whether a condition asks for one value of a column that says who it was about."""
    if condition.kind == "ParenthesizedExpression":
        return _is_about_one(condition.children[0])
    if condition.kind == "OrExpression":
        return all(_is_about_one(child) for child in condition.children)
    if condition.kind == "AndExpression":
        return any(_is_about_one(child) for child in condition.children)
    if condition.kind not in {"EqualExpression", "EqualTildeExpression"}:
        return False
    value = condition.children[1]
    return _name(condition.children[0]) in _SUBJECTS and _name(value) not in {"''", '""'}


def _texts(node: SyntaxNode) -> list[str]:
    """Return the text literals below *node*."""
    literals = [n for n in node.walk() if n.kind == "StringLiteralExpression"]
    return [literal.text.strip("@'\"") for literal in literals]
