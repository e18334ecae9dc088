"""What the endpoint needs of whatever answers: `LLMConnection` is one."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from msgspec import Struct

from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.serve.model_rule import ModelRule

CONVERSATION = "three_mode.conversation"
"""Field of a chat request: the conversation that it goes on in."""


class ModelInfo(Struct, frozen=True):
    """One line of `/v1/models`."""

    id: str
    owned_by: str = "three-mode"


class TokenCount(Struct, frozen=True):
    """Tokens of a request: counted, or about as many."""

    tokens: int
    exact: bool = True


@runtime_checkable
class CountingBackend(Protocol):
    """A backend that says how many tokens a request has, before it is answered."""

    async def count(self, request: LLMRequest) -> TokenCount: ...


@runtime_checkable
class RerankingBackend(Protocol):
    """A backend that orders documents."""

    async def rerank(self, request: RerankRequest) -> Reranked: ...


class ChunkStream(Protocol):
    """A stream of chunks; leaving it cancels the far side at once."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


@runtime_checkable
class BatchingStream(ChunkStream, Protocol):
    """A stream that gives what has come at once: [] at its end."""

    async def batch(self) -> Sequence[Chunk]: ...


class AgentVerbs(Protocol):
    """The verbs of a bus that the endpoint hands out: `Orchestrator`, `join(...)` and an agent have them."""

    def ref(self, name: str) -> Any: ...

    def any(self, role: str) -> Any: ...

    def broadcast(self, topic: str, item: Any) -> Any: ...


class ChatBackend(Protocol):
    """The chat verbs of a backend."""

    async def chat_completion(self, request: LLMRequest) -> LLMResponse: ...

    def stream(self, request: LLMRequest) -> ChunkStream: ...


class BegunCall(Protocol):
    """A call that was begun without a task."""

    def cancel(self) -> None: ...


Begun = Callable[
    [LLMRequest, Callable[[LLMResponse | Callable[[], Coroutine[Any, Any, LLMResponse]]], None]], BegunCall | None
]


@runtime_checkable
class BeginningBackend(Protocol):
    """A backend that asks without a task, where it can: see `LLMConnection.begin_completion`."""

    @property
    def begin_completion(self) -> Begun: ...


class Backend(ChatBackend, Protocol):
    """The verbs of a connection that the endpoint hands out."""

    async def embed(self, request: EmbedRequest) -> Embedded: ...

    async def available_models(self) -> Sequence[ModelInfo]: ...


@runtime_checkable
class RuledBackend(Backend, Protocol):
    """A backend that opens what clients name. It keeps to the rule of the endpoint itself, for all its verbs; of any
    other backend the endpoint checks the names before it asks."""

    def ruled(self, rule: ModelRule) -> Backend: ...
