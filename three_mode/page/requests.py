"""Requests that hosts sampled, put together from the turns that each host tells. Pure.

A turn names those that wait for it, so that a tree needs no ids of its own. A request is told of once the turn that it
began with has ended: all that it waited for has ended by then.
"""

from collections.abc import Iterable

import msgspec

from three_mode.agents.wire.watching import AskSight, ModelSight, TurnSight
from three_mode.page.spans import RequestSpan, RequestTree, in_order, tree_of

MOST_REQUESTS = 100  #: requests that are kept: the newest
MOST_OPEN = 2000  #: requests whose end is not known yet
MOST_TURNS = 2000  #: turns of one request
MOST_OPEN_TURNS = 20_000  #: turns of all requests whose end is not known yet
MAILBOX, NETWORK = "mailbox", "network"
_AGENT = "agent"  # provider of a call that an agent answers
_VERBS = frozenset(("chat_completion", "stream_completion"))


class SampledRequest(msgspec.Struct, frozen=True):
    """A request in a list."""

    id: str
    name: str
    handler: str
    end: float
    """By the monotonic clock of the machine."""
    seconds: float
    turns: int
    tokens: int
    cost: float
    error: str


class RequestLog:
    """Requests of which turns were told."""

    def __init__(self) -> None:
        self._open: dict[str, list[TurnSight]] = {}
        self._kept: dict[str, list[TurnSight]] = {}

    def add(self, turns: Iterable[TurnSight]) -> list[str]:
        """Take in new turns; return the requests that have ended."""
        ended = []
        for turn in turns:
            first = turn.chain.partition(">")[0] or link_of(turn)
            if not turn.chain:
                self._kept.pop(first, None)  # of a host that crashed, and counts its turns anew
                self._kept[first] = [*self._open.pop(first, ()), turn]
                ended.append(first)
                continue
            own = self._kept.get(first)
            if own is None:
                own = self._open.setdefault(first, [])
            if len(own) < MOST_TURNS:
                own.append(turn)
        while len(self._kept) > MOST_REQUESTS:
            del self._kept[next(iter(self._kept))]
        while len(self._open) > MOST_OPEN or sum(map(len, self._open.values())) > MOST_OPEN_TURNS:
            del self._open[next(iter(self._open))]
        return ended

    def forget_open(self) -> None:
        """Forget the requests whose end is not known: nobody has looked on, and it may have come meanwhile."""
        self._open.clear()

    def listed(self) -> list[SampledRequest]:
        """Return the requests that have ended, the newest first."""
        return [_said(first, turns) for first, turns in reversed(self._kept.items())]

    def tree(self, first: str) -> RequestTree | None:
        """Return the tree of a request; None where it is not kept."""
        turns = self._kept.get(first)
        return None if turns is None else tree_of_turns(turns)


def link_of(turn: TurnSight) -> str:
    """Return a turn as chains name it."""
    return f"{turn.agent}:{turn.turn}"


def tree_of_turns(turns: Iterable[TurnSight]) -> RequestTree:
    """Make the tree of one request. A turn whose caller is not known is below the nearest one that is."""
    ordered = sorted(turns, key=lambda turn: (turn.chain.count(">") + bool(turn.chain), turn.begin))
    spans: list[RequestSpan] = []
    at: dict[str, int] = {}
    asks: dict[int, list[AskSight]] = {}  # place of a turn -> its messages whose turns have not been found
    calls: dict[int, list[tuple[ModelSight, int]]] = {}  # the same of its calls to agents that are models, and places
    for turn in ordered:
        above = next((at[link] for link in reversed(turn.chain.split(">")) if link in at), 0 if spans else None)
        ask = None if above is None else _taken(asks[above], turn)
        parent = above if above is None or ask is not None else _answered(calls[above], turn, above)
        place = at[link_of(turn)] = len(spans)
        spans.append(RequestSpan(turn.agent, "agent", turn.queued, turn.end, parent, turn.handler, good=not turn.error))
        asks[place], calls[place] = list(turn.asks), []
        if ask is not None:
            ways = ((ask.begin, turn.queued), (turn.end, ask.end))
            spans += (_wait(NETWORK, begin, end, above, turn.agent) for begin, end in ways if begin < end)
        if turn.queued < turn.begin:
            spans.append(_wait(MAILBOX, turn.queued, turn.begin, place, turn.agent))
        spans += (_wait(wait.what, wait.begin, min(wait.end, turn.end), place, turn.agent) for wait in turn.waits)
        for call in turn.models:
            spans += _model_spans(call, place, len(spans))
            if call.provider == _AGENT:
                calls[place].append((call, len(spans) - 1))
    for place, left in asks.items():
        for one in left:  # of another node, or of a process that did not tell its turn
            detail = f"{one.handler}, not known in detail"
            spans.append(RequestSpan(one.to, "agent", one.begin, one.end, place, detail, good=not one.error))
    return tree_of(in_order(spans), ordered[0].deadline)


def _taken(asks: list[AskSight], turn: TurnSight) -> AskSight | None:
    """Take out the message that a turn answers."""
    for number, ask in enumerate(asks):
        if (ask.to, ask.handler) == (turn.agent, turn.handler) and ask.begin <= turn.queued and turn.end <= ask.end:
            return asks.pop(number)
    return None


def _answered(calls: list[tuple[ModelSight, int]], turn: TurnSight, otherwise: int) -> int:
    """Take out the call to a model that a turn answers, and return its place."""
    for number, (call, place) in enumerate(calls):
        if turn.handler in _VERBS and call.begin <= turn.queued <= call.end:
            del calls[number]
            return place
    return otherwise


def _model_spans(call: ModelSight, parent: int, place: int) -> list[RequestSpan]:
    """A call to a model: what it waited for, and behind that what computes."""
    good, end = not call.error, call.end
    waits = [_wait(wait.what, wait.begin, min(wait.end, end), place, call.model) for wait in call.waits]
    if not call.provider:
        return [RequestSpan(call.model, "model", call.begin, end, parent, "", call.tokens, call.cost, good), *waits]
    begin = max([call.begin, *(wait.end for wait in waits)])
    does = call.model if call.provider == _AGENT else f"computes {call.model}"
    return [
        RequestSpan(call.model, "model", call.begin, end, parent, good=good),
        *waits,
        RequestSpan(call.provider, "provider", begin, end, place, does, call.tokens, call.cost, good),
    ]


def _wait(what: str, begin: float, end: float, parent: int | None, detail: str) -> RequestSpan:
    return RequestSpan(what, "wait", begin, end, parent, detail)


def _said(first: str, turns: list[TurnSight]) -> SampledRequest:
    root = next(turn for turn in turns if not turn.chain)
    calls = [call for turn in turns for call in turn.models]
    return SampledRequest(
        first,
        root.agent,
        root.handler,
        root.end,
        root.end - root.queued,
        len(turns),
        sum(call.tokens for call in calls),
        sum(call.cost for call in calls),
        root.error,
    )
