"""Requests of a recording as trees: whose message led to which.

A recording has no ids of calls. A message belongs to the turn of its sender that recorded a call with the same address
and arguments; where none did, because it never came to an end, to the one turn that the sender was at.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from three_mode.agents.recording.events import Did, Ended, Event, Got, Made
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.shown import effect_address
from three_mode.page.spans import RequestSpan, RequestTree, tree_of

MOST_RECORDS = 20_000  #: records behind the begin of a request that are looked at
MOST_SPANS = 2000  #: spans of a request that are shown
_AROUND = 2000  # records before and behind a message in which its sender's turn and call are looked for
_MOST_TURNS = 64  # turns of a sender that are looked at: the last ones


class _UsageSaid(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    cost: str | float | None = None


class _ReplySaid(msgspec.Struct, frozen=True):
    """What is shown of an answer of a model, or of the part of one that has its usage."""

    model: str = ""
    provider: str = ""
    latency: float = 0.0
    usage: _UsageSaid = _UsageSaid()


class _Asked(msgspec.Struct, frozen=True):
    model: str | None = None


_reply = msgspec.msgpack.Decoder(_ReplySaid, strict=False).decode
_asked = msgspec.msgpack.Decoder(_Asked).decode


class _Work:
    """A turn, as far as it is seen."""

    def __init__(self, place: int, got: Got) -> None:
        self.place, self.got = place, got
        self.did: list[Did] = []
        self.ended: Ended | None = None
        self.calls: Counter[tuple[str, str, bytes]] = Counter()
        self.last = got.when

    def add(self, event: Did | Ended) -> None:
        """Take in what the agent did in this turn."""
        if self.ended is not None:
            return
        self.last = event.when
        if isinstance(event, Ended):
            self.ended = event if event.outcome not in ("part", "cancel") else None
            return
        self.did.append(event)
        address = effect_address(event)
        if address is not None and event.kind not in ("part", "end"):
            self.calls[address] += 1

    def may_have_sent(self, got: Got) -> int:
        """How many calls of this turn may have been this message."""
        if got.heard:
            return sum(count for call, count in self.calls.items() if not call[1] and call[2] == got.call)
        group = got.agent.partition("/")[0]
        return sum(
            count
            for (to, handler, arguments), count in self.calls.items()
            if handler == got.handler
            and arguments == got.call
            and (got.agent in to.split(" ") or to.startswith("any:") or to == group)
        )


def request_at(index: RecordingIndex, place: int) -> RequestTree:
    """Return the tree of the request that a record belongs to: from the message that nobody in the recording sent."""
    begin = index.begin_of(place)
    if begin is None:
        raise ValueError("what an agent does while it is made belongs to no request")
    for _ in range(100):  # a recording may be of any make
        above = caller_of(index, begin)
        if above is None:
            break
        begin = above
    return tree_from(index.events(begin, begin + MOST_RECORDS))


def caller_of(index: RecordingIndex, place: int) -> int | None:
    """Return where the turn began that sent a message; None where its sender is not in the recording."""
    got = index.event(place)
    if not isinstance(got, Got) or index.previous(got.sender, place) is None:
        return None
    found = _Works(index.events(place - _AROUND, place + _AROUND)).sender_of(place, got)
    return None if found is None else found.place


def tree_from(records: Iterable[tuple[int, Event | str]]) -> RequestTree:
    """Make the tree of the request whose message is the first of these records."""
    works = _Works(records)
    spans: list[RequestSpan] = []
    at: dict[int, int] = {}  # places of spans, by the places of their messages
    more = 0
    for work in works.all:
        above = works.sender_of(work.place, work.got) if at else None
        if at and (above is None or above.place not in at):
            continue
        if len(spans) >= MOST_SPANS:
            more += 1
            continue
        at[work.place] = len(spans)
        spans += _spans_of(work, None if above is None else at[above.place], len(spans))
    return tree_of(spans, more=more)


class _Works:
    """Turns of some records, in their order."""

    def __init__(self, records: Iterable[tuple[int, Event | str]]) -> None:
        self.all: list[_Work] = []
        self._of_agents: dict[str, list[_Work]] = {}
        self._used: Counter[tuple[int, str, str, bytes]] = Counter()
        turns: dict[tuple[str, int], _Work] = {}
        for place, event in records:
            if isinstance(event, str | Made):
                continue
            if isinstance(event, Got):
                work = turns[event.agent, event.turn] = _Work(place, event)
                self.all.append(work)
                self._of_agents.setdefault(event.agent, []).append(work)
            elif (known := turns.get((event.agent, event.turn))) is not None:
                known.add(event)

    def sender_of(self, place: int, got: Got) -> _Work | None:
        """Return the turn that sent a message. Of several calls alike, each is found once."""
        own = [work for work in self._of_agents.get(got.sender, ()) if work.place < place][-_MOST_TURNS:]
        for work in own:
            key = work.place, got.agent, got.handler, got.call
            if work.may_have_sent(got) > self._used[key]:
                self._used[key] += 1
                return work
        busy = [work for work in own if work.ended is None or work.ended.when >= got.when]
        return busy[0] if len(busy) == 1 else None


def _spans_of(work: _Work, parent: int | None, place: int) -> list[RequestSpan]:
    """Return the span of a turn, and those of its calls to models below it."""
    got, ended = work.got, work.ended
    good = ended is None or ended.outcome in ("result", "part")
    own = RequestSpan(
        got.agent, "agent", got.when, work.last, parent, got.handler, good=good, open=ended is None, place=work.place
    )
    return [own, *_model_spans(work, place)]


def _model_spans(work: _Work, parent: int) -> list[RequestSpan]:
    spans: list[RequestSpan] = []
    open_streams: dict[bytes, tuple[float, _ReplySaid]] = {}
    before = work.got.when
    for did in work.did:
        if did.kind == "llm" and did.result:
            reply = _read_reply(did.result) if did.good else _ReplySaid()
            begin = max(before, did.when - reply.latency) if reply.latency else before
            spans += _model_span(did, begin, did.when, reply, parent, parent + 1 + len(spans))
        elif did.kind == "llm" and did.good:
            open_streams[did.what] = did.when, _ReplySaid()
        elif did.what in open_streams:
            begin, reply = open_streams[did.what]
            if did.kind == "part" and did.good:
                said = _read_reply(did.result)
                open_streams[did.what] = begin, said if said.usage != _UsageSaid() else reply
            else:
                del open_streams[did.what]
                spans += _model_span(did, begin, did.when, reply, parent, parent + 1 + len(spans))
        before = did.when
    return spans


def _model_span(did: Did, begin: float, end: float, reply: _ReplySaid, parent: int, place: int) -> list[RequestSpan]:
    """Return the span of a call to a model, and of the provider that answered, where that is recorded."""
    try:
        model = reply.model or _asked(did.what).model or "model"
    except msgspec.MsgspecError:
        model = reply.model or "model"
    tokens = reply.usage.input_tokens + reply.usage.output_tokens
    cost = float(reply.usage.cost or 0.0)
    if not reply.provider:
        return [RequestSpan(model, "model", begin, end, parent, tokens=tokens, cost=cost, good=did.good)]
    return [
        RequestSpan(model, "model", begin, end, parent, good=did.good),
        RequestSpan(reply.provider, "provider", begin, end, place, model, tokens, cost, did.good),
    ]


def _read_reply(data: bytes) -> _ReplySaid:
    try:
        return _reply(data)
    except (msgspec.MsgspecError, ValueError):
        return _ReplySaid()
