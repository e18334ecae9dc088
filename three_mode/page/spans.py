"""Spans of one request: what agents, models and providers did for it, as a tree. Pure.

A tree is a list: each span names its parent by its place in the list, which is before its own. `sums_of` says how much
time, tokens and money each took itself and with what is below it; `laid_out` where it is drawn.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

SpanKind = Literal["request", "agent", "model", "provider", "tool", "wait"]
Measure = Literal["time", "tokens", "cost"]
_NEAR = 3.0  # times as long as a request: a deadline behind that would leave no room for the request itself
MEASURES: tuple[Measure, ...] = ("time", "tokens", "cost")


class RequestSpan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that was done, or waited for, on the way of a request. Times are seconds, by one clock."""

    name: str
    kind: SpanKind
    begin: float
    end: float
    parent: int | None = None
    detail: str = ""
    """Handler; or who waited, where the name says for what: mailbox, limiter, retry, network, model queue."""
    tokens: int = 0
    cost: float = 0.0
    """US dollars."""
    good: bool = True
    open: bool = False
    """Whether it has not ended: `end` is then the last that is known of it."""
    place: int | None = None
    """Where a recording has it."""


class SpanSums(msgspec.Struct, frozen=True):
    """What a span took: itself, and with all below it."""

    time: float
    own_time: float
    tokens: int
    own_tokens: int
    cost: float
    own_cost: float


class SpanBox(msgspec.Struct, frozen=True):
    """Where a span is drawn: from 0 to 1, in a row. A width of 0 is not drawn."""

    row: int
    left: float
    width: float


class RequestTree(msgspec.Struct, frozen=True):
    """A request: its spans, their sums, and its deadline."""

    spans: list[RequestSpan]
    sums: list[SpanSums]
    begin: float
    end: float
    deadline: float | None = None
    """When it had to be answered, by the clock of the spans."""
    more: int = 0
    """Spans that are left out."""
    until: float = 0.0
    """The time that is the right edge of the drawing: the end, or the deadline where that is near."""
    waits: dict[str, float] = {}
    """What was waited for -> seconds in which something of the request waited for it."""


def tree_of(spans: Sequence[RequestSpan], deadline: float | None = None, more: int = 0) -> RequestTree:
    """Make the tree of a request's spans; the first one is its root."""
    ends = [span.end for span in spans]
    begin, end = min(span.begin for span in spans), max(ends)
    near = deadline is not None and end < deadline <= begin + _NEAR * (end - begin)
    until = deadline if near and deadline is not None else end
    return RequestTree(list(spans), sums_of(spans), begin, end, deadline, more, until, _waits_of(spans, begin, end))


def in_order(spans: Sequence[RequestSpan]) -> list[RequestSpan]:
    """Put each span right behind its parent, and those of one parent in the order in which they begin."""
    order = _depth_first(spans)
    new = {old: place for place, old in enumerate(order)}
    moved = ((spans[old], spans[old].parent) for old in order)
    return [span if up is None else msgspec.structs.replace(span, parent=new[up]) for span, up in moved]


def _waits_of(spans: Sequence[RequestSpan], begin: float, end: float) -> dict[str, float]:
    found: dict[str, list[RequestSpan]] = {}
    for span in spans:
        if span.kind == "wait":
            found.setdefault(span.name, []).append(span)
    return {name: _covered(waits, begin, end) for name, waits in found.items()}


def sums_of(spans: Sequence[RequestSpan]) -> list[SpanSums]:
    """Sum up each span with all below it. Of its own is the time in which nothing below it ran."""
    below: list[list[RequestSpan]] = [[] for _ in spans]
    tokens, cost = [span.tokens for span in spans], [span.cost for span in spans]
    for place in range(len(spans) - 1, 0, -1):
        parent = spans[place].parent
        if parent is not None:
            below[parent].append(spans[place])
            tokens[parent] += tokens[place]
            cost[parent] += cost[place]
    found = []
    for place, span in enumerate(spans):
        total = max(0.0, span.end - span.begin)
        own = total - _covered(below[place], span.begin, span.end)
        found.append(SpanSums(total, own, tokens[place], span.tokens, cost[place], span.cost))
    return found


def laid_out(tree: RequestTree, measure: Measure = "time") -> list[SpanBox]:
    """Say where each span is drawn: by time where it was, in a row of its own beside others at that time; by tokens and
    cost as wide as its share, in the order of the tree."""
    if measure == "time":
        return _by_time(tree)
    share: Callable[[SpanSums], float] = (lambda s: float(s.tokens)) if measure == "tokens" else (lambda s: s.cost)
    return _by_share(tree, [share(each) for each in tree.sums])


def _by_time(tree: RequestTree) -> list[SpanBox]:
    whole = tree.until - tree.begin or 1.0
    rows: list[list[tuple[float, float]]] = []
    boxes: list[SpanBox] = [SpanBox(0, 0.0, 0.0)] * len(tree.spans)
    for place in _depth_first(tree.spans):
        span = tree.spans[place]
        row = 0 if span.parent is None else boxes[span.parent].row + 1
        while row < len(rows) and any(begin < span.end and span.begin < end for begin, end in rows[row]):
            row += 1
        while len(rows) <= row:
            rows.append([])
        rows[row].append((span.begin, span.end))
        left = min(1.0, max(0.0, (span.begin - tree.begin) / whole))
        boxes[place] = SpanBox(row, left, max(0.0, min(1.0 - left, (span.end - span.begin) / whole)))
    return boxes


def _by_share(tree: RequestTree, shares: list[float]) -> list[SpanBox]:
    whole = shares[0] or 1.0
    boxes: list[SpanBox] = []
    taken: list[float] = []  # of each span's width, by those below it so far
    for place, span in enumerate(tree.spans):
        width = shares[place] / whole
        if span.parent is None:
            boxes.append(SpanBox(0, 0.0, width))
        else:
            above = boxes[span.parent]
            boxes.append(SpanBox(above.row + 1, above.left + taken[span.parent], width))
            taken[span.parent] += width
        taken.append(0.0)
    return boxes


def _depth_first(spans: Sequence[RequestSpan]) -> list[int]:
    below: dict[int | None, list[int]] = {}
    for place, span in enumerate(spans):
        below.setdefault(span.parent, []).append(place)
    order, coming = [], list(reversed(below.get(None, [])))
    while coming:
        place = coming.pop()
        order.append(place)
        coming += sorted(below.get(place, []), key=lambda each: -spans[each].begin)
    return order


def _covered(spans: Sequence[RequestSpan], begin: float, end: float) -> float:
    """Seconds between two times in which at least one of these ran."""
    covered, at = 0.0, begin
    for span in sorted(spans, key=lambda each: each.begin):
        start, stop = max(at, span.begin), min(end, span.end)
        if stop > start:
            covered += stop - start
            at = stop
    return covered
