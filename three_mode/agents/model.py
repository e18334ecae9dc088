"""Handlers that make an agent a model: their names and types, which the AI-AI mode calls.

The agent behind `Orchestrator.model` is `HostedModel` (three_mode/hosted_model.py): it has a connection, which stands
above this.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.codec import decode_any, decoder_for
from three_mode.agents.handlers.declare import handler, spec_of
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.messages.answers import reply_from

# As many calls as one model has at once; the engine, or the provider's limiter, decides which of them run.
AT_ONCE = 1024


class ModelSource(Struct, frozen=True, omit_defaults=True):
    """Where the answers come from: a model as a request would name it, and at which provider."""

    model: str
    provider: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    """The name of the environment variable that holds the key: keys themselves stay off the bus."""
    options: str = ""
    """Policies and loading, as `three_mode.host_connection` writes them; empty: those of the host."""


class Model(Agent):
    """An abstract model on the bus; a subclass answers all four. An agent of any class is a model too if it has the
    handler `chat_completion` or `stream_completion`, gives embeddings with `embed`, and reranks with `rerank`. Such an
    agent may return text, an `LLMResponse` or a dict (see three_mode/messages/answers.py), and yield texts or chunks.
    """

    mailbox = 16 * AT_ONCE

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """A whole reply."""
        raise NotImplementedError

    @handler(concurrent=AT_ONCE)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk] | Chunk | str]:
        """The chunks of a reply, those that came together in one list; or its text, piece by piece."""
        nothing: tuple[list[Chunk], ...] = ()
        for batch in nothing:  # which makes it an async generator
            yield batch
        raise NotImplementedError

    @handler(concurrent=AT_ONCE)
    async def embed(self, request: EmbedRequest) -> Embedded:
        """A vector for each text."""
        raise NotImplementedError

    @handler(concurrent=AT_ONCE)
    async def rerank(self, request: RerankRequest) -> Reranked:
        """The documents in order."""
        raise NotImplementedError

    async def connection_figures(self) -> Any:
        """The figures of the connection behind the model, where it has one."""
        return None


_FIELDS = frozenset(LLMResponse.__struct_fields__)
_decode_reply = decoder_for(LLMResponse)


def read_reply(raw: bytes | memoryview) -> LLMResponse:
    """The answer of an agent, whatever its class returns. What is no answer is a ValueError."""
    try:
        reply: LLMResponse = _decode_reply(raw)
    except msgspec.ValidationError:
        return reply_from(decode_any(raw))
    return reply if reply.parts else _without_parts(reply, decode_any(raw))


def _without_parts(reply: LLMResponse, value: dict[str, Any]) -> LLMResponse:
    """An empty reply, or a dict of other fields, which looks like one."""
    return reply if "created_at" in value and _FIELDS.issuperset(value) else reply_from(value)


spec_of(Model.chat_completion).schema.result = read_reply
