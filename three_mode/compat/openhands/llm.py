"""`LLM`, `AsyncLLM` and `StreamingLLM`: one model, asked without a loop, with one, or in chunks."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from three_mode import connection, sync
from three_mode.compat.missing_keys import naming_missing_keys
from three_mode.compat.openhands.config import LLMConfig
from three_mode.compat.openhands.metrics import Metrics
from three_mode.compat.openhands.replies import ChunkReader, ModelResponse, whole
from three_mode.connection import Observing
from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.events import CallRetry, LLMEvent
from three_mode.events.kinds import RETRY
from three_mode.messages import LLMRequest, LLMResponse, Message, Text
from three_mode.providers import capabilities
from three_mode.providers.emulation import calls_from_text, with_tools_in_prompt

Messages = Sequence[Message | Mapping[str, Any]]
#: Hears of each retry: the number of the attempt that failed, and the most attempts.
RetryListener = Callable[[int, int], object]


class LLM:
    """One model. `metrics` may be shared by several; `retry_listener` hears of each attempt that failed and is made
    again, in the loop of the call."""

    def __init__(
        self,
        config: LLMConfig,
        service_id: str = "default",
        metrics: Metrics | None = None,
        retry_listener: RetryListener | None = None,
    ) -> None:
        self.config, self.service_id = config, service_id
        self.metrics = metrics or Metrics(config.model)
        self.retry_listener = retry_listener
        self._sync: sync.LLMConnection | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service_id!r}: {self.config.model}>"

    def completion(self, messages: Messages, **kwargs: Any) -> ModelResponse:
        """The whole answer. Keywords are fields of `LLMRequest`, such as `tools`, `stop` and `temperature`."""
        llm = self._blocking()
        with self._counted(llm._async):
            return whole(self._read(llm.chat_completion(self._request(messages, kwargs))))

    def vision_is_active(self) -> bool:
        """Whether the model reads images, as far as the table of models knows."""
        return bool(capabilities(self.config.model).vision)

    def is_function_calling_active(self) -> bool:
        """Whether the model is given tools as such, rather than in the prompt."""
        return self.config.native_tool_calling is not False

    def get_token_count(self, messages: Messages) -> int:
        """About how many tokens messages have."""
        return self._blocking().estimate(LLMRequest(messages=messages))

    def close(self) -> None:
        """Ends what is in progress, and closes connections."""
        if self._sync is not None:
            self._sync.close()

    # Inside

    def _blocking(self) -> sync.LLMConnection:
        if self._sync is None:
            self._sync = sync.LLMConnection(**self._arguments())
            self._sync.event_hub.listen(self._retried, [RETRY])
        return self._sync

    def _arguments(self) -> dict[str, Any]:
        observe = Observing(after=self._answered, label=self.service_id)
        return self.config.connection() | {"observe": observe}

    def _request(self, messages: Messages, options: Mapping[str, Any]) -> LLMRequest:
        request = LLMRequest(messages=messages, **options)
        if self.config.caching_prompt:
            request = _marked(request)
        return request if self.is_function_calling_active() or not request.tools else with_tools_in_prompt(request)

    def _read(self, reply: LLMResponse) -> LLMResponse:
        return reply if self.is_function_calling_active() else calls_from_text(reply)

    @contextmanager
    def _counted(self, llm: connection.LLMConnection) -> Iterator[None]:
        try:
            with naming_missing_keys(llm, llm._services.provider.name):
                yield
        except ThreeModeError:
            self.metrics.add_failure()
            raise

    def _answered(self, reply: LLMResponse) -> LLMResponse:
        self.metrics.add_reply(reply)
        return reply

    def _retried(self, event: LLMEvent) -> None:
        if isinstance(event, CallRetry):
            self.metrics.add_retry()
            if self.retry_listener is not None:
                self.retry_listener(event.attempt - 1, self.config.num_retries)


class AsyncLLM(LLM):
    """The same with an event loop. Cancelling the task cancels the call at the provider."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._async: connection.LLMConnection | None = None

    async def async_completion(self, messages: Messages, **kwargs: Any) -> ModelResponse:
        """The whole answer, as `completion` gives it."""
        llm = self._connection()
        with self._counted(llm):
            return whole(self._read(await llm.chat_completion(self._request(messages, kwargs))))

    async def aclose(self) -> None:
        """Ends what is in progress, and closes connections."""
        if self._async is not None:
            await self._async.close()

    def _connection(self) -> connection.LLMConnection:
        if self._async is None:
            self._async = connection.LLMConnection(**self._arguments())
            self._async.event_hub.listen(self._retried, [RETRY])
        return self._async


class StreamingLLM(AsyncLLM):
    """The same in chunks."""

    async def async_streaming_completion(
        self, messages: Messages, **kwargs: Any
    ) -> AsyncGenerator[ModelResponse, None]:
        """The answer in chunks, each a dict with a delta. Closing the generator ends the call at the provider."""
        if kwargs.get("tools") and not self.is_function_calling_active():
            raise InvalidRequest(
                "tools in the prompt are not streamed", field="tools", hint="async_completion, or native_tool_calling"
            )
        llm, reader = self._connection(), ChunkReader(self.config.model)
        with self._counted(llm):
            async with llm.stream(self._request(messages, kwargs)) as stream:
                async for chunk in stream:
                    for made in reader.read(chunk):
                        yield made


def _marked(request: LLMRequest) -> LLMRequest:
    """The request with its system message marked as the end of a prefix that a provider may cache."""
    first = request.messages[0]
    if first.role != "system" or not isinstance(first.content, str):
        return request
    marked = Message("system", (Text(first.content, cache="5m"),))
    return replace(request, messages=(marked, *request.messages[1:]))
