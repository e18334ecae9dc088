"""Channels: the interface that every mode implements and policies use, and the channel to remote models."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from three_mode.errors import ReplyTooLarge, ThreeModeError
from three_mode.messages import (
    Chunk,
    Embedded,
    EmbedRequest,
    LLMRequest,
    LLMResponse,
    Reranked,
    RerankRequest,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
)
from three_mode.policies import Target

REPLY_BYTES = 64 * 1024 * 1024  # most bytes of one reply, where the connection says nothing else


def too_large(provider: str, model: str | None, most: int) -> ReplyTooLarge:
    """Error for a reply with more bytes than the connection allows."""
    return ReplyTooLarge(
        f"{provider}: the reply is longer than {most} bytes",
        provider=provider,
        model=model,
        hint="give max_tokens=, or raise ConnectionOptions(reply_bytes=...)",
    )


class OpenReply(Protocol):
    """A streamed reply whose first content is here. Its reader closes it."""

    async def more(self) -> list[Chunk]:
        """The next chunks, as many as have come; [] at the end. An error is raised after the chunks before it."""
        ...

    def close(self) -> None:
        """Ends it at the far side, at once, if it has not ended. Never waits."""
        ...


class SentRequest(Protocol):
    """A request that is out, whose whole reply is wanted. Its holder awaits the reply or cancels it."""

    written: bytes
    """The reply as it came, once it is here; `read` makes another one of it."""

    @property
    def read(self) -> Callable[[bytes], LLMResponse]: ...

    async def reply(self) -> LLMResponse:
        """Wait for the whole reply. A cancelled wait leaves the request out, and another task may wait for it."""
        ...

    def cancel(self) -> None:
        """End it at the far side at once, without waiting, if it has not ended. A task that awaits its reply gets an
        error."""
        ...


class HeardRequest(Protocol):
    """A request that is out, and whose holder is called back, in the place of a task that awaits the reply."""

    def result(self) -> LLMResponse:
        """The reply, which is here, or the error in its place."""
        ...

    def cancel(self) -> None:
        """End it at the far side at once, without waiting. Nobody is called back."""
        ...


Send = Callable[[LLMRequest, str, float, float], SentRequest]
"""A request to a model, when its first content must be there, and when all of it."""
Begin = Callable[[LLMRequest, str, float, Callable[[], None]], HeardRequest]
"""A request to a model, when its whole reply must be there, and who is called once it is there or will not come."""


class Channel(Protocol):
    """`due` is when the first content must be there, `deadline` when all of it; both in the loop's time."""

    async def fetch(self, target: Target, request: LLMRequest, due: float, deadline: float) -> LLMResponse: ...
    async def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> OpenReply: ...
    async def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Embedded: ...
    async def rerank(self, target: Target, request: RerankRequest, deadline: float) -> Reranked: ...


class SendingChannel(Channel, Protocol):
    """A channel with targets that can be called in two halves."""

    def sender(self, target: Target) -> Send | None:
        """`fetch` in two halves, for that target; None where it has none, or cannot be reached."""
        ...

    def beginner(self, target: Target) -> Begin | None:
        """`fetch` without a task, for that target; None where it has none, or cannot be reached."""
        ...


def is_content(chunk: Chunk) -> bool:
    """Whether a chunk is something that the model made: a start, a count or a keep-alive is not."""
    kind = type(chunk)
    return kind is TextDelta or kind is ThinkingDelta or kind is ToolDelta


class Endpoint(Protocol):
    """One provider, reachable."""

    name: str

    async def fetch(self, request: LLMRequest, model: str, due: float, deadline: float) -> LLMResponse: ...
    async def open(self, request: LLMRequest, model: str, due: float, deadline: float) -> OpenReply: ...
    async def embed(self, request: EmbedRequest, model: str, deadline: float) -> Embedded: ...
    async def rerank(self, request: RerankRequest, model: str, deadline: float) -> Reranked: ...
    async def models(self, deadline: float) -> tuple[str, ...]: ...
    async def warm(self, within: float) -> None: ...


class RemoteChannel:
    """Sends each call to the endpoint of its target's provider. `make` gets the provider, and whether over gRPC."""

    def __init__(self, make: Callable[[str, bool], Endpoint]) -> None:
        self._make = make
        self._endpoints: dict[tuple[str, bool], Endpoint] = {}

    def endpoint(self, provider: str, grpc: bool = False) -> Endpoint:
        found = self._endpoints.get((provider, grpc))
        if found is None:
            found = self._endpoints[provider, grpc] = self._make(provider, grpc)
        return found

    async def close(self) -> None:
        """Ends programs that run for calls; connections are the pool's, which its owner closes."""
        for endpoint in self._endpoints.values():
            close = getattr(endpoint, "close", None)
            if close is not None:
                await close()

    # These only pass on: a coroutine of their own would be one more for every call and every wait in it.

    def fetch(
        self, target: Target, request: LLMRequest, due: float, deadline: float
    ) -> Coroutine[Any, Any, LLMResponse]:
        return self.endpoint(target.provider, target.grpc).fetch(request, target.model, due, deadline)

    def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> Coroutine[Any, Any, OpenReply]:
        return self.endpoint(target.provider, target.grpc).open(request, target.model, due, deadline)

    def sender(self, target: Target) -> Send | None:
        send: Send | None = self._verb(target, "send")
        return send

    def beginner(self, target: Target) -> Begin | None:
        begin: Begin | None = self._verb(target, "begin")
        return begin

    def _verb(self, target: Target, verb: str) -> Any:
        try:
            return getattr(self.endpoint(target.provider, target.grpc), verb, None)
        except ThreeModeError:  # no key, for example: the call itself will say so
            return None

    def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Coroutine[Any, Any, Embedded]:
        return self.endpoint(target.provider, target.grpc).embed(request, target.model, deadline)

    def rerank(self, target: Target, request: RerankRequest, deadline: float) -> Coroutine[Any, Any, Reranked]:
        return self.endpoint(target.provider, target.grpc).rerank(request, target.model, deadline)
