"""Who answers one turn: the connection's model, asked with what fits its window, round after round.

The tool loop asks a `TurnModel` as it would ask the connection. Each request is fitted: the messages of this turn stay,
and older ones make room. A request that is refused as too long is made tighter and asked again, once or twice, within
the same time, and never once a part of an answer has come.
"""

import asyncio
from typing import Any, Self

from msgspec.structs import replace

from three_mode.connection import LLMConnection
from three_mode.conversations.fitting import Fitting, Shown, left
from three_mode.conversations.turn_rounds import TurnRounds
from three_mode.errors import AllProvidersFailed, ContextLength, LLMError
from three_mode.messages import Chunk, LLMRequest, LLMResponse, Step

MOST_TRIES = 3  # of one request, the first included


class TurnModel:
    """The model of one turn. `request` is the first one; `rounds` keeps what a run with tools adds, None: there is
    none."""

    def __init__(
        self,
        llm: LLMConnection,
        fitting: Fitting,
        first: Shown,
        rounds: TurnRounds | None,
        steps: tuple[Step, ...],
    ) -> None:
        self.request = first.request
        self.rounds = rounds
        self._llm, self._fitting, self._first = llm, fitting, first
        self._steps = list(steps)  # for the next reply
        self._coming: TurnStream | None = None

    @property
    def partial(self) -> LLMResponse | None:
        """The part of an answer that has come of one that is not whole; None where none is coming."""
        return self._coming.response() if self._coming is not None else None

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The whole reply."""
        tries = Tries(self, await self.shown(request))
        while True:
            try:
                reply = await self._llm.chat_completion(tries.request)
                break
            except LLMError as error:
                await tries.again(error)
        return await self.finished(reply)

    def stream(self, request: LLMRequest) -> "TurnStream":
        """Chunks as they come."""
        self._coming = stream = TurnStream(self, request)
        return stream

    # For the requests of one round

    async def shown(self, request: LLMRequest) -> Shown:
        """What of a request of this turn is sent."""
        more = request.messages[len(self.request.messages) :]
        if not more:
            return self._first
        if self.rounds is not None:
            await self.rounds.went_on(more)
        shown = await self._fitting.shown(request, more)
        self._steps += self._fitting.take_steps()
        return shown

    async def tightened(self, refused: Shown, error: ContextLength) -> Shown:
        """A tighter request than the one that was refused. Raises that error where it is as tight as can be."""
        self._fitting.tighten(refused, error)
        try:
            shown = await self._fitting.again(refused.request)
        except ContextLength:
            raise error from None
        if shown.tokens >= refused.tokens:
            raise error
        said = f" of {error.tokens} tokens" if error.tokens else ""
        why = f"the model refused a prompt{said} that was counted as {refused.tokens}; now it has {shown.tokens}"
        self._steps += [Step("tightened", why=why), *self._fitting.take_steps()]
        return shown

    def complete(self, reply: LLMResponse) -> LLMResponse:
        """The reply with the steps before it."""
        return replace(reply, steps=(*self._steps, *reply.steps)) if self._steps else reply

    async def finished(self, reply: LLMResponse) -> LLMResponse:
        """The whole reply, once its calls of tools are kept."""
        reply, self._coming = self.complete(reply), None
        self._steps.clear()
        if self.rounds is not None:
            await self.rounds.called(reply)
        return reply

    def open(self, request: LLMRequest) -> Any:
        """The connection's own stream."""
        return self._llm.stream(request)

    def time_limit(self, request: LLMRequest) -> float:
        """The seconds that all tries of a request have."""
        return request.within or self._llm.default_within(request.model)


class Tries:
    """The tries of one request, all of them within the time of the first."""

    def __init__(self, model: TurnModel, first: Shown) -> None:
        self._model, self._shown, self._left = model, first, MOST_TRIES - 1
        self._first, self._began = first.request, asyncio.get_running_loop().time()

    @property
    def request(self) -> LLMRequest:
        """What to ask now."""
        return self._shown.request

    async def again(self, error: LLMError) -> None:
        """Makes the request tighter. Raises the error where another try would not help."""
        refusal = _refusal(error)
        if refusal is None or not self._left:
            raise error
        self._left -= 1
        shown = await self._model.tightened(self._shown, refusal)
        until = self._began + self._model.time_limit(self._first)
        self._shown = shown._replace(request=replace(shown.request, within=left(until)))


class TurnStream:
    """A streamed reply of a turn, as the tool loop and a talk read it."""

    def __init__(self, model: TurnModel, request: LLMRequest) -> None:
        self._model, self._request = model, request
        self._source: Any = None
        self._final: LLMResponse | None = None

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        source = await self._opened()
        try:
            chunk: Chunk = await anext(source)
        except StopAsyncIteration:
            if self._final is None:
                self._final = await self._model.finished(source.response())
            raise
        return chunk

    async def aclose(self) -> None:
        """End the call, at the model too."""
        if self._source is not None:
            await self._source.aclose()

    def response(self) -> LLMResponse:
        """The reply so far."""
        if self._final is not None:
            return self._final
        if self._source is None:
            return LLMResponse(finish_reason="cancelled")
        return self._model.complete(self._source.response())

    async def _opened(self) -> Any:
        """The connection's stream, with its first content: from then on nothing is asked again."""
        if self._source is None:
            tries = Tries(self._model, await self._model.shown(self._request))
            while True:
                source = self._model.open(tries.request)
                try:
                    await source.__aenter__()
                    break
                except LLMError as error:
                    await tries.again(error)
            self._source = source
        return self._source


def _refusal(error: LLMError) -> ContextLength | None:
    """The refusal of a prompt that is too long, of one provider or of one among several."""
    if isinstance(error, ContextLength):
        return error
    causes = error.causes if isinstance(error, AllProvidersFailed) else ()
    return next((cause for cause in causes if isinstance(cause, ContextLength)), None)
