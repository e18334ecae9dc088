"""What the endpoint needs of whatever answers: `LLMConnection` is one."""

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import Struct

from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse

CONVERSATION = "three_mode.conversation"
"""Field of a chat request: the conversation that it goes on in."""


class ModelInfo(Struct, frozen=True):
    """One line of `/v1/models`."""

    id: str
    owned_by: str = "three-mode"


class ChunkStream(Protocol):
    """A stream of chunks; leaving it cancels the far side at once."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


class AgentVerbs(Protocol):
    """The verbs of a bus that the endpoint hands out: `Orchestrator`, `join(...)` and an agent have them."""

    def ref(self, name: str) -> Any: ...

    def any(self, role: str) -> Any: ...

    def broadcast(self, topic: str, item: Any) -> Any: ...


class Backend(Protocol):
    """The verbs of a connection that the endpoint hands out."""

    async def chat_completion(self, request: LLMRequest) -> LLMResponse: ...

    def stream(self, request: LLMRequest) -> ChunkStream: ...

    async def embed(self, request: EmbedRequest) -> Embedded: ...

    async def available_models(self) -> Sequence[ModelInfo]: ...
