"""`WebSocketLLMManager`: an `LLMManager` that tells its events over the `/events` of a server of `three_mode.serve`."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

from three_mode.compat.coda.config import LLMConfig
from three_mode.compat.coda.manager import LLMManager
from three_mode.compat.coda.values import LLMResponse, LLMStreamChunk
from three_mode.errors import ConfigurationError, NotFound
from three_mode.messages import Embedded, EmbedRequest, LLMRequest
from three_mode.serve import App, EventHub, ModelInfo, ServeOptions, serve

PORT = 8765


class CodaWebSocketServer:
    """A WebSocket at `ws://127.0.0.1:PORT/events`, until it is stopped. `options` are those of `three-mode serve`."""

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, *, options: ServeOptions | None = None) -> None:
        self.options = options or ServeOptions(host=host, port=port)
        self.events = EventHub(self.options.event_buffer)
        self._serving: AbstractAsyncContextManager[None] | None = None

    @property
    def url(self) -> str:
        """Address of the events."""
        scheme = "wss" if self.options.tls else "ws"
        return f"{scheme}://{self.options.host}:{self.options.port}/events"

    async def start(self) -> None:
        """Listens. Starting twice does no harm."""
        if self._serving is None:
            serving = serve(App(_NoModels(), self.options, self.events))
            await serving.__aenter__()
            self._serving = serving

    async def stop(self) -> None:
        """Ends it."""
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class CodaWebSocketIntegration:
    """What ties managers to a server."""

    def __init__(self, server: CodaWebSocketServer) -> None:
        self.server = server

    def broadcast(self, kind: str, **data: Any) -> None:
        """Tells an event to every reader. A slow one loses the oldest, and is told how many."""
        self.server.events.publish(kind, **data)


class WebSocketLLMManager(LLMManager):
    """An `LLMManager` whose events are told: `response_start`, `response_chunk`, `response_complete`, `function_calls`,
    `conversation_created`, `provider_status_change`, `analytics_update`, and the others of `three_mode.events`."""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__(config)
        self._integration: CodaWebSocketIntegration | None = None

    async def set_websocket_integration(self, integration: CodaWebSocketIntegration) -> None:
        """Tells events from now on, where `config.websocket_events_enabled`; starts the server, where nobody did."""
        if self._integration is not None:
            raise ConfigurationError("this manager has a server already", hint="make another WebSocketLLMManager")
        await integration.server.start()
        self._integration = integration
        if self.config.websocket_events_enabled:
            integration.server.events.follow(self._dispatch.event_hub)

    async def _whole(
        self, prompt: str, conversation_id: str | None, provider: str | None, options: dict[str, Any]
    ) -> LLMResponse:
        if self._integration is None or not self.config.stream_responses:
            return await super()._whole(prompt, conversation_id, provider, options)
        last: LLMStreamChunk | None = None
        async for chunk in self._streamed(prompt, conversation_id, provider, options):
            last = chunk
        assert last is not None and last.response is not None  # noqa: PT018  # the last chunk has the answer
        return last.response


class _NoModels:
    """The server hands out events alone."""

    async def chat_completion(self, request: LLMRequest) -> Any:
        raise _no_models()

    def stream(self, request: LLMRequest) -> Any:
        raise _no_models()

    async def embed(self, request: EmbedRequest) -> Embedded:
        raise _no_models()

    async def available_models(self) -> Sequence[ModelInfo]:
        return ()


def _no_models() -> NotFound:
    return NotFound("this server tells events, and has no models", hint="three-mode serve hands out models")
