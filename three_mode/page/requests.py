"""Requests that hosts sampled, put together from the turns that each host tells. Pure.

A turn names those that wait for it, so that a tree needs no ids of its own. A request is told of once the turn that it
began with has ended: all that it waited for has ended by then.
"""

from collections.abc import Iterable

import msgspec

from three_mode.agents.wire.watching import ModelSight, TurnSight
from three_mode.page.spans import RequestSpan, RequestTree, tree_of

MOST_REQUESTS = 100  #: requests that are kept: the newest
MOST_OPEN = 2000  #: requests whose end is not known yet
MOST_TURNS = 2000  #: turns of one request


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
        while len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]
        return ended

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
    for turn in ordered:
        above = next((at[link] for link in reversed(turn.chain.split(">")) if link in at), 0 if spans else None)
        place = at[link_of(turn)] = len(spans)
        spans.append(RequestSpan(turn.agent, "agent", turn.queued, turn.end, above, turn.handler, good=not turn.error))
        if turn.queued < turn.begin:
            spans.append(RequestSpan("mailbox", "wait", turn.queued, turn.begin, place, turn.agent))
        for call in turn.models:
            spans += _model_spans(call, place, len(spans))
    return tree_of(spans, ordered[0].deadline)


def _model_spans(call: ModelSight, parent: int, place: int) -> list[RequestSpan]:
    good, begin = not call.error, max([call.begin, *(end for _, end in call.waits)])
    waits = [RequestSpan("limiter", "wait", since, until, place, call.model) for since, until in call.waits]
    if not call.provider:
        own = RequestSpan(call.model, "model", call.begin, call.end, parent, "", call.tokens, call.cost, good)
        return [own, *waits]
    return [
        RequestSpan(call.model, "model", call.begin, call.end, parent, good=good),
        *waits,
        RequestSpan(call.provider, "provider", begin, call.end, place, call.model, call.tokens, call.cost, good),
    ]


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
