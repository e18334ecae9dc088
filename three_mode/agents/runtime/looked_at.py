"""One agent that somebody looks at: its last messages and errors, its handlers with their counts and times."""

import inspect
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.requests import Incoming
from three_mode.agents.runtime.run import Run
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.watching import AgentSight, HandlerSight, MessageSight
from three_mode.errors import ThreeModeError
from three_mode.histogram import Histogram
from transports.bus import Message

KEPT = 20  # messages and errors of an agent that are kept
_LONGEST = 400  # characters of a content
_READ_AT_MOST = 64 * 1024  # bytes of a message whose content is read


class _Kept:
    """A message that is kept, while it is not known what becomes of it."""

    __slots__ = ("began", "content", "handler", "outcome", "seconds", "sender", "size", "when")

    def __init__(self, sender: str, handler: str, size: int, content: str) -> None:
        self.sender, self.handler, self.size, self.content = sender, handler, size, content
        self.when, self.began = time.time(), time.perf_counter()
        self.outcome, self.seconds = "running", None  # type: str, float | None

    def sight(self) -> MessageSight:
        return MessageSight(self.when, self.sender, self.handler, self.size, self.outcome, self.seconds, self.content)


class _HandlerLook:
    __slots__ = ("count", "errors", "latency")

    def __init__(self) -> None:
        self.count = self.errors = 0
        self.latency = Histogram()


class AgentLook:
    """What is kept of one agent while somebody looks at it."""

    def __init__(self, actor: Actor, content: bool) -> None:
        self.incarnation, self.until = actor.agent, 0.0
        self._content, self._since = content, time.time()
        self._handlers: dict[str, _HandlerLook] = {}
        self._messages: deque[_Kept] = deque(maxlen=KEPT)
        self._errors: deque[MessageSight] = deque(maxlen=KEPT)
        self._running: dict[int, _Kept] = {}  # turn
        self._before = {fanout: fanout.delivered_to(actor) for fanout in actor.fanouts}
        self._file, self._line = place_of_class(type(actor.agent))

    def began(self, turn: int, spec: Spec, request: Incoming) -> _Kept:
        """A handler is about to begin with a message."""
        entry = _Kept(request.sender, spec.name, len(request.raw), self._read(request.raw))
        self._messages.append(entry)
        self._running[turn] = entry
        self._handler(spec).count += 1
        return entry

    def refused(self, turn: int, entry: _Kept) -> None:
        """It did not begin."""
        self._running.pop(turn, None)
        entry.outcome = "refused"

    def heard(self, spec: Spec, message: Message) -> None:
        """A handler was called with a broadcast, beside all other agents."""
        entry = _Kept(message.sender, spec.name, len(message.raw), self._read(message.raw))
        entry.outcome = "broadcast"
        self._messages.append(entry)

    def ended(self, run: Run, failure: BaseException | None) -> None:
        """A handler has ended."""
        entry = self._running.pop(run.turn, None)
        if entry is None:
            return
        entry.seconds = time.perf_counter() - entry.began
        handler = self._handler(run.spec)
        handler.latency.add(entry.seconds)
        if failure is None:
            entry.outcome = "done"
        elif run.cancelled:
            entry.outcome = "cancelled"
        else:
            handler.errors += 1
            entry.outcome = f"{type(failure).__name__}: {failure}"[:_LONGEST]

    def failed(self, error: ThreeModeError) -> None:
        """An error of the agent was counted."""
        handler = str(getattr(error, "handler", "") or "")
        self._errors.append(MessageSight(time.time(), "", handler, 0, wire_errors.text_of(error)[:_LONGEST]))

    def sight(self, actor: Actor) -> AgentSight:
        """What there is to see."""
        waiting = [
            MessageSight(0.0, request.sender, spec.name, len(request.raw), "waiting", time.perf_counter() - queued)
            for spec, request, queued in list(actor.waiting or ())[:KEPT]
        ]
        heard: dict[str, int] = {}
        for fanout in actor.fanouts:
            count = fanout.delivered_to(actor) - self._before.get(fanout, 0)
            heard[fanout.spec.name] = heard.get(fanout.spec.name, 0) + count
        return AgentSight(
            name=actor.name,
            kind=type(actor.agent).__name__,
            file=self._file,
            line=self._line,
            since=self._since,
            limit=actor.agent.mailbox,
            waiting=tuple(waiting),
            handlers=tuple(self._handler_sight(spec, heard.get(name, 0)) for name, spec in actor.specs.items()),
            messages=tuple(entry.sight() for entry in reversed(self._messages)),
            errors=tuple(reversed(self._errors)),
        )

    def _handler_sight(self, spec: Spec, heard: int) -> HandlerSight:
        look = self._handler(spec)
        file, line = place_of(spec.function)
        return HandlerSight(
            name=spec.name,
            file=file,
            line=line,
            topics=tuple(topic.pattern for topic in spec.options.topics),
            streams=spec.streams,
            count=look.count + heard,
            errors=look.errors,
            p50=look.latency.quantile(0.5),
            p99=look.latency.quantile(0.99),
        )

    def _handler(self, spec: Spec) -> _HandlerLook:
        look = self._handlers.get(spec.name)
        if look is None:
            look = self._handlers[spec.name] = _HandlerLook()
        return look

    def _read(self, raw: bytes | memoryview) -> str:
        """What a message says, as JSON that is cut short, where it may be shown."""
        if not self._content:
            return ""
        if len(raw) > _READ_AT_MOST:
            return f"{len(raw)} bytes"
        try:
            text = msgspec.json.encode(msgspec.msgpack.decode(raw)).decode()
        except Exception as error:  # noqa: BLE001  # whatever was sent
            return f"cannot be read: {error}"[:_LONGEST]
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def place_of(function: Callable[..., Any]) -> tuple[str, int]:
    """File and line of a function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return ("", 0) if code is None else (code.co_filename, code.co_firstlineno)


def place_of_class(kind: type) -> tuple[str, int]:
    """File and line of a class; no line where its source is not at hand."""
    try:
        file = inspect.getsourcefile(kind) or ""
        return file, inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        return "", 0
