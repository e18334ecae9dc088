"""Counts of tokens for a window: an estimate with a margin, or the tokenizer of a model on this computer."""

import json
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from three_mode.channels.local.channel import LocalAnswers
from three_mode.connection import LLMConnection
from three_mode.errors import ThreeModeError
from three_mode.messages import Image, LLMRequest, Message, Text, Tool, ToolCall, ToolResult
from three_mode.observe.logs import logger

PER_LOCAL_MESSAGE = 12  # tokens of a chat template around one message, at most
SHARE_FOR_ANSWER = 4  # of a model's context, one part of so many stays free for the answer, at most
LEAST_FOR_ANSWER = 512
COUNT_WITHIN = 5.0  # seconds for the provider's count


class TokenCounter(Protocol):
    """Counts for one model."""

    async def counts(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of each message, rather too many than too few."""
        ...

    async def beside(self, tools: Sequence[Tool]) -> int:
        """The tokens of descriptions of tools, which are in a prompt beside its messages."""
        ...

    async def total(self, request: LLMRequest) -> int | None:
        """The tokens of a whole prompt, exactly; None where that is not known or not asked for."""
        ...

    async def limit(self, tokens: int, answer: int | None) -> int:
        """The most tokens of a prompt: `tokens`, or less where the model has less beside an answer."""
        ...


def room_beside_answer(tokens: int, context: int | None, answer: int | None) -> int:
    """The most tokens of a prompt that leaves room for an answer in a context."""
    if context is None:
        return tokens
    spare = min(answer or LEAST_FOR_ANSWER, context // SHARE_FOR_ANSWER)
    return max(1, min(tokens, context - spare))


class EstimatedCount:
    """Estimates by characters, for the family of the model, with a margin."""

    def __init__(self, llm: LLMConnection, model: str | None, margin: float, exact: bool = False) -> None:
        self._llm, self._model, self._factor, self._exact = llm, model, 1 + margin, exact

    async def counts(self, messages: Sequence[Message]) -> list[int]:
        return [self._count(message) for message in messages]

    async def beside(self, tools: Sequence[Tool]) -> int:
        if not tools:
            return 0
        nothing = LLMRequest(messages=(Message("user", ""),), model=self._model)
        added = self._llm.estimate(replace(nothing, tools=tuple(tools))) - self._llm.estimate(nothing)
        return int(added * self._factor) + 1

    async def total(self, request: LLMRequest) -> int | None:
        if not self._exact:
            return None
        try:
            return await self._llm.count(request, within=COUNT_WITHIN)
        except ThreeModeError as error:  # the estimate will do
            logger.warning("count_failed", extra={"event": "count_failed", "error": str(error)})
            return None

    async def limit(self, tokens: int, answer: int | None) -> int:
        context = self._llm.capabilities(self._model).context if self._model else None
        return room_beside_answer(tokens, context, answer)

    def _count(self, message: Message) -> int:
        return int(self._llm.estimate(LLMRequest(messages=(message,), model=self._model)) * self._factor) + 1


class LocalCount:
    """Counts with the tokenizer of a model on this computer."""

    def __init__(self, answers: LocalAnswers) -> None:
        self._answers = answers

    async def counts(self, messages: Sequence[Message]) -> list[int]:
        found = await self._answers.count_texts([words_of(message) for message in messages])
        return [count + PER_LOCAL_MESSAGE for count in found]

    async def beside(self, tools: Sequence[Tool]) -> int:
        """What the model's own template makes of them: it may say much about how to call a tool."""
        if not tools:
            return 0
        nothing = LLMRequest(messages=(Message("user", "x"),))
        return await self._answers.count(replace(nothing, tools=tuple(tools))) - await self._answers.count(nothing)

    async def total(self, request: LLMRequest) -> int | None:
        return await self._answers.count(request)

    async def limit(self, tokens: int, answer: int | None) -> int:
        return room_beside_answer(tokens, await self._answers.context(), answer)


def words_of(message: Message) -> str:
    """All that a template writes of a message."""
    if isinstance(message.content, str):
        return message.content
    words: list[str] = []
    for part in message.content:
        match part:
            case Text():
                words.append(part.text)
            case ToolCall():
                words += [part.id, part.name, part.raw if part.raw is not None else json.dumps(part.arguments)]
            case ToolResult():
                inner = part.content
                words += [part.call_id, inner if isinstance(inner, str) else "".join(map(_text, inner))]
            case _:
                pass
    return " ".join(words)


def _text(part: Text | Image) -> str:
    return part.text if isinstance(part, Text) else ""
