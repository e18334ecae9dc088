"""The AI-AI mode: a request to an agent on the bus, which is a model like any other.

`agent:brain` is any agent of the role `brain`, `agent:scout/7` that one. An agent is a model if it has a handler
`chat_completion(request: LLMRequest)`, which returns text, an `LLMResponse` or a dict, or `stream_completion`, which
yields texts or chunks. One with a handler `embed(request: EmbedRequest) -> Embedded` embeds, and one with a handler
`rerank(request: RerankRequest) -> Reranked` reranks.
"""

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import msgspec

from three_mode.agents.calling.caller import Caller, Streaming
from three_mode.agents.calling.refs import AgentRef, RoleRef
from three_mode.agents.calling.session import Session
from three_mode.agents.calling.streams import Stream
from three_mode.agents.model import Model
from three_mode.channels.channel import REPLY_BYTES, OpenReply
from three_mode.channels.replies import BatchReply, ReadyReply, folded, open_batches
from three_mode.errors import BadReply, NoSuchAgent
from three_mode.messages import (
    Chunk,
    Embedded,
    EmbedRequest,
    Finish,
    LLMRequest,
    LLMResponse,
    Reranked,
    RerankRequest,
    chunks_of,
)
from three_mode.messages.answers import chunks_from
from three_mode.messages.reranking import best_first
from three_mode.policies import Target
from transports.bus import Bus

# What an agent that lacks a handler is not, and what makes it so.
_LACKING = {
    "chat_completion": (
        "is no model",
        "@handler async def chat_completion(self, request: LLMRequest) -> LLMResponse, or -> str",
    ),
    "embed": (
        "gives no embeddings",
        "@handler async def embed(self, request: EmbedRequest) -> Embedded, both of three_mode.messages",
    ),
    "rerank": (
        "reranks no documents",
        "@handler async def rerank(self, request: RerankRequest) -> Reranked, both of three_mode.messages",
    ),
}


class AgentReply(BatchReply):
    """A reply that an agent streams: lists of chunks, chunks, or texts. One that ends without `Finish` is whole."""

    _last: Chunk | None = None

    async def _next(self) -> list[Chunk]:
        if self._ended:
            return []
        async for part in self._batches:
            batch = part if type(part) is list else chunks_from(part)
            if batch:
                self._last = batch[-1]
                return self._counted(batch)
        self._ended = True
        return [] if type(self._last) is Finish else [Finish()]


class AgentChannel:
    """Speaks on a bus that somebody else joined and leaves."""

    def __init__(self, bus: Bus, reply_bytes: int = REPLY_BYTES) -> None:
        self._bus, self._reply_bytes = bus, reply_bytes
        self._caller: Caller | None = None

    @property
    def bus_name(self) -> str:
        """Name of the bus."""
        return self._bus.name

    @cached_property
    def _streaming(self) -> Streaming:
        return Streaming(Model.stream_completion, self.caller)

    def _address(self, name: str) -> str:
        """The address of an agent, or of the least busy agent of a role. A stream does not count as work."""
        if "/" in name:
            return name
        roles = self.caller.roles
        address = roles.take(name)
        roles.give_back(address)
        return address

    async def fetch(self, target: Target, request: LLMRequest, due: float, deadline: float) -> LLMResponse:
        ref, within = self._ref(target.model), _within(deadline)
        asked = request.addressed(None, within)
        try:
            reply: LLMResponse = await ref.ask(Model.chat_completion, asked, within=within)
        except NoSuchAgent:
            if not self._is_there(target.model):
                raise self.explained(target.model) from None
        else:
            return reply
        # It is there and answers nothing whole: its stream is an answer, if it streams.
        try:
            stream = self.begin(target.model, request, _within(deadline))
            return await folded(await self.opened(stream, target.model, None))
        except NoSuchAgent:
            raise self.explained(target.model) from None

    def begin(self, name: str, request: LLMRequest, within: float) -> Stream[Any]:
        """Sends the request now, and gives what `opened` waits for."""
        return self._streaming.begin(self._address(name), (request.addressed(None, within),), within)

    async def opened(self, stream: Stream[Any], name: str, due: float | None) -> OpenReply:
        leaving: list[asyncio.Task[None]] = []

        def leave() -> None:
            leaving.append(asyncio.ensure_future(stream.aclose()))

        return await open_batches(stream, leave, due, f"agent:{name}", self._reply_bytes, AgentReply)

    async def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> OpenReply:
        try:
            stream = self.begin(target.model, request, _within(deadline))
            # The bus keeps the deadline of the whole call; only an earlier one needs a watch of ours.
            return await self.opened(stream, target.model, due if due < deadline else None)
        except NoSuchAgent:
            if not self._is_there(target.model):
                raise self.explained(target.model) from None
        # It is there and does not stream: its whole answer is a stream of one piece.
        return ReadyReply(chunks_of(await self.fetch(target, request, due, deadline)))

    async def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Embedded:
        ref, within = self._ref(target.model), _within(deadline)
        asked = msgspec.structs.replace(request, model=None, within=within)
        try:
            embedded: Embedded = await ref.ask(Model.embed, asked, within=within)
        except NoSuchAgent:
            raise self.explained(target.model, Model.embed) from None
        if len(embedded.vectors) != len(request.inputs):
            raise BadReply(
                f"agent:{target.model} gave {len(embedded.vectors)} vectors for {len(request.inputs)} texts",
                provider="agent",
                model=target.model,
                hint="its handler `embed` gives one for each of `request.inputs`",
                retryable=False,
            )
        return embedded

    async def rerank(self, target: Target, request: RerankRequest, deadline: float) -> Reranked:
        ref, within = self._ref(target.model), _within(deadline)
        asked = msgspec.structs.replace(request, model=None, within=within)
        try:
            reranked: Reranked = await ref.ask(Model.rerank, asked, within=within)
        except NoSuchAgent:
            raise self.explained(target.model, Model.rerank) from None
        try:
            return msgspec.structs.replace(reranked, results=best_first(reranked.results, request))
        except ValueError as error:
            raise BadReply(
                f"agent:{target.model} did not rank the documents: {error}",
                provider="agent",
                model=target.model,
                hint="its handler `rerank` gives a `Ranked` for each of `request.documents`",
                retryable=False,
            ) from None

    async def close(self) -> None:
        if self._caller is not None:
            self._caller.session.close()

    def _is_there(self, name: str) -> bool:
        if "/" in name:
            return self._bus.locate(name) is not None
        return any(known.startswith(f"any:{name}@") for known in self._bus.names())

    def explained(self, name: str, verb: Callable[..., Any] = Model.chat_completion) -> NoSuchAgent:
        if self._is_there(name):
            said, hint = _LACKING[verb.__name__]
            return NoSuchAgent(f"the agent {name!r} {said}: it has no handler {verb.__name__}", agent=name, hint=hint)
        return NoSuchAgent(
            f"no agent {name!r} is on the bus",
            agent=name,
            hint=f"orc.model(..., name={name!r}) puts a model there; `three-mode agents` lists who is",
        )

    def _ref(self, name: str) -> AgentRef:
        caller = self.caller
        return AgentRef(name, caller) if "/" in name else RoleRef(name, caller)

    @property
    def caller(self) -> Caller:
        if self._caller is None:
            self._caller = Caller(Session(self._bus), "")
        return self._caller


def _within(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())
