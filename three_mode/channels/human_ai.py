"""The human-AI mode: remote models, over pooled HTTP/2 or the `claude` command. Endpoints are made when first called."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from three_mode.channels.channel import OpenReply, Send
from three_mode.errors import ThreeModeError
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse
from three_mode.policies import Target


class Endpoint(Protocol):
    """One provider, reachable."""

    name: str

    async def fetch(self, request: LLMRequest, model: str, due: float, deadline: float) -> LLMResponse: ...
    async def open(self, request: LLMRequest, model: str, due: float, deadline: float) -> OpenReply: ...
    async def embed(self, request: EmbedRequest, model: str, deadline: float) -> Embedded: ...
    async def models(self, deadline: float) -> tuple[str, ...]: ...
    async def warm(self, within: float) -> None: ...


class HumanAI:
    """Sends each call to the endpoint of its target's provider."""

    def __init__(self, make: Callable[[str], Endpoint]) -> None:
        self._make = make
        self._endpoints: dict[str, Endpoint] = {}

    def endpoint(self, provider: str) -> Endpoint:
        found = self._endpoints.get(provider)
        if found is None:
            found = self._endpoints[provider] = self._make(provider)
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
        return self.endpoint(target.provider).fetch(request, target.model, due, deadline)

    def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> Coroutine[Any, Any, OpenReply]:
        return self.endpoint(target.provider).open(request, target.model, due, deadline)

    def sender(self, target: Target) -> Send | None:
        try:
            return getattr(self.endpoint(target.provider), "send", None)
        except ThreeModeError:  # no key, for example: the call itself will say so
            return None

    def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Coroutine[Any, Any, Embedded]:
        return self.endpoint(target.provider).embed(request, target.model, deadline)
