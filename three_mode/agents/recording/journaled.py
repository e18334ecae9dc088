"""Journaled requests and verbs: a journal stands between an agent and the world, to record or to replay."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Self

from three_mode.agents.calling.caller import Caller, Handler, Sent, read, target
from three_mode.agents.calling.gather import Gathered
from three_mode.agents.calling.receipts import Seen
from three_mode.agents.calling.streams import Stream
from three_mode.agents.handlers.codec import decode_any, decoder_for, encode, encode_exact
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.journal import Journal
from three_mode.agents.runtime.requests import Arguments, Incoming, Parts
from three_mode.errors import ThreeModeError
from three_mode.handling import current
from three_mode.messages import (
    Chunk,
    LLMRequest,
    LLMResponse,
    decode_error,
    encode_error,
    from_msgpack,
    to_msgpack,
)

_seen = decoder_for(Seen)


class JournaledRequest:
    """Request whose outcome is journaled."""

    __slots__ = ("_agent", "_inner", "_journal", "_turn")

    def __init__(self, inner: Incoming, journal: Journal, agent: str, turn: int) -> None:
        self._inner, self._journal, self._agent, self._turn = inner, journal, agent, turn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def arguments(self, agent: str, spec: Spec) -> Arguments:
        return self._inner.arguments(agent, spec)

    def answer(self, result: Any) -> None:
        self._journal.ended(self._agent, self._turn, "result", encode(result))
        self._inner.answer(result)

    def refuse(self, error: ThreeModeError) -> None:
        self._journal.ended(self._agent, self._turn, "error", encode(f"{type(error).__name__}: {error.message}"))
        self._inner.refuse(error)

    def abandoned(self) -> None:
        self._journal.ended(self._agent, self._turn, "cancelled", b"")
        self._inner.abandoned()

    def open_parts(self) -> Parts:
        return _JournaledParts(self, self._inner.open_parts())


class _JournaledParts:
    """Outgoing parts that are journaled."""

    def __init__(self, request: JournaledRequest, inner: Parts) -> None:
        self._request, self._inner = request, inner

    async def send(self, part: Any) -> None:
        self._request._journal.ended(self._request._agent, self._request._turn, "part", encode(part))
        await self._inner.send(part)

    def at_once(self, part: Any) -> bool:
        return False  # one thread writes a journal


class JournaledCaller(Caller):
    """Verbs of an agent whose effects are journaled."""

    __slots__ = ("_inner", "_journal")

    def __init__(self, inner: Caller, journal: Journal) -> None:
        super().__init__(inner.session, inner.name, inner.actor)
        self._inner, self._journal = inner, journal

    def _turn(self) -> int:
        call = current.get()
        return call.turn if call.agent == self.name else 0

    async def ask(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Any:
        topic, payload, decode, _ = target(to, handler, args, kwargs)

        async def perform() -> bytes:
            return encode_exact(await self._inner.ask(to, handler, args, kwargs, within))

        raw = await self._journal.waited(self.name, self._turn(), "ask", _effect_key(to, topic, payload), perform)
        return read(decode, raw, to, topic)

    def tell(self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
        topic, payload, _, _ = target(to, handler, args, kwargs)
        sent: list[Sent] = []

        def perform() -> bytes:
            sent.append(self._inner.tell(to, handler, args, kwargs))
            return b""

        self._journal.at_once(self.name, self._turn(), "tell", _effect_key(to, topic, payload), perform)
        return sent[0] if sent else Sent(None)

    def broadcast(self, topic: str, item: Any) -> Any:
        receipt: list[Any] = []

        def perform() -> bytes:
            receipt.append(self._inner.broadcast(topic, item))
            return b""

        self._journal.at_once(self.name, self._turn(), "broadcast", _effect_key(topic, "", encode_exact(item)), perform)
        return _JournaledReceipt(self, topic, receipt[0] if receipt else None)

    def stream(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Stream[Any]:
        topic, payload, decode, _ = target(to, handler, args, kwargs)

        async def perform() -> AsyncGenerator[bytes, None]:
            async with self._inner.stream(to, handler, args, kwargs, within) as parts:
                async for part in parts:
                    yield encode_exact(part)

        parts = self._journal.parts(self.name, self._turn(), "stream", _effect_key(to, topic, payload), perform)
        return Stream(_Source(parts), decode, self.session, to, topic)

    async def gather(
        self,
        names: Sequence[str],
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        within: float | None,
        quorum: int | None,
    ) -> Gathered[Any]:
        whom = names[0] if names else "nobody"
        topic, payload, decode, _ = target(whom, handler, args, kwargs)

        async def perform() -> bytes:
            got = await self._inner.gather(names, handler, args, kwargs, within, quorum)
            errors = {name: encode_error(error) for name, error in got.errors.items()}
            return encode([{name: encode_exact(value) for name, value in got.values.items()}, errors, got.missing])

        what = _effect_key(" ".join(names), topic, payload)
        values, errors, missing = decode_any(
            await self._journal.waited(self.name, self._turn(), "gather", what, perform)
        )
        return Gathered(
            {name: read(decode, value, name, topic) for name, value in values.items()},
            {name: decode_error(error) for name, error in errors.items()},
            tuple(missing),
            quorum,
        )

    def group_numbers(self, group: str) -> list[int]:
        def perform() -> bytes:
            return encode(self._inner.group_numbers(group))

        numbers: list[int] = decode_any(
            self._journal.at_once(self.name, self._turn(), "group", group.encode(), perform)
        )
        return numbers

    def now(self, perform: Callable[[], float]) -> float:
        raw = self._journal.at_once(self.name, self._turn(), "now", b"", lambda: encode(perform()))
        return float(decode_any(raw))

    @property
    def roles(self) -> Any:
        bus: Any = self.session.bus  # a replay has none
        return _AnyHost(self) if bus is None else self._inner.roles

    @property
    def llm(self) -> Any:
        return _JournaledModels(self)


class _AnyHost:
    """Roles of a replay, where there are no hosts to choose from."""

    def __init__(self, caller: JournaledCaller) -> None:
        self._caller = caller

    def take(self, role: str) -> str:
        return f"any:{role}@"

    def give_back(self, address: str) -> None:
        pass


class _JournaledReceipt:
    """Receipt of a broadcast whose answers are journaled."""

    def __init__(self, caller: JournaledCaller, topic: str, receipt: Any) -> None:
        self._caller, self._topic, self._receipt = caller, topic, receipt

    def __await__(self) -> Any:
        if self._receipt is not None:
            yield from self._receipt.__await__()
        return self

    async def settled(self, within: float = 1.0) -> Seen:
        async def perform() -> bytes:
            return encode(await self._receipt.settled(within))

        caller = self._caller
        raw = await caller._journal.waited(caller.name, caller._turn(), "settled", self._topic.encode(), perform)
        seen: Seen = _seen(raw)
        return seen


class _Source:
    """Parts of a journal, with the interface of a bus's stream."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()  # type: ignore[attr-defined]

    async def __anext__(self) -> Any:
        return _Raw(await anext(self._parts))


class _Raw:
    """Encoded part, with the interface of a bus's message."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class _JournaledModels:
    """Connection to models whose answers are journaled."""

    def __init__(self, caller: JournaledCaller) -> None:
        self._caller = caller

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        async def perform() -> bytes:
            return to_msgpack(await self._caller._inner.llm.chat_completion(request))

        caller = self._caller
        raw = await caller._journal.waited(caller.name, caller._turn(), "llm", to_msgpack(request), perform)
        return from_msgpack(LLMResponse, raw)

    async def stream(self, request: LLMRequest) -> AsyncIterator[Any]:
        async def perform() -> AsyncGenerator[bytes, None]:
            async for chunk in self._caller._inner.llm.stream(request):
                yield to_msgpack(chunk)

        caller = self._caller
        parts = caller._journal.parts(caller.name, caller._turn(), "llm", to_msgpack(request), perform)
        async with aclosing(parts) as open_parts:  # type: ignore[type-var]
            async for part in open_parts:
                yield from_msgpack(Chunk, part)  # type: ignore[arg-type]


def _effect_key(to: str, topic: str, payload: bytes) -> bytes:
    """Encode what a replay expects again: agent, handler, arguments.

    The host that a role's call went to is no part of it.
    """
    if to.startswith("any:"):
        to = to.partition("@")[0]
    return encode([to, topic, payload])


class BaseJournal(Journal):
    """Base of every journal: journaled callers, requests and time."""

    def close(self) -> None: ...

    def caller(self, inner: Caller) -> Caller:
        return JournaledCaller(inner, self)

    def request(self, inner: Incoming, agent: str, turn: int, handler: str, heard: bool) -> Incoming:
        self.got(agent, turn, handler, bytes(inner.raw), heard, inner.streams, inner.sender)
        return JournaledRequest(inner, self, agent, turn)

    def now(self, caller: Caller) -> float:
        assert isinstance(caller, JournaledCaller)
        return caller.now(time.time)
