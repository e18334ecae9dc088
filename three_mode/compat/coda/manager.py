"""`LLMManager`: the entry of Coda's document. It puts together conversations, tools, memory and personality."""

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, overload

from three_mode import messages
from three_mode.compat.coda.base_provider import ConfiguredProvider
from three_mode.compat.coda.config import LLMConfig, LLMProvider
from three_mode.compat.coda.conversations import ConversationManager
from three_mode.compat.coda.dispatch import Dispatch, Provider
from three_mode.compat.coda.memory import MemoryManager
from three_mode.compat.coda.personality import PersonalityManager
from three_mode.compat.coda.tools import ToolManager
from three_mode.compat.coda.values import LLMResponse, LLMStreamChunk
from three_mode.conversations import Talk
from three_mode.events import EventReader


class LLMManager:
    """Conversations with the models of several providers.

    A subclass may change each answer in `_process_response`; `_providers` takes providers of the program's own.
    """

    def __init__(self, config: LLMConfig) -> None:
        self.config = config
        self._providers: dict[str, Provider] = {
            name: ConfiguredProvider(each) for name, each in config.providers.items()
        }
        self._dispatch = Dispatch(self._providers)
        self._dispatch.default = config.default_provider
        self.conversation_manager = ConversationManager(
            config.conversation, path=config.conversations_path, dispatch=self._dispatch
        )
        self.tool_manager: ToolManager | None = None
        self.memory_manager: MemoryManager | None = None
        self.personality_manager: PersonalityManager | None = None

    # Answers

    @overload
    def generate_response(
        self,
        prompt: str,
        conversation_id: str | None = None,
        provider: str | None = None,
        stream: Literal[False] = False,
        **options: Any,
    ) -> Coroutine[Any, Any, LLMResponse]: ...
    @overload
    def generate_response(
        self,
        prompt: str,
        conversation_id: str | None = None,
        provider: str | None = None,
        *,
        stream: Literal[True],
        **options: Any,
    ) -> AsyncIterator[LLMStreamChunk]: ...
    def generate_response(
        self,
        prompt: str,
        conversation_id: str | None = None,
        provider: str | None = None,
        stream: bool = False,
        **options: Any,
    ) -> Coroutine[Any, Any, LLMResponse] | AsyncIterator[LLMStreamChunk]:
        """The answer in a conversation, a new one where none is named; with `stream=True` its chunks.

        More options are fields of `LLMRequest`, such as `temperature`, and `within`, the deadline in seconds.
        """
        asked = (prompt, conversation_id, provider, options)
        return self._streamed(*asked) if stream else self._whole(*asked)

    @overload
    def continue_conversation(
        self, conversation_id: str, prompt: str, provider: str | None = None, stream: Literal[False] = False, **o: Any
    ) -> Coroutine[Any, Any, LLMResponse]: ...
    @overload
    def continue_conversation(
        self, conversation_id: str, prompt: str, provider: str | None = None, *, stream: Literal[True], **o: Any
    ) -> AsyncIterator[LLMStreamChunk]: ...
    def continue_conversation(
        self,
        conversation_id: str,
        prompt: str,
        provider: str | None = None,
        stream: bool = False,
        **options: Any,
    ) -> Coroutine[Any, Any, LLMResponse] | AsyncIterator[LLMStreamChunk]:
        """The next answer in a conversation."""
        asked = (prompt, conversation_id, provider, options)
        return self._streamed(*asked) if stream else self._whole(*asked)

    async def _process_response(self, response: LLMResponse) -> LLMResponse:
        """Changes each whole answer; of a streamed one the chunks are out by then."""
        return response

    # What it is made of

    async def set_tool_manager(self, tool_manager: ToolManager | None) -> None:
        """Gives the model tools, where `config.function_calling.enabled`."""
        self.tool_manager = tool_manager

    async def set_memory_manager(self, memory_manager: MemoryManager | None) -> None:
        """Tells each turn what is near to it from earlier conversations."""
        self.memory_manager = memory_manager

    async def set_personality_manager(self, personality_manager: PersonalityManager | None) -> None:
        """Tells the model who it is to be."""
        self.personality_manager = personality_manager

    # What is known

    async def list_providers(self) -> list[str]:
        """The names of the providers."""
        return list(self._providers)

    async def get_provider_status(self, provider: str) -> dict[str, Any]:
        """Whether a provider answers (`available`), its `model`, `request_count` and `total_tokens`."""
        return await self._dispatch.named(provider).status()

    async def get_analytics(self) -> dict[str, Any]:
        """Sums over all conversations, and by provider. `total_cost` is of the calls whose price is known."""
        providers = {name: self._providers[name].used() for name in self._providers}
        names = await self.conversation_manager.list_conversations()
        return {
            "conversations": {
                "total_conversations": len(names),
                "total_tokens": sum(each["total_tokens"] for each in providers.values()),
                "total_cost": sum(each["total_cost"] for each in providers.values()),
                "total_requests": sum(each["request_count"] for each in providers.values()),
            },
            "providers": providers,
        }

    def events(self, kinds: Iterable[str] | None = None) -> EventReader:
        """What happens from now on: `async for event in manager.events()`, as `LLMConnection.events` of each provider
        and of conversations. Events have the models' words, before `_process_response`."""
        return EventReader(self._dispatch.event_hub, kinds)

    # Its life

    async def close(self) -> None:
        """Ends what is in progress, and closes connections and the file of the conversations."""
        for provider in self._providers.values():
            await provider.close()
        await self.conversation_manager.close()
        self._dispatch.event_hub.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Inside

    async def _whole(
        self, prompt: str, conversation_id: str | None, provider: str | None, options: dict[str, Any]
    ) -> LLMResponse:
        turn = await self._turn(prompt, conversation_id, provider, options)
        with turn.provider.naming_errors():
            reply = await turn.talk.say(prompt, **turn.fields)
        return await self._finish(turn, reply)

    async def _streamed(
        self, prompt: str, conversation_id: str | None, provider: str | None, options: dict[str, Any]
    ) -> AsyncGenerator[LLMStreamChunk, None]:
        turn = await self._turn(prompt, conversation_id, provider, options)
        name = turn.talk.name
        with turn.provider.naming_errors():
            async with turn.talk.stream(prompt, **turn.fields) as stream:
                async for chunk in stream:
                    if chunk.text:
                        yield LLMStreamChunk(delta=chunk.text, conversation_id=name)
            reply = stream.response()
        yield LLMStreamChunk(delta="", conversation_id=name, response=await self._finish(turn, reply))

    async def _turn(
        self, prompt: str, conversation_id: str | None, provider: str | None, options: dict[str, Any]
    ) -> "_Turn":
        self._dispatch.default = self.config.default_provider
        name = provider or self._dispatch.default or next(iter(self._providers), "")
        chosen = self._dispatch.named(name)
        if conversation_id is None:
            conversation_id = (await self.conversation_manager.create_conversation()).conversation_id
        tools, fields = self._tools(), self._fields(name, chosen) | options
        calling = self.config.function_calling
        if tools is not None and not calling.auto_execute:
            fields["tools"], tools = tools.specs, None
        talk = await self.conversation_manager.open(
            conversation_id,
            tools=tools.tools if tools is not None else None,
            persona=self._personality(),
            memory=self._memory(),
            most_rounds=calling.max_function_calls_per_turn + 1,
            tools_at_once=None if calling.parallel_execution else 1,
        )
        return _Turn(prompt, talk, name, chosen, fields)

    async def _finish(self, turn: "_Turn", reply: messages.LLMResponse) -> LLMResponse:
        """The answer, as the program changes it; what the user asked to remember is kept."""
        memory = self._memory()
        if memory is not None and memory.asks_to_remember(turn.prompt):
            await memory.remember(turn.prompt, reference=turn.talk.name)
        return await self._process_response(LLMResponse.of(reply, turn.talk.name, turn.name))

    def _fields(self, name: str, provider: Provider) -> dict[str, Any]:
        """The fields of a request to a provider."""
        config = self.config
        cache = {"ttl": config.cache_ttl_seconds} if config.enable_caching else {"response": "skip"}
        fields: dict[str, Any] = {"provider": name, "model": self._dispatch.model_of(name), "cache": cache}
        if isinstance(provider, ConfiguredProvider) and provider.config.provider != LLMProvider.LOCAL:
            fields["extra"] = provider.config.extra_params
        return fields

    def _tools(self) -> ToolManager | None:
        calling = self.config.function_calling
        on = calling.enabled and calling.tool_integration_enabled and self.config.tool_integration_enabled
        return self.tool_manager if on else None

    def _memory(self) -> MemoryManager | None:
        config = self.config
        on = config.memory_integration_enabled and config.conversation.memory_integration_enabled
        return self.memory_manager if on else None

    def _personality(self) -> PersonalityManager | None:
        config = self.config
        on = config.personality_integration_enabled and config.conversation.personality_integration_enabled
        return self.personality_manager if on else None


class _Turn(NamedTuple):
    """One turn of a conversation, on its way."""

    prompt: str
    talk: Talk
    name: str  # of the provider in the configuration
    provider: Provider
    fields: dict[str, Any]  # of the request
