"""Models of a world: agents that answer as a script says, at the pace of virtual time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from three_mode.agents.model import Model
from three_mode.messages import Chunk, LLMRequest, LLMResponse, chunks_of
from three_mode.messages.answers import reply_from
from three_mode.testing.script import Turn
from three_mode.testing.world.here import simulation

ModelScript = Sequence[Turn] | Callable[[LLMRequest], Turn]
"""Turns of a model, of which the last answers all further requests; or a function of the request."""


class WorldScript:
    """Script of one model. It is outside of all processes of the world, as a provider is, and outlives them."""

    def __init__(self, script: ModelScript, seconds: float) -> None:
        self._script, self.seconds = script, seconds
        self.seen: list[LLMRequest] = []
        """Requests so far, the oldest first."""

    def answer(self, request: LLMRequest) -> Turn:
        """Return the turn for a request."""
        self.seen.append(request)
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.seen), len(self._script)) - 1]


class ScriptedModel(Model):
    """Agent that answers with the turns of a script of its world."""

    def __init__(self, script: int) -> None:
        self._script = simulation().scripts[script]

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """A whole reply."""
        turn = self._script.answer(request)
        await asyncio.sleep(self._script.seconds)
        return _reply(turn)

    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        """The chunks of a reply, spread over the seconds that it takes."""
        turn = self._script.answer(request)
        chunks = list(chunks_of(_reply(turn)))
        for chunk in chunks:
            await asyncio.sleep(self._script.seconds / len(chunks))
            yield chunk


def _reply(turn: Turn) -> LLMResponse:
    """Return a turn as the reply of a model."""
    answer: dict[str, Any] = {
        "content": turn.content,
        "finish_reason": "tool_calls" if turn.tool_calls else turn.finish,
        "created_at": datetime.fromtimestamp(time.time(), UTC),
        "usage": {"prompt_tokens": turn.input_tokens, "completion_tokens": turn.output_tokens},
    }
    if turn.tool_calls:
        answer["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in turn.tool_calls
        ]
    return reply_from(answer)
